//! Requests of the data plane on their way: from clients, from primaries to members, from copies, and pushes passed on.

use bytes::Bytes;
use gfs_chunkserver::data_plane::Ask;
use gfs_chunkserver::driver::{Answer, PeerMessage, PeerTicket};
use gfs_chunkserver_core::{Job, Peer};
use gfs_client::network::{Broken, DataAnswer, DataCall};
use gfs_types::Error;
use gfs_types::ids::{ChunkHandle, ProcessSession, ServerUid};
use gfs_types::message::control::Member;
use gfs_types::message::data::{DataReply, DataRequest};
use gfs_types::mutants::{Mutant, runs};

use crate::agenda::{MS, SECOND};
use crate::net::Who;
use crate::wire::Answered;
use crate::world::{Event, World};

/// Who waits for the answer.
pub(crate) enum Asker {
    Client(usize, Answered),
    /// A primary, for what it said to a member.
    Primary {
        server: usize,
        run: u32,
        ticket: PeerTicket,
    },
    /// A copy.
    Copy {
        server: usize,
        run: u32,
        name: (ChunkHandle, Job),
    },
    /// A server that passed a push on; its own call waits too.
    Forward {
        server: usize,
        parent: u64,
    },
    /// A message that came twice.
    Nobody(Who),
}

impl Asker {
    pub(crate) fn who(&self) -> Who {
        match self {
            Self::Client(client, _) => Who::Client(*client),
            Self::Primary { server, .. }
            | Self::Copy { server, .. }
            | Self::Forward { server, .. } => Who::Server(*server),
            Self::Nobody(who) => *who,
        }
    }
}

/// A request and what has become of it.
pub(crate) struct Call {
    pub(crate) asker: Asker,
    pub(crate) from: Peer,
    pub(crate) to: usize,
    /// The run of the process that is meant, if one is.
    session: Option<ProcessSession>,
    lane: u8,
    ask: Option<Ask>,
    /// The run of the process at which it arrived.
    pub(crate) arrived: Option<u32>,
    /// A push: the answer, which waits for that of the next server.
    own: Option<Answer>,
    beyond: bool,
}

/// What ends a call.
pub(crate) type Ending = Result<Answer, Broken>;

impl World {
    fn call(&mut self, call: Call) {
        let id = self.number();
        let (from, to) = (call.asker.who(), Who::Server(call.to));
        match self.net.travel(self.now, (from, to, call.lane)) {
            Some(at) => self.agenda.enter(at, Event::CallArrives(id)),
            None => {
                let (after, broken) = self.patience(from, to);
                self.agenda.enter(self.now + after, Event::CallEnds(id, Err(broken)));
            }
        }
        self.calls.insert(id, call);
    }

    /// When it is noticed that something does not arrive.
    fn patience(&mut self, from: Who, to: Who) -> (u64, Broken) {
        match (self.net.is_cut(from, to), from) {
            (true, _) if self.chance.percent(50) => (SECOND, Broken::NotSent),
            (true, _) => (self.chance.between(1, 5) * SECOND, Broken::Lost),
            (false, Who::Client(_)) => (self.chance.between(1, 50) * MS, Broken::Lost),
            (false, _) => (self.chance.between(1, 2_000) * MS, Broken::Lost),
        }
    }

    pub(crate) fn client_asks(&mut self, client: usize, call: DataCall, reply: Answered) {
        let DataCall { chunkserver, lane, target, request, payload, checksums, .. } = call;
        let Some(to) = self.server_of(chunkserver) else { return };
        let from =
            Peer { chunkserver: ServerUid(0xf000 + client as u128), session: ProcessSession(0) };
        self.note(format_args!("client-{client} asks server-{to}: {request:?}"));
        let ask = Some(Ask { target, request, payload, checksums });
        let asker = Asker::Client(client, reply);
        self.call(Call {
            asker,
            from,
            to,
            session: None,
            lane,
            ask,
            arrived: None,
            own: None,
            beyond: true,
        });
    }

    pub(crate) fn primary_says(
        &mut self,
        server: usize,
        (to, ticket, message): (Member, PeerTicket, PeerMessage),
    ) -> anyhow::Result<()> {
        let Some(from) = self.peer(server) else { return Ok(()) };
        let Some(at) = self.server_of(to.chunkserver) else { return Ok(()) };
        let run = self.servers[server].run;
        let ask = Some(Ask::from_primary(message).map_err(|error| anyhow::anyhow!("{error}"))?);
        let asker = Asker::Primary { server, run, ticket };
        let (session, lane) = (Some(to.session), 10);
        self.call(Call {
            asker,
            from,
            to: at,
            session,
            lane,
            ask,
            arrived: None,
            own: None,
            beyond: true,
        });
        Ok(())
    }

    pub(crate) fn copy_asks(
        &mut self,
        server: usize,
        name: (ChunkHandle, Job),
        source: Peer,
        ask: Ask,
    ) {
        let Some(from) = self.peer(server) else { return };
        let Some(to) = self.server_of(source.chunkserver) else { return };
        let asker = Asker::Copy { server, run: self.servers[server].run, name };
        let (session, ask, lane) = (Some(source.session), Some(ask), 11);
        self.call(Call {
            asker,
            from,
            to,
            session,
            lane,
            ask,
            arrived: None,
            own: None,
            beyond: true,
        });
    }

    fn peer(&self, server: usize) -> Option<Peer> {
        let session = self.servers[server].up.as_ref()?.session;
        Some(Peer { chunkserver: self.servers[server].uid, session })
    }

    fn server_of(&self, uid: ServerUid) -> Option<usize> {
        self.servers.iter().position(|server| server.uid == uid)
    }

    pub(crate) fn call_arrives(&mut self, id: u64) -> anyhow::Result<()> {
        let Some(call) = self.calls.get_mut(&id) else { return Ok(()) };
        let Some(ask) = call.ask.take() else { return Ok(()) };
        let (to, from, session) = (call.to, call.from, call.session);
        let is_order = matches!(call.asker, Asker::Primary { .. });
        let server = &mut self.servers[to];
        let Some(process) = &server.up else {
            let after = self.net.delay();
            self.agenda.enter(self.now + after, Event::CallEnds(id, Err(Broken::NotSent)));
            return Ok(());
        };
        call.arrived = Some(server.run);
        self.rules.arrives(id, to, &ask);
        let (who, target, what) = (call.asker.who(), ask.target, describe(&ask.request));
        let foreign = session.is_some_and(|session| session != process.session);
        if foreign && !runs(Mutant::RestartedIsReady) {
            let error = Error::stale("that run of this server is over");
            self.answer(id, refusal(error));
            return Ok(());
        }
        self.note(format_args!(
            "server-{to} is asked by {who} to {what} {} {}: call {id}",
            target.handle.0, target.version
        ));
        if let DataRequest::Push { data, chain, offset } = &ask.request
            && let Some((hop, rest)) = chain.split_first()
        {
            let request = DataRequest::Push { data: *data, chain: rest.to_vec(), offset: *offset };
            let (onward, next) = (Ask { request, ..ask.clone() }, hop.chunkserver);
            self.pass_on(id, to, next, onward);
        } else if is_order && self.net.twice() {
            self.twice(id, ask.clone());
        }
        let server = &mut self.servers[to];
        server.clock.move_to(self.now);
        let Some(process) = &server.up else { return Ok(()) };
        let out = process.out.clone();
        let told = Box::new(move |answer| out.lock().answers.push((id, answer)));
        process.direct.ask(from, ask, told);
        self.serve(to)
    }

    /// The next server of a chain; who pushed waits for it too.
    fn pass_on(&mut self, parent: u64, server: usize, next: ServerUid, ask: Ask) {
        let (Some(from), Some(to)) = (self.peer(server), self.server_of(next)) else { return };
        if let Some(call) = self.calls.get_mut(&parent) {
            call.beyond = false;
        }
        let (asker, ask) = (Asker::Forward { server, parent }, Some(ask));
        self.call(Call {
            asker,
            from,
            to,
            session: None,
            lane: 12,
            ask,
            arrived: None,
            own: None,
            beyond: true,
        });
    }

    fn twice(&mut self, id: u64, ask: Ask) {
        let Some(call) = self.calls.get(&id) else { return };
        let again = Call {
            asker: Asker::Nobody(call.asker.who()),
            from: call.from,
            to: call.to,
            session: call.session,
            lane: call.lane,
            ask: Some(ask),
            arrived: None,
            own: None,
            beyond: true,
        };
        // A moment later, or when other versions may have been raised.
        let latest = if self.chance.percent(50) { 300 * MS } else { 6 * SECOND };
        let (id, after) = (self.number(), self.chance.below(latest));
        self.calls.insert(id, again);
        self.agenda.enter(self.now + after, Event::CallArrives(id));
    }

    /// A server answers.
    pub(crate) fn answer(&mut self, id: u64, answer: Answer) {
        self.answers(id, &answer);
        let Some(call) = self.calls.get(&id) else { return };
        self.may_refuse_for_room(call.to, &answer);
        let Some(call) = self.calls.get_mut(&id) else { return };
        if !call.beyond {
            call.own = Some(answer);
            return;
        }
        let (from, to) = (Who::Server(call.to), call.asker.who());
        let lane = call.lane;
        let (at, ending) = match self.net.travel(self.now, (from, to, lane)) {
            Some(at) => (at, Ok(answer)),
            None => {
                let (after, _) = self.patience(from, to);
                (self.now + after, Err(Broken::Lost))
            }
        };
        self.agenda.enter(at, Event::CallEnds(id, ending));
    }

    /// Whoever asked learns what came of it.
    pub(crate) fn call_ends(&mut self, id: u64, ending: Ending) -> anyhow::Result<()> {
        let Some(call) = self.calls.remove(&id) else { return Ok(()) };
        match call.asker {
            Asker::Nobody(_) => Ok(()),
            Asker::Client(client, reply) => {
                let outcome = match &ending {
                    Ok(Answer { reply: DataReply { result: Ok(_) }, .. }) => "good",
                    Ok(_) => "refused",
                    Err(_) => "broken",
                };
                self.note(format_args!("client-{client} hears of call {id}: {outcome}"));
                let answer = ending.map(|Answer { reply, payload, checksums }| DataAnswer {
                    result: reply.result,
                    payload,
                    checksums,
                });
                // The client may have given up.
                let _ = reply.send(answer);
                Ok(())
            }
            Asker::Forward { parent, .. } => {
                let own = self.calls.get_mut(&parent).and_then(|call| {
                    call.beyond = true;
                    call.own.take()
                });
                if let Some(own) = own {
                    self.answer(parent, own);
                }
                Ok(())
            }
            Asker::Primary { server, run, ticket } => {
                let twice = self.net.twice();
                let Some(process) = self.process(server, run) else { return Ok(()) };
                let result = match ending {
                    Ok(answer) => answer.reply.result,
                    Err(_) => Err(Error::unknown("the connection to the member was lost")),
                };
                if twice {
                    process.handle.peer_answered(ticket, result.clone());
                }
                process.handle.peer_answered(ticket, result);
                process.handle.help();
                self.serve(server)
            }
            Asker::Copy { server, run, name } => self.copy_hears(server, run, name, ending),
        }
    }

    /// A process is gone: nobody answers what had come to it.
    pub(crate) fn calls_die(&mut self, server: usize) {
        let run = self.servers[server].run;
        let theirs =
            self.calls.iter().filter(|(_, call)| call.to == server && call.arrived == Some(run));
        let lost: Vec<_> = theirs.map(|(id, _)| *id).collect();
        for id in lost {
            let after = self.net.delay();
            self.agenda.enter(self.now + after, Event::CallEnds(id, Err(Broken::Lost)));
        }
    }
}

pub(crate) fn refusal(error: Error) -> Answer {
    Answer { reply: DataReply { result: Err(error) }, payload: Bytes::new(), checksums: Vec::new() }
}

/// For the trace.
fn describe(request: &DataRequest) -> &'static str {
    match request {
        DataRequest::Push { .. } => "keep data for",
        DataRequest::Write { .. } => "write",
        DataRequest::Append { .. } => "append to",
        DataRequest::Sync => "sync",
        DataRequest::Order(_) => "obey in",
        DataRequest::Committed { .. } => "commit",
        DataRequest::Read { .. } => "read",
        DataRequest::Verify { .. } => "verify",
        DataRequest::Inspect => "inspect",
        DataRequest::Checksums => "tell the checksums of",
        DataRequest::Equalise(_) => "become equal in",
        DataRequest::Compare => "compare",
        DataRequest::Copy { .. } => "give bytes of",
    }
}
