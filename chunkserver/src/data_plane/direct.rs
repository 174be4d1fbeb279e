//! The data plane without sockets, for a simulation: what is handed in here is what a connection would have brought.

use std::sync::Arc;

use bytes::Bytes;
use gfs_chunkserver_core::Peer;
use gfs_types::Error;
use gfs_types::message::data::{
    DataReply, DataRequest, DataResponse, DataSource, OrderKind, Target,
};

use super::intake::Intake;
use super::pushes::Pushes;
use super::{Identity, Parts, read};
use crate::driver::{Answer, DriverHandle, PeerBody, PeerMessage};
use crate::store::{Part, Payload, Store};

/// Told what came of a request, once.
pub type Told = Box<dyn FnOnce(Answer) + Send>;

/// What of a data plane is no connection.
pub struct Direct {
    identity: Identity,
    store: Arc<Store>,
    driver: DriverHandle,
    pushes: Arc<Pushes>,
}

/// A request with its bytes, which match their checksums.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Chunk, version, epoch, time left.
    pub target: Target,
    /// What is asked.
    pub request: DataRequest,
    /// Its bytes.
    pub payload: Bytes,
    /// Of each block that they touch.
    pub checksums: Vec<u32>,
}

impl Ask {
    /// A message to a member, as a connection would bring it.
    ///
    /// # Errors
    /// Its bytes do not match their checksums, or do not fit a frame.
    pub fn from_primary(message: PeerMessage) -> Result<Self, Error> {
        let PeerMessage { target, body } = message;
        let plain =
            |request| Self { target, request, payload: Bytes::new(), checksums: Vec::new() };
        match body {
            PeerBody::Committed { serial, length } => {
                Ok(plain(DataRequest::Committed { serial, length }))
            }
            PeerBody::Equalise(equalise) => Ok(plain(DataRequest::Equalise(equalise))),
            PeerBody::Order { order, data } => {
                let inline = match order.kind {
                    OrderKind::Write { offset, source: DataSource::Inline, .. } => Some(offset),
                    OrderKind::Write { .. } if data.is_some() => {
                        return Err(Error::internal(
                            "longer than a frame: not done without sockets",
                        ));
                    }
                    _ => None,
                };
                let mut ask = plain(DataRequest::Order(order));
                if let (Some(offset), Some(data)) = (inline, data) {
                    let part = data.in_one_part(offset)?;
                    ask.payload = part.bytes().clone();
                    ask.checksums = part.checksums().to_vec();
                }
                Ok(ask)
            }
        }
    }
}

impl Direct {
    /// Over a driver.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { identity, bounds, store, driver, clock, metrics } = parts;
        let pushes = Arc::new(Pushes::new(bounds.pushed_bytes_max, clock, metrics));
        Self { identity, store, driver, pushes }
    }

    /// Does what is asked, or hands it to the driver. A push is kept; its chain is the business of whoever calls.
    pub fn ask(&self, from: Peer, ask: Ask, told: Told) {
        let Ask { target, request, payload, checksums } = ask;
        match request {
            DataRequest::Push { data, offset, .. } => {
                let kept = self.pushes.announce(data, payload.len());
                let kept = kept.and_then(|()| Part::new(payload, offset, checksums));
                told(plain(kept.map(|part| {
                    self.pushes.arrived(data, part);
                    DataResponse::Done
                })));
            }
            DataRequest::Read { offset, length, seen_length } => {
                told(self.read(&target, offset, length, seen_length));
            }
            request => self.submit(from, target, &request, (payload, checksums), told),
        }
        self.driver.help();
    }

    fn read(&self, target: &Target, offset: u64, length: u64, seen_length: u64) -> Answer {
        let reading = read::look(&self.driver, &self.store, target, offset, length, seen_length);
        let reading = match reading {
            Ok(reading) => reading,
            Err(error) => return plain(Err(error)),
        };
        let (response, checksums) = (reading.response.clone(), reading.checksums.clone());
        match reading.into_bytes() {
            Ok(bytes) => {
                let reply = DataReply { result: Ok(response) };
                Answer { reply, payload: bytes.into(), checksums }
            }
            Err(error) => plain(Err(Error::unknown(error.to_string()))),
        }
    }

    fn submit(
        &self,
        from: Peer,
        target: Target,
        request: &DataRequest,
        (payload, checksums): (Bytes, Vec<u32>),
        told: Told,
    ) {
        let inline = match payload.is_empty() {
            true => Ok(None),
            false => Part::new(payload, gfs_protocol::frame::offset_of(request), checksums)
                .map(|part| Some(Payload::from(part))),
        };
        let intake = Intake { pushes: &self.pushes, me: self.identity.me, from };
        match inline.and_then(|inline| intake.request(request, inline)) {
            Ok((request, used)) => {
                let pushes = self.pushes.clone();
                let reply = move |answer: Answer| {
                    if let (Ok(_), Some((data, length))) = (&answer.reply.result, used) {
                        pushes.used(data, length);
                    }
                    told(answer);
                    None
                };
                self.driver.put(target, request, Box::new(reply));
            }
            Err(error) => told(plain(Err(error))),
        }
    }
}

fn plain(result: Result<DataResponse, Error>) -> Answer {
    Answer { reply: DataReply { result }, payload: Bytes::new(), checksums: Vec::new() }
}
