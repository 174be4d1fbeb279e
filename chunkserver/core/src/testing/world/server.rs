//! A chunkserver of the world: a core, and a disk of which a loss of power takes what was not synced.

use std::collections::{BTreeMap, VecDeque};

use gfs_types::fence::{ChunkVersion, SerialNumber};
use gfs_types::ids::ProcessSession;
use gfs_types::message::control::ReplicaState;
use gfs_types::message::data::{OrderKind, Target};

use super::Random;
use crate::testing::bench::CHUNK;
use crate::{Job, LocalWrite, Peer, Recovered, Replica, Said, Settings, StoreOp, Ticket, Token};

/// The unit of a copy. Real blocks are larger, and so are real chunks.
pub(super) const BLOCK: usize = 512;
/// What stands where a disk has lied.
pub(super) const ROT: u32 = u32::MAX;

/// What is on the disk, the page cache included.
#[derive(Default, Clone)]
pub(super) struct Disk {
    pub(super) version: ChunkVersion,
    pub(super) clean: bool,
    pub(super) suspect: bool,
    pub(super) corrupt: bool,
    /// For each byte the mutation that wrote it; 0 for zeros.
    pub(super) bytes: Vec<u32>,
    /// As of the last sync: what a loss of power leaves.
    synced: Vec<u32>,
    pub(super) committed_length: u64,
    overwritten: bool,
}

pub(super) struct Server {
    pub(super) replica: Replica,
    pub(super) settings: Settings,
    pub(super) up: bool,
    pub(super) disk: Disk,
    pub(super) data: BTreeMap<SerialNumber, u32>,
    /// Bytes of requests that are neither kept nor answered.
    pub(super) staged: BTreeMap<Token, u32>,
    pub(super) jobs: VecDeque<(Ticket, StoreOp)>,
    /// What it owes: to the client, or to the primary that ordered.
    pub(super) owed: BTreeMap<Token, Owed>,
    pub(super) copy: Option<Copy>,
    /// A write that was asked for and is not carried out yet: others may join it.
    pub(super) unwritten: Option<Unwritten>,
    /// (version, serial) of everything applied, and what it was.
    pub(super) history: BTreeMap<(ChunkVersion, SerialNumber), (u64, u64, u32)>,
}

pub(super) type Unwritten = (ChunkVersion, SerialNumber, LocalWrite);

pub(super) enum Owed {
    Client(u32),
    /// To a copy, its own or another's.
    Copy,
    Primary {
        to: Peer,
        version: ChunkVersion,
        said: Said,
    },
}

/// A copy from another server under way, as the shell makes it.
pub(super) struct Copy {
    pub(super) job: Job,
    pub(super) from: Peer,
    pub(super) target: Target,
    /// The source when it was asked for its checksums.
    pub(super) table: Option<Vec<u32>>,
    /// Blocks to fetch, the next one last.
    pub(super) blocks: Vec<usize>,
    pub(super) copied_bytes: u64,
    /// What came and was not put in place yet.
    pub(super) piece: Vec<u32>,
}

pub(super) fn digest(bytes: &[u32]) -> u32 {
    bytes.iter().fold(1u32, |digest, byte| digest.wrapping_mul(0x0100_0193).wrapping_add(*byte))
}

impl Server {
    pub(super) fn absent(settings: Settings) -> Self {
        Self {
            replica: Replica::absent(CHUNK, settings),
            settings,
            up: true,
            disk: Disk::default(),
            data: BTreeMap::new(),
            staged: BTreeMap::new(),
            jobs: VecDeque::new(),
            owed: BTreeMap::new(),
            copy: None,
            unwritten: None,
            history: BTreeMap::new(),
        }
    }

    /// Carries a write out with those that join it. Gives the last of them.
    pub(super) fn apply_joined(&mut self, (version, first, write): Unwritten) -> SerialNumber {
        let last = self.replica.join_writes(u64::MAX).map_or(first, |(last, _)| last);
        self.apply(version, first, write);
        for serial in (first.0 + 1..=last.0).map(SerialNumber) {
            let order = self.replica.sequence.waiting(serial).expect("it joined");
            let OrderKind::Write { offset, length, .. } = order.kind else {
                panic!("{order:?} joined a write");
            };
            assert_eq!(offset, self.disk.bytes.len() as u64, "{order:?} joined a write");
            let write = LocalWrite::Bytes { offset, length, overwrite: false };
            self.apply(version, serial, write);
        }
        last
    }

    pub(super) fn apply(&mut self, version: ChunkVersion, serial: SerialNumber, write: LocalWrite) {
        assert!(!self.disk.clean, "clean is cleared before the first change of a lease");
        assert!(!self.disk.suspect, "a suspect replica takes no mutations");
        let (offset, length, id) = match write {
            LocalWrite::Bytes { offset, length, overwrite } => {
                assert_eq!(overwrite, offset < self.disk.bytes.len() as u64);
                self.disk.overwritten |= overwrite;
                (offset, length, self.data[&serial])
            }
            LocalWrite::Zeros { offset, length } => (offset, length, 0),
        };
        let (start, end) =
            (usize::try_from(offset).unwrap(), usize::try_from(offset + length).unwrap());
        if self.disk.bytes.len() < end {
            self.disk.bytes.resize(end, 0);
        }
        self.disk.bytes[start..end].fill(id);
        let before = self.history.insert((version, serial), (offset, length, id));
        assert_eq!(before, None, "a mutation is applied once");
    }

    /// Puts the piece in place; before the first one the replica is suspect, durably.
    pub(super) fn repair(&mut self, offset: u64, length: u64) {
        let piece = self.copy.as_mut().map(|copy| std::mem::take(&mut copy.piece));
        let piece = piece.expect("a copy is under way");
        assert_eq!(piece.len() as u64, length);
        self.disk.suspect = true;
        self.disk.clean = false;
        self.disk.overwritten |= offset < self.disk.committed_length;
        let start = usize::try_from(offset).unwrap();
        let end = start + piece.len();
        if self.disk.bytes.len() < end {
            self.disk.bytes.resize(end, 0);
        }
        self.disk.bytes[start..end].copy_from_slice(&piece);
    }

    pub(super) fn carry_out(&mut self, op: StoreOp) -> u32 {
        let disk = &mut self.disk;
        match op {
            StoreOp::Create { version, .. } => disk.version = version,
            StoreOp::SetVersion { version } => {
                assert!(version >= disk.version, "raise-2");
                disk.version = version;
                disk.clean = false;
                return digest(&disk.bytes);
            }
            StoreOp::Flush { committed_length, clean } => {
                assert!(committed_length <= disk.bytes.len() as u64);
                disk.committed_length = committed_length;
                disk.clean = clean && !disk.suspect && !disk.corrupt;
                disk.synced.clone_from(&disk.bytes);
            }
            StoreOp::MarkCorrupt => disk.corrupt = true,
            StoreOp::Equalised { length } => {
                disk.bytes.resize(usize::try_from(length).unwrap(), 0);
                disk.synced.clone_from(&disk.bytes);
                disk.committed_length = disk.committed_length.min(length);
                (disk.suspect, disk.corrupt, disk.clean) = (false, false, false);
                return digest(&disk.bytes);
            }
            StoreOp::Delete { .. } => unreachable!("nothing is collected here"),
        }
        0
    }

    /// The process dies. What it had asked of its disk is done up to some point.
    pub(super) fn die(&mut self, random: &mut Random) {
        for _ in 0..random.below(self.jobs.len() + 1) {
            if let Some((_, op)) = self.jobs.pop_front() {
                self.carry_out(op);
            }
        }
        self.up = false;
        self.jobs.clear();
        self.data.clear();
        self.staged.clear();
        self.owed.clear();
        self.copy = None;
        self.unwritten = None;
        self.recover();
    }

    pub(super) fn rise(&mut self) {
        if !self.up {
            self.up = true;
            self.recover();
        }
    }

    /// What the next run of the process finds.
    pub(super) fn recover(&mut self) {
        let disk = &mut self.disk;
        disk.corrupt |= disk.bytes.contains(&ROT);
        self.settings.session = ProcessSession(self.settings.session.0 + 1);
        if disk.version == ChunkVersion(0) {
            self.replica = Replica::absent(CHUNK, self.settings);
            return;
        }
        let state = match disk {
            Disk { corrupt: true, .. } => ReplicaState::Corrupt,
            Disk { suspect: true, .. } => ReplicaState::Suspect,
            Disk { clean: true, .. } => ReplicaState::Clean,
            _ => ReplicaState::Unclean,
        };
        let found = Recovered {
            version: disk.version,
            length: disk.bytes.len() as u64,
            committed_length: disk.committed_length,
            overwritten: disk.overwritten,
            state,
        };
        self.replica = Replica::recovered(CHUNK, self.settings, found, &mut Vec::new());
    }

    /// The machine loses power: of what was not synced any part is gone.
    pub(super) fn lose_power(&mut self, random: &mut Random) {
        self.die(random);
        let disk = &mut self.disk;
        let (had, synced) = (disk.bytes.len(), disk.synced.len());
        let keep = had.min(synced + random.below(had.saturating_sub(synced) + 1));
        disk.bytes.truncate(keep.max(had.min(synced)));
        for start in (0..disk.bytes.len().min(synced)).step_by(64) {
            let part = start..(start + 64).min(disk.bytes.len()).min(synced);
            if random.percent(50) {
                disk.bytes[part.clone()].copy_from_slice(&disk.synced[part]);
            }
        }
        // Appended bytes may be missing in the middle.
        for start in (synced..disk.bytes.len()).step_by(64) {
            let end = (start + 64).min(disk.bytes.len());
            if random.percent(20) {
                disk.bytes[start..end].fill(0);
            }
        }
        disk.synced.clone_from(&disk.bytes);
        disk.suspect |= !disk.clean && disk.version > ChunkVersion(0);
        self.recover();
    }

    /// D4: the same serial of the same version is the same mutation.
    pub(super) fn agrees_with(&self, other: &Self, who: &str) {
        for (place, what) in &self.history {
            assert!(
                other.history.get(place).is_none_or(|theirs| theirs == what),
                "{who}: {place:?}"
            );
        }
    }
}
