//! What to do after something went wrong: the table of next steps, and how long to wait.

use gfs_types::{Error as WireError, ErrorKind};

/// Why one attempt brought nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The peer answered so.
    Refused(WireError),
    /// No connection: nothing was sent.
    Unreachable(String),
    /// Sent, and no answer will come: nobody here knows whether it was done.
    Lost(String),
    /// An answer whose bytes do not match the checksums that came with them.
    Mismatch(String),
}

impl Failure {
    /// For a person.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Refused(error) => &error.message,
            Self::Unreachable(text) | Self::Lost(text) | Self::Mismatch(text) => text,
        }
    }

    /// When the peer wants to be asked again, in milliseconds; 0 says nothing.
    pub(crate) const fn retry_after_ms(&self) -> u32 {
        match self {
            Self::Refused(error) => error.retry_after_ms,
            _ => 0,
        }
    }
}

/// What was attempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// A question to the master, or a mutation with its request id.
    Master,
    /// Bytes, or the state, of a replica.
    Read,
    /// Data ahead of its mutation: never visible by itself.
    Push,
    /// A write at an offset: repeating it is harmless.
    Write,
    /// Flushing: repeating it is harmless.
    Sync,
    /// A raw record append: repeating it may append twice.
    Append,
    /// An append whose readers know copies: repeating it is harmless.
    RecordAppend,
}

/// The next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Tell the caller.
    Fail,
    /// Tell the caller that nobody knows.
    TellUnknown,
    /// The same again after a pause.
    Wait,
    /// Ask the master who has it now, then again.
    Refresh,
    /// Go on with the next chunk.
    Successor,
    /// Push the data again, then again.
    PushAgain,
    /// Another replica.
    OtherReplica,
}

/// The table of `ErrorKind`s and lost connections against what was attempted.
pub(crate) fn next(attempt: Attempt, failure: &Failure) -> Next {
    match failure {
        Failure::Refused(error) => after_refusal(attempt, error.kind),
        Failure::Unreachable(_) => match attempt {
            Attempt::Master => Next::Wait,
            Attempt::Read => Next::OtherReplica,
            _ => Next::Refresh,
        },
        Failure::Lost(_) => after_unknown(attempt),
        Failure::Mismatch(_) => after_unknown(attempt),
    }
}

fn after_refusal(attempt: Attempt, kind: ErrorKind) -> Next {
    use ErrorKind as K;
    match (attempt, kind) {
        (_, K::Busy) | (Attempt::Master, K::Stale | K::Fenced | K::Unknown) => Next::Wait,
        // An address that now belongs to somebody else is refused with `Denied`.
        (Attempt::Master, K::Denied) | (_, K::Invalid | K::AlreadyExists) => Next::Fail,
        (Attempt::Master, _) => Next::Fail,
        (_, K::Stale | K::NotFound | K::Fenced | K::Denied) => Next::Refresh,
        (Attempt::Read, _) => Next::OtherReplica,
        (Attempt::Append | Attempt::RecordAppend, K::ChunkFull) => Next::Successor,
        (_, K::NeedData | K::Corrupt) => Next::PushAgain,
        (_, K::Unknown) => after_unknown(attempt),
        (_, K::ChunkFull | K::Internal) => Next::Fail,
    }
}

const fn after_unknown(attempt: Attempt) -> Next {
    match attempt {
        Attempt::Master => Next::Wait,
        Attempt::Read => Next::OtherReplica,
        Attempt::Append => Next::TellUnknown,
        Attempt::Push | Attempt::Write | Attempt::Sync | Attempt::RecordAppend => Next::Refresh,
    }
}

/// Pauses that grow from 10 ms to 250 ms and are spread at random, so that clients which failed together do not
/// come back together. The upper end keeps clients within 2 s of a master that returns.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    attempt: u32,
    random: u64,
}

/// Longest pause that is not asked for by a server.
pub(crate) const PAUSE_MS_MAX: u64 = 250;
const PAUSE_MS_MIN: u64 = 10;

impl Backoff {
    /// Starts anew; `seed` is any number that differs between clients.
    pub(crate) const fn new(seed: u64) -> Self {
        Self { attempt: 0, random: seed | 1 }
    }

    /// The next pause in milliseconds, at least what the server asked for, and spread over half of that again: it asks
    /// many for the same.
    pub(crate) fn pause_ms(&mut self, retry_after_ms: u32) -> u64 {
        let full = (PAUSE_MS_MIN << self.attempt.min(10)).min(PAUSE_MS_MAX);
        self.attempt = self.attempt.saturating_add(1);
        // xorshift64: good enough to spread clients.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let asked = u64::from(retry_after_ms);
        (full / 2 + self.random % (full / 2 + 1)).max(asked + self.random % (asked / 2 + 1))
    }

    /// Something went well.
    pub(crate) fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: ErrorKind) -> Failure {
        Failure::Refused(WireError::new(kind, "x"))
    }

    #[test]
    fn only_a_raw_append_gives_up_when_nobody_knows() {
        use Attempt::*;
        for failure in [refused(ErrorKind::Unknown), Failure::Lost("x".into())] {
            assert_eq!(next(Append, &failure), Next::TellUnknown);
            for attempt in [Push, Write, Sync, RecordAppend] {
                assert_eq!(next(attempt, &failure), Next::Refresh, "{attempt:?}");
            }
            assert_eq!(next(Read, &failure), Next::OtherReplica);
            assert_eq!(next(Master, &failure), Next::Wait);
        }
    }

    #[test]
    fn what_was_not_sent_may_always_be_tried_elsewhere() {
        let failure = Failure::Unreachable("connection refused".into());
        assert_eq!(next(Attempt::Append, &failure), Next::Refresh);
        assert_eq!(next(Attempt::Write, &failure), Next::Refresh);
        assert_eq!(next(Attempt::Read, &failure), Next::OtherReplica);
        assert_eq!(next(Attempt::Master, &failure), Next::Wait);
    }

    #[test]
    fn each_kind_has_the_step_it_stands_for() {
        use Attempt::*;
        let table = [
            (Write, ErrorKind::Stale, Next::Refresh),
            (Append, ErrorKind::Stale, Next::Refresh),
            (Append, ErrorKind::ChunkFull, Next::Successor),
            (RecordAppend, ErrorKind::ChunkFull, Next::Successor),
            (Write, ErrorKind::ChunkFull, Next::Fail),
            (Write, ErrorKind::NeedData, Next::PushAgain),
            (Append, ErrorKind::NeedData, Next::PushAgain),
            (Push, ErrorKind::Corrupt, Next::PushAgain),
            (Read, ErrorKind::Corrupt, Next::OtherReplica),
            (Read, ErrorKind::Stale, Next::Refresh),
            (Read, ErrorKind::NotFound, Next::Refresh),
            (Read, ErrorKind::Denied, Next::Refresh),
            (Write, ErrorKind::Busy, Next::Wait),
            (Master, ErrorKind::Busy, Next::Wait),
            (Master, ErrorKind::NotFound, Next::Fail),
            (Master, ErrorKind::AlreadyExists, Next::Fail),
            (Master, ErrorKind::Denied, Next::Fail),
            (Write, ErrorKind::Internal, Next::Fail),
        ];
        for (attempt, kind, step) in table {
            assert_eq!(next(attempt, &refused(kind)), step, "{attempt:?} {kind}");
        }
        for attempt in [Master, Read, Push, Write, Sync, Append, RecordAppend] {
            assert_eq!(next(attempt, &refused(ErrorKind::Invalid)), Next::Fail);
        }
    }

    #[test]
    fn pauses_grow_to_their_bound_and_obey_the_server() {
        let mut backoff = Backoff::new(42);
        for attempt in 0..40 {
            let full = (10u64 << attempt.min(10)).min(PAUSE_MS_MAX);
            let pause = backoff.pause_ms(0);
            assert!(pause >= full / 2 && pause <= full, "{pause} at attempt {attempt}");
        }
        let asked: Vec<u64> = (0..20).map(|_| backoff.pause_ms(4_000)).collect();
        assert!(asked.iter().all(|pause| (4_000..=6_000).contains(pause)), "{asked:?}");
        assert!(asked.windows(2).any(|pair| pair[0] != pair[1]), "{asked:?}");
        assert!(backoff.pause_ms(u32::MAX) >= u64::from(u32::MAX));
        backoff.reset();
        assert!(backoff.pause_ms(0) <= 10);
    }

    #[test]
    fn two_clients_do_not_pause_alike() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(seed);
            (0..20).map(|_| backoff.pause_ms(0)).collect::<Vec<_>>()
        };
        assert_ne!(pauses(3), pauses(5));
        assert_eq!(pauses(3), pauses(3));
    }
}
