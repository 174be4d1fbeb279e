//! Parts of a history that say nothing of one another, so that each is searched alone.
//!
//! What is below one name of the root is a file system of its own, as long as nothing is moved out of it or into it. A search
//! costs much more than its length, so many short ones are cheap where one long one is not.

use std::collections::BTreeMap;

use crate::operation::Operation;

/// Sorts operations into such parts: for each part the places of its operations, ascending.
pub(crate) fn parts<'a>(operations: impl Iterator<Item = &'a Operation>) -> Vec<Vec<usize>> {
    let mut groups = Groups::default();
    let tops: Vec<Vec<usize>> = operations
        .map(|operation| {
            let members = operation.paths().into_iter().map(|path| groups.member(top(path)));
            members.collect()
        })
        .collect();
    for members in &tops {
        for member in &members[1..] {
            groups.join(members[0], *member);
        }
    }
    // The root sees all names.
    if let Some(root) = groups.by_name.get("").copied() {
        (0..groups.above.len()).for_each(|member| groups.join(root, member));
    }
    let mut parts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (place, members) in tops.iter().enumerate() {
        parts.entry(groups.head(members[0])).or_default().push(place);
    }
    parts.into_values().collect()
}

/// The first name of a path; empty for the root.
fn top(path: &str) -> &str {
    path.split('/').nth(1).unwrap_or_default()
}

/// Names that belong together: each points to another of its group, the head to itself.
#[derive(Default)]
struct Groups<'a> {
    by_name: BTreeMap<&'a str, usize>,
    above: Vec<usize>,
}

impl<'a> Groups<'a> {
    fn member(&mut self, name: &'a str) -> usize {
        let next = self.above.len();
        let member = *self.by_name.entry(name).or_insert(next);
        if member == next {
            self.above.push(next);
        }
        member
    }

    fn head(&self, member: usize) -> usize {
        let mut head = member;
        while self.above[head] != head {
            head = self.above[head];
        }
        head
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.head(one), self.head(other));
        self.above[one.max(other)] = one.min(other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(path: &str) -> Operation {
        Operation::Stat { path: path.to_owned() }
    }

    fn rename(from: &str, to: &str) -> Operation {
        Operation::Rename { from: from.to_owned(), to: to.to_owned(), replace: false }
    }

    #[test]
    fn what_is_below_different_names_is_apart() {
        let operations = [stat("/a/x"), stat("/b"), stat("/a"), stat("/b/y")];
        assert_eq!(parts(operations.iter()), [vec![0, 2], vec![1, 3]]);
    }

    #[test]
    fn a_rename_brings_two_together_and_others_after_them() {
        let operations = [stat("/a"), stat("/b"), stat("/c"), rename("/c/x", "/a/x"), stat("/d")];
        assert_eq!(parts(operations.iter()), [vec![0, 2, 3], vec![1], vec![4]]);
    }

    #[test]
    fn whoever_lists_the_root_sees_all() {
        let operations = [stat("/a"), stat("/"), stat("/b")];
        assert_eq!(parts(operations.iter()), [vec![0, 1, 2]]);
    }

    #[test]
    fn a_history_of_nothing_has_no_parts() {
        assert!(parts(std::iter::empty()).is_empty());
    }
}
