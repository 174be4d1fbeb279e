//! The chunkserver: the shell around its core.
//!
//! [`driver`] owns the cores. It knows nothing of connections; `store` knows nothing of versions' meaning;
//! `data_plane` decides nothing.

pub mod driver;
pub mod store;
