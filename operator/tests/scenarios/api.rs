//! The API server: what the operator asks of it, over the map.

use std::convert::Infallible;

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Map, Value, json};
use tower::Service;

use crate::world::{CLAIMS, Key, State, Stored, World, bump};

#[derive(Clone)]
pub(crate) struct Api(pub(crate) World);

impl Service<Request<Body>> for Api {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let world = self.0.clone();
        if request.uri().query().is_some_and(|query| query.contains("watch=true")) {
            // Nothing is told: what there is at first wakes the passes, and they wake themselves again.
            return Box::pin(std::future::pending());
        }
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect_bytes().await.unwrap();
            let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            world.step().await;
            let asked = Asked::new(&parts, body);
            let (code, answer) = asked.answer(&mut world.state());
            world.step().await;
            let response =
                Response::builder().status(code).header("content-type", "application/json");
            Ok(response.body(Body::from(answer.to_string().into_bytes())).unwrap())
        })
    }
}

struct Asked {
    method: Method,
    plural: String,
    name: Option<String>,
    sub: Option<String>,
    query: Map<String, Value>,
    apply: bool,
    body: Value,
}

impl Asked {
    fn new(parts: &http::request::Parts, body: Value) -> Self {
        let path: Vec<_> =
            parts.uri.path().trim_matches('/').split('/').map(str::to_owned).collect();
        let start = if path[0] == "api" { 2 } else { 3 };
        assert_eq!(path[start], "namespaces", "{path:?}");
        let rest = &path[start + 2..];
        let words = parts.uri.query().unwrap_or("").split('&');
        let words = words.filter_map(|word| word.split_once('='));
        let decode = |text: &str| text.replace("%3D", "=").replace("%2C", ",").replace("%2F", "/");
        let content = parts.headers.get("content-type").map(|value| value.to_str().unwrap());
        Self {
            method: parts.method.clone(),
            plural: rest[0].clone(),
            name: rest.get(1).cloned(),
            sub: rest.get(2).cloned(),
            query: words.map(|(key, value)| (key.to_owned(), json!(decode(value)))).collect(),
            apply: content == Some("application/apply-patch+yaml"),
            body,
        }
    }

    fn answer(&self, state: &mut State) -> (u16, Value) {
        let name = self.name.clone().unwrap_or_default();
        let key = (self.plural.clone(), name.clone());
        let verb = match (&self.method, &self.name) {
            (&Method::GET, None) => "LIST",
            (&Method::PATCH, _) if self.apply => "APPLY",
            (method, _) => method.as_str(),
        };
        if self.plural == "events" {
            if self.method == Method::POST {
                let reason = self.body["reason"].as_str().unwrap();
                let related = self.body["related"]["name"].as_str();
                let event = related.map_or(reason.to_owned(), |part| format!("{reason} {part}"));
                state.events.push(event);
            }
            state.calls.push(format!("{verb} events {}", self.body["reason"].as_str().unwrap()));
            return (201, self.body.clone());
        }
        let mut call = format!("{verb} {}", self.plural);
        for part in [&self.name, &self.sub].into_iter().flatten() {
            call = format!("{call} {part}");
        }
        state.calls.push(call);
        match verb {
            "LIST" => (200, self.list(state)),
            "GET" => state.objects.get(&key).map_or_else(missing, |it| (200, it.body.clone())),
            "APPLY" => self.apply(state, &key),
            "PATCH" => self.patch(state, &key),
            "PUT" => self.replace_status(state, &key),
            "DELETE" => self.delete(state, &key),
            other => panic!("the operator sends no {other} to {key:?}"),
        }
    }

    fn list(&self, state: &State) -> Value {
        let selector = self.query.get("labelSelector").and_then(Value::as_str).unwrap_or("");
        let words = selector.split(',').filter(|word| !word.is_empty());
        let wanted: Vec<_> = words.map(|word| word.split_once('=').unwrap()).collect();
        let selected = |body: &&Value| {
            let labels = &body["metadata"]["labels"];
            wanted.iter().all(|(key, value)| labels[*key] == *value)
        };
        let items: Vec<_> = state.all(&self.plural).filter(selected).map(bare).collect();
        let metadata = json!({"resourceVersion": "1"});
        json!({"apiVersion": "v1", "kind": "List", "metadata": metadata, "items": items})
    }

    fn apply(&self, state: &mut State, key: &Key) -> (u16, Value) {
        assert_eq!(self.query["force"], "true", "an apply that is not forced ends in conflicts");
        let manager = self.query["fieldManager"].as_str().unwrap().to_owned();
        assert!(manager.starts_with("gfs-operator"), "{manager}");
        if !state.objects.contains_key(key) {
            let skeleton = json!({"metadata": {"name": key.1, "generation": 1}});
            state.put(&key.0, &key.1, skeleton);
        }
        let before = state.objects[key].applied.get(&manager).cloned().unwrap_or_default();
        state.change(&key.0, &key.1, |body| {
            let spec = body["spec"].clone();
            prune(body, &before, &self.body);
            merge(body, &self.body);
            if !spec.is_null() && body["spec"] != spec {
                bump(body);
            }
        });
        let stored: &mut Stored = state.objects.get_mut(key).unwrap();
        stored.applied.insert(manager, self.body.clone());
        (200, stored.body.clone())
    }

    /// A merge patch.
    fn patch(&self, state: &mut State, key: &Key) -> (u16, Value) {
        assert!(self.query["fieldManager"].as_str().unwrap().starts_with("gfs-operator"));
        let Some(stored) = state.objects.get(key) else { return missing() };
        if self.body["metadata"]["uid"] != stored.body["metadata"]["uid"] {
            return (422, status(422, "Invalid"));
        }
        state.change(&key.0, &key.1, |body| {
            let spec = body["spec"].clone();
            merge(body, &self.body);
            if body["spec"] != spec {
                bump(body);
            }
        });
        (200, state.objects[key].body.clone())
    }

    fn replace_status(&self, state: &mut State, key: &Key) -> (u16, Value) {
        assert_eq!(self.sub.as_deref(), Some("status"), "only the status is replaced");
        let Some(stored) = state.objects.get(key) else { return missing() };
        let version = &self.body["metadata"]["resourceVersion"];
        assert!(version.is_string(), "a status without the version it was made from");
        if *version != stored.body["metadata"]["resourceVersion"] {
            return conflict();
        }
        state.change(&key.0, &key.1, |body| body["status"] = self.body["status"].clone());
        (200, state.objects[key].body.clone())
    }

    fn delete(&self, state: &mut State, key: &Key) -> (u16, Value) {
        let Some(stored) = state.objects.get(key) else { return missing() };
        let metadata = &stored.body["metadata"];
        if state.refused.contains(&key.1) {
            return (403, status(403, "Forbidden"));
        }
        // Of a claim it is enough that it is the same volume.
        let fields: &[_] = if key.0 == CLAIMS { &["uid"] } else { &["uid", "resourceVersion"] };
        for field in fields {
            let expected = &self.body["preconditions"][*field];
            assert!(expected.is_string(), "{key:?} is deleted whatever it is: no {field}");
            if *expected != metadata[*field] {
                return conflict();
            }
        }
        if !["pods", CLAIMS].contains(&key.0.as_str()) {
            let body = state.objects.remove(key).unwrap().body;
            return (200, body);
        }
        // A pod's kubelet ends it, in the next turn; a claim goes when no pod uses it any more.
        state.change(&key.0, &key.1, |body| {
            body["metadata"]["deletionTimestamp"] = json!("2026-01-02T00:00:00Z");
        });
        (200, state.objects[key].body.clone())
    }
}

/// Items of a list do not say what they are.
fn bare(body: &Value) -> Value {
    let mut body = body.clone();
    body.as_object_mut().unwrap().retain(|key, _| key != "apiVersion" && key != "kind");
    body
}

fn missing() -> (u16, Value) {
    (404, status(404, "NotFound"))
}

fn conflict() -> (u16, Value) {
    (409, status(409, "Conflict"))
}

fn status(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason})
}

/// What was applied before and is not any more goes.
fn prune(live: &mut Value, before: &Value, now: &Value) {
    let (Some(live), Some(before)) = (live.as_object_mut(), before.as_object()) else { return };
    for (key, value) in before {
        match now.get(key) {
            None => drop(live.remove(key)),
            Some(now) => {
                if let Some(live) = live.get_mut(key) {
                    prune(live, value, now);
                }
            }
        }
    }
}

fn merge(live: &mut Value, wanted: &Value) {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            for (key, value) in wanted {
                merge(live.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (live, wanted) => *live = wanted.clone(),
    }
}
