//! The operator: keeps the objects of a `GfsCluster` as its manifest says.
//!
//! ```text
//! dereference -> validate -> build -> apply -> status
//! ```
//!
//! The middle is pure: [`validate`] makes of a manifest either a [`validate::ValidatedCluster`] or all that is wrong with it, and
//! [`build`] makes of that the objects that must be there. Neither knows a client, a clock or the state of the cluster.
//!
//! Around it, [`controller::pass`] reads what is there, applies what differs, formats a master exactly once
//! ([`formatting`]), restarts outdated pods one at a time ([`rollout`]) and tells of it in the [`status`]. What becomes of the volumes of a cluster that
//! is deleted stands in [`deletion`].

pub mod apply;
pub mod build;
pub mod cli;
pub mod context;
pub mod controller;
pub mod crd;
pub mod deletion;
pub mod dereference;
pub mod election;
pub mod error;
pub mod events;
pub mod formatting;
pub mod labels;
pub mod master;
pub mod metrics;
pub mod owner;
mod place;
#[cfg(test)]
mod rights;
pub mod rollout;
pub mod run;
pub mod status;
#[cfg(test)]
mod testing;
pub mod validate;
pub mod volumes;
pub mod watches;
