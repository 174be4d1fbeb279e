//! Wire to `gfs_types::message` and back. What comes from the wire is checked here, once.

mod client;
mod common;
mod control;

use gfs_types::Error;
use gfs_types::message::control::ReplicaState;
use prost::bytes::Bytes;

/// A checked message, or an error of kind `Invalid` that names the field.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// The error for a field that must be there and is not.
pub(crate) fn missing(field: &str) -> Error {
    Error::invalid(format!("message without {field}"))
}

pub(crate) fn required<T>(field: &str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| missing(field))
}

pub(crate) fn uid_bytes(uid: u128) -> Bytes {
    Bytes::copy_from_slice(&uid.to_be_bytes())
}

pub(crate) fn uid_from_bytes(field: &str, bytes: &[u8]) -> Result<u128> {
    let bytes: [u8; 16] = bytes
        .try_into()
        .map_err(|_| Error::invalid(format!("{field} has {} bytes, not 16", bytes.len())))?;
    Ok(u128::from_be_bytes(bytes))
}

/// Empty bytes stand for "none".
pub(crate) fn uid_from_bytes_or_none(field: &str, bytes: &[u8]) -> Result<Option<u128>> {
    if bytes.is_empty() { Ok(None) } else { uid_from_bytes(field, bytes).map(Some) }
}

pub(crate) fn state_from_wire(number: u32) -> Result<ReplicaState> {
    ReplicaState::from_wire(number)
        .ok_or_else(|| Error::invalid(format!("unknown replica state {number}")))
}

pub(crate) fn topology_from_wire(text: &str) -> Result<gfs_types::topology::Topology> {
    text.parse()
        .map_err(|error: gfs_types::topology::TopologyError| Error::invalid(error.to_string()))
}

pub(crate) fn all<W, T: TryFrom<W, Error = Error>>(wire: Vec<W>) -> Result<Vec<T>> {
    wire.into_iter().map(T::try_from).collect()
}

pub(crate) fn all_wire<T, W: From<T>>(messages: Vec<T>) -> Vec<W> {
    messages.into_iter().map(W::from).collect()
}

#[cfg(test)]
mod tests;
