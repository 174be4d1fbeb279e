//! What is told of a cluster: computed from what a pass learnt, written once and only when it differs.

mod chunks;
mod compute;
mod conditions;
mod stall;
mod trouble;
mod write;

pub use compute::{Learnt, MasterView, compute};
pub use conditions::{Type, find, is_true};
pub use trouble::{Troubles, troubles};
pub use write::{LiveCluster, remember, write};
