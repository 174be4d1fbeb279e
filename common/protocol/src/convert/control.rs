//! `control.proto`: a chunkserver and the master.

use gfs_types::Error;
use gfs_types::fence::{ChunkVersion, MasterEpoch};
use gfs_types::ids::{ChunkHandle, ClusterUid, ProcessSession, ServerUid};
use gfs_types::message::control::{
    Command, FromChunkserver, HeldLease, LeaseStart, RaisedReplica, Registration, ReplicaReport,
    Space, ToChunkserver,
};

use super::{
    Result, all, all_wire, missing, required, state_from_wire, topology_from_wire, uid_bytes,
    uid_from_bytes, uid_from_bytes_or_none,
};
use crate::pb;
use pb::chunkserver_message::Kind;
use pb::command_message::Command as WireCommand;

impl From<FromChunkserver> for pb::ChunkserverMessage {
    fn from(message: FromChunkserver) -> Self {
        let kind = match message {
            FromChunkserver::Register(registration) => Kind::Register(registration.into()),
            FromChunkserver::ReportPage { replicas, last } => {
                Kind::ReportPage(pb::ReportPage { replicas: all_wire(replicas), last })
            }
            FromChunkserver::Heartbeat { seq, space, changed, extend } => {
                Kind::Heartbeat(pb::Heartbeat {
                    seq,
                    space: Some(space.into()),
                    changed: all_wire(changed),
                    extend: all_wire(extend),
                })
            }
            FromChunkserver::ReplicaCreated { handle, version, result } => {
                Kind::ReplicaCreated(pb::ReplicaCreated {
                    handle: handle.0,
                    version: version.0,
                    error: result.err().map(Into::into),
                })
            }
            FromChunkserver::Raised { handle, version, result } => {
                Kind::Raised(raise_answer(handle, version, result))
            }
            FromChunkserver::ReplicaDeleted { handle, version, result } => {
                Kind::ReplicaDeleted(pb::ReplicaDeleted {
                    handle: handle.0,
                    version: version.0,
                    error: result.err().map(Into::into),
                })
            }
            FromChunkserver::LeaseGivenUp { handle, version, length } => {
                Kind::LeaseGivenUp(pb::LeaseGivenUp {
                    handle: handle.0,
                    version: version.0,
                    length,
                })
            }
            FromChunkserver::MemberFailed { handle, version, member, session, reason } => {
                Kind::MemberFailed(pb::MemberFailed {
                    handle: handle.0,
                    version: version.0,
                    member: uid_bytes(member.0),
                    session: session.0,
                    reason,
                })
            }
            FromChunkserver::LearnerTaught { handle, version, learner, session, result } => {
                Kind::LearnerTaught(pb::LearnerTaught {
                    handle: handle.0,
                    version: version.0,
                    learner: uid_bytes(learner.0),
                    session: session.0,
                    error: result.err().map(Into::into),
                })
            }
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<pb::ChunkserverMessage> for FromChunkserver {
    type Error = Error;
    fn try_from(wire: pb::ChunkserverMessage) -> Result<Self> {
        Ok(match required("ChunkserverMessage.kind", wire.kind)? {
            Kind::Register(registration) => Self::Register(registration.try_into()?),
            Kind::ReportPage(page) => {
                Self::ReportPage { replicas: all(page.replicas)?, last: page.last }
            }
            Kind::Heartbeat(heartbeat) => Self::Heartbeat {
                seq: heartbeat.seq,
                space: required("Heartbeat.space", heartbeat.space)?.into(),
                changed: all(heartbeat.changed)?,
                extend: heartbeat.extend.into_iter().map(chunk_version).collect(),
            },
            Kind::ReplicaCreated(created) => Self::ReplicaCreated {
                handle: ChunkHandle(created.handle),
                version: ChunkVersion(created.version),
                result: done_or(created.error)?,
            },
            Kind::Raised(answer) => Self::Raised {
                handle: ChunkHandle(answer.handle),
                version: ChunkVersion(answer.version),
                result: raised(answer.result)?,
            },
            Kind::ReplicaDeleted(deleted) => Self::ReplicaDeleted {
                handle: ChunkHandle(deleted.handle),
                version: ChunkVersion(deleted.version),
                result: done_or(deleted.error)?,
            },
            Kind::LeaseGivenUp(given_up) => Self::LeaseGivenUp {
                handle: ChunkHandle(given_up.handle),
                version: ChunkVersion(given_up.version),
                length: given_up.length,
            },
            Kind::MemberFailed(failed) => Self::MemberFailed {
                handle: ChunkHandle(failed.handle),
                version: ChunkVersion(failed.version),
                member: ServerUid(uid_from_bytes("MemberFailed.member", &failed.member)?),
                session: ProcessSession(failed.session),
                reason: failed.reason,
            },
            Kind::LearnerTaught(taught) => learner_taught(taught)?,
        })
    }
}

fn raise_answer(
    handle: ChunkHandle,
    version: ChunkVersion,
    result: Result<RaisedReplica>,
) -> pb::RaiseAnswer {
    use pb::raise_answer::Result as Wire;
    let result = match result {
        Ok(replica) => Wire::Replica(pb::RaisedReplica {
            length: replica.length,
            digest: replica.digest,
            state: replica.state as u32,
        }),
        Err(error) => Wire::Error(error.into()),
    };
    pb::RaiseAnswer { handle: handle.0, version: version.0, result: Some(result) }
}

fn raised(wire: Option<pb::raise_answer::Result>) -> Result<Result<RaisedReplica>> {
    use pb::raise_answer::Result as Wire;
    match required("RaiseAnswer.result", wire)? {
        Wire::Error(error) => Ok(Err(error.try_into()?)),
        Wire::Replica(replica) => Ok(Ok(RaisedReplica {
            length: replica.length,
            digest: replica.digest,
            state: state_from_wire(replica.state)?,
        })),
    }
}

fn learner_taught(wire: pb::LearnerTaught) -> Result<FromChunkserver> {
    Ok(FromChunkserver::LearnerTaught {
        handle: ChunkHandle(wire.handle),
        version: ChunkVersion(wire.version),
        learner: ServerUid(uid_from_bytes("LearnerTaught.learner", &wire.learner)?),
        session: ProcessSession(wire.session),
        result: done_or(wire.error)?,
    })
}

fn done_or(error: Option<pb::Error>) -> Result<Result<()>> {
    match error {
        None => Ok(Ok(())),
        Some(error) => Ok(Err(error.try_into()?)),
    }
}

impl From<(ChunkHandle, ChunkVersion)> for pb::ChunkVersionRef {
    fn from((handle, version): (ChunkHandle, ChunkVersion)) -> Self {
        Self { handle: handle.0, version: version.0 }
    }
}

fn chunk_version(wire: pb::ChunkVersionRef) -> (ChunkHandle, ChunkVersion) {
    (ChunkHandle(wire.handle), ChunkVersion(wire.version))
}

impl From<Space> for pb::Space {
    fn from(space: Space) -> Self {
        Self { capacity_bytes: space.capacity_bytes, free_bytes: space.free_bytes }
    }
}

impl From<pb::Space> for Space {
    fn from(wire: pb::Space) -> Self {
        Self { capacity_bytes: wire.capacity_bytes, free_bytes: wire.free_bytes }
    }
}

impl From<ReplicaReport> for pb::ReplicaReport {
    fn from(report: ReplicaReport) -> Self {
        Self {
            handle: report.handle.0,
            version: report.version.0,
            length: report.length,
            state: report.state as u32,
        }
    }
}

impl TryFrom<pb::ReplicaReport> for ReplicaReport {
    type Error = Error;
    fn try_from(wire: pb::ReplicaReport) -> Result<Self> {
        Ok(Self {
            handle: ChunkHandle(wire.handle),
            version: ChunkVersion(wire.version),
            length: wire.length,
            state: state_from_wire(wire.state)?,
        })
    }
}

impl From<HeldLease> for pb::HeldLease {
    fn from(lease: HeldLease) -> Self {
        Self {
            handle: lease.handle.0,
            version: lease.version.0,
            left_ms: lease.left_ms,
            members: lease.members.iter().map(|uid| uid_bytes(uid.0)).collect(),
        }
    }
}

impl TryFrom<pb::HeldLease> for HeldLease {
    type Error = Error;
    fn try_from(wire: pb::HeldLease) -> Result<Self> {
        let member = |uid| uid_from_bytes("HeldLease.members", uid).map(ServerUid);
        Ok(Self {
            handle: ChunkHandle(wire.handle),
            version: ChunkVersion(wire.version),
            left_ms: wire.left_ms,
            members: wire.members.iter().map(|uid| member(uid)).collect::<Result<_>>()?,
        })
    }
}

impl From<Registration> for pb::Registration {
    fn from(registration: Registration) -> Self {
        Self {
            cluster: registration.cluster.map(|uid| uid_bytes(uid.0)).unwrap_or_default(),
            chunkserver: uid_bytes(registration.chunkserver.0),
            session: registration.session.0,
            address: registration.address,
            http_address: registration.http_address,
            topology: registration.topology.to_string(),
            space: Some(registration.space.into()),
            epoch: registration.epoch.0,
            leases: all_wire(registration.leases),
        }
    }
}

impl TryFrom<pb::Registration> for Registration {
    type Error = Error;
    fn try_from(wire: pb::Registration) -> Result<Self> {
        let chunkserver = uid_from_bytes("Registration.chunkserver", &wire.chunkserver)?;
        Ok(Self {
            cluster: uid_from_bytes_or_none("Registration.cluster", &wire.cluster)?.map(ClusterUid),
            chunkserver: ServerUid(chunkserver),
            session: ProcessSession(wire.session),
            address: wire.address,
            http_address: wire.http_address,
            topology: topology_from_wire(&wire.topology)?,
            space: required("Registration.space", wire.space)?.into(),
            epoch: MasterEpoch(wire.epoch),
            leases: all(wire.leases)?,
        })
    }
}

impl From<ToChunkserver> for pb::CommandMessage {
    fn from(message: ToChunkserver) -> Self {
        let command = match message.command {
            Command::Welcome { cluster, master_session, chunk_bytes, heartbeat_ms } => {
                WireCommand::Welcome(pb::Welcome {
                    cluster: uid_bytes(cluster.0),
                    master_session: master_session.0,
                    chunk_bytes,
                    heartbeat_ms,
                })
            }
            Command::Refused(error) => WireCommand::Refused(error.into()),
            Command::HeartbeatAnswer { seq, extended, lease_ms } => {
                let extended = all_wire(extended);
                WireCommand::HeartbeatAnswer(pb::HeartbeatAnswer { seq, extended, lease_ms })
            }
            Command::CreateReplica { handle, version } => {
                WireCommand::CreateReplica((handle, version).into())
            }
            Command::Raise { handle, version, from } => {
                WireCommand::Raise(pb::Raise { handle: handle.0, version: version.0, from: from.0 })
            }
            Command::GrantLease { handle, version, members, lease_ms, start, brief, alone } => {
                WireCommand::GrantLease(pb::GrantLease {
                    handle: handle.0,
                    version: version.0,
                    members: all_wire(members),
                    lease_ms,
                    start: start as u32,
                    brief,
                    alone,
                })
            }
            Command::Teach { handle, version, learner } => WireCommand::Teach(pb::Teach {
                handle: handle.0,
                version: version.0,
                learner: Some(learner.into()),
            }),
            Command::RevokeLease { handle, version } => {
                WireCommand::RevokeLease((handle, version).into())
            }
            Command::DeleteReplica { handle, version } => {
                WireCommand::DeleteReplica((handle, version).into())
            }
        };
        Self { epoch: message.epoch.0, session: message.session.0, command: Some(command) }
    }
}

impl TryFrom<pb::CommandMessage> for ToChunkserver {
    type Error = Error;
    fn try_from(wire: pb::CommandMessage) -> Result<Self> {
        let command = wire.command.ok_or_else(|| missing("CommandMessage.command"))?;
        Ok(Self {
            epoch: MasterEpoch(wire.epoch),
            session: ProcessSession(wire.session),
            command: command.try_into()?,
        })
    }
}

impl TryFrom<WireCommand> for Command {
    type Error = Error;
    fn try_from(wire: WireCommand) -> Result<Self> {
        Ok(match wire {
            WireCommand::Welcome(welcome) => Self::Welcome {
                cluster: ClusterUid(uid_from_bytes("Welcome.cluster", &welcome.cluster)?),
                master_session: ProcessSession(welcome.master_session),
                chunk_bytes: welcome.chunk_bytes,
                heartbeat_ms: welcome.heartbeat_ms,
            },
            WireCommand::Refused(error) => Self::Refused(error.try_into()?),
            WireCommand::HeartbeatAnswer(answer) => Self::HeartbeatAnswer {
                seq: answer.seq,
                extended: answer.extended.into_iter().map(chunk_version).collect(),
                lease_ms: answer.lease_ms,
            },
            WireCommand::CreateReplica(chunk) => {
                let (handle, version) = chunk_version(chunk);
                Self::CreateReplica { handle, version }
            }
            WireCommand::Raise(raise) => Self::Raise {
                handle: ChunkHandle(raise.handle),
                version: ChunkVersion(raise.version),
                from: ChunkVersion(raise.from),
            },
            WireCommand::GrantLease(grant) => Self::GrantLease {
                handle: ChunkHandle(grant.handle),
                version: ChunkVersion(grant.version),
                members: all(grant.members)?,
                lease_ms: grant.lease_ms,
                start: start_from_wire(grant.start)?,
                brief: grant.brief,
                alone: grant.alone,
            },
            WireCommand::Teach(teach) => Self::Teach {
                handle: ChunkHandle(teach.handle),
                version: ChunkVersion(teach.version),
                learner: required("Teach.learner", teach.learner)?.try_into()?,
            },
            WireCommand::RevokeLease(chunk) => {
                let (handle, version) = chunk_version(chunk);
                Self::RevokeLease { handle, version }
            }
            WireCommand::DeleteReplica(chunk) => {
                let (handle, version) = chunk_version(chunk);
                Self::DeleteReplica { handle, version }
            }
        })
    }
}

fn start_from_wire(number: u32) -> Result<LeaseStart> {
    LeaseStart::from_wire(number)
        .ok_or_else(|| Error::invalid(format!("unknown start of a lease: {number}")))
}
