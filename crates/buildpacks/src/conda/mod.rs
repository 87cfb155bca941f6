//! `hoist/conda`: an environment of conda's packages as a layer: Python, libraries and programs of channels, and what `pip:` adds.
//!
//! Packages are chosen and unpacked while the shared cache is there, because nothing of them runs then. Their Python is started (to compile, and
//! for `pip:`) only where the shared cache cannot be written: the buildpack asks the platform to be run again for that, as pip's does for a build
//! script. It need not where the same packages were compiled before, and pip has nothing to do.

#![allow(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "conda writes the ends of its names in small letters"
)]

mod diagnosis;
mod finish;
mod inputs;
mod kept;
mod key;
mod sbom;
mod solutions;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_conda::{CondaError, Engine, Network, Solution, Task, virtual_packages};
use hoist_environment::Located;
use serde::{Deserialize, Serialize};

use crate::as_of::{self, AsOf};
use crate::buildpack::{Buildpack, Detection, Provide, Require};
use crate::context::{BuildContext, CACHE_VARIABLE, CONDA_CACHE_VARIABLE, Context, DetectContext};
use crate::dependencies::{self, Kind, Leader};
use crate::failure::{EXIT_NEEDS_SOURCE_BUILD, Failure};
use crate::install::packages as counted;
use crate::install::settings::denies_source_builds;
use crate::layer::{Layer, LayerTypes};
use crate::offline::{is_offline, lacking};

use inputs::{Asked, Inputs};
use key::EnvironmentKey;
use solutions::KeptSolution;

const LAYER: &str = "env";
/// The environment below the layer: were it the layer itself, the lifecycle would put its libraries before those of every program.
const PREFIX: &str = "conda";
const TYPES: LayerTypes = LayerTypes { build: true, launch: true, cache: true };

/// The buildpack.
pub(crate) struct Conda;

impl Buildpack for Conda {
    fn id(&self) -> &'static str {
        "hoist/conda"
    }

    fn name(&self) -> &'static str {
        "Hoist conda"
    }

    fn description(&self) -> &'static str {
        "Installs environment.yml, package-list.txt, conda-lock.yml or pixi.lock from conda's channels"
    }

    fn detect(&self, context: &DetectContext<'_>) -> Result<Detection, Failure> {
        if leader(context.common).is_none() {
            return Ok(Detection::fail("no environment.yml or lock of conda's leads in this app"));
        }
        let requires =
            ["python", "site-packages"].map(|name| Require::new(name).with("build", true).with("launch", true));
        Ok(Detection::Pass {
            provides: ["python", "site-packages"].map(Provide::new).into(),
            requires: requires.into(),
        })
    }

    fn build(&self, context: &mut BuildContext<'_>) -> Result<(), Failure> {
        let Some(Leader { file, reason, .. }) = leader(context.common) else { return Ok(()) };
        let inputs = inputs::read(context.common, &file)?;
        context.output.step(format!("packages from {file} ({reason})"));
        for warning in &inputs.warnings {
            context.output.warning(warning);
        }
        build_environment(context, &inputs)
    }
}

/// Who leads, when it is conda; what cannot be decided is said by pip's buildpack.
fn leader(context: &Context) -> Option<Leader> {
    dependencies::leader(context).ok()?.filter(|leader| leader.kind == Kind::Conda)
}

/// What can be said before a build: the file of conda's that leads, if one does, and what is read of it.
pub(crate) fn foresee(context: &Context) -> Option<(Leader, Result<Inputs, Failure>)> {
    let leader = leader(context)?;
    let inputs = inputs::read(context, &leader.file);
    Some((leader, inputs))
}

/// What is remembered of the environment between builds.
#[derive(Debug, Serialize, Deserialize)]
struct Metadata {
    #[serde(flatten)]
    key: EnvironmentKey,
    /// `name=version=build`.
    packages: Vec<String>,
    /// Whether all is done; else the packages are there, and their Python has not run yet.
    finished: bool,
    /// The names of those that were put there last, in an environment that was there before; none where all were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changed: Option<BTreeSet<String>>,
    hoist: Split,
}

/// Tells hoist's exporter that this layer may become one layer for each package.
#[derive(Debug, Serialize, Deserialize)]
struct Split {
    split: String,
}

impl Metadata {
    fn new(key: EnvironmentKey, there: There, finished: bool) -> Self {
        let There { packages, changed } = there;
        let changed = changed.filter(|_| !finished);
        Self { key, packages, finished, changed, hoist: Split { split: "distributions".to_owned() } }
    }
}

/// What lies in the environment before its Python has run.
#[derive(Debug, Clone, Default)]
struct There {
    packages: Vec<String>,
    changed: Option<BTreeSet<String>>,
}

/// All that one build of an environment needs.
struct Work<'a> {
    context: &'a BuildContext<'a>,
    inputs: &'a Inputs,
    layer: Layer,
    prefix: PathBuf,
}

fn build_environment(context: &BuildContext<'_>, inputs: &Inputs) -> Result<(), Failure> {
    let layer = context.layer(LAYER);
    let prefix = layer.dir().join(PREFIX);
    let key = EnvironmentKey::new(inputs, &prefix);
    let old: Option<Metadata> = if layer.has_content() { layer.metadata() } else { None };
    let work = Work { context, inputs, layer, prefix };
    let mut there = There::default();
    let mut is_old_of_use = false;
    if let Some(old) = old {
        let reasons = key.differences(&old.key);
        if reasons.is_empty() && old.finished {
            context.output.step(format!("{}, unchanged", counted(old.packages.len())));
            context.keep_download_cache()?;
            return work.layer.write(TYPES, &old);
        }
        if reasons.is_empty() {
            there = There { packages: old.packages, changed: old.changed };
        } else {
            is_old_of_use = old.finished && key.allows_change_of(&old.key);
            let what = if is_old_of_use { "changing the environment" } else { "installing anew" };
            context.output.step(format!("{what}: {}", reasons.join("; ")));
            work.layer.explain(&reasons);
        }
    }
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let mut has_bytecode = false;
    if there.packages.is_empty() {
        (there, has_bytecode) = work.install(is_old_of_use)?;
        // Where the cache that builds share is not seen, its Python may run at once.
        let sees = |name: &str| context.common.variable(name).is_some();
        let is_shared = denies_source_builds(context.common) && (sees(CACHE_VARIABLE) || sees(CONDA_CACHE_VARIABLE));
        if is_shared && !(has_bytecode && inputs.pip.is_empty()) {
            work.layer.write(TYPES, &Metadata::new(key, there.clone(), false))?;
            work.keep_uv()?;
            return Err(Failure::new(
                "finishing the environment",
                format!("{} of conda's are unpacked", counted(there.packages.len())),
                "their Python is started now, without the cache that builds share",
                "nothing needs to be done",
            )
            .with_exit_code(EXIT_NEEDS_SOURCE_BUILD));
        }
    }
    let finished = work.finish(there.changed.as_ref(), has_bytecode);
    if finished.is_err() {
        work.layer.clear()?;
    }
    finished?;
    context.keep_download_cache()?;
    work.layer.write(TYPES, &Metadata::new(key, there, true))
}

impl Work<'_> {
    /// Chooses and unpacks, and answers whether bytecode that was kept lies beside all sources. Nothing that was unpacked runs.
    fn install(&self, is_old_of_use: bool) -> Result<(There, bool), Failure> {
        let explain = |error: hoist_conda::CondaError| diagnosis::explain(&error, self.inputs);
        let common = self.context.common;
        let cache_dir = self.context.download_cache("conda")?;
        let engine = Engine::new(&cache_dir, &network(common), &self.inputs.settings).map_err(explain)?;
        // What other builds unpacked need not be fetched and unpacked once more for an image whose builds do not share a cache.
        let engine = match common.variable(CONDA_CACHE_VARIABLE) {
            Some(dir) => engine.reading(&Path::new(dir).join("packages")),
            None => engine,
        };
        let solution = self.choose(&engine, &cache_dir)?;
        let packages: Vec<String> = solution
            .packages()
            .iter()
            .map(|package| format!("{}={}={}", package.name, package.version, package.build))
            .collect();
        if packages.is_empty() {
            return Err(Failure::new(
                format!("installing {}", self.inputs.file),
                "no package was chosen",
                "an app of Python needs at least Python",
                "name packages below dependencies:",
            ));
        }
        let changed = self.put(&engine, &solution, is_old_of_use);
        if changed.is_err() {
            self.layer.clear()?;
        }
        let changed = changed.map_err(explain)?;
        let has_bytecode =
            changed.is_none() && self.inputs.pip.is_empty() && self.take_bytecode(&solution.packages())?;
        Ok((There { packages, changed }, has_bytecode))
    }

    /// Into the environment that is there, if that gives the same, or else into a new one.
    fn put(
        &self,
        engine: &Engine,
        solution: &Solution,
        is_old_of_use: bool,
    ) -> Result<Option<BTreeSet<String>>, CondaError> {
        let count = solution.packages().len();
        if is_old_of_use && let Some(changed) = engine.update(&self.prefix, solution)? {
            let kept = count.saturating_sub(changed.len());
            self.context.output.step(format!("installed {} with rattler, kept {kept}", counted(changed.len())));
            return Ok(Some(changed));
        }
        self.context.output.step(format!("installing {} with rattler", counted(count)));
        let made = fs::remove_dir_all(self.layer.dir()).or_else(ignore_missing);
        made.and_then(|()| fs::create_dir_all(self.layer.dir()))
            .map_err(|source| CondaError::Prefix { path: self.layer.dir().to_owned(), source })?;
        engine.install(&self.prefix, solution)?;
        Ok(None)
    }

    fn choose(&self, engine: &Engine, cache_dir: &Path) -> Result<Solution, Failure> {
        let explain = |error: hoist_conda::CondaError| diagnosis::explain(&error, self.inputs);
        match &self.inputs.asked {
            Asked::Locked(locked) => Ok(locked.solution.clone()),
            Asked::Archives(archives) => engine.explicit(archives).map_err(explain),
            Asked::Specs(specs) => {
                if let Some(as_of) = &self.inputs.as_of {
                    self.context.output.detail(format!("as the channels were on {}", as_of.written()));
                }
                let kept = KeptSolution::of(cache_dir, &EnvironmentKey::new(self.inputs, &self.prefix));
                if is_offline(self.context.common) {
                    return kept.recall().ok_or_else(|| {
                        let names: Vec<&str> = specs.iter().map(|spec| spec.text.as_str()).collect();
                        let doing = format!("choosing the packages of {}", self.inputs.file);
                        lacking(doing, &format!("these packages as they are asked for together: {}", names.join(", ")))
                    });
                }
                let today = self.solve(engine, specs, self.inputs.as_of.as_ref());
                let today = today.map_err(|error| self.propose_day(engine, specs, &error))?;
                kept.remember(&today);
                Ok(today)
            }
        }
    }

    fn solve(&self, engine: &Engine, specs: &[Located], as_of: Option<&AsOf>) -> Result<Solution, CondaError> {
        let settings = &self.inputs.settings;
        engine.solve(&Task {
            specs: specs.to_vec(),
            channels: self.inputs.channels.clone(),
            virtual_packages: virtual_packages(&self.inputs.glibc, &settings.overrides)?,
            any_channel: settings.any_channel,
            before: as_of.map(AsOf::end),
        })
    }

    /// What does not fit together today may have done so when the app was written: then its day, after that was tried.
    fn propose_day(&self, engine: &Engine, specs: &[Located], error: &CondaError) -> Failure {
        let failure = diagnosis::explain(error, self.inputs);
        if self.inputs.as_of.is_some() || !matches!(error, CondaError::Unsolvable { .. }) {
            return failure;
        }
        let Some(day) = as_of::suggested(self.context.common) else { return failure };
        let written = day.written();
        self.context
            .output
            .step(format!("trying the packages of {written}, when the newest file of the app was written"));
        if self.solve(engine, specs, Some(&day)).is_err() {
            return failure;
        }
        failure.and_fix(format!(
            "or take the packages of {written}, when the newest file of the app was written; as they were then, they fit together: --as-of {written} (or {}={written})",
            as_of::VARIABLE
        ))
    }
}

fn ignore_missing(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn network(context: &Context) -> Network {
    let names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];
    let proxies = names.iter().filter_map(|name| {
        let value = context.variable(name).or_else(|| context.variable(&name.to_lowercase()))?;
        Some(((*name).to_owned(), value.to_owned()))
    });
    let of_variable = context.variable("SSL_CERT_FILE").map(PathBuf::from).filter(|path| path.is_file());
    let bound = || context.bindings.of_type("ca-certificates").find_map(|binding| binding.path("ca.pem"));
    Network { ca_bundle: of_variable.or_else(bound), proxies: proxies.collect() }
}
