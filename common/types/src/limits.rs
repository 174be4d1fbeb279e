//! Every bound of the system, with its unit and its reason.

use crate::DurationMs;

/// Bytes of the unit that has a checksum of its own (§5.2).
pub const BLOCK_BYTES: u64 = 64 << 10;
/// Bytes of a chunk unless the cluster was formatted otherwise (§2.5).
pub const CHUNK_BYTES_DEFAULT: u64 = 64 << 20;
/// Smallest chunk: two blocks, so that tests meet chunk and block borders soon.
pub const CHUNK_BYTES_MIN: u64 = 128 << 10;
/// Largest chunk: its checksum table must fit the head of its file.
pub const CHUNK_BYTES_MAX: u64 = 512 << 20;
/// Chunks of one file: 4 Mi chunks of 64 MiB are 256 TiB.
pub const FILE_CHUNKS_MAX: u64 = 1 << 22;

/// Bytes of a path, as other systems have it.
pub const PATH_BYTES_MAX: usize = 4096;
/// Bytes of one name in a path.
pub const NAME_BYTES_MAX: usize = 255;
/// Names in a path: bounds recursion everywhere.
pub const PATH_DEPTH_MAX: usize = 256;
/// Entries in one page of a list.
pub const LIST_PAGE_MAX: u32 = 1000;
/// Chunks in one answer to a locate.
pub const LOCATE_CHUNKS_MAX: u32 = 1000;

/// Payload of one data frame: larger ones fall out of the second-level cache.
pub const FRAME_BYTES_MAX: u64 = 1 << 20;
/// Bytes of the operation-specific part of a data frame.
pub const FRAME_EXTRA_BYTES_MAX: usize = 16 << 10;
/// Up to this size the data travels inside the request and the orders, not in a push ahead.
pub const INLINE_BYTES_MAX: u64 = 64 << 10;
/// One message of the control plane.
pub const CONTROL_MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Bytes of one record of the operation log.
pub const LOG_RECORD_BYTES_MAX: usize = 1 << 20;
/// Bytes of one segment of the operation log.
pub const LOG_SEGMENT_BYTES: u64 = 64 << 20;

/// Bytes of its disk that the master keeps for the next log segments and checkpoints, unless told otherwise: four segments.
pub const MASTER_RESERVE_BYTES: u64 = 256 << 20;
/// On a small disk the master keeps one part in so many.
pub const MASTER_RESERVE_SHARE: u64 = 20;
/// Time between two looks at the room on the master's disk: 20,000 creates a second use 1 MB in it.
pub const DISK_LOOK_MS: DurationMs = DurationMs(100);
/// Time until what found no space (the next log segment, a batch of records) is tried again.
pub const NO_SPACE_RETRY_MS: DurationMs = DurationMs(500);
/// Time until a checkpoint that could not be made is tried again.
pub const CHECKPOINT_RETRY_MS: DurationMs = DurationMs(10_000);

/// Bytes of a chunkserver's disk, above its reserve, that are left for mutations on their way: when no more is free it takes no
/// new ones. As many as one chunk may have in flight.
pub const SPACE_MARGIN_BYTES: u64 = 64 << 20;
/// On a small disk the margin is one part in so many.
pub const SPACE_MARGIN_SHARE: u64 = 16;
/// A primary whose member is short of space asks it again after this time, when a client wants to write.
pub const SPACE_PROBE_MS: DurationMs = DurationMs(500);

/// Results of mutations remembered for each client session, and so its mutations in flight.
pub const SESSION_RESULTS_MAX: usize = 64;
/// Sessions the master remembers at once.
pub const SESSIONS_MAX: usize = 1 << 20;
/// A session that was silent for this long is forgotten by a logged record.
pub const SESSION_IDLE_MS: DurationMs = DurationMs(60 * 60 * 1000);
/// Requests of one client connection that the master works on at once.
pub const CONNECTION_REQUESTS_MAX: usize = 1024;

/// Replicas of a chunk unless asked otherwise (§2.3).
pub const REPLICATION_DEFAULT: u8 = 3;
/// Most replicas of a chunk: the count is kept in three bits.
pub const REPLICATION_MAX: u8 = 7;
/// Fewest members a new chunk is given where more than one chunkserver was ever configured.
pub const REPLICAS_MIN: usize = 2;

/// How long a chunk's primary holds its lease unless extended (§3.1).
pub const LEASE_MS: DurationMs = DurationMs(10_000);
/// Time between two heartbeats of a chunkserver.
pub const HEARTBEAT_MS: DurationMs = DurationMs(500);
/// A chunkserver silent for this long is not offered for reads or new chunks.
pub const CHUNKSERVER_SILENT_MS: DurationMs = DurationMs(5_000);
/// How long a raise waits for members that are about to return (raise-6).
pub const MEMBER_WAIT_MS: DurationMs = DurationMs(5_000);
/// How long a raise waits for a member whose process went a moment ago (raise-6): one that starts again is back in less, and a
/// writer should not wait longer for one that does not.
pub const RETURN_WAIT_MS: DurationMs = DurationMs(2_000);
/// Chunks that the master has made equal at once without a client that waits: the copies share disk and network with clients.
pub const REPAIRS_MAX: usize = 8;
/// How long the master waits for the answer to a raise or birth before it goes on without the silent one.
pub const RAISE_ANSWER_MS: DurationMs = DurationMs(2_000);

/// Bytes of pushed data a chunkserver holds for mutations to come.
pub const PUSHED_BYTES_MAX: u64 = 256 << 20;
/// Pushed data that nobody used is dropped after this time.
pub const PUSHED_AGE_MS: DurationMs = DurationMs(60_000);
/// Connections a server accepts.
pub const CONNECTIONS_MAX: usize = 4096;
/// Connections of one client to one chunkserver: it needs four.
pub const CLIENT_CONNECTIONS_MAX: usize = 32;
/// Connections of one chunkserver to another: one for each client that pushes through it.
pub const SERVER_CONNECTIONS_MAX: usize = 1024;
/// Requests of one client that a chunkserver works on at once, reads aside: one client must not fill the queue of a chunk.
pub const CLIENT_REQUESTS_MAX: usize = 256;
/// Requests on their way on one of a client's four connections to a chunkserver, and twice as many where mutations go:
/// so a client asks no more of it than it takes.
pub const LANE_REQUESTS_MAX: usize = CLIENT_REQUESTS_MAX / 4;
/// Pieces that all writers of a client together have on their way, beside the first piece of each: sixteen writers with four
/// each had 64 MiB under way through every server, out of all caches, and wrote at half the rate of one.
pub const WRITE_PIECES_MAX: usize = 8;
/// Bytes of what a reader says about a replica that it found corrupt.
pub const EVIDENCE_BYTES_MAX: usize = 4 << 10;
/// Bytes inside requests of clients that a chunkserver holds until they are answered.
pub const REQUEST_BYTES_MAX: usize = 256 << 20;
/// A frame whose peer sends or takes it more slowly than in this time ends its connection: 35 KB/s for the largest.
pub const FRAME_MS: DurationMs = DurationMs(30_000);
/// Mutations of one chunk that wait for its primary.
pub const CHUNK_MUTATIONS_MAX: usize = 1024;
/// Requests that wait for one thread of a chunkserver's driver, over all of its chunks.
pub const SHARD_REQUESTS_MAX: usize = 16 << 10;
/// Chunks that one thread of a chunkserver's driver remembers to have deleted, in some 200 KB: those of minutes, or of a second of
/// a purge.
pub const DELETED_KEPT_MAX: usize = 4096;
/// Bytes of the mutations of one chunk that its primary has in flight: what slow members can make it hold.
pub const CHUNK_FLIGHT_BYTES_MAX: u64 = 64 << 20;
/// A replica that has a version holds mutations of it for this long: the client may be faster than the grant.
pub const GRANT_WAIT_MS: DurationMs = DurationMs(50);
/// Who waits across a raise is told that the outcome is unknown this long after it, or after the last lease that followed: as long as a
/// raise takes, one more without the silent, and the return of a member; or a lesson.
pub const CARRIED_MS: DurationMs = DurationMs(10_000);
/// A primary orders again when a member did not answer for this long.
pub const ORDER_RESEND_MS: DurationMs = DurationMs(250);
/// Orders sent again at once to a member that did not answer: a dead one costs little.
pub const ORDER_RESEND_MAX: usize = 16;
/// A member from which a primary heard nothing for this long is reported to the master (raise-4).
pub const MEMBER_SILENT_MS: DurationMs = DurationMs(2_000);
/// Secondaries learn the committed length with the next order, or after this time without one (mut-4).
pub const COMMITTED_NOTICE_MS: DurationMs = DurationMs(1);
/// A primary gives its lease up when nobody used it for this long: the replicas become clean.
pub const LEASE_IDLE_MS: DurationMs = DurationMs(5_000);
/// How long the end of a lease may wait for its members before it ends without being clean.
pub const LEASE_CLOSE_MS: DurationMs = DurationMs(3_000);
/// Copies from other servers that a chunkserver makes at once, the others wait: two fill its network, and the rest bound the
/// memory (a frame each) and what clients must share with them.
pub const COPIES_MAX: usize = 4;
/// A lease that was granted only to make replicas equal ends after this time without a client: long enough for the master to
/// name a learner, short enough not to stand in the way.
pub const LEASE_BRIEF_MS: DurationMs = DurationMs(500);
/// A member or learner that is not equal after this time is given up, whatever signs of life it gives: hundreds of times what
/// a chunk takes to travel.
pub const EQUALISE_MS: DurationMs = DurationMs(60_000);
/// Bytes that a learner may still lack when its primary stops taking mutations for the last pass: a few milliseconds.
pub const TEACH_REST_BYTES: u64 = 1 << 20;
/// Passes beside the mutations before the last one comes, however much it has to fetch: a chunk that is written as fast as it
/// is copied never gets to less.
pub const TEACH_PASSES_MAX: u32 = 4;
/// Learners of one chunk that wait for their turn: more replicas than a chunk can have.
pub const LEARNERS_WAITING_MAX: usize = 8;
/// How long a primary takes no mutations for the sake of a learner that does not become equal.
pub const FREEZE_MS: DurationMs = DurationMs(2_000);
/// How long a primary that taught a learner waits for the raise that takes it in, before it ends its lease.
pub const SEALED_MS: DurationMs = DurationMs(3_000);
/// Replicas in one page of a chunkserver's report.
pub const REPORT_PAGE_MAX: usize = 10_000;

/// Deleted files can come back for this long (§4.4): three days.
pub const TRASH_GRACE_MS: DurationMs = DurationMs(3 * 24 * 60 * 60 * 1000);
/// Files below `/.gfs/tmp` that did not get their name for this long are deleted: one day.
pub const UPLOAD_AGE_MS: DurationMs = DurationMs(24 * 60 * 60 * 1000);
/// Time allowed to a new connection to say who it is.
pub const HANDSHAKE_MS: DurationMs = DurationMs(5_000);

/// Bytes of one appended record, its frame included: at most a quarter of a chunk (§3.3).
#[must_use]
pub const fn record_bytes_max(chunk_bytes: u64) -> u64 {
    chunk_bytes / 4
}
