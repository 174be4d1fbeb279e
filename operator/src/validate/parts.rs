//! Volumes, resources and scheduling: what masters and chunkservers have in common.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::problem::Problems;
use super::{label, quantity};
use crate::crd::limits::{RESOURCES, VOLUME_BYTES_MAX, VOLUME_BYTES_MIN};
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
            format!(
                "`{size}` is not the size of a volume: write a quantity from 256Mi to 1Ei, without a sign or an exponent; for \
                 example 100Gi"
            ),
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

/// Whole bytes, as many as a volume may have. Exponents, and suffixes that make less of a number, are for other quantities.
fn bytes(size: &str) -> Option<u64> {
    let (begins, suffix) =
        size.split_at(size.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(size.len()));
    let (whole, fraction) = begins.split_once('.').unwrap_or((begins, "0"));
    let digits = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
    };
    let plain = digits(whole, 19) && digits(fraction, 3);
    let multiplies =
        matches!(suffix, "" | "k") || suffix.starts_with(['K', 'M', 'G', 'T', 'P', 'E']);
    let bytes = quantity::thousandths(size).filter(|_| plain && multiplies)? / 1000;
    let bytes = u64::try_from(bytes).ok()?;
    (VOLUME_BYTES_MIN..=VOLUME_BYTES_MAX).contains(&bytes).then_some(bytes)
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
        if !RESOURCES.contains(&name.as_str()) {
            let message = format!("write amounts of {}, and of nothing else", RESOURCES.join(", "));
            problems.add(format!("{at}.{name}"), message);
        }
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
    for (index, one) in tolerations.iter().enumerate() {
        toleration(&format!("{at}.tolerations[{index}]"), one, problems);
    }
    subdomain(&format!("{at}.priorityClassName"), priority_class_name.as_deref(), problems);
    ValidatedScheduling {
        node_selector: node_selector.clone(),
        tolerations: tolerations.clone(),
        priority_class_name: priority_class_name.clone(),
    }
}

fn toleration(at: &str, toleration: &Toleration, problems: &mut Problems) {
    let Toleration { key, operator, value, effect, toleration_seconds } = toleration;
    let [key, operator, value, effect] =
        [key, operator, value, effect].map(|text| text.as_deref().unwrap_or_default());
    let exists = operator == "Exists";
    if !key.is_empty() && !label::is_key(key) {
        problems.add(format!("{at}.key"), format!("`{key}` cannot be the key of a taint"));
    }
    if key.is_empty() && !exists {
        let message = "without a key the operator must be Exists: it tolerates every taint";
        problems.add(format!("{at}.key"), message);
    }
    if !matches!(operator, "" | "Exists" | "Equal") {
        problems.add(format!("{at}.operator"), format!("`{operator}` is neither Exists nor Equal"));
    }
    if exists && !value.is_empty() {
        problems.add(
            format!("{at}.value"),
            "the operator Exists has none: leave it out, or write Equal",
        );
    } else if !label::is_value(value) {
        problems.add(format!("{at}.value"), format!("`{value}` cannot be the value of a taint"));
    }
    if !matches!(effect, "" | "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
        problems.add(format!("{at}.effect"), format!("`{effect}` is no effect of a taint"));
    }
    if toleration_seconds.is_some() && effect != "NoExecute" {
        let message = "only the effect NoExecute has tolerationSeconds";
        problems.add(format!("{at}.tolerationSeconds"), message);
    }
}

pub(super) fn label_selector(at: &str, selector: &LabelSelector, problems: &mut Problems) {
    let LabelSelector { match_labels, match_expressions } = selector;
    if let Some(match_labels) = match_labels {
        labels(&format!("{at}.matchLabels"), match_labels, problems);
    }
    for (index, one) in match_expressions.iter().flatten().enumerate() {
        expression(&format!("{at}.matchExpressions[{index}]"), one, problems);
    }
}

fn expression(at: &str, expression: &LabelSelectorRequirement, problems: &mut Problems) {
    let LabelSelectorRequirement { key, operator, values } = expression;
    let values = values.as_deref().unwrap_or_default();
    if !label::is_key(key) {
        problems.add(format!("{at}.key"), format!("`{key}` cannot be the key of a label"));
    }
    match (operator.as_str(), values.is_empty()) {
        ("In" | "NotIn", true) => problems.add(format!("{at}.values"), "In and NotIn need some"),
        ("Exists" | "DoesNotExist", false) => {
            problems.add(format!("{at}.values"), "Exists and DoesNotExist have none");
        }
        ("In" | "NotIn" | "Exists" | "DoesNotExist", _) => {}
        _ => problems.add(format!("{at}.operator"), format!("`{operator}` is no operator")),
    }
    for value in values.iter().filter(|value| !label::is_value(value)) {
        problems.add(format!("{at}.values"), format!("`{value}` cannot be the value of a label"));
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
