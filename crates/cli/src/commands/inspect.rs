//! `hoist inspect`, as pack has it: `hoist image inspect` by another name, or a document with pack's keys; and what both say of how an app image was
//! built.

use clap::Args;
use hoist_image::Image;
use hoist_spec::{
    BUILD_METADATA_LABEL, BuildLabel, LIFECYCLE_METADATA_LABEL, LifecycleMetadata, REBASABLE_LABEL, STACK_ID_LABEL,
};
use serde_json::{Value, json};

use crate::commands::listing::OutputFormat;
use crate::commands::remote::RemoteImage;
use crate::context::Context;
use crate::engine::open_store;
use crate::failure::{Code, Failure, harmless};
use crate::yaml;

/// Show how an app image was built and what it starts; the same as `image inspect`
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Name or id
    image: String,
    /// As text, or as a document with the keys of pack
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "human-readable")]
    output: OutputFormat,
    #[arg(long, hide = true)]
    bom: bool,
    #[command(flatten)]
    remote: RemoteImage,
}

impl InspectArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        if self.bom {
            return Err(Failure::usage(
                "--bom is the bill of materials from before there were SBOM files, and hoist does not show it",
                format!("get the SBOM files of the image: hoist sbom download {}", self.image),
            ));
        }
        if self.output == OutputFormat::HumanReadable {
            return super::image::inspect(context, &self.image, &self.remote);
        }
        let (image, own) = match self.remote.name(context, &self.image)? {
            Some(name) => (self.remote.look(context, &name)?.image, "remote_info"),
            None => (open_store(context)?.image(&self.image)?, "local_info"),
        };
        let failed = |error: serde_json::Error| Failure::new(&error, None, Code::Hoist);
        let info = pack_info(&image, &self.image)?;
        // Pack leaves out of TOML what is not there.
        let text = match self.output {
            OutputFormat::Toml => toml::to_string(&json!({"image_name": self.image, own: info}))
                .map_err(|error| Failure::new(&error, None, Code::Hoist))?,
            format => {
                let mut both = json!({"image_name": self.image, "remote_info": null, "local_info": null});
                both[own] = info;
                if format == OutputFormat::Yaml {
                    yaml::write(&both)
                } else {
                    serde_json::to_string_pretty(&both).map_err(failed)? + "\n"
                }
            }
        };
        context.print(&text)
    }
}

/// What pack shows of an app image, under its keys and in its order.
fn pack_info(image: &Image, name: &str) -> Result<Value, Failure> {
    let config = image.config().config().as_ref();
    let label = |key: &str| config.and_then(|config| config.labels().as_ref()?.get(key)).map(String::as_str);
    let Some(text) = label(LIFECYCLE_METADATA_LABEL) else {
        return Err(Failure::usage(
            format!("{name} has no label {LIFECYCLE_METADATA_LABEL}, so no buildpack built it"),
            format!("see what it is: hoist image inspect {name}"),
        ));
    };
    let odd = |error: hoist_spec::DocumentError| Failure::new(&error, error.hint(), Code::Usage);
    let metadata = LifecycleMetadata::parse(text).map_err(odd)?;
    let build = label(BUILD_METADATA_LABEL).map(BuildLabel::parse).transpose().map_err(odd)?.unwrap_or_default();
    let own = metadata.run_image.run_image();
    let of_stack = || metadata.stack.as_ref().map(|stack| stack.run_image.clone()).unwrap_or_default();
    let run = if own.image.is_empty() { of_stack() } else { own };
    let run_images = std::iter::once(&run.image).chain(&run.mirrors).filter(|name| !name.is_empty());
    let mut buildpacks = Vec::new();
    for one in &build.buildpacks {
        let mut entry = json!({"id": one.id, "version": one.version});
        if let Some(homepage) = &one.homepage {
            entry["homepage"] = json!(homepage);
        }
        buildpacks.push(entry);
    }
    let entry = config.and_then(|config| config.entrypoint().as_ref()?.first());
    let default = entry.and_then(|entry| entry.strip_prefix("/cnb/process/"));
    let mut processes: Vec<_> = build.processes.iter().collect();
    processes.sort_by_key(|process| Some(&*process.kind) != default);
    let workdir = config.and_then(|config| config.working_dir().as_deref()).unwrap_or_default();
    let processes: Vec<Value> = processes
        .iter()
        .map(|process| {
            let command = process.command.entries();
            let (first, rest) = command.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
            let args: Vec<&String> = rest.iter().chain(&process.args).collect();
            json!({
                "type": process.kind,
                "shell": if process.direct { "" } else { "bash" },
                "command": first,
                "default": Some(&*process.kind) == default,
                "args": args,
                "working-dir": process.working_dir.as_deref().unwrap_or(workdir),
            })
        })
        .collect();
    Ok(json!({
        "stack": label(STACK_ID_LABEL).unwrap_or_default(),
        "rebasable": label(REBASABLE_LABEL) != Some("false"),
        "base_image": {"top_layer": metadata.run_image.top_layer, "reference": metadata.run_image.reference},
        "run_images": run_images.map(|name| json!({"name": name})).collect::<Vec<_>>(),
        "buildpacks": buildpacks,
        "processes": processes,
    }))
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
