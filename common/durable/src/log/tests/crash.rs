//! Every crash of every short sequence of operations: what was flushed is there, what is there was
//! appended, and a recovery that is crashed itself changes nothing of this.

use super::*;
use crate::testing::{SUBSETS, every_crash, every_failed_sync};

const DIR: &str = "/log";

/// One step of a sequence.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Two records that share a sector with their neighbours.
    AppendSmall,
    /// Four records that do not fit into what is left of any segment.
    AppendLarge,
    Flush,
    Mark,
    Prepare,
    /// Removes what is behind the last flushed record.
    Remove,
    /// The process ends and starts again.
    Reopen,
}

const STEPS: [Step; 7] = [
    Step::AppendSmall,
    Step::AppendLarge,
    Step::Flush,
    Step::Mark,
    Step::Prepare,
    Step::Remove,
    Step::Reopen,
];

/// What the steps so far allow the log to hold.
#[derive(Debug, Clone)]
struct Model {
    /// Lengths of the records that were given to the log, from position 1.
    lengths: Vec<usize>,
    /// Last position that was reported durable.
    durable: u64,
    /// First position that the caller still needs.
    from: u64,
}

impl Model {
    fn expected(&self) -> Expected {
        Expected { from: LogPosition(self.from), durable_at_least: LogPosition(0) }
    }

    /// Whether a log may deliver this.
    fn check(&self, found: &[Record], context: &str) {
        let all = records(1, &self.lengths);
        let from = usize::try_from(self.from - 1).expect("small");
        assert!(from + found.len() <= all.len(), "{context}: {} are too many", found.len());
        assert_eq!(found, &all[from..from + found.len()], "{context}: other records");
        let last = self.from - 1 + found.len() as u64;
        assert!(last >= self.durable, "{context}: {last} is the last, {self:?}");
    }
}

/// Takes steps until one fails.
fn run(disk: &SimFs, mut model: Model, steps: &[Step]) -> Model {
    let Ok((mut log, found)) = open(&shared(disk), Path::new(DIR), model.expected()) else {
        return model;
    };
    model.check(&found, "before the steps");
    model.lengths.truncate(usize::try_from(log.positions().last.0).expect("small"));
    model.durable = log.positions().durable.0;
    for step in steps {
        if take(*step, disk, &mut log, &mut model).is_none() {
            break;
        }
    }
    model
}

fn take(step: Step, disk: &SimFs, log: &mut Log, model: &mut Model) -> Option<()> {
    match step {
        Step::AppendSmall => given(log, model, &[20, 33])?,
        Step::AppendLarge => given(log, model, &[400; 4])?,
        Step::Flush => {
            log.flush().ok()?;
        }
        Step::Mark => log.mark_durable().ok()?,
        Step::Prepare => log.preparer().prepare().ok()?,
        Step::Remove => {
            model.from = log.positions().durable.0.max(1);
            log.remove_before(LogPosition(model.from)).ok()?;
        }
        Step::Reopen => {
            let (opened, found) = open(&shared(disk), Path::new(DIR), model.expected()).ok()?;
            model.check(&found, "a start without a crash");
            *log = opened;
        }
    }
    model.durable = log.positions().durable.0;
    Some(())
}

/// The model learns of the records first: a crash in the middle may keep any of them.
fn given(log: &mut Log, model: &mut Model, lengths: &[usize]) -> Option<()> {
    model.lengths.extend(lengths);
    append(log, lengths).ok().map(|_| ())
}

/// Opens what a crash left, and crashes that in turn.
fn check(disk: &SimFs, model: &Model, depth: u32, context: &str) {
    let opened = open(&shared(disk), Path::new(DIR), model.expected());
    let (log, found) = opened.unwrap_or_else(|error| panic!("{context}: {error}\n{model:?}"));
    model.check(&found, context);
    let delivered = Model {
        lengths: model.lengths[..usize::try_from(log.positions().last.0).expect("small")].into(),
        durable: log.positions().last.0,
        from: model.from,
    };
    if depth > 0 {
        goes_on(disk, log, delivered, context);
    }
}

/// What was delivered is durable, and so is what is appended and flushed after it.
fn goes_on(disk: &SimFs, mut log: Log, mut model: Model, context: &str) {
    check(&disk.crash(crate::fs::sim::CrashMode::Nothing), &model, 0, context);
    given(&mut log, &mut model, &[77, 400]).unwrap_or_else(|| panic!("{context}: no append"));
    log.flush().unwrap_or_else(|error| panic!("{context}: {error}"));
    model.durable += 2;
    check(&disk.crash(crate::fs::sim::CrashMode::Nothing), &model, 0, context);
}

fn check_with_crashed_recovery(disk: SimFs, model: &Model, context: &str) {
    let fresh = disk.kill();
    check(&disk, model, 1, context);
    let recover = |disk: &SimFs| {
        let _ = open(&shared(disk), Path::new(DIR), model.expected());
    };
    every_crash(&fresh, 2, recover, |crashed, (), inner| {
        check(&crashed, model, 0, &format!("{context}; then the recovery {inner}"));
    });
}

/// An empty log, and one that has a durable record, one that is not, and a little room left.
fn starts() -> [(SimFs, Model); 2] {
    let empty = SimFs::new(1);
    drop(create(&shared(&empty), Path::new(DIR)));
    let used = SimFs::new(2);
    let mut log = create(&shared(&used), Path::new(DIR));
    let mut model = Model { lengths: vec![], durable: 0, from: 1 };
    let none = model.clone();
    for step in [Step::AppendLarge, Step::Flush, Step::AppendSmall] {
        take(step, &used, &mut log, &mut model).expect("the disk is fine");
    }
    [(empty, none), (used, model)]
}

fn crash_everywhere(steps: &[Step]) {
    for (start, model) in starts() {
        let work = |disk: &SimFs| run(disk, model.clone(), steps);
        every_crash(&start, SUBSETS, work, |disk, model, context| {
            check_with_crashed_recovery(disk, model, &format!("{steps:?}, {context}"));
        });
    }
}

/// What a sync that failed left in the kernel's memory only is on the disk before anybody is told of it.
#[test]
fn rec_1_what_is_delivered_after_a_failed_sync_is_durable() {
    for first in STEPS {
        for second in STEPS {
            for (start, model) in starts() {
                let steps = [first, second, Step::Mark];
                let work = |disk: &SimFs| run(disk, model.clone(), &steps);
                every_failed_sync(&start, work, |disk, model, context| {
                    check(&disk, model, 1, &format!("{steps:?}, {context}"));
                });
            }
        }
    }
}

#[test]
fn one_operation_and_every_crash() {
    for step in STEPS {
        crash_everywhere(&[step]);
    }
}

#[test]
fn two_operations_and_every_crash() {
    for first in STEPS {
        for second in STEPS {
            crash_everywhere(&[first, second]);
        }
    }
}

/// Half a minute: `RUSTFLAGS="--cfg soak" cargo test --profile ci -p gfs-durable three_operations`.
#[cfg(soak)]
#[test]
fn three_operations_and_every_crash() {
    for first in STEPS {
        for second in STEPS {
            for third in STEPS {
                crash_everywhere(&[first, second, third]);
            }
        }
    }
}

#[test]
fn a_log_is_made_whole_or_not_at_all() {
    let work =
        |disk: &SimFs| Log::create(shared(disk), Path::new(DIR), options(), LogPosition(1)).is_ok();
    every_crash(&SimFs::new(1), SUBSETS, work, |disk, made, context| {
        match open(&shared(&disk), Path::new(DIR), Expected::ALL) {
            Ok((_, found)) => assert!(found.is_empty(), "{context}"),
            Err(OpenError::NoLog { .. }) if !made => {
                create(&shared(&disk), Path::new(DIR));
            }
            Err(error) => panic!("{context}: {error}"),
        }
    });
}
