//! The records of the operation log and their bytes (`docs/formats/log-records.md`).

/// One change of durable state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {}

/// Bytes that are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a record of the operation log: {0}")]
pub struct RecordError(pub String);

impl Record {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match *self {}
    }

    /// A record from its bytes, every one of them.
    ///
    /// # Errors
    /// When the bytes are no record: an unknown kind, cut, over-long, or out of its limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        Err(RecordError(format!("{} bytes", bytes.len())))
    }
}
