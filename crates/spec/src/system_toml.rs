//! `system.toml`: buildpacks that stand before and after those of every group (Platform API 0.15).

use serde::{Deserialize, Serialize};

use crate::error::{DocumentError, parse_json, parse_toml, write_json, write_toml};
use crate::order::{GroupEntry, OrderGroup};

/// One side.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemBuildpacks {
    /// In their order.
    #[serde(default, deserialize_with = "crate::error::null_as_default")]
    pub buildpacks: Vec<GroupEntry>,
}

/// The `[system]` table, also the label `io.buildpacks.buildpack.system`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// Before each group.
    #[serde(default)]
    pub pre: SystemBuildpacks,
    /// After each group.
    #[serde(default)]
    pub post: SystemBuildpacks,
}

/// `system.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemToml {
    /// Its one table.
    #[serde(default)]
    pub system: System,
}

impl SystemToml {
    /// Reads `system.toml`.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        parse_toml("system.toml", text)
    }

    /// Writes `system.toml`.
    pub fn write(&self) -> Result<String, DocumentError> {
        write_toml("system.toml", self)
    }
}

impl System {
    /// Reads the label `io.buildpacks.buildpack.system`.
    pub fn from_label(text: &str) -> Result<Self, DocumentError> {
        parse_json("io.buildpacks.buildpack.system", text)
    }

    /// The text of the label `io.buildpacks.buildpack.system`.
    pub fn to_label(&self) -> Result<String, DocumentError> {
        write_json("io.buildpacks.buildpack.system", self)
    }

    /// Each group of the order with the system buildpacks around it. They "SHALL NOT be merged if the group already contains a buildpack
    /// with the same ID": the group's own stays where it is, in its own version.
    pub fn around(&self, order: &[OrderGroup]) -> Vec<OrderGroup> {
        let surround = |group: &OrderGroup| {
            let is_new = |system: &&GroupEntry| group.group.iter().all(|own| own.id != system.id);
            let pre = self.pre.buildpacks.iter().filter(is_new);
            let post = self.post.buildpacks.iter().filter(is_new);
            OrderGroup { group: pre.chain(&group.group).chain(post).cloned().collect() }
        };
        order.iter().map(surround).collect()
    }
}
