//! The clusters that are watched, and the last word of each.

use std::collections::BTreeMap;

use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;

use crate::crd::GfsCluster;
use crate::owner::Owner;

/// A cluster that is gone, and whose volumes somebody may expect to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// Which one.
    pub owner: Owner,
    /// What it said.
    pub last_word: LastWord,
}

/// What the manifest of a deleted cluster said of its volumes in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastWord {
    /// They go.
    Delete,
    /// They went, when it was seen last; it was deleted while the watch was interrupted, and may have said otherwise since.
    Unheard,
}

#[derive(Debug)]
struct Known {
    owner: Owner,
    gives_up: bool,
    /// In the list that is being read.
    is_listed: bool,
}

/// All clusters that a watch told of, by uid.
#[derive(Debug, Default)]
pub struct Clusters(BTreeMap<String, Known>);

impl Clusters {
    /// What the watch tells next; gives those that are gone and gave up their volumes.
    pub fn hear(&mut self, event: &Event<DeserializeGuard<GfsCluster>>) -> Vec<Deletion> {
        match event {
            Event::Init => self.0.values_mut().for_each(|known| known.is_listed = false),
            Event::InitApply(cluster) | Event::Apply(cluster) => self.learn(cluster),
            Event::InitDone => return self.forget_unlisted(),
            Event::Delete(cluster) => {
                let owner = Owner::of(cluster);
                self.0.remove(&owner.uid);
                // What it says is the last that was written, and may differ from what was known.
                let deletion = Deletion { owner, last_word: LastWord::Delete };
                return gives_up(cluster).then_some(deletion).into_iter().collect();
            }
        }
        Vec::new()
    }

    fn learn(&mut self, cluster: &DeserializeGuard<GfsCluster>) {
        let owner = Owner::of(cluster);
        let known = Known { gives_up: gives_up(cluster), is_listed: true, owner };
        self.0.insert(known.owner.uid.clone(), known);
    }

    fn forget_unlisted(&mut self) -> Vec<Deletion> {
        let gone = self.0.extract_if(.., |_, known| !known.is_listed);
        let given_up = gone.filter(|(_, known)| known.gives_up);
        let unheard =
            |(_, known): (_, Known)| Deletion { owner: known.owner, last_word: LastWord::Unheard };
        given_up.map(unheard).collect()
    }
}

/// Whether the manifest gives up its data, twice. One that cannot be read does not.
fn gives_up(cluster: &DeserializeGuard<GfsCluster>) -> bool {
    cluster.0.as_ref().is_ok_and(|cluster| {
        cluster.spec.deletion_policy.gives_up(cluster.spec.deletion_confirmation.as_deref())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    type Guarded = DeserializeGuard<GfsCluster>;

    fn cluster(uid: &str, spec: &Value) -> Guarded {
        serde_json::from_value(json!({
            "apiVersion": "gfs.rs/v1alpha1", "kind": "GfsCluster",
            "metadata": {"name": "prod", "namespace": "storage", "uid": uid},
            "spec": spec,
        }))
        .unwrap()
    }

    fn twice() -> Value {
        json!({"deletionPolicy": "Delete", "deletionConfirmation": "yes-delete-data"})
    }

    /// Who is gone, and what it said.
    fn heard(clusters: &mut Clusters, event: Event<Guarded>) -> Vec<(String, LastWord)> {
        clusters.hear(&event).into_iter().map(|it| (it.owner.uid, it.last_word)).collect()
    }

    #[test]
    fn what_is_not_said_twice_is_not_said() {
        for (spec, goes) in [
            (twice(), true),
            (json!({}), false),
            (json!({"deletionPolicy": "Retain", "deletionConfirmation": "yes-delete-data"}), false),
            (json!({"deletionPolicy": "Delete"}), false),
            (json!({"deletionPolicy": "Delete", "deletionConfirmation": "yes"}), false),
            // Not to be read.
            (
                json!({"deletionPolicy": ["Delete"], "deletionConfirmation": "yes-delete-data"}),
                false,
            ),
            (json!("all of it"), false),
        ] {
            let gone = heard(&mut Clusters::default(), Event::Delete(cluster("a", &spec)));
            assert_eq!(gone.len(), usize::from(goes), "{spec}");
        }
    }

    #[test]
    fn only_the_last_word_counts() {
        let mut clusters = Clusters::default();
        assert_eq!(heard(&mut clusters, Event::Apply(cluster("a", &twice()))), []);
        // Written and deleted in one breath: the watch tells of both at once, in the end.
        assert_eq!(heard(&mut clusters, Event::Delete(cluster("a", &json!({})))), []);
        assert_eq!(heard(&mut clusters, Event::Apply(cluster("b", &json!({})))), []);
        let gone = heard(&mut clusters, Event::Delete(cluster("b", &twice())));
        assert_eq!(gone, [("b".to_owned(), LastWord::Delete)]);
    }

    #[test]
    fn a_deletion_that_nobody_saw_has_no_last_word() {
        let mut clusters = Clusters::default();
        let list = |clusters: &mut Clusters, listed: &[(&str, Value)]| {
            assert_eq!(heard(clusters, Event::Init), []);
            for (uid, spec) in listed {
                assert_eq!(heard(clusters, Event::InitApply(cluster(uid, spec))), []);
            }
            heard(clusters, Event::InitDone)
        };
        let all = [("stays", twice()), ("goes", twice()), ("retained", json!({}))];
        assert_eq!(list(&mut clusters, &all), []);
        // Listed once more, after an interruption.
        let gone = list(&mut clusters, &[("stays", twice()), ("new", twice())]);
        assert_eq!(gone, [("goes".to_owned(), LastWord::Unheard)]);
        // Told once.
        assert_eq!(list(&mut clusters, &[("stays", twice()), ("new", twice())]), []);
        let gone = heard(&mut clusters, Event::Delete(cluster("stays", &twice())));
        assert_eq!(gone, [("stays".to_owned(), LastWord::Delete)]);
    }
}
