//! Whether a server can serve its role.

use std::sync::{Arc, PoisonError, RwLock};

/// Shared between the server, which knows, and HTTP, which tells. Starts as "starting".
#[derive(Debug, Clone)]
pub struct Health {
    /// `None` when ready, otherwise why not.
    reason: Arc<RwLock<Option<String>>>,
}

impl Health {
    /// Not ready, because it is starting.
    #[must_use]
    pub fn starting() -> Self {
        Self { reason: Arc::new(RwLock::new(Some("starting".to_owned()))) }
    }

    /// It can serve.
    pub fn ready(&self) {
        *self.reason.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// It cannot, and why.
    pub fn not_ready(&self, reason: impl Into<String>) {
        *self.reason.write().unwrap_or_else(PoisonError::into_inner) = Some(reason.into());
    }

    /// `None` when it can serve, otherwise why not.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        self.reason.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
