//! Tests of the whole store, on the simulated disk.

mod ahead;
mod basics;
mod crash;
mod damage;
mod full;
mod golden;
mod many;
mod model;
mod moved;
mod random;
mod repair;
mod tear;
mod world;
