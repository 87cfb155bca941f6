//! The order of a build from that of its builder and what is asked for instead of it and around it, as pack makes it.

use hoist_spec::{GroupEntry, OrderGroup};

/// A piece of the group that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// A buildpack.
    One(GroupEntry),
    /// `from=builder`: the groups of the builder's order.
    Builder,
}

/// One group of `pieces`; where the builder's order is one of them, as many groups as that has.
pub(super) fn instead(builder: &[OrderGroup], pieces: &[Piece]) -> Vec<OrderGroup> {
    let mut groups = vec![OrderGroup::default()];
    for piece in pieces {
        match piece {
            Piece::One(entry) => groups.iter_mut().for_each(|group| group.group.push(entry.clone())),
            Piece::Builder => {
                groups = groups
                    .iter()
                    .flat_map(|above| builder.iter().map(|group| joined(&[&above.group, &group.group])))
                    .collect();
            }
        }
    }
    groups
}

/// The builder's order with `pre` before and `post` behind each of its groups, both as they are listed.
pub(super) fn around(builder: &[OrderGroup], pre: &[GroupEntry], post: &[GroupEntry]) -> Vec<OrderGroup> {
    match builder {
        [] => vec![joined(&[pre, post])],
        groups => groups.iter().map(|group| joined(&[pre, &group.group, post])).collect(),
    }
}

fn joined(parts: &[&[GroupEntry]]) -> OrderGroup {
    OrderGroup { group: parts.concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(ids: &str) -> OrderGroup {
        OrderGroup { group: ids.split_whitespace().map(|id| GroupEntry::new(id, "1")).collect() }
    }

    fn shown(groups: &[OrderGroup]) -> Vec<String> {
        let ids = |group: &OrderGroup| group.group.iter().map(|entry| entry.id.clone()).collect::<Vec<_>>().join(" ");
        groups.iter().map(ids).collect()
    }

    #[test]
    fn the_builders_order_stands_where_it_is_asked_for() {
        let builder = [group("A B"), group("A")];
        let one = |id: &str| Piece::One(GroupEntry::new(id, "1"));
        let with = |pieces: &[Piece]| shown(&instead(&builder, pieces));
        assert_eq!(with(&[one("X")]), ["X"]);
        assert_eq!(with(&[one("X"), one("Y")]), ["X Y"]);
        assert_eq!(with(&[Piece::Builder, one("X")]), ["A B X", "A X"]);
        assert_eq!(with(&[one("X"), Piece::Builder, one("Y")]), ["X A B Y", "X A Y"]);
    }

    #[test]
    fn before_and_behind_keep_the_order_in_which_they_are_named() {
        let (pre, post) = (group("X Y").group, group("Z").group);
        assert_eq!(shown(&around(&[group("A B"), group("A")], &pre, &post)), ["X Y A B Z", "X Y A Z"]);
        assert_eq!(shown(&around(&[], &pre, &post)), ["X Y Z"]);
    }
}
