//! In what portions, and how patiently, the cores work. What may be drawn short where many worlds are tried in little time, so that
//! they are often where production seldom is; everywhere else it is the default.

use serde::{Deserialize, Serialize};

use crate::DurationMs;
use crate::limits::{
    CHUNK_FLIGHT_BYTES_MAX, CHUNK_MUTATIONS_MAX, FRAME_BYTES_MAX, LEASE_IDLE_MS, ORDER_RESEND_MAX,
    RAISE_ANSWER_MS, REPAIRS_MAX, TEACH_REST_BYTES,
};

/// Of a chunkserver's core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerPace {
    /// See [`CHUNK_MUTATIONS_MAX`].
    pub mutations_max: usize,
    /// See [`CHUNK_FLIGHT_BYTES_MAX`]. Below the longest mutation that one could never begin.
    pub flight_bytes_max: u64,
    /// See [`ORDER_RESEND_MAX`].
    pub orders_resent_max: usize,
    /// Writes that are carried out as one have at most so many bytes.
    pub joined_bytes_max: u64,
    /// See [`TEACH_REST_BYTES`].
    pub teach_rest_bytes: u64,
    /// See [`LEASE_IDLE_MS`].
    pub lease_idle_ms: DurationMs,
}

impl Default for ServerPace {
    fn default() -> Self {
        Self {
            mutations_max: CHUNK_MUTATIONS_MAX,
            flight_bytes_max: CHUNK_FLIGHT_BYTES_MAX,
            orders_resent_max: ORDER_RESEND_MAX,
            joined_bytes_max: FRAME_BYTES_MAX,
            teach_rest_bytes: TEACH_REST_BYTES,
            lease_idle_ms: LEASE_IDLE_MS,
        }
    }
}

/// Of a master's core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MasterPace {
    /// See [`REPAIRS_MAX`].
    pub repairs_max: usize,
    /// See [`RAISE_ANSWER_MS`].
    pub raise_answer_ms: DurationMs,
}

impl Default for MasterPace {
    fn default() -> Self {
        Self { repairs_max: REPAIRS_MAX, raise_answer_ms: RAISE_ANSWER_MS }
    }
}
