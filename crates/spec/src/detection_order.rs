//! The order of a builder or of a composite buildpack as a tree, for people: composites with the groups that they stand for.

use crate::builder_labels::BuildpackLayersLabel;
use crate::order::{GroupEntry, OrderGroup};

/// More than a person reads, and a bound for composites that name each other many times.
const MAX_NODES: usize = 10_000;

/// A buildpack in a group, with the groups of its own where it is a composite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetectionNode {
    /// As the group names it.
    pub entry: GroupEntry,
    /// It stands inside of itself; its groups are not shown again.
    pub cyclic: bool,
    /// Its groups, as deep as was asked for.
    pub groups: Vec<Vec<DetectionNode>>,
}

/// The groups of `order`. Composites are followed `depth` times; without a depth as far as they go.
pub fn detection_tree(
    order: &[OrderGroup],
    layers: &BuildpackLayersLabel,
    depth: Option<usize>,
) -> Vec<Vec<DetectionNode>> {
    let mut growing = Growing { layers, left: MAX_NODES, path: Vec::new() };
    growing.groups(order, depth)
}

struct Growing<'a> {
    layers: &'a BuildpackLayersLabel,
    left: usize,
    /// Id and version of the composites on the way.
    path: Vec<(String, String)>,
}

impl Growing<'_> {
    fn groups(&mut self, order: &[OrderGroup], depth: Option<usize>) -> Vec<Vec<DetectionNode>> {
        let group = |group: &OrderGroup| group.group.iter().map(|entry| self.node(entry, depth)).collect();
        order.iter().map(group).collect()
    }

    fn node(&mut self, entry: &GroupEntry, depth: Option<usize>) -> DetectionNode {
        let mut node = DetectionNode { entry: entry.clone(), cyclic: false, groups: Vec::new() };
        self.left = self.left.saturating_sub(1);
        let layers = self.layers;
        let Some(versions) = layers.0.get(&entry.id) else { return node };
        let found = match (entry.version.as_str(), versions.len()) {
            ("", 1) => versions.first_key_value(),
            (version, _) => versions.get_key_value(version),
        };
        let Some((version, info)) = found.filter(|(_, info)| !info.order.is_empty()) else { return node };
        let key = (entry.id.clone(), version.clone());
        node.cyclic = self.path.contains(&key);
        if node.cyclic || depth == Some(0) || self.left == 0 {
            return node;
        }
        self.path.push(key);
        node.groups = self.groups(&info.order, depth.map(|depth| depth - 1));
        self.path.pop();
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a` is `b` and `c`, or `c`; `b` is `c`, and itself.
    fn layers() -> BuildpackLayersLabel {
        let text = r#"{
            "a": {"1": {"api": "0.10", "layerDiffID": "", "order": [
                {"group": [{"id": "b", "version": "1"}, {"id": "c", "version": "1", "optional": true}]},
                {"group": [{"id": "c", "version": "1"}]}]}},
            "b": {"1": {"api": "0.10", "layerDiffID": "", "order": [
                {"group": [{"id": "c", "version": "1"}, {"id": "b", "version": "1"}]}]}},
            "c": {"1": {"api": "0.10", "layerDiffID": ""}}
        }"#;
        BuildpackLayersLabel::parse(text).unwrap()
    }

    fn shown(groups: &[Vec<DetectionNode>]) -> String {
        let node = |node: &DetectionNode| {
            let cyclic = if node.cyclic { "!" } else { "" };
            let inner = if node.groups.is_empty() { String::new() } else { format!("({})", shown(&node.groups)) };
            format!("{}{cyclic}{inner}", node.entry.id)
        };
        let group = |group: &Vec<DetectionNode>| group.iter().map(node).collect::<Vec<_>>().join(" ");
        groups.iter().map(group).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn composites_are_followed_as_deep_as_asked_and_never_in_a_circle() {
        let order = [OrderGroup { group: vec![GroupEntry::new("a", ""), GroupEntry::new("gone", "1")] }];
        let tree = |depth| shown(&detection_tree(&order, &layers(), depth));
        assert_eq!(tree(None), "a(b(c b!) c | c) gone");
        assert_eq!(tree(Some(0)), "a gone");
        assert_eq!(tree(Some(1)), "a(b c | c) gone");
    }

    fn count(groups: &[Vec<DetectionNode>]) -> usize {
        groups.iter().flatten().map(|node| 1 + count(&node.groups)).sum()
    }

    #[test]
    fn a_tree_that_would_never_end_is_cut() {
        let mut label = BuildpackLayersLabel::default();
        for at in 0..40 {
            let twice = vec![OrderGroup { group: vec![GroupEntry::new(format!("n{}", at + 1), "1"); 2] }];
            let mut info = layers().0["a"]["1"].clone();
            info.order = twice;
            label.0.entry(format!("n{at}")).or_default().insert("1".to_owned(), info);
        }
        let order = [OrderGroup { group: vec![GroupEntry::new("n0", "1")] }];
        assert!(count(&detection_tree(&order, &label, None)) < MAX_NODES + 100);
    }
}
