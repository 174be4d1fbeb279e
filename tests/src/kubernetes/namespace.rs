//! A namespace of its own for each test: with the strictest rules for pods, gone afterwards, and described when the test fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};

use super::command::{json as kubectl_json, kubectl, kubectl_fed, refused};
use super::dump;

/// Namespaces of tests, and nothing else, have this label.
pub const TEST_LABEL: &str = "gfs.rs/test";

/// A namespace.
#[derive(Debug)]
pub struct Namespace {
    /// What it is called.
    pub name: String,
}

impl Namespace {
    /// Runs a test in a fresh namespace that goes afterwards, however the test ends.
    ///
    /// # Errors
    /// Those of the test, with the folder that tells more.
    pub fn with(test: &str, body: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        let namespace = Self::create(test)?;
        // A panic must not keep the namespace, nor what it could tell.
        let outcome = catch_unwind(AssertUnwindSafe(|| body(&namespace)))
            .unwrap_or_else(|panic| Err(anyhow!("panicked: {}", panic_text(&panic))));
        let outcome = outcome.map_err(|error| match dump::write(test, &[&namespace.name]) {
            Ok(folder) => error.context(format!("more in {}", folder.display())),
            Err(why) => error.context(format!("(nothing more to tell: {why:#})")),
        });
        let removed = namespace.remove();
        outcome.and(removed)
    }

    fn create(test: &str) -> Result<Self> {
        // Names of namespaces have 63 characters at most.
        let word: String = test.replace('_', "-").chars().take(40).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock")?;
        let name = format!("{}-{:x}", word.trim_end_matches('-'), now.as_millis());
        let namespace = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": name,
                "labels": {TEST_LABEL: "true", "pod-security.kubernetes.io/enforce": "restricted"},
            },
        });
        kubectl_fed(&["create", "--filename", "-"], namespace.to_string().as_bytes())?;
        Ok(Self { name })
    }

    /// Asks for its removal; that of its volumes takes longer than any test wants to wait ([`super::suite`] does).
    fn remove(&self) -> Result<()> {
        kubectl(&["delete", "namespace", &self.name, "--wait=false"]).map(drop)
    }

    /// `kubectl` in this namespace.
    ///
    /// # Errors
    /// When it fails: with all it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        kubectl(&self.here(arguments))
    }

    /// `kubectl` in this namespace, with JSON as its output.
    ///
    /// # Errors
    /// When it fails: with all it said.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        kubectl_json(&self.here(arguments))
    }

    /// The objects of a kind, or those that a selector names.
    ///
    /// # Errors
    /// When the cluster does not tell.
    pub fn list(&self, kind: &str, selector: &str) -> Result<Vec<Value>> {
        let list = self.json(&["get", kind, "--selector", selector])?;
        list["items"].as_array().cloned().with_context(|| format!("a list of {kind}"))
    }

    /// One object, if it is there.
    ///
    /// # Errors
    /// When the cluster does not tell.
    pub fn find(&self, kind: &str, name: &str) -> Result<Option<Value>> {
        let arguments = ["get", kind, name, "--ignore-not-found", "--output", "json"];
        let text = self.kubectl(&arguments)?;
        if text.trim().is_empty() { Ok(None) } else { Ok(Some(serde_json::from_str(&text)?)) }
    }

    /// One object.
    ///
    /// # Errors
    /// When it is not there.
    pub fn get(&self, kind: &str, name: &str) -> Result<Value> {
        self.find(kind, name)?.with_context(|| format!("there is no {kind} {name}"))
    }

    /// `kubectl apply` of this manifest.
    ///
    /// # Errors
    /// When it is refused.
    pub fn apply(&self, manifest: &Value) -> Result<()> {
        let arguments = self.here(&["apply", "--filename", "-"]);
        kubectl_fed(&arguments, manifest.to_string().as_bytes()).map(drop)
    }

    /// `kubectl apply` of a manifest that must be refused; what was said.
    ///
    /// # Errors
    /// When it is not refused.
    pub fn apply_refused(&self, manifest: &Value) -> Result<String> {
        refused(&self.here(&["apply", "--filename", "-"]), manifest.to_string().as_bytes())
    }

    /// The eviction of a pod, as a drain of its node asks for it, that must be refused; what was said.
    ///
    /// # Errors
    /// When it is not refused.
    pub fn eviction_refused(&self, pod: &str) -> Result<String> {
        let eviction = json!({
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": self.name},
        });
        let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", self.name);
        refused(&["create", "--raw", &path, "--filename", "-"], eviction.to_string().as_bytes())
    }

    /// `kubectl patch` as one would write it by hand.
    ///
    /// # Errors
    /// When it is refused.
    pub fn patch(&self, kind: &str, name: &str, patch: &Value) -> Result<()> {
        let patch = patch.to_string();
        self.kubectl(&["patch", kind, name, "--type", "merge", "--patch", &patch]).map(drop)
    }

    /// Whether something was told by an event with this reason.
    ///
    /// # Errors
    /// When the cluster does not tell.
    pub fn has_event(&self, reason: &str) -> Result<bool> {
        let selector = format!("reason={reason}");
        let events = self.json(&["get", "events.events.k8s.io", "--field-selector", &selector])?;
        Ok(events["items"].as_array().is_some_and(|events| !events.is_empty()))
    }

    fn here<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        [&["--namespace", self.name.as_str()], arguments].concat()
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let literal = panic.downcast_ref::<&str>().map(ToString::to_string);
    literal.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
