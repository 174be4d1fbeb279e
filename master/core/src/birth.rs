//! Birth of chunks: one record, empty replicas at version 1, then the lease.

use gfs_types::ids::{ChunkHandle, FileId, ServerUid};
use gfs_types::limits::{MEMBER_WAIT_MS, REPLICAS_MIN};
use gfs_types::marks::{Mark, hit};
use gfs_types::message::control::Command;
use gfs_types::region::ChunkIndex;
use gfs_types::time::Instant;
use gfs_types::{DurationMs, Error};

use crate::Master;
use crate::chunks::{FIRST_VERSION, NO_VERSION};
use crate::master::Step;
use crate::placement::{Candidate, pick};
use crate::raise::{Round, Stage, Waiter, Work, busy};
use crate::record::Change;
use crate::registry::ServerIndex;

/// So long after a start, a birth waits for as many chunkservers as it wants, since more may come than ever were seen.
const FIRST_WAIT_MS: DurationMs = DurationMs(1_000);

/// Chunkservers that a message names at most.
const NAMED_MAX: usize = 5;

impl Master {
    /// Makes a chunk of a file, for those who wait.
    ///
    /// # Errors
    /// `Busy` when there are too few chunkservers to keep it safe.
    pub(crate) fn begin_birth(
        &mut self,
        step: &mut Step<'_>,
        file: FileId,
        index: ChunkIndex,
        goal: u8,
        waiters: Vec<Waiter>,
    ) -> Result<(), (Error, Vec<Waiter>)> {
        let room = self.soft.room.may_grow();
        let members = match room.and_then(|()| self.members_of_birth(step.now, goal)) {
            Ok(members) => members,
            Err(error) => return Err((error, waiters)),
        };
        let handle = self.durable.chunks.next();
        let registry = &self.soft.registry;
        let uids = members.iter().map(|member| registry.get(*member).uid).collect();
        self.commit(step, None, Change::ChunkAllocated { file, index, handle, members: uids });
        for member in &members {
            self.send(step, *member, Command::CreateReplica { handle, version: FIRST_VERSION });
            self.soft.registry.get_mut(*member).recent += 1;
        }
        let until = step.now + self.settings.pace.raise_answer_ms;
        let round = Round::new(until, FIRST_VERSION, true, self.asked(members));
        let work = Work { waiters, stage: Stage::Asked(round), ..Work::new() };
        self.soft.works.insert(handle, work);
        Ok(())
    }

    /// min(goal, live servers), at least two where there ever were two, on different hosts and in different zones where there are.
    fn members_of_birth(&self, now: Instant, goal: u8) -> Result<Vec<ServerIndex>, Error> {
        let registry = &self.soft.registry;
        let ever = registry.len().max(usize::from(self.durable.chunks.most_members()));
        let goal = usize::from(goal);
        let candidates: Vec<_> = registry
            .iter()
            .filter(|(_, server)| server.alive(now))
            .map(|(index, server)| server.candidate(index))
            .collect();
        let younger_than = |age| self.serving_since().is_some_and(|since| now < since + age);
        let expected = if younger_than(FIRST_WAIT_MS) { goal } else { goal.min(ever) };
        if younger_than(MEMBER_WAIT_MS) && candidates.len() < expected {
            return Err(busy(
                format!(
                    "{} of {expected} chunkservers have come since the master started; try again in a moment",
                    candidates.len()
                ),
                100,
            ));
        }
        let chunk_bytes = self.durable.chunk_size().bytes();
        let members = pick(&candidates, goal, chunk_bytes, self.durable.chunks.next().0);
        if members.len() < goal.min(ever.clamp(1, REPLICAS_MIN)) || members.is_empty() {
            return Err(busy(
                format!(
                    "a new chunk needs {} chunkservers that are in touch and have {chunk_bytes} bytes free; there are {} \
                     ({} in touch, {ever} known{}); start chunkservers or free space, then it goes on by itself",
                    goal.min(ever.clamp(1, REPLICAS_MIN)),
                    members.len(),
                    candidates.len(),
                    self.without_space(&candidates, chunk_bytes),
                ),
                1_000,
            ));
        }
        Ok(members)
    }

    /// For a person: those that have no space for a chunk.
    fn without_space(&self, all: &[Candidate<'_, ServerIndex>], chunk_bytes: u64) -> String {
        let mut text = String::new();
        let full = |one: &&Candidate<'_, ServerIndex>| one.space.free_bytes < chunk_bytes;
        for one in all.iter().filter(full).take(NAMED_MAX) {
            let server = self.soft.registry.get(one.server);
            text += &format!("; no space left on chunkserver {} at {}", server.uid, server.address);
        }
        text
    }

    /// A chunk of which no server ever made a replica, and which nobody was told of, is allocated again. Says whether it was.
    pub(crate) fn reallocate(&mut self, step: &mut Step<'_>, handle: ChunkHandle) -> bool {
        if !self.is_barren(handle) {
            return false;
        }
        let Some(work) = self.soft.works.get(&handle) else { return false };
        let Some(waiter) = work.waiters.first().copied() else { return false };
        let Some((file, goal)) = self.holder(handle, waiter) else { return false };
        let work = self.soft.works.remove(&handle).expect("it was there a moment ago");
        let was_barren = self.soft.barren.remove(&handle);
        if let Err((error, waiters)) =
            self.begin_birth(step, file, waiter.index, goal, work.waiters)
        {
            if was_barren {
                self.soft.barren.insert(handle);
            }
            for waiter in waiters {
                self.reply(step, waiter.to, Err(error.clone()));
            }
        } else {
            hit(Mark::BornAgain);
            self.delete_replicas(step, handle);
        }
        true
    }

    /// This process saw its birth fail everywhere, or it never was granted.
    fn is_barren(&self, handle: ChunkHandle) -> bool {
        let unborn = self.durable.chunks.unborn(handle).is_some();
        unborn && (self.soft.barren.contains(&handle) || self.was_never_granted(handle))
    }

    /// No client was ever told of it, so it reads as a hole. A chunk that is just born is granted when all of its members have made
    /// it: one that told what it holds, and has none, is the proof that it was not. Without that proof it may have been granted by an
    /// earlier process, whose record of the birth was not yet durable when it died; and where somebody holds a byte of it, it was.
    pub(crate) fn was_never_granted(&self, handle: ChunkHandle) -> bool {
        let Some(members) = self.durable.chunks.unborn(handle) else { return false };
        members.iter().any(|uid| self.told_without(handle, *uid)) && !self.was_written(handle)
    }

    /// A current replica holds a byte of it.
    pub(crate) fn was_written(&self, handle: ChunkHandle) -> bool {
        self.current(handle).any(|replica| replica.length > 0)
    }

    /// The record of its birth was lost with the power, and what was written to it was not: it is as born as any other, and what it
    /// lacks is made for it.
    pub(crate) fn note_birth(&mut self, step: &mut Step<'_>, handle: ChunkHandle) {
        let unborn = self.durable.chunks.unborn(handle).is_some();
        if unborn && self.was_written(handle) && self.soft.room.may_log().is_ok() {
            self.commit(step, None, Change::ChunkBorn { handle });
        }
    }

    /// It told all that it holds, and this is not among it. One that is of no version was made later, for it to learn.
    fn told_without(&self, handle: ChunkHandle, uid: ServerUid) -> bool {
        let registry = &self.soft.registry;
        let Some(index) = registry.by_uid(uid) else { return false };
        let held = registry.replica_on(index, handle);
        registry.get(index).reported && held.is_none_or(|replica| replica.version == NO_VERSION)
    }

    fn holder(&self, handle: ChunkHandle, waiter: Waiter) -> Option<(FileId, u8)> {
        let node = self.durable.tree.get(waiter.file)?.file()?;
        (node.chunks.get(waiter.index) == Some(handle)).then_some((waiter.file, node.replication))
    }
}
