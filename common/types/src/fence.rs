//! Fences: numbers that every command carries, so that a receiver can refuse the old ones.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The number after this one.
            ///
            /// # Panics
            /// When 2^64 is reached, which no cluster lives long enough to do.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("a 64-bit counter does not run out"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter!(
    /// Which primary master gives the orders; grows with every change of it.
    MasterEpoch
);
counter!(
    /// Grows when history itself was cut by a person (forced promotion, restore).
    Incarnation
);
counter!(
    /// The version of a chunk (§4.5): raised before every lease; 0 means "never born".
    ChunkVersion
);
counter!(
    /// The place of a record in the operation log: 1 for the first; 0 rests on nothing.
    LogPosition
);
counter!(
    /// The place of a mutation in the order that a chunk's primary decides (§3.1), from 1 per version.
    SerialNumber
);
