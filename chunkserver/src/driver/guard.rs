//! A thread of the driver that panics takes the process with it.

use std::cell::Cell;

/// Ends the process when it is dropped by a panic. Without its shard a server would go on with heartbeats and reads while
/// a part of its replicas answers nobody, for ever; after a crash it recovers, and others take over meanwhile.
pub(super) struct EndsOnPanic;

impl Drop for EndsOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() && !SIMULATED.get() {
            tracing::error!("the process ends: a thread that owns replicas panicked");
            std::process::abort();
        }
    }
}

/// What a simulated process ends with, instead of an exit.
#[derive(Debug)]
pub struct ProcessEnds;

thread_local! {
    static SIMULATED: Cell<bool> = const { Cell::new(false) };
}

/// This thread simulates servers: one that has to end unwinds with [`ProcessEnds`], one that panics unwinds, and the thread goes on.
pub fn simulated_here() {
    SIMULATED.set(true);
}

/// Ends a simulated process.
pub(super) fn end_if_simulated() {
    if SIMULATED.get() {
        std::panic::resume_unwind(Box::new(ProcessEnds));
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const CHILD: &str = "GFS_TEST_PANIC_ON_A_THREAD";
    const NAME: &str = "driver::guard::tests::a_panic_on_a_guarded_thread_ends_the_process";

    #[test]
    fn a_panic_on_a_guarded_thread_ends_the_process() {
        if std::env::var_os(CHILD).is_some() {
            let guarded = || {
                let _guard = EndsOnPanic;
                panic!("as in a shard");
            };
            assert!(std::thread::spawn(guarded).join().is_err());
            // Not reached: the test would pass, and its parent fail.
            return;
        }
        let test = std::env::current_exe().expect("this test");
        let child = Command::new(test).args(["--exact", NAME]).env(CHILD, "1").output();
        let child = child.expect("the child starts");
        assert_eq!(child.status.code(), None, "by a signal: {child:?}");
    }
}
