//! `hoist config`: lists, shows and changes settings.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::settings::{Key, write_setting};

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
}

impl ConfigArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        match self.command.unwrap_or(ConfigCommand::List) {
            ConfigCommand::List => list(context),
            ConfigCommand::Get { name } => get(context, &name),
            ConfigCommand::Set { name, value } => change(context, &name, Some(&value)),
            ConfigCommand::Unset { name } => change(context, &name, None),
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

/// A list is shown around: the user and password of a mirror's address are not in it.
fn masked(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}{path}"),
        None => value.to_owned(),
    }
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

fn change(context: &Context, name: &str, value: Option<&str>) -> Result<(), Failure> {
    let path = context.settings.config_path().ok_or_else(|| {
        Failure::usage(
            "cannot tell where the configuration file is: HOME is not set",
            "HOIST_CONFIG=FILE hoist config set …",
        )
    })?;
    write_setting(path, name, value)?;
    if context.json {
        return context.print_json(&json!({"file": path, "name": name, "value": value}));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn passwords_of_mirrors_are_not_listed() {
        assert_eq!(masked("https://me:p@ss@mirror.example/debian"), "https://***@mirror.example/debian");
        assert_eq!(masked("https://mirror.example/a@b"), "https://mirror.example/a@b");
        assert_eq!(masked("/a/b"), "/a/b");
    }
}
