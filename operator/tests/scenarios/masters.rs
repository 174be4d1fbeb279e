//! Masters that keep what they hold in the map, one process for each pod.

use futures::future::BoxFuture;
use gfs_operator::master::{Glance, Line, MasterError, Masters, Member, Told};
use gfs_types::fence::{Incarnation, MasterEpoch};
use gfs_types::ids::{ClusterUid, ServerUid};
use gfs_types::message::client::{ChunkserverStatus, ClusterStatus};
use gfs_types::record::ConfigRecord;

use crate::world::World;

pub(crate) struct FakeMasters(pub(crate) World);

/// A connection to the process of one pod: to that pod and no other of its name.
struct FakeLine {
    world: World,
    pod: String,
    uid: String,
}

pub(crate) fn record(cluster: ClusterUid) -> ConfigRecord {
    let primary = ServerUid(1);
    ConfigRecord {
        cluster,
        incarnation: Incarnation(1),
        epoch: MasterEpoch(1),
        version: 1,
        primary,
        in_sync: vec![primary],
    }
}

fn failed(reason: &str) -> MasterError {
    MasterError { address: "the pod".to_owned(), reason: reason.to_owned() }
}

impl Masters for FakeMasters {
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, Result<Box<dyn Line>, MasterError>> {
        Box::pin(async move {
            self.0.step().await;
            let ip = address.strip_suffix(":7400").expect("the master's port");
            let state = self.0.state();
            let mut pods = state.all("pods");
            let pod = pods.find(|pod| pod["status"]["podIP"] == ip);
            let pod = pod.ok_or_else(|| failed("connection refused"))?;
            let text = |field: &str| pod["metadata"][field].as_str().unwrap().to_owned();
            let (pod, uid) = (text("name"), text("uid"));
            Ok(Box::new(FakeLine { world: self.0.clone(), pod, uid }) as Box<dyn Line>)
        })
    }
}

impl FakeLine {
    /// One call, to a process that must still be there.
    async fn call<T>(
        &self,
        what: &str,
        act: impl FnOnce(&mut crate::world::State) -> T + Send,
    ) -> Result<T, MasterError> {
        self.world.step().await;
        let done = {
            let mut state = self.world.state();
            let key = ("pods".to_owned(), self.pod.clone());
            let now = state.objects.get(&key);
            let lives = now.is_some_and(|pod| pod.body["metadata"]["uid"] == self.uid);
            if !lives {
                return Err(failed("connection lost"));
            }
            state.calls.push(what.to_owned());
            act(&mut state)
        };
        self.world.step().await;
        Ok(done)
    }
}

impl Line for FakeLine {
    fn status(&self) -> BoxFuture<'_, Result<Told, MasterError>> {
        Box::pin(self.call("ask status", |state| match state.volumes.get(&self.pod) {
            None => Told::Blank,
            Some(cluster) => Told::Formatted(Member {
                master: ServerUid(1),
                record: record(*cluster),
                serving: true,
            }),
        }))
    }

    fn format(&self, cluster: ClusterUid) -> BoxFuture<'_, Result<ConfigRecord, MasterError>> {
        Box::pin(self.call("format", move |state| {
            let held = *state.volumes.entry(self.pod.clone()).or_insert_with(|| {
                state.formatted += 1;
                cluster
            });
            assert_eq!(held, cluster, "a master refuses to be formatted for another cluster");
            record(held)
        }))
    }

    fn cluster(&self) -> BoxFuture<'_, Result<Glance, MasterError>> {
        Box::pin(self.call("ask cluster", |state| {
            let pods = state.all("pods").filter(|pod| {
                pod["metadata"]["labels"]["app.kubernetes.io/component"] == "chunkserver"
            });
            let chunkservers = pods
                .map(|pod| {
                    let name = pod["metadata"]["name"].as_str().unwrap();
                    ChunkserverStatus {
                        uid: ServerUid(2),
                        address: format!("{}:7500", pod["status"]["podIP"].as_str().unwrap()),
                        http_address: String::new(),
                        topology: format!("default/node/{name}").parse().unwrap(),
                        alive: pod["status"]["conditions"][0]["status"] == "True",
                        capacity_bytes: 1,
                        free_bytes: 1,
                        replicas: 0,
                    }
                })
                .collect();
            let status = ClusterStatus {
                chunkservers,
                chunks: 24,
                chunks_below_goal: state.chunks_below_goal,
                chunks_missing: state.chunks_missing,
                chunks_uncounted: state.chunks_uncounted,
                ..ClusterStatus::default()
            };
            Glance { status, chunk_bytes: state.chunk_bytes.unwrap_or(64 << 20) }
        }))
    }
}
