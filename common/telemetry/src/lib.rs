//! What a running server tells: log lines, metrics, and whether it lives and can serve.
//!
//! Knows nothing of what the server does: the server registers its own metrics and says itself when it is ready.

pub mod health;
pub mod http;
pub mod logs;
pub mod process;

pub use health::Health;
