//! `order.toml` and the order of a composite buildpack: which groups of buildpacks are tried, and their flattening.
//!
//! A composite stands for its own order; a group with composites therefore stands for several flat groups, tried one after another.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::buildpack_toml::BuildpackDescriptor;
use crate::error::{DocumentError, parse_toml, write_toml};

/// A buildpack in a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GroupEntry {
    /// Its id.
    pub id: String,
    /// Its version; builders may leave it out where they hold one version only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Whether the group may go on without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// Execution environments it applies to; empty means all.
    #[serde(
        default,
        deserialize_with = "crate::error::null_as_default",
        rename = "exec-env",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub exec_env: Vec<String>,
}

impl GroupEntry {
    /// An entry that is not optional.
    pub fn new(id: impl Into<String>, version: impl Into<String>) -> Self {
        Self { id: id.into(), version: version.into(), optional: false, exec_env: Vec::new() }
    }

    /// The same, optional.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }
}

/// One `[[order]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderGroup {
    /// Its buildpacks, in the order in which they build.
    #[serde(default, deserialize_with = "crate::error::null_as_default")]
    pub group: Vec<GroupEntry>,
}

/// `order.toml`: groups in the order in which they are tried.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Groups of buildpacks.
    #[serde(default)]
    pub order: Vec<OrderGroup>,
    /// Groups of image extensions.
    #[serde(default, rename = "order-extensions", skip_serializing_if = "Vec::is_empty")]
    pub order_extensions: Vec<OrderGroup>,
}

impl Order {
    /// Reads `order.toml`. "Both `id` and `version` MUST be present for each buildpack object in a group."
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let order: Self = parse_toml("order.toml", text)?;
        for (g, group) in order.order.iter().enumerate() {
            for (e, entry) in group.group.iter().enumerate() {
                let field = format!("order[{g}].group[{e}]");
                if entry.id.is_empty() || entry.version.is_empty() {
                    return Err(DocumentError::invalid(
                        "order.toml",
                        field,
                        "id and version must not be empty",
                        "name the id and the version of a buildpack of the builder",
                    ));
                }
            }
        }
        Ok(order)
    }

    /// Writes `order.toml`.
    pub fn write(&self) -> Result<String, DocumentError> {
        write_toml("order.toml", self)
    }
}

/// Why an order cannot be flattened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OrderError {
    /// A buildpack that the builder does not hold.
    #[error("buildpack {id}@{version} is in the order but not in the builder")]
    Unknown {
        /// Its id.
        id: String,
        /// Its version.
        version: String,
    },
    /// A composite that contains itself.
    #[error("composite buildpack {id} contains itself")]
    Cycle {
        /// Its id.
        id: String,
    },
    /// Composites that stand for too many groups.
    #[error("the order stands for more than {limit} groups")]
    TooMany {
        /// The bound.
        limit: usize,
    },
}

/// More flat groups than any real builder has.
const MAX_GROUPS: usize = 1024;
/// Deeper than any real composite of composites.
const MAX_DEPTH: usize = 32;

/// Flattens an order: each composite is replaced by each of its groups in turn (and by nothing at last, if it is optional); of
/// buildpacks with the same id in a group the first stays. `lookup` answers with the descriptor of a buildpack.
pub fn flatten_order<'a>(
    order: &[OrderGroup],
    lookup: &dyn Fn(&str, &str) -> Option<&'a BuildpackDescriptor>,
) -> Result<Vec<Vec<GroupEntry>>, OrderError> {
    let mut flat = Vec::new();
    for group in order {
        let rest: Vec<Pending> = group.group.iter().map(|entry| (entry.clone(), Vec::new())).collect();
        flatten(Vec::new(), &rest, lookup, &mut flat)?;
    }
    Ok(flat)
}

/// An entry yet to be looked at, and the composites that it comes from.
type Pending = (GroupEntry, Vec<(String, String)>);

fn flatten<'a>(
    mut done: Vec<GroupEntry>,
    rest: &[Pending],
    lookup: &dyn Fn(&str, &str) -> Option<&'a BuildpackDescriptor>,
    flat: &mut Vec<Vec<GroupEntry>>,
) -> Result<(), OrderError> {
    for (at, (entry, inside)) in rest.iter().enumerate() {
        if done.iter().any(|d| d.id == entry.id) {
            continue;
        }
        let descriptor = lookup(&entry.id, &entry.version)
            .ok_or_else(|| OrderError::Unknown { id: entry.id.clone(), version: entry.version.clone() })?;
        if descriptor.order.is_empty() {
            done.push(entry.clone());
            continue;
        }
        let key = (entry.id.clone(), entry.version.clone());
        if inside.contains(&key) || inside.len() > MAX_DEPTH {
            return Err(OrderError::Cycle { id: entry.id.clone() });
        }
        let path: Vec<(String, String)> = inside.iter().cloned().chain([key]).collect();
        let after = &rest[at + 1..];
        for group in &descriptor.order {
            let inner = group.group.iter().map(|entry| (entry.clone(), path.clone()));
            let inner: Vec<Pending> = inner.chain(after.iter().cloned()).collect();
            flatten(done.clone(), &inner, lookup, flat)?;
        }
        if entry.optional {
            flatten(done, after, lookup, flat)?;
        }
        return Ok(());
    }
    if flat.len() >= MAX_GROUPS {
        return Err(OrderError::TooMany { limit: MAX_GROUPS });
    }
    flat.push(done);
    Ok(())
}
