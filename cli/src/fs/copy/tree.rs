//! A local tree, each directory before what is in it.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use tokio::sync::mpsc;
use walkdir::{DirEntry, WalkDir};

use super::local::utf8;
use crate::failure::{Failure, Result};

/// What to do with symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Links {
    /// Copy what they point to
    #[default]
    Follow,
    /// Leave them out, and count them
    Skip,
}

/// One step through a tree.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A directory, the root included.
    Directory(Place),
    /// A regular file.
    File(Place),
    /// A symbolic link that was left out.
    SkippedLink,
    /// Something that cannot be copied.
    Problem(Failure),
}

/// Where something stands in the tree.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    /// Relative to the root, `/`-separated; empty for the root itself.
    pub(crate) name: String,
    /// 0 for the root.
    pub(crate) depth: usize,
}

/// Steps found ahead of the network.
const STEPS_AHEAD: usize = 256;

/// Walks the tree below `root` in a thread of its own.
pub(crate) fn walk(root: PathBuf, links: Links) -> mpsc::Receiver<Step> {
    let (sender, steps) = mpsc::channel(STEPS_AHEAD);
    tokio::task::spawn_blocking(move || {
        let follow = links == Links::Follow;
        // A root that is a link is what was asked for, whatever is done with links below.
        let entries = WalkDir::new(&root).follow_links(follow).follow_root_links(true);
        for entry in entries {
            if sender.blocking_send(step(&root, entry)).is_err() {
                return;
            }
        }
    });
    steps
}

fn step(root: &Path, entry: walkdir::Result<DirEntry>) -> Step {
    let entry = match entry {
        Ok(entry) => entry,
        Err(error) => return Step::Problem(explain(&error)),
    };
    let kind = entry.file_type();
    if kind.is_symlink() {
        return Step::SkippedLink;
    }
    let place = match place(root, &entry) {
        Ok(place) => place,
        Err(failure) => return Step::Problem(failure),
    };
    if kind.is_dir() {
        Step::Directory(place)
    } else if kind.is_file() {
        Step::File(place)
    } else {
        let path = place.path.display();
        Step::Problem(Failure::new(format!("{path} is no regular file: it is left out")))
    }
}

fn place(root: &Path, entry: &DirEntry) -> Result<Place> {
    let path = entry.path().to_owned();
    let below = path.strip_prefix(root).unwrap_or(&path);
    let names: Result<Vec<&str>> =
        below.components().map(|name| utf8(name.as_os_str(), &path)).collect();
    let name = names?.join("/");
    Ok(Place { path, name, depth: entry.depth() })
}

fn explain(error: &walkdir::Error) -> Failure {
    let path = error.path().unwrap_or(Path::new("")).display();
    if let Some(ancestor) = error.loop_ancestor() {
        let ancestor = ancestor.display();
        return Failure::new(format!("{path} is a link back to {ancestor}: it is left out"));
    }
    match error.io_error() {
        Some(cause) => Failure::new(format!("cannot read {path}: {cause}")),
        None => Failure::new(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    async fn steps(root: &Path, links: Links) -> (Vec<String>, usize, Vec<String>) {
        let mut found = (Vec::new(), 0, Vec::new());
        let mut steps = walk(root.to_owned(), links);
        while let Some(step) = steps.recv().await {
            match step {
                Step::Directory(place) => found.0.push(format!("{}/", place.name)),
                Step::File(place) => found.0.push(place.name),
                Step::SkippedLink => found.1 += 1,
                Step::Problem(failure) => found.2.push(failure.message),
            }
        }
        found.0.sort();
        found
    }

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/empty")).unwrap();
        fs::write(dir.path().join("a/-f ü"), "").unwrap();
        symlink("a/-f ü", dir.path().join("link")).unwrap();
        symlink("..", dir.path().join("a/up")).unwrap();
        dir
    }

    #[tokio::test]
    async fn links_are_followed_and_loops_found() {
        let dir = tree();
        let (names, skipped, problems) = steps(dir.path(), Links::Follow).await;
        assert_eq!(names, ["/", "a/", "a/-f ü", "a/empty/", "link"]);
        assert_eq!(skipped, 0);
        assert!(problems.len() == 1 && problems[0].contains("a/up"), "{problems:?}");
    }

    #[tokio::test]
    async fn links_are_left_out_and_counted() {
        let dir = tree();
        let (names, skipped, problems) = steps(dir.path(), Links::Skip).await;
        assert_eq!(names, ["/", "a/", "a/-f ü", "a/empty/"]);
        assert_eq!((skipped, problems.len()), (2, 0));
    }

    #[tokio::test]
    async fn what_cannot_be_copied_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(OsStr::from_bytes(b"caf\xe9")), "").unwrap();
        symlink("nowhere", dir.path().join("dangling")).unwrap();
        let (_, _, problems) = steps(dir.path(), Links::Follow).await;
        assert!(problems.iter().any(|text| text.contains("caf\\xE9")), "{problems:?}");
        assert!(problems.iter().any(|text| text.contains("dangling")), "{problems:?}");
    }
}
