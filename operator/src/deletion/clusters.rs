//! The clusters that are watched, and the last word of each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;

use crate::crd::GfsCluster;
use crate::owner::Owner;

/// A cluster that is gone, and whose volumes somebody may expect to go.
#[derive(Debug, Clone)]
pub struct Deletion {
    /// Which one.
    pub owner: Owner,
    /// What it said.
    pub last_word: LastWord,
    /// Whether a cluster of its name came behind it.
    pub overtaken: Overtaken,
}

/// What the manifest of a deleted cluster said of its volumes in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastWord {
    /// They go.
    Delete,
    /// They go; but it never served, so it never had what may be on them.
    NeverFormatted,
    /// They went, when it was seen last; it was deleted while the watch was interrupted, and may have said otherwise since.
    Unheard,
}

/// Set once, and for good: a cluster that came and went again had the volumes, and its own last word on them. Set too where the watch
/// was interrupted, and cannot tell.
#[derive(Debug, Clone, Default)]
pub struct Overtaken(Arc<AtomicBool>);

impl Overtaken {
    /// Whether it is set.
    #[must_use]
    pub fn is_so(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Sets it.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

#[derive(Debug)]
struct Known {
    owner: Owner,
    gives_up: bool,
    /// In the list that is being read.
    is_listed: bool,
}

/// All clusters that a watch told of.
#[derive(Debug, Default)]
pub struct Clusters {
    /// By uid.
    known: BTreeMap<String, Known>,
    /// Deletions that may still be under way.
    under_way: Vec<(Owner, Overtaken)>,
}

impl Clusters {
    /// What the watch tells next; gives those that are gone and gave up their volumes.
    pub fn hear(&mut self, event: &Event<DeserializeGuard<GfsCluster>>) -> Vec<Deletion> {
        match event {
            Event::Init => {
                self.known.values_mut().for_each(|known| known.is_listed = false);
                // Who came and went meanwhile is not in the list.
                self.under_way.iter().for_each(|(_, overtaken)| overtaken.set());
            }
            Event::InitApply(cluster) | Event::Apply(cluster) => self.learn(cluster),
            Event::InitDone => return self.forget_unlisted(),
            Event::Delete(cluster) => {
                let owner = Owner::of(cluster);
                self.known.remove(&owner.uid);
                // What it says is the last that was written, and may differ from what was known.
                let last_word = last_word(cluster);
                return last_word.map(|said| self.deletion(owner, said)).into_iter().collect();
            }
        }
        Vec::new()
    }

    fn learn(&mut self, cluster: &DeserializeGuard<GfsCluster>) {
        let owner = Owner::of(cluster);
        // Whoever carries one out holds its flag, too.
        self.under_way.retain(|(_, overtaken)| Arc::strong_count(&overtaken.0) > 1);
        for (before, overtaken) in &self.under_way {
            if (&before.namespace, &before.name) == (&owner.namespace, &owner.name) {
                overtaken.set();
            }
        }
        let gives_up = last_word(cluster).is_some();
        self.known.insert(owner.uid.clone(), Known { owner, gives_up, is_listed: true });
    }

    fn forget_unlisted(&mut self) -> Vec<Deletion> {
        let gone = self.known.extract_if(.., |_, known| !known.is_listed);
        let gone: Vec<_> = gone.filter(|(_, known)| known.gives_up).collect();
        gone.into_iter().map(|(_, known)| self.deletion(known.owner, LastWord::Unheard)).collect()
    }

    fn deletion(&mut self, owner: Owner, last_word: LastWord) -> Deletion {
        let overtaken = Overtaken::default();
        self.under_way.push((owner.clone(), overtaken.clone()));
        Deletion { owner, last_word, overtaken }
    }
}

/// What a manifest that gives up its data, twice, means by it. One that cannot be read does not.
fn last_word(cluster: &DeserializeGuard<GfsCluster>) -> Option<LastWord> {
    let cluster = cluster.0.as_ref().ok()?;
    let is_formatted = cluster.status.as_ref().is_some_and(|status| status.initialized);
    let word = if is_formatted { LastWord::Delete } else { LastWord::NeverFormatted };
    let confirmation = cluster.spec.deletion_confirmation.as_deref();
    cluster.spec.deletion_policy.gives_up(confirmation).then_some(word)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    type Guarded = DeserializeGuard<GfsCluster>;

    fn cluster(uid: &str, spec: &Value) -> Guarded {
        of(uid, spec, &json!({"initialized": true}))
    }

    fn of(uid: &str, spec: &Value, status: &Value) -> Guarded {
        serde_json::from_value(json!({
            "apiVersion": "gfs.rs/v1alpha1", "kind": "GfsCluster",
            "metadata": {"name": "prod", "namespace": "storage", "uid": uid},
            "spec": spec, "status": status,
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

    #[test]
    fn a_cluster_that_never_served_never_had_what_is_on_the_volumes() {
        for status in [json!(null), json!({}), json!({"initialized": false})] {
            let gone = heard(&mut Clusters::default(), Event::Delete(of("a", &twice(), &status)));
            assert_eq!(gone, [("a".to_owned(), LastWord::NeverFormatted)], "{status}");
        }
    }

    #[test]
    fn a_deletion_is_overtaken_by_a_cluster_of_its_name_though_it_went_again() {
        let mut clusters = Clusters::default();
        let first = clusters.hear(&Event::Delete(cluster("a", &twice()))).remove(0);
        assert!(!first.overtaken.is_so());
        let other: Guarded = serde_json::from_value(json!({
            "apiVersion": "gfs.rs/v1alpha1", "kind": "GfsCluster",
            "metadata": {"name": "test", "namespace": "storage", "uid": "c"}, "spec": {},
        }))
        .unwrap();
        clusters.hear(&Event::Apply(other));
        assert!(!first.overtaken.is_so(), "of another name");
        clusters.hear(&Event::Apply(cluster("b", &json!({}))));
        clusters.hear(&Event::Delete(cluster("b", &json!({}))));
        assert!(first.overtaken.is_so());
        drop(first);
        clusters.hear(&Event::Apply(cluster("d", &json!({}))));
        assert!(clusters.under_way.is_empty(), "nobody carries it out any more");
    }

    #[test]
    fn a_deletion_is_overtaken_where_the_watch_cannot_tell() {
        let mut clusters = Clusters::default();
        let deletion = clusters.hear(&Event::Delete(cluster("a", &twice()))).remove(0);
        clusters.hear(&Event::Init);
        assert!(deletion.overtaken.is_so());
    }
}
