//! Failure domains: their nodes, and their share of the chunkservers.

use std::collections::BTreeMap;

use super::problem::Problems;
use super::{apportion, label, parts};
use crate::crd::{ChunkserversSpec, Domain, limits};

/// A failure domain and its share of the chunkservers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatedDomain {
    pub(super) name: String,
    pub(super) replicas: i32,
    pub(super) node_selector: BTreeMap<String, String>,
}

impl ValidatedDomain {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many chunkservers it has.
    #[must_use]
    pub const fn replicas(&self) -> i32 {
        self.replicas
    }

    /// Labels of its nodes: its own, and those of all chunkservers.
    pub(crate) const fn node_selector(&self) -> &BTreeMap<String, String> {
        &self.node_selector
    }
}

/// By name: their order in the manifest means nothing, and must not decide who gets the odd chunkserver.
pub(super) fn validate(
    chunkservers: &ChunkserversSpec,
    problems: &mut Problems,
) -> Vec<ValidatedDomain> {
    let replicas = count(chunkservers.replicas, problems);
    let mut domains: Vec<&Domain> = chunkservers.domains.iter().collect();
    domains.sort_by(|a, b| a.name.cmp(&b.name));
    check_names(&domains, problems);
    let weights: Vec<u32> = domains.iter().map(|domain| weight(domain, problems)).collect();
    let shares = apportion::shares(&weights, replicas);
    let with_shares = domains.into_iter().zip(shares);
    with_shares.map(|(domain, share)| one(domain, share, chunkservers, problems)).collect()
}

fn one(
    domain: &Domain,
    share: u32,
    chunkservers: &ChunkserversSpec,
    problems: &mut Problems,
) -> ValidatedDomain {
    let Domain { name, weight: _, node_selector } = domain;
    let at = format!("spec.chunkservers.domains[{name}].nodeSelector");
    parts::labels(&at, node_selector, problems);
    let mut all = chunkservers.scheduling.node_selector.clone();
    for (key, value) in node_selector {
        if all.insert(key.clone(), value.clone()).is_some_and(|other| other != *value) {
            problems.add(
                format!("{at}.{key}"),
                "spec.chunkservers.scheduling.nodeSelector wants another value, and no node has two: remove one of them",
            );
        }
    }
    let replicas = i32::try_from(share).unwrap_or(i32::MAX);
    ValidatedDomain { name: name.clone(), replicas, node_selector: all }
}

fn count(replicas: i32, problems: &mut Problems) -> u32 {
    let bounded = (1..=limits::CHUNKSERVERS_MAX).contains(&replicas);
    if !bounded {
        problems.add(
            "spec.chunkservers.replicas",
            format!("is {replicas}: from 1 to {} is allowed", limits::CHUNKSERVERS_MAX),
        );
    }
    if bounded { replicas.unsigned_abs() } else { 0 }
}

fn check_names(by_name: &[&Domain], problems: &mut Problems) {
    let at = "spec.chunkservers.domains";
    if by_name.is_empty() || by_name.len() > limits::DOMAINS_MAX {
        problems.add(
            at,
            format!("has {} entries: from 1 to {} is allowed", by_name.len(), limits::DOMAINS_MAX),
        );
    }
    for Domain { name, .. } in by_name {
        if name.len() > limits::DOMAIN_NAME_CHARACTERS_MAX || !label::is_dns_label(name) {
            problems.add(
                format!("{at}[{name}].name"),
                format!(
                    "becomes part of DNS names: write at most {} lower-case letters, digits and '-'",
                    limits::DOMAIN_NAME_CHARACTERS_MAX
                ),
            );
        }
    }
    for pair in by_name.windows(2).filter(|pair| pair[0].name == pair[1].name) {
        problems.add(format!("{at}[{}].name", pair[0].name), "is there twice: each needs its own");
    }
}

fn weight(domain: &Domain, problems: &mut Problems) -> u32 {
    let good = (1..=limits::WEIGHT_MAX).contains(&domain.weight);
    if !good {
        problems.add(
            format!("spec.chunkservers.domains[{}].weight", domain.name),
            format!("is {}: from 1 to {} is allowed", domain.weight, limits::WEIGHT_MAX),
        );
    }
    if good { domain.weight.unsigned_abs() } else { 1 }
}
