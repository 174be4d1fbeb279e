//! Whether a server can serve its role.

use std::sync::{Arc, PoisonError, RwLock};

/// Shared between the server, which knows, and HTTP, which tells. Starts as "starting".
#[derive(Clone)]
pub struct Health {
    /// `None` when ready, otherwise why not.
    reason: Arc<RwLock<Option<String>>>,
    /// Gives why the process should be started anew, if it should.
    dead: Arc<dyn Fn() -> Option<String> + Send + Sync>,
}

impl Health {
    /// Not ready, because it is starting.
    #[must_use]
    pub fn starting() -> Self {
        Self { reason: Arc::new(RwLock::new(Some("starting".to_owned()))), dead: Arc::new(|| None) }
    }

    /// It lives unless `dead` gives why not: something that nothing but a new start mends.
    #[must_use]
    pub fn lives_unless(self, dead: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        Self { dead: Arc::new(dead), ..self }
    }

    /// `None` while it lives, otherwise why it should be started anew.
    #[must_use]
    pub fn death(&self) -> Option<String> {
        (self.dead)()
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
