//! `system.toml`: buildpacks that stand before and after those of every group (Platform API 0.15).

use serde::{Deserialize, Serialize};

use crate::error::{DocumentError, parse_toml, write_toml};
use crate::order::{GroupEntry, OrderGroup};

/// One side.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemBuildpacks {
    /// In their order.
    #[serde(default)]
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
    /// Each group of the order with the system buildpacks around it.
    pub fn around(&self, order: &[OrderGroup]) -> Vec<OrderGroup> {
        let surround = |group: &OrderGroup| {
            let all = self.pre.buildpacks.iter().chain(&group.group).chain(&self.post.buildpacks);
            OrderGroup { group: all.cloned().collect() }
        };
        order.iter().map(surround).collect()
    }
}
