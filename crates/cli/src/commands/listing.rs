//! What `inspect`, `builder inspect` and `buildpack inspect` show alike, as pack shows it: the formats, a table of buildpacks and the tree of an order.

use std::fmt::Write as _;

use clap::ValueEnum;
use hoist_spec::{DetectionNode, ModuleInfo};

/// How something is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    /// Text
    HumanReadable,
    /// JSON, as pack writes it
    Json,
    /// YAML, as pack writes it
    Yaml,
    /// TOML, as pack writes it
    Toml,
}

/// Buildpacks in columns.
pub(super) fn table(modules: &[ModuleInfo]) -> String {
    let or = |text: &Option<String>| text.clone().filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned());
    let mut rows = vec![["ID", "NAME", "VERSION", "HOMEPAGE"].map(str::to_owned)];
    rows.extend(modules.iter().map(|one| [one.id.clone(), or(&one.name), one.version.clone(), or(&one.homepage)]));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths = [width(0), width(1), width(2)];
    let mut text = String::new();
    for [id, name, version, homepage] in &rows {
        let [first, second, third] = widths;
        let _ = writeln!(text, "  {id:<first$}        {name:<second$}        {version:<third$}        {homepage}");
    }
    text
}

/// Groups with their buildpacks, and the groups that composites stand for.
pub(super) fn order_tree(groups: &[Vec<DetectionNode>]) -> String {
    let mut lines = Vec::new();
    add_groups(&mut lines, "", groups);
    let width = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for (line, marks) in lines {
        let _ = if marks.is_empty() { writeln!(text, "{line}") } else { writeln!(text, "{line:<width$}    {marks}") };
    }
    if text.is_empty() { "  (none)\n".to_owned() } else { text }
}

fn add_groups(lines: &mut Vec<(String, String)>, prefix: &str, groups: &[Vec<DetectionNode>]) {
    for (at, group) in groups.iter().enumerate() {
        let (branch, below) = branch(at + 1 == groups.len());
        lines.push((format!("{prefix}{branch}Group #{}:", at + 1), String::new()));
        let prefix = format!("{prefix}{below}");
        for (at, node) in group.iter().enumerate() {
            let (branch, below) = self::branch(at + 1 == group.len());
            let version =
                if node.entry.version.is_empty() { String::new() } else { format!("@{}", node.entry.version) };
            let optional = if node.entry.optional { "(optional)" } else { "" };
            let cyclic = if node.cyclic { "[cyclic]" } else { "" };
            lines.push((format!("{prefix}{branch}{}{version}", node.entry.id), format!("{optional}{cyclic}")));
            add_groups(lines, &format!("{prefix}{below}"), &node.groups);
        }
    }
}

fn branch(is_last: bool) -> (&'static str, &'static str) {
    if is_last { (" └ ", "   ") } else { (" ├ ", " │ ") }
}

/// A depth as it is typed: below zero as far as it goes.
pub(super) fn depth(typed: i64) -> Option<usize> {
    usize::try_from(typed).ok()
}

#[cfg(test)]
mod tests {
    use hoist_spec::GroupEntry;

    use super::*;

    #[test]
    fn a_tree_has_the_branches_that_pack_draws() {
        let node = |entry: GroupEntry, groups| DetectionNode { entry, cyclic: false, groups };
        let leaf = |id: &str| node(GroupEntry::new(id, "1"), Vec::new());
        let inner = vec![vec![leaf("c")], vec![node(GroupEntry::new("d", "").optional(), Vec::new())]];
        let tree = [vec![node(GroupEntry::new("a", "1"), inner), leaf("b")], vec![leaf("e")]];
        let expected = " ├ Group #1:
 │  ├ a@1
 │  │  ├ Group #1:
 │  │  │  └ c@1
 │  │  └ Group #2:
 │  │     └ d         (optional)
 │  └ b@1
 └ Group #2:
    └ e@1
";
        assert_eq!(order_tree(&tree), expected);
        assert_eq!(order_tree(&[]), "  (none)\n");
    }

    #[test]
    fn a_table_is_as_wide_as_its_widest_cells() {
        let one = ModuleInfo { id: "acme/a".into(), version: "1.0.0".into(), ..ModuleInfo::default() };
        let two = ModuleInfo { id: "b".into(), name: Some("Bee".into()), homepage: Some("x".into()), ..one.clone() };
        let expected = "  ID            NAME        VERSION        HOMEPAGE\n  acme/a        -           1.0.0          -\n  b             Bee         1.0.0          x\n";
        assert_eq!(table(&[one, two]), expected);
    }
}
