//! A file that appears whole or not at all.

use bytes::Bytes;
use gfs_types::message::client::{Attributes, Entry};

use crate::error::{Result, later};

/// Writes under a temporary name below `/.gfs/tmp` and renames at the end. Dropped or killed before, nothing stands
/// under the final name; the rest is collected by the system after a day.
#[derive(Debug)]
pub struct Upload {}

impl Upload {
    /// Takes the next bytes. Not cancel safe, as [`crate::Writer::write`].
    ///
    /// # Errors
    /// As [`crate::Writer::write`]; `Invalid` when it is more than the length that was promised.
    pub async fn write(&mut self, _data: impl Into<Bytes>) -> Result<()> {
        later()
    }

    /// Other attributes than those of the options, if they became known only now.
    pub fn set_attributes(&mut self, _attributes: Attributes) {}

    /// Flushes, has everything on disk on every replica, and renames onto the final path.
    ///
    /// Dropped, the file may still appear, whole.
    ///
    /// # Errors
    /// As [`crate::Writer::close`] and [`crate::Client::rename`]; `Invalid` when it is less than the length that was
    /// promised.
    pub async fn finish(self) -> Result<Entry> {
        later()
    }

    /// Removes what was written.
    ///
    /// # Errors
    /// When it cannot be removed now; the system collects it after a day all the same.
    pub async fn abort(self) -> Result<()> {
        later()
    }
}
