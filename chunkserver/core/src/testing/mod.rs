//! Helpers of the tests: one replica whose store obeys at once, and a small world of three.

pub(crate) mod bench;
mod world;
