//! Comparing trees of files on the local disk.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What a comparison looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// `None` for a directory.
    pub bytes: Option<u64>,
    /// The executable bit of a file.
    pub executable: bool,
}

/// Every file and directory below `root` by its path from there; symbolic links are followed.
///
/// # Errors
/// When something cannot be read.
pub fn walk(root: &Path) -> io::Result<BTreeMap<PathBuf, Found>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            let metadata = fs::metadata(&path)?;
            let name = path.strip_prefix(root).unwrap_or(&path).to_owned();
            let bytes = metadata.is_file().then_some(metadata.len());
            let executable = metadata.is_file() && metadata.permissions().mode() & 0o100 != 0;
            found.insert(name, Found { bytes, executable });
            if metadata.is_dir() {
                waiting.push(path);
            }
        }
    }
    Ok(found)
}

/// Differences between two trees, a line each; none when they are identical.
///
/// # Errors
/// When something cannot be read.
pub fn differences(a: &Path, b: &Path) -> io::Result<Vec<String>> {
    let (in_a, in_b) = (walk(a)?, walk(b)?);
    let mut lines = Vec::new();
    for (name, found) in &in_a {
        match in_b.get(name) {
            None => lines.push(format!("only in {}: {}", a.display(), name.display())),
            Some(other) if other != found => {
                lines.push(format!("{}: {found:?} and {other:?}", name.display()));
            }
            Some(_) if found.bytes.is_some() && !same_bytes(&a.join(name), &b.join(name))? => {
                lines.push(format!("{}: bytes differ", name.display()));
            }
            Some(_) => {}
        }
    }
    let only_b = in_b.keys().filter(|name| !in_a.contains_key(*name));
    lines.extend(only_b.map(|name| format!("only in {}: {}", b.display(), name.display())));
    Ok(lines)
}

fn same_bytes(a: &Path, b: &Path) -> io::Result<bool> {
    Ok(fs::read(a)? == fs::read(b)?)
}
