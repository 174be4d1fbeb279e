//! One connection: what is asked on it, and where that goes.

use std::io::{self, BufRead, BufReader};
use std::net::TcpStream;
use std::sync::Arc;

use bytes::Bytes;
use gfs_chunkserver_core::Peer;
use gfs_protocol::frame::blocking::{ReadError, read_head};
use gfs_protocol::frame::{FrameError, Head, Header, Op, RequestHead, offset_of, op_of};
use gfs_types::Error;
use gfs_types::ids::DataId;
use gfs_types::limits::INLINE_BYTES_MAX;
use gfs_types::message::data::{DataRequest, DataResponse, Hello, Hop};
use tracing::{debug, warn};

use super::accept::Shared;
use super::forward::Downstream;
use super::guests::{Asked, Visit};
use super::intake::Intake;
use super::read;
use super::receive::{BadBlock, receive, skip};
use super::replies::Replies;
use super::socket::{Paced, timed_out};
use crate::driver::ReplyTo;
use crate::store::{Part, Payload};

/// Bytes read ahead: heads and small payloads take one system call. Larger payloads go past it.
const READ_AHEAD_BYTES: usize = 16 << 10;

struct Connection<'a> {
    shared: &'a Shared,
    peer: Hello,
    visit: Visit,
    reader: BufReader<Paced<'a>>,
    replies: Arc<Replies>,
    downstream: Downstream,
    /// Something was put in for the driver, and nobody was told to do it.
    brought: bool,
}

/// Serves a connection until its end.
pub(super) fn serve(shared: &Shared, socket: &Arc<TcpStream>, peer: Hello, visit: Visit) {
    let stall = shared.bounds.stall;
    let replies = Replies::new(socket.clone(), stall);
    let mut connection = Connection {
        shared,
        peer,
        visit,
        reader: BufReader::with_capacity(READ_AHEAD_BYTES, Paced::new(socket, stall)),
        replies: replies.clone(),
        downstream: Downstream::default(),
        brought: false,
    };
    match connection.run() {
        Ok(()) => {}
        Err(ReadError::Io(error)) => debug!(peer = %connection.peer.me, %error, "connection lost"),
        Err(ReadError::Frame(error)) => {
            warn!(peer = %connection.peer.me, %error, "connection closed")
        }
    }
    connection.carry_on();
    replies.close();
}

impl Connection<'_> {
    fn run(&mut self) -> Result<(), ReadError> {
        while self.wait()? {
            let Some((_, head)) = read_head(&mut self.reader)? else { break };
            let Head::Request(head) = head else {
                let reason = "only requests are taken here".to_owned();
                return Err(FrameError::Extra { op: Op::Hello, reason }.into());
            };
            self.handle(head)?;
        }
        Ok(())
    }

    /// Waits for a frame, however long; false at the end.
    fn wait(&mut self) -> io::Result<bool> {
        if self.reader.buffer().len() < Header::BYTES {
            self.carry_on();
        }
        loop {
            self.reader.get_mut().begin();
            match self.reader.fill_buf() {
                Ok(bytes) => return Ok(!bytes.is_empty()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if timed_out(&error) && !self.shared.is_ending() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Has carried out what came so far: nothing may wait in the driver while this thread waits.
    fn carry_on(&mut self) {
        if std::mem::take(&mut self.brought) {
            self.shared.driver.help();
        }
    }

    fn handle(&mut self, mut head: RequestHead) -> io::Result<()> {
        let is_here = self.reader.buffer().len() as u64 >= u64::from(head.payload_bytes);
        if !is_here || self.replies.is_full() || !may_be_gathered(&head.request) {
            self.carry_on();
        }
        match std::mem::replace(&mut head.request, DataRequest::Sync) {
            DataRequest::Push { data, chain, offset } => self.push(&head, data, &chain, offset),
            DataRequest::Read { offset, length, seen_length } => {
                skip(&mut self.reader, head.payload_bytes.into())?;
                read::serve(self.shared, &self.replies, &head, offset, length, seen_length)
            }
            request => {
                head.request = request;
                self.submit(&head)
            }
        }
    }

    /// Keeps pushed data and passes it on, piece by piece.
    fn push(
        &mut self,
        head: &RequestHead,
        data: DataId,
        chain: &[Hop],
        offset: u64,
    ) -> io::Result<()> {
        self.replies.owe()?;
        let length = usize::try_from(head.payload_bytes).map_err(io::Error::other)?;
        let pushes = &self.shared.pushes;
        if let Err(busy) = pushes.announce(data, length) {
            self.replies.put_plain(head.id, Op::Push, Err(busy));
            return skip(&mut self.reader, head.payload_bytes.into());
        }
        let Self { shared, reader, replies, downstream, .. } = self;
        downstream.begin(shared, replies, head, (data, chain, offset));
        let mut buffer = pushes.pool.get(length);
        let came = receive(reader, buffer.as_mut(), offset, &head.checksums, |piece| {
            downstream.write(piece);
        });
        match came {
            Ok(Ok(())) => {
                match Part::new(Bytes::from_owner(buffer), offset, head.checksums.clone()) {
                    Ok(part) => pushes.arrived(data, part),
                    Err(error) => {
                        pushes.failed(data);
                        self.replies.put_plain(head.id, Op::Push, Err(error));
                        return Ok(());
                    }
                }
                if !self.downstream.arrived(head.id) {
                    self.replies.put_plain(head.id, Op::Push, Ok(DataResponse::Done));
                }
                Ok(())
            }
            Ok(Err(bad)) => {
                pushes.failed(data);
                self.downstream.abort(head.id);
                self.replies.put_plain(head.id, Op::Push, Err(self.blame(bad)));
                Ok(())
            }
            Err(error) => {
                pushes.failed(data);
                self.downstream.abort(head.id);
                Err(error)
            }
        }
    }

    fn intake(&self) -> Intake<'_> {
        let from = Peer { chunkserver: self.peer.me, session: self.peer.session };
        Intake { pushes: &self.shared.pushes, me: self.shared.identity.me, from }
    }

    /// Hands everything else to the driver.
    fn submit(&mut self, head: &RequestHead) -> io::Result<()> {
        let op = op_of(&head.request);
        match head.request {
            DataRequest::Verify { .. } | DataRequest::Copy { .. } => self.replies.owe_alone()?,
            _ => self.replies.owe()?,
        }
        let asked = match self.admit(head) {
            Ok(asked) => asked,
            Err(error) => {
                self.replies.put_plain(head.id, op, Err(error));
                return skip(&mut self.reader, head.payload_bytes.into());
            }
        };
        let inline = match self.inline(head)? {
            Ok(inline) => inline,
            Err(error) => {
                self.replies.put_plain(head.id, op, Err(error));
                return Ok(());
            }
        };
        match self.intake().request(&head.request, inline) {
            Ok((request, used)) => {
                let reply = self.reply_to(head.id, op, used, asked);
                self.shared.driver.put(head.target, request, reply);
                self.brought = true;
            }
            Err(error) => self.replies.put_plain(head.id, op, Err(error)),
        }
        Ok(())
    }

    /// Whether there is room for a request of this peer, before its bytes are taken.
    fn admit(&self, head: &RequestHead) -> Result<Asked, Error> {
        let bytes = head.payload_bytes;
        let is_order = matches!(head.request, DataRequest::Order(_));
        if !is_order && u64::from(bytes) > INLINE_BYTES_MAX {
            return Err(Error::invalid(format!(
                "{bytes} bytes inside a request: more than {INLINE_BYTES_MAX} are pushed ahead"
            )));
        }
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.visit.ask(bytes, self.shared.driver.waiting(head.target.handle))
    }

    /// The payload of the frame, verified.
    fn inline(&mut self, head: &RequestHead) -> io::Result<Result<Option<Payload>, Error>> {
        if head.payload_bytes == 0 {
            return Ok(Ok(None));
        }
        let length = usize::try_from(head.payload_bytes).map_err(io::Error::other)?;
        let mut buffer = self.shared.pushes.pool.get(length);
        let offset = offset_of(&head.request);
        match receive(&mut self.reader, buffer.as_mut(), offset, &head.checksums, |_| ())? {
            Ok(()) => {
                let part = Part::new(Bytes::from_owner(buffer), offset, head.checksums.clone());
                Ok(part.map(|part| Some(part.into())))
            }
            Err(bad) => Ok(Err(self.blame(bad))),
        }
    }

    /// Answers over this connection, and lets go of pushed data that has had its effect.
    fn reply_to(&self, id: u64, op: Op, used: Option<(DataId, u64)>, asked: Asked) -> ReplyTo {
        let replies = self.replies.clone();
        let pushes = self.shared.pushes.clone();
        Box::new(move |answer| {
            drop(asked);
            if let (Ok(_), Some((data, length))) = (&answer.reply.result, used) {
                pushes.used(data, length);
            }
            replies.put(id, op, &answer);
            Some(replies)
        })
    }

    /// The bytes left the last hop unlike the sender computed them: between the two, or in the sender, they changed.
    fn blame(&self, bad: BadBlock) -> Error {
        let BadBlock { block, expected, found } = bad;
        let (me, peer) = (self.shared.identity.me, self.peer.me);
        warn!(%peer, block, "bytes came that do not match their checksum");
        Error::corrupt(format!(
            "chunkserver {me} got bytes from {peer} that do not match their checksum: block {block} of the frame has \
             {found:08x}, {expected:08x} was sent with it"
        ))
    }
}

/// Whether several that came together are carried out together.
fn may_be_gathered(request: &DataRequest) -> bool {
    matches!(
        request,
        DataRequest::Write { .. }
            | DataRequest::Append { .. }
            | DataRequest::Order(_)
            | DataRequest::Committed { .. }
    )
}
