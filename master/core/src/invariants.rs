//! Checks over one whole state (N7 and what rests on it), by name. For tests, the simulator and a start that wants to be sure:
//! they walk everything.

use std::collections::BTreeMap;

use gfs_types::ids::{ChunkHandle, FileId, ROOT};
use gfs_types::limits::{REPLICATION_MAX, SESSION_RESULTS_MAX, SESSIONS_MAX};

use crate::namespace::{DEPTH_MAX, Node, Place, TRASH_ID};
use crate::raise::Stage;
use crate::{Durable, Master};

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invariant {name}: {what}")]
pub struct Violation {
    /// Which one.
    pub name: &'static str,
    /// Where.
    pub what: String,
}

type Check = Result<(), Violation>;

fn hold(name: &'static str, holds: bool, what: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(Violation { name, what: what() }) }
}

/// Checks durable state alone.
///
/// # Errors
/// The first invariant that does not hold.
pub fn check_durable(durable: &Durable) -> Result<(), Violation> {
    if durable.is_blank() {
        return hold("blank-is-empty", durable.counts() == crate::Counts::default(), || {
            "a blank state holds something".to_owned()
        });
    }
    tree_well_formed(durable)?;
    trash_is_listed(durable)?;
    references_exact(durable)?;
    chunks_within_bounds(durable)?;
    sessions_bounded(durable)
}

/// Checks durable and soft state together.
///
/// # Errors
/// The first invariant that does not hold.
pub fn check(master: &Master) -> Result<(), Violation> {
    check_durable(&master.durable)?;
    replicas_are_counted(master)?;
    leases_at_most_the_version(master)?;
    works_have_chunks(master)?;
    only_the_last_started_is_asked(master)?;
    learners_are_no_members(master)?;
    repairs_are_bounded(master)
}

/// Every node is in its directory's list under its name, leads up to the root, and is counted.
fn tree_well_formed(durable: &Durable) -> Check {
    const NAME: &str = "tree-well-formed";
    let tree = &durable.tree;
    let (mut files, mut directories, mut listed) = (0, 0, 0);
    for place in 0..tree.places() {
        let Place::Used(generation, node) = tree.place(place) else { continue };
        let id = FileId(u64::from(generation) << 32 | u64::from(place));
        let found = tree.get(id).is_some();
        hold(NAME, found, || format!("{id} is not found by its id"))?;
        let depth = tree.upwards(id).skip(1).take(DEPTH_MAX + 1).count();
        let rooted = depth <= DEPTH_MAX && tree.upwards(id).any(|above| above == ROOT);
        hold(NAME, rooted, || format!("{id} does not lead to the root, or is too deep"))?;
        if id != ROOT {
            let list = tree.upwards(id).nth(1).and_then(|parent| tree.get(parent)?.directory());
            let name = tree.name_of(id).unwrap_or_default();
            let entered = list.and_then(|list| tree.look_up(list, &name)) == Some(id);
            hold(NAME, entered, || format!("{id} is not in the list of its directory"))?;
        }
        match node {
            Node::Directory(_) => {
                directories += 1;
                listed += tree.children(id, None).count();
            }
            Node::File(_) => files += 1,
        }
    }
    hold(NAME, (files, directories) == (tree.files(), tree.directories()), || {
        format!("{files} files and {directories} directories are there, others are counted")
    })?;
    hold(NAME, listed as u64 + 1 == files + directories, || {
        format!("{listed} names are listed for {} nodes", files + directories)
    })
}

/// The trash directory and the list of the trash say the same.
fn trash_is_listed(durable: &Durable) -> Check {
    const NAME: &str = "trash-is-listed";
    let hidden: Vec<FileId> = durable.tree.children(TRASH_ID, None).map(|(_, id)| id).collect();
    hold(NAME, hidden.len() == durable.trash.len(), || {
        format!("{} lie there, {} are listed", hidden.len(), durable.trash.len())
    })?;
    let lost = hidden.iter().find(|id| durable.trash.get(**id).is_none());
    hold(NAME, lost.is_none(), || format!("{lost:?} is not listed"))
}

/// Each chunk is held by as many files as it says, at least one; no file holds one that is not there.
fn references_exact(durable: &Durable) -> Check {
    const NAME: &str = "references-exact";
    let mut held: BTreeMap<ChunkHandle, u32> = BTreeMap::new();
    for place in 0..durable.tree.places() {
        let Place::Used(_, node) = durable.tree.place(place) else { continue };
        for handle in node.file().into_iter().flat_map(|file| file.chunks.handles()) {
            *held.entry(handle).or_default() += 1;
        }
    }
    hold(NAME, held.len() == durable.chunks.len(), || {
        format!("{} chunks are held, {} are there", held.len(), durable.chunks.len())
    })?;
    for (handle, chunk) in durable.chunks.iter() {
        let by = held.get(&handle).copied().unwrap_or(0);
        hold(NAME, by > 0 && by == chunk.references, || {
            format!("chunk {handle} is held by {by} files and says {}", chunk.references)
        })?;
    }
    Ok(())
}

/// Handles are not above the last one given, member counts fit three bits, started numbers are above versions.
fn chunks_within_bounds(durable: &Durable) -> Check {
    const NAME: &str = "chunks-within-bounds";
    for (handle, chunk) in durable.chunks.iter() {
        let counted =
            chunk.members <= REPLICATION_MAX && (1..=REPLICATION_MAX).contains(&chunk.goal);
        hold(NAME, handle <= durable.chunks.last() && handle.0 > 0, || {
            format!("chunk {handle} is above the last handle given")
        })?;
        hold(NAME, counted && chunk.version.0 > 0, || format!("chunk {handle}: {chunk:?}"))?;
    }
    hold(NAME, durable.chunks.is_consistent(), || "the tables do not fit together".to_owned())?;
    for (handle, number) in durable.chunks.all_started() {
        let above = durable.chunks.get(handle).is_some_and(|chunk| number > chunk.version);
        hold(NAME, above, || {
            format!("number {number} of chunk {handle} is not above its version")
        })?;
    }
    for (handle, members) in durable.chunks.all_unborn() {
        let young = durable.chunks.get(handle).is_some_and(|chunk| chunk.version.0 == 1);
        hold(NAME, young && !members.is_empty(), || format!("chunk {handle} cannot be unborn"))?;
    }
    Ok(())
}

fn sessions_bounded(durable: &Durable) -> Check {
    const NAME: &str = "sessions-bounded";
    hold(NAME, durable.sessions.len() <= SESSIONS_MAX, || "too many sessions".to_owned())?;
    for (id, session) in durable.sessions.iter() {
        let low = session.answered_below;
        let within = |seq: u64| seq >= low.0 && seq - low.0 < SESSION_RESULTS_MAX as u64;
        let all = session.results.keys().all(|seq| within(seq.0));
        hold(NAME, all && session.results.len() <= SESSION_RESULTS_MAX, || {
            format!("session {id} remembers what it should not")
        })?;
    }
    Ok(())
}

/// No lease is of a version that was not raised; its primary is one of its members.
fn leases_at_most_the_version(master: &Master) -> Check {
    const NAME: &str = "leases-at-most-the-version";
    for (handle, lease) in master.soft.leases.iter() {
        let chunk = master.durable.chunks.get(handle);
        hold(NAME, chunk.is_some_and(|chunk| lease.version <= chunk.version), || {
            format!("chunk {handle}: lease of version {}, {chunk:?}", lease.version)
        })?;
        let primary = master.soft.registry.get(lease.primary).uid;
        hold(NAME, lease.has_member(primary), || {
            format!("chunk {handle}: its primary {primary} is no member")
        })?;
    }
    Ok(())
}

/// Each server has one replica of a chunk at most, and as many as it is said to have.
fn replicas_are_counted(master: &Master) -> Check {
    const NAME: &str = "replicas-are-counted";
    hold(NAME, master.soft.registry.is_consistent(), || "the tables do not fit together".to_owned())
}

fn works_have_chunks(master: &Master) -> Check {
    const NAME: &str = "works-have-chunks";
    let lost =
        master.soft.works.keys().find(|handle| master.durable.chunks.get(**handle).is_none());
    hold(NAME, lost.is_none(), || format!("chunk {lost:?} is worked on and not there"))
}

/// A round that is under way is of the number started last: no other can be Raised (raise-3).
fn only_the_last_started_is_asked(master: &Master) -> Check {
    const NAME: &str = "only-the-last-started-is-asked";
    for (handle, work) in &master.soft.works {
        let Stage::Asked(round) = &work.stage else { continue };
        let started = master.durable.chunks.started(*handle);
        hold(NAME, started == Some(round.number), || {
            format!("chunk {handle}: {} is asked, {started:?} was started", round.number)
        })?;
    }
    Ok(())
}

/// Nobody is taught who is a member; what was learned is of no later version than the chunk's (equal-4).
fn learners_are_no_members(master: &Master) -> Check {
    const NAME: &str = "learners-are-no-members";
    for (handle, lease) in master.soft.leases.iter() {
        let Some(teaching) = lease.teaching else { continue };
        let learner = master.soft.registry.get(teaching.server).uid;
        hold(NAME, !lease.has_member(learner), || {
            format!("chunk {handle}: {learner} is a member and taught")
        })?;
    }
    for (handle, version, _) in master.soft.learners.iter() {
        let chunk = master.durable.chunks.get(handle);
        hold(NAME, chunk.is_none_or(|chunk| version <= chunk.version), || {
            format!("chunk {handle}: version {version} was learned, {chunk:?}")
        })?;
    }
    Ok(())
}

/// The table and the queue of repairs say the same; no more are begun at once than may be.
fn repairs_are_bounded(master: &Master) -> Check {
    const NAME: &str = "repairs-are-bounded";
    let repairs = &master.soft.repairs;
    hold(NAME, repairs.is_consistent(), || "the queue is not the table".to_owned())?;
    let most = master.settings.pace.repairs_max;
    hold(NAME, repairs.running() <= most, || format!("{} are begun", repairs.running()))
}

/// The replicas of a chunk that count, as the master sees them: for the simulator's own checks.
#[must_use]
pub fn chunk_view(master: &Master, handle: ChunkHandle) -> Option<ChunkView> {
    let chunk = master.durable.chunks.get(handle)?;
    Some(ChunkView {
        version: chunk.version,
        started: master.durable.chunks.started(handle)?,
        members: chunk.members,
        current: master
            .current(handle)
            .map(|replica| master.soft.registry.get(replica.server).uid)
            .collect(),
    })
}

/// See [`chunk_view`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkView {
    /// The version raised last.
    pub version: gfs_types::fence::ChunkVersion,
    /// The highest number started.
    pub started: gfs_types::fence::ChunkVersion,
    /// How many replicas stored that version; 0 where one did, which acknowledges nothing.
    pub members: u8,
    /// Who was reported with a version that counts (raise-5).
    pub current: Vec<gfs_types::ids::ServerUid>,
}
