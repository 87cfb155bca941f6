//! `hoist/pip`: installs what requirements.txt asks for, or a project without a lock, through uv.

mod lines;
pub(crate) mod project;
pub(crate) mod requirements;
pub(crate) mod unreadable;

use std::path::Path;

use crate::buildpack::{Buildpack, Detection};
use crate::context::{BuildContext, Context, DetectContext};
use crate::dependencies::{self, Kind, Reading};
use crate::failure::Failure;
use crate::install::Wanted;

/// The buildpack.
pub(crate) struct Pip;

impl Buildpack for Pip {
    fn id(&self) -> &'static str {
        "hoist/pip"
    }

    fn name(&self) -> &'static str {
        "Hoist pip"
    }

    fn description(&self) -> &'static str {
        "Installs requirements.txt, or a project without a lock, through uv: one layer for each distribution, compiled"
    }

    fn detect(&self, context: &DetectContext<'_>) -> Result<Detection, Failure> {
        Ok(dependencies::detect(context, Kind::Pip))
    }

    fn build(&self, context: &mut BuildContext<'_>) -> Result<(), Failure> {
        dependencies::build(context)
    }
}

/// Reads a requirements file with all it includes.
pub(crate) fn read(context: &Context, file: &str) -> Result<Reading, Failure> {
    let tree = requirements::read_requirements(&context.app_dir, Path::new(file))
        .map_err(|error| unreadable::explain_unreadable(&error))?;
    lines::check(&tree, &context.app_dir)?;
    let warnings = lines::warnings(&tree);
    Ok(Reading { wanted: Some(Wanted::Requirements(tree)), warnings, ..Reading::default() })
}
