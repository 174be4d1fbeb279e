//! Tests of the whole core: inputs in, effects out, invariants and replay checked after every step.

mod chaos;
mod chunks;
mod control;
mod dedup;
mod full;
mod learners;
mod lengths;
mod members;
mod namespace;
mod raises;
mod reference;
mod repairs;
mod replay;
mod teachers;
mod time;
mod world;
