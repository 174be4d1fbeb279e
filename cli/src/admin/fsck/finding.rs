//! Something that is not as it should be, and where.

use std::fmt;

use gfs_client::{ChunkLocation, ReplicaLocation};
use gfs_types::ids::ChunkHandle;
use gfs_types::region::ChunkIndex;
use serde_json::{Value, json};

/// A chunk of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    path: String,
    index: ChunkIndex,
    handle: ChunkHandle,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    place: Place,
    /// `HOST:PORT` of the replica's server, if it is about one.
    replica: Option<String>,
    kind: &'static str,
    detail: String,
}

impl Place {
    pub(super) fn of(path: &str, chunk: &ChunkLocation) -> Self {
        Self { path: path.to_owned(), index: chunk.index, handle: chunk.handle }
    }
}

impl Finding {
    pub(super) fn new(place: Place, kind: &'static str, detail: impl Into<String>) -> Self {
        Self { place, replica: None, kind, detail: detail.into() }
    }

    /// About one replica.
    pub(super) fn at(mut self, replica: &ReplicaLocation) -> Self {
        self.replica = Some(replica.address.clone());
        self
    }

    /// A server found its own bytes bad: that is no race with a change.
    pub(super) fn is_verdict(&self) -> bool {
        self.kind == "corrupt"
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "path": self.place.path,
            "index": self.place.index.0,
            "handle": self.place.handle.to_string(),
            "replica": self.replica,
            "kind": self.kind,
            "detail": self.detail,
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { path, index, handle } = &self.place;
        write!(f, "{path} chunk {index} ({handle})")?;
        if let Some(replica) = &self.replica {
            write!(f, " at {replica}")?;
        }
        write!(f, ": {}: {}", self.kind, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_where() {
        let place =
            Place { path: "/a b".to_owned(), index: ChunkIndex(2), handle: ChunkHandle(0xab) };
        let finding = Finding::new(place, "missing", "no replica");
        let text = finding.to_string();
        assert_eq!(text, "/a b chunk 2 (00000000000000ab): missing: no replica");
        assert_eq!(finding.json()["index"], 2);
        assert_eq!(finding.json()["replica"], Value::Null);
    }
}
