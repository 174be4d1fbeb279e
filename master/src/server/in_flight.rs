//! The requests of one client's stream that are not answered yet.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use gfs_types::Error;
use gfs_types::limits::CONNECTION_REQUESTS_MAX;
use tokio::sync::Semaphore;

use crate::metrics::Operation;

/// A request that was asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// The client's number of it.
    pub(super) id: u64,
    /// What it asks.
    pub(super) operation: Option<Operation>,
    /// When it came.
    pub(super) at: Instant,
    /// How many ordinary requests its answer counts as.
    pub(super) weight: usize,
}

/// An answer with a page of entries or locations: so many requests of a stream may wait for one, and no client that
/// does not read makes the master hold more of them.
pub(super) const PAGE_WEIGHT: usize = CONNECTION_REQUESTS_MAX / 16;

/// Requests in flight, each under a number of ours: a client that uses one of its own twice confuses
/// only itself.
#[derive(Debug)]
pub(super) struct InFlight {
    slots: Mutex<Slots>,
    free: Semaphore,
    /// Why the stream ends, when it is not by the client's own will.
    why: OnceLock<Error>,
}

#[derive(Debug, Default)]
struct Slots {
    asked: Vec<Option<Asked>>,
    free: Vec<usize>,
}

/// The stream of replies is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

impl Default for InFlight {
    fn default() -> Self {
        let free = Semaphore::new(CONNECTION_REQUESTS_MAX);
        Self { slots: Mutex::default(), free, why: OnceLock::new() }
    }
}

impl InFlight {
    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request and gives our number of it; waits while requests of [`CONNECTION_REQUESTS_MAX`] are in
    /// flight, by their weight. So a client that does not take its replies is not read from.
    ///
    /// # Errors
    /// Nobody waits for replies any more.
    pub(super) async fn ask(&self, asked: Asked) -> Result<u64, Gone> {
        let weight = u32::try_from(asked.weight).map_err(|_| Gone)?;
        match self.free.try_acquire_many(weight) {
            Ok(places) => places.forget(),
            Err(_) => Box::pin(self.free.acquire_many(weight)).await.map_err(|_| Gone)?.forget(),
        }
        let mut slots = self.slots();
        let slot = slots.free.pop().unwrap_or(slots.asked.len());
        if slot == slots.asked.len() {
            slots.asked.push(None);
        }
        slots.asked[slot] = Some(asked);
        Ok(slot as u64)
    }

    /// The reply to a request is on its way to the client.
    pub(super) fn answer(&self, slot: u64) -> Option<Asked> {
        let slot = usize::try_from(slot).ok()?;
        let mut slots = self.slots();
        let asked = slots.asked.get_mut(slot)?.take()?;
        slots.free.push(slot);
        drop(slots);
        self.free.add_permits(asked.weight);
        Some(asked)
    }

    /// Waits until every request is answered, or nobody waits for replies any more.
    pub(super) async fn all_answered(&self) {
        let all = u32::try_from(CONNECTION_REQUESTS_MAX).expect("the limit is small");
        // An error says that the client is gone.
        let _ = self.free.acquire_many(all).await;
    }

    /// The stream will end for this reason, behind the replies to what was asked.
    pub(super) fn end(&self, why: Error) {
        // The first reason stays.
        let _ = self.why.set(why);
    }

    /// Why the stream ends, when it is not by the client's own will.
    pub(super) fn why(&self) -> Option<&Error> {
        self.why.get()
    }

    /// Nobody waits for replies any more.
    pub(super) fn gone(&self) {
        self.free.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(id: u64) -> Asked {
        Asked { id, operation: None, at: Instant::now(), weight: 1 }
    }

    #[tokio::test]
    async fn a_request_is_answered_once_under_the_clients_number() {
        let in_flight = InFlight::default();
        let a = in_flight.ask(asked(77)).await.unwrap();
        let b = in_flight.ask(asked(77)).await.unwrap();
        assert_ne!(a, b);
        assert_eq!(in_flight.answer(a).unwrap().id, 77);
        assert!(in_flight.answer(a).is_none());
        assert_eq!(in_flight.ask(asked(5)).await, Ok(a), "the number is free again");
        assert!(in_flight.answer(9999).is_none());
    }

    #[tokio::test]
    async fn one_past_the_limit_waits_for_an_answer() {
        let in_flight = InFlight::default();
        for id in 0..CONNECTION_REQUESTS_MAX as u64 {
            in_flight.ask(asked(id)).await.unwrap();
        }
        let mut next = Box::pin(in_flight.ask(asked(0)));
        assert!(futures::poll!(next.as_mut()).is_pending());
        in_flight.answer(3).unwrap();
        assert_eq!(next.await, Ok(3));
    }

    #[tokio::test]
    async fn a_seventeenth_page_waits_for_an_answer() {
        let in_flight = InFlight::default();
        let page = |id| Asked { weight: PAGE_WEIGHT, ..asked(id) };
        for id in 0..16 {
            in_flight.ask(page(id)).await.unwrap();
        }
        let mut next = Box::pin(in_flight.ask(page(16)));
        assert!(futures::poll!(next.as_mut()).is_pending());
        in_flight.answer(3).unwrap();
        assert_eq!(next.await, Ok(3));
    }

    #[tokio::test]
    async fn all_answered_waits_for_the_last_or_for_the_client_to_go() {
        let in_flight = InFlight::default();
        let slot = in_flight.ask(asked(1)).await.unwrap();
        let mut all = Box::pin(in_flight.all_answered());
        assert!(futures::poll!(all.as_mut()).is_pending());
        in_flight.answer(slot).unwrap();
        all.await;
        in_flight.ask(asked(2)).await.unwrap();
        in_flight.gone();
        in_flight.all_answered().await;
        assert_eq!(in_flight.ask(asked(3)).await, Err(Gone));
    }
}
