//! A small value that is changed in place and never goes back: promised epoch, session counter.

use std::io;
use std::path::Path;

use crate::fs::Fs;

/// Bytes of a value: with its head it fills one sector.
pub const VALUE_BYTES_MAX: usize = 480;

/// A file with two copies of a small value.
#[derive(Debug)]
pub struct Slots {}

/// Why a slot file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SlotsError {
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Slots {
    /// Makes the file with a first value, durable; replaces one that is there.
    pub fn create(_fs: &dyn Fs, _path: &Path, _value: &[u8]) -> Result<Self, SlotsError> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }

    /// Opens the file, and repairs one of its two copies from the other if need be.
    pub fn open(_fs: &dyn Fs, _path: &Path) -> Result<Self, SlotsError> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }

    /// The value as it was last written.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &[]
    }

    /// Changes the value, durable when this returns.
    pub fn write(&mut self, _value: &[u8]) -> Result<(), SlotsError> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }
}
