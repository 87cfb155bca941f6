//! `hoist build`: an app or service to an image.
//!
//! The options stand in groups, one file each, and each group writes its own part of the request.

mod buildpacks;
mod caches;
mod explain;
mod image;
mod options;
mod outputs;
mod pack;
mod source;
mod surroundings;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use hoist_events::Reporter;
use serde_json::json;

use crate::commands::build::explain::{Explanation, Listener};
use crate::context::Context;
use crate::failure::Failure;

pub(crate) use buildpacks::BuildpackOptions;
pub(crate) use caches::CacheOptions;
pub(crate) use image::ImageOptions;
pub(crate) use options::BuildOptions;
pub(crate) use outputs::OutputOptions;
pub(crate) use pack::PackOptions;
pub(crate) use source::SourceOptions;
pub(crate) use surroundings::SurroundingsOptions;

/// Build an app or a service into an image
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// Name of the image; or oci:DIR, an OCI layout, and the image is called like its folder
    image: String,
    /// Folder or zip of the app
    #[arg(short, long, default_value = ".", value_name = "DIR|ZIP")]
    path: PathBuf,
    /// Say at last of every layer what became of it and why, with bytes and times
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    buildpacks: BuildpackOptions,
    #[command(flatten)]
    outputs: OutputOptions,
    #[command(flatten)]
    image_options: ImageOptions,
    #[command(flatten)]
    surroundings: SurroundingsOptions,
    #[command(flatten)]
    pack: PackOptions,
    #[command(flatten)]
    caches: CacheOptions,
    #[command(flatten)]
    how: BuildOptions,
}

impl BuildArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let mut request = self.how.request(context, self.path)?;
        self.buildpacks.apply(context, &mut request)?;
        self.image_options.apply(context, &mut request)?;
        self.surroundings.apply(context, &mut request)?;
        self.pack.apply(context)?;
        self.outputs.apply(context, &self.image, &mut request)?;
        self.caches.apply(context, &mut request)?;
        let listener = self.explain.then(|| Arc::new(Listener::new(Arc::clone(&context.reporter))));
        let reporter =
            listener.clone().map_or_else(|| Arc::clone(&context.reporter), |listener| listener as Arc<dyn Reporter>);
        let built = self.how.open_heard(context, reporter)?.build(&request);
        let explanation = listener.map(|listener| listener.explanation());
        let built = match (built, &explanation) {
            (Ok(built), _) => built,
            (Err(error), None) => return Err(error.into()),
            (Err(error), Some(explanation)) => return explain_failure(context, error.into(), explanation),
        };
        if context.json {
            return context.print_json(&json!({
                "image": self.image,
                "image_id": built.image.id().to_string(),
                "names": request.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "layers": built.image.diff_ids().len(),
                "reused_layers": built.reused_layers,
                "outputs": built.placed,
                "elapsed_ms": built.elapsed.as_millis(),
                "explanation": explanation,
            }));
        }
        if let Some(explanation) = explanation {
            context.print(&explanation.text())?;
        }
        context.print(&format!("{}\n", built.image.id()))
    }
}

/// What was known until a build failed stands before the failure, and in its document.
fn explain_failure(context: &Context, failure: Failure, explanation: &Explanation) -> Result<(), Failure> {
    if context.json {
        let value = serde_json::to_value(explanation).unwrap_or_default();
        return Err(failure.with("explanation", value));
    }
    context.print(&explanation.text())?;
    Err(failure)
}
