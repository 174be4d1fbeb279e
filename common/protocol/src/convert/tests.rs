//! Every message goes to the wire and back unchanged; what is incomplete is refused with the field's name.

use gfs_types::Error;
use gfs_types::fence::{ChunkVersion, Incarnation, LogPosition, MasterEpoch};
use gfs_types::ids::{
    ChunkHandle, ClusterUid, FileId, ProcessSession, RequestId, RequestSeq, ServerUid, SessionId,
};
use gfs_types::message::client::*;
use gfs_types::message::control::*;
use gfs_types::record::ConfigRecord;
use gfs_types::region::ChunkIndex;
use gfs_types::time::WallTime;
use prost::Message;

use crate::pb;

/// To bytes and back, as it travels.
fn travel<W: Message + Default>(wire: W) -> W {
    W::decode(wire.encode_to_vec().as_slice()).expect("prost reads what it wrote")
}

fn attributes() -> Attributes {
    Attributes { modified: WallTime { ms: 7 }, executable: true }
}

fn entry() -> Entry {
    Entry {
        path: "/ü b".into(),
        id: FileId(9),
        kind: EntryKind::File,
        length: 1 << 40,
        length_is_final: true,
        chunks: 3,
        replication: 3,
        attributes: attributes(),
    }
}

fn replica() -> ReplicaLocation {
    ReplicaLocation {
        chunkserver: ServerUid(u128::MAX),
        session: ProcessSession(2),
        address: "127.0.0.1:7500".into(),
        topology: "a/b/c".parse().unwrap(),
        version: ChunkVersion(4),
        state: ReplicaState::Unclean,
    }
}

fn requests() -> Vec<Request> {
    let mutate = |mutation| Request::Mutate {
        id: RequestId { session: SessionId(1), seq: RequestSeq(2) },
        answered_below: RequestSeq(2),
        mutation,
    };
    let path = || "/a".to_owned();
    vec![
        Request::OpenSession,
        Request::CloseSession(SessionId(3)),
        Request::Query(Query::Stat { path: path() }),
        Request::Query(Query::List { path: path(), after: None, limit: 5 }),
        Request::Query(Query::List { path: path(), after: Some(String::new()), limit: 5 }),
        Request::Query(Query::Locate { file: FileId(1), first: ChunkIndex(2), count: 3 }),
        Request::Query(Query::Status),
        Request::Query(Query::Trash { after: Some(FileId(0)), limit: 1 }),
        Request::Lease { file: FileId(1), target: LeaseTarget::Last, not_version: None },
        Request::Lease {
            file: FileId(1),
            target: LeaseTarget::Index(ChunkIndex(0)),
            not_version: Some(ChunkVersion(0)),
        },
        Request::ReportCorrupt {
            handle: ChunkHandle(1),
            version: ChunkVersion(2),
            chunkserver: ServerUid(3),
            evidence: "block 4".into(),
        },
        mutate(Mutation::Create { path: path(), replication: 3, attributes: attributes() }),
        mutate(Mutation::Mkdir { path: path(), parents: true }),
        mutate(Mutation::Rename { from: path(), to: "/b".into(), replace: true }),
        mutate(Mutation::Delete { path: path(), recursive: true, purge: false }),
        mutate(Mutation::Undelete { path: path() }),
        mutate(Mutation::SetLength { file: FileId(1), length: 2, attributes: None }),
        mutate(Mutation::SetLength { file: FileId(1), length: 2, attributes: Some(attributes()) }),
    ]
}

fn responses() -> Vec<Response> {
    let locations = FileLocations {
        entry: entry(),
        chunks: vec![ChunkLocation {
            index: ChunkIndex(1),
            handle: ChunkHandle(2),
            version: ChunkVersion(3),
            length: 4,
            primary: None,
            replicas: vec![replica()],
            members: 3,
        }],
        valid_ms: 10_000,
    };
    let grant = LeaseGrant {
        index: ChunkIndex(1),
        handle: ChunkHandle(2),
        version: ChunkVersion(3),
        epoch: MasterEpoch(1),
        primary: ServerUid(5),
        members: vec![replica()],
        left_ms: 9_000,
    };
    let status = ClusterStatus {
        files: 1,
        chunks_below_goal: 4,
        chunks_missing: 5,
        chunks_uncounted: 6,
        checkpoint_position: LogPosition(2),
        master_http_address: "127.0.0.1:7401".into(),
        chunkservers: vec![ChunkserverStatus {
            uid: ServerUid(1),
            address: "a:1".into(),
            http_address: "a:2".into(),
            topology: "z".parse().unwrap(),
            alive: true,
            capacity_bytes: 3,
            free_bytes: 2,
            replicas: 1,
        }],
        ..ClusterStatus::default()
    };
    let trash = TrashEntry {
        id: FileId(4),
        path: "/old".into(),
        kind: EntryKind::Directory,
        deleted: WallTime { ms: 5 },
    };
    vec![
        Response::Session(SessionId(1)),
        Response::Done,
        Response::Entry(entry()),
        Response::Page { entries: vec![entry()], more: true },
        Response::Locations(locations),
        Response::Lease(grant),
        Response::Status(status),
        Response::Trash { entries: vec![trash], more: false },
    ]
}

#[test]
fn requests_come_out_as_they_went_in() {
    for request in requests() {
        let wire = travel(pb::ClientRequest::from((5, request.clone())));
        assert_eq!(<(u64, Request)>::try_from(wire), Ok((5, request)));
    }
}

#[test]
fn replies_come_out_as_they_went_in() {
    let bad = Err(Error { retry_after_ms: 7, ..Error::busy("later") });
    for result in responses().into_iter().map(Ok).chain([bad]) {
        let reply = Reply { epoch: MasterEpoch(1), log_position: LogPosition(2), result };
        let wire = travel(pb::ClientReply::from((5, reply.clone())));
        assert_eq!(<(u64, Reply)>::try_from(wire), Ok((5, reply)));
    }
}

#[test]
fn hello_and_welcome_come_out_as_they_went_in() {
    for cluster in [None, Some(ClusterUid(0)), Some(ClusterUid(9))] {
        let hello = ClientHello { cluster, topology: "a/b".parse().unwrap() };
        assert_eq!(travel(pb::ClientHello::from(hello.clone())).try_into(), Ok(hello));
    }
    let record = ConfigRecord {
        cluster: ClusterUid(1),
        incarnation: Incarnation(1),
        epoch: MasterEpoch(2),
        version: 3,
        primary: ServerUid(4),
        in_sync: vec![ServerUid(4), ServerUid(5)],
    };
    let welcome = ClientWelcome { record, master: ServerUid(4), chunk_bytes: 64 << 20 };
    assert_eq!(travel(pb::ClientWelcome::from(welcome.clone())).try_into(), Ok(welcome));
}

#[test]
fn what_chunkservers_say_comes_out_as_it_went_in() {
    let (handle, version) = (ChunkHandle(1), ChunkVersion(2));
    let report = ReplicaReport { handle, version, length: 3, state: ReplicaState::Suspect };
    let registration = Registration {
        cluster: None,
        chunkserver: ServerUid(1),
        session: ProcessSession(2),
        address: "a:1".into(),
        http_address: "a:2".into(),
        topology: "z/h".parse().unwrap(),
        space: Space { capacity_bytes: 5, free_bytes: 4 },
        epoch: MasterEpoch(3),
        leases: vec![HeldLease { handle, version, left_ms: 4, members: vec![ServerUid(1)] }],
    };
    let raised = RaisedReplica { length: 1, digest: 2, state: ReplicaState::Clean };
    let messages = [
        FromChunkserver::Register(registration),
        FromChunkserver::ReportPage { replicas: vec![report], last: true },
        FromChunkserver::Heartbeat {
            seq: 1,
            space: Space::default(),
            changed: vec![report],
            extend: vec![(handle, version)],
        },
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
            reason: "silent".into(),
        },
        FromChunkserver::LearnerTaught {
            handle,
            version,
            learner: ServerUid(8),
            session: ProcessSession(4),
            result: Err(Error::stale("another lease")),
        },
    ];
    for message in messages {
        let wire = travel(pb::ChunkserverMessage::from(message.clone()));
        assert_eq!(FromChunkserver::try_from(wire), Ok(message));
    }
}

#[test]
fn commands_come_out_as_they_went_in() {
    let (handle, version) = (ChunkHandle(1), ChunkVersion(2));
    let member =
        Member { chunkserver: ServerUid(1), session: ProcessSession(2), address: "a:1".into() };
    let commands = [
        Command::Welcome {
            cluster: ClusterUid(1),
            master_session: ProcessSession(2),
            chunk_bytes: 3,
            heartbeat_ms: 4,
        },
        Command::Refused(Error::denied("foreign")),
        Command::HeartbeatAnswer { seq: 1, extended: vec![(handle, version)], lease_ms: 2 },
        Command::CreateReplica { handle, version },
        Command::Raise { handle, version, from: ChunkVersion(1) },
        Command::GrantLease {
            handle,
            version,
            members: vec![member.clone()],
            lease_ms: 10,
            start: LeaseStart::AllSuspect,
            brief: true,
            alone: true,
        },
        Command::Teach { handle, version, learner: member },
        Command::RevokeLease { handle, version },
        Command::DeleteReplica { handle, version },
    ];
    for command in commands {
        let message = ToChunkserver { epoch: MasterEpoch(1), session: ProcessSession(2), command };
        let wire = travel(pb::CommandMessage::from(message.clone()));
        assert_eq!(ToChunkserver::try_from(wire), Ok(message));
    }
}

#[test]
fn what_is_incomplete_is_refused_by_the_name_of_the_field() {
    let refused = |error: Error, field: &str| {
        assert_eq!(error.kind, gfs_types::ErrorKind::Invalid);
        assert!(error.message.contains(field), "{error} does not name {field}");
    };
    refused(FromChunkserver::try_from(pb::ChunkserverMessage::default()).unwrap_err(), "kind");
    refused(ToChunkserver::try_from(pb::CommandMessage::default()).unwrap_err(), "command");
    refused(<(u64, Request)>::try_from(pb::ClientRequest::default()).unwrap_err(), "kind");
    refused(<(u64, Reply)>::try_from(pb::ClientReply::default()).unwrap_err(), "result");
    refused(ClientWelcome::try_from(pb::ClientWelcome::default()).unwrap_err(), "record");
    refused(Registration::try_from(pb::Registration::default()).unwrap_err(), "chunkserver");
    let short = pb::Registration { chunkserver: vec![1; 15].into(), ..Default::default() };
    refused(Registration::try_from(short).unwrap_err(), "15 bytes");
    let state = pb::ReplicaReport { state: 99, ..Default::default() };
    refused(ReplicaReport::try_from(state).unwrap_err(), "99");
    refused(Error::try_from(pb::Error { kind: 99, ..Default::default() }).unwrap_err(), "99");
}
