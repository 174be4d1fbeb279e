//! The master: the shell around its core.
