//! Shared by the tests of the master.

#![allow(
    clippy::unwrap_used,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "helpers of tests: a failure here fails the test, and each test uses its part"
)]

pub mod engine;
pub mod service;
