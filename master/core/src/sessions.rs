//! Client sessions and the results of their mutations: a repeated request takes effect once, across a restart too.

use std::collections::BTreeMap;

use gfs_types::Error;
use gfs_types::ids::{FileId, RequestSeq, SessionId};
use gfs_types::limits::SESSION_RESULTS_MAX;
use gfs_types::message::client::{Attributes, EntryKind};

use crate::record::RequestMark;

/// What came of a mutation; with the path, which the request itself names, enough to answer it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Entry(EntryFacts),
}

/// A file or directory as it was when its mutation was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryFacts {
    pub(crate) id: FileId,
    pub(crate) kind: EntryKind,
    pub(crate) length: u64,
    pub(crate) chunks: u64,
    pub(crate) replication: u8,
    pub(crate) attributes: Attributes,
}

/// A result kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) fingerprint: u32,
    pub(crate) outcome: Outcome,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Session {
    /// Requests below this were answered to their caller; their results are forgotten.
    pub(crate) answered_below: RequestSeq,
    /// At most [`SESSION_RESULTS_MAX`], all of requests from `answered_below` on, within as many numbers.
    pub(crate) results: BTreeMap<RequestSeq, Remembered>,
}

/// What to do with a mutation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is new: do it.
    New,
    /// It was done, with this result.
    Done(Outcome),
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Sessions {
    table: BTreeMap<SessionId, Session>,
}

impl Sessions {
    pub(crate) fn contains(&self, session: SessionId) -> bool {
        self.table.contains_key(&session)
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.table.iter().map(|(id, session)| (*id, session))
    }

    pub(crate) fn open(&mut self, id: SessionId, session: Session) -> Result<(), String> {
        if self.table.insert(id, session).is_some() {
            return Err(format!("session {id} is open already"));
        }
        Ok(())
    }

    pub(crate) fn close(&mut self, id: SessionId) -> Result<(), String> {
        self.table.remove(&id).map(drop).ok_or_else(|| format!("session {id} is not open"))
    }

    /// Whether a request is new.
    ///
    /// # Errors
    /// `Stale` for a session that is not open, `Invalid` for a request whose result is forgotten or that is another one
    /// than its id says, `Busy` for too many in flight.
    pub(crate) fn admit(&self, mark: &RequestMark) -> Result<Admission, Error> {
        let (id, seq) = (mark.id.session, mark.id.seq);
        let Some(session) = self.table.get(&id) else {
            return Err(Error::stale(format!(
                "session {id} is not open: it was closed, or expired after it was idle; open a new one \
                 (what came of its requests without an answer is not known any more)"
            )));
        };
        let below = session.answered_below.max(mark.answered_below);
        if seq < below || seq.0 == 0 {
            return Err(Error::invalid(format!(
                "request {} of session {id} is below {}: its outcome is no longer known; give every mutation a new, \
                 higher number",
                seq.0, below.0
            )));
        }
        if let Some(known) = session.results.get(&seq) {
            if known.fingerprint != mark.fingerprint {
                return Err(Error::invalid(format!(
                    "request {} of session {id} was another mutation before: give every mutation a number of its own",
                    seq.0
                )));
            }
            return Ok(Admission::Done(known.outcome));
        }
        if seq.0 - below.0 >= SESSION_RESULTS_MAX as u64 {
            return Err(Error {
                retry_after_ms: 10,
                ..Error::busy(format!(
                    "request {} of session {id} is too far ahead of {}, the first without an answer: at most \
                     {SESSION_RESULTS_MAX} mutations of a session may be in flight",
                    seq.0, below.0
                ))
            });
        }
        Ok(Admission::New)
    }

    /// A fault, for `gfs_types::mutants`.
    pub(crate) fn forget_results(&mut self) {
        self.table.values_mut().for_each(|session| session.results.clear());
    }

    /// Keeps a result, forgets those that were answered.
    pub(crate) fn remember(&mut self, mark: &RequestMark, outcome: Outcome) -> Result<(), String> {
        match self.admit(mark) {
            Ok(Admission::New) => {}
            Ok(Admission::Done(_)) => return Err("a request is applied twice".to_owned()),
            Err(error) => return Err(error.message),
        }
        let Some(session) = self.table.get_mut(&mark.id.session) else {
            return Err("its session is not open".to_owned());
        };
        session.answered_below = session.answered_below.max(mark.answered_below);
        session.results = session.results.split_off(&session.answered_below);
        session.results.insert(mark.id.seq, Remembered { fingerprint: mark.fingerprint, outcome });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use gfs_types::ErrorKind;
    use gfs_types::ids::RequestId;

    use super::*;

    fn mark(seq: u64, answered_below: u64) -> RequestMark {
        RequestMark {
            id: RequestId { session: SessionId(7), seq: RequestSeq(seq) },
            answered_below: RequestSeq(answered_below),
            fingerprint: 1,
        }
    }

    fn open() -> Sessions {
        let mut sessions = Sessions::default();
        sessions.open(SessionId(7), Session::default()).unwrap();
        sessions
    }

    #[test]
    fn a_full_window_is_kept_whole_and_one_more_is_refused() {
        let mut sessions = open();
        for seq in (1..=64).rev() {
            sessions.remember(&mark(seq, 1), Outcome::Done).unwrap();
        }
        for seq in 1..=64 {
            assert_eq!(sessions.admit(&mark(seq, 1)), Ok(Admission::Done(Outcome::Done)));
        }
        assert_eq!(sessions.admit(&mark(65, 1)).unwrap_err().kind, ErrorKind::Busy);
        assert_eq!(sessions.admit(&mark(65, 2)), Ok(Admission::New));
        sessions.remember(&mark(65, 2), Outcome::Done).unwrap();
        assert_eq!(sessions.iter().next().unwrap().1.results.len(), SESSION_RESULTS_MAX);
        assert_eq!(sessions.admit(&mark(1, 1)).unwrap_err().kind, ErrorKind::Invalid);
        // An older message does not bring the window back.
        assert_eq!(sessions.admit(&mark(66, 1)).unwrap_err().kind, ErrorKind::Busy);
    }

    #[test]
    fn unknown_sessions_zero_and_other_requests_are_refused() {
        let mut sessions = open();
        assert_eq!(sessions.admit(&mark(0, 0)).unwrap_err().kind, ErrorKind::Invalid);
        sessions.remember(&mark(1, 1), Outcome::Done).unwrap();
        let other = RequestMark { fingerprint: 2, ..mark(1, 1) };
        assert_eq!(sessions.admit(&other).unwrap_err().kind, ErrorKind::Invalid);
        sessions.close(SessionId(7)).unwrap();
        let error = sessions.admit(&mark(1, 1)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Stale);
        assert!(error.message.contains("not open"), "{}", error.message);
    }
}
