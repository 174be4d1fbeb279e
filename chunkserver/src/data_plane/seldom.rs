//! Messages that others can provoke as often as they like.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A message comes at most so often; the others are counted.
const PAUSE: Duration = Duration::from_secs(10);

/// When it was said last, and how often it was not said since.
#[derive(Debug, Default)]
pub(super) struct Seldom(Mutex<(Option<Instant>, u64)>);

impl Seldom {
    pub(super) const fn new() -> Self {
        Self(Mutex::new((None, 0)))
    }

    /// How many were left out since the last one that was said; `None`: this one is left out too.
    pub(super) fn due(&self, now: Instant) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.0.is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
            said.1 += 1;
            return None;
        }
        said.0 = Some(now);
        Some(std::mem::take(&mut said.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_said_in_a_while_and_tells_how_many_were_not() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.due(start), Some(0));
        for _ in 0..3 {
            assert_eq!(seldom.due(start + PAUSE - Duration::from_nanos(1)), None);
        }
        assert_eq!(seldom.due(start + PAUSE), Some(3));
        assert_eq!(seldom.due(start + PAUSE), None);
    }
}
