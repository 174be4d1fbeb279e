//! When a cluster is looked at again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kube::runtime::controller::Action;

use crate::error::Category;

/// A ready cluster: nothing is expected to change, and what does change wakes by its watch.
const READY: Duration = Duration::from_secs(60);
/// Something is on its way, and the master's part of it wakes nobody.
const ON_THE_WAY: Duration = Duration::from_secs(2);
/// A person has to come first.
const STALLED: Duration = Duration::from_secs(30);
/// Somebody wrote the object in the meantime: look again at once.
const CONFLICT: Duration = Duration::from_millis(200);
/// The first pause behind an error; each next one is twice as long.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// The longest pause behind an error.
const BACKOFF_MAX: Duration = Duration::from_secs(120);

/// How a pass ended that came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// Everything is as it should be.
    Ready,
    /// It is on its way.
    OnTheWay,
    /// A person has to come first.
    Stalled,
    /// There is nothing to do until someone changes something.
    Done,
}

impl Outlook {
    /// When to look again.
    #[must_use]
    pub fn action(self) -> Action {
        match self {
            Self::Ready => Action::requeue(READY),
            Self::OnTheWay => Action::requeue(ON_THE_WAY),
            Self::Stalled => Action::requeue(STALLED),
            Self::Done => Action::await_change(),
        }
    }
}

/// How many passes in a row failed, for each cluster by itself: one that fails does not slow down the others.
#[derive(Debug, Default)]
pub struct Backoffs {
    failures: Mutex<BTreeMap<(String, String), u32>>,
}

impl Backoffs {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<(String, String), u32>) -> T) -> T {
        act(&mut self.failures.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A pass came to its end.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.with(|failures| failures.remove(&(namespace.to_owned(), name.to_owned())));
    }

    /// A pass failed; when to look again.
    #[must_use]
    pub fn action(&self, namespace: &str, name: &str, category: Category, jitter: f64) -> Action {
        match category {
            Category::Spec => Action::await_change(),
            Category::Conflict => Action::requeue(CONFLICT),
            _ => {
                let key = (namespace.to_owned(), name.to_owned());
                let failures = self.with(|failures| {
                    let count = failures.entry(key).or_default();
                    *count = count.saturating_add(1);
                    *count
                });
                Action::requeue(pause(failures, jitter))
            }
        }
    }
}

/// The pause behind so many failures in a row. `jitter` is from 0 to 1: clusters that failed together do not come back
/// together.
fn pause(failures: u32, jitter: f64) -> Duration {
    let doubled = BACKOFF_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(BACKOFF_MAX).mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_are_spread() {
        assert_eq!(pause(1, 1.0), BACKOFF_FIRST);
        assert_eq!(pause(2, 1.0), 2 * BACKOFF_FIRST);
        assert_eq!(pause(4, 0.0), 4 * BACKOFF_FIRST);
        assert_eq!(pause(8, 1.0), BACKOFF_MAX);
        assert_eq!(pause(u32::MAX, 1.0), BACKOFF_MAX);
    }

    #[test]
    fn each_cluster_has_a_count_of_its_own() {
        let backoffs = Backoffs::default();
        let fail = |name| backoffs.action("ns", name, Category::Api, 1.0);
        assert_eq!(fail("a"), Action::requeue(BACKOFF_FIRST));
        assert_eq!(fail("a"), Action::requeue(2 * BACKOFF_FIRST));
        assert_eq!(fail("b"), Action::requeue(BACKOFF_FIRST));
        backoffs.forget("ns", "a");
        assert_eq!(fail("a"), Action::requeue(BACKOFF_FIRST));
    }

    #[test]
    fn what_only_a_change_can_mend_waits_for_one() {
        let backoffs = Backoffs::default();
        let of = |category| backoffs.action("ns", "a", category, 1.0);
        assert_eq!(of(Category::Spec), Action::await_change());
        assert_eq!(of(Category::Conflict), Action::requeue(CONFLICT));
        assert_eq!(of(Category::Conflict), Action::requeue(CONFLICT));
    }
}
