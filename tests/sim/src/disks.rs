//! What goes wrong with disks: they are slow, full, fail at a point, or rot.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use gfs_chunkserver::driver::{Answer, ProcessEnds};
use gfs_durable::fs::Fs;
use gfs_durable::fs::sim::{Operation, SimFs};
use gfs_types::ErrorKind;
use gfs_types::ids::ChunkHandle;
use gfs_types::message::control::{Member, Space};
use gfs_types::time::Instant;

use crate::agenda::{MS, Micros, SECOND};
use crate::budget::replicas_of;
use crate::faults::Mend;
use crate::net::Who;
use crate::server::{Process, Server};
use crate::swarm::Fault;
use crate::world::{Event, World};

/// Where the end records of a replica's file begin (docs/formats/chunk-file.md).
const ENDS_AT: u64 = 8 << 10;

/// A slow disk takes so many times as long.
const SLOW: Micros = 50;
/// What was written last: a replica that is behind lacks some of it.
const END_BYTES: u64 = 4 << 10;
/// Reads that may go before one that fails, and fail in a row.
const READS: u64 = 20;
/// Room of a disk that takes a few records more.
const NEARLY_NONE: u64 = 4 << 10;
/// Room of a disk that is not full.
const ROOM: u64 = 1 << 40;

impl World {
    /// Counted when it is felt, but for rot: all of it must be found in the end.
    pub(crate) fn break_disk(&mut self, fault: Fault) -> anyhow::Result<()> {
        let node = self.node_to_harm();
        let random = &mut self.weather.random;
        let (nth, after) = (random.below(4), random.between(500, 8_000) * MS);
        match (fault, node) {
            (Fault::SlowDisk, _) => {
                self.note(format_args!("the disk of {node} is slow"));
                self.weather.slow.insert(node, (self.now + after, false));
                self.weather.late_when_taught |=
                    node == Who::Master && self.weather.random.percent(70);
            }
            (Fault::FailedSync, _) => {
                self.watch(node, fault, |fs| fs.fail_nth(Operation::Sync, nth))
            }
            (Fault::FailedWrite, _) => {
                self.watch(node, fault, |fs| fs.fail_nth(Operation::Write, nth));
            }
            (Fault::FullDisk, _) => self.fill(node, after),
            (Fault::FailedRead, Who::Server(number)) => self.fails_to_read(number, after)?,
            (Fault::Rot, Who::Server(number)) => self.rot(number)?,
            (Fault::Rot, Who::Master) => self.log_rots()?,
            _ => {}
        }
        Ok(())
    }

    /// Reads fail, once or for a while. A replica that cannot be read counts as damaged, so of each chunk another one must be good.
    fn fails_to_read(&mut self, number: usize, after: Micros) -> anyhow::Result<()> {
        if self.weather.unread.is_some() || !self.may_lose_power(number)? {
            return Ok(());
        }
        let random = &mut self.weather.random;
        let from = random.below(READS);
        let reads = if random.percent(50) { 1 } else { random.between(2, READS) };
        let node = Who::Server(number);
        self.watch(node, Fault::FailedRead, |fs| {
            (from..from + reads).for_each(|nth| fs.fail_nth(Operation::Read, nth));
        });
        self.weather.unread = self.is_up(node).then_some(number);
        self.weather.were_unread.insert(self.servers[number].uid);
        self.agenda.enter(self.now + after, Event::Mend(Mend::Disk(node)));
        Ok(())
    }

    fn gives_what_is_read(&mut self, node: Who) {
        self.weather.unread = self.weather.unread.filter(|number| Who::Server(*number) != node);
    }

    /// A lease is granted to members of which one alone is good, and its disk may not give what is read: before any of it was copied,
    /// that is more than is promised. From now on all can be read.
    pub(crate) fn may_be_left_unread(&mut self, members: &[Member], handle: ChunkHandle) {
        let Some(number) = self.weather.unread else { return };
        if self.is_good_alone(handle, members, number) {
            self.mend_disk(Who::Server(number));
        }
    }

    /// There is less room than a chunk takes, or the next segment of the master's log; mostly next to none.
    fn fill(&mut self, node: Who, after: Micros) {
        let random = &mut self.weather.random;
        let most = match node {
            _ if random.percent(60) => NEARLY_NONE,
            Who::Master => self.swarm.segment_bytes,
            _ => self.swarm.chunk_bytes,
        };
        let (room, longer) = (random.below(most), random.between(500, 8_000) * MS);
        // A simulated disk always says how full it is.
        let Some(Ok(free)) = self.disk(node).map(|fs| fs.free_space(Path::new("/"))) else {
            return;
        };
        let bytes = free.total_bytes - free.available_bytes + room;
        self.watch(node, Fault::FullDisk, |fs| fs.set_capacity(bytes));
        self.weather.full.insert(node, (bytes, false));
        self.agenda.enter(self.now + after + longer, Event::Mend(Mend::Disk(node)));
    }

    /// Its process died, or its machine did: that makes no room, but what could not be read can be.
    pub(crate) fn disk_goes_on(&mut self, node: Who) {
        self.gives_what_is_read(node);
        let Some((bytes, _)) = self.weather.full.get(&node).copied() else { return };
        let fs = match node {
            Who::Master => &self.master.fs,
            Who::Server(number) => &self.servers[number].fs,
            Who::Client(_) => return,
        };
        fs.set_capacity(bytes);
        self.weather.watched.insert(node, (Fault::FullDisk, fs.failures()));
    }

    /// Somebody asked who has no space refuses (FULL-1), mostly before any operation of its disk fails.
    pub(crate) fn may_refuse_for_room(&mut self, number: usize, answer: &Answer) {
        let refused = matches!(&answer.reply.result, Err(error) if error.kind == ErrorKind::Busy
            && error.message.contains("no space"));
        if refused {
            self.feels_full(Who::Server(number));
        }
    }

    /// Counts a full disk, once.
    pub(crate) fn feels_full(&mut self, node: Who) {
        let full = self.weather.full.get_mut(&node);
        if full.is_some_and(|(_, felt)| !std::mem::replace(felt, true)) {
            self.note(format_args!("{node} feels that its disk is full"));
            self.weather.count(Fault::FullDisk);
        }
    }

    fn disk(&self, node: Who) -> Option<&SimFs> {
        match node {
            Who::Master => self.master.up.is_some().then_some(&self.master.fs),
            Who::Server(number) => {
                let server = &self.servers[number];
                server.up.is_some().then_some(&server.fs)
            }
            Who::Client(_) => None,
        }
    }

    /// Breaks a disk in use, and sees whether anybody meets it.
    fn watch(&mut self, node: Who, fault: Fault, break_it: impl FnOnce(&SimFs)) {
        self.settle_disk(node);
        let Some(fs) = self.disk(node) else { return };
        break_it(fs);
        let before = fs.failures();
        self.note(format_args!("the disk of {node}: {fault:?}"));
        self.weather.watched.insert(node, (fault, before));
    }

    /// Whether an operation of this disk failed since it was broken.
    pub(crate) fn disk_failed(&self, node: Who) -> bool {
        let fs = match node {
            Who::Master => &self.master.fs,
            Who::Server(number) => &self.servers[number].fs,
            Who::Client(_) => return false,
        };
        self.weather.watched.get(&node).is_some_and(|(_, before)| fs.failures() > *before)
    }

    /// Before a disk is another one, or whole again: was it felt?
    pub(crate) fn settle_disk(&mut self, node: Who) {
        let felt = self.disk_failed(node);
        match self.weather.watched.remove(&node).filter(|_| felt) {
            Some((Fault::FullDisk, _)) => self.feels_full(node),
            Some((fault, _)) => self.weather.count(fault),
            None => {}
        }
    }

    /// All of them.
    pub(crate) fn mend_disks(&mut self) {
        self.weather.slow.clear();
        for node in std::iter::once(Who::Master).chain((0..self.servers.len()).map(Who::Server)) {
            self.mend_disk(node);
        }
    }

    pub(crate) fn mend_disk(&mut self, node: Who) {
        self.settle_disk(node);
        self.weather.full.remove(&node);
        self.gives_what_is_read(node);
        match node {
            Who::Master => self.master.fs.mend(ROOM),
            Who::Server(number) => self.servers[number].fs.mend(ROOM),
            Who::Client(_) => {}
        }
    }

    /// How long a sync takes there.
    pub(crate) fn sync_takes(&mut self, node: Who) -> Micros {
        let (least, most) = self.swarm.sync;
        let usual = self.disks.between(least, most);
        if let Some(late) = self.late_by(node) {
            return late;
        }
        match self.weather.slow.get_mut(&node) {
            Some((until, felt)) if self.now < *until => {
                if !std::mem::replace(felt, true) {
                    self.weather.count(Fault::SlowDisk);
                }
                (usual * SLOW).min(SECOND)
            }
            _ => usual,
        }
    }

    /// One byte of a replica that is not the last good one of its chunk. Each chunk rots at most once: else nobody could mend it.
    /// Often it is one that others copy, and what they lack stands at its end.
    fn rot(&mut self, number: usize) -> anyhow::Result<()> {
        if self.servers[number].up.is_none() {
            return Ok(());
        }
        let (any, copied) = self.may_rot(number)?;
        let random = &mut self.weather.random;
        let aimed = !copied.is_empty() && random.percent(75);
        let from = if aimed { copied } else { any };
        if from.is_empty() {
            return Ok(());
        }
        let (number, handle) = *random.pick(&from);
        let (at, mask) = (random.next(), 1 << random.below(8));
        let (unreadable, ahead) = (random.percent(30), random.percent(50));
        let server = &self.servers[number];
        let Some(process) = &server.up else { return Ok(()) };
        let length = process.store.replica(handle)?.length;
        let Some(path) = file_of(&server.fs, handle)?.filter(|_| length > 0) else {
            return Ok(());
        };
        let at = if aimed { length - 1 - at % length.min(END_BYTES) } else { at % length };
        let plan = process.store.read_plan(handle, 0..length, length)?;
        // Before the data stand checksums, end records and redo areas. A flipped bit in those is as if they had not been written, which
        // is not promised to be mended; what cannot be read is.
        let at = match unreadable && ahead {
            true => ENDS_AT + at % (plan.file_offset - ENDS_AT),
            false => plan.file_offset + at,
        };
        let byte = match unreadable {
            true => server.fs.spoil(&path, at)?,
            false => server.fs.flip(&path, at, mask)?,
        };
        self.weather.rotten_bytes.insert(handle, byte);
        self.note(format_args!("a byte of chunk {handle} rots on server-{number}"));
        self.weather.rotten.insert(handle, number);
        self.weather.count(Fault::Rot);
        Ok(())
    }

    /// Replicas on this server of which another is good; and those of all servers that lead where only one other is good, so that
    /// the rest is made equal to them.
    fn may_rot(&self, number: usize) -> anyhow::Result<(Vec<Place>, Vec<Place>)> {
        let all =
            self.servers.iter().map(|server| Ok(replicas_of(&server.replicas(self.cluster)?)));
        let all = all.collect::<anyhow::Result<Vec<_>>>()?;
        let newest = |handle: &ChunkHandle| {
            all.iter().filter_map(|of| of.get(handle)).map(|(v, _)| *v).max()
        };
        let others = |(number, handle): &Place| {
            let unread = self.weather.unread;
            let good = all.iter().enumerate();
            let good = good.filter(|(other, _)| other != number && unread != Some(*other));
            let good = good.filter_map(|(_, of)| of.get(handle));
            good.filter(|(version, good)| *good && Some(*version) == newest(handle)).count()
        };
        let sound = |(_, handle): &Place| !self.weather.rotten.contains_key(handle);
        let any = all[number].keys().map(|handle| (number, *handle));
        let led = self.servers.iter().flat_map(|server| {
            let leases = server.up.as_ref().map(leases_of).unwrap_or_default();
            leases.into_iter().map(|handle| (server.number, handle))
        });
        Ok((
            any.filter(|place| sound(place) && others(place) >= 1).collect(),
            led.filter(|place| sound(place) && others(place) == 1).collect(),
        ))
    }

    /// The member whose replica is rotten, where no other can make it good: what a suspect lacks it cannot give.
    fn left_to_rot(&self, handle: ChunkHandle, members: &[Member]) -> Option<usize> {
        let rotten = *self.weather.rotten.get(&handle)?;
        self.is_good_alone(handle, members, rotten).then_some(rotten)
    }

    /// Whether no member but this one has all that was acknowledged.
    fn is_good_alone(&self, handle: ChunkHandle, members: &[Member], number: usize) -> bool {
        let suspect = |server: &Server| {
            let replica = server.up.as_ref().map(|process| process.store.replica(handle));
            replica.is_some_and(|replica| replica.is_ok_and(|replica| replica.suspect))
        };
        let of = |member: &Member| self.servers.iter().find(|its| its.uid == member.chunkserver);
        let mut members = members.iter().filter_map(of);
        let alone = members.clone().all(|its| its.number == number || suspect(its));
        alone && members.any(|its| its.number == number)
    }

    /// A chunk is left with a rotten replica that nobody could mend, where these are its members: so many faults at once are more than
    /// is promised. The byte is as it was.
    pub(crate) fn may_be_left_to_rot(&mut self, handle: ChunkHandle, members: &[Member]) {
        let Some(number) = self.left_to_rot(handle, members) else { return };
        self.note(format_args!("chunk {handle} is left with its rotten replica alone"));
        self.weather.left_to_rot.insert(handle);
        let Some(byte) = self.weather.rotten_bytes.remove(&handle) else { return };
        let server = &self.servers[number];
        let whole = server.up.as_ref().is_some_and(|process| {
            let length = process.store.replica(handle).map_or(0, |replica| replica.length);
            process.store.read_verified(handle, 0..length, length).is_ok()
        });
        // Other bytes may stand there by now.
        if !whole && server.fs.restore(&byte).is_ok() {
            self.weather.rotten.remove(&handle);
            self.weather.rot_given_back = true;
        }
    }

    /// Whether a chunk that was left so has nothing but replicas that are called damaged: its server had found out before the byte was
    /// given back.
    pub(crate) fn rot_remains(&mut self) -> anyhow::Result<bool> {
        let found = self.servers.iter().map(|server| server.replicas(self.cluster));
        let found = found.collect::<anyhow::Result<Vec<_>>>()?;
        let remains = |handle: &ChunkHandle| {
            let its = found.iter().flatten().filter(|found| found.handle == *handle);
            let its: Vec<_> = its.filter_map(|found| found.replica.as_ref().ok()).collect();
            let newest = its.iter().map(|replica| replica.version).max();
            let mut newest = its.iter().filter(|replica| Some(replica.version) == newest);
            !its.is_empty() && newest.all(|replica| replica.damaged.is_some())
        };
        let remains = self.weather.left_to_rot.iter().any(remains);
        self.weather.rot_remains = remains;
        Ok(remains)
    }

    /// Does what a process does; one that must end, for its disk failed, is started again.
    pub(crate) fn or_ends(
        &mut self,
        node: Option<Who>,
        work: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        match catch_unwind(AssertUnwindSafe(|| work(self))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if node == Some(Who::Master) && self.is_of_disk(Who::Master, &error) => {
                self.process_ends(Who::Master);
                Ok(())
            }
            Ok(Err(error)) => Err(error),
            Err(panicked) => match node.filter(|_| panicked.is::<ProcessEnds>()) {
                Some(node) => {
                    self.process_ends(node);
                    Ok(())
                }
                None => resume_unwind(panicked),
            },
        }
    }

    /// Whether an error is of a disk that was broken.
    pub(crate) fn is_of_disk(&self, node: Who, error: &anyhow::Error) -> bool {
        self.disk_failed(node) && error.chain().any(|cause| cause.is::<std::io::Error>())
    }

    /// A process that cannot start for its disk is started again, and again.
    pub(crate) fn starts_later(&mut self, node: Who, error: anyhow::Error) -> anyhow::Result<()> {
        if !self.is_of_disk(node, &error) {
            return Err(error);
        }
        self.note(format_args!("{node} cannot start: its disk fails"));
        let again = match node {
            Who::Server(number) => Event::ServerStarts(number),
            Who::Master | Who::Client(_) => Event::MasterStarts,
        };
        self.agenda.enter(self.now + SECOND, again);
        Ok(())
    }

    pub(crate) fn process_ends(&mut self, node: Who) {
        self.note(format_args!("{node} ends: its disk failed"));
        let after = self.weather.random.between(50, 2_000) * MS;
        self.dies(node, after, None);
    }
}

/// A replica: on which server, of which chunk.
type Place = (usize, ChunkHandle);

/// The chunks that a chunkserver leads.
fn leases_of(process: &Process) -> Vec<ChunkHandle> {
    let registration = process.conversation.register(Instant::default(), Space::default());
    registration.leases.iter().map(|held| held.handle).collect()
}

/// The file of a chunk on a chunkserver's disk.
fn file_of(fs: &SimFs, handle: ChunkHandle) -> anyhow::Result<Option<PathBuf>> {
    let chunks = Path::new(crate::server::DIR).join("chunks");
    for folder in fs.read_dir(&chunks)? {
        let folder = chunks.join(folder);
        for name in fs.read_dir(&folder)? {
            if name.to_string_lossy() == format!("{handle}.chunk") {
                return Ok(Some(folder.join(name)));
            }
        }
    }
    Ok(None)
}
