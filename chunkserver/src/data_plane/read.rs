//! Plain reads: from the published view, past the driver.

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use gfs_protocol::checksum::crc32c;
use gfs_protocol::frame::{Op, RequestHead, encode_reply};
use gfs_types::Error;
use gfs_types::limits::{BLOCK_BYTES, FRAME_BYTES_MAX};
use gfs_types::message::data::{DataReply, DataResponse, Target};
use rustix::net::SendFlags;

use super::accept::Shared;
use super::replies::Replies;
use super::socket::write_all;
use crate::driver::DriverHandle;
use crate::store::{ReadPlan, Store, is_lost};

/// What a read gives.
enum Found {
    /// Whole blocks with their stored checksums: the reader verifies.
    Blocks(ReadPlan),
    /// Verified bytes, with a checksum of their own.
    Bytes(Vec<u8>),
}

/// A good answer to a read.
pub(super) struct Reading {
    pub(super) response: DataResponse,
    pub(super) checksums: Vec<u32>,
    found: Found,
    begins: u64,
    bytes: u64,
}

impl Reading {
    /// Its bytes, for whoever cannot send them from the file.
    pub(super) fn into_bytes(self) -> io::Result<Vec<u8>> {
        match self.found {
            Found::Blocks(plan) => plan.read(),
            Found::Bytes(bytes) => Ok(bytes),
        }
    }
}

/// Answers a read.
pub(super) fn serve(
    shared: &Shared,
    replies: &Replies,
    head: &RequestHead,
    offset: u64,
    length: u64,
    seen_length: u64,
) -> io::Result<()> {
    let (driver, store) = (&shared.driver, &shared.store);
    let reading = match look(driver, store, &head.target, offset, length, seen_length) {
        Ok(reading) => reading,
        Err(error) => return replies.write_plain(head.id, Op::Read, error),
    };
    let Reading { response, checksums, found, begins, bytes } = reading;
    let reply = DataReply { result: Ok(response) };
    let payload = u32::try_from(bytes).map_err(io::Error::other)?;
    let reply = encode_reply(head.id, Op::Read, &reply, payload, &checksums);
    let reply = reply.map_err(io::Error::other)?;
    shared.metrics.read(bytes);
    let sent = replies.write(|socket| send(socket, &reply, &found, shared.bounds.stall));
    if sent.as_ref().is_err_and(is_lost) {
        shared.driver.doubt(head.target, begins..begins + bytes);
    }
    sent
}

/// What a read gives, ready to be sent.
pub(super) fn look(
    driver: &DriverHandle,
    store: &Store,
    target: &Target,
    offset: u64,
    length: u64,
    seen_length: u64,
) -> Result<Reading, Error> {
    let (found, committed_length) = find(driver, store, target, offset, length, seen_length)?;
    let (begins, bytes, checksums) = match &found {
        Found::Blocks(plan) => (plan.offset, plan.length, plan.checksums.clone()),
        Found::Bytes(bytes) if bytes.is_empty() => (offset, 0, Vec::new()),
        Found::Bytes(bytes) => (offset, bytes.len() as u64, vec![crc32c(bytes)]),
    };
    let own_checksum = matches!(found, Found::Bytes(_));
    let response =
        DataResponse::Bytes { offset: begins, length: bytes, committed_length, own_checksum };
    Ok(Reading { response, checksums, found, begins, bytes })
}

/// The bytes that may be shown, and the committed length.
fn find(
    driver: &DriverHandle,
    store: &Store,
    target: &Target,
    offset: u64,
    length: u64,
    seen_length: u64,
) -> Result<(Found, u64), Error> {
    let handle = target.handle;
    let end = offset.checked_add(length);
    let Some(end) = end.filter(|_| (1..=FRAME_BYTES_MAX).contains(&length)) else {
        let text = format!("chunk {handle}: 1 to {FRAME_BYTES_MAX} bytes can be read at once");
        return Err(Error::invalid(text));
    };
    let Some(view) = driver.view(handle) else {
        return Err(Error::not_found(format!("chunk {handle}: this server has no replica of it")));
    };
    let shown = view.admit(handle, target, offset..end, seen_length)?;
    let committed = view.committed_length;
    if shown.is_empty() {
        return Ok((Found::Bytes(Vec::new()), committed));
    }
    let found = if length < BLOCK_BYTES {
        store.read_verified(handle, shown.clone(), committed).map(Found::Bytes)
    } else {
        // Rounded out to whole blocks it must still fit a frame: the reader asks again for the rest.
        let first = shown.start / BLOCK_BYTES * BLOCK_BYTES;
        let range = shown.start..shown.end.min(first + FRAME_BYTES_MAX);
        store.read_plan(handle, range, committed).map(Found::Blocks)
    };
    let found = found.inspect_err(|error| {
        if error.is_lost_bytes() {
            driver.doubt(*target, shown.clone());
        }
    })?;
    // An overwrite is hidden before it changes anything. One that began since the first look may have given the bytes
    // or checksums found here, and nobody knows yet whether it will be committed (mut-4).
    let now = driver.view(handle).unwrap_or_default();
    now.admit(handle, target, shown, 0)?;
    Ok((found, committed))
}

fn send(socket: &TcpStream, head: &[u8], found: &Found, stall: Duration) -> io::Result<()> {
    match found {
        Found::Bytes(bytes) => write_all(socket, &[head, bytes].concat(), stall),
        Found::Blocks(plan) if plan.file.as_fd().is_none() => {
            write_all(socket, &[head, &plan.read()?].concat(), stall)
        }
        Found::Blocks(plan) => {
            // The head waits in the kernel for the bytes behind it.
            let sent = rustix::net::send(socket, head, SendFlags::MORE | SendFlags::NOSIGNAL)?;
            write_all(socket, &head[sent..], stall)?;
            send_file(socket, plan, stall)
        }
    }
}

fn send_file(socket: &TcpStream, plan: &ReadPlan, stall: Duration) -> io::Result<()> {
    let Some(file) = plan.file.as_fd() else { return Err(io::ErrorKind::Unsupported.into()) };
    let mut offset = plan.file_offset;
    let end = plan.file_offset + plan.length;
    let began = Instant::now();
    while offset < end {
        if began.elapsed() > stall {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let left = usize::try_from(end - offset).map_err(io::Error::other)?;
        match rustix::fs::sendfile(socket, file, Some(&mut offset), left) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
