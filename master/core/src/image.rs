//! Durable state to and from checkpoint bytes, section by section (`docs/formats/checkpoint.md`).

use crate::Durable;

/// Sections that do not make a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("checkpoint section {section}: {reason}")]
pub struct ImageError {
    /// Which section, from 0.
    pub section: u64,
    /// What is wrong.
    pub reason: String,
}

/// The sections of a state, one by one, each at most [`SECTION_BYTES_MAX`]; the first names position and epoch, the last the
/// digest. The shell frames and checksums each.
pub fn sections(durable: &Durable) -> impl Iterator<Item = Vec<u8>> + '_ {
    let _ = durable;
    std::iter::empty()
}

/// Bytes of one section, at most.
pub const SECTION_BYTES_MAX: usize = 1 << 20;

/// Builds a state from sections in their order.
#[derive(Debug, Default)]
pub struct Loader {
    durable: Durable,
}

impl Loader {
    /// Nothing read yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next section.
    ///
    /// # Errors
    /// When it is none, or not the next one.
    pub fn section(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        let _ = bytes;
        Ok(())
    }

    /// The state, after the last section.
    ///
    /// # Errors
    /// When sections are missing or the digest differs.
    pub fn finish(self) -> Result<Durable, ImageError> {
        Ok(self.durable)
    }
}
