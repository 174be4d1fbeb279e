//! Who is who. An id is never an address, and never reused.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: {digits} hexadecimal digits are expected")]
pub struct IdError {
    what: &'static str,
    digits: usize,
    text: String,
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $digits:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{:0", $digits, "x}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:0", $digits, "x})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let digits: usize = $digits;
                let well_formed =
                    text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
                let error = || IdError { what: $what, digits, text: text.to_owned() };
                if !well_formed {
                    return Err(error());
                }
                <$inner>::from_str_radix(text, 16).map($name).map_err(|_| error())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::text::deserialize(deserializer)
            }
        }
    };
}

hex_id!(
    /// One GFS cluster, made when its first master is formatted.
    ClusterUid, u128, 32, "cluster uid"
);
hex_id!(
    /// One data directory of a master or chunkserver, made when it is formatted.
    ServerUid, u128, 32, "server uid"
);
hex_id!(
    /// The immutable, globally unique name of a chunk (§2.3).
    ChunkHandle, u64, 16, "chunk handle"
);
hex_id!(
    /// A file or directory, whatever its name is at the moment.
    FileId, u64, 16, "file id"
);
hex_id!(
    /// One client's session with the master: the scope of its request ids.
    SessionId, u64, 16, "session id"
);

/// The root directory.
pub const ROOT: FileId = FileId(1);

/// The number of a request within its session, from 1, in the order the client made them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct RequestSeq(pub u64);

/// Names one mutation of the namespace: repeated, it takes effect once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    /// Whose request.
    pub session: SessionId,
    /// Which one.
    pub seq: RequestSeq,
}

/// One run of a server process. Grows with every start of the same data directory, so that a
/// message of, or to, an earlier run is told apart and dropped.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct ProcessSession(pub u64);

/// Names data that a client pushed ahead of the mutation that uses it (§3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DataId {
    /// A number the client drew at random when it started.
    pub client: u64,
    /// Counted by that client.
    pub seq: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_and_parse_as_fixed_width_hex() {
        let handle = ChunkHandle(0xabc);
        assert_eq!(handle.to_string(), "0000000000000abc");
        assert_eq!("0000000000000abc".parse(), Ok(handle));
        let uid = ServerUid(u128::MAX);
        assert_eq!(uid.to_string().parse(), Ok(uid));
    }

    #[test]
    fn text_that_is_no_id_is_refused() {
        for text in ["", "abc", "+000000000000abc", "0000000000000abg", "0000000000000abc0"] {
            assert!(text.parse::<ChunkHandle>().is_err(), "{text:?} was taken");
        }
    }
}
