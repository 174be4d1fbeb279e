//! What a client asks of the namespace, and what it is told: the words of a history.

use serde::{Deserialize, Serialize};

/// A question or a change. Paths are absolute, without `.`, `..` or a slash at their end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Operation {
    /// Make an empty file.
    Create {
        /// The new path.
        path: String,
    },
    /// Make a directory.
    Mkdir {
        /// The new path.
        path: String,
        /// Make missing parents too, and be content with a directory that is there.
        parents: bool,
    },
    /// Give another name.
    Rename {
        /// The old path.
        from: String,
        /// The new path.
        to: String,
        /// A file at the new path goes to the trash; without it, it is refused.
        replace: bool,
    },
    /// Move to the trash, or away for ever.
    Delete {
        /// The path.
        path: String,
        /// A directory goes with all that is in it.
        recursive: bool,
        /// It cannot come back.
        purge: bool,
    },
    /// Bring back what was last deleted from this path.
    Undelete {
        /// Where it was.
        path: String,
    },
    /// One file or directory.
    Stat {
        /// Its path.
        path: String,
    },
    /// A directory, in one page that holds all of it.
    List {
        /// Its path.
        path: String,
    },
}

impl Operation {
    /// The paths that it names.
    #[must_use]
    pub fn paths(&self) -> Vec<&str> {
        match self {
            Self::Create { path }
            | Self::Mkdir { path, .. }
            | Self::Delete { path, .. }
            | Self::Undelete { path }
            | Self::Stat { path }
            | Self::List { path } => vec![path],
            Self::Rename { from, to, .. } => vec![from, to],
        }
    }

    /// Whether it changes nothing, whatever it finds.
    #[must_use]
    pub fn is_question(&self) -> bool {
        matches!(self, Self::Stat { .. } | Self::List { .. })
    }
}

/// How a call ended, as far as its caller knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done, with this answer.
    Done(Answer),
    /// Refused for what is in the namespace; nothing was changed.
    Refused(Refusal),
    /// It did not happen, and that says nothing of the namespace: busy, no master, not sent.
    NotDone,
    /// Nobody knows whether it happened.
    Unknown,
}

/// What a call is answered with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Nothing to say: `Mkdir`, `Delete`.
    Nothing,
    /// The file or directory as it is: `Create`, `Rename`, `Undelete`, `Stat`.
    Entry(Entry),
    /// Everything in a directory, by name: `List`.
    Names(Vec<(String, Entry)>),
}

/// A file or a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// Which of both.
    pub kind: Kind,
    /// Its id, whatever its name.
    pub id: u64,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Has chunks.
    File,
    /// Has names.
    Directory,
}

/// Why something was refused. The words are those of the product's kinds of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// It can never be so: through a file, into itself, not empty.
    Invalid,
    /// It, or a directory above it, is not there.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// The root stays as it is.
    Denied,
}
