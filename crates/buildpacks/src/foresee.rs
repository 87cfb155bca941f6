//! What hoist's buildpacks would say of an app before anything is built: from its files alone, in the caller's process, with the same code as
//! the build. Nothing of the app is executed, and nothing is fetched.

use std::path::{Path, PathBuf};

use crate::as_of::AsOf;
use crate::binding::Bindings;
use crate::buildpack::Detection;
use crate::context::Context;
use crate::failure::{Failure, Warning};
use crate::install::Wanted;
use crate::{deb_packages, dependencies, job_template, procfile, propose, python};

/// What can be known of a build beforehand.
#[derive(Debug, Default)]
pub struct Foresight {
    /// The Python that would be taken, and why.
    pub python: Option<(String, String)>,
    /// The file that says which packages are installed, who installs them, and why it leads.
    pub packages: Option<Packages>,
    /// Packages of Debian that are asked for, as relations, each with the place that asks first.
    pub deb_packages: Vec<(String, String)>,
    /// What the build would refuse.
    pub refusals: Vec<Failure>,
    /// What it would warn of.
    pub warnings: Vec<Warning>,
    /// Whether a Procfile names the process that the image starts with.
    pub has_default_process: bool,
    /// What an app without one is told, and the line that it probably needs; a service has a process of its own.
    pub missing_process: Option<Failure>,
    /// The day that an old app suggests for its packages (`2022-06-01`), where no lock and no variable says which they are.
    pub suggested_day: Option<String>,
}

/// Which packages a build would install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packages {
    /// The file.
    pub file: String,
    /// The manager, as `BP_PYTHON_PACKAGE_MANAGER` names it.
    pub manager: &'static str,
    /// Why the file leads.
    pub reason: String,
    /// How many there are, as far as the file says it: `12 locked packages`.
    pub count: String,
}

/// Looks at the app in `app_dir` as the buildpacks would on a base of `suite`, with these variables of the platform.
pub fn foresee(app_dir: &Path, variables: &[(String, String)], suite: &str) -> Foresight {
    let context = context(app_dir, variables);
    let mut found = Foresight::default();
    match deb_packages::wanted::read(&context) {
        Ok(asked) => found.deb_packages = asked.into_iter().map(|(wanted, place)| (wanted.relation(), place)).collect(),
        Err(failure) => found.refusals.push(failure.of_kind("deb-packages")),
    }
    #[cfg(feature = "conda")]
    if let Some((leader, read)) = crate::conda::foresee(&context) {
        let mut count = String::new();
        match read {
            Ok(inputs) => {
                count = inputs.count();
                found.python = Some((inputs.python(), format!("{} chooses it", leader.file)));
                found.warnings.extend(inputs.warnings.into_iter().map(|text| Warning::new("conda", text)));
            }
            Err(failure) => found.refusals.push(failure.of_kind("dependencies")),
        }
        found.packages = Some(Packages { file: leader.file, manager: "conda", reason: leader.reason, count });
        foresee_processes(&context, &mut found);
        return found;
    }
    let (detection, choice) = python::foresee(&context, suite);
    if let Detection::Fail { reasons } = detection {
        found.refusals.push(unrecognised(&reasons));
        return found;
    }
    let mut version = String::new();
    match choice {
        Ok((choice, warnings)) => {
            version = choice.python.release.to_string();
            let reason = std::iter::once(choice.reason).chain(choice.notes).collect::<Vec<_>>().join("; ");
            found.warnings.extend(warnings);
            found.python = Some((choice.python.minor.to_owned(), reason));
        }
        Err(failure) => found.refusals.push(failure.of_kind("python")),
    }
    let as_of = match AsOf::of(&context) {
        Ok(as_of) => as_of,
        Err(failure) => {
            // Who asked for the Python may have stumbled over it before.
            let failure = failure.of_kind("as-of");
            let is_known = found.refusals.iter().any(|known| known.page.seen == failure.page.seen);
            found.refusals.extend((!is_known).then_some(failure));
            None
        }
    };
    match dependencies::foresee(&context, &version) {
        Ok(Some((leader, reading))) => {
            found.warnings.extend(reading.warnings.into_iter().map(|text| Warning::new("dependencies", text)));
            let is_locked = reading.wanted.as_ref().is_some_and(Wanted::is_locked);
            found.suggested_day = crate::as_of::suggested(&context)
                .filter(|_| as_of.is_none() && !is_locked)
                .map(|day| day.written().to_owned());
            let no_choice = reading.wanted.as_ref().filter(|wanted| wanted.is_locked()).zip(as_of);
            found.warnings.extend(no_choice.map(|(wanted, as_of)| Warning::new("as-of", as_of.idle(&wanted.file()))));
            found.packages = Some(Packages {
                file: leader.file,
                manager: leader.kind.word(),
                reason: leader.reason,
                count: reading.wanted.map(|wanted| wanted.count()).unwrap_or_default(),
            });
        }
        Ok(None) => {}
        Err(failure) => found.refusals.push(failure.of_kind("dependencies")),
    }
    foresee_processes(&context, &mut found);
    found
}

/// Whether something names the process that an image of the app starts, or means to: what is wrong in a Procfile is the build's to say.
pub fn names_process(app_dir: &Path, variables: &[(String, String)]) -> bool {
    match procfile::read(&context(app_dir, variables)) {
        Ok(procfile) => procfile.is_some_and(|procfile| procfile.default_entry().is_some()),
        Err(_) => true,
    }
}

fn context(app_dir: &Path, variables: &[(String, String)]) -> Context {
    Context {
        buildpack_dir: PathBuf::new(),
        app_dir: app_dir.to_owned(),
        platform_dir: PathBuf::new(),
        root_dir: PathBuf::from("/"),
        environment: variables.iter().map(|(name, value)| (name.clone(), value.into())).collect(),
        bindings: Bindings::default(),
    }
}

/// What would be started.
fn foresee_processes(context: &Context, found: &mut Foresight) {
    match procfile::foresee(context) {
        Ok(Some((has_default, warnings))) => {
            found.has_default_process = has_default;
            found.warnings.extend(warnings.into_iter().map(|text| {
                let text = if text.starts_with("line ") { format!("Procfile {text}") } else { text };
                Warning::new("procfile", text)
            }));
        }
        Ok(None) => {}
        Err(failure) => {
            found.refusals.push(failure.of_kind("procfile"));
            found.has_default_process = true; // once it can be read
        }
    }
    if !found.has_default_process {
        found.missing_process = Some(propose::explain(context).of_kind("process-missing"));
    }
    // The Procfile is read for the service as well.
    let unfit = job_template::foresee(context).err().map(|failure| failure.of_kind("service"));
    let is_new = |failure: &Failure| !found.refusals.iter().any(|known| known.page.seen == failure.page.seen);
    let unfit = unfit.filter(is_new);
    found.refusals.extend(unfit);
    // Who asks for a Python and who asks for packages may stumble over the same file.
    let mut malformed = std::collections::BTreeSet::new();
    found
        .refusals
        .retain(|failure| failure.page.code != "file-malformed" || malformed.insert(failure.page.doing.clone()));
}

/// Detect says in lines what a failure says in parts.
fn unrecognised(reasons: &[String]) -> Failure {
    let mut lines = reasons.iter().map(|line| line.trim().to_owned());
    let seen = lines.next().unwrap_or_default();
    let mut failure =
        Failure::new("recognising the app", seen, "no buildpack applies", "add a *.py file or a requirements.txt");
    failure.page.seen.extend(lines);
    failure.of_kind("app-unrecognised")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreseen(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Foresight {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        foresee(dir.path(), &variables, "trixie")
    }

    fn refusal(files: &[(&str, &str)]) -> String {
        let found = foreseen(files, &[]);
        assert_eq!(found.refusals.len(), 1, "{:?}", found.refusals);
        found.refusals[0].to_string()
    }

    #[test]
    fn the_python_is_named_with_who_asks_for_it() {
        let python = |files: &[(&str, &str)]| foreseen(files, &[]).python.unwrap();
        assert_eq!(python(&[("main.py", "")]).0, "3.13");
        assert_eq!(python(&[(".python-version", "3.11\n")]), ("3.11".into(), ".python-version says 3.11".into()));
        let patch = python(&[("main.py", ""), ("runtime.txt", "python-3.11.9")]);
        assert_eq!(
            patch.1,
            "runtime.txt says python-3.11.9; runtime.txt asks for 3.11.9; Debian's 3.11 is 3.11.2 with later fixes"
        );
        let bound = python(&[("pyproject.toml", "[project]\nrequires-python = '<3.12'\n")]);
        assert_eq!(bound, ("3.11".into(), "pyproject.toml line 2 (requires-python) says <3.12".into()));
        let forced = foreseen(&[("main.py", "")], &[("BP_CPYTHON_VERSION", "3.9")]);
        assert_eq!(forced.python.unwrap().0, "3.9");
    }

    #[test]
    fn a_python_that_the_lock_has_wheels_for_is_preferred() {
        let machine = std::env::consts::ARCH;
        let lock = format!(
            "version = 1\nrequires-python = \">=3.9\"\n[[package]]\nname = \"shop\"\nversion = \"1\"\nsource = {{ virtual = \".\" }}\ndependencies = [{{ name = \"fast\" }}]\n[package.metadata]\nrequires-dist = [{{ name = \"fast\" }}]\n[[package]]\nname = \"fast\"\nversion = \"1\"\nsource = {{ registry = \"https://index/simple\" }}\nsdist = {{ url = \"https://index/fast-1.tar.gz\", hash = \"sha256:00\" }}\nwheels = [{{ url = \"https://index/fast-1-cp311-cp311-manylinux_2_17_{machine}.whl\", hash = \"sha256:01\" }}]\n"
        );
        let of = |lock: &str, requires: &str, more: &[(&str, &str)]| {
            let project = format!(
                "[project]\nname = \"shop\"\nversion = \"1\"\nrequires-python = \"{requires}\"\ndependencies = [\"fast\"]\n"
            );
            let lock = lock.replace(">=3.9", requires);
            let files = [&[("pyproject.toml", project.as_str()), ("uv.lock", &lock), ("main.py", "")], more].concat();
            let found = foreseen(&files, &[]);
            (found.python.unwrap(), found.warnings, found.refusals)
        };
        let (python, warnings, _) = of(&lock, ">=3.9", &[]);
        assert_eq!(python.0, "3.11");
        assert!(python.1.starts_with("uv.lock has wheels of everything for it, and not for 3.13; pyproject.toml"));
        assert_eq!(warnings, []);
        let (python, warnings, _) = of(&lock, ">=3.9", &[(".python-version", "3.13\n")]);
        assert_eq!((python.0.as_str(), warnings.len()), ("3.13", 1));
        assert!(warnings[0].text.contains("has wheels of everything for Python 3.11"), "{warnings:?}");
        let (python, warnings, _) = of(&lock, ">=3.12", &[]);
        assert_eq!(python.0, "3.13");
        assert!(warnings[0].text.contains("make the lock anew"), "{warnings:?}");
        let source = "sdist = { url = \"https://index/fast-1.tar.gz\", hash = \"sha256:00\" }\n";
        let (_, _, refusals) = of(&lock.replace(source, ""), ">=3.12", &[]);
        assert!(refusals[0].to_string().contains("fast: its files are for Python 3.11, and the build has 3.13.5"));
        assert_eq!(of(&lock.replace("cp311-cp311", "cp311-abi3"), ">=3.9", &[]).0.0, "3.13");
    }

    #[test]
    fn a_procfile_names_the_process_whatever_else_the_app_holds() {
        let names = |files: &[(&str, &str)], variables: &[(&str, &str)]| {
            let dir = tempfile::tempdir().unwrap();
            for (path, text) in files {
                fs_err::write(dir.path().join(path), text).unwrap();
            }
            let variables: Vec<_> =
                variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            names_process(dir.path(), &variables)
        };
        assert!(names(&[("Procfile", "web: python main.py\n"), ("poetry.lock", "no lock")], &[]));
        assert!(names(&[("Procfile", "worker: python main.py\n")], &[]), "the only line");
        assert!(names(&[], &[("BP_PROCFILE_DEFAULT_PROCESS", "python main.py")]));
        assert!(names(&[("Procfile", "no line of a Procfile\n")], &[]), "the build says what is wrong");
        assert!(!names(&[("Procfile", "a: x\nb: y\n")], &[]) && !names(&[("main.py", "")], &[]));
    }

    #[test]
    fn a_server_that_nobody_installs_is_warned_of() {
        let warned = |files: &[(&str, &str)]| {
            let warnings = foreseen(files, &[]).warnings.into_iter();
            warnings.filter(|warning| warning.code == "procfile").map(|warning| warning.text).collect::<Vec<_>>()
        };
        let procfile = ("Procfile", "web: gunicorn app:app --bind 0.0.0.0:$PORT\n");
        assert_eq!(
            warned(&[("app.py", ""), procfile]),
            [
                "Procfile line 1: web starts gunicorn, and no file of the app asks for it: write gunicorn into a file requirements.txt"
            ]
        );
        assert_eq!(
            warned(&[("app.py", ""), procfile, ("requirements.txt", "flask\n")]),
            [""; 0],
            "another may bring it"
        );
        let lock = "lock-version = \"1.0\"\ncreated-by = \"x\"\n[[packages]]\nname = \"flask\"\nversion = \"3\"\n[[packages.wheels]]\nname = \"flask-3-py3-none-any.whl\"\nhashes = { sha256 = \"00\" }\n";
        assert_eq!(
            warned(&[("app.py", ""), procfile, ("pylock.toml", lock)]),
            [
                "Procfile line 1: web starts gunicorn, and pylock.toml has no such package: add gunicorn to what the app requires, and make the lock anew"
            ]
        );
        assert_eq!(warned(&[("app.py", ""), procfile, ("pylock.toml", &lock.replace("flask", "gunicorn"))]), [""; 0]);
    }

    #[test]
    fn an_old_app_suggests_its_day_unless_its_packages_are_locked() {
        let day = |files: &[(&str, &str)], more: &[(&str, &str)]| {
            foreseen(files, &[&[("HOIST_APP_DATE", "2021-04-01")], more].concat()).suggested_day
        };
        let open = [("main.py", ""), ("requirements.txt", "six\n")];
        assert_eq!(day(&open, &[]).as_deref(), Some("2021-04-01"));
        assert_eq!(day(&open, &[("BP_AS_OF", "2022-01-01")]), None);
        let lock = "lock-version = \"1.0\"\ncreated-by = \"x\"\n";
        assert_eq!(day(&[("main.py", ""), ("pylock.toml", lock)], &[]), None);
    }

    #[test]
    fn what_a_build_would_refuse_is_refused() {
        assert!(refusal(&[("index.html", "")]).contains("no buildpack applies"));
        assert!(refusal(&[("main.py", ""), (".python-version", "3.7")]).contains("cannot be had"));
        assert!(refusal(&[("main.py", ""), ("Procfile", "web = python main.py")]).contains("web: python main.py"));
        let undated = foreseen(&[("main.py", ""), ("Procfile", "web: x")], &[("BP_AS_OF", "2022-06-31")]).refusals;
        assert!(undated.len() == 1 && undated[0].to_string().contains("no day of the calendar"), "{undated:?}");
        assert!(refusal(&[("main.py", ""), ("Procfile", "# nothing\n")]).contains("it holds no process"));
        assert!(refusal(&[("requirements.txt", "-r more.txt\n")]).contains("there is no more.txt"));
        assert!(refusal(&[("uv.lock", ""), ("pyproject.toml", "")]).contains("missing field `version`"));
        assert!(refusal(&[("planqk.json", "{}"), ("main.py", "")]).contains("there is no src/program.py"));
        assert!(refusal(&[("src/program.py", ""), ("Procfile", "web = x")]).contains("Procfile"));
        let apt = refusal(&[("main.py", ""), ("apt.txt", "libgl1\nhttps://h/x.deb\n")]);
        assert!(apt.contains("apt.txt line 2: https://h/x.deb"), "{apt}");
        let nothing = foreseen(&[("main.py", "")], &[]).missing_process.unwrap();
        assert!(nothing.to_string().contains("Procfile: web: python main.py"), "{nothing}");
        let fine = foreseen(&[("src/program.py", ""), ("Procfile", "web : a\n")], &[]);
        assert!(fine.refusals.is_empty() && fine.has_default_process && fine.warnings.len() == 1);
    }
}
