//! `Hello`, both ways: the first frame on every connection.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use gfs_protocol::frame::blocking::read_head;
use gfs_protocol::frame::{Head, encode_hello, encode_hello_reply};
use gfs_types::Error;
use gfs_types::ids::{ProcessSession, ServerUid};
use gfs_types::message::data::{Hello, PROTOCOL_VERSION};

use super::Identity;
use super::accept::Shared;
use super::guests::Visit;
use super::socket::Deadline;

/// Hears who connects and answers. An error was told to the other end where that was possible.
pub(super) fn accept(stream: &TcpStream, shared: &Shared) -> Result<(Hello, Visit), Error> {
    let identity = &shared.identity;
    let answer = hear(stream, shared.bounds.handshake).and_then(|hello| {
        judge(&hello, identity)?;
        let visit = shared.guests.enter(&hello)?;
        Ok((hello, visit))
    });
    let mine = match &answer {
        Ok(_) => Ok(identity.hello(ServerUid(0), ProcessSession(0))),
        Err(error) => Err(error.clone()),
    };
    send(stream, &encode_hello_reply(&mine)?)?;
    answer
}

/// Refuses whoever connected, unheard.
pub(super) fn refuse(stream: &TcpStream, error: Error) {
    if let Ok(bytes) = encode_hello_reply(&Err(error)) {
        // Nobody waits for the outcome: the connection ends either way.
        let _ = send(stream, &bytes);
    }
}

/// Says who connects to whom and hears the answer.
pub(super) fn introduce(
    stream: &TcpStream,
    identity: &Identity,
    peer: ServerUid,
    session: ProcessSession,
    limit: Duration,
) -> Result<(), Error> {
    send(stream, &encode_hello(&identity.hello(peer, session))?)?;
    let mut reader = Deadline { stream, until: Instant::now() + limit };
    match read_head(&mut reader) {
        Ok(Some((_, Head::HelloReply(Ok(hello))))) if hello.me == peer => Ok(()),
        Ok(Some((_, Head::HelloReply(Ok(hello))))) => Err(Error::stale(format!(
            "chunkserver {peer} is expected there, {} answered",
            hello.me
        ))),
        Ok(Some((_, Head::HelloReply(Err(error))))) => Err(error),
        Ok(_) => Err(Error::unknown(format!("chunkserver {peer} closed or answered no hello"))),
        Err(error) => Err(Error::unknown(format!("no hello from chunkserver {peer}: {error}"))),
    }
}

fn hear(stream: &TcpStream, limit: Duration) -> Result<Hello, Error> {
    let mut reader = Deadline { stream, until: Instant::now() + limit };
    match read_head(&mut reader) {
        Ok(Some((_, Head::Hello(hello)))) => Ok(hello),
        Ok(Some(_)) => Err(Error::invalid("the first frame of a connection must be a hello")),
        Ok(None) => Err(Error::invalid("the connection ended before a hello")),
        Err(error) => Err(Error::invalid(format!("no hello within {limit:?}: {error}"))),
    }
}

/// Whether this server is the one that is meant.
fn judge(hello: &Hello, identity: &Identity) -> Result<(), Error> {
    let Identity { cluster, me, session } = identity;
    let (protocol, theirs) = (hello.protocol, hello.cluster);
    if protocol != PROTOCOL_VERSION {
        return Err(Error::denied(format!(
            "data protocol {PROTOCOL_VERSION} is spoken here, {protocol} by {}",
            hello.me
        )));
    }
    if theirs != *cluster {
        let text = format!("this chunkserver belongs to cluster {cluster}, not to {theirs}");
        return Err(Error::denied(text));
    }
    if hello.peer != *me {
        let text =
            format!("this is chunkserver {me}, not {}: its address changed hands", hello.peer);
        return Err(Error::stale(text));
    }
    if hello.peer_session.0 != 0 && hello.peer_session != *session {
        let meant = hello.peer_session.0;
        let text = format!("session {} of chunkserver {me} runs here, not {meant}", session.0);
        return Err(Error::stale(text));
    }
    Ok(())
}

impl Identity {
    fn hello(&self, peer: ServerUid, peer_session: ProcessSession) -> Hello {
        Hello {
            protocol: PROTOCOL_VERSION,
            cluster: self.cluster,
            me: self.me,
            peer,
            session: self.session,
            peer_session,
        }
    }
}

fn send(mut stream: &TcpStream, bytes: &[u8]) -> Result<(), Error> {
    stream.write_all(bytes).map_err(|error| Error::unknown(format!("sending a hello: {error}")))
}
