//! Streams to the master: those of clients, and those of chunkservers. What is said on one arrives in order, or the stream ends.

use std::collections::VecDeque;

use gfs_client::network::MasterStream;
use gfs_master_core::{Connection, Effect, Input, Link};
use gfs_protocol::pb;
use gfs_types::Error;
use gfs_types::message::client::{ClientHello, ClientWelcome, Request};
use gfs_types::message::control::FromChunkserver;
use tokio::sync::mpsc;

use crate::agenda::{MS, Micros, SECOND};
use crate::net::Who;
use crate::wire::{Dialed, pump};
use crate::world::{Event, World};

/// A client's stream.
pub(crate) struct Stream {
    client: usize,
    run: u32,
    connection: Connection,
    to_client: mpsc::UnboundedSender<pb::MasterMessage>,
    /// It will end.
    doomed: bool,
}

/// A chunkserver's stream.
pub(crate) struct Control {
    pub(crate) server: usize,
    pub(crate) run: u32,
    /// The master's run, and its name for it.
    link: Option<(u32, Link)>,
    doomed: bool,
}

/// An end that is noticed by who keeps the stream alive, when nothing comes through any more.
const KEEP_ALIVE: Micros = 4 * SECOND;
/// A master that answers no heartbeat for so many of their intervals, and this long, is given up.
const SILENT: (u64, Micros) = (6, 3 * SECOND);

impl Control {
    pub(crate) fn node(&self) -> Who {
        Who::Server(self.server)
    }
}

impl World {
    pub(crate) fn client_dials(&mut self, client: usize, hello: ClientHello, reply: Dialed) {
        match self.net.travel(self.now, (Who::Client(client), Who::Master, 0)) {
            Some(at) => self.agenda.enter(at, Event::DialArrives(client, hello, reply)),
            None => self.agenda.enter(self.now + SECOND, Event::DialFails(reply)),
        }
    }

    pub(crate) fn dial_arrives(&mut self, client: usize, hello: &ClientHello, reply: Dialed) {
        let after = self.net.delay();
        let run = self.master.run;
        let Some(process) = &mut self.master.up else {
            self.agenda.enter(self.now + after, Event::DialFails(reply));
            return;
        };
        if hello.cluster.is_some_and(|cluster| cluster != process.record.cluster) {
            let _ = reply.send(Err(Error::denied("another cluster")));
            return;
        }
        let connection = Connection(process.number());
        let welcome = ClientWelcome {
            record: process.record.clone(),
            master: process.uid,
            chunk_bytes: self.cluster.chunk_size.bytes(),
        };
        let id = self.number();
        if let Some(process) = &mut self.master.up {
            process.connections.insert(connection, id);
        }
        let (to_client, inbound) = mpsc::unbounded_channel();
        let (out, said) = mpsc::unbounded_channel();
        self.streams.insert(id, Stream { client, run, connection, to_client, doomed: false });
        tokio::spawn(pump(self.mailbox.clone(), id, said));
        let opened = MasterStream { welcome, out, inbound };
        self.agenda.enter(self.now + after, Event::Accepted(reply, Box::new(opened)));
    }

    /// Sends on a client's stream; where nothing comes through it ends.
    fn on_stream(&mut self, id: u64, to_master: bool) -> Option<Micros> {
        let stream = self.streams.get(&id).filter(|stream| !stream.doomed)?;
        let (client, master) = (Who::Client(stream.client), Who::Master);
        let (from, to) = if to_master { (client, master) } else { (master, client) };
        let at = self.net.travel(self.now, (from, to, 0));
        if at.is_none() {
            let after = if self.net.is_cut(from, to) { KEEP_ALIVE } else { MS };
            self.doom_stream(id, after);
        }
        at
    }

    fn doom_stream(&mut self, id: u64, after: Micros) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.doomed = true;
            self.agenda.enter(self.now + after, Event::StreamEnds(id));
        }
    }

    pub(crate) fn client_says(&mut self, id: u64, message: Option<pb::ClientMessage>) {
        match message {
            None => self.doom_stream(id, MS),
            Some(message) => {
                if let Some(at) = self.on_stream(id, true) {
                    self.agenda.enter(at, Event::ClientSaid(id, message));
                }
            }
        }
    }

    pub(crate) fn client_said(&mut self, id: u64, message: pb::ClientMessage) {
        let Some(stream) = self.streams.get(&id) else { return };
        let (connection, run) = (stream.connection, stream.run);
        let Some(pb::client_message::Kind::Request(wire)) = message.kind else { return };
        let Ok((request, message)) = <(u64, Request)>::try_from(wire) else { return };
        if run == self.master.run {
            let client = stream.client;
            self.note(format_args!(
                "the master is asked by client-{client}: {message:?}: {request}"
            ));
            self.master_input(Input::Client { connection, request, message });
        }
    }

    pub(crate) fn master_said(&mut self, id: u64, message: pb::MasterMessage) {
        if let Some(stream) = self.streams.get(&id) {
            // The client may have gone.
            let _ = stream.to_client.send(message);
        }
    }

    /// Both ends learn it.
    pub(crate) fn stream_ends(&mut self, id: u64) {
        let Some(stream) = self.streams.remove(&id) else { return };
        self.note(format_args!("the stream of client-{} ends", stream.client));
        if stream.run == self.master.run
            && let Some(process) = &mut self.master.up
        {
            process.connections.remove(&stream.connection);
            self.master_input(Input::ClientGone { connection: stream.connection });
        }
    }

    /// Carries on what the master let out.
    pub(crate) fn let_out(&mut self, effects: Vec<Effect>) -> anyhow::Result<()> {
        for effect in effects {
            match effect {
                Effect::Reply { connection, request, reply, .. } => {
                    let up = self.master.up.as_ref();
                    let id = up.and_then(|up| up.connections.get(&connection)).copied();
                    let Some(id) = id else { continue };
                    if let Some(stream) = self.streams.get(&id) {
                        let client = stream.client;
                        self.note(format_args!(
                            "the master answers client-{client}: {reply:?}: {request}"
                        ));
                    }
                    if let Some(at) = self.on_stream(id, false) {
                        let kind = pb::master_message::Kind::Reply((request, reply).into());
                        let message = pb::MasterMessage { kind: Some(kind) };
                        self.agenda.enter(at, Event::MasterSaid(id, message));
                    }
                }
                Effect::Send { link, message, .. } => {
                    let up = self.master.up.as_ref();
                    let id = up.and_then(|up| up.links.get(&link)).copied();
                    let Some(id) = id else { continue };
                    self.command(id, message);
                }
                Effect::CloseLink { link, .. } => {
                    let up = self.master.up.as_ref();
                    let id = up.and_then(|up| up.links.get(&link)).copied();
                    if let Some(id) = id {
                        self.doom_control(id, MS);
                    }
                }
                // Records go to the log, not out.
                Effect::Append { .. } => {}
                Effect::Accused { handle, chunkserver, .. } => {
                    anyhow::ensure!(
                        self.weather.rotten.contains_key(&handle)
                            || self.weather.were_unread.contains(&chunkserver),
                        "chunk {handle} of {chunkserver} is called corrupt, and nothing rotted there"
                    );
                }
                Effect::StepDown { epoch, reason } => {
                    anyhow::bail!("the only master steps down for epoch {epoch}: {reason}");
                }
            }
        }
        Ok(())
    }

    // The streams of chunkservers.

    pub(crate) fn on_control(&mut self, id: u64, to_master: bool) -> Option<Micros> {
        let control = self.controls.get(&id).filter(|control| !control.doomed)?;
        let (server, master) = (Who::Server(control.server), Who::Master);
        let (from, to) = if to_master { (server, master) } else { (master, server) };
        let at = self.net.travel(self.now, (from, to, 0));
        if at.is_none() {
            let after = if self.net.is_cut(from, to) { KEEP_ALIVE } else { MS };
            self.doom_control(id, after);
        }
        at
    }

    pub(crate) fn doom_control(&mut self, id: u64, after: Micros) {
        if let Some(control) = self.controls.get_mut(&id) {
            control.doomed = true;
            self.agenda.enter(self.now + after, Event::ControlEnds(id));
        }
    }

    /// A chunkserver without a stream opens one.
    pub(crate) fn server_dials(&mut self, number: usize, run: u32) {
        let id = self.number();
        let Some(process) = self.process(number, run) else { return };
        if process.link.control.is_some() {
            return;
        }
        let space = process.space();
        process.link.control = Some(id);
        let now = self.servers[number].clock.now();
        let Some(process) = self.process(number, run) else { return };
        let register = FromChunkserver::Register(process.conversation.register(now, space));
        self.controls.insert(id, Control { server: number, run, link: None, doomed: false });
        if let Some(at) = self.on_control(id, true) {
            self.agenda.enter(at, Event::ServerSaid(id, Box::new(register)));
        }
    }

    pub(crate) fn server_said(&mut self, id: u64, message: FromChunkserver) {
        let run = self.master.run;
        let Some(control) = self.controls.get_mut(&id) else { return };
        let server = control.server;
        let Some(process) = &mut self.master.up else {
            self.doom_control(id, MS);
            return;
        };
        let link = match (control.link, &message) {
            (Some((of, link)), _) if of == run => link,
            (None, FromChunkserver::Register(_)) => {
                let link = Link(process.number());
                control.link = Some((run, link));
                process.links.insert(link, id);
                link
            }
            _ => return self.doom_control(id, MS),
        };
        if let FromChunkserver::Register(registration) = &message {
            self.rules.registers(run, registration);
        }
        self.heard(server, &message);
        self.master_input(Input::Chunkserver { link, message });
    }

    /// What a shard has to say waits for a stream.
    pub(crate) fn tell_master(
        &mut self,
        number: usize,
        messages: VecDeque<FromChunkserver>,
    ) -> anyhow::Result<()> {
        let run = self.servers[number].run;
        let Some(process) = self.process(number, run) else { return Ok(()) };
        let Some(id) = process.link.control.filter(|_| process.link.registered) else {
            process.out.lock().to_master.extend(messages);
            return Ok(());
        };
        for message in messages {
            self.told_master(number, &message);
            if let Some(at) = self.on_control(id, true) {
                self.agenda.enter(at, Event::ServerSaid(id, Box::new(message)));
            }
        }
        Ok(())
    }

    pub(crate) fn beat(&mut self, number: usize, run: u32, id: u64) -> anyhow::Result<()> {
        let now = self.now;
        let Some(process) = self.process(number, run) else { return Ok(()) };
        if process.link.control != Some(id) {
            return Ok(());
        }
        let heartbeat = process.link.heartbeat;
        if now > process.link.answered + (SILENT.0 * heartbeat).max(SILENT.1) {
            self.doom_control(id, 0);
            return Ok(());
        }
        let space = process.space();
        let shown = self.servers[number].clock.now();
        let Some(process) = self.process(number, run) else { return Ok(()) };
        let message = process.conversation.beat(shown, space);
        self.tell_master(number, [message].into())?;
        self.agenda.enter(now + heartbeat, Event::Beat(number, run, id));
        Ok(())
    }

    /// Both ends learn it; the chunkserver tries again.
    pub(crate) fn control_ends(&mut self, id: u64) {
        let Some(Control { server, run, link, .. }) = self.controls.remove(&id) else { return };
        self.note(format_args!("the stream of server-{server} to the master ends"));
        if let Some((of, link)) = link
            && of == self.master.run
            && let Some(process) = &mut self.master.up
        {
            process.links.remove(&link);
            self.master_input(Input::ChunkserverGone { link });
        }
        let after = self.chance.between(100, 400) * MS;
        let Some(process) = self.process(server, run) else { return };
        if process.link.control == Some(id) {
            process.link = crate::server::Link::default();
            self.agenda.enter(self.now + after, Event::ServerDials(server, run));
        }
    }

    /// A node is gone: its streams end, at once where its machine says so.
    pub(crate) fn streams_die(&mut self, node: Who, power: bool) {
        let after = if power { KEEP_ALIVE } else { MS };
        let run = self.master.run;
        let streams: Vec<_> = match node {
            Who::Master => {
                self.streams.iter().filter(|(_, s)| s.run == run).map(|(id, _)| *id).collect()
            }
            _ => Vec::new(),
        };
        let controls = self.controls.iter();
        let controls = controls.filter(|(_, control)| match node {
            Who::Master => control.link.is_some_and(|(of, _)| of == run),
            Who::Server(number) => control.server == number,
            Who::Client(_) => false,
        });
        let controls: Vec<_> = controls.map(|(id, _)| *id).collect();
        streams.into_iter().for_each(|id| self.doom_stream(id, after));
        controls.into_iter().for_each(|id| self.doom_control(id, after));
    }
}
