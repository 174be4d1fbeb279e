//! GFS on a real Kubernetes, handled as a person handles it: with `kubectl` and `helm`.
//!
//! Which cluster it is, and which images it has, the environment says ([`testbed`]). Every test has a namespace of its own
//! ([`namespace`]); what clients saw while something broke is told by a crew in a pod ([`crew`]).

pub mod command;
pub mod crew;
mod dump;
pub mod gfs_cluster;
pub mod namespace;
pub mod operator;
pub mod suite;
pub mod testbed;
pub mod toolbox;
pub mod watch;

pub use self::command::{helm, json, kubectl, kubectl_fed, refused, until};
pub use self::crew::CrewPod;
pub use self::gfs_cluster::GfsCluster;
pub use self::namespace::Namespace;
pub use self::testbed::Testbed;
pub use self::toolbox::Toolbox;
