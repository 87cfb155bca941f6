//! `hoist config`: lists, shows and changes settings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clap::{Args, Subcommand};
// A list is shown around: the user and password of a mirror's address are not in it.
use hoist_debian::masked;
use hoist_image::Reference;
use serde_json::json;

use crate::context::Context;
use crate::engine;
use crate::failure::Failure;
use crate::settings::{Key, is_registry, write_registry_mirrors, write_run_image_mirrors, write_setting};

/// Settings and where they come from
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: Option<ConfigCommand>,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// List all settings, what they mean, and where each comes from
    List,
    /// Print the value of a setting
    Get {
        /// The setting
        name: String,
    },
    /// Write a setting into the configuration file
    Set {
        /// The setting
        name: String,
        /// Its value
        value: String,
    },
    /// Remove a setting from the configuration file
    Unset {
        /// The setting
        name: String,
    },
    /// Show or set the builder of builds that name none; the builder must be there
    DefaultBuilder {
        /// Its name
        name: Option<String>,
        /// Go back to hoist's own
        #[arg(short, long, conflicts_with = "name")]
        unset: bool,
    },
    /// Show or set when images are fetched before a build
    PullPolicy {
        /// always, if-not-present or never
        policy: Option<String>,
        /// Go back to the default
        #[arg(short, long, conflicts_with = "policy")]
        unset: bool,
    },
    /// Show or change the names by which run images are looked for before their own
    RunImageMirrors {
        #[command(subcommand)]
        command: Option<MirrorsCommand>,
    },
    /// Show or change where images are looked for before their own registry
    RegistryMirrors {
        #[command(subcommand)]
        command: Option<RegistryMirrorsCommand>,
    },
}

#[derive(Debug, Subcommand)]
enum RegistryMirrorsCommand {
    /// List the mirrors of all registries
    List,
    /// Set the mirrors of a registry
    Add {
        /// The registry, HOST or HOST:PORT; * for all that have none of their own
        registry: String,
        /// HOST or HOST:PORT, with the path before the repositories where there is one; the first is asked first
        #[arg(short, long = "mirror", value_name = "MIRROR", value_delimiter = ',', required = true)]
        mirrors: Vec<String>,
    },
    /// Remove the mirrors of a registry
    Remove {
        /// The registry
        registry: String,
    },
}

#[derive(Debug, Subcommand)]
enum MirrorsCommand {
    /// List the mirrors of all run images, or of one
    List {
        /// The run image
        image: Option<String>,
    },
    /// Add mirrors of a run image
    Add {
        /// The run image, as its builder names it
        image: String,
        /// Further names of it
        #[arg(short, long = "mirror", value_name = "NAME", value_delimiter = ',', required = true)]
        mirrors: Vec<String>,
    },
    /// Remove mirrors of a run image
    Remove {
        /// The run image
        image: String,
        /// Which; all of them without any
        #[arg(short, long = "mirror", value_name = "NAME", value_delimiter = ',')]
        mirrors: Vec<String>,
    },
}

impl ConfigArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        match self.command.unwrap_or(ConfigCommand::List) {
            ConfigCommand::List => list(context),
            ConfigCommand::Get { name } => get(context, &name),
            ConfigCommand::Set { name, value } => change(context, &name, Some(&value)),
            ConfigCommand::Unset { name } => change(context, &name, None),
            ConfigCommand::DefaultBuilder { name, unset } => {
                if let Some(name) = &name {
                    check_builder(context, name)?;
                }
                show_or_change(context, Key::DefaultBuilder, name.as_deref(), unset)
            }
            ConfigCommand::PullPolicy { policy, unset } => {
                show_or_change(context, Key::PullPolicy, policy.as_deref(), unset)
            }
            ConfigCommand::RunImageMirrors { command } => {
                mirrors(context, command.unwrap_or(MirrorsCommand::List { image: None }))
            }
            ConfigCommand::RegistryMirrors { command } => {
                registry_mirrors(context, command.unwrap_or(RegistryMirrorsCommand::List))
            }
        }
    }
}

fn list(context: &Context) -> Result<(), Failure> {
    let rows: Vec<_> = Key::ALL.iter().map(|&key| (key, context.settings.get_with_origin(key))).collect();
    if context.json {
        let settings: Vec<_> = rows
            .iter()
            .map(|(key, value)| {
                json!({
                    "name": key.name(),
                    "value": value.map(|(value, _)| masked(value)),
                    "origin": value.map(|(_, origin)| origin.name()),
                    "help": key.help(),
                })
            })
            .collect();
        return context.print_json(&json!({"file": context.settings.config_path(), "settings": settings}));
    }
    if let Some(path) = context.settings.config_path() {
        context.print(&format!("# {}\n", path.display()))?;
    }
    for (key, value) in rows {
        let value = value.map_or_else(
            || "(not set)".to_owned(),
            |(value, origin)| format!("{}  ({})", masked(value), origin.name()),
        );
        context.print(&format!("{:<16} {value}\n{:<16} {}\n", key.name(), "", key.help()))?;
    }
    Ok(())
}

/// The commands of pack for one setting: without a value it is shown.
fn show_or_change(context: &Context, key: Key, value: Option<&str>, unset: bool) -> Result<(), Failure> {
    match value {
        Some(value) => change(context, key.name(), Some(value)),
        None if unset => change(context, key.name(), None),
        None => {
            if context.settings.get(key).is_none() {
                context.reporter.step(&format!("{} is not set: {}", key.name(), key.help()));
            }
            get(context, key.name())
        }
    }
}

/// A default that is not there would fail every build that names none. Hoist's own is made when it is needed.
fn check_builder(context: &Context, name: &str) -> Result<(), Failure> {
    let name: Reference = name.parse()?;
    if name.name() != "hoist/builder" {
        engine::open(context)?.inspect_builder(Some(&name))?;
    }
    Ok(())
}

fn mirrors(context: &Context, command: MirrorsCommand) -> Result<(), Failure> {
    let there = context.settings.run_image_mirrors();
    let known = |image: &str| there.get(image).cloned().unwrap_or_default();
    let (image, all) = match command {
        MirrorsCommand::List { image } => return list_mirrors(context, image.as_deref()),
        MirrorsCommand::Add { image, mirrors } => {
            for name in std::iter::once(&image).chain(&mirrors) {
                name.parse::<Reference>()?;
            }
            let all: BTreeSet<String> = known(&image).into_iter().chain(mirrors).collect();
            (image, all.into_iter().collect())
        }
        MirrorsCommand::Remove { image, mirrors } if mirrors.is_empty() => (image, Vec::new()),
        MirrorsCommand::Remove { image, mirrors } => {
            let left = known(&image).into_iter().filter(|mirror| !mirrors.contains(mirror)).collect();
            (image, left)
        }
    };
    let path = config_path(context)?;
    write_run_image_mirrors(path, &image, all.clone())?;
    if context.json {
        return context.print_json(&json!({"file": path, "run_image": image, "mirrors": all}));
    }
    Ok(())
}

fn list_mirrors(context: &Context, image: Option<&str>) -> Result<(), Failure> {
    let there = context.settings.run_image_mirrors();
    let shown: BTreeMap<_, _> = there.iter().filter(|(name, _)| image.is_none_or(|image| image == *name)).collect();
    if context.json {
        return context.print_json(&json!({"run_image_mirrors": shown}));
    }
    for (name, mirrors) in shown {
        context.print(&format!("{name}\n"))?;
        for mirror in mirrors {
            context.print(&format!("  {mirror}\n"))?;
        }
    }
    Ok(())
}

fn registry_mirrors(context: &Context, command: RegistryMirrorsCommand) -> Result<(), Failure> {
    let (registry, mirrors) = match command {
        RegistryMirrorsCommand::List => return list_registry_mirrors(context),
        RegistryMirrorsCommand::Add { registry, mirrors } => (registry, mirrors),
        RegistryMirrorsCommand::Remove { registry } => (registry, Vec::new()),
    };
    if registry != "*" && !is_registry(&registry) {
        return Err(Failure::usage(format!("{registry:?} is no registry"), "write HOST, HOST:PORT, or * for all"));
    }
    let all = std::iter::once((registry.clone(), mirrors.clone())).collect();
    hoist_image::RegistrySettings { mirrors: all, ..hoist_image::RegistrySettings::default() }.check()?;
    let path = config_path(context)?;
    write_registry_mirrors(path, &registry, mirrors.clone())?;
    if context.json {
        return context.print_json(&json!({"file": path, "registry": registry, "mirrors": mirrors}));
    }
    Ok(())
}

fn list_registry_mirrors(context: &Context) -> Result<(), Failure> {
    let there = context.settings.registry_mirrors();
    if context.json {
        return context.print_json(&json!({"registry_mirrors": there}));
    }
    for (registry, mirrors) in there {
        context.print(&format!("{registry}\n"))?;
        for mirror in mirrors {
            context.print(&format!("  {mirror}\n"))?;
        }
    }
    Ok(())
}

fn get(context: &Context, name: &str) -> Result<(), Failure> {
    let key = Key::ALL.into_iter().find(|key| key.name() == name);
    let Some(key) = key else {
        let names = Key::ALL.map(Key::name).join(", ");
        return Err(Failure::usage(
            format!("there is no setting {name:?}; the settings are {names}"),
            "hoist config list",
        ));
    };
    let value = context.settings.get(key);
    if context.json {
        return context.print_json(&json!({"name": name, "value": value}));
    }
    value.map_or(Ok(()), |value| context.print(&format!("{value}\n")))
}

fn config_path(context: &Context) -> Result<&Path, Failure> {
    context.settings.config_path().ok_or_else(|| {
        Failure::usage(
            "cannot tell where the configuration file is: HOME is not set",
            "HOIST_CONFIG=FILE hoist config set …",
        )
    })
}

fn change(context: &Context, name: &str, value: Option<&str>) -> Result<(), Failure> {
    let path = config_path(context)?;
    write_setting(path, name, value)?;
    if context.json {
        return context.print_json(&json!({"file": path, "name": name, "value": value}));
    }
    Ok(())
}
