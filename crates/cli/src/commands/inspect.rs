//! `hoist inspect`, as pack has it: `hoist image inspect` by another name; and what both say of how an app image was built.

use clap::Args;
use serde_json::Value;

use crate::context::Context;
use crate::failure::{Failure, harmless};

/// Show how an app image was built and what it starts; the same as `image inspect`
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Name or id
    image: String,
}

impl InspectArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        super::image::inspect(context, &self.image)
    }
}

/// What the labels of an app image say of its build.
#[derive(Debug, Default)]
pub(super) struct Built {
    /// The process that the image starts with.
    pub(super) default_process: Option<String>,
    /// `id@version` of the buildpacks, in the order in which they built.
    pub(super) buildpacks: Vec<String>,
    /// Name of the run image.
    pub(super) run_image: Option<String>,
}

impl Built {
    /// From the configuration of an image; empty for one that no buildpack built.
    pub(super) fn of(config: &Value) -> Self {
        let label = |name: &str| -> Value {
            let text = config["config"]["Labels"][name].as_str().unwrap_or_default();
            serde_json::from_str(text).unwrap_or_default()
        };
        let (build, lifecycle) = (label("io.buildpacks.build.metadata"), label("io.buildpacks.lifecycle.metadata"));
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(harmless);
        let entry = config["config"]["Entrypoint"][0].as_str().unwrap_or_default();
        Self {
            default_process: entry.strip_prefix("/cnb/process/").map(harmless),
            buildpacks: build["buildpacks"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|buildpack| Some(format!("{}@{}", text(&buildpack["id"])?, text(&buildpack["version"])?)))
                .collect(),
            run_image: text(&lifecycle["runImage"]["image"]).or_else(|| text(&lifecycle["stack"]["runImage"]["image"])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_built_by_pack_says_what_it_was_built_with() {
        let config = serde_json::json!({"config": {"Entrypoint": ["/cnb/process/web"], "Labels": {
            "io.buildpacks.build.metadata": r#"{"buildpacks":[{"id":"samples/a","version":"0.0.1"},{"id":"b","version":"2"}]}"#,
            "io.buildpacks.lifecycle.metadata": r#"{"runImage":{"image":"acme/run:1"}}"#,
        }}});
        let built = Built::of(&config);
        assert_eq!(built.buildpacks, ["samples/a@0.0.1", "b@2"]);
        assert_eq!((built.default_process.as_deref(), built.run_image.as_deref()), (Some("web"), Some("acme/run:1")));
        let other = Built::of(&serde_json::json!({"config": {"Labels": {"io.buildpacks.build.metadata": "no json"}}}));
        assert!(other.buildpacks.is_empty() && other.run_image.is_none() && other.default_process.is_none());
    }
}
