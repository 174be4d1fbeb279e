//! A Kubernetes cluster that is a map: objects, and what their controllers and the kubelet would make of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use gfs_types::ids::ClusterUid;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// Where the cluster of the tests is.
pub(crate) const NAMESPACE: &str = "storage";
/// What it is called.
pub(crate) const NAME: &str = "prod";
/// Claims, as the API server names them.
pub(crate) const CLAIMS: &str = "persistentvolumeclaims";
pub(crate) const UID: &str = "0f6c1a52-53a7-4f4e-9d5e-2f1f8a8b1c3d";

/// Where the API server keeps objects: `(plural, name)`; everything is in one namespace.
pub(crate) type Key = (String, String);

/// One object, and what each manager applied to it.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) body: Value,
    pub(crate) applied: BTreeMap<String, Value>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) objects: BTreeMap<Key, Stored>,
    /// What is on the volume of each pod: outlives it.
    pub(crate) volumes: BTreeMap<String, ClusterUid>,
    /// Everything asked of the API server and of masters, in order.
    pub(crate) calls: Vec<String>,
    /// Reasons of the events, in order, with the pod or the child if they are of one.
    pub(crate) events: Vec<String>,
    /// How often a master was formatted.
    pub(crate) formatted: usize,
    /// What the master says of chunks that lack replicas.
    pub(crate) chunks_below_goal: u64,
    /// And of chunks without any.
    pub(crate) chunks_missing: u64,
    /// And of how many it says nothing.
    pub(crate) chunks_uncounted: u64,
    /// What nobody may delete.
    pub(crate) refused: BTreeSet<String>,
    /// The size of chunks that the master tells, if it is not the usual one.
    pub(crate) chunk_bytes: Option<u64>,
    versions: u64,
    /// Minutes since the world began.
    minutes: i64,
    /// Steps taken so far; each call has one before its effect and one behind it.
    pub(crate) steps: usize,
    /// At this step the caller hangs until it is woken.
    pub(crate) hang_at: Option<usize>,
}

/// Shared by the API server, the masters and the test.
#[derive(Clone, Default)]
pub(crate) struct World {
    state: Arc<Mutex<State>>,
    /// Told when the caller hangs.
    pub(crate) hung: Arc<Notify>,
    /// Ends it.
    pub(crate) wake: Arc<Notify>,
}

impl World {
    /// With one `GfsCluster`, of this spec.
    pub(crate) fn with(spec: Value) -> Self {
        let world = Self::default();
        let body = json!({
            "apiVersion": "gfs.rs/v1alpha1", "kind": "GfsCluster",
            "metadata": {
                "name": NAME, "namespace": NAMESPACE, "uid": UID, "generation": 1,
                "creationTimestamp": at(0),
            },
            "spec": spec,
        });
        world.state().put("gfsclusters", NAME, body);
        world
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A point at which the caller may stop.
    pub(crate) async fn step(&self) {
        let hangs = {
            let mut state = self.state();
            state.steps += 1;
            state.hang_at == Some(state.steps)
        };
        if hangs {
            self.hung.notify_one();
            self.wake.notified().await;
        }
    }

    /// Changes the cluster's manifest, as a user does.
    pub(crate) fn edit(&self, edit: impl FnOnce(&mut Value)) {
        self.state().change("gfsclusters", NAME, |body| {
            let before = body["spec"].clone();
            edit(body);
            if body["spec"] != before {
                bump(body);
            }
        });
    }

    /// The calls since the last time they were asked for.
    pub(crate) fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state().calls)
    }

    /// Of these, the ones that may change something.
    pub(crate) fn take_writes(&self) -> Vec<String> {
        let is_write = |call: &String| !call.starts_with("GET") && !call.starts_with("LIST");
        let is_question = |call: &String| call.starts_with("ask");
        self.take_calls().into_iter().filter(|call| is_write(call) && !is_question(call)).collect()
    }

    /// The body of an object.
    pub(crate) fn get(&self, plural: &str, name: &str) -> Value {
        self.state().objects[&(plural.to_owned(), name.to_owned())].body.clone()
    }

    /// A condition of the cluster: its status and reason.
    pub(crate) fn condition(&self, type_: &str) -> (String, String) {
        let status = self.get("gfsclusters", NAME)["status"].clone();
        let conditions = status["conditions"].as_array().unwrap().clone();
        let found = conditions.iter().find(|condition| condition["type"] == type_).unwrap();
        let text = |field: &str| found[field].as_str().unwrap().to_owned();
        (text("status"), text("reason"))
    }

    /// What a condition says to people.
    pub(crate) fn message(&self, type_: &str) -> String {
        let status = self.get("gfsclusters", NAME)["status"].clone();
        let conditions = status["conditions"].as_array().unwrap();
        let found = conditions.iter().find(|condition| condition["type"] == type_).unwrap();
        found["message"].as_str().unwrap().to_owned()
    }

    /// A pod does not come up.
    pub(crate) fn hold_up(&self, pod: &str, reason: &str, message: &str) {
        self.state().change("pods", pod, |pod| {
            let waiting = json!({"waiting": {"reason": reason, "message": message}});
            pod["status"]["containerStatuses"][0]["state"] = waiting;
            pod["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
        });
    }

    /// The volume of a pod is lost, and with it the pod.
    pub(crate) fn lose_volume(&self, pod: &str) {
        let mut state = self.state();
        state.lose_claim(&claim_of(pod));
        state.objects.remove(&("pods".to_owned(), pod.to_owned()));
    }

    /// `kubectl delete pvc --wait=false`: it goes when its pod does.
    pub(crate) fn delete_claim(&self, claim: &str) {
        self.state().change(CLAIMS, claim, |claim| {
            claim["metadata"]["deletionTimestamp"] = json!("2026-01-02T00:00:00Z");
        });
    }

    /// What StatefulSet controllers and kubelets do by themselves.
    pub(crate) fn turn(&self) {
        let mut state = self.state();
        state.minutes += 1;
        state.end_what_was_deleted();
        let sets: Vec<Value> = state.all("statefulsets").cloned().collect();
        for set in sets {
            state.control(&set);
        }
        state.run_pods();
    }

    /// Everything there is, without what differs from run to run.
    pub(crate) fn snapshot(&self) -> BTreeMap<Key, Value> {
        let state = self.state();
        let objects = state.objects.iter().map(|(key, stored)| {
            let mut body = stored.body.clone();
            for field in ["resourceVersion", "uid", "generation", "creationTimestamp"] {
                body["metadata"].as_object_mut().unwrap().remove(field);
            }
            strip_times(&mut body);
            (key.clone(), body)
        });
        objects.collect()
    }
}

fn strip_times(body: &mut Value) {
    if let Some(conditions) = body["status"]["conditions"].as_array_mut() {
        for condition in conditions.iter_mut().filter_map(Value::as_object_mut) {
            condition.remove("lastTransitionTime");
        }
    }
    if let Some(status) = body["status"].as_object_mut() {
        status.remove("podIP");
    }
}

/// The claim of a pod.
fn claim_of(pod: &str) -> String {
    format!("data-{pod}")
}

/// So many minutes after the world began.
fn at(minutes: i64) -> Value {
    let began: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    json!((began + SignedDuration::from_mins(minutes)).to_string())
}

pub(crate) fn is_ending(body: &Value) -> bool {
    body["metadata"]["deletionTimestamp"].is_string()
}

/// Another generation of a manifest.
pub(crate) fn bump(body: &mut Value) {
    let generation = body["metadata"]["generation"].as_i64().unwrap_or(0);
    body["metadata"]["generation"] = json!(generation + 1);
}

impl State {
    fn version(&mut self) -> String {
        self.versions += 1;
        self.versions.to_string()
    }

    /// Adds an object.
    pub(crate) fn put(&mut self, plural: &str, name: &str, mut body: Value) {
        let version = self.version();
        body["metadata"]["resourceVersion"] = json!(version);
        if body["metadata"]["uid"].is_null() {
            body["metadata"]["uid"] = json!(format!("uid-{version}"));
        }
        let key = (plural.to_owned(), name.to_owned());
        self.objects.insert(key, Stored { body, applied: BTreeMap::new() });
    }

    /// Changes an object; its version grows if it is changed.
    pub(crate) fn change(&mut self, plural: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let key = (plural.to_owned(), name.to_owned());
        let mut body = self.objects[&key].body.clone();
        change(&mut body);
        if body != self.objects[&key].body {
            let version = self.version();
            body["metadata"]["resourceVersion"] = json!(version);
            self.objects.get_mut(&key).unwrap().body = body;
        }
    }

    pub(crate) fn all<'a>(&'a self, plural: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |(key, _)| key.0 == plural).map(|(_, stored)| &stored.body)
    }

    /// Kubelets end pods, and then nothing keeps their deleted claims.
    fn end_what_was_deleted(&mut self) {
        self.objects.retain(|(plural, _), stored| plural != "pods" || !is_ending(&stored.body));
        let names = |state: &Self, plural: &str, which: fn(&Value) -> bool| -> Vec<String> {
            let bodies = state.all(plural).filter(|body| which(body));
            bodies.map(|body| body["metadata"]["name"].as_str().unwrap().to_owned()).collect()
        };
        let used: Vec<_> = names(self, "pods", |_| true).iter().map(|pod| claim_of(pod)).collect();
        for claim in names(self, CLAIMS, is_ending) {
            if !used.contains(&claim) {
                self.lose_claim(&claim);
            }
        }
    }

    /// A claim, and the volume with it.
    fn lose_claim(&mut self, claim: &str) {
        self.objects.remove(&(CLAIMS.to_owned(), claim.to_owned()));
        self.volumes.remove(claim.strip_prefix("data-").unwrap());
    }

    /// A claim that is there before its pod.
    pub(crate) fn put_claim(&mut self, pod: &str, labels: &Value, minutes: i64) {
        let body = json!({
            "metadata": {
                "name": claim_of(pod), "namespace": NAMESPACE, "labels": labels,
                "creationTimestamp": at(minutes),
            },
            "status": {"phase": "Bound"},
        });
        self.put(CLAIMS, &claim_of(pod), body);
    }

    fn control(&mut self, set: &Value) {
        let name = set["metadata"]["name"].as_str().unwrap().to_owned();
        let template = &set["spec"]["template"];
        let revision = format!("{name}-{:x}", crc(&template.to_string()));
        let replicas = set["spec"]["replicas"].as_u64().unwrap();
        for index in 0..replicas {
            let pod = format!("{name}-{index}");
            if self.objects.contains_key(&("pods".to_owned(), pod.clone())) {
                continue;
            }
            if !self.objects.contains_key(&(CLAIMS.to_owned(), claim_of(&pod))) {
                let claim = &set["spec"]["volumeClaimTemplates"][0]["metadata"];
                self.put_claim(&pod, &claim["labels"], self.minutes);
            }
            let mut labels = template["metadata"]["labels"].clone();
            labels["controller-revision-hash"] = json!(revision);
            let ip = format!("10.0.{}.{}", self.versions / 250, self.versions % 250);
            let body = json!({
                "metadata": {
                    "name": pod, "namespace": NAMESPACE, "labels": labels,
                    "ownerReferences": [{
                        "apiVersion": "apps/v1", "kind": "StatefulSet", "name": name,
                        "uid": set["metadata"]["uid"], "controller": true,
                    }],
                },
                "spec": template["spec"],
                "status": {
                    "podIP": ip,
                    "containerStatuses": [{
                        "name": "gfs", "image": "", "imageID": "", "ready": true,
                        "restartCount": 0, "state": {"running": {}},
                    }],
                },
            });
            self.put("pods", &pod, body);
        }
        let generation = set["metadata"]["generation"].clone();
        self.change("statefulsets", &name, |set| {
            set["status"] = json!({
                "replicas": replicas, "observedGeneration": generation, "updateRevision": revision,
            });
        });
    }

    /// The master is ready when it is formatted, a chunkserver when the master is.
    fn run_pods(&mut self) {
        let names: Vec<String> = self
            .all("pods")
            .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
            .collect();
        let serves = self.volumes.contains_key(&format!("{NAME}-master-0"));
        for name in names {
            self.change("pods", &name, |pod| {
                let ready = if serves { "True" } else { "False" };
                pod["status"]["conditions"] = json!([{"type": "Ready", "status": ready}]);
            });
        }
    }
}

fn crc(text: &str) -> u64 {
    text.bytes().fold(7, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)))
}
