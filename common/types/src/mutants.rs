//! Faults put in on purpose. Each takes one rule away, so that it can be seen whether the tests of the whole notice.
//!
//! A test that has never failed proves little. So rules of the protocols, and mistakes that other systems made, are listed here;
//! where the code keeps such a rule it asks [`runs`], which is `false` in every ordinary build and leaves nothing in the program. Built with
//! `--cfg mutants`, each thread can be made to run as one of them by `choose`, so one build serves all: `cargo xtask mutants` runs the
//! simulator as each (docs/testing.md). A rule that is kept in two places is taken away in both: what is asked is whether the tests
//! would see what it prevents.

/// A list of mutants: the enum, their names, and all of them.
macro_rules! mutants {
    ($($(#[$doc:meta])* $mutant:ident = $name:literal,)*) => {
        /// A fault that can be put in.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Mutant {
            $($(#[$doc])* $mutant,)*
        }

        impl Mutant {
            /// In the order of this list.
            pub const ALL: &[Self] = &[$(Self::$mutant,)*];

            /// As it is named on command lines.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$mutant => $name,)*
                }
            }
        }
    };
}

mutants! {
    // The chunk protocol, in the order of its rules (docs/protocol.md).
    /// raise-1: members are asked to store a number before it is durable in the log.
    NumberNotLogged = "number-not-logged",
    /// raise-2: a replica stores a lower version than it accepted before.
    LowerVersionStored = "lower-version-stored",
    /// raise-2: a replica obeys orders of another version than its own.
    OtherVersionObeyed = "other-version-obeyed",
    /// raise-2: a replica is made equal under a lower version than it accepted.
    OldEqualiseObeyed = "old-equalise-obeyed",
    /// raise-3: some did not answer, and the version is raised with the others all the same.
    RaisedDespiteSilence = "raised-despite-silence",
    /// raise-3: an answer for an older number counts for the one that is asked for.
    OlderNumberRaised = "older-number-raised",
    /// raise-5: a replica of any version counts as current.
    StaleIsCurrent = "stale-is-current",
    /// raise-5: a replica that stored the number of an unfinished raise does not count as current.
    OnlyRaisedIsCurrent = "only-raised-is-current",
    /// raise-7: a raise without the primary does not wait for the end of its lease.
    LeaseNotWaitedFor = "lease-not-waited-for",
    /// raise-7: a lease runs from when its grant came, not from what its holder said before (PacificA).
    LeaseFromReceipt = "lease-from-receipt",
    /// L1: a grant that comes again, when its lease is over, is taken again.
    GrantTakenAgain = "grant-taken-again",
    /// mut-2: an append goes where the own copy ends, though others are on their way (HDFS 7203).
    AppendsOverlap = "appends-overlap",
    /// APP-3: who comes to a chunk that is being padded is told at once that it is full.
    FullTooEarly = "full-too-early",
    /// mut-3: committed is what the primary alone applied.
    CommittedByPrimaryAlone = "committed-by-primary-alone",
    /// mut-3: members pad nothing where the primary does (SeaweedFS 9530).
    PadOnlyThePrimary = "pad-only-the-primary",
    /// mut-4: readers are shown what is applied and not committed (JuiceFS 5038).
    UncommittedIsShown = "uncommitted-is-shown",
    /// mut-4: overwrites that are not committed are not hidden.
    OverwritesAreShown = "overwrites-are-shown",
    /// mut-4: after a restart everything that is there is shown.
    ShownBeforeEqual = "shown-before-equal",
    /// mut-5: a sync is acknowledged without a flush (NATS 2.12.1).
    SyncWithoutFlush = "sync-without-flush",
    /// mut-6: a primary without another member acknowledges what then exists once.
    OneAcknowledges = "one-acknowledges",
    /// equal-1: members are called equal without a comparison.
    NoEqualising = "no-equalising",
    /// equal-1: mutations are taken while members are made equal.
    MutatedWhileEqualising = "mutated-while-equalising",
    /// equal-2: a replica whose machine restarted may lead.
    SuspectLeads = "suspect-leads",
    /// equal-2: suspects lead before all members have reported.
    SuspectsDoNotWait = "suspects-do-not-wait",
    /// equal-3: a replica that restarted takes orders as if it had been raised since, whichever run they are meant for.
    RestartedIsReady = "restarted-is-ready",
    /// equal-4: mutations go on when a learner was told that it has everything.
    LearnerMissesMutations = "learner-misses-mutations",
    /// equal-4: a stale replica is raised that was not made equal under that version.
    UntaughtLearnerIsRaised = "untaught-learner-is-raised",
    /// equal-4: a primary whose own block is bad goes on being copied, and others are blamed (HDFS 3875).
    BlamesDownstream = "blames-downstream",
    /// collect: a replica is deleted whatever its version.
    AnyVersionIsDeleted = "any-version-is-deleted",
    // Around it.
    /// A command is obeyed whichever run of the server it was meant for.
    CommandOfOtherSession = "command-of-other-session",
    /// What earlier runs of a server reported goes on counting (Azure vNext).
    EarlierRunsCount = "earlier-runs-count",
    /// The lock of a data directory is taken for a leftover (SeaweedFS 6857).
    LockIsALeftover = "lock-is-a-leftover",
    /// An answer leaves before its log record is durable (SeaweedFS 1052).
    AnsweredBeforeDurable = "answered-before-durable",
    /// A master that starts does not remember what came of requests that may be repeated.
    ResultsForgotten = "results-forgotten",
    /// The operation log is called durable without a flush.
    LogNotFlushed = "log-not-flushed",
    /// The operation log is cut where it does not verify, whatever was durable behind that (NATS 2.12.1).
    LogCutWhereItRots = "log-cut-where-it-rots",
    /// The header of a replica, its version among it, is called durable without a flush.
    HeaderNotFlushed = "header-not-flushed",
    /// Blocks are changed in place, and nothing is noted of it before (etcd 13766).
    OverwriteNotNoted = "overwrite-not-noted",
    /// Neither servers nor clients compare what is read with its checksums (SeaweedFS 5959, HDFS 14706).
    RotIsServed = "rot-is-served",
    /// What is deleted is purged at once.
    GraceIsOver = "grace-is-over",
}

impl Mutant {
    /// The one of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|mutant| mutant.name() == name)
    }
}

/// Whether this thread runs as that mutant.
#[cfg(not(mutants))]
#[must_use]
#[inline]
pub const fn runs(_: Mutant) -> bool {
    false
}

#[cfg(mutants)]
pub use chosen::{choose, runs};

#[cfg(mutants)]
mod chosen {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static CHOSEN: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Whether this thread runs as that mutant.
    #[must_use]
    pub fn runs(mutant: Mutant) -> bool {
        CHOSEN.get() == Some(mutant)
    }

    /// From now on this thread runs as that mutant, or as it should.
    pub fn choose(mutant: Option<Mutant>) {
        CHOSEN.set(mutant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_different_and_lead_back() {
        for mutant in Mutant::ALL {
            assert_eq!(Mutant::by_name(mutant.name()), Some(*mutant));
        }
    }

    #[cfg(not(mutants))]
    #[test]
    fn an_ordinary_build_runs_as_it_should() {
        assert!(!Mutant::ALL.iter().any(|mutant| runs(*mutant)));
    }
}
