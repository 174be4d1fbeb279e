//! What went wrong, sorted by what the caller should do next.

use std::fmt;

/// The caller's next step after an error. The numbers are on the wire: frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ErrorKind {
    /// Change the request: it can never succeed as it is.
    Invalid = 1,
    /// Change the request: what it names is not there.
    NotFound = 2,
    /// Change the request: the name is taken.
    AlreadyExists = 3,
    /// Change the request: this caller may not do it.
    Denied = 4,
    /// Refresh locations, then try again: an old epoch, version, lease or session.
    Stale = 5,
    /// The record does not fit: go on with the next chunk.
    ChunkFull = 6,
    /// Wait a little, then try again: a limit is reached, no space, still recovering.
    Busy = 7,
    /// Nobody knows whether it happened: repeat only with the same request id.
    Unknown = 8,
    /// The bytes are not what was stored: take another replica, and report this one.
    Corrupt = 9,
    /// A newer epoch exists: stop.
    Fenced = 10,
    /// A state that cannot be: stop; a person should look.
    Internal = 11,
    /// The peer does not have the pushed data any more: push it again.
    NeedData = 12,
}

impl ErrorKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::Invalid,
        Self::NotFound,
        Self::AlreadyExists,
        Self::Denied,
        Self::Stale,
        Self::ChunkFull,
        Self::Busy,
        Self::Unknown,
        Self::Corrupt,
        Self::Fenced,
        Self::Internal,
        Self::NeedData,
    ];

    /// The kind with this number on the wire.
    #[must_use]
    pub fn from_wire(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u32 == number)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// An error as it crosses a process boundary: its kind, and a sentence that says what happened,
/// to what, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What the caller should do next.
    pub kind: ErrorKind,
    /// For a person.
    pub message: String,
    /// With [`ErrorKind::Busy`]: when it makes sense to try again, in milliseconds; 0 says nothing.
    pub retry_after_ms: u32,
}

impl Error {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after_ms: 0 }
    }
}

macro_rules! constructors {
    ($($name:ident $kind:ident)*) => {
        impl Error {
            $(
                #[doc = concat!("An error of kind [`ErrorKind::", stringify!($kind), "`].")]
                pub fn $name(message: impl Into<String>) -> Self {
                    Self::new(ErrorKind::$kind, message)
                }
            )*
        }
    };
}

constructors! {
    invalid Invalid
    not_found NotFound
    already_exists AlreadyExists
    denied Denied
    stale Stale
    chunk_full ChunkFull
    busy Busy
    unknown Unknown
    corrupt Corrupt
    fenced Fenced
    internal Internal
    need_data NeedData
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_keep_their_numbers() {
        for (index, kind) in ErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index + 1);
            assert_eq!(ErrorKind::from_wire(kind as u32), Some(kind));
        }
        assert_eq!(ErrorKind::from_wire(0), None);
        assert_eq!(ErrorKind::from_wire(13), None);
    }
}
