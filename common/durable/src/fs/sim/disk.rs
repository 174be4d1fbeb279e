//! What the simulated disk holds: what the running system sees, what is durable, and the changes
//! between the two.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::content::Content;
use crate::fs::Metadata;

/// Names one file's content, whatever its name.
pub(super) type Inode = u64;

/// A name: the directory and the last part.
pub(super) type Name = (PathBuf, OsString);

/// One change that a power loss may undo.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { inode: Inode, offset: u64, bytes: Arc<[u8]> },
    SetLen { inode: Inode, len: u64 },
    Link { name: Name, inode: Inode },
    Unlink { name: Name, inode: Inode },
    Rename { from: Name, to: Name, inode: Inode },
}

impl Change {
    pub(super) fn is_of_file(&self, wanted: Inode) -> bool {
        matches!(self, Self::Write { inode, .. } | Self::SetLen { inode, .. } if *inode == wanted)
    }

    fn is_of_dir(&self, dir: &Path) -> bool {
        match self {
            Self::Link { name, .. } | Self::Unlink { name, .. } => name.0 == dir,
            Self::Rename { from, to, .. } => from.0 == dir || to.0 == dir,
            Self::Write { .. } | Self::SetLen { .. } => false,
        }
    }
}

/// Names and contents at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    pub(super) names: BTreeMap<Name, Inode>,
    pub(super) files: BTreeMap<Inode, Content>,
}

impl Image {
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { inode, offset, bytes } => self.write(*inode, *offset, bytes),
            Change::SetLen { inode, len } => self.set_len(*inode, *len),
            Change::Link { name, inode } => {
                self.names.insert(name.clone(), *inode);
            }
            Change::Unlink { name, inode } => self.unlink(name, *inode),
            Change::Rename { from, to, inode } => {
                self.unlink(from, *inode);
                self.names.insert(to.clone(), *inode);
            }
        }
    }

    /// Removes a name only if it still means this file: a later change may be there already.
    fn unlink(&mut self, name: &Name, inode: Inode) {
        if self.names.get(name) == Some(&inode) {
            self.names.remove(name);
        }
    }

    fn content(&mut self, inode: Inode) -> &mut Content {
        self.files.entry(inode).or_default()
    }

    pub(super) fn write(&mut self, inode: Inode, offset: u64, bytes: &[u8]) {
        self.content(inode).write(to_usize(offset), bytes);
    }

    pub(super) fn set_len(&mut self, inode: Inode, len: u64) {
        self.content(inode).set_len(to_usize(len));
    }
}

pub(super) fn to_usize(number: u64) -> usize {
    usize::try_from(number).expect("a simulated file fits in memory")
}

/// The whole disk.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    /// What the system sees: the page cache.
    pub(super) now: Image,
    /// What a power loss leaves for certain.
    pub(super) durable: Image,
    /// What lies between, oldest first.
    pub(super) pending: Vec<Change>,
    pub(super) dirs: BTreeSet<PathBuf>,
    /// Bytes that cannot be read until they are written: by file, and where.
    unreadable: BTreeSet<(Inode, u64)>,
    reserved: BTreeMap<Inode, u64>,
    next_inode: Inode,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            now: Image::default(),
            durable: Image::default(),
            pending: Vec::new(),
            dirs: BTreeSet::from([PathBuf::new(), PathBuf::from("/")]),
            unreadable: BTreeSet::new(),
            reserved: BTreeMap::new(),
            next_inode: 1,
        }
    }
}

/// The path without `.`; the working directory is the empty path.
fn normal(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

impl Disk {
    /// A disk that holds exactly this, durable.
    pub(super) fn settled(&self, image: Image) -> Self {
        Self {
            now: image.clone(),
            durable: image,
            pending: Vec::new(),
            dirs: self.dirs.clone(),
            unreadable: self.unreadable.clone(),
            reserved: self.reserved.clone(),
            next_inode: self.next_inode,
        }
    }

    fn change(&mut self, change: Change) {
        self.now.apply(&change);
        self.pending.push(change);
    }

    /// Splits a path whose directory must exist.
    fn name(&self, path: &Path) -> io::Result<Name> {
        let path = normal(path);
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(ErrorKind::InvalidInput.into());
        };
        if !self.dirs.contains(dir) {
            return Err(ErrorKind::NotFound.into());
        }
        Ok((dir.to_owned(), name.to_owned()))
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<Inode> {
        if self.dirs.contains(&normal(path)) {
            return Err(ErrorKind::IsADirectory.into());
        }
        let name = self.name(path)?;
        self.now.names.get(&name).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<Inode> {
        let name = self.name(path)?;
        let inode = self.next_inode;
        self.next_inode += 1;
        self.now.files.insert(inode, Content::default());
        self.durable.files.insert(inode, Content::default());
        self.change(Change::Link { name, inode });
        Ok(inode)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.find(from)?;
        if self.dirs.contains(&normal(to)) {
            return Err(ErrorKind::IsADirectory.into());
        }
        let (from, to) = (self.name(from)?, self.name(to)?);
        if from != to {
            self.change(Change::Rename { from, to, inode });
        }
        Ok(())
    }

    pub(super) fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let inode = self.find(path)?;
        let name = self.name(path)?;
        self.change(Change::Unlink { name, inode });
        Ok(())
    }

    pub(super) fn make_dirs(&mut self, path: &Path) -> io::Result<()> {
        let path = normal(path);
        for dir in path.ancestors() {
            if !self.dirs.contains(dir) && self.find(dir).is_ok() {
                return Err(ErrorKind::AlreadyExists.into());
            }
        }
        self.dirs.extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let path = normal(path);
        if !self.dirs.contains(&path) {
            return Err(ErrorKind::NotFound.into());
        }
        let files = self.now.names.keys().filter(|(dir, _)| *dir == path).map(|(_, n)| n.clone());
        let dirs = self.dirs.iter().filter(|dir| dir.parent() == Some(&path));
        let mut names: Vec<_> = files.collect();
        names.extend(dirs.filter_map(|dir| dir.file_name()).map(ToOwned::to_owned));
        names.sort();
        Ok(names)
    }

    pub(super) fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        if self.dirs.contains(&normal(path)) {
            return Ok(Metadata { len: 0, is_dir: true });
        }
        Ok(Metadata { len: self.len(self.find(path)?), is_dir: false })
    }

    /// As much of a file from `offset` on as there is; gives how much.
    pub(super) fn read(&self, inode: Inode, offset: u64, buffer: &mut [u8]) -> usize {
        let Some(content) = self.now.files.get(&inode) else { return 0 };
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let count = buffer.len().min(content.len() - start);
        content.read(start, &mut buffer[..count]);
        count
    }

    pub(super) fn len(&self, inode: Inode) -> u64 {
        self.now.files.get(&inode).map_or(0, |content| content.len() as u64)
    }

    pub(super) fn write(&mut self, inode: Inode, offset: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            // The disk takes another place for it.
            let end = offset + bytes.len() as u64;
            self.unreadable.retain(|(of, at)| *of != inode || !(offset..end).contains(at));
            self.change(Change::Write { inode, offset, bytes: bytes.into() });
        }
    }

    /// What was reserved behind the new end is free again.
    pub(super) fn set_len(&mut self, inode: Inode, len: u64) {
        if let Some(reserved) = self.reserved.get_mut(&inode) {
            *reserved = len.min(*reserved);
        }
        self.change(Change::SetLen { inode, len });
    }

    pub(super) fn reserve(&mut self, inode: Inode, end: u64) {
        let reserved = self.reserved.entry(inode).or_default();
        *reserved = end.max(*reserved);
    }

    /// Room a file takes; one without a name that is still open counts too.
    pub(super) fn file_bytes(&self, inode: Inode) -> u64 {
        self.len(inode).max(self.reserved.get(&inode).copied().unwrap_or(0))
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.now.names.values().map(|inode| self.file_bytes(*inode)).sum()
    }

    /// Syncs a file.
    pub(super) fn sync_file(&mut self, inode: Inode) {
        self.settle(|change| change.is_of_file(inode));
    }

    /// A sync of a file that fails: the kernel calls its pages clean, and the disk has not got them.
    pub(super) fn lose_file(&mut self, inode: Inode) {
        let lost =
            |change: &Change| matches!(change, Change::Write { inode: of, .. } if *of == inode);
        self.pending.retain(|change| !lost(change));
    }

    /// Syncs the names of a directory.
    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let dir = normal(path);
        if !self.dirs.contains(&dir) {
            return Err(ErrorKind::NotFound.into());
        }
        self.settle(|change| change.is_of_dir(&dir));
        Ok(())
    }

    fn settle(&mut self, settles: impl Fn(&Change) -> bool) {
        let durable = &mut self.durable;
        self.pending.retain(|change| {
            let settled = settles(change);
            if settled {
                durable.apply(change);
            }
            !settled
        });
    }

    /// A byte that is there cannot be read any more.
    pub(super) fn spoil(&mut self, inode: Inode, offset: u64) -> io::Result<()> {
        if offset >= self.len(inode) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.unreadable.insert((inode, offset));
        Ok(())
    }

    /// Whether so many bytes from there on can be read.
    pub(super) fn is_readable(&self, inode: Inode, offset: u64, bytes: usize) -> bool {
        let end = offset.saturating_add(bytes as u64);
        self.unreadable.range((inode, offset)..(inode, end)).next().is_none()
    }

    /// What is cached, and what is durable, if it has the byte.
    pub(super) fn flip(&mut self, inode: Inode, offset: u64, mask: u8) -> io::Result<()> {
        if offset >= self.len(inode) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        for image in [&mut self.now, &mut self.durable] {
            image.content(inode).flip(to_usize(offset), mask);
        }
        Ok(())
    }

    /// A byte that rotted is as it was before, where nothing was written over it.
    pub(super) fn heal(&mut self, inode: Inode, offset: u64) {
        self.unreadable.remove(&(inode, offset));
        for image in [&mut self.now, &mut self.durable] {
            image.content(inode).flip_back(to_usize(offset));
        }
    }
}
