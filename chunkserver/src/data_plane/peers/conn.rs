//! One connection of a primary to a member: requests out, each with its number, and answers in.

use std::collections::BTreeMap;
use std::io::{BufReader, IoSlice, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use gfs_protocol::frame::blocking::read_head;
use gfs_protocol::frame::{Head, Header, encode_request};
use gfs_types::Error;
use gfs_types::ids::DataId;
use gfs_types::message::data::{DataRequest, DataSource, Order, OrderKind, Target};

use super::lock;
use crate::data_plane::socket::{timed_out, write_now};
use crate::driver::{DriverHandle, PeerBody, PeerMessage, PeerTicket};
use crate::store::{Part, Payload};

/// Whoever takes an answer may carry out what follows from it.
const STACK_BYTES: usize = 256 << 10;

/// Requests on the way, by their id; `None` for what nobody waits for. No map: the connection is over.
type Pending = Mutex<Option<BTreeMap<u64, Option<PeerTicket>>>>;

/// A connection to one run of one server.
pub(super) struct Conn {
    socket: Arc<TcpStream>,
    pending: Arc<Pending>,
    next: u64,
}

impl Conn {
    /// A connection that was introduced; a thread takes the answers.
    pub(super) fn open(socket: TcpStream, driver: &DriverHandle) -> std::io::Result<Self> {
        let socket = Arc::new(socket);
        let pending: Arc<Pending> = Arc::new(Mutex::new(Some(BTreeMap::new())));
        let conn = Self { socket, pending, next: 0 };
        let reader = (conn.socket.clone(), conn.pending.clone(), driver.clone());
        let thread =
            thread::Builder::new().name("data-peer-answers".into()).stack_size(STACK_BYTES);
        thread.spawn(move || listen(&reader.0, &reader.1, &reader.2))?;
        Ok(conn)
    }

    /// Sends what the socket takes at once, and leaves the rest.
    pub(super) fn write_now(&self, bytes: &mut Vec<u8>, driver: &DriverHandle) {
        match write_now(&self.socket, &[IoSlice::new(bytes)]) {
            Ok(written) => drop(bytes.drain(..written)),
            Err(_) => {
                self.end(driver);
                bytes.clear();
            }
        }
    }

    pub(super) fn is_over(&self) -> bool {
        lock(&self.pending).is_none()
    }

    fn id(&mut self, ticket: Option<PeerTicket>) -> Result<u64, Error> {
        self.next += 1;
        let mut pending = lock(&self.pending);
        let open = pending.as_mut().ok_or_else(|| Error::unknown("the connection ended"))?;
        open.insert(self.next, ticket);
        Ok(self.next)
    }

    /// Appends the frames of a message.
    pub(super) fn encode(
        &mut self,
        ticket: PeerTicket,
        message: PeerMessage,
        bytes: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let PeerMessage { target, body } = message;
        let (request, part) = match body {
            PeerBody::Committed { serial, length } => {
                (DataRequest::Committed { serial, length }, None)
            }
            PeerBody::Equalise(equalise) => (DataRequest::Equalise(equalise), None),
            PeerBody::Order { order, data } => {
                let part = match (source(&order), data) {
                    (Some((DataSource::Pushed(name), _)), Some(data)) => {
                        self.push_parts(&target, name, &data, bytes)?;
                        None
                    }
                    (Some((DataSource::Inline, offset)), Some(data)) => {
                        Some(data.in_one_part(offset)?)
                    }
                    _ => None,
                };
                (DataRequest::Order(order), part)
            }
        };
        let id = self.id(Some(ticket))?;
        let framed = frame(id, &target, &request, part.as_ref(), bytes);
        if framed.is_err()
            && let Some(open) = lock(&self.pending).as_mut()
        {
            open.remove(&id);
        }
        framed
    }

    /// Data that a member misses and that does not fit its order's frame goes ahead under its own names.
    fn push_parts(
        &mut self,
        target: &Target,
        name: DataId,
        data: &Payload,
        bytes: &mut Vec<u8>,
    ) -> Result<(), Error> {
        for (index, part) in data.parts().iter().enumerate() {
            let data = DataId { seq: name.seq.wrapping_add(index as u64), ..name };
            let request = DataRequest::Push { data, chain: Vec::new(), offset: part.offset() };
            let id = self.id(None)?;
            frame(id, target, &request, Some(part), bytes)?;
        }
        Ok(())
    }

    pub(super) fn write(&self, bytes: &mut Vec<u8>, driver: &DriverHandle) {
        if (&*self.socket).write_all(bytes).is_err() {
            self.end(driver);
        }
        bytes.clear();
    }

    pub(super) fn end(&self, driver: &DriverHandle) {
        end(&self.socket, &self.pending, driver);
    }
}

fn source(order: &Order) -> Option<(DataSource, u64)> {
    match order.kind {
        OrderKind::Write { offset, source, .. } => Some((source, offset)),
        OrderKind::Pad | OrderKind::Sync | OrderKind::End => None,
    }
}

fn frame(
    id: u64,
    target: &Target,
    request: &DataRequest,
    part: Option<&Part>,
    bytes: &mut Vec<u8>,
) -> Result<(), Error> {
    let (length, sums) = part.map_or((0, &[][..]), |part| (part.length(), part.checksums()));
    let length =
        u32::try_from(length).map_err(|_| Error::internal("a part longer than a frame"))?;
    bytes.extend(encode_request(id, target, request, length, sums)?);
    bytes.extend_from_slice(part.map_or(&[][..], |part| part.bytes()));
    Ok(())
}

/// Takes answers until the connection ends.
fn listen(socket: &TcpStream, pending: &Pending, driver: &DriverHandle) {
    let mut reader = BufReader::new(socket);
    loop {
        match std::io::BufRead::fill_buf(&mut reader) {
            Err(error) if timed_out(&error) && !lock(pending).is_none() => continue,
            Err(_) => break,
            Ok(_) => {}
        }
        let Ok(Some((_, Head::Reply(answer)))) = read_head(&mut reader) else { break };
        let ticket = lock(pending).as_mut().and_then(|open| open.remove(&answer.id)).flatten();
        if let Some(ticket) = ticket {
            driver.peer_answered(ticket, answer.reply.result);
        }
        // Answers that came together are carried out together.
        if reader.buffer().len() < Header::BYTES {
            driver.help();
        }
    }
    driver.help();
    end(socket, pending, driver);
}

/// Nobody knows what became of what is still on the way.
fn end(socket: &TcpStream, pending: &Pending, driver: &DriverHandle) {
    // It may be closed already.
    let _ = socket.shutdown(Shutdown::Both);
    let open = lock(pending).take().unwrap_or_default();
    for ticket in open.into_values().flatten() {
        driver.peer_answered(ticket, Err(Error::unknown("the connection to the member was lost")));
    }
}
