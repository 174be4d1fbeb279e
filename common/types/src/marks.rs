//! Marks on rare paths: a run of tests that never comes by one of them proves nothing about it.
//!
//! Each place calls [`hit`]; the simulator's last lines tell which were never hit (docs/testing.md). A hit sets a bit of its thread,
//! so marks stay in the program. Nothing ever reads them to decide.

use std::cell::Cell;

/// The marks: the enum, their names, and all of them.
macro_rules! marks {
    ($($(#[$doc:meta])* $mark:ident,)*) => {
        /// A place that is seldom come by.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Mark {
            $($(#[$doc])* $mark,)*
        }

        impl Mark {
            /// In the order of this list.
            pub const ALL: &[Self] = &[$(Self::$mark,)*];
        }
    };
}

marks! {
    // Chunkserver: what is commanded.
    /// A replica answered a raise again that it had stored.
    RaiseAnsweredAgain,
    /// A raise to a lower version than one accepted was refused.
    LowerVersionRefused,
    /// A stale replica refused a raise from a version that it does not have.
    StaleRefusedRaise,
    /// A learner that was not equal refused a raise.
    UntaughtRefusedRaise,
    /// A learner was raised.
    LearnerRaised,
    /// A raise came while the version before it was being stored.
    VersionOvertaken,
    /// A grant was not taken.
    GrantNotTaken,
    /// A deletion of another version was refused.
    DeletionRefused,
    /// A replica was deleted.
    ReplicaDeleted,
    /// A command for another run of the server was dropped.
    OtherSessionDropped,
    // Chunkserver: orders.
    /// An order of another version was refused.
    OtherVersionRefused,
    /// An order came before the replica was made equal.
    OrderBeforeEqual,
    /// An order that was acknowledged came again.
    OrderAcknowledgedAgain,
    /// An order that is being carried out came again.
    OrderCameAgain,
    /// An order came whose bytes were not there.
    DataAskedFor,
    /// An order waited for one before it.
    OrderWaited,
    /// A write found no space and was tried again.
    WriteFoundNoSpace,
    // Chunkserver: the primary.
    /// A mutation came before the grant and waited.
    MutationHeld,
    /// A record did not fit, and the chunk was padded.
    ChunkPadded,
    /// One was told that the chunk is full when what fills it was committed.
    FullWaited,
    /// A member was named to the master for its silence.
    MemberSilent,
    /// A member refused for good.
    MemberRefused,
    /// Orders were sent again to a member that fell behind.
    MemberCaughtUp,
    /// Who waited across a raise was answered under the next lease.
    CarriedAnswered,
    /// Who waited across a raise was told that nobody knows.
    CarriedDropped,
    /// Several waited for one sync.
    SyncShared,
    /// A lease ended in order.
    LeaseEnded,
    /// A lease ended without order.
    LeaseAbandoned,
    // Chunkserver: becoming equal.
    /// A member's replica was changed to be equal.
    MemberChanged,
    /// A suspect became the authority.
    SuspectBecameAuthority,
    /// A learner made another pass beside mutations.
    LearnerPassedAgain,
    /// A lease was sealed for a learner.
    LearnerSealed,
    /// Teaching failed.
    TeachingFailed,
    /// A primary found a bad block of its own while others copied it, and another was to lead.
    SourceFoundBad,
    // Master.
    /// A birth got too few answers.
    BirthFailed,
    /// A chunk was allocated again.
    BornAgain,
    /// A new number was raised without the silent ones.
    RaisedWithoutSilent,
    /// A raise waited for members to return.
    RaiseWaitedForMembers,
    /// A raise waited for the end of a lease whose primary was out of reach.
    RaiseWaitedForLease,
    /// All members were suspect, and one of them was to lead.
    AllSuspect,
    /// A lease was adopted by a master that started.
    LeaseAdopted,
    /// A raise begun by a master before was found.
    RaiseFoundBegun,
    /// A request that took effect was answered again.
    RequestAnsweredAgain,
    /// A deleted file was purged.
    Purged,
    // On disk.
    /// A torn tail of the operation log was cut.
    TornTailCut,
    /// The log went on in another segment.
    SegmentBegun,
    /// An overwrite was redone from its record.
    OverwriteRedone,
}

const _: () = assert!(Mark::ALL.len() <= u64::BITS as usize, "each mark has its bit");

thread_local! {
    static HITS: Cell<u64> = const { Cell::new(0) };
}

/// This thread came by.
#[inline]
pub fn hit(mark: Mark) {
    HITS.set(HITS.get() | 1 << mark as u32);
}

/// What this thread came by since it was asked last.
#[must_use]
pub fn take() -> Vec<Mark> {
    let hits = HITS.take();
    Mark::ALL.iter().copied().filter(|mark| hits & 1 << *mark as u32 != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_told_once_what_it_came_by_and_nothing_of_others() {
        let last = Mark::ALL[Mark::ALL.len() - 1];
        hit(Mark::Purged);
        hit(last);
        hit(Mark::Purged);
        let other = std::thread::spawn(|| {
            hit(Mark::ChunkPadded);
            take()
        });
        assert_eq!(other.join().ok(), Some(vec![Mark::ChunkPadded]));
        assert_eq!(take(), [Mark::Purged, last]);
        assert_eq!(take(), []);
    }
}
