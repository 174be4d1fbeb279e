//! A driver without cores, for tests of what stands around it: it reads out what is asked for, and puts pieces in place when
//! the test says so.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use gfs_chunkserver_core::{Copied, Input};
use gfs_types::Error;
use gfs_types::message::data::DataResponse;

use super::handle::Work;
use super::lane::Lane;
use super::{DriverHandle, Inboxes, Payload, ReplyTo, Request, channels, requests};
use crate::store::Store;

/// What the test hears of.
pub(crate) enum Heard {
    Piece(Piece),
    Copied(Result<Copied, Error>),
}

/// A piece that came, and the way back.
pub(crate) struct Piece {
    pub offset: u64,
    pub data: Payload,
    handle: gfs_types::ids::ChunkHandle,
    store: Arc<Store>,
    reply: ReplyTo,
}

impl Piece {
    /// Puts the bytes in place and says so.
    pub(crate) fn take(self) {
        let result = self.store.repair(self.handle, self.offset, &self.data);
        let answer = requests::plain(result.map(|()| DataResponse::Done).map_err(Into::into));
        drop((self.reply)(answer));
    }
}

/// A driver that lives until its handle is dropped.
pub(crate) fn start(store: Arc<Store>) -> (DriverHandle, Receiver<Heard>) {
    let (handle, Inboxes(mut inboxes)) = channels(1);
    let inbox = inboxes.remove(0);
    let (tell, heard) = channel();
    std::thread::spawn(move || {
        while let Some(work) = next(&inbox) {
            let told = match work {
                Work::Request { target, request: Request::ReadOut { what, .. }, reply } => {
                    if let Some(outlet) = reply(requests::read_out(&store, target.handle, what).0) {
                        outlet.flush();
                    }
                    continue;
                }
                Work::Request { target, request: Request::Piece { offset, data, .. }, reply } => {
                    let (handle, store) = (target.handle, store.clone());
                    Heard::Piece(Piece { offset, data, handle, store, reply })
                }
                Work::Input { input: Input::Copied { result, .. }, .. } => Heard::Copied(result),
                _ => continue,
            };
            // The test may have heard enough.
            let _ = tell.send(told);
        }
    });
    (handle, heard)
}

/// Waits for work; `None` when nobody is left who could bring any.
fn next(inbox: &Arc<Lane>) -> Option<Work> {
    loop {
        match inbox.take() {
            Some(work) => return Some(work),
            None if Arc::strong_count(inbox) == 1 => return None,
            None => inbox.rest(std::time::Duration::from_millis(100)),
        }
    }
}
