//! The store and its model side by side, with what may be found of the replica after a crash.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use gfs_durable::fs::Fs;
use gfs_protocol::checksum;

use super::model::{HANDLE, Head, Model, Op, Place};
use crate::store::{Store, StoreConfig, StoreError};

/// Clean, and nothing else is to be said about it.
fn is_plain(model: &Model) -> bool {
    model.head.clean && !model.head.suspect && !model.head.corrupt
}

/// Whether a simulated disk was turned off.
pub(super) fn is_off(fs: &dyn Fs) -> bool {
    let looked = fs.read_dir(Path::new("/"));
    looked.is_err_and(|error| error.kind() == ErrorKind::NotConnected)
}

/// What a replica may be after a crash.
#[derive(Debug, Clone)]
pub(super) struct Allowed {
    /// Headers, each with the bytes of its time; `None`: no replica.
    heads: Vec<Option<Model>>,
    /// Bytes that may come with any header that is not clean. Without them each header has its own.
    bytes: Vec<Arc<Vec<u8>>>,
    /// The machine restarts: what is unclean becomes suspect.
    restarts: bool,
    /// What else it may be when power is lost later.
    unsynced: Vec<Option<Model>>,
    /// Of the next process.
    pub config: StoreConfig,
}

/// A store that runs, and the model of its replica.
pub(super) struct World {
    fs: Arc<dyn Fs>,
    config: StoreConfig,
    store: Option<Store>,
    state: Option<Model>,
    count: u64,
    /// States of an operation that came to no end.
    torn: Vec<Option<Model>>,
    /// Headers and bytes that are perhaps not on the disk yet, and the last ones that are.
    heads: Vec<Option<Model>>,
    bytes: Vec<Arc<Vec<u8>>>,
}

impl World {
    /// Opens an empty store.
    pub(super) fn new(fs: impl Fs, config: StoreConfig) -> Self {
        let fs: Arc<dyn Fs> = Arc::new(fs);
        let (store, _) = Store::open(fs.clone(), config.clone()).expect("the disk is good");
        Self {
            fs,
            config,
            store: Some(store),
            state: None,
            count: 0,
            torn: Vec::new(),
            heads: vec![None],
            bytes: Vec::new(),
        }
    }

    /// The next process, which found this.
    pub(super) fn next(fs: impl Fs, allowed: &Allowed, found: Option<Model>) -> Self {
        let mut world = Self::new(fs, allowed.config.clone());
        world.settle(found);
        // All that was read is on the disk, but for the header of a clean replica: it may be an unclean one again.
        if let Some(now) = world.state.clone().filter(is_plain) {
            let same =
                |then: &&Model| then.bytes == now.bytes && then.head.version == now.head.version;
            world.heads.extend(allowed.unsynced.iter().flatten().filter(same).cloned().map(Some));
        }
        world
    }

    /// Everything so far is on the disk.
    fn settle(&mut self, state: Option<Model>) {
        self.bytes = state.iter().map(|model| model.bytes.clone()).collect();
        self.heads = vec![state.clone()];
        self.state = state;
    }

    fn place(&self) -> Place {
        Place { count: self.count, chunk_bytes: self.config.chunk_size.bytes() }
    }

    /// Does it all; `false`: the disk was off before the end.
    pub(super) fn run(&mut self, ops: &[Op]) -> bool {
        ops.iter().all(|op| self.act(*op))
    }

    /// Does one operation; `false`: the disk is off.
    ///
    /// # Panics
    /// When it is refused and should not be, or the other way round.
    pub(super) fn act(&mut self, op: Op) -> bool {
        self.count += 1;
        if self.may_not(op) {
            return true;
        }
        let states = op.states(self.state.as_ref(), self.place());
        let done = match (op, &self.store) {
            (Op::Reopen, _) => {
                self.store = None;
                let opened = Store::open(self.fs.clone(), self.config.clone());
                // A replica that cannot be read does not keep the others from being opened.
                let opened = opened.map(|(store, _)| self.store = Some(store));
                if is_off(&*self.fs) {
                    Err("the disk is off".to_owned())
                } else {
                    opened.map_err(|error| error.to_string())
                }
            }
            (_, Some(store)) => {
                op.act(store, self.state.as_ref(), self.place()).map_err(|error| error.to_string())
            }
            (_, None) => return false,
        };
        match (done, states) {
            (Ok(()), Some(states)) => {
                self.went_through(op, states);
                true
            }
            (Err(_), None) => true,
            (Err(_), Some(states)) if is_off(&*self.fs) => {
                self.torn = states;
                false
            }
            (done, states) => panic!("{op:?} on {:?}: {done:?}, expected {states:?}", self.state),
        }
    }

    /// A replica whose blocks are being replaced takes no mutations, and one that found itself damaged nothing else.
    fn may_not(&self, op: Op) -> bool {
        let damaged = |store: &Store| store.replica(HANDLE).is_ok_and(|r| r.damaged.is_some());
        self.state.as_ref().is_some_and(|state| state.mixed)
            && match op {
                Op::Repair(_)
                | Op::MakeEqual
                | Op::Delete
                | Op::Create
                | Op::Birth
                | Op::Reopen => false,
                Op::Version | Op::Corrupt => self.store.as_ref().is_some_and(damaged),
                _ => true,
            }
    }

    fn went_through(&mut self, op: Op, states: Vec<Option<Model>>) {
        for next in states {
            let head =
                |state: &Option<Model>| state.as_ref().map(|model| (model.head, model.mixed));
            if head(&next) != head(&self.state) {
                // A header is never written without a sync.
                self.settle(next);
            } else {
                self.bytes.extend(next.iter().map(|model| model.bytes.clone()));
                self.state = next;
            }
        }
        let read = op == Op::Reopen && !self.state.as_ref().is_some_and(is_plain);
        if op.is_durable() || read {
            self.settle(self.state.clone());
        }
    }

    /// What the next process may find when this one was killed: every write that was made is there.
    pub(super) fn after_kill(&self) -> Allowed {
        Allowed {
            heads: std::iter::once(&self.state).chain(&self.torn).cloned().collect(),
            bytes: Vec::new(),
            restarts: false,
            unsynced: self.heads.iter().chain(&self.torn).cloned().collect(),
            config: self.config.clone(),
        }
    }

    /// What may be found after a power loss: at least all that was durable.
    pub(super) fn after_loss(&self) -> Allowed {
        let torn_bytes = self.torn.iter().flatten().map(|model| model.bytes.clone());
        Allowed {
            heads: self.heads.iter().chain(&self.torn).cloned().collect(),
            bytes: self.bytes.iter().cloned().chain(torn_bytes).collect(),
            restarts: true,
            unsynced: Vec::new(),
            config: StoreConfig { boot: self.config.boot + 1, ..self.config.clone() },
        }
    }

    /// Whether the store is as the model says.
    pub(super) fn check(&self) -> Result<(), String> {
        let store = self.store.as_ref().expect("the store is open");
        self.after_kill().check_store(store).map(drop)
    }
}

impl Allowed {
    /// Opens the store, in which exactly one of the allowed states must be; gives it.
    pub(super) fn check(&self, fs: impl Fs) -> Result<Option<Model>, String> {
        let (store, found) =
            Store::open(Arc::new(fs), self.config.clone()).map_err(|error| error.to_string())?;
        if found.len() > 1 {
            return Err(format!("one replica was made, found: {found:?}"));
        }
        self.check_store(&store)
    }

    fn check_store(&self, store: &Store) -> Result<Option<Model>, String> {
        let Some((head, bytes)) = see(store)? else {
            return if self.heads.contains(&None) { Ok(None) } else { Err(self.none("nothing")) };
        };
        let fits = |model: &&Model| self.fits(model, head, bytes.as_ref().ok());
        // If it may be one that is mixed, nothing of it is to be relied on.
        let mixed = self.heads.iter().flatten().filter(|model| model.mixed);
        match mixed.chain(self.heads.iter().flatten()).find(fits) {
            Some(model) => {
                let bytes = bytes.unwrap_or_default();
                let committed = model.head.committed.and(head.committed);
                let head = Head { committed, corrupt: model.head.corrupt, ..head };
                Ok(Some(Model { head, bytes, mixed: model.mixed }))
            }
            None => Err(self.none(&format!("{head:?} with {:?} bytes", bytes.map(|b| b.len())))),
        }
    }

    fn none(&self, seen: &str) -> String {
        let show = |model: &Model| format!("{:?} with {} bytes", model.head, model.bytes.len());
        let heads: Vec<_> = self.heads.iter().map(|head| head.as_ref().map(show)).collect();
        let bytes: Vec<_> = self.bytes.iter().map(|bytes| bytes.len()).collect();
        let restarts = self.restarts;
        format!("{seen} is none of {heads:#?}, bytes {bytes:?}, restarted: {restarts}")
    }

    fn fits(&self, model: &Model, seen: Head, bytes: Option<&Arc<Vec<u8>>>) -> bool {
        let shown = Head {
            suspect: model.head.suspect || (self.restarts && !model.head.clean),
            ..model.head
        };
        if model.mixed {
            // It may have found itself damaged, too.
            let corrupt = shown.corrupt || seen.corrupt;
            return seen == Head { corrupt, committed: seen.committed, ..shown };
        }
        let Some(bytes) = bytes else { return false };
        let committed = match shown.committed {
            Some(committed) => Some(committed.min(bytes.len() as u64)),
            None => seen.committed,
        };
        let own = self.bytes.is_empty() || model.head.clean;
        let known = if own { std::slice::from_ref(&model.bytes) } else { &self.bytes[..] };
        seen == Head { committed, ..shown } && known.contains(bytes)
    }
}

type Seen = (Head, Result<Arc<Vec<u8>>, String>);

/// The replica as the store has it; its bytes only if every block verifies.
fn see(store: &Store) -> Result<Option<Seen>, String> {
    let replica = match store.replica(HANDLE) {
        Err(StoreError::NotFound(_)) => return Ok(None),
        replica => replica.map_err(|error| error.to_string())?,
    };
    let length = replica.length;
    let bytes = match length {
        0 => Ok(Vec::new()),
        _ => store.read_verified(HANDLE, 0..length, length),
    };
    let sums = store.checksums(HANDLE).map_err(|error| error.to_string())?;
    let bytes = match bytes {
        Ok(bytes) if sums.table == checksum::blocks(0, &bytes) => Ok(Arc::new(bytes)),
        Ok(_) => Err("the table of checksums is not that of the bytes".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    let head = Head {
        version: replica.version.0,
        committed: Some(replica.committed_length),
        clean: replica.clean,
        overwritten: replica.overwritten,
        suspect: replica.suspect,
        corrupt: replica.damaged.is_some(),
    };
    Ok(Some((head, bytes)))
}
