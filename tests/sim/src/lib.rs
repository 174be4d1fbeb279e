//! The whole cluster in one process, from a seed.
//!
//! A world of one master, some chunkservers and some clients, with a network, disks and clocks that do what is allowed to them and
//! nothing more. Who decides in it are the real ones: both cores, the rule of group commit, the operation log and its checkpoints,
//! the driver, store, data plane and master link of the chunkserver, and the client library as programs link it. What stands for the
//! rest is in this crate; docs/adr/0070 says where the seams are.
//!
//! | Module | Question |
//! |---|---|
//! | `agenda` | what happens next? |
//! | `random` | what does chance say? |
//! | `swarm` | what kind of world is it? |
//! | `world` | who is in it, and who is told of an event? |
//! | `net` | who reaches whom, and when? |
//! | `streams`, `commands`, `calls` | what becomes of a message on its way? |
//! | `wire` | what have clients instead of sockets? |
//! | `master`, `server`, `serving` | what runs on a node? |
//! | `room` | and where its disk is full? |
//! | `clock` | what time is it there? |
//! | `faults`, `aimed`, `disks` | what goes wrong? |
//! | `budget` | and what may? |
//! | `load` | what do clients do, and what were they told? |
//! | `rules`, `grants` | may that be said at all? |
//! | `oracle` | is what they were told so? |
//! | `plan` | what does a run begin with? |
//! | `run` | how does a seed go? |
//! | `many`, `sum` | how do many, and what do they come to, and by? |
//! | `shrink` | what does a violation take? |
//! | `scenario` | what once showed something? |
//! | `mutants` | do seeds notice what is wrong? |

mod agenda;
mod aimed;
mod budget;
mod calls;
mod clock;
mod commands;
mod disks;
mod faults;
mod grants;
mod load;
mod many;
mod master;
pub mod mutants;
mod net;
mod oracle;
mod plan;
mod random;
mod room;
mod rules;
mod run;
mod scenario;
mod server;
mod serving;
mod shrink;
mod streams;
mod sum;
mod swarm;
mod trace;
mod wire;
mod world;

pub use agenda::{MS, Micros, SECOND};
pub use many::{cores, run_many};
pub use net::Who;
pub use plan::{Plan, Planned};
pub use run::{Outcome, run, run_cut, run_plan};
pub use scenario::Scenario;
pub use shrink::{Cut, shrink};
pub use sum::Sum;
pub use swarm::{Fault, Swarm};
pub use trace::Traced;
