//! The session that makes mutations repeatable: numbers them, keeps at most 64 open, and starts anew when the master
//! forgot it.

use std::collections::BTreeSet;
use std::sync::Mutex;

use gfs_types::ErrorKind;
use gfs_types::ids::{RequestId, RequestSeq, SessionId};
use gfs_types::limits::SESSION_RESULTS_MAX;
use gfs_types::message::client::{Mutation, Request, Response};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Asked, MasterLink, NoAnswer};
use crate::lock;
use crate::retry::{Attempt, Backoff, Failure, Next, next};

/// The client's session with the master.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    book: Mutex<Book>,
    changed: Notify,
}

/// How a mutation ended without success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MutationError {
    /// The master refused it: it did not happen.
    Refused(gfs_types::Error),
    /// It may have happened, and nobody can tell any more.
    Unknown(String),
    /// Time ran out.
    TimedOut {
        /// It may have happened.
        sent: bool,
        /// The last thing that went wrong.
        last: String,
    },
}

/// The numbers in use. No I/O.
#[derive(Debug, Default)]
struct Book {
    session: Option<SessionId>,
    opening: bool,
    last_seq: u64,
    open: BTreeSet<u64>,
}

/// What a mutation must do first.
#[derive(Debug, PartialEq, Eq)]
enum Begin {
    /// Go, with this id.
    Go(RequestId, RequestSeq),
    /// Open a session, for all who wait.
    Open,
    /// Somebody else has to be done first.
    Wait,
}

impl Book {
    /// The window is over numbers, not over a count: the master keeps the results of 64 numbers in a row.
    fn begin(&mut self) -> Begin {
        let Some(session) = self.session else {
            return if std::mem::replace(&mut self.opening, true) {
                Begin::Wait
            } else {
                Begin::Open
            };
        };
        let seq = self.last_seq + 1;
        let lowest = self.open.first().copied().unwrap_or(seq);
        if seq - lowest >= SESSION_RESULTS_MAX as u64 {
            return Begin::Wait;
        }
        self.last_seq = seq;
        self.open.insert(seq);
        Begin::Go(RequestId { session, seq: RequestSeq(seq) }, RequestSeq(lowest))
    }

    fn opened(&mut self, session: Option<SessionId>) {
        self.opening = false;
        if let Some(session) = session {
            *self = Self { session: Some(session), ..Self::default() };
        }
    }

    fn end(&mut self, id: RequestId) {
        if self.session == Some(id.session) {
            self.open.remove(&id.seq.0);
        }
    }

    fn forgotten(&mut self, session: SessionId) {
        if self.session == Some(session) {
            *self = Self::default();
        }
    }
}

/// A number in use; given back when dropped, for then the caller has its answer or wants none.
struct Number<'a> {
    sessions: &'a Sessions,
    id: RequestId,
    answered_below: RequestSeq,
}

impl Drop for Number<'_> {
    fn drop(&mut self) {
        lock(&self.sessions.book).end(self.id);
        self.sessions.changed.notify_waiters();
    }
}

/// The right to open a session; given back when dropped, so that somebody else can.
struct Opening<'a>(&'a Sessions, Option<SessionId>);

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        lock(&self.0.book).opened(self.1);
        self.0.changed.notify_waiters();
    }
}

impl Sessions {
    /// Changes the namespace, once. Repeats as long as nobody knows whether it happened; a session that the master
    /// forgot is replaced only for a mutation that was sent but once, and refused.
    pub(crate) async fn mutate(
        &self,
        link: &MasterLink,
        mutation: &Mutation,
        deadline: Instant,
        seed: u64,
    ) -> Result<Response, MutationError> {
        let mut backoff = Backoff::new(seed);
        loop {
            let number = self.number(link, deadline).await?;
            match self.attempt(link, &number, mutation, deadline, &mut backoff).await? {
                Some(response) => return Ok(response),
                None => lock(&self.book).forgotten(number.id.session),
            }
        }
    }

    /// With one number: the answer, or `None` when the master does not know the session and nothing happened.
    async fn attempt(
        &self,
        link: &MasterLink,
        number: &Number<'_>,
        mutation: &Mutation,
        deadline: Instant,
        backoff: &mut Backoff,
    ) -> Result<Option<Response>, MutationError> {
        // An earlier sending has no answer: what this one is told says nothing of that one.
        let mut undecided = false;
        let (id, answered_below) = (number.id, number.answered_below);
        let asked = Asked::new(Request::Mutate { id, answered_below, mutation: mutation.clone() });
        loop {
            let answer = link.call(&asked, deadline).await;
            let answer = answer.map_err(|no| no_answer(no, undecided))?;
            undecided |= answer.sends > 1;
            let error = match answer.reply.result {
                Ok(response) => return Ok(Some(response)),
                Err(error) => error,
            };
            if error.kind == ErrorKind::Stale {
                return if undecided {
                    Err(MutationError::Unknown(error.message))
                } else {
                    Ok(None)
                };
            }
            undecided |= error.kind == ErrorKind::Unknown;
            let failure = Failure::Refused(error.clone());
            if next(Attempt::Master, &failure) != Next::Wait {
                return Err(MutationError::Refused(error));
            }
            let pause = backoff.pause_ms(error.retry_after_ms);
            let until = Instant::now() + std::time::Duration::from_millis(pause);
            if until >= deadline {
                return Err(MutationError::TimedOut { sent: undecided, last: error.message });
            }
            sleep(until - Instant::now()).await;
        }
    }

    /// Waits for a free number, and for a session if there is none.
    async fn number(
        &self,
        link: &MasterLink,
        deadline: Instant,
    ) -> Result<Number<'_>, MutationError> {
        loop {
            // From here on what changes is noticed.
            let changed = self.changed.notified();
            let begin = lock(&self.book).begin();
            match begin {
                Begin::Go(id, answered_below) => {
                    return Ok(Number { sessions: self, id, answered_below });
                }
                Begin::Open => self.open(link, deadline).await?,
                Begin::Wait => timeout_at(deadline, changed).await.map_err(|_| {
                    let last = "64 earlier changes have no answer yet".to_owned();
                    MutationError::TimedOut { sent: false, last }
                })?,
            }
        }
    }

    async fn open(&self, link: &MasterLink, deadline: Instant) -> Result<(), MutationError> {
        let (asked, mut opening) = (Asked::new(Request::OpenSession), Opening(self, None));
        let mut backoff = Backoff::new(1);
        loop {
            let answer = link.call(&asked, deadline).await;
            let answer = answer.map_err(|no| match no_answer(no, false) {
                MutationError::TimedOut { last, .. } => {
                    MutationError::TimedOut { sent: false, last }
                }
                MutationError::Unknown(last) => MutationError::TimedOut { sent: false, last },
                other => other,
            })?;
            match answer.reply.result {
                Ok(Response::Session(session)) => {
                    opening.1 = Some(session);
                    return Ok(());
                }
                Ok(other) => {
                    let message = format!("the master answered {other:?} to OpenSession");
                    return Err(MutationError::Refused(gfs_types::Error::internal(message)));
                }
                Err(error) if matches!(error.kind, ErrorKind::Busy | ErrorKind::Stale) => {
                    let pause = backoff.pause_ms(error.retry_after_ms);
                    let until = Instant::now() + std::time::Duration::from_millis(pause);
                    if until >= deadline {
                        let last = error.message;
                        return Err(MutationError::TimedOut { sent: false, last });
                    }
                    sleep(until - Instant::now()).await;
                }
                Err(error) => return Err(MutationError::Refused(error)),
            }
        }
    }

    /// The session, given up: nobody will use it again.
    pub(crate) fn take(&self) -> Option<SessionId> {
        std::mem::take(&mut *lock(&self.book)).session
    }
}

/// `undecided`: an earlier sending of the request has no answer.
fn no_answer(no: NoAnswer, undecided: bool) -> MutationError {
    match no {
        NoAnswer::TimedOut { sends, last } => {
            MutationError::TimedOut { sent: undecided || sends > 0, last }
        }
        NoAnswer::Foreign { sends, reason } if undecided || sends > 0 => {
            MutationError::Unknown(reason)
        }
        NoAnswer::Foreign { reason, .. } => {
            MutationError::Refused(gfs_types::Error::denied(reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book() -> Book {
        let mut book = Book::default();
        assert_eq!(book.begin(), Begin::Open);
        assert_eq!(book.begin(), Begin::Wait, "only one opens");
        book.opened(Some(SessionId(7)));
        book
    }

    fn go(book: &mut Book) -> (RequestId, u64) {
        match book.begin() {
            Begin::Go(id, below) => (id, below.0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_count_up_and_say_what_was_answered() {
        let mut book = book();
        let (first, below) = go(&mut book);
        assert_eq!((first.seq.0, below), (1, 1));
        let (second, below) = go(&mut book);
        assert_eq!((second.seq.0, below), (2, 1));
        book.end(first);
        assert_eq!(go(&mut book).1, 2);
        book.end(second);
        assert_eq!(go(&mut book).1, 3);
    }

    #[test]
    fn the_window_is_64_numbers_however_few_are_open() {
        let mut book = book();
        let (first, _) = go(&mut book);
        for _ in 1..SESSION_RESULTS_MAX {
            let (id, _) = go(&mut book);
            book.end(id);
        }
        assert_eq!(book.begin(), Begin::Wait);
        book.end(first);
        assert_eq!(go(&mut book).1, 65);
    }

    #[test]
    fn a_forgotten_session_is_opened_anew_and_only_once() {
        let mut book = book();
        let (old, _) = go(&mut book);
        book.forgotten(old.session);
        assert_eq!(book.begin(), Begin::Open);
        book.opened(Some(SessionId(8)));
        book.forgotten(old.session);
        book.end(old);
        assert_eq!(go(&mut book).0, RequestId { session: SessionId(8), seq: RequestSeq(1) });
    }

    #[test]
    fn a_failed_opening_lets_the_next_try() {
        let mut book = Book::default();
        assert_eq!(book.begin(), Begin::Open);
        book.opened(None);
        assert_eq!(book.begin(), Begin::Open);
    }

    #[test]
    fn a_time_out_before_anything_was_sent_is_known_to_have_done_nothing() {
        let timed_out = |sends| NoAnswer::TimedOut { sends, last: String::new() };
        let sent = |error| matches!(error, MutationError::TimedOut { sent: true, .. });
        assert!(!sent(no_answer(timed_out(0), false)));
        assert!(sent(no_answer(timed_out(1), false)));
        assert!(sent(no_answer(timed_out(0), true)));
    }
}
