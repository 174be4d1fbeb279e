//! Every crash point of all sequences of up to two operations on log and checkpoint, on the
//! simulated disk (N1, N3, N5, N6).
//!
//! One run recovers a small cluster, does the operations, and loses power before its `k`th change of
//! the disk. Whatever of the unsynced writes survives: the master starts, it holds a prefix of the
//! history that has everything it acknowledged, and starting again changes nothing.

mod support;

use std::sync::Arc;

use gfs_durable::fs::Fs;
use gfs_durable::fs::sim::{CrashMode, SimFs};
use gfs_master_core::invariants::check_durable;
use gfs_types::fence::LogPosition;
use support::engine::{Engine, History, new_cluster};

/// Random choices among the unsynced writes that are tried at each crash point.
const SUBSETS: u64 = 32;

/// What is done between two crash points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    /// One record in one flush.
    Create,
    /// A few records in one flush, the second resting on the first.
    CreateAndRename,
    /// Enough records in one flush to fill a segment.
    FillSegment,
    /// A record, and the same request again.
    Repeat,
    /// A checkpoint, and the log behind it removed.
    Checkpoint,
    /// The proof that everything was durable.
    Mark,
    /// The next segment made ready.
    Prepare,
    /// A clean end and a new start.
    Restart,
}

const OPERATIONS: [Operation; 8] = [
    Operation::Create,
    Operation::CreateAndRename,
    Operation::FillSegment,
    Operation::Repeat,
    Operation::Checkpoint,
    Operation::Mark,
    Operation::Prepare,
    Operation::Restart,
];

/// Does one operation; the error is that of the disk.
fn act(engine: &mut Engine, operation: Operation) -> anyhow::Result<()> {
    match operation {
        Operation::Create => {
            engine.create("new");
            engine.flush()
        }
        Operation::CreateAndRename => {
            let name = engine.create("before");
            engine.rename(&name);
            engine.flush()
        }
        Operation::FillSegment => {
            for _ in 0..8 {
                engine.create(&"long".repeat(50));
            }
            engine.flush()
        }
        Operation::Repeat => {
            engine.create("once");
            engine.flush()?;
            engine.repeat_last();
            engine.flush()
        }
        Operation::Checkpoint => engine.checkpoint(),
        Operation::Mark => Ok(engine.log.mark_durable()?),
        Operation::Prepare => Ok(engine.log.preparer().prepare()?),
        Operation::Restart => engine.restart(),
    }
}

/// Disks to begin from: a new cluster; one with a checkpoint; one with two and a cut log.
fn beginnings() -> Vec<SimFs> {
    let fresh = new_cluster(1);
    let with = |fs: &SimFs, operations: &[Operation]| {
        let fs = fs.kill();
        let mut engine = Engine::start(&fs).expect("a beginning can be made");
        for operation in operations {
            act(&mut engine, *operation).expect("a beginning can be made");
        }
        engine.log.mark_durable().expect("a beginning can be made");
        fs.crash(CrashMode::Nothing)
    };
    let fresh = with(&fresh, &[]);
    let fill = Operation::FillSegment;
    let one = with(&fresh, &[fill, fill, Operation::Create, Operation::Checkpoint]);
    let two = with(&one, &[fill, Operation::Checkpoint, Operation::Create]);
    vec![fresh, one, two]
}

fn sequences() -> Vec<Vec<Operation>> {
    let singles = OPERATIONS.iter().map(|a| vec![*a]);
    let pairs = OPERATIONS.iter().flat_map(|a| OPERATIONS.iter().map(|b| vec![*a, *b]));
    singles.chain(pairs).collect()
}

/// Runs a sequence on a copy of the disk that fails from the `fail_at`th change on (`None`: never).
/// Gives the disk, what was acknowledged, and the changes made.
fn run(beginning: &SimFs, sequence: &[Operation], fail_at: Option<u64>) -> (SimFs, History, u64) {
    let fs = beginning.kill();
    let mut engine = Engine::start(&fs).expect("a beginning can be started");
    let before = fs.operations();
    if let Some(fail_at) = fail_at {
        fs.fail_after(before + fail_at);
    }
    for operation in sequence {
        let done = act(&mut engine, *operation);
        assert!(done.is_ok() || fail_at.is_some(), "{operation:?}: {done:?}");
        if done.is_err() {
            break;
        }
    }
    let changes = fs.operations() - before;
    (fs, engine.history, changes)
}

/// The master starts on this disk with all that was acknowledged, and starting once more, or being
/// cut off while it starts, changes nothing.
fn check(fs: &SimFs, acknowledged: &History, whole: &History, context: &dyn Fn() -> String) {
    let after = fs.kill();
    let engine = Engine::recover(&after).unwrap_or_else(|error| panic!("{}: {error:#}", context()));
    let (position, digest) = (engine.state.position(), engine.state.digest());
    assert!(position >= acknowledged.acknowledged, "{}: lost what was acknowledged", context());
    assert_eq!(whole.digests.get(&position), Some(&digest), "{}: another history", context());
    assert_eq!(check_durable(&engine.state), Ok(()), "{}", context());
    drop(engine);
    let again = Engine::recover(&after).unwrap_or_else(|error| panic!("{}: {error:#}", context()));
    assert_eq!(again.state.position(), position, "{}: the second start", context());
    assert_eq!(again.state.digest(), digest, "{}: the second start", context());
}

/// Crashes the recovery itself, at each of its changes of the disk.
fn check_crashing_recovery(
    fs: &SimFs,
    acknowledged: &History,
    whole: &History,
    context: &dyn Fn() -> String,
) {
    let changes = {
        let after = fs.kill();
        let before = after.operations();
        Engine::recover(&after).unwrap_or_else(|error| panic!("{}: {error:#}", context()));
        after.operations() - before
    };
    for at in 0..changes {
        let after = fs.kill();
        after.fail_after(after.operations() + at);
        assert!(Engine::recover(&after).is_err(), "{}: it noticed nothing", context());
        for mode in [CrashMode::Nothing, CrashMode::Everything] {
            let context = || format!("{}, recovery cut at {at}, {mode:?}", context());
            check(&after.crash(mode), acknowledged, whole, &context);
        }
    }
}

/// What was acknowledged is there for a client: its names, and its answers when it asks again.
fn check_as_a_client(fs: &SimFs, acknowledged: &History, context: &dyn Fn() -> String) {
    let mut engine = Engine::start(fs).unwrap_or_else(|error| panic!("{}: {error:#}", context()));
    for (request, reply) in &acknowledged.replies {
        let again = engine.ask_again(request);
        assert_eq!(&again.result, &reply.result, "{}: {request:?}", context());
    }
}

fn every_crash_point_of(beginning: &SimFs, number: usize, sequence: &[Operation]) -> u64 {
    let (_, whole, changes) = run(beginning, sequence, None);
    let mut tried = 0;
    for fail_at in 0..=changes {
        let (fs, acknowledged, _) = run(beginning, sequence, Some(fail_at));
        for mode in fs.crash_modes(SUBSETS) {
            let context =
                || format!("beginning {number}, {sequence:?}, cut at {fail_at}, {mode:?}");
            let crashed = fs.crash(mode);
            check(&crashed, &acknowledged, &whole, &context);
            tried += 1;
            if matches!(mode, CrashMode::Nothing | CrashMode::Everything) {
                check_as_a_client(&crashed.kill(), &acknowledged, &context);
                check_crashing_recovery(&crashed, &acknowledged, &whole, &context);
            }
        }
        let killed = || format!("beginning {number}, {sequence:?}, killed at {fail_at}");
        check(&fs.kill(), &acknowledged, &whole, &killed);
    }
    tried
}

fn all_sequences_from(number: usize) {
    let beginning = &beginnings()[number];
    let tried: u64 =
        sequences().iter().map(|sequence| every_crash_point_of(beginning, number, sequence)).sum();
    assert!(tried > 1000, "only {tried} crash points were tried");
    println!("beginning {number}: {tried} crash points");
}

#[test]
fn a_new_cluster_survives_every_crash_point() {
    all_sequences_from(0);
}

#[test]
fn a_cluster_with_a_checkpoint_survives_every_crash_point() {
    all_sequences_from(1);
}

#[test]
fn a_cluster_with_two_checkpoints_and_a_cut_log_survives_every_crash_point() {
    all_sequences_from(2);
}

#[test]
fn the_beginnings_are_what_they_say() {
    let found: Vec<_> = beginnings()
        .iter()
        .map(|fs| {
            let engine = Engine::recover(fs).unwrap();
            let fs: Arc<dyn Fs> = Arc::new(fs.clone());
            let checkpoints = support::engine::checkpoints(&fs);
            (checkpoints.len(), engine.log.positions().first > LogPosition(1))
        })
        .collect();
    assert_eq!(found, [(0, false), (1, false), (2, true)]);
}

/// The check itself can fail: an engine that answers before the flush is caught.
#[test]
fn an_early_answer_would_be_found() {
    let beginning = &beginnings()[0];
    let fs = beginning.kill();
    let mut engine = Engine::start(&fs).unwrap();
    engine.create("too early");
    let early = engine.pending_as_if_acknowledged();
    let crashed = fs.crash(CrashMode::Nothing);
    let recovered = Engine::recover(&crashed).unwrap();
    assert!(recovered.state.position() < early);
}
