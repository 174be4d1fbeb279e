//! Chunkservers that share one memory, so that every replica is equal, and obey the test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gfs_protocol::checksum::blocks;
use gfs_protocol::frame::{self, Head, Header, RequestHead};
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ClusterUid, DataId, ProcessSession, ServerUid};
use gfs_types::limits::BLOCK_BYTES;
use gfs_types::message::control::ReplicaState;
use gfs_types::message::data::{
    DataReply, DataRequest, DataResponse, DataSource, Hello, PROTOCOL_VERSION, ReplicaInfo,
};
use gfs_types::{Error, ErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{CHUNK_BYTES, Process, listen};

/// The bytes of all replicas, and what the test wants.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) chunks: BTreeMap<ChunkHandle, Vec<u8>>,
    pushed: BTreeMap<DataId, Vec<u8>>,
    pub(crate) syncs: usize,
    pub(crate) pushes: usize,
    pub(crate) appends: usize,
    /// Most pushes that were not written yet.
    pub(crate) pushed_max: usize,
    /// No write is answered.
    pub(crate) stalled: bool,
    /// Refuse the next mutations so.
    pub(crate) refuse: Vec<ErrorKind>,
    /// Carry out the next so many mutations, then break the connection without an answer.
    pub(crate) swallow_answers: usize,
    /// This server sends a bit other than it was stored.
    pub(crate) rotten: Option<ServerUid>,
    /// This server shows only so many bytes of any chunk.
    pub(crate) behind: Option<(ServerUid, usize)>,
    /// This server says it is another.
    pub(crate) impostor: Option<ServerUid>,
}

pub(crate) struct ChunkserverProcess {
    pub(crate) address: String,
    _process: Process,
}

impl ChunkserverProcess {
    pub(crate) fn start(uid: u128, store: Arc<Mutex<Store>>) -> Self {
        let listener = listen(0);
        let address = listener.local_addr().unwrap().to_string();
        let process = Process::start();
        process.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(ServerUid(uid), stream, Arc::clone(&store)));
            }
        });
        Self { address, _process: process }
    }
}

async fn serve(me: ServerUid, mut stream: TcpStream, store: Arc<Mutex<Store>>) {
    while let Some((head, payload)) = next(&mut stream).await {
        let bytes = match head {
            Head::Hello(hello) => greet(me, &hello, &store.lock().unwrap()),
            Head::Request(request) => {
                while matches!(request.request, DataRequest::Write { .. })
                    && store.lock().unwrap().stalled
                {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                match answer(me, &request, payload, &mut store.lock().unwrap()) {
                    None => return,
                    Some((result, payload, sums)) => {
                        let reply = DataReply { result };
                        let length = u32::try_from(payload.len()).unwrap();
                        let head =
                            frame::encode_reply(request.id, request.op(), &reply, length, &sums)
                                .unwrap();
                        [head, payload].concat()
                    }
                }
            }
            other => panic!("a client does not send {other:?}"),
        };
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn next(stream: &mut TcpStream) -> Option<(Head, Vec<u8>)> {
    let mut bytes = [0; Header::BYTES];
    stream.read_exact(&mut bytes).await.ok()?;
    let header = Header::decode(&bytes).unwrap();
    let mut tail = vec![0; header.tail_bytes()];
    stream.read_exact(&mut tail).await.ok()?;
    let mut payload = vec![0; header.payload_bytes as usize];
    stream.read_exact(&mut payload).await.ok()?;
    Some((Head::decode(&header, &tail).unwrap(), payload))
}

fn greet(me: ServerUid, hello: &Hello, store: &Store) -> Vec<u8> {
    assert_eq!(hello.cluster, ClusterUid(0xc1));
    let me = if store.impostor == Some(me) { ServerUid(0xbad) } else { me };
    let answer = if hello.peer == me {
        let session = ProcessSession(1);
        let (peer, peer_session) = (ServerUid(0), ProcessSession(0));
        let (protocol, cluster) = (PROTOCOL_VERSION, hello.cluster);
        Ok(Hello { protocol, cluster, me, peer, session, peer_session })
    } else {
        Err(Error::denied(format!("here is {me}, not {}", hello.peer)))
    };
    frame::encode_hello_reply(&answer).unwrap()
}

type Answer = (Result<DataResponse, Error>, Vec<u8>, Vec<u32>);

fn plain(result: Result<DataResponse, Error>) -> Option<Answer> {
    Some((result, Vec::new(), Vec::new()))
}

/// `None` breaks the connection.
fn answer(
    me: ServerUid,
    head: &RequestHead,
    payload: Vec<u8>,
    store: &mut Store,
) -> Option<Answer> {
    assert_eq!(blocks(frame::offset_of(&head.request), &payload), head.checksums);
    let (handle, version) = (head.target.handle, head.target.version);
    let mutation = matches!(head.request, DataRequest::Write { .. } | DataRequest::Append { .. });
    if mutation && let Some(kind) = store.refuse.pop() {
        return plain(Err(Error::new(kind, "the test says so")));
    }
    let result = match &head.request {
        DataRequest::Push { data, chain, .. } => {
            assert_eq!(chain.len(), 2, "the client names the rest of the chain");
            store.pushes += 1;
            store.pushed.insert(*data, payload);
            store.pushed_max = store.pushed_max.max(store.pushed.len());
            Ok(DataResponse::Done)
        }
        DataRequest::Write { offset, length, source } => {
            let bytes = store.bytes_of(*source, *length, payload);
            let at = usize::try_from(*offset).unwrap();
            Ok(DataResponse::Committed { length: store.put(handle, at, &bytes), version })
        }
        DataRequest::Append { length, source } => {
            let bytes = store.bytes_of(*source, *length, payload);
            store.appends += 1;
            store.append(handle, version, &bytes)
        }
        DataRequest::Sync => {
            store.syncs += 1;
            let length = store.chunks.get(&handle).map_or(0, Vec::len) as u64;
            Ok(DataResponse::Committed { length, version })
        }
        DataRequest::Inspect => {
            let committed_length = store.chunks.get(&handle).map_or(0, Vec::len) as u64;
            let (primary, state) = (me == ServerUid(1), ReplicaState::Unclean);
            let version = ChunkVersion(1);
            Ok(DataResponse::Replica(ReplicaInfo { version, committed_length, primary, state }))
        }
        DataRequest::Verify { .. } if store.rotten == Some(me) => {
            Err(Error::corrupt("block 0 does not match"))
        }
        DataRequest::Read { offset, length, .. } | DataRequest::Verify { offset, length } => {
            return Some(store.read(me, handle, *offset, *length));
        }
        other => Err(Error::invalid(format!("not in this play: {other:?}"))),
    };
    if mutation && store.swallow_answers > 0 {
        store.swallow_answers -= 1;
        return None;
    }
    plain(result)
}

impl Store {
    fn bytes_of(&mut self, source: DataSource, length: u64, payload: Vec<u8>) -> Vec<u8> {
        let bytes = match source {
            DataSource::Inline => payload,
            DataSource::Pushed(first) => {
                let (mut whole, mut names) = (Vec::new(), Vec::new());
                let mut seq = first.seq;
                while (whole.len() as u64) < length {
                    whole.extend(&self.pushed[&DataId { seq, ..first }]);
                    names.push(seq);
                    seq += 1;
                }
                names
                    .into_iter()
                    .for_each(|seq| drop(self.pushed.remove(&DataId { seq, ..first })));
                whole
            }
        };
        assert_eq!(bytes.len() as u64, length);
        bytes
    }

    fn put(&mut self, handle: ChunkHandle, at: usize, bytes: &[u8]) -> u64 {
        let chunk = self.chunks.entry(handle).or_default();
        chunk.resize(chunk.len().max(at + bytes.len()), 0);
        chunk[at..at + bytes.len()].copy_from_slice(bytes);
        chunk.len() as u64
    }

    fn append(
        &mut self,
        handle: ChunkHandle,
        version: ChunkVersion,
        bytes: &[u8],
    ) -> Result<DataResponse, Error> {
        let at = self.chunks.get(&handle).map_or(0, Vec::len);
        if (at + bytes.len()) as u64 > CHUNK_BYTES {
            self.chunks.entry(handle).or_default().resize(usize::try_from(CHUNK_BYTES).unwrap(), 0);
            return Err(Error::chunk_full("padded"));
        }
        let length = self.put(handle, at, bytes);
        Ok(DataResponse::Appended { offset: at as u64, length, version })
    }

    /// Whole blocks, as a server does: from the border below to the border above.
    fn read(&self, me: ServerUid, handle: ChunkHandle, offset: u64, length: u64) -> Answer {
        let empty = Vec::new();
        let mut chunk = &self.chunks.get(&handle).unwrap_or(&empty)[..];
        if let Some((uid, shown)) = self.behind
            && uid == me
        {
            chunk = &chunk[..shown.min(chunk.len())];
        }
        let committed_length = chunk.len() as u64;
        let begin = (offset / BLOCK_BYTES * BLOCK_BYTES).min(committed_length);
        let end = ((offset + length).div_ceil(BLOCK_BYTES) * BLOCK_BYTES).min(committed_length);
        let (from, to) = (usize::try_from(begin).unwrap(), usize::try_from(end).unwrap());
        let mut payload = chunk[from..to].to_vec();
        let sums = blocks(begin, &payload);
        if self.rotten == Some(me) && !payload.is_empty() {
            payload[0] ^= 1;
        }
        let length = payload.len() as u64;
        let own_checksum = false;
        let response =
            DataResponse::Bytes { offset: begin, length, committed_length, own_checksum };
        (Ok(response), payload, sums)
    }
}
