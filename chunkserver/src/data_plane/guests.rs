//! What each peer may have of this server at once, so that one that wants everything leaves the others their part.
//!
//! A number of requests or bytes is given out in two halves. From the first half everybody takes as much as it wants; the
//! second is divided equally among those who have something. So a single client gets much, and one that stays within its
//! part is not refused because of others.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gfs_types::Error;
use gfs_types::ids::ServerUid;
use gfs_types::limits::{
    CLIENT_CONNECTIONS_MAX, CLIENT_REQUESTS_MAX, INLINE_BYTES_MAX, REQUEST_BYTES_MAX,
    SERVER_CONNECTIONS_MAX, SHARD_REQUESTS_MAX,
};
use gfs_types::message::data::Hello;

/// When a client whose requests are too many should try again: most of what it asked is answered by then.
const RETRY_MS: u32 = 20;
/// When a peer with too many connections should try again.
const RETRY_CONNECTION_MS: u32 = 1_000;

/// Clients and servers are counted apart: only clients are bounded by requests, for what servers order was bounded
/// where it was asked for.
type Name = (bool, ServerUid);

/// Everybody who has a connection here.
#[derive(Debug, Default)]
pub(super) struct Guests {
    here: Mutex<BTreeMap<Name, Guest>>,
    together: Arc<Together>,
}

#[derive(Debug, Default)]
struct Guest {
    connections: usize,
    own: Arc<Own>,
}

/// What one guest has.
#[derive(Debug, Default)]
struct Own {
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

/// What all clients have.
#[derive(Debug, Default)]
struct Together {
    /// Clients with a request that is not answered.
    asking: AtomicUsize,
    bytes: AtomicUsize,
}

/// A connection of a guest; it counts until it is dropped.
#[derive(Debug)]
pub(super) struct Visit {
    guests: Arc<Guests>,
    name: Name,
    own: Arc<Own>,
}

/// A request that is not answered; it counts until it is dropped.
#[derive(Debug)]
pub(super) struct Asked {
    counted: Option<(Arc<Own>, Arc<Together>)>,
    bytes: usize,
}

/// Whether somebody who would have `mine` of `limit` may, if all together would have `all` and so many share it.
fn admits(limit: usize, all: usize, mine: usize, sharing: usize, least: usize) -> bool {
    let half = limit / 2;
    all <= half || (all <= limit && mine <= (half / sharing.max(1)).max(least))
}

impl Guests {
    fn here(&self) -> MutexGuard<'_, BTreeMap<Name, Guest>> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection of whoever says hello.
    ///
    /// # Errors
    /// `Busy` when the same peer has too many.
    pub(super) fn enter(self: &Arc<Self>, hello: &Hello) -> Result<Visit, Error> {
        let is_client = hello.session.0 == 0;
        let max = if is_client { CLIENT_CONNECTIONS_MAX } else { SERVER_CONNECTIONS_MAX };
        let name = (is_client, hello.me);
        let mut here = self.here();
        let guest = here.entry(name).or_default();
        if guest.connections >= max {
            let text = format!("{} has {max} connections here, which is its limit", hello.me);
            return Err(Error { retry_after_ms: RETRY_CONNECTION_MS, ..Error::busy(text) });
        }
        guest.connections += 1;
        Ok(Visit { guests: self.clone(), name, own: guest.own.clone() })
    }
}

impl Visit {
    /// Takes a request with so many bytes, while `waiting` requests wait where it goes.
    ///
    /// # Errors
    /// `Busy` when this client has too much here.
    pub(super) fn ask(&self, bytes: usize, waiting: usize) -> Result<Asked, Error> {
        if !self.name.0 {
            return Ok(Asked { counted: None, bytes: 0 });
        }
        let together = &self.guests.together;
        let requests = self.own.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let mine = self.own.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if requests == 1 {
            together.asking.fetch_add(1, Ordering::Relaxed);
        }
        let all = together.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // From here on it is given back when dropped.
        let asked = Asked { counted: Some((self.own.clone(), together.clone())), bytes };
        let sharing = together.asking.load(Ordering::Relaxed);
        let least = usize::try_from(INLINE_BYTES_MAX).unwrap_or(usize::MAX);
        if requests > CLIENT_REQUESTS_MAX
            || !admits(SHARD_REQUESTS_MAX, waiting + 1, requests, sharing, 1)
        {
            let text = format!("{} requests of this client wait at this chunkserver", requests - 1);
            return Err(Error { retry_after_ms: RETRY_MS, ..Error::busy(text) });
        }
        if !admits(REQUEST_BYTES_MAX, all, mine, sharing, least) {
            let text = format!("{} bytes of this client wait at this chunkserver", mine - bytes);
            return Err(Error { retry_after_ms: RETRY_MS, ..Error::busy(text) });
        }
        Ok(asked)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut here = self.guests.here();
        if let Some(guest) = here.get_mut(&self.name) {
            guest.connections -= 1;
            // What it asked may still be answered: its count goes with the last who holds it.
            if guest.connections == 0 {
                here.remove(&self.name);
            }
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let Some((own, together)) = &self.counted else { return };
        own.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        together.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        if own.requests.fetch_sub(1, Ordering::Relaxed) == 1 {
            together.asking.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use gfs_types::ErrorKind;
    use gfs_types::ids::{ClusterUid, ProcessSession};
    use gfs_types::message::data::PROTOCOL_VERSION;

    use super::*;

    const INLINE: usize = 64 << 10;

    fn enter(guests: &Arc<Guests>, me: u128, session: u64) -> Result<Visit, Error> {
        guests.enter(&Hello {
            protocol: PROTOCOL_VERSION,
            cluster: ClusterUid(1),
            me: ServerUid(me),
            peer: ServerUid(1),
            session: ProcessSession(session),
            peer_session: ProcessSession(0),
        })
    }

    fn busy<T>(result: Result<T, Error>) -> bool {
        match result {
            Ok(_) => false,
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Busy);
                assert!(error.retry_after_ms > 0, "{error}");
                true
            }
        }
    }

    #[test]
    fn each_peer_has_its_own_limit_of_connections() {
        let guests = Arc::new(Guests::default());
        for (session, max) in [(0, CLIENT_CONNECTIONS_MAX), (7, SERVER_CONNECTIONS_MAX)] {
            let mut visits: Vec<_> =
                (0..max).map(|_| enter(&guests, 5, session).unwrap()).collect();
            assert!(busy(enter(&guests, 5, session)));
            assert!(!busy(enter(&guests, 6, session)), "another is not affected");
            visits.pop();
            assert!(!busy(enter(&guests, 5, session)));
        }
        assert!(guests.here().is_empty(), "who is gone leaves nothing behind");
    }

    #[test]
    fn one_client_has_its_limit_of_requests_over_all_of_its_connections() {
        let guests = Arc::new(Guests::default());
        let (one, two) = (enter(&guests, 5, 0).unwrap(), enter(&guests, 5, 0).unwrap());
        let mut asked: Vec<_> = (0..CLIENT_REQUESTS_MAX).map(|_| one.ask(10, 0).unwrap()).collect();
        assert!(busy(one.ask(10, 0)) && busy(two.ask(10, 0)));
        let other = enter(&guests, 6, 0).unwrap();
        assert!(!busy(other.ask(10, 0)));
        asked.pop();
        assert!(!busy(two.ask(10, 0)), "a refusal is not counted");
        drop(asked);
        let together = &guests.together;
        assert_eq!(together.asking.load(Ordering::Relaxed), 0);
        assert_eq!(together.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_server_is_not_bounded_by_requests() {
        let guests = Arc::new(Guests::default());
        let server = enter(&guests, 5, 1).unwrap();
        let all = (0..2 * CLIENT_REQUESTS_MAX).map(|_| server.ask(1 << 20, SHARD_REQUESTS_MAX));
        assert!(all.collect::<Vec<_>>().iter().all(Result::is_ok));
    }

    #[test]
    fn in_a_queue_that_is_half_full_everybody_has_an_equal_part() {
        let guests = Arc::new(Guests::default());
        let half = SHARD_REQUESTS_MAX / 2;
        let visits: Vec<_> = (0..128).map(|me| enter(&guests, me, 0).unwrap()).collect();
        let all: Vec<_> = visits.iter().map(|visit| visit.ask(0, half).unwrap()).collect();
        let greedy: Vec<_> = (1..half / 128).map(|_| visits[0].ask(0, half).unwrap()).collect();
        assert!(busy(visits[0].ask(0, half)), "its part is {}", half / 128);
        assert!(!busy(visits[0].ask(0, half - 1)), "below half of the queue nobody counts");
        assert!(!busy(visits[1].ask(0, SHARD_REQUESTS_MAX - 1)), "others are not affected");
        drop((greedy, all));
    }

    #[test]
    fn bytes_inside_requests_are_bounded_and_shared() {
        let guests = Arc::new(Guests::default());
        let (mut visits, mut asked) = (Vec::new(), Vec::new());
        for me in 0.. {
            let visit = enter(&guests, me, 0).unwrap();
            let before = asked.len();
            for _ in 0..CLIENT_REQUESTS_MAX {
                asked.extend(visit.ask(INLINE, 0).ok());
            }
            assert!(asked.len() > before || asked.len() * INLINE == REQUEST_BYTES_MAX);
            visits.push(visit);
            if asked.len() == before {
                break;
            }
        }
        assert_eq!(asked.len() * INLINE, REQUEST_BYTES_MAX, "to the limit and not past it");
        let first = guests.together.bytes.load(Ordering::Relaxed);
        assert_eq!(first, REQUEST_BYTES_MAX);
    }
}
