//! What the master commands, on its way to chunkservers: down a stream in order, and sometimes once more, long after.

use std::collections::VecDeque;

use gfs_chunkserver::master_link::Ended;
use gfs_types::message::control::{Command, FromChunkserver, ToChunkserver};

use crate::agenda::{MS, Micros};
use crate::net::Who;
use crate::world::{Event, World};

impl World {
    /// The master takes what a server says; heartbeats are not told, for they would be most of it.
    pub(crate) fn heard(&mut self, server: usize, message: &FromChunkserver) {
        if matches!(message, FromChunkserver::LearnerTaught { result: Ok(_), .. }) {
            self.learner_is_taught();
        }
        if !matches!(message, FromChunkserver::Heartbeat { .. }) {
            self.note(format_args!("the master hears from server-{server}: {message:?}"));
        }
    }

    /// Sends a command down a stream; it may come again, when it is old.
    pub(crate) fn command(&mut self, id: u64, message: ToChunkserver) {
        let Some(server) = self.controls.get(&id).map(|control| control.server) else { return };
        self.commanded(server, &message);
        if !matches!(message.command, Command::HeartbeatAnswer { .. }) {
            self.note(format_args!("the master commands server-{server}: {:?}", message.command));
        }
        if let Some(after) = self.echoes(&message.command) {
            let echo = Event::CommandEchoes(server, id, Box::new(message.clone()));
            self.agenda.enter(self.now + after, echo);
        }
        if let Some(at) = self.on_control(id, false) {
            self.agenda.enter(at, Event::CommandArrives(id, Box::new(message)));
        }
    }

    /// An old command, at whichever run is there by now. Streams do not do that, and nothing rests on it; but for grants: who opens
    /// another stream says on it which leases it holds, so none may come behind that (L2).
    pub(crate) fn command_echoes(
        &mut self,
        number: usize,
        stream: u64,
        message: ToChunkserver,
    ) -> anyhow::Result<()> {
        let grants = matches!(message.command, Command::GrantLease { .. });
        if grants && !self.controls.contains_key(&stream) {
            return Ok(());
        }
        self.is_commanded(number, &message.command);
        let run = self.servers[number].run;
        let grant = self.grant_comes(number, &message.command);
        let Some(process) = self.process(number, run) else { return Ok(()) };
        match process.conversation.obey(message) {
            Ok(_) | Err(Ended::Said(_)) => {}
            Err(Ended::Disk(_)) => self.process_ends(Who::Server(number)),
        }
        self.serve(number)?;
        self.is_taken_once(number, grant);
        Ok(())
    }

    /// When this one comes again, if it does.
    fn echoes(&mut self, command: &Command) -> Option<Micros> {
        let said_once = matches!(
            command,
            Command::Welcome { .. } | Command::Refused(_) | Command::HeartbeatAnswer { .. }
        );
        if said_once { None } else { self.weather.echoes(self.swarm.echo_ppm) }
    }

    pub(crate) fn command_arrives(
        &mut self,
        id: u64,
        message: ToChunkserver,
    ) -> anyhow::Result<()> {
        let Some(control) = self.controls.get(&id) else { return Ok(()) };
        let (number, run, now) = (control.server, control.run, self.now);
        self.is_commanded(number, &message.command);
        let grant = self.grant_comes(number, &message.command);
        let Some(process) = self.process(number, run) else { return Ok(()) };
        if process.link.control != Some(id) {
            return Ok(());
        }
        if process.link.registered {
            let command = message.command.clone();
            match process.conversation.obey(message) {
                Ok(true) => process.link.answered = now,
                Ok(false) => {}
                Err(Ended::Said(_)) => self.doom_control(id, MS),
                Err(Ended::Disk(_)) => self.process_ends(Who::Server(number)),
            }
            self.serve(number)?;
            self.is_taken_once(number, grant);
            match command {
                Command::HeartbeatAnswer { .. } => self.leases_are_apart(number),
                Command::GrantLease { handle, version, lease_ms, .. } => {
                    self.took_lease(number, (handle, version), lease_ms);
                }
                _ => {}
            }
            return Ok(());
        }
        match process.conversation.welcomed(&message) {
            Ok(heartbeat) => {
                process.link.registered = true;
                process.link.heartbeat = u64::try_from(heartbeat.as_micros())?;
                process.link.answered = now;
                let mut report = VecDeque::from(process.conversation.report());
                report.append(&mut process.out.lock().to_master);
                self.note(format_args!("server-{number} is registered"));
                self.tell_master(number, report)?;
                self.agenda.enter(now, Event::Beat(number, run, id));
            }
            Err(Ended::Said(_)) => self.doom_control(id, MS),
            Err(Ended::Disk(_)) => self.process_ends(Who::Server(number)),
        }
        Ok(())
    }
}
