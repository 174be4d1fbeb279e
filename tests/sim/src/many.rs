//! Many worlds at once, one on each core. They share nothing.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc::channel;

use crate::plan::Plan;
use crate::run::{Outcome, run_plan};
use crate::trace::Traced;

/// Runs all of these, so many at a time, and hands out what each came to as soon as it has ended.
pub fn run_many(
    plans: impl Iterator<Item = Plan> + Send,
    at_once: usize,
    traced: Traced,
    mut each: impl FnMut(Outcome),
) {
    let plans = Mutex::new(plans);
    let next = || plans.lock().unwrap_or_else(PoisonError::into_inner).next();
    std::thread::scope(|scope| {
        let (ended, outcomes) = channel();
        for _ in 0..at_once {
            let ended = ended.clone();
            let next = &next;
            scope.spawn(move || {
                while let Some(plan) = next() {
                    // Whoever wanted to hear of it has panicked.
                    let _ = ended.send(run_plan(&plan, traced));
                }
            });
        }
        drop(ended);
        outcomes.into_iter().for_each(&mut each);
    });
}

/// How many this machine runs as fast as one.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
