//! The task behind one connection: hello, then requests out and replies in, each matched by its number.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use gfs_protocol::frame::{self, Head, Header};
use gfs_types::ErrorKind;
use gfs_types::ids::{ClusterUid, ProcessSession, ServerUid};
use gfs_types::limits::HANDSHAKE_MS;
use gfs_types::message::data::{DataResponse, Hello, PROTOCOL_VERSION, Target};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::gather::Gather;
use super::verify::Check;
use super::{Answer, Call, IDLE};
use crate::lock;
use crate::retry::Failure;

/// Time for one TCP connection.
const CONNECT: Duration = Duration::from_millis(1_000);
/// Kept of the time of a request for its answer to come back, at most; a tenth where that is less.
const ANSWER_TRAVELS: Duration = Duration::from_millis(200);
/// Heads are read in runs of this many bytes; payloads go past it.
const HEAD_BUFFER_BYTES: usize = 8 << 10;
/// Calls whose frames are written together.
const GATHERED_MAX: usize = 16;

/// Who is meant to be at the other end.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) me: ServerUid,
    pub(super) cluster: ClusterUid,
    pub(super) chunkserver: ServerUid,
    pub(super) address: String,
    /// Requests on their way at once: more wait here, and the server need not refuse them.
    pub(super) requests_max: usize,
}

type Waiting = BTreeMap<u64, (oneshot::Sender<Result<Answer, Failure>>, OwnedSemaphorePermit)>;

/// Requests without a reply; `None` once the connection is over.
type Pending = Arc<Mutex<Option<Waiting>>>;

/// Connects when there is something to ask, serves until the connection breaks, and ends when idle.
pub(super) async fn run(peer: Peer, mut calls: mpsc::Receiver<Call>) {
    while let Ok(Some(first)) = timeout(IDLE, calls.recv()).await {
        match connect(&peer).await {
            Ok(stream) => serve(&peer, stream, first, &mut calls).await,
            Err(failure) => refuse_all(first, &mut calls, &failure),
        }
    }
    // Whoever put a call in since is told by its dropped sender only; so the queue is closed and emptied first.
    calls.close();
    while let Some(call) = calls.recv().await {
        let text = format!("{}: the connection was closing", peer.address);
        let _ = call.reply.send(Err(Failure::Unreachable(text)));
    }
}

/// Nothing of these was sent.
fn refuse_all(first: Call, calls: &mut mpsc::Receiver<Call>, failure: &Failure) {
    let _ = first.reply.send(Err(failure.clone()));
    while let Ok(call) = calls.try_recv() {
        let _ = call.reply.send(Err(failure.clone()));
    }
}

async fn connect(peer: &Peer) -> Result<TcpStream, Failure> {
    let who = format!("chunkserver {} at {}", peer.chunkserver, peer.address);
    let failed = |what: String| Failure::Unreachable(format!("{who}: {what}"));
    let mut stream = timeout(CONNECT, dial(&peer.address))
        .await
        .map_err(|_| failed("no connection in time".to_owned()))?
        .map_err(|error| failed(error.to_string()))?;
    gfs_protocol::socket::prepare(&stream).map_err(|error| failed(error.to_string()))?;
    let limit = Duration::from_millis(HANDSHAKE_MS.0);
    match timeout(limit, greet(peer, &mut stream)).await {
        Err(_) => Err(failed("takes connections but is silent".to_owned())),
        Ok(Err(error)) => Err(failed(error.to_string())),
        // A wrong cluster, a wrong peer: the address belongs to somebody else by now.
        Ok(Ok(Err(error))) => {
            Err(Failure::Refused(gfs_types::Error { message: format!("{who}: {error}"), ..error }))
        }
        Ok(Ok(Ok(()))) => Ok(stream),
    }
}

/// Connects to the first address of `HOST:PORT` that answers.
async fn dial(address: &str) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host(address).await? {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        gfs_protocol::socket::begin(&socket);
        match socket.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Says hello and checks who answers.
async fn greet(
    peer: &Peer,
    stream: &mut TcpStream,
) -> std::io::Result<Result<(), gfs_types::Error>> {
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        cluster: peer.cluster,
        me: peer.me,
        peer: peer.chunkserver,
        session: ProcessSession(0),
        peer_session: ProcessSession(0),
    };
    let bytes = frame::encode_hello(&hello).map_err(broken)?;
    stream.write_all(&bytes).await?;
    let Some((_, head)) = read_head(stream).await? else {
        return Err(broken("closed during the hello"));
    };
    let answer = match head {
        Head::HelloReply(answer) => answer,
        _ => return Err(broken("something else than a hello came")),
    };
    Ok(answer.and_then(|answer| {
        if answer.cluster == peer.cluster && answer.me == peer.chunkserver {
            return Ok(());
        }
        Err(gfs_types::Error::denied(format!(
            "here is {} of cluster {}, expected was {} of cluster {}",
            answer.me, answer.cluster, peer.chunkserver, peer.cluster
        )))
    }))
}

fn broken(error: impl ToString) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string())
}

/// One connection's life; every call it took is answered at the end.
async fn serve(peer: &Peer, stream: TcpStream, first: Call, calls: &mut mpsc::Receiver<Call>) {
    let (input, output) = stream.into_split();
    let pending: Pending = Arc::new(Mutex::new(Some(BTreeMap::new())));
    let mut replies = tokio::spawn(receive(input, Arc::clone(&pending)));
    let end = tokio::select! {
        end = send(output, first, calls, &pending, peer.requests_max) => end,
        end = &mut replies => end.unwrap_or_else(|error| error.to_string()),
    };
    replies.abort();
    let text = format!("chunkserver {} at {}: {end}", peer.chunkserver, peer.address);
    tracing::debug!(text, "a data connection ended");
    for (reply, _) in lock(&pending).take().unwrap_or_default().into_values() {
        let _ = reply.send(Err(Failure::Lost(text.clone())));
    }
}

/// Writes requests as they come; returns why it stopped.
async fn send(
    mut output: OwnedWriteHalf,
    first: Call,
    calls: &mut mpsc::Receiver<Call>,
    pending: &Pending,
    requests_max: usize,
) -> String {
    let free = Arc::new(Semaphore::new(requests_max));
    let mut next_id = 1u64;
    let mut next = Some(first);
    loop {
        let call = match next.take() {
            Some(call) => call,
            None => match timeout(IDLE, calls.recv()).await {
                Ok(Some(call)) => call,
                Ok(None) => return "the client is closing".to_owned(),
                Err(_) if lock(pending).as_ref().is_none_or(BTreeMap::is_empty) => {
                    return "idle".to_owned();
                }
                Err(_) => continue,
            },
        };
        let mut gather = Gather::default();
        let Ok(place) = Arc::clone(&free).acquire_owned().await else {
            return "the client is closing".to_owned();
        };
        add(call, place, &mut next_id, &mut gather, pending);
        for _ in 1..GATHERED_MAX {
            let Ok(place) = Arc::clone(&free).try_acquire_owned() else { break };
            let Ok(call) = calls.try_recv() else { break };
            add(call, place, &mut next_id, &mut gather, pending);
        }
        if let Err(error) = output.write_all_buf(&mut gather).await {
            return error.to_string();
        }
    }
}

/// Puts a call's frame to those to be written, unless its caller has gone.
fn add(
    call: Call,
    place: OwnedSemaphorePermit,
    next_id: &mut u64,
    gather: &mut Gather,
    pending: &Pending,
) {
    if call.reply.is_closed() {
        return;
    }
    let target = target(&call);
    let length = u32::try_from(call.payload.len()).unwrap_or(u32::MAX);
    let id = *next_id;
    let head = match frame::encode_request(id, &target, &call.request, length, &call.checksums) {
        Ok(head) => head,
        Err(error) => {
            let error = gfs_types::Error::new(ErrorKind::Invalid, error.to_string());
            let _ = call.reply.send(Err(Failure::Refused(error)));
            return;
        }
    };
    if let Some(waiting) = lock(pending).as_mut() {
        *next_id += 1;
        call.sent.store(true, Ordering::Relaxed);
        waiting.insert(id, (call.reply, place));
        gather.push(Bytes::from(head));
        gather.push(call.payload);
    }
}

/// What the request names, with the time that is left for it now.
pub(super) fn target(call: &Call) -> Target {
    let left = call.deadline.saturating_duration_since(Instant::now());
    // The answer travels, too: who gives up says why before this client does without it.
    let left = left.saturating_sub((left / 10).min(ANSWER_TRAVELS));
    let left_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
    Target { left_ms, ..call.target }
}

/// Reads replies until the connection ends; returns why.
async fn receive(input: OwnedReadHalf, pending: Pending) -> String {
    let mut input = BufReader::with_capacity(HEAD_BUFFER_BYTES, input);
    loop {
        match receive_one(&mut input, &pending).await {
            Ok(true) => {}
            Ok(false) => return "the server closed the connection".to_owned(),
            Err(error) => return error.to_string(),
        }
    }
}

/// One reply; false at the clean end of the stream.
async fn receive_one(
    input: &mut (impl AsyncRead + Unpin),
    pending: &Pending,
) -> std::io::Result<bool> {
    let Some((header, head)) = read_head(input).await? else { return Ok(false) };
    let Head::Reply(head) = head else {
        return Err(broken("a server does not ask"));
    };
    let mut check = Check::new(&head.reply.result, header.payload_bytes as usize, &head.checksums);
    let payload = read_payload(input, header.payload_bytes as usize, &mut check).await?;
    let good = check.end();
    let waiting = lock(pending).as_mut().and_then(|waiting| waiting.remove(&head.id));
    if let Some((reply, _)) = waiting {
        // The caller may have given up meanwhile.
        let _ = reply.send(answer(head.reply.result, payload, good));
    }
    Ok(true)
}

/// What the caller gets of a reply, by the verdict on its payload.
pub(super) fn answer(
    reply: Result<DataResponse, gfs_types::Error>,
    payload: Bytes,
    good: Result<(), String>,
) -> Result<Answer, Failure> {
    let response = reply.map_err(Failure::Refused)?;
    good.map_err(|what| {
        Failure::Mismatch(format!("bytes do not match their stored checksum: {what}"))
    })?;
    Ok(Answer { response, payload })
}

/// The next header and head; `None` at the clean end of the stream.
async fn read_head(
    input: &mut (impl AsyncRead + Unpin),
) -> std::io::Result<Option<(Header, Head)>> {
    let mut bytes = [0; Header::BYTES];
    let first = input.read(&mut bytes).await?;
    if first == 0 {
        return Ok(None);
    }
    input.read_exact(&mut bytes[first..]).await?;
    let header = Header::decode(&bytes).map_err(broken)?;
    let mut tail = vec![0; header.tail_bytes()];
    input.read_exact(&mut tail).await?;
    let head = Head::decode(&header, &tail).map_err(broken)?;
    Ok(Some((header, head)))
}

/// The payload's length was checked with the header. Blocks are checked as they come, while they are in the cache.
async fn read_payload(
    input: &mut (impl AsyncRead + Unpin),
    length: usize,
    check: &mut Check<'_>,
) -> std::io::Result<Bytes> {
    let mut payload = BytesMut::with_capacity(length);
    let mut limited = input.take(length as u64);
    while payload.len() < length {
        if limited.read_buf(&mut payload).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        check.look(&payload);
    }
    Ok(payload.freeze())
}

#[cfg(test)]
mod tests {
    use gfs_types::fence::{ChunkVersion, MasterEpoch};
    use gfs_types::ids::ChunkHandle;
    use gfs_types::message::data::{DataReply, DataRequest};

    use super::*;

    const MAX: usize = 5;
    const SERVER: ServerUid = ServerUid(2);

    /// A server that answers nothing by itself.
    async fn greeted(listener: &tokio::net::TcpListener) -> TcpStream {
        let (mut stream, _) = listener.accept().await.unwrap();
        let Some((_, Head::Hello(hello))) = read_head(&mut stream).await.unwrap() else {
            panic!("no hello")
        };
        assert_eq!(hello.session, ProcessSession(0), "a client has no session");
        let answer = Hello { me: SERVER, peer: ServerUid(0), ..hello };
        stream.write_all(&frame::encode_hello_reply(&Ok(answer)).unwrap()).await.unwrap();
        stream
    }

    fn call() -> (Call, oneshot::Receiver<Result<Answer, Failure>>) {
        let (reply, answer) = oneshot::channel();
        let (handle, version) = (ChunkHandle(1), ChunkVersion(1));
        let call = Call {
            target: Target { handle, version, epoch: MasterEpoch(1), left_ms: 0 },
            request: DataRequest::Inspect,
            payload: Bytes::new(),
            checksums: Vec::new(),
            deadline: Instant::now() + Duration::from_secs(60),
            sent: Arc::default(),
            reply,
        };
        (call, answer)
    }

    #[tokio::test]
    async fn one_past_the_limit_is_sent_when_another_is_answered() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let cluster = ClusterUid(1);
        let peer =
            Peer { me: ServerUid(1), cluster, chunkserver: SERVER, address, requests_max: MAX };
        let (queue, calls) = mpsc::channel(2 * MAX);
        let (all, mut answers): (Vec<_>, Vec<_>) = (0..=MAX).map(|_| call()).unzip();
        for call in all {
            queue.send(call).await.unwrap();
        }
        tokio::spawn(run(peer, calls));
        let mut server = greeted(&listener).await;
        for id in 1..=MAX as u64 {
            let Some((_, Head::Request(head))) = read_head(&mut server).await.unwrap() else {
                panic!("no request")
            };
            assert_eq!(head.id, id);
        }
        let early = timeout(Duration::from_millis(50), read_head(&mut server)).await;
        assert!(early.is_err(), "{early:?}");
        let reply = DataReply { result: Ok(DataResponse::Done) };
        let bytes = frame::encode_reply(3, frame::Op::Inspect, &reply, 0, &[]).unwrap();
        server.write_all(&bytes).await.unwrap();
        assert!(answers.remove(2).await.unwrap().is_ok());
        let Some((_, Head::Request(head))) = read_head(&mut server).await.unwrap() else {
            panic!("no request")
        };
        assert_eq!(head.id, MAX as u64 + 1);
    }
}
