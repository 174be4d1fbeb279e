//! Carrying out the effects of one step, in order.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use gfs_chunkserver_core::{
    Effect, Input, LocalWrite, Message, MessageBody, Peer, Said, StoreOp, Ticket, Token,
};
use gfs_types::Error;
use gfs_types::fence::SerialNumber;
use gfs_types::ids::ChunkHandle;
use gfs_types::limits::{FRAME_BYTES_MAX, INLINE_BYTES_MAX};
use gfs_types::message::data::{DataResponse, DataSource, OrderKind};

use super::flusher::{Job, end_process};
use super::shard::{Shard, Slot, Unwritten};
use super::{Answer, CopyWork, Payload, PeerBody, PeerMessage, PeerTicket, requests};
use crate::store::{Store, StoreError};

impl Shard {
    /// Carries out effects and those of the steps that follow from them.
    pub(super) fn carry_out(&mut self, handle: ChunkHandle, mut effects: VecDeque<Effect>) {
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Keep { token, serial } => {
                    let kept = self.staged.remove(&token);
                    if let (Some(data), Some(slot)) = (kept, self.slots.get_mut(&handle)) {
                        slot.data.insert(serial, data);
                    }
                }
                Effect::Drop { through } => self.drop_data(handle, through),
                Effect::Apply { version, serial, write } => {
                    if let Some(slot) = self.slots.get_mut(&handle) {
                        slot.unwritten = Some(Unwritten { version, serial, write });
                    }
                }
                Effect::Copy { job, from, source, target, check_all } => {
                    let work = CopyWork { job, from, source, target, check_all };
                    self.shared.peers.copy(work);
                }
                Effect::StopCopy { job } => self.shared.peers.stop_copy(handle, job),
                Effect::Repair { token, offset, length } => {
                    let result = self.repair(handle, token, offset, length);
                    self.reply(token, requests::plain(result.map(|()| DataResponse::Done)));
                }
                Effect::ReadOut { token, what } => {
                    let (answer, bad) = requests::read_out(&self.shared.store, handle, what);
                    self.reply(token, answer);
                    if bad {
                        self.bad_block(handle);
                        effects.extend(self.step_core(handle, Input::BlockMismatch));
                    }
                }
                Effect::Store { ticket, op } => self.store(handle, ticket, op),
                Effect::Send(message) => self.send(handle, message),
                Effect::Reply { token, result } => self.reply(token, requests::plain(result)),
                Effect::ToMaster(message) => (self.shared.outbox)(message),
                Effect::Publish(view) => self.shared.views.put(handle, view),
                Effect::Gone => self.shared.views.remove(handle),
            }
        }
    }

    /// Carries out the write that a core asked for, with those that joined it, and those that follow.
    pub(super) fn write_out(&mut self, handle: ChunkHandle) {
        while let Some(slot) = self.slots.get_mut(&handle)
            && let Some(Unwritten { version, serial: first, write }) = slot.unwritten.take()
        {
            let bytes_max = self.helper_bytes.unwrap_or(u64::MAX);
            if self.helper_bytes.is_some()
                && !is_quick(&self.shared.store, handle, write, bytes_max)
            {
                slot.unwritten = Some(Unwritten { version, serial: first, write });
                self.left = true;
                return;
            }
            let (last, write) = match (slot.core.join_writes(bytes_max), write) {
                (Some((last, length)), LocalWrite::Bytes { offset, overwrite, .. }) => {
                    (last, LocalWrite::Bytes { offset, length, overwrite })
                }
                _ => (first, write),
            };
            if let (Some(left), LocalWrite::Bytes { length, .. }) = (&mut self.helper_bytes, write)
            {
                *left = left.saturating_sub(length);
            }
            let result = self.apply(handle, first..=last, write);
            let short_of_space = self.shared.store.is_short_of_space();
            if let Some(slot) = self.slots.get_mut(&handle) {
                slot.short_of_space = short_of_space;
            }
            let applied = Input::Applied { version, serial: last, result, short_of_space };
            let effects = self.step_core(handle, applied);
            self.carry_out(handle, effects.into());
        }
    }

    /// Steps a core within the carrying out of its effects.
    fn step_core(&mut self, handle: ChunkHandle, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        if let Some(slot) = self.slots.get_mut(&handle) {
            slot.core.step(self.shared.clock.now(), input, &mut out);
        }
        out
    }

    fn reply(&mut self, token: Token, answer: Answer) {
        self.staged.remove(&token);
        if let Some(reply) = self.owed.remove(&token) {
            self.shared.metrics.answered(&answer.reply.result);
            self.answer(reply, answer);
        }
    }

    fn repair(
        &mut self,
        handle: ChunkHandle,
        token: Token,
        offset: u64,
        length: u64,
    ) -> Result<(), Error> {
        let data = self.staged.remove(&token).filter(|data| data.length() == length);
        let Some(data) = data else {
            let text = format!("chunk {handle}: the bytes of a repair at {offset} are not kept");
            return Err(Error::internal(text));
        };
        self.shared.store.repair(handle, offset, &data).map_err(|error| {
            if error.is_fatal() {
                end_process(&error);
            }
            tracing::warn!(chunk = %handle, offset, %error, "blocks cannot be replaced");
            Error::from(error)
        })
    }

    fn drop_data(&mut self, handle: ChunkHandle, through: SerialNumber) {
        let Some(slot) = self.slots.get_mut(&handle) else { return };
        match through.0.checked_add(1) {
            Some(next) => slot.data = slot.data.split_off(&SerialNumber(next)),
            None => slot.data.clear(),
        }
    }

    fn apply(
        &mut self,
        handle: ChunkHandle,
        serials: RangeInclusive<SerialNumber>,
        write: LocalWrite,
    ) -> Result<(), Error> {
        let store = &self.shared.store;
        let (serial, last) = serials.clone().into_inner();
        let result = match write {
            LocalWrite::Bytes { offset, length, .. } => {
                let kept = self.slots.get(&handle).map(|slot| slot.data.range(serials));
                let parts = kept.into_iter().flatten().flat_map(|(_, data)| data.parts());
                let data = Payload::from(parts.cloned().collect::<Vec<_>>());
                if data.length() != length {
                    let text = format!(
                        "chunk {handle}: the bytes of mutations {serial} to {last} are not kept"
                    );
                    return Err(Error::internal(text));
                }
                let written = store.write(handle, offset, &data);
                written.inspect(|_| self.shared.metrics.applied(length))
            }
            LocalWrite::Zeros { offset, length } => store.pad(handle, offset + length),
        };
        let full = matches!(result, Err(StoreError::Full { .. }));
        let was_full =
            self.slots.get_mut(&handle).is_some_and(|slot| std::mem::replace(&mut slot.full, full));
        result.map(drop).map_err(|error| {
            if error.is_fatal() {
                end_process(&error);
            }
            if !(full && was_full) {
                tracing::warn!(chunk = %handle, %serial, %error, "a mutation cannot be applied");
            }
            Error::from(error)
        })
    }

    fn store(&self, handle: ChunkHandle, ticket: Ticket, op: StoreOp) {
        // The flusher outlives its shard.
        let _ = self.jobs.send(Job { handle, ticket, op });
    }

    fn send(&mut self, handle: ChunkHandle, message: Message) {
        let ticket = PeerTicket {
            handle,
            version: message.target.version,
            member: Peer { chunkserver: message.to.chunkserver, session: message.to.session },
            said: match &message.body {
                MessageBody::Order { order, .. } => Said::Order(order.serial),
                MessageBody::Committed { serial, .. } => Said::Committed(*serial),
                MessageBody::Equalise { pass, .. } => Said::Equalise(*pass),
            },
        };
        let body = match message.body {
            MessageBody::Committed { serial, length } => PeerBody::Committed { serial, length },
            MessageBody::Equalise { equalise, .. } => PeerBody::Equalise(equalise),
            MessageBody::Order { mut order, with_data } => {
                let data = self.data_to_send(handle, order.serial, with_data);
                if let (OrderKind::Write { source, .. }, Some(data)) = (&mut order.kind, &data)
                    && data.length() <= FRAME_BYTES_MAX
                {
                    *source = DataSource::Inline;
                }
                PeerBody::Order { order, data }
            }
        };
        self.shared.metrics.sent_to_member();
        self.shared.peers.send(&message.to, ticket, PeerMessage { target: message.target, body });
    }

    fn data_to_send(
        &self,
        handle: ChunkHandle,
        serial: SerialNumber,
        with_data: bool,
    ) -> Option<Payload> {
        let slot: &Slot = self.slots.get(&handle)?;
        slot.data.get(&serial).filter(|_| with_data).cloned()
    }
}

/// Whether whoever helps may do it: few bytes at the end of a replica that needs no sync for them.
fn is_quick(store: &Store, handle: ChunkHandle, write: LocalWrite, bytes_max: u64) -> bool {
    match write {
        LocalWrite::Bytes { offset, length, overwrite } => {
            let few = length <= INLINE_BYTES_MAX.min(bytes_max);
            few && !overwrite && store.appends_without_sync(handle, offset)
        }
        LocalWrite::Zeros { .. } => false,
    }
}
