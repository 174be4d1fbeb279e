//! Tests of the whole core: inputs in, effects out, invariants and replay checked after every step.

mod chunks;
mod control;
mod dedup;
mod namespace;
mod raises;
mod reference;
mod replay;
mod time;
mod world;
