//! Logs, metrics and health of a server.
