//! Volumes, resources and scheduling: what masters and chunkservers have in common.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::problem::Problems;
use super::{label, quantity};
use crate::crd::{Resources, Scheduling, Storage};

/// A volume of each pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatedStorage {
    pub(crate) size: String,
    pub(crate) size_bytes: u64,
    pub(crate) storage_class_name: Option<String>,
}

/// What a container asks for and may use.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidatedResources {
    pub(crate) requests: BTreeMap<String, Quantity>,
    pub(crate) limits: BTreeMap<String, Quantity>,
}

/// On which nodes pods may run.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidatedScheduling {
    pub(crate) node_selector: BTreeMap<String, String>,
    pub(crate) tolerations: Vec<Toleration>,
    pub(crate) priority_class_name: Option<String>,
}

pub(super) fn storage(at: &str, storage: &Storage, problems: &mut Problems) -> ValidatedStorage {
    let Storage { size, storage_class_name } = storage;
    let size_bytes = bytes(size);
    if size_bytes.is_none() {
        problems.add(
            format!("{at}.size"),
            format!("`{size}` is not the size of a volume: write a quantity, for example 100Gi"),
        );
    }
    let at_class = format!("{at}.storageClassName");
    subdomain(&at_class, storage_class_name.as_deref(), problems);
    ValidatedStorage {
        size: size.clone(),
        size_bytes: size_bytes.unwrap_or_default(),
        storage_class_name: storage_class_name.clone(),
    }
}

/// Whole bytes, at least one.
fn bytes(size: &str) -> Option<u64> {
    let bytes = quantity::thousandths(size)? / 1000;
    u64::try_from(bytes).ok().filter(|bytes| *bytes > 0)
}

pub(super) fn resources(
    at: &str,
    resources: &Resources,
    problems: &mut Problems,
) -> ValidatedResources {
    let Resources { requests, limits } = resources;
    let asked = amounts(&format!("{at}.requests"), requests, problems);
    let allowed = amounts(&format!("{at}.limits"), limits, problems);
    for (name, asked) in asked {
        if allowed.get(name).is_some_and(|allowed| asked > *allowed) {
            problems.add(
                format!("{at}.requests.{name}"),
                format!(
                    "asks for more than {at}.limits.{name} allows: lower the one or raise the other"
                ),
            );
        }
    }
    ValidatedResources { requests: requests.clone(), limits: limits.clone() }
}

fn amounts<'a>(
    at: &str,
    amounts: &'a BTreeMap<String, Quantity>,
    problems: &mut Problems,
) -> BTreeMap<&'a str, u128> {
    let mut read = BTreeMap::new();
    for (name, Quantity(text)) in amounts {
        if let Some(amount) = quantity::thousandths(text) {
            read.insert(name.as_str(), amount);
        } else {
            problems.add(
                format!("{at}.{name}"),
                format!("`{text}` is not a quantity: write for example 500m or 2Gi"),
            );
        }
    }
    read
}

pub(super) fn scheduling(
    at: &str,
    scheduling: &Scheduling,
    problems: &mut Problems,
) -> ValidatedScheduling {
    let Scheduling { node_selector, tolerations, priority_class_name } = scheduling;
    labels(&format!("{at}.nodeSelector"), node_selector, problems);
    subdomain(&format!("{at}.priorityClassName"), priority_class_name.as_deref(), problems);
    ValidatedScheduling {
        node_selector: node_selector.clone(),
        tolerations: tolerations.clone(),
        priority_class_name: priority_class_name.clone(),
    }
}

pub(super) fn labels(at: &str, labels: &BTreeMap<String, String>, problems: &mut Problems) {
    for (key, value) in labels {
        if !label::is_key(key) {
            problems.add(at, format!("`{key}` cannot be the key of a label"));
        }
        if !label::is_value(value) {
            problems
                .add(format!("{at}.{key}"), format!("`{value}` cannot be the value of a label"));
        }
    }
}

fn subdomain(at: &str, name: Option<&str>, problems: &mut Problems) {
    if let Some(name) = name.filter(|name| !label::is_subdomain(name)) {
        problems.add(
            at,
            format!("`{name}` cannot be the name of an object: write lower-case letters, digits, '-' and '.'"),
        );
    }
}
