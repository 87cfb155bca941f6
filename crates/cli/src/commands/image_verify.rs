//! `hoist image verify`: whether an image is what it was, and with `--rebuild` whether it is what its source makes.

use std::path::PathBuf;

use clap::Args;
use hoist_image::{Image, Platform};
use hoist_platform::Rebuilt;
use serde_json::json;

use crate::commands::build::{BuildOptions, BuildpackOptions, ImageOptions, SurroundingsOptions};
use crate::commands::remote::{self, RemoteFlag};
use crate::context::Context;
use crate::engine::open_store;
use crate::failure::{Code, Failure, harmless};
use crate::terminal::counted;

/// Read an image again and compare every file and digest with what it was; or build it again, and compare that
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Name or id
    image: String,
    /// Build the image again from this folder or zip, without anything of earlier builds, and name the first file that differs. The options that it was
    /// built with belong to it
    #[arg(long, value_name = "DIR|ZIP")]
    rebuild: Option<PathBuf>,
    #[command(flatten)]
    remote: RemoteFlag,
    #[command(flatten)]
    buildpacks: BuildpackOptions,
    #[command(flatten)]
    image_options: ImageOptions,
    #[command(flatten)]
    surroundings: SurroundingsOptions,
    #[command(flatten)]
    how: BuildOptions,
}

impl VerifyArgs {
    /// Whether something is built or fetched.
    pub(crate) fn cleans_up(&self) -> bool {
        self.rebuild.is_some() || self.remote.is_said()
    }

    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let store = open_store(context)?;
        let image = match self.remote.name(context, &self.image)? {
            Some(name) if self.rebuild.is_none() => return remote::verify(context, &name),
            Some(name) => remote::fetch(context, &name, &Platform::of_this_machine())?,
            None => store.image(&self.image)?,
        };
        let problems: Vec<String> = store.verify(&image).iter().map(ToString::to_string).collect();
        // A rebuild of what is damaged would be compared with the damage.
        let rebuilt = match &self.rebuild {
            Some(path) if problems.is_empty() => Some(self.rebuild(context, &image, path.clone())?),
            _ => None,
        };
        let ok = problems.is_empty() && rebuilt.as_ref().is_none_or(|rebuilt| rebuilt.difference.is_none());
        if context.json {
            let id = image.id().to_string();
            context.print_json(&json!({"id": id, "ok": ok, "problems": problems, "rebuilt": rebuilt}))?;
            let code = if problems.is_empty() { Code::App } else { Code::Hoist };
            return if ok { Ok(()) } else { Err(Failure::of_process(code.number())) };
        }
        if !problems.is_empty() {
            return Err(Failure::hoist(
                format!("image {} is not what it was:\n{}", self.image, problems.join("\n")),
                "build or load it again: what is damaged is made anew",
            ));
        }
        let layers = counted(image.diff_ids().len(), "layer");
        context.print(&format!("{}: {layers}, every file as it was\n", image.id()))?;
        match rebuilt {
            Some(Rebuilt { difference: Some(difference), is_of_the_run_image, .. }) => {
                Err(self.differs(&difference, is_of_the_run_image))
            }
            Some(_) => context.print("built again: the same image, byte for byte\n"),
            None => Ok(()),
        }
    }

    fn rebuild(&self, context: &Context, image: &Image, path: PathBuf) -> Result<Rebuilt, Failure> {
        let mut request = self.how.request(context, path)?;
        self.buildpacks.apply(context, &mut request)?;
        self.image_options.apply(context, &mut request)?;
        self.surroundings.apply(context, &mut request)?;
        Ok(self.how.open(context)?.rebuild(image, &request)?)
    }

    fn differs(&self, difference: &str, is_of_the_run_image: bool) -> Failure {
        let text = format!(
            "image {} was built again, and another image came of it (the one is {}, the other what was built now):\n{}",
            self.image,
            self.image,
            harmless(difference)
        );
        let hint = if is_of_the_run_image {
            "it stands on another run image: build on that base with --locked FILE (hoist base lock writes it), or put the image on today's: hoist rebase"
        } else {
            "give the options that it was built with (--env, --python, --as-of, --builder); if it was built so, its source or its packages are others"
        };
        Failure::coded(text, hint, Code::App)
    }
}
