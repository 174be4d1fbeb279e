//! The roles of a cluster on one machine, by the names that scripts use.

use std::fmt;
use std::str::FromStr;

/// One process of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Role {
    /// The primary master, `master1`.
    Master,
    /// A chunkserver, `cs1` and up.
    Chunkserver(u16),
}

/// Most chunkservers of one `gfs dev`.
pub(crate) const CHUNKSERVERS_MAX: u16 = 99;

impl Role {
    /// The subcommand of this binary that plays the role.
    pub(crate) fn command(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Chunkserver(_) => "chunkserver",
        }
    }

    /// The master first, then the chunkservers by number.
    pub(crate) fn all(chunkservers: u16) -> impl Iterator<Item = Self> {
        std::iter::once(Self::Master).chain((1..=chunkservers).map(Self::Chunkserver))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Master => f.write_str("master1"),
            Self::Chunkserver(number) => write!(f, "cs{number}"),
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix("cs").and_then(|digits| digits.parse::<u16>().ok());
        let role = match number {
            _ if text == "master1" => Some(Self::Master),
            Some(number) if (1..=CHUNKSERVERS_MAX).contains(&number) => {
                Some(Self::Chunkserver(number))
            }
            _ => None,
        };
        // `cs01` and `cs+1` would be second names for `cs1`.
        role.filter(|role| role.to_string() == text).ok_or_else(|| {
            "no such role: it is master1, or cs1, cs2, … for a chunkserver".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_has_one_name() {
        for role in Role::all(CHUNKSERVERS_MAX) {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        for text in ["", "master", "master2", "cs", "cs0", "cs01", "cs+1", "cs100", "CS1", "cs1 "] {
            assert!(text.parse::<Role>().is_err(), "{text:?} was taken");
        }
    }
}
