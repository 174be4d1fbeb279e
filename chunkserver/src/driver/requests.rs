//! What the data plane asks, as inputs of a core or answered from the store.

use bytes::Bytes;
use gfs_chunkserver_core::{Input, Mutation, ReadOut, Token};
use gfs_protocol::checksum;
use gfs_types::Error;
use gfs_types::ids::ChunkHandle;
use gfs_types::limits::{BLOCK_BYTES, FRAME_BYTES_MAX};
use gfs_types::message::data::{DataReply, DataResponse, OrderKind, Target};

use super::views::Views;
use super::{Answer, Payload, Request};
use crate::store::Store;

/// An answer without payload.
pub(super) fn plain(result: Result<DataResponse, Error>) -> Answer {
    Answer { reply: DataReply { result }, payload: Bytes::new(), checksums: Vec::new() }
}

pub(super) fn refusal(error: Error) -> Answer {
    plain(Err(error))
}

/// What is done with a request.
pub(super) enum Way {
    /// Step the core; the bytes wait for it.
    Core { input: Input, data: Option<Payload> },
    /// Answered from the store, in order with the mutations.
    Verify { offset: u64, length: u64 },
    /// As `Verify`.
    Checksums,
}

/// Which way a request goes.
pub(super) fn way(token: Token, target: Target, request: Request) -> Way {
    let core = |input, data| Way::Core { input, data };
    let mutate = |mutation, data| core(Input::Mutate { token, target, mutation }, data);
    match request {
        Request::Write { offset, source, data } => {
            let length = data.length();
            mutate(Mutation::Write { offset, length, source }, Some(data))
        }
        Request::Append { source, data } => {
            mutate(Mutation::Append { length: data.length(), source }, Some(data))
        }
        Request::Sync => mutate(Mutation::Sync, None),
        Request::Order { from, order, data } => {
            // Bytes of another length than ordered are not the ones that were meant.
            let data = data.filter(|data| match order.kind {
                OrderKind::Write { length, .. } => data.length() == length,
                OrderKind::Pad | OrderKind::Sync | OrderKind::End => false,
            });
            let has_data = data.is_some();
            core(Input::Order { token, target, from, order, has_data }, data)
        }
        Request::Committed { from, serial, length } => {
            core(Input::Committed { token, target, from, serial, length }, None)
        }
        Request::Equalise { from, equalise } => {
            core(Input::Equalise { token, target, from, equalise }, None)
        }
        Request::Piece { job, offset, data } => {
            let length = data.length();
            core(Input::Piece { token, job, offset, length }, Some(data))
        }
        Request::ReadOut { from, what } => core(Input::ReadOut { token, target, from, what }, None),
        Request::Inspect => core(Input::Inspect { token, target }, None),
        Request::Verify { offset, length } => Way::Verify { offset, length },
        Request::Checksums => Way::Checksums,
    }
}

/// The bytes of a range after their blocks were verified, and whether one of them is bad.
pub(super) fn verify(
    store: &Store,
    views: &Views,
    target: &Target,
    offset: u64,
    length: u64,
) -> (Answer, bool) {
    let handle = target.handle;
    if length == 0 || length > FRAME_BYTES_MAX || offset.checked_add(length).is_none() {
        let text = format!("chunk {handle}: 1 to {FRAME_BYTES_MAX} bytes can be verified at once");
        return (refusal(Error::invalid(text)), false);
    }
    let Some(view) = views.get(handle) else {
        let text = format!("chunk {handle}: this server has no replica of it");
        return (refusal(Error::not_found(text)), false);
    };
    let range = match view.admit(handle, target, offset..offset + length, 0) {
        Ok(range) => range,
        Err(error) => return (refusal(error), false),
    };
    if range.is_empty() {
        return (bytes(range.start, Bytes::new(), view.committed_length), false);
    }
    match store.read_verified(handle, range.clone(), view.committed_length) {
        Ok(read) => (bytes(range.start, read.into(), view.committed_length), false),
        Err(error) => {
            let bad = error.is_lost_bytes();
            (refusal(error.into()), bad)
        }
    }
}

/// What a replica that is being made equal to this one wants to know, in order with the mutations; and whether this one is bad.
pub(super) fn read_out(store: &Store, handle: ChunkHandle, what: ReadOut) -> (Answer, bool) {
    let (offset, length) = match what {
        ReadOut::Checksums => return table(store, handle),
        ReadOut::Bytes { offset, length } => (offset, length),
    };
    let end = offset.checked_add(length).filter(|_| (1..=FRAME_BYTES_MAX).contains(&length));
    let Some(end) = end.filter(|_| offset.is_multiple_of(BLOCK_BYTES)) else {
        let text = format!(
            "chunk {handle}: 1 to {FRAME_BYTES_MAX} bytes can be copied at once, from a block border on"
        );
        return (refusal(Error::invalid(text)), false);
    };
    let read = store.applied_length(handle).and_then(|applied| match offset < applied {
        true => store.read_verified(handle, offset..end, applied).map(|read| (read, applied)),
        false => Ok((Vec::new(), applied)),
    });
    match read {
        Ok((read, applied)) => (bytes(offset, read.into(), applied), false),
        Err(error) => {
            let bad = error.is_lost_bytes();
            (refusal(error.into()), bad)
        }
    }
}

fn bytes(offset: u64, payload: Bytes, committed_length: u64) -> Answer {
    let length = payload.len() as u64;
    let checksums = checksum::blocks(offset, &payload);
    // One checksum for each block, as in a plain read of blocks.
    let own_checksum = false;
    let response = DataResponse::Bytes { offset, length, committed_length, own_checksum };
    Answer { reply: DataReply { result: Ok(response) }, payload, checksums }
}

/// The table of all checksums, and whether it cannot be had any more.
pub(super) fn table(store: &Store, handle: ChunkHandle) -> (Answer, bool) {
    match store.checksums(handle) {
        Ok(found) => {
            let payload: Bytes = found.table.iter().flat_map(|sum| sum.to_le_bytes()).collect();
            let checksums = checksum::blocks(0, &payload);
            let (length, digest) = (found.length, found.digest);
            let result = Ok(DataResponse::Checksums { length, digest });
            (Answer { reply: DataReply { result }, payload, checksums }, false)
        }
        Err(error) => {
            let bad = error.is_lost_bytes();
            (refusal(error.into()), bad)
        }
    }
}
