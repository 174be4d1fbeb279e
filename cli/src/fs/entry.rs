//! A file or directory as it is printed.

use gfs_client::{Entry, EntryKind};
use serde::Serialize;

use crate::text;

/// The JSON of `ls`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Listed {
    path: String,
    kind: &'static str,
    size: u64,
    chunks: u64,
    replication: u8,
    modified: String,
}

/// The JSON of `stat`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Described {
    #[serde(flatten)]
    listed: Listed,
    id: String,
    executable: bool,
    size_is_final: bool,
}

impl Listed {
    /// `path` is the whole path: a list gives bare names.
    pub(crate) fn new(path: String, entry: &Entry) -> Self {
        Self {
            path,
            kind: kind(entry.kind),
            size: entry.length,
            chunks: entry.chunks,
            replication: entry.replication,
            modified: text::time(entry.attributes.modified),
        }
    }
}

impl Described {
    pub(crate) fn new(entry: &Entry) -> Self {
        Self {
            listed: Listed::new(entry.path.clone(), entry),
            id: entry.id.to_string(),
            executable: entry.attributes.executable,
            size_is_final: entry.length_is_final,
        }
    }
}

/// `file` or `directory`.
pub(crate) fn kind(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "file",
        EntryKind::Directory => "directory",
    }
}

/// A line of `ls -l`, `name` at its end.
pub(crate) fn long(name: &str, entry: &Entry) -> String {
    let kind = match (entry.kind, entry.attributes.executable) {
        (EntryKind::Directory, _) => 'd',
        (EntryKind::File, true) => 'x',
        (EntryKind::File, false) => '-',
    };
    let modified = text::time(entry.attributes.modified);
    format!("{kind} {} {:>14} {modified} {name}", entry.replication, entry.length)
}

/// The path of `name` in the directory `dir`.
pub(crate) fn join(dir: &str, name: &str) -> String {
    format!("{}/{name}", dir.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfs_client::Attributes;
    use gfs_types::ids::FileId;
    use gfs_types::time::WallTime;

    fn file() -> Entry {
        Entry {
            path: "/a b".to_owned(),
            id: FileId(7),
            kind: EntryKind::File,
            length: 12,
            length_is_final: true,
            chunks: 1,
            replication: 3,
            attributes: Attributes { modified: WallTime { ms: 1 }, executable: true },
        }
    }

    #[test]
    fn the_fields_of_ls_and_stat_are_those_promised() {
        let listed = serde_json::to_string(&Listed::new("/a b".to_owned(), &file())).unwrap();
        let expected = r#"{"path":"/a b","kind":"file","size":12,"chunks":1,"replication":3,"#;
        let modified = r#""modified":"1970-01-01T00:00:00.001Z"}"#;
        assert_eq!(listed, format!("{expected}{modified}"));
        let described = serde_json::to_value(Described::new(&file())).unwrap();
        assert_eq!(described["path"], "/a b");
        assert_eq!(described["id"], "0000000000000007");
        assert_eq!(described["executable"], true);
    }

    #[test]
    fn a_long_line_ends_with_the_name() {
        let line = long("a b", &file());
        assert!(line.starts_with("x 3 ") && line.ends_with(" a b"), "{line:?}");
    }

    #[test]
    fn names_join_below_any_directory() {
        assert_eq!(join("/", "a"), "/a");
        assert_eq!(join("/d/", "a"), "/d/a");
        assert_eq!(join("/d", "a"), "/d/a");
    }
}
