//! What a request of the data plane asks of the driver: its bytes are found, and nothing is decided.

use gfs_chunkserver_core::{Peer, ReadOut};
use gfs_types::Error;
use gfs_types::ids::{DataId, ServerUid};
use gfs_types::message::data::{DataRequest, DataSource, Order, OrderKind};

use super::pushes::Pushes;
use crate::driver::Request;
use crate::store::Payload;

/// Where the bytes are, who asks, and who is asked.
pub(super) struct Intake<'a> {
    pub(super) pushes: &'a Pushes,
    pub(super) me: ServerUid,
    pub(super) from: Peer,
}

impl Intake<'_> {
    /// The request for the driver, and the pushed data that it uses up.
    pub(super) fn request(
        &self,
        request: &DataRequest,
        inline: Option<Payload>,
    ) -> Result<(Request, Option<(DataId, u64)>), Error> {
        let used = |source, length| match source {
            DataSource::Pushed(data) => Some((data, length)),
            DataSource::Inline => None,
        };
        Ok(match *request {
            DataRequest::Write { offset, length, source } => {
                let data = self.data(source, length, inline)?;
                (Request::Write { offset, source, data }, used(source, length))
            }
            DataRequest::Append { length, source } => {
                let data = self.data(source, length, inline)?;
                (Request::Append { source, data }, used(source, length))
            }
            DataRequest::Order(order) => self.order(order, inline)?,
            DataRequest::Sync => (Request::Sync, None),
            DataRequest::Committed { serial, length } => {
                (Request::Committed { from: self.from, serial, length }, None)
            }
            DataRequest::Verify { offset, length } => (Request::Verify { offset, length }, None),
            DataRequest::Inspect => (Request::Inspect, None),
            DataRequest::Checksums => (Request::Checksums, None),
            DataRequest::Equalise(ref equalise) => {
                let equalise = equalise.clone();
                (Request::Equalise { from: self.from, equalise }, None)
            }
            DataRequest::Compare => {
                (Request::ReadOut { from: self.from, what: ReadOut::Checksums }, None)
            }
            DataRequest::Copy { offset, length } => {
                let what = ReadOut::Bytes { offset, length };
                (Request::ReadOut { from: self.from, what }, None)
            }
            DataRequest::Push { .. } | DataRequest::Read { .. } => {
                return Err(Error::internal("a push or read is not for the driver"));
            }
        })
    }

    /// An order goes on without pushed data that is not here: the driver asks for it in its turn.
    fn order(
        &self,
        order: Order,
        inline: Option<Payload>,
    ) -> Result<(Request, Option<(DataId, u64)>), Error> {
        let (data, used) = match order.kind {
            OrderKind::Write { length, source: DataSource::Pushed(name), .. } => {
                (self.pushes.find(name, length), Some((name, length)))
            }
            OrderKind::Write { length, source: DataSource::Inline, .. } => {
                (Some(self.data(DataSource::Inline, length, inline)?), None)
            }
            OrderKind::Pad | OrderKind::Sync | OrderKind::End => (None, None),
        };
        Ok((Request::Order { from: self.from, order, data }, used))
    }

    fn data(
        &self,
        source: DataSource,
        length: u64,
        inline: Option<Payload>,
    ) -> Result<Payload, Error> {
        match source {
            DataSource::Pushed(data) => self.pushes.find(data, length).ok_or_else(|| {
                let me = self.me;
                Error::need_data(format!(
                    "chunkserver {me} does not have that pushed data: push it again"
                ))
            }),
            DataSource::Inline => {
                let payload = inline.unwrap_or_default();
                if payload.length() == length && length > 0 {
                    return Ok(payload);
                }
                let came = payload.length();
                Err(Error::invalid(format!("{length} bytes were announced, {came} came")))
            }
        }
    }
}
