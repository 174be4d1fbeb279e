//! The operator: keeps the objects of a `GfsCluster` as its manifest says.
//!
//! ```text
//! dereference -> validate -> build -> apply -> status
//! ```
//!
//! The middle is pure: [`validate`] makes of a manifest either a [`validate::ValidatedCluster`] or all that is wrong with it, and
//! [`build`] makes of that the objects that must be there. Neither knows a client, a clock or the state of the cluster.

pub mod build;
pub mod crd;
mod place;
#[cfg(test)]
mod testing;
pub mod validate;
