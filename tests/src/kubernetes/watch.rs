//! Everything that happened to the pods of a cluster, in order, as the API server told it.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;
use serde_json::{Deserializer, Value};

use super::gfs_cluster::{GfsCluster, Pod};

/// A watch that runs.
#[derive(Debug)]
pub struct Watch {
    kubectl: Child,
    reader: Option<JoinHandle<Result<Vec<Event>>>>,
}

/// What happened to a pod.
#[derive(Debug, Clone)]
pub struct Event {
    /// It is no more.
    pub deleted: bool,
    /// As it was then.
    pub pod: Pod,
}

#[derive(Deserialize)]
struct Told {
    #[serde(rename = "type")]
    kind: String,
    object: Value,
}

impl Watch {
    /// Begins to watch the pods of a cluster.
    ///
    /// # Errors
    /// When `kubectl` does not start.
    pub fn start(cluster: &GfsCluster<'_>) -> Result<Self> {
        let mut kubectl = Command::new("kubectl");
        kubectl.args(["--namespace", &cluster.namespace.name, "get", "pods", "--watch"]);
        kubectl.args(["--selector", &cluster.selector()]);
        kubectl.args(["--output-watch-events", "--output", "json"]);
        let mut kubectl = kubectl.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = kubectl.stdout.take().context("stdout is piped")?;
        let reader = std::thread::spawn(move || {
            let told = Deserializer::from_reader(stdout).into_iter::<Told>();
            // The end of the watch cuts the last event.
            told.map_while(Result::ok)
                .map(|told| {
                    Ok(Event { deleted: told.kind == "DELETED", pod: Pod::of(&told.object)? })
                })
                .collect()
        });
        Ok(Self { kubectl, reader: Some(reader) })
    }

    /// All that happened.
    ///
    /// # Errors
    /// When the watch was not well.
    pub fn end(mut self) -> Result<Vec<Event>> {
        let ended = self.kubectl.try_wait()?;
        ensure!(ended.is_none(), "the watch ended before it should: {ended:?}");
        self.kubectl.kill()?;
        let reader = self.reader.take().context("there until the end")?;
        reader.join().map_err(|_| anyhow!("the reader of the watch panicked"))?
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}

/// The most pods of a component that were missing or not ready at once, of those that were ready when the watch began.
#[must_use]
pub fn most_away(events: &[Event], component: &str, count: usize) -> usize {
    let mut ready: BTreeMap<&str, bool> = BTreeMap::new();
    let mut most = 0;
    for event in events.iter().filter(|event| event.pod.component == component) {
        let began_whole = ready.len() == count;
        ready.insert(&event.pod.name, event.pod.ready && !event.deleted);
        if began_whole {
            most = most.max(ready.values().filter(|ready| !**ready).count());
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, ready: bool, deleted: bool) -> Event {
        let pod = Pod {
            name: name.to_owned(),
            uid: String::new(),
            node: String::new(),
            component: "chunkserver".to_owned(),
            ready,
            restarts: 0,
        };
        Event { deleted, pod }
    }

    #[test]
    fn pods_that_are_away_together_are_counted() {
        let mut events = vec![event("a", true, false), event("b", true, false)];
        assert_eq!(most_away(&events, "chunkserver", 2), 0);
        events.extend([event("a", true, true), event("a", true, false), event("b", false, false)]);
        assert_eq!(most_away(&events, "chunkserver", 2), 1);
        events.push(event("a", false, false));
        assert_eq!(most_away(&events, "chunkserver", 2), 2);
        assert_eq!(most_away(&events, "master", 1), 0);
    }
}
