//! Duties of time: what lies in the trash for too long goes for good, replicas of chunks without a file are deleted (§4.4),
//! idle sessions expire, leases that are over are forgotten.

use gfs_types::DurationMs;
use gfs_types::ids::{ChunkHandle, FileId};
use gfs_types::limits::{SESSION_IDLE_MS, UPLOAD_AGE_MS};
use gfs_types::marks::{Mark, hit};
use gfs_types::message::control::Command;
use gfs_types::mutants::{Mutant, runs};
use gfs_types::time::WallTime;

use crate::Master;
use crate::master::Step;
use crate::namespace::{Node, Tree, UPLOAD_ID};
use crate::raise::Work;
use crate::record::{Change, EXPIRED_MAX, PURGED_MAX};

/// Time between two rounds of the slow duties.
const SWEEP_MS: DurationMs = DurationMs(5_000);
/// An upload that is a day old by its own time is collected when this process saw it for so long.
const UPLOAD_SEEN_MS: DurationMs = DurationMs(60 * 60 * 1000);
/// Records of purging in one tick.
const PURGES_A_TICK: usize = 4;

impl Master {
    pub(crate) fn tick(&mut self, step: &mut Step<'_>) {
        if self.serving_since().is_none() {
            return;
        }
        self.advance_all(step);
        self.count_some(step.now);
        if self.soft.room.may_log().is_err() {
            return; // All of it can wait.
        }
        self.note_lost(step.now);
        self.repair_some(step);
        for _ in 0..PURGES_A_TICK {
            if !self.purge_some(step) {
                break;
            }
        }
        if step.now >= self.soft.swept + SWEEP_MS {
            self.soft.swept = step.now;
            for handle in self.soft.leases.sweep(step.now) {
                self.soft.repairs.note(step.now, handle);
            }
            self.sweep_learners(step.now);
            self.soft.registry.sweep_accused(step.now);
            self.soft.registry.iter_mut().for_each(|server| server.recent /= 2);
            self.expire_sessions(step);
            self.hide_old_uploads(step);
        }
    }

    /// Frees the next that is due, inside first. Says whether there was any.
    fn purge_some(&mut self, step: &mut Step<'_>) -> bool {
        let grace = match runs(Mutant::GraceIsOver) {
            true => 0,
            false => self.settings.trash_grace_ms.0,
        };
        let Some(until) = step.wall.ms.checked_sub(grace) else { return false };
        let due = self.durable.trash.next_to_purge(WallTime { ms: until });
        let Some(top) = due else { return false };
        let entries = inside_first(&self.durable.tree, top, PURGED_MAX);
        let files = entries.iter().filter_map(|id| self.durable.tree.get(*id)?.file());
        let handles: Vec<ChunkHandle> = files.flat_map(|file| file.chunks.handles()).collect();
        hit(Mark::Purged);
        self.commit(step, None, Change::Purged { entries });
        for handle in handles {
            if self.durable.chunks.was_freed(handle) {
                self.delete_replicas(step, handle);
            }
        }
        true
    }

    pub(crate) fn delete_replicas(&mut self, step: &mut Step<'_>, handle: ChunkHandle) {
        for replica in self.soft.registry.replicas(handle) {
            let version = replica.version;
            self.send(step, replica.server, Command::DeleteReplica { handle, version });
        }
        self.soft.leases.end(handle);
        self.soft.barren.remove(&handle);
        if let Some(Work { waiters, .. }) = self.soft.works.remove(&handle) {
            for waiter in waiters {
                self.reply(step, waiter.to, Err(crate::ops::no_file(waiter.file)));
            }
        }
    }

    fn expire_sessions(&mut self, step: &mut Step<'_>) {
        let idle = |heard: &gfs_types::time::Instant| step.now >= *heard + SESSION_IDLE_MS;
        let sessions: Vec<_> = self
            .soft
            .sessions
            .iter()
            .filter(|(_, heard)| idle(heard))
            .map(|(id, _)| *id)
            .take(EXPIRED_MAX)
            .collect();
        if sessions.is_empty() {
            return;
        }
        for session in &sessions {
            self.soft.sessions.remove(session);
        }
        self.commit(step, None, Change::SessionsExpired { sessions });
    }

    /// Uploads that never got their name. A file's age is in its node, and so survives this process; it is left alone for the first
    /// hour all the same, since at its end an upload gets the time of its original, which may be old. A directory counts from when this
    /// process first saw it.
    fn hide_old_uploads(&mut self, step: &mut Step<'_>) {
        let mut uploads = std::mem::take(&mut self.soft.uploads);
        let mut old = Vec::new();
        let seen = self.durable.tree.children(UPLOAD_ID, None).map(|(_, id)| {
            let since = uploads.remove(&id).unwrap_or(step.now);
            let made = self.durable.tree.get(id).and_then(Node::file).map(|file| file.attributes);
            let aged = made.is_some_and(|made| {
                made.modified.ms.saturating_add(UPLOAD_AGE_MS.0) <= step.wall.ms
            });
            let seen = if aged { UPLOAD_SEEN_MS } else { UPLOAD_AGE_MS };
            if step.now >= since + seen {
                old.push(id);
            }
            (id, since)
        });
        self.soft.uploads = seen.collect();
        for entry in old {
            let path = self.durable.tree.path_of(entry);
            self.soft.uploads.remove(&entry);
            self.commit(step, None, Change::Deleted { entry, path, purge: true });
        }
    }
}

/// Up to `limit` of what is below `top`, and `top` itself at last: each directory behind all that is in it.
fn inside_first(tree: &Tree, top: FileId, limit: usize) -> Vec<FileId> {
    let mut found = Vec::new();
    let mut open: Vec<(FileId, Option<String>)> = vec![(top, None)];
    while let Some((here, after)) = open.last_mut() {
        if found.len() == limit {
            break;
        }
        let next = tree.children(*here, after.as_deref()).next();
        match next {
            Some((name, child)) => {
                *after = Some(name);
                if tree.get(child).and_then(Node::directory).is_some() {
                    open.push((child, None));
                } else {
                    found.push(child);
                }
            }
            None => {
                found.push(*here);
                open.pop();
            }
        }
    }
    found
}
