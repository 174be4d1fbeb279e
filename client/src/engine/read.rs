//! Reading: drives [`crate::op::read`].

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use gfs_types::ids::FileId;
use gfs_types::message::client::Request;
use gfs_types::message::data::{DataRequest, DataResponse};
use gfs_types::region::ChunkPart;
use tokio::time::Instant;

use super::master::NoGood;
use super::{Engine, attempt_until, odd_answer};
use crate::data_link::Answer as DataAnswer;
use crate::error::{Error, Result};
use crate::master_link::Asked;
use crate::op::End;
use crate::op::read::{Answer, Corruption, Event, Question, Session, Step};
use crate::retry::Failure;

/// A replica that is silent for this long is left for another.
const ATTEMPT: Duration = Duration::from_secs(3);
/// Zeros of holes are handed out from here as far as it goes.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

impl Engine {
    /// One part of a chunk, all of it below the length of the file; at most one frame.
    pub(crate) async fn read_part(
        &self,
        file: FileId,
        part: ChunkPart,
        doing: &str,
    ) -> Result<Bytes> {
        let deadline = self.deadline();
        let near = self.options.topology.clone();
        let mut session = Session::new(part.offset, part.length, near, self.seed());
        while Instant::now() < deadline {
            let event = match session.step().clone() {
                Step::Locate { fresh } => {
                    match self.locate(file, part.index, fresh, deadline).await {
                        Ok(chunk) => Event::Located(Ok(chunk)),
                        Err(NoGood::Refused(error)) => Event::Located(Err(error)),
                        Err(no) => return Err(self.no_good(doing, no)),
                    }
                }
                Step::Ask(question) => Event::Answered(self.ask_replica(question, deadline).await),
                Step::Length => {
                    match self.chunk_length(file, part.index, None, deadline, doing).await {
                        Ok(length) => Event::Length(Ok(length)),
                        Err(error) => return Err(error),
                    }
                }
                Step::Pause(ms) => {
                    self.pause(ms, deadline).await;
                    Event::Rested
                }
                Step::Done(parts, zeros) => return Ok(join(parts, zeros)),
                Step::End(end) => return Err(ended(doing, end)),
            };
            session.on(event);
            if let Some(corruption) = session.take_corruption() {
                let bad = corruption.chunkserver;
                self.remembered(|cache, _| cache.found_corrupt(file, part.index, bad));
                self.report(corruption);
            }
        }
        Err(self.timed_out(doing, session.last(), false))
    }

    async fn ask_replica(
        &self,
        question: Question,
        deadline: Instant,
    ) -> std::result::Result<Answer, Failure> {
        let Question { chunk, replica, offset, length, seen_length, verify } = question;
        let request = if verify {
            DataRequest::Verify { offset, length }
        } else {
            DataRequest::Read { offset, length, seen_length }
        };
        let until = attempt_until(deadline, ATTEMPT);
        let of = (chunk.handle, chunk.version);
        let answer = self.ask_plain(&replica, of, request, until).await?;
        trim(answer, offset, length)
    }

    /// Tells the master in the background: the reader has another replica to go to.
    fn report(&self, corruption: Corruption) {
        let Corruption { handle, version, chunkserver, evidence } = corruption;
        tracing::warn!(chunk = %handle, %version, %chunkserver, evidence, "a replica is corrupt");
        let request = Request::ReportCorrupt { handle, version, chunkserver, evidence };
        let (master, deadline) = (self.master.clone(), self.deadline());
        tokio::spawn(async move { master.call(&Asked::new(request), deadline).await.map(drop) });
    }
}

/// A server answers from a block border on; the caller wants its own range. Verified before.
pub(crate) fn trim(
    answer: DataAnswer,
    offset: u64,
    length: u64,
) -> std::result::Result<Answer, Failure> {
    let DataResponse::Bytes { offset: begins, committed_length, .. } = answer.response else {
        return Err(odd_answer(&answer.response));
    };
    let Some(before) = offset.checked_sub(begins) else {
        return Err(odd_answer(&answer.response));
    };
    let all = answer.payload.len();
    let from = usize::try_from(before).unwrap_or(usize::MAX).min(all);
    let to = usize::try_from(before.saturating_add(length)).unwrap_or(usize::MAX).min(all);
    Ok(Answer { bytes: answer.payload.slice(from..to), committed_length })
}

pub(crate) fn ended(doing: &str, end: End) -> Error {
    let doing = doing.to_owned();
    match end {
        End::Refused(error) => Error::Refused { doing, error },
        End::Unknown(last) => Error::Unknown { doing, last },
    }
}

/// One byte string, without a copy where there is but one part.
fn join(mut parts: Vec<Bytes>, zeros: u64) -> Bytes {
    let zeros = usize::try_from(zeros).unwrap_or(usize::MAX);
    if zeros == 0 && parts.len() == 1 {
        return parts.swap_remove(0);
    }
    if parts.is_empty() && zeros <= ZEROS.len() {
        return Bytes::from_static(&ZEROS[..zeros]);
    }
    let bytes = parts.iter().map(Bytes::len).sum::<usize>();
    let mut whole = BytesMut::with_capacity(bytes + zeros);
    parts.iter().for_each(|part| whole.extend_from_slice(part));
    whole.resize(bytes + zeros, 0);
    whole.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(offset: u64, payload: &'static [u8]) -> DataAnswer {
        let length = payload.len() as u64;
        let committed_length = 100;
        let response =
            DataResponse::Bytes { offset, length, committed_length, own_checksum: false };
        DataAnswer { response, payload: Bytes::from_static(payload) }
    }

    #[test]
    fn an_answer_from_the_block_border_is_cut_to_what_was_asked_for() {
        let cut = |offset, length| trim(answer(10, b"abcdef"), offset, length).unwrap().bytes;
        assert_eq!(cut(10, 6), "abcdef");
        assert_eq!(cut(12, 2), "cd");
        assert_eq!(cut(14, 9), "ef");
        assert_eq!(cut(16, 1), "");
        assert_eq!(cut(90, 1), "");
        assert!(trim(answer(10, b"abcdef"), 9, 1).is_err(), "bytes that are not there");
    }

    #[test]
    fn parts_and_zeros_are_put_together() {
        assert_eq!(join(vec![Bytes::from_static(b"ab")], 0), "ab");
        assert_eq!(join(vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")], 2), "abc\0\0");
        assert_eq!(join(vec![], 70_000), vec![0; 70_000]);
        assert_eq!(join(vec![], 0), "");
    }
}
