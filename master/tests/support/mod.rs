//! Shared by the tests of the master.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test uses its part")]

pub mod engine;
pub mod service;
