//! What every pass uses: one for the process.

use std::sync::Arc;

use kube::Client;

use crate::controller::Backoffs;
use crate::events::Events;
use crate::master::Masters;
use crate::metrics::Metrics;
use crate::validate::Defaults;

/// Shared by all passes.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What happened, and why.
    pub events: Events,
    /// What is counted.
    pub metrics: Metrics,
    /// How masters are reached.
    pub masters: Arc<dyn Masters>,
    /// What a manifest may leave out.
    pub defaults: Defaults,
    /// How long to wait behind errors.
    pub backoffs: Backoffs,
}
