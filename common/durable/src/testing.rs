//! Helpers of the tests: every crash of a piece of work, and both disks for one suite.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fs::Fs;
use crate::fs::real::RealFs;
use crate::fs::sim::{Operation, SimFs};

/// Random subsets tried at each crash point.
pub(crate) const SUBSETS: u64 = 32;

/// Turns the machine off before each storage operation of `work`, then gives every disk that a
/// power loss, or the death of the process, may leave to `check`, with what `work` had returned.
pub(crate) fn every_crash<T>(
    start: &SimFs,
    subsets: u64,
    work: impl Fn(&SimFs) -> T,
    mut check: impl FnMut(SimFs, &T, &str),
) {
    let whole = start.kill();
    work(&whole);
    for off_at in 0..=whole.operations() {
        let disk = start.kill();
        disk.fail_after(off_at);
        let done = work(&disk);
        for mode in disk.crash_modes(subsets) {
            check(disk.crash(mode), &done, &format!("off at operation {off_at}, {mode:?}"));
        }
        check(disk.kill(), &done, &format!("killed at operation {off_at}"));
    }
}

/// Lets each sync of `work` fail in turn, at which a process ends, and gives what the next one finds to `check`, with what `work` had
/// returned.
pub(crate) fn every_failed_sync<T>(
    start: &SimFs,
    work: impl Fn(&SimFs) -> T,
    mut check: impl FnMut(SimFs, &T, &str),
) {
    for nth in 0.. {
        let disk = start.kill();
        disk.fail_nth(Operation::Sync, nth);
        disk.end_at_failure();
        let done = work(&disk);
        if disk.failures() == 0 {
            break;
        }
        check(disk.kill(), &done, &format!("sync {nth} failed"));
    }
}

/// Runs a test on the simulated disk and on the machine's, in an empty directory.
pub(crate) fn on_both(test: impl Fn(Arc<dyn Fs>, &Path)) {
    let sim = SimFs::new(1);
    sim.set_short_reads(true);
    let dir = PathBuf::from("/dir");
    sim.create_dir_all(&dir).expect("the disk is fine");
    test(Arc::new(sim), &dir);
    let real = tempfile::tempdir().expect("a temporary directory can be made");
    test(Arc::new(RealFs), real.path());
}
