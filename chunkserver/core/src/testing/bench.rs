//! One replica on the bench: its own writes succeed at once, what must be durable waits until it is told so.

use gfs_types::fence::{ChunkVersion, MasterEpoch, SerialNumber};
use gfs_types::ids::{ChunkHandle, ProcessSession, ServerUid};
use gfs_types::limits::CHUNK_BYTES_MIN;
use gfs_types::message::control::{FromChunkserver, LeaseStart, Member};
use gfs_types::message::data::{DataResponse, DataSource, Equalise, Order, OrderKind, Target};
use gfs_types::region::ChunkSize;
use gfs_types::time::Instant;
use gfs_types::{DurationMs, Error, ErrorKind};

use crate::{
    Copied, Effect, Input, Job, MemberAnswer, Message, MessageBody, Mutation, Peer, ReadOut,
    Replica, Said, Settings, StoreOp, Ticket, Token, View,
};

pub(crate) const CHUNK: ChunkHandle = ChunkHandle(7);
pub(crate) const LEASE: DurationMs = DurationMs(10_000);

/// A replica, what it did since it was last asked, and the durable operations it waits for.
pub(crate) struct Bench {
    pub(crate) replica: Replica,
    pub(crate) now: Instant,
    pub(crate) effects: Vec<Effect>,
    pub(crate) waiting: Vec<(Ticket, StoreOp)>,
    tokens: u64,
}

pub(crate) fn uid(number: u128) -> ServerUid {
    ServerUid(number)
}

pub(crate) fn settings(number: u128) -> Settings {
    let chunk_size = ChunkSize::new(CHUNK_BYTES_MIN).unwrap();
    Settings {
        chunkserver: uid(number),
        session: ProcessSession(1),
        chunk_size,
        pace: Default::default(),
    }
}

pub(crate) fn member(number: u128) -> Member {
    let address = format!("server-{number}:7500");
    Member { chunkserver: uid(number), session: ProcessSession(1), address }
}

pub(crate) fn target(version: u64) -> Target {
    let version = ChunkVersion(version);
    Target { handle: CHUNK, version, epoch: MasterEpoch(1), left_ms: 1_000 }
}

pub(crate) fn append(length: u64) -> Mutation {
    Mutation::Append { length, source: DataSource::Inline }
}

pub(crate) fn write(offset: u64, length: u64) -> Mutation {
    Mutation::Write { offset, length, source: DataSource::Inline }
}

pub(crate) fn order(serial: u64, kind: OrderKind, committed: u64, length: u64) -> Order {
    let (serial, committed) = (SerialNumber(serial), SerialNumber(committed));
    Order { serial, kind, committed, committed_length: length }
}

pub(crate) fn bytes(offset: u64, length: u64) -> OrderKind {
    OrderKind::Write { offset, length, source: DataSource::Inline }
}

pub(crate) const PRIMARY: Peer = Peer { chunkserver: ServerUid(9), session: ProcessSession(4) };

impl Bench {
    pub(crate) fn absent(number: u128) -> Self {
        Self::of(Replica::absent(CHUNK, settings(number)))
    }

    pub(crate) fn of(replica: Replica) -> Self {
        let now = Instant::from_ms(1_000);
        Self { replica, now, effects: Vec::new(), waiting: Vec::new(), tokens: 0 }
    }

    /// Born at version 1.
    pub(crate) fn newborn(number: u128) -> Self {
        let mut bench = Self::absent(number);
        let (version, epoch) = (ChunkVersion(1), MasterEpoch(1));
        let chunk_size = settings(number).chunk_size;
        bench.step(Input::Create { version, epoch, chunk_size });
        bench.durable();
        bench.take();
        bench
    }

    /// Born, and primary of itself and these.
    pub(crate) fn primary(others: &[u128]) -> Self {
        let mut bench = Self::newborn(1);
        bench.grant(1, others);
        bench.take();
        bench
    }

    pub(crate) fn grant(&mut self, version: u64, others: &[u128]) {
        self.grant_as(version, others, LeaseStart::Equal, false);
    }

    pub(crate) fn grant_as(
        &mut self,
        version: u64,
        others: &[u128],
        start: LeaseStart,
        brief: bool,
    ) {
        let members = [1].iter().chain(others).map(|number| member(*number)).collect();
        let (version, alone) = (ChunkVersion(version), false);
        self.step(Input::Grant { version, members, lease_ms: LEASE, start, brief, alone });
    }

    /// A lease without other members, of a chunk that wants some (mut-6).
    pub(crate) fn grant_alone(&mut self, version: u64) {
        let (version, members) = (ChunkVersion(version), vec![member(1)]);
        let (start, brief, alone) = (LeaseStart::Equal, false, true);
        self.step(Input::Grant { version, members, lease_ms: LEASE, start, brief, alone });
    }

    pub(crate) fn teach(&mut self, version: u64, learner: u128) {
        let (version, learner) = (ChunkVersion(version), member(learner));
        self.step(Input::Teach { version, learner });
    }

    /// A primary wants this replica equal.
    pub(crate) fn equalise(&mut self, from: Peer, target: Target, last: bool) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        let equalise = Equalise { source: "primary:7500".to_owned(), last };
        self.step(Input::Equalise { token, target, from, equalise });
        token
    }

    pub(crate) fn piece(&mut self, job: Job, offset: u64, length: u64) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.step(Input::Piece { token, job, offset, length });
        token
    }

    /// The copy is done; the source has this length, and the digest of all that is made durable on the bench, or another.
    pub(crate) fn copied(&mut self, job: Job, length: u64, digest: u32, copied_bytes: u64) {
        let result = Ok(Copied { length, digest, copied_bytes });
        self.step(Input::Copied { job, result });
    }

    /// The member or learner answers a pass.
    pub(crate) fn equalised(
        &mut self,
        number: u128,
        version: u64,
        pass: u64,
        result: Result<u64, Error>,
    ) {
        self.step(Input::MemberAnswered(MemberAnswer {
            member: Peer { chunkserver: uid(number), session: ProcessSession(1) },
            version: ChunkVersion(version),
            said: Said::Equalise(pass),
            result: result.map(|copied_bytes| DataResponse::Equalised { copied_bytes }),
        }));
    }

    /// Somebody reads what is here, to become equal.
    pub(crate) fn reads_out(&mut self, number: u128, version: u64, what: ReadOut) -> bool {
        self.tokens += 1;
        let (token, target) = (Token(self.tokens), target(version));
        let from = Peer { chunkserver: uid(number), session: ProcessSession(1) };
        self.step(Input::ReadOut { token, target, from, what });
        self.effects.contains(&Effect::ReadOut { token, what })
    }

    /// The passes asked of a member or learner: number, and whether the last.
    pub(crate) fn passes(&self, number: u128) -> Vec<(u64, bool)> {
        let to = |message: &Message| message.to.chunkserver == uid(number);
        let passes = self.sent().into_iter().filter(to).filter_map(|message| match message.body {
            MessageBody::Equalise { pass, equalise } => Some((pass, equalise.last)),
            MessageBody::Order { .. } | MessageBody::Committed { .. } => None,
        });
        passes.collect()
    }

    /// The copies begun: which, and whether every block is read.
    pub(crate) fn copies(&self) -> Vec<(Job, bool)> {
        let copies = self.effects.iter().filter_map(|effect| match effect {
            Effect::Copy { job, check_all, .. } => Some((*job, *check_all)),
            _ => None,
        });
        copies.collect()
    }

    /// What the master was told of a learner.
    pub(crate) fn taught(&self) -> Vec<(u128, Result<(), ErrorKind>)> {
        let taught = self.told_master().into_iter().filter_map(|message| match message {
            FromChunkserver::LearnerTaught { learner, result, .. } => {
                Some((learner.0, result.map_err(|error| error.kind)))
            }
            _ => None,
        });
        taught.collect()
    }

    pub(crate) fn raise(&mut self, version: u64, from: u64) {
        let (version, from) = (ChunkVersion(version), ChunkVersion(from));
        self.step(Input::Raise { version, from, epoch: MasterEpoch(1) });
    }

    /// Steps, and answers the replica's own writes.
    pub(crate) fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        self.replica.step(self.now, input, &mut out);
        let mut queue = std::collections::VecDeque::from(out);
        while let Some(effect) = queue.pop_front() {
            if let Effect::Store { ticket, op } = effect {
                self.waiting.push((ticket, op));
            }
            if let Effect::Apply { version, serial, .. } = effect {
                let mut out = Vec::new();
                let (result, short_of_space) = (Ok(()), false);
                let input = Input::Applied { version, serial, result, short_of_space };
                self.replica.step(self.now, input, &mut out);
                queue.extend(out);
            }
            self.effects.push(effect);
        }
    }

    pub(crate) fn mutate(&mut self, mutation: Mutation) -> Token {
        self.mutate_as(target(1), mutation)
    }

    pub(crate) fn mutate_as(&mut self, target: Target, mutation: Mutation) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.step(Input::Mutate { token, target, mutation });
        token
    }

    pub(crate) fn order(&mut self, order: Order) -> Token {
        self.order_from(PRIMARY, target(1), order, true)
    }

    pub(crate) fn order_from(
        &mut self,
        from: Peer,
        target: Target,
        order: Order,
        has_data: bool,
    ) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.step(Input::Order { token, target, from, order, has_data });
        token
    }

    pub(crate) fn answers(&mut self, number: u128, serial: u64, result: Result<(), Error>) {
        self.step(Input::MemberAnswered(MemberAnswer {
            member: Peer { chunkserver: uid(number), session: ProcessSession(1) },
            version: ChunkVersion(1),
            said: Said::Order(SerialNumber(serial)),
            result: result.map(|()| DataResponse::Applied {
                serial: SerialNumber(serial),
                short_of_space: false,
            }),
        }));
    }

    pub(crate) fn acknowledges(&mut self, number: u128, serial: u64) {
        self.answers(number, serial, Ok(()));
    }

    pub(crate) fn after(&mut self, ms: u64) {
        self.now = self.now + DurationMs(ms);
        self.step(Input::Tick);
    }

    /// Everything that waits for the disk is done.
    pub(crate) fn durable(&mut self) {
        for (ticket, _) in std::mem::take(&mut self.waiting) {
            self.step(Input::StoreDone { ticket, result: Ok(0xd1) });
        }
    }

    /// What it did since this was last asked.
    pub(crate) fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    pub(crate) fn reply(&self, token: Token) -> Option<Result<DataResponse, ErrorKind>> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Reply { token: of, result } if *of == token => {
                Some(result.clone().map_err(|error| error.kind))
            }
            _ => None,
        })
    }

    pub(crate) fn sent(&self) -> Vec<Message> {
        let sent = self.effects.iter().filter_map(|effect| match effect {
            Effect::Send(message) => Some(message.clone()),
            _ => None,
        });
        sent.collect()
    }

    /// The serials ordered to a member, in order.
    pub(crate) fn ordered(&self, number: u128) -> Vec<u64> {
        let to = |message: &Message| message.to.chunkserver == uid(number);
        let serials = self.sent().into_iter().filter(to).filter_map(|message| match message.body {
            MessageBody::Order { order, .. } => Some(order.serial.0),
            MessageBody::Committed { .. } | MessageBody::Equalise { .. } => None,
        });
        serials.collect()
    }

    pub(crate) fn told_master(&self) -> Vec<FromChunkserver> {
        let told = self.effects.iter().filter_map(|effect| match effect {
            Effect::ToMaster(message) => Some(message.clone()),
            _ => None,
        });
        told.collect()
    }

    pub(crate) fn published(&self) -> Option<&View> {
        self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Publish(view) => Some(view),
            _ => None,
        })
    }

    /// Where an effect stands among the others.
    pub(crate) fn position(&self, which: impl Fn(&Effect) -> bool) -> usize {
        self.effects.iter().position(which).expect("the effect was emitted")
    }

    pub(crate) fn shown(&self) -> (bool, u64) {
        (self.replica.view().readable, self.replica.view().committed_length)
    }
}
