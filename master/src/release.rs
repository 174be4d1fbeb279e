//! Group commit as a pure state machine: batch, append, flush, release.
//!
//! The rule it keeps (N1): no effect leaves before the record it rests on is durable, and effects
//! leave in the order in which they were decided. It does no I/O: the threads of the shell run it
//! here, a simulator can run the same rule with a simulated log and clock.
//!
//! While one batch is being flushed the next one gathers, so under load one flush pays for many
//! records, and without load nobody waits for company.

use std::collections::VecDeque;

use gfs_master_core::Effect;
use gfs_types::fence::{LogPosition, MasterEpoch};

/// A record on its way to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Its place.
    pub position: LogPosition,
    /// The epoch it is written in.
    pub epoch: MasterEpoch,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl AsRef<[u8]> for LogRecord {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Records that are appended and flushed together.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    records: Vec<LogRecord>,
}

impl Batch {
    /// Its records, in order, never none.
    #[must_use]
    pub fn records(&self) -> &[LogRecord] {
        &self.records
    }

    /// Its records in runs of one epoch, as the log takes them.
    pub fn runs(&self) -> impl Iterator<Item = (MasterEpoch, &[LogRecord])> {
        self.records.chunk_by(|a, b| a.epoch == b.epoch).map(|run| (run[0].epoch, run))
    }

    /// Bytes of all its records.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.records.iter().map(|record| record.bytes.len() as u64).sum()
    }
}

/// Records that wait for the log, and effects that wait for the records.
#[derive(Debug)]
pub struct GroupCommit<E> {
    gathering: Vec<LogRecord>,
    gathering_bytes: u64,
    /// The last record accepted.
    last: LogPosition,
    /// The last record of the batch that is being flushed.
    flushing: Option<LogPosition>,
    durable: LogPosition,
    held: VecDeque<(LogPosition, E)>,
}

impl<E> GroupCommit<E> {
    /// Over a log that ends, durably, at `durable`.
    #[must_use]
    pub fn new(durable: LogPosition) -> Self {
        Self {
            gathering: Vec::new(),
            gathering_bytes: 0,
            last: durable,
            flushing: None,
            durable,
            held: VecDeque::new(),
        }
    }

    /// Takes the next record.
    ///
    /// # Panics
    /// When its place is not the one after the last record: the log would tell another history.
    pub fn append(&mut self, record: LogRecord) {
        assert_eq!(record.position, self.last.next(), "records come without gaps");
        self.last = record.position;
        self.gathering_bytes += record.bytes.len() as u64;
        self.gathering.push(record);
    }

    /// Keeps an effect until the record at `after`, and every effect before it, is out.
    ///
    /// # Panics
    /// When no record at `after` was taken: the effect would wait for ever, or rest on nothing.
    pub fn hold(&mut self, after: LogPosition, effect: E) {
        assert!(after <= self.last, "an effect rests on {after}, the log ends at {}", self.last);
        self.held.push_back((after, effect));
    }

    /// The records to append and flush now; `None` when there are none, or a batch is out already.
    pub fn begin_flush(&mut self) -> Option<Batch> {
        if self.flushing.is_some() || self.gathering.is_empty() {
            return None;
        }
        self.flushing = Some(self.last);
        self.gathering_bytes = 0;
        Some(Batch { records: std::mem::take(&mut self.gathering) })
    }

    /// The batch that was begun is on disk, and with it everything up to `durable`.
    ///
    /// # Panics
    /// When that is not the end of the batch: then nobody knows what was promised.
    pub fn flushed(&mut self, durable: LogPosition) {
        assert_eq!(self.flushing.take(), Some(durable), "the flush ends where the batch does");
        self.durable = durable;
    }

    /// The next effect that may leave; `None` when the first one has to wait.
    pub fn release(&mut self) -> Option<E> {
        self.is_ready().then(|| self.held.pop_front()).flatten().map(|(_, effect)| effect)
    }

    /// Whether an effect may leave now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.held.front().is_some_and(|(after, _)| *after <= self.durable)
    }

    /// The last record that is durable.
    #[must_use]
    pub fn durable(&self) -> LogPosition {
        self.durable
    }

    /// The last record that was taken.
    #[must_use]
    pub fn last(&self) -> LogPosition {
        self.last
    }

    /// Bytes of records that no flush has taken yet.
    #[must_use]
    pub fn gathering_bytes(&self) -> u64 {
        self.gathering_bytes
    }

    /// Effects that wait.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether every record taken is durable and every effect is out.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.durable == self.last && self.held.is_empty()
    }
}

impl GroupCommit<Effect> {
    /// Takes what a step of the core gave: records to the batch, everything else to those who wait.
    pub fn accept(&mut self, effects: impl IntoIterator<Item = Effect>) {
        for effect in effects {
            match (effect.after(), effect) {
                (_, Effect::Append { position, epoch, record }) => {
                    self.append(LogRecord { position, epoch, bytes: record });
                }
                (after, effect) => self.hold(after.unwrap_or(self.last), effect),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(position: u64) -> LogRecord {
        let bytes = position.to_be_bytes().to_vec();
        LogRecord { position: LogPosition(position), epoch: MasterEpoch(1), bytes }
    }

    fn released(commit: &mut GroupCommit<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| commit.release()).collect()
    }

    #[test]
    fn an_effect_waits_for_its_record() {
        let mut commit = GroupCommit::new(LogPosition(0));
        commit.append(record(1));
        commit.hold(LogPosition(1), "created");
        assert_eq!(commit.release(), None);
        let batch = commit.begin_flush().unwrap();
        assert_eq!(batch.records(), [record(1)]);
        assert_eq!(commit.release(), None);
        commit.flushed(LogPosition(1));
        assert_eq!(released(&mut commit), ["created"]);
        assert!(commit.is_idle());
    }

    #[test]
    fn what_rests_on_durable_records_leaves_at_once() {
        let mut commit = GroupCommit::new(LogPosition(7));
        commit.hold(LogPosition(7), "read");
        assert_eq!(released(&mut commit), ["read"]);
        assert_eq!(commit.begin_flush(), None);
    }

    #[test]
    fn effects_leave_in_the_order_they_came() {
        let mut commit = GroupCommit::new(LogPosition(5));
        commit.append(record(6));
        commit.hold(LogPosition(6), "first");
        commit.hold(LogPosition(2), "second");
        assert_eq!(commit.release(), None, "the second must not overtake the first");
        commit.begin_flush().unwrap();
        commit.flushed(LogPosition(6));
        assert_eq!(released(&mut commit), ["first", "second"]);
    }

    #[test]
    fn records_gather_while_a_batch_is_flushed_and_go_together_in_the_next() {
        let mut commit = GroupCommit::new(LogPosition(0));
        commit.append(record(1));
        commit.hold(LogPosition(1), "one");
        commit.begin_flush().unwrap();
        commit.append(record(2));
        commit.append(record(3));
        commit.hold(LogPosition(3), "three");
        assert_eq!(commit.begin_flush(), None, "one flush at a time");
        assert_eq!(commit.gathering_bytes(), 16);
        commit.flushed(LogPosition(1));
        assert_eq!(released(&mut commit), ["one"]);
        assert_eq!(commit.begin_flush().unwrap().records(), [record(2), record(3)]);
        commit.flushed(LogPosition(3));
        assert_eq!(released(&mut commit), ["three"]);
    }

    #[test]
    fn a_batch_gives_runs_of_one_epoch() {
        let mut commit = GroupCommit::<()>::new(LogPosition(0));
        let mut promoted = record(2);
        promoted.epoch = MasterEpoch(2);
        commit.append(record(1));
        commit.append(promoted.clone());
        let batch = commit.begin_flush().unwrap();
        let runs: Vec<_> = batch.runs().collect();
        assert_eq!(runs[0], (MasterEpoch(1), &[record(1)][..]));
        assert_eq!(runs[1], (MasterEpoch(2), &[promoted][..]));
        assert_eq!(batch.bytes(), 16);
    }

    #[test]
    #[should_panic(expected = "records come without gaps")]
    fn a_gap_is_a_broken_invariant() {
        GroupCommit::<()>::new(LogPosition(0)).append(record(2));
    }

    #[test]
    #[should_panic(expected = "an effect rests on 1")]
    fn an_effect_cannot_rest_on_a_record_that_nobody_has() {
        GroupCommit::new(LogPosition(0)).hold(LogPosition(1), ());
    }

    #[derive(Debug, Clone, Copy)]
    enum Move {
        Step { records: u64, effects: u64 },
        Begin,
        Flushed,
    }

    fn any_move() -> impl Strategy<Value = Move> {
        prop_oneof![
            (0u64..4, 0u64..4).prop_map(|(records, effects)| Move::Step { records, effects }),
            Just(Move::Begin),
            Just(Move::Flushed),
        ]
    }

    proptest! {
        /// Whatever the order of events: nothing leaves early, nothing is overtaken, nothing is lost.
        #[test]
        fn nothing_leaves_early_or_out_of_order(moves in proptest::collection::vec(any_move(), 0..60)) {
            let mut commit = GroupCommit::new(LogPosition(0));
            let (mut on_disk, mut out) = (LogPosition(0), None);
            let (mut given, mut left) = (0u64, 0u64);
            for next in moves {
                match next {
                    Move::Step { records, effects } => {
                        for _ in 0..records {
                            commit.append(record(commit.last().0 + 1));
                        }
                        for _ in 0..effects {
                            commit.hold(commit.last(), (given, commit.last()));
                            given += 1;
                        }
                    }
                    Move::Begin => {
                        if let Some(batch) = commit.begin_flush() {
                            let last = batch.records().last().map(|record| record.position);
                            prop_assert!(out.is_none());
                            out = last;
                        }
                    }
                    Move::Flushed => {
                        if let Some(position) = out.take() {
                            on_disk = position;
                            commit.flushed(position);
                        }
                    }
                }
                while let Some((number, after)) = commit.release() {
                    prop_assert!(after <= on_disk);
                    prop_assert_eq!(number, left);
                    left += 1;
                }
            }
            while out.is_some() || commit.last() > commit.durable() {
                let position = match out.take() {
                    Some(position) => position,
                    None => commit.begin_flush().map(|_| commit.last()).unwrap(),
                };
                commit.flushed(position);
            }
            left += std::iter::from_fn(|| commit.release()).count() as u64;
            prop_assert_eq!(left, given);
            prop_assert!(commit.is_idle());
        }
    }
}
