//! What was installed, written down: as lines for the next build, and as a `pylock.toml` for `hoist check --lock`. Both are asked of uv, from its
//! cache and in the places that the requirements name.

use std::ffi::OsString;

use fs_err as fs;

use super::diagnosis::evidence_lines;
use super::distributions::Distribution;
use super::export;
use super::installation::{Installation, Installer, uv_failure};
use super::lock::{Archives, Lock, Question, Sought, lock_installed};
use crate::failure::Failure;

impl Installation<'_> {
    /// What is installed, as a `pylock.toml`: first from uv's cache, else the index is asked once more.
    pub(crate) fn export(&self, distributions: &[Distribution]) -> Result<String, Failure> {
        let (of_index, others) = export::split(distributions);
        let version = &self.interpreter.version;
        if of_index.is_empty() {
            return export::lock("", &others, self.app_dir, version);
        }
        let uv = self.uv.as_ref().map_err(uv_failure)?;
        let path = self.temporary.join("export.txt");
        let free: Vec<&Distribution> = of_index.iter().copied().filter(|one| !self.is_bound(one)).collect();
        let text = self.places() + &export::pins(&free);
        fs::write(&path, text).map_err(|error| Failure::io("writing the lock", &error))?;
        let mut arguments = self.arguments(&["pip", "compile"]);
        arguments.extend(export::arguments());
        arguments.extend(self.formats());
        arguments.extend(self.indexes());
        arguments.extend(self.wanted.tree().options.arguments());
        arguments.extend(self.bound(Some(distributions))?.map(Into::into));
        arguments.push(path.into());
        let offline: Vec<OsString> = arguments.iter().cloned().chain(["--offline".into()]).collect();
        let mut said = String::new();
        for arguments in [offline, arguments] {
            let run = uv.run(self.app_dir, arguments).map_err(|error| uv_failure(&error))?;
            if run.ok {
                let text = run.text.find("lock-version").map_or("", |at| &run.text[at..]);
                return export::lock(text, &others, self.app_dir, version);
            }
            said = run.text;
        }
        Err(Failure::new(
            "writing the lock",
            "uv installed the packages, and does not tell where they came from",
            "a lock names each file with its hash",
            "try again; packages of folders that the settings name (PIP_FIND_LINKS) can be required by their path instead",
        )
        .with_evidence(evidence_lines(&self.settings.secrets.mask(&said))))
    }

    /// Lines above requirements of our own, that say where packages are looked for as the app's requirements do.
    fn places(&self) -> String {
        self.wanted.places(self.app_dir).into_iter().fold(String::new(), |text, line| text + &line + "\n")
    }

    /// What was chosen, written down and remembered; of what is still there from before, `kept` has it.
    pub(super) fn lock(
        &self,
        distributions: &[Distribution],
        kept: Lock,
        installer: Installer,
    ) -> Result<Lock, Failure> {
        // Where settings or options want builds in place of wheels, no wheel of a lock is the source; uv is told the same, and names no wheels.
        let wants_builds = self.settings.source_build().is_some() || self.wanted.wants_builds();
        let uv = self.uv.as_ref().ok().filter(|_| installer == Installer::Uv);
        let mut arguments = self.formats();
        arguments.extend(self.indexes());
        let question = uv.map(|uv| Question {
            uv,
            python: &self.interpreter.executable,
            app_dir: self.app_dir,
            temporary: self.temporary,
            arguments,
            places: self.places(),
        });
        let none = Archives::new();
        let sought = Sought {
            free: distributions.iter().filter(|one| !self.is_bound(one)).collect(),
            bound: self.bound(Some(distributions))?,
            known: self.wanted.listed().filter(|_| !wants_builds).map_or(&none, |listed| &listed.archives),
            kept,
            built_for: (!self.deny_source_builds).then_some(&self.interpreter.version),
        };
        let lock = lock_installed(question, distributions, &sought).map_err(|error| uv_failure(&error))?;
        if let Some((resolutions, id)) = &self.resolutions {
            resolutions.remember(id, &lock);
        }
        Ok(lock)
    }
}
