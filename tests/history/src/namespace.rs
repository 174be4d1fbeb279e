//! A file system's names, done naively: one map from path to entry, one operation after another.
//!
//! It is what a linearizable history is compared with, and what the master's namespace is tested beside. Nothing in it is
//! fast or clever; that is its worth. The grace of deleted things never ends here: histories are shorter.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::operation::{Answer, Entry, Kind, Operation, Refusal};

/// All entries but the root by path, and what was deleted and may come back.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Namespace {
    entries: Entries,
    /// Where each was, and all that was in it; the latest last. Shared, since nothing in it changes.
    trash: Vec<(String, Arc<Entries>)>,
    /// Ids that were told of what is gone for good: nothing else ever has one of them.
    gone: Arc<BTreeSet<u64>>,
}

type Entries = BTreeMap<String, Named>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Named {
    kind: Kind,
    id: Id,
}

/// Who an entry is: what it was made by, until somebody is told its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Id {
    Told(u64),
    MadeBy { call: u32, nth: u16 },
}

impl Id {
    fn told(self) -> Option<u64> {
        match self {
            Self::Told(id) => Some(id),
            Self::MadeBy { .. } => None,
        }
    }
}

/// What an operation found or made; [`Namespace::agrees`] compares it with what the caller was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing to tell.
    Nothing,
    /// What stands at this path.
    At(String),
    /// These names in this directory.
    In(String, Vec<String>),
}

impl Namespace {
    /// Does an operation, or says why not and changes nothing. `call` tells what this operation makes from what others make.
    ///
    /// # Errors
    /// It is refused.
    pub fn perform(&mut self, call: u32, operation: &Operation) -> Result<Found, Refusal> {
        match operation {
            Operation::Create { path } => self.create(call, path),
            Operation::Mkdir { path, parents: false } => self.mkdir(call, path),
            Operation::Mkdir { path, parents: true } => self.mkdir_with_parents(call, path),
            Operation::Rename { from, to, replace } => self.rename(from, to, *replace),
            Operation::Delete { path, recursive, purge } => self.delete(path, *recursive, *purge),
            Operation::Undelete { path } => self.undelete(path),
            Operation::Stat { path } => self.find(path).map(|_| Found::At(path.clone())),
            Operation::List { path } => self.list(path),
        }
    }

    /// Whether the answer is true of what was found. Ids that nobody was told before are known from then on: two entries
    /// never have the same one.
    pub fn agrees(&mut self, found: &Found, answer: &Answer) -> bool {
        match (found, answer) {
            (Found::Nothing, Answer::Nothing) => true,
            (Found::At(path), Answer::Entry(entry)) => self.is(path, *entry),
            (Found::In(directory, names), Answer::Names(told)) => {
                names.len() == told.len()
                    && names.iter().zip(told).all(|(name, (told, entry))| {
                        name == told && self.is(&child(directory, name), *entry)
                    })
            }
            _ => false,
        }
    }

    /// Every path with its kind and, if anybody was told, its id.
    pub fn entries(&self) -> impl Iterator<Item = (&str, Kind, Option<u64>)> {
        self.entries.iter().map(|(path, named)| (path.as_str(), named.kind, named.id.told()))
    }

    fn is(&mut self, path: &str, told: Entry) -> bool {
        let Some(named) = self.entries.get(path) else {
            return path == "/" && told.kind == Kind::Directory;
        };
        if named.kind != told.kind {
            return false;
        }
        match named.id {
            Id::Told(id) => id == told.id,
            Id::MadeBy { .. } if self.is_used(told.id) => false,
            Id::MadeBy { .. } => {
                let known = Named { kind: told.kind, id: Id::Told(told.id) };
                self.entries.insert(path.to_owned(), known);
                true
            }
        }
    }

    fn is_used(&self, id: u64) -> bool {
        let deleted = self.trash.iter().flat_map(|(_, entries)| entries.values());
        self.gone.contains(&id)
            || self.entries.values().chain(deleted).any(|named| named.id == Id::Told(id))
    }

    fn kind(&self, path: &str) -> Option<Kind> {
        match path {
            "/" => Some(Kind::Directory),
            _ => self.entries.get(path).map(|named| named.kind),
        }
    }

    /// What stands at a path, or why nothing does.
    fn find(&self, path: &str) -> Result<Kind, Refusal> {
        if let Some(kind) = self.kind(path) {
            return Ok(kind);
        }
        let nearest = ancestors(path).find_map(|above| self.kind(above));
        match nearest {
            Some(Kind::File) => Err(Refusal::Invalid),
            _ => Err(Refusal::NotFound),
        }
    }

    /// Whether something may be put at a path: what stands there, given that its directory does.
    fn place(&self, path: &str) -> Result<Option<Kind>, Refusal> {
        if path == "/" {
            return Err(Refusal::Denied);
        }
        match self.find(path) {
            Ok(kind) => Ok(Some(kind)),
            Err(Refusal::NotFound) if self.kind(parent(path)) == Some(Kind::Directory) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    fn free(&self, path: &str) -> Result<(), Refusal> {
        self.place(path)?.map_or(Ok(()), |_| Err(Refusal::AlreadyExists))
    }

    fn create(&mut self, call: u32, path: &str) -> Result<Found, Refusal> {
        self.free(path)?;
        let made = Named { kind: Kind::File, id: Id::MadeBy { call, nth: 0 } };
        self.entries.insert(path.to_owned(), made);
        Ok(Found::At(path.to_owned()))
    }

    fn mkdir(&mut self, call: u32, path: &str) -> Result<Found, Refusal> {
        self.free(path)?;
        self.make_directory(call, 0, path);
        Ok(Found::Nothing)
    }

    fn mkdir_with_parents(&mut self, call: u32, path: &str) -> Result<Found, Refusal> {
        match self.find(path) {
            Ok(Kind::Directory) => return Ok(Found::Nothing),
            Ok(Kind::File) => return Err(Refusal::AlreadyExists),
            Err(Refusal::NotFound) => {}
            Err(refusal) => return Err(refusal),
        }
        let missing: Vec<&str> = std::iter::once(path)
            .chain(ancestors(path))
            .take_while(|path| self.kind(path).is_none())
            .collect();
        for (nth, path) in (0..).zip(missing) {
            self.make_directory(call, nth, path);
        }
        Ok(Found::Nothing)
    }

    fn make_directory(&mut self, call: u32, nth: u16, path: &str) {
        let made = Named { kind: Kind::Directory, id: Id::MadeBy { call, nth } };
        self.entries.insert(path.to_owned(), made);
    }

    fn rename(&mut self, from: &str, to: &str, replace: bool) -> Result<Found, Refusal> {
        if from == "/" || to == "/" {
            return Err(Refusal::Denied);
        }
        let moved = self.find(from)?;
        if from == to {
            return Ok(Found::At(to.to_owned()));
        }
        if moved == Kind::Directory && is_within(to, from) {
            return Err(Refusal::Invalid);
        }
        match (self.place(to)?, replace) {
            (None, _) => {}
            (Some(_), false) | (Some(Kind::Directory), true) => return Err(Refusal::AlreadyExists),
            (Some(Kind::File), true) if moved == Kind::Directory => return Err(Refusal::Invalid),
            (Some(Kind::File), true) => {
                let replaced = self.take(to);
                self.trash.push((to.to_owned(), Arc::new(replaced)));
            }
        }
        let taken = self.take(from);
        let named = taken.into_iter().map(|(path, named)| {
            (format!("{to}{}", path.strip_prefix(from).unwrap_or_default()), named)
        });
        self.entries.extend(named);
        Ok(Found::At(to.to_owned()))
    }

    fn delete(&mut self, path: &str, recursive: bool, purge: bool) -> Result<Found, Refusal> {
        if path == "/" {
            return Err(Refusal::Denied);
        }
        self.find(path)?;
        if !recursive && self.below(path).nth(1).is_some() {
            return Err(Refusal::Invalid);
        }
        let taken = self.take(path);
        if purge {
            let told = taken.values().filter_map(|named| named.id.told());
            Arc::make_mut(&mut self.gone).extend(told);
        } else {
            self.trash.push((path.to_owned(), Arc::new(taken)));
        }
        Ok(Found::Nothing)
    }

    fn undelete(&mut self, path: &str) -> Result<Found, Refusal> {
        if path == "/" {
            return Err(Refusal::Denied);
        }
        let latest = self.trash.iter().rposition(|(from, _)| from == path);
        let latest = latest.ok_or(Refusal::NotFound)?;
        self.free(path)?;
        let (_, entries) = self.trash.remove(latest);
        self.entries.extend(Arc::unwrap_or_clone(entries));
        Ok(Found::At(path.to_owned()))
    }

    fn list(&self, path: &str) -> Result<Found, Refusal> {
        if self.find(path)? == Kind::File {
            return Err(Refusal::Invalid);
        }
        let below = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let names = self.entries.keys().filter_map(|path| path.strip_prefix(&below));
        let names = names.filter(|name| !name.contains('/')).map(str::to_owned).collect();
        Ok(Found::In(path.to_owned(), names))
    }

    /// The entry itself first.
    fn below<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a String> {
        self.entries.keys().filter(move |other| is_within(other, path))
    }

    fn take(&mut self, path: &str) -> Entries {
        self.entries.extract_if(.., |other, _| is_within(other, path)).collect()
    }
}

/// For a person: `/d 5, /d/f 7; deleted: /e 6`. A `?` is an id that nobody was told.
impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |(path, named): (&String, &Named)| match named.id.told() {
            Some(id) => format!("{path} {id}"),
            None => format!("{path} ?"),
        };
        let all: Vec<_> = self.entries.iter().map(named).collect();
        let deleted = self.trash.iter().filter_map(|(path, all)| Some((path, all.get(path)?)));
        let deleted: Vec<_> = deleted.map(named).collect();
        write!(f, "{}; deleted: {}", all.join(", "), deleted.join(", "))
    }
}

fn child(directory: &str, name: &str) -> String {
    format!("{}/{name}", directory.trim_end_matches('/'))
}

fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}

/// The directories above, the nearest first, the root last.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| (*path != "/").then(|| parent(path))).skip(1)
}

fn is_within(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
