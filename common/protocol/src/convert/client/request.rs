//! What a client asks.

use gfs_types::Error;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, FileId, RequestId, RequestSeq, ServerUid, SessionId};
use gfs_types::limits::EVIDENCE_BYTES_MAX;
use gfs_types::message::client::{Attributes, LeaseTarget, Mutation, Query, Request};
use gfs_types::region::ChunkIndex;
use gfs_types::time::WallTime;

use super::super::{Result, required, uid_bytes, uid_from_bytes};
use crate::pb;
use pb::client_request::Kind;
use pb::mutate::Mutation as WireMutation;

impl From<(u64, Request)> for pb::ClientRequest {
    fn from((id, request): (u64, Request)) -> Self {
        let kind = match request {
            Request::OpenSession => Kind::OpenSession(pb::OpenSession {}),
            Request::CloseSession(session) => {
                Kind::CloseSession(pb::CloseSession { session: session.0 })
            }
            Request::Query(query) => query_to_wire(query),
            Request::Mutate { id, answered_below, mutation } => Kind::Mutate(pb::Mutate {
                session: id.session.0,
                seq: id.seq.0,
                answered_below: answered_below.0,
                mutation: Some(mutation.into()),
            }),
            Request::Lease { file, target, not_version } => Kind::Lease(pb::LeaseRequest {
                file: file.0,
                index: match target {
                    LeaseTarget::Index(index) => Some(index.0),
                    LeaseTarget::Last => None,
                },
                not_version: not_version.map(|version| version.0),
            }),
            Request::ReportCorrupt { handle, version, chunkserver, evidence } => {
                Kind::ReportCorrupt(pb::ReportCorrupt {
                    handle: handle.0,
                    version: version.0,
                    chunkserver: uid_bytes(chunkserver.0),
                    evidence,
                })
            }
        };
        Self { id, kind: Some(kind) }
    }
}

fn query_to_wire(query: Query) -> Kind {
    match query {
        Query::Stat { path } => Kind::Stat(pb::StatQuery { path }),
        Query::List { path, after, limit } => Kind::List(pb::ListQuery { path, after, limit }),
        Query::Locate { file, first, count } => {
            Kind::Locate(pb::LocateQuery { file: file.0, first: first.0, count })
        }
        Query::Status => Kind::Status(pb::StatusQuery {}),
        Query::Trash { after, limit } => {
            Kind::Trash(pb::TrashQuery { after: after.map(|id| id.0), limit })
        }
    }
}

impl TryFrom<pb::ClientRequest> for (u64, Request) {
    type Error = Error;
    fn try_from(wire: pb::ClientRequest) -> Result<Self> {
        let request = match required("ClientRequest.kind", wire.kind)? {
            Kind::OpenSession(_) => Request::OpenSession,
            Kind::CloseSession(close) => Request::CloseSession(SessionId(close.session)),
            Kind::Stat(stat) => Request::Query(Query::Stat { path: stat.path }),
            Kind::List(list) => Request::Query(Query::List {
                path: list.path,
                after: list.after,
                limit: list.limit,
            }),
            Kind::Locate(locate) => Request::Query(Query::Locate {
                file: FileId(locate.file),
                first: ChunkIndex(locate.first),
                count: locate.count,
            }),
            Kind::Status(_) => Request::Query(Query::Status),
            Kind::Trash(trash) => {
                Request::Query(Query::Trash { after: trash.after.map(FileId), limit: trash.limit })
            }
            Kind::Lease(lease) => Request::Lease {
                file: FileId(lease.file),
                target: lease
                    .index
                    .map_or(LeaseTarget::Last, |index| LeaseTarget::Index(ChunkIndex(index))),
                not_version: lease.not_version.map(ChunkVersion),
            },
            Kind::ReportCorrupt(report) => report_from_wire(report)?,
            Kind::Mutate(mutate) => mutate_from_wire(mutate)?,
        };
        Ok((wire.id, request))
    }
}

fn report_from_wire(wire: pb::ReportCorrupt) -> Result<Request> {
    let bytes = wire.evidence.len();
    if bytes > EVIDENCE_BYTES_MAX {
        return Err(Error::invalid(format!(
            "ReportCorrupt.evidence has {bytes} bytes: at most {EVIDENCE_BYTES_MAX} are taken"
        )));
    }
    Ok(Request::ReportCorrupt {
        handle: ChunkHandle(wire.handle),
        version: ChunkVersion(wire.version),
        chunkserver: ServerUid(uid_from_bytes("ReportCorrupt.chunkserver", &wire.chunkserver)?),
        evidence: wire.evidence,
    })
}

fn mutate_from_wire(wire: pb::Mutate) -> Result<Request> {
    Ok(Request::Mutate {
        id: RequestId { session: SessionId(wire.session), seq: RequestSeq(wire.seq) },
        answered_below: RequestSeq(wire.answered_below),
        mutation: required("Mutate.mutation", wire.mutation)?.try_into()?,
    })
}

impl From<Mutation> for WireMutation {
    fn from(mutation: Mutation) -> Self {
        match mutation {
            Mutation::Create { path, replication, attributes } => Self::Create(pb::Create {
                path,
                replication: u32::from(replication),
                attributes: Some(attributes.into()),
            }),
            Mutation::Mkdir { path, parents } => Self::Mkdir(pb::Mkdir { path, parents }),
            Mutation::Rename { from, to, replace } => {
                Self::Rename(pb::Rename { from, to, replace })
            }
            Mutation::Delete { path, recursive, purge } => {
                Self::Delete(pb::Delete { path, recursive, purge })
            }
            Mutation::Undelete { path } => Self::Undelete(pb::Undelete { path }),
            Mutation::SetLength { file, length, attributes } => Self::SetLength(pb::SetLength {
                file: file.0,
                length,
                attributes: attributes.map(Into::into),
            }),
        }
    }
}

impl TryFrom<WireMutation> for Mutation {
    type Error = Error;
    fn try_from(wire: WireMutation) -> Result<Self> {
        Ok(match wire {
            WireMutation::Create(create) => Self::Create {
                path: create.path,
                replication: u8::try_from(create.replication).map_err(|_| {
                    Error::invalid(format!("replication {} is too high", create.replication))
                })?,
                attributes: create.attributes.unwrap_or_default().into(),
            },
            WireMutation::Mkdir(mkdir) => Self::Mkdir { path: mkdir.path, parents: mkdir.parents },
            WireMutation::Rename(rename) => {
                Self::Rename { from: rename.from, to: rename.to, replace: rename.replace }
            }
            WireMutation::Delete(delete) => {
                Self::Delete { path: delete.path, recursive: delete.recursive, purge: delete.purge }
            }
            WireMutation::Undelete(undelete) => Self::Undelete { path: undelete.path },
            WireMutation::SetLength(set) => Self::SetLength {
                file: FileId(set.file),
                length: set.length,
                attributes: set.attributes.map(Into::into),
            },
        })
    }
}

impl From<Attributes> for pb::Attributes {
    fn from(attributes: Attributes) -> Self {
        Self { modified_ms: attributes.modified.ms, executable: attributes.executable }
    }
}

impl From<pb::Attributes> for Attributes {
    fn from(wire: pb::Attributes) -> Self {
        Self { modified: WallTime { ms: wire.modified_ms }, executable: wire.executable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_has_a_limit() {
        let report = |bytes| {
            let evidence = "e".repeat(bytes);
            let (handle, version) = (ChunkHandle(1), ChunkVersion(1));
            let chunkserver = ServerUid(1);
            let report = Request::ReportCorrupt { handle, version, chunkserver, evidence };
            <(u64, Request)>::try_from(pb::ClientRequest::from((1, report)))
        };
        assert!(report(EVIDENCE_BYTES_MAX).is_ok());
        let error = report(EVIDENCE_BYTES_MAX + 1).unwrap_err();
        assert!(error.message.contains("4097"), "{error}");
    }
}
