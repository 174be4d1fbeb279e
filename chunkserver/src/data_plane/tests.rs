//! Tests of the data plane: real sockets on loopback, real drivers, replicas in a temporary directory.

mod cluster;
mod copying;
mod frames;
mod greedy;
mod hello;
mod pushing;
mod reading;
