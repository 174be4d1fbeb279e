//! Messages as they really travel.

use gfs_protocol::pb;
use gfs_types::Error;
use gfs_types::fence::{ChunkVersion, Incarnation, LogPosition, MasterEpoch};
use gfs_types::ids::{
    ChunkHandle, ClusterUid, FileId, ProcessSession, RequestId, RequestSeq, ServerUid, SessionId,
};
use gfs_types::message::client::{
    Attributes, ChunkLocation, ChunkserverStatus, ClientHello, ClientWelcome, ClusterStatus, Entry,
    EntryKind, FileLocations, LeaseGrant, LeaseTarget, Mutation, Query, ReplicaLocation, Reply,
    Request, Response, TrashEntry,
};
use gfs_types::message::control::{
    Command, FromChunkserver, HeldLease, LeaseStart, Member, RaisedReplica, Registration,
    ReplicaReport, ReplicaState, Space, ToChunkserver,
};
use gfs_types::record::ConfigRecord;
use gfs_types::region::ChunkIndex;
use gfs_types::time::WallTime;
use gfs_types::topology::Topology;

use super::wire::bytes;

const CLUSTER: ClusterUid = ClusterUid(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
const HANDLE: ChunkHandle = ChunkHandle(0x1_0000_0007);
const VERSION: ChunkVersion = ChunkVersion(4);

fn topology() -> Topology {
    "zone-a/host-1/disk-0".parse().expect("a sample is right")
}

fn attributes() -> Attributes {
    Attributes { modified: WallTime { ms: 1_700_000_000_000 }, executable: true }
}

fn entry(path: &str, kind: EntryKind) -> Entry {
    Entry {
        path: path.to_owned(),
        id: FileId(0x1_0000_0009),
        kind,
        length: 70 << 20,
        length_is_final: true,
        chunks: 2,
        replication: 3,
        attributes: attributes(),
    }
}

fn replica(uid: u128) -> ReplicaLocation {
    ReplicaLocation {
        chunkserver: ServerUid(uid),
        session: ProcessSession(2),
        address: "10.0.0.7:7500".to_owned(),
        topology: topology(),
        version: VERSION,
        state: ReplicaState::Clean,
    }
}

pub(super) fn config_record() -> ConfigRecord {
    ConfigRecord {
        cluster: CLUSTER,
        incarnation: Incarnation(1),
        epoch: MasterEpoch(2),
        version: 3,
        primary: ServerUid(4),
        in_sync: vec![ServerUid(4), ServerUid(5)],
    }
}

pub(super) fn client_hellos() -> Vec<Vec<u8>> {
    let hello = |cluster| ClientHello { cluster, topology: topology() };
    [None, Some(CLUSTER)].map(|cluster| bytes::<pb::ClientHello, _>(hello(cluster))).to_vec()
}

pub(super) fn client_welcomes() -> Vec<Vec<u8>> {
    let record = config_record();
    let welcome = ClientWelcome { record, master: ServerUid(4), chunk_bytes: 64 << 20 };
    vec![bytes::<pb::ClientWelcome, _>(welcome)]
}

pub(super) fn client_requests() -> Vec<Vec<u8>> {
    let path = || "/data/part-00001".to_owned();
    let after = Some("part-00000".to_owned());
    let file = FileId(9);
    let mutate = |mutation| Request::Mutate {
        id: RequestId { session: SessionId(1 << 60), seq: RequestSeq(300) },
        answered_below: RequestSeq(290),
        mutation,
    };
    let (replication, attributes) = (3, attributes());
    let requests = [
        Request::OpenSession,
        Request::CloseSession(SessionId(3)),
        Request::Query(Query::Stat { path: path() }),
        Request::Query(Query::List { path: path(), after, limit: 1000 }),
        Request::Query(Query::Locate { file, first: ChunkIndex(2), count: 16 }),
        Request::Query(Query::Status),
        Request::Query(Query::Trash { after: Some(file), limit: 100 }),
        Request::Lease { file, target: LeaseTarget::Last, not_version: Some(VERSION) },
        Request::Lease { file, target: LeaseTarget::Index(ChunkIndex(1)), not_version: None },
        Request::ReportCorrupt {
            handle: HANDLE,
            version: VERSION,
            chunkserver: ServerUid(3),
            evidence: "block 4".to_owned(),
        },
        mutate(Mutation::Create { path: path(), replication, attributes }),
        mutate(Mutation::Mkdir { path: path(), parents: true }),
        mutate(Mutation::Rename { from: path(), to: "/b".to_owned(), replace: true }),
        mutate(Mutation::Delete { path: path(), recursive: true, purge: false }),
        mutate(Mutation::Undelete { path: path() }),
        mutate(Mutation::SetLength { file, length: 1 << 30, attributes: Some(attributes) }),
    ];
    requests.map(|request| bytes::<pb::ClientRequest, _>((5, request))).to_vec()
}

pub(super) fn client_replies() -> Vec<Vec<u8>> {
    let more = true;
    let results = [
        Ok(Response::Session(SessionId(1))),
        Ok(Response::Done),
        Ok(Response::Entry(entry("/data/f", EntryKind::File))),
        Ok(Response::Page {
            entries: vec![entry("f", EntryKind::File), entry("d", EntryKind::Directory)],
            more,
        }),
        Ok(Response::Locations(locations())),
        Ok(Response::Lease(grant())),
        Ok(Response::Status(cluster_status())),
        Ok(Response::Trash { entries: vec![trashed()], more }),
        Err(Error { retry_after_ms: 100, ..Error::busy("the master is still recovering") }),
    ];
    let reply = |result| Reply { epoch: MasterEpoch(1), log_position: LogPosition(2), result };
    results.map(|result| bytes::<pb::ClientReply, _>((5, reply(result)))).to_vec()
}

fn locations() -> FileLocations {
    let chunk = ChunkLocation {
        index: ChunkIndex(1),
        handle: HANDLE,
        version: VERSION,
        length: 6 << 20,
        primary: Some(ServerUid(1)),
        replicas: vec![replica(1), replica(2), replica(3)],
        members: 3,
    };
    FileLocations {
        entry: entry("/data/f", EntryKind::File),
        chunks: vec![chunk],
        valid_ms: 10_000,
    }
}

fn grant() -> LeaseGrant {
    LeaseGrant {
        index: ChunkIndex(1),
        handle: HANDLE,
        version: VERSION,
        epoch: MasterEpoch(1),
        primary: ServerUid(1),
        members: vec![replica(1), replica(2)],
        left_ms: 9_000,
    }
}

fn trashed() -> TrashEntry {
    TrashEntry {
        id: FileId(4),
        path: "/old".to_owned(),
        kind: EntryKind::Directory,
        deleted: WallTime { ms: 5 },
    }
}

fn cluster_status() -> ClusterStatus {
    let server = ChunkserverStatus {
        uid: ServerUid(1),
        address: "10.0.0.7:7500".to_owned(),
        http_address: "10.0.0.7:7501".to_owned(),
        topology: topology(),
        alive: true,
        capacity_bytes: 1 << 40,
        free_bytes: 1 << 39,
        replicas: 1000,
    };
    ClusterStatus {
        files: 1,
        master_http_address: "10.0.0.1:7401".to_owned(),
        chunkservers: vec![server],
        ..ClusterStatus::default()
    }
}

pub(super) fn chunkserver_messages() -> Vec<Vec<u8>> {
    let (handle, version) = (HANDLE, VERSION);
    let report = ReplicaReport { handle, version, length: 3, state: ReplicaState::Suspect };
    let space = Space { capacity_bytes: 1 << 40, free_bytes: 1 << 39 };
    let registration = Registration {
        cluster: Some(CLUSTER),
        chunkserver: ServerUid(1),
        session: ProcessSession(2),
        address: "10.0.0.7:7500".to_owned(),
        http_address: "10.0.0.7:7501".to_owned(),
        topology: topology(),
        space,
        epoch: MasterEpoch(3),
        leases: vec![HeldLease { handle, version, left_ms: 4, members: vec![ServerUid(1)] }],
    };
    let raised = RaisedReplica { length: 1, digest: 2, state: ReplicaState::Clean };
    let (changed, extend) = (vec![report], vec![(handle, version)]);
    let silent = "silent for 2 s".to_owned();
    let messages = [
        FromChunkserver::Register(registration),
        FromChunkserver::ReportPage { replicas: vec![report, report], last: true },
        FromChunkserver::Heartbeat { seq: 1, space, changed, extend },
        FromChunkserver::ReplicaCreated { handle, version, result: Ok(()) },
        FromChunkserver::ReplicaCreated { handle, version, result: Err(Error::busy("full")) },
        FromChunkserver::Raised { handle, version, result: Ok(raised) },
        FromChunkserver::Raised { handle, version, result: Err(Error::stale("old")) },
        FromChunkserver::ReplicaDeleted { handle, version, result: Ok(()) },
        FromChunkserver::LeaseGivenUp { handle, version, length: 9 },
        FromChunkserver::MemberFailed {
            handle,
            version,
            member: ServerUid(8),
            session: ProcessSession(4),
            reason: silent,
        },
        FromChunkserver::LearnerTaught {
            handle,
            version,
            learner: ServerUid(8),
            session: ProcessSession(4),
            result: Ok(()),
        },
    ];
    messages.map(bytes::<pb::ChunkserverMessage, _>).to_vec()
}

pub(super) fn commands() -> Vec<Vec<u8>> {
    let (handle, version) = (HANDLE, VERSION);
    let member = |uid| Member {
        chunkserver: ServerUid(uid),
        session: ProcessSession(2),
        address: "10.0.0.7:7500".to_owned(),
    };
    let members = vec![member(1), member(2), member(3)];
    let commands = [
        Command::Welcome {
            cluster: CLUSTER,
            master_session: ProcessSession(2),
            chunk_bytes: 64 << 20,
            heartbeat_ms: 500,
        },
        Command::Refused(Error::denied("another cluster")),
        Command::HeartbeatAnswer { seq: 1, extended: vec![(handle, version)], lease_ms: 10_000 },
        Command::CreateReplica { handle, version },
        Command::Raise { handle, version, from: ChunkVersion(1) },
        Command::GrantLease {
            handle,
            version,
            members,
            lease_ms: 10_000,
            start: LeaseStart::Unequal,
            brief: true,
            alone: true,
        },
        Command::Teach { handle, version, learner: member(4) },
        Command::RevokeLease { handle, version },
        Command::DeleteReplica { handle, version },
    ];
    let to = |command| ToChunkserver { epoch: MasterEpoch(1), session: ProcessSession(2), command };
    commands.map(|command| bytes::<pb::CommandMessage, _>(to(command))).to_vec()
}
