//! The small files of a data directory, the log, and the framed stream of a checkpoint.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use gfs_chunkserver::master_link::Obeyed;
use gfs_durable::data_dir::{DataDir, Format, Opened, Role, decode_stamp};
use gfs_durable::frame::{self, Kind, TRAILER_TAG};
use gfs_durable::fs::Fs;
use gfs_durable::fs::sim::SimFs;
use gfs_durable::log::{Log, LogOptions, Record, recover_bytes};
use gfs_durable::slots::{self, Slots};
use gfs_membership::store::file as config_record;
use gfs_protocol::checksum::crc32c;
use gfs_types::fence::{LogPosition, MasterEpoch};
use gfs_types::ids::{ClusterUid, ProcessSession, ServerUid};
use gfs_types::record::ConfigRecord;
use gfs_types::region::ChunkSize;

use super::seal::{around, over, word};
use super::{Decoder, MANY, ON_DISK, SMALL, Verdict, wire_samples};

pub(super) const LOG_SEGMENT: Decoder = Decoder {
    name: "log-segment",
    run: log_segment,
    samples: log_samples,
    memory: ON_DISK,
    mutations: 100,
};
pub(super) const FRAMED_STREAM: Decoder = Decoder {
    name: "framed-stream",
    run: framed_stream,
    samples: stream_samples,
    // Payloads are read in pieces of 64 KiB, whatever they claim.
    memory: ON_DISK,
    mutations: MANY,
};
pub(super) const SLOTS: Decoder = Decoder {
    name: "slots",
    run: slot_file,
    samples: slot_samples,
    memory: ON_DISK,
    mutations: 100,
};
pub(super) const MASTER_SEEN: Decoder = Decoder {
    name: "master-seen",
    run: master_seen,
    samples: || vec![[&3_u64.to_le_bytes()[..], &(64_u64 << 20).to_le_bytes()].concat()],
    memory: ON_DISK,
    mutations: 100,
};
pub(super) const STAMP: Decoder =
    Decoder { name: "stamp", run: stamp, samples: stamp_samples, memory: ON_DISK, mutations: 100 };
pub(super) const CONFIG_RECORD: Decoder = Decoder {
    name: "config-record",
    run: record,
    samples: || vec![config_record::encode(&wire_samples::config_record())],
    memory: SMALL,
    mutations: MANY,
};

const CLUSTER: ClusterUid = ClusterUid(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
const KIND: Kind = Kind { name: *b"FUZZ", version: 1 };
const SECTION_BYTES_MAX: u32 = 1 << 20;
const FINE: &str = "the simulated disk is fine";

/// An empty simulated disk.
fn disk() -> SimFs {
    SimFs::new(1)
}

fn put(fs: &SimFs, path: &Path, bytes: &[u8]) {
    let file = fs.open(path, gfs_durable::fs::Open::Create).expect(FINE);
    file.write_all_at(bytes, 0).expect(FINE);
}

fn log_segment(bytes: &[u8]) -> Verdict {
    let mut sealed = bytes.to_vec();
    seal_segment(&mut sealed);
    one_segment(bytes).or(one_segment(&sealed))
}

/// The header, and every frame up to the first that does not fit: checksums, and the chain through them.
fn seal_segment(bytes: &mut [u8]) {
    const HEADER_BYTES: usize = 512;
    const HEAD_BYTES: usize = 48;
    if bytes.len() < HEADER_BYTES {
        return;
    }
    over(bytes, 0, HEADER_BYTES - 4, HEADER_BYTES - 4);
    let seed = word(bytes, HEADER_BYTES - 4).unwrap_or(0);
    let (mut at, mut previous) = (HEADER_BYTES, seed);
    while let Some(length) = word(bytes, at + 8) {
        let frame_bytes = HEAD_BYTES + (length as usize).next_multiple_of(8);
        let Some(frame) = bytes.get_mut(at..at + frame_bytes) else { return };
        frame[12..16].copy_from_slice(&previous.to_le_bytes());
        previous = crc32c(&[&seed.to_le_bytes(), &frame[..44], &frame[HEAD_BYTES..]].concat());
        frame[44..HEAD_BYTES].copy_from_slice(&previous.to_le_bytes());
        at += frame_bytes;
    }
}

fn one_segment(bytes: &[u8]) -> Verdict {
    let Ok(records) = recover_bytes(CLUSTER, bytes) else { return Verdict::Refused };
    if let (Some((first, ..)), Some((last, ..))) = (records.first(), records.last())
        && last.0 < u64::MAX
    {
        let again = written(*first, &records);
        assert_eq!(recover_bytes(CLUSTER, &again).expect("it was just written"), records);
    }
    Verdict::Accepted
}

/// A segment that holds these records.
fn written(first: LogPosition, records: &[Record]) -> Vec<u8> {
    let longest = records.iter().map(|(.., bytes)| bytes.len()).max().unwrap_or(0);
    let all: usize = records.iter().map(|(.., bytes)| bytes.len() + 56).sum();
    let segment_bytes = (1024 + all + longest).next_multiple_of(512) as u64;
    let options = LogOptions { cluster_uid: CLUSTER, segment_bytes, record_bytes_max: longest };
    let fs = disk();
    let dir = Path::new("/");
    let mut log = Log::create(Arc::new(fs.clone()), dir, options, first).expect(FINE);
    for (_, epoch, bytes) in records {
        log.append(*epoch, &[bytes]).expect("records of a log can be appended to another one");
    }
    fs.read(&dir.join(format!("log-{:016x}", first.0)), segment_bytes).expect(FINE)
}

fn log_samples() -> Vec<Vec<u8>> {
    let record = |position, epoch, bytes: &[u8]| {
        (LogPosition(position), MasterEpoch(epoch), bytes.to_owned())
    };
    let two_epochs = [record(7, 1, b"seven"), record(8, 2, b""), record(9, 2, &[9; 100])];
    let options = LogOptions { cluster_uid: CLUSTER, segment_bytes: 1024, record_bytes_max: 64 };
    let fs = disk();
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let mut log = Log::create(shared, Path::new("/"), options, LogPosition(1)).expect(FINE);
    log.append(MasterEpoch(1), &[b"one", b"two"]).expect(FINE);
    log.flush().expect(FINE);
    log.append(MasterEpoch(1), &[b"three"]).expect(FINE);
    log.flush().expect(FINE);
    log.mark_durable().expect(FINE);
    let marked = fs.read(Path::new("/log-0000000000000001"), 1024).expect(FINE);
    let mut torn = marked.clone();
    let end = torn.iter().rposition(|byte| *byte != 0).unwrap_or(0);
    torn[end - 60..].fill(0);
    vec![written(LogPosition(7), &two_epochs), marked, torn]
}

fn framed_stream(bytes: &[u8]) -> Verdict {
    let mut sealed = bytes.to_vec();
    seal_stream(&mut sealed);
    one_stream(bytes).or(one_stream(&sealed))
}

/// The head, each section, and what the trailer says of them.
fn seal_stream(bytes: &mut [u8]) {
    over(bytes, 0, 16, 16);
    let (mut at, mut index, mut payload_bytes) = (20, 0_u64, 0_u64);
    while let (Some(tag), Some(length)) = (word(bytes, at), word(bytes, at + 4)) {
        let whole = bytes.get(..at).map_or(0, crc32c);
        let Some(section) = bytes.get_mut(at..at + 12 + length as usize) else { return };
        if tag == TRAILER_TAG && length == 20 {
            section[12..20].copy_from_slice(&index.to_le_bytes());
            section[20..28].copy_from_slice(&payload_bytes.to_le_bytes());
            section[28..32].copy_from_slice(&whole.to_le_bytes());
        }
        let place = [index.to_le_bytes(), u64::from(length).to_le_bytes()];
        let sum = crc32c(&[&place[0][..], &tag.to_le_bytes(), &place[1], &section[12..]].concat());
        section[8..12].copy_from_slice(&sum.to_le_bytes());
        (at, index) = (at + section.len(), index + 1);
        payload_bytes += u64::from(length);
    }
}

fn one_stream(bytes: &[u8]) -> Verdict {
    let Ok(sections) = frame::decode(bytes, KIND, SECTION_BYTES_MAX) else {
        return Verdict::Refused;
    };
    let sections = sections.iter().map(|section| (section.tag, section.payload.as_slice()));
    let again = frame::decode(&stream(sections.clone()), KIND, SECTION_BYTES_MAX);
    let again = again.expect("it was just written");
    assert!(again.iter().map(|section| (section.tag, section.payload.as_slice())).eq(sections));
    Verdict::Accepted
}

fn stream<'a>(sections: impl IntoIterator<Item = (u32, &'a [u8])>) -> Vec<u8> {
    let mut writer = frame::Writer::new(Vec::new(), KIND).expect("memory does not fail");
    for (tag, payload) in sections {
        writer.section(tag, payload).expect("memory does not fail");
    }
    writer.finish().expect("memory does not fail")
}

fn stream_samples() -> Vec<Vec<u8>> {
    vec![stream([]), stream([(1, &b"one"[..]), (2, b""), (1, &[3; 300])])]
}

fn slot_file(bytes: &[u8]) -> Verdict {
    let mut sealed = bytes.to_vec();
    for at in [0, 4096] {
        if let Some(slot) = sealed.get_mut(at..at + 512) {
            around(slot, 28);
        }
    }
    one_slot_file(bytes).or(one_slot_file(&sealed))
}

/// The pure decoder and the one that repairs the file say the same, and so does a second start.
fn one_slot_file(bytes: &[u8]) -> Verdict {
    let path = Path::new("/slots");
    let decoded = slots::decode(bytes, path).ok();
    let fs = disk();
    put(&fs, path, bytes);
    for _start in 0..2 {
        let opened = Slots::open(&fs, path).ok().map(|slots| slots.value().to_vec());
        assert_eq!(opened, decoded);
    }
    Verdict::of(decoded.is_some())
}

fn slot_samples() -> Vec<Vec<u8>> {
    let (fs, path) = (disk(), Path::new("/slots"));
    let mut slots = Slots::create(&fs, path, b"first").expect(FINE);
    slots.write(b"second").expect(FINE);
    let whole = fs.read(path, 1 << 20).expect(FINE);
    let mut one_lost = whole.clone();
    one_lost[..512].fill(0);
    vec![whole, one_lost]
}

/// The value within its slots: what checks out there may still be of another program.
fn master_seen(bytes: &[u8]) -> Verdict {
    let (fs, dir) = (disk(), Path::new("/"));
    if Slots::create(&fs, &dir.join("master-seen"), bytes).is_err() {
        return Verdict::Refused;
    }
    let Ok(obeyed) = Obeyed::open(&fs, dir, ProcessSession(1)) else { return Verdict::Refused };
    let (epoch, chunk_size) = (obeyed.epoch(), obeyed.chunk_size());
    Obeyed::create(&fs, dir, epoch, chunk_size).expect(FINE);
    let again = Obeyed::open(&fs, dir, ProcessSession(1)).expect("it was just written");
    assert_eq!((again.epoch(), again.chunk_size()), (epoch, chunk_size));
    assert!(ChunkSize::new(chunk_size.bytes()).is_ok());
    Verdict::Accepted
}

fn stamp(bytes: &[u8]) -> Verdict {
    let mut sealed = bytes.to_vec();
    if let Some(at) = sealed.windows(8).rposition(|window| window == b"crc32c: ") {
        sealed.truncate(at);
        let sum = crc32c(&sealed);
        sealed.extend_from_slice(format!("crc32c: {sum:08x}\n").as_bytes());
    }
    one_stamp(bytes).or(one_stamp(&sealed))
}

fn one_stamp(bytes: &[u8]) -> Verdict {
    let Ok(format) = decode_stamp(bytes) else { return Verdict::Refused };
    assert_eq!(decode_stamp(&stamped(format)), Ok(format));
    Verdict::Accepted
}

/// The stamp of a directory that was just formatted.
fn stamped(format: Format) -> Vec<u8> {
    let (fs, dir) = (disk(), Path::new("/data"));
    let opened = DataDir::open(Arc::new(fs.clone()), dir, format.role).expect(FINE);
    let Opened::Blank(blank) = opened else { panic!("a new directory is blank: {opened:?}") };
    let nothing = |_: &Path| Ok::<(), Infallible>(());
    blank.format(format.cluster_uid, format.own_uid, nothing).expect(FINE);
    fs.read(&dir.join("format"), 4096).expect(FINE)
}

fn stamp_samples() -> Vec<Vec<u8>> {
    let format = |role| Format { cluster_uid: CLUSTER, own_uid: ServerUid(0xfeed), role };
    [Role::Master, Role::Chunkserver].map(|role| stamped(format(role))).to_vec()
}

/// The file, and the record in it without its checksum.
fn record(bytes: &[u8]) -> Verdict {
    let bare = serde_json::from_slice::<serde_json::Value>(bytes).ok();
    let bare = bare.and_then(|mut file| file.pointer_mut("/body/record").map(|it| it.take()));
    let bare = bare.and_then(|record| serde_json::from_value::<ConfigRecord>(record).ok());
    let decoded = config_record::decode(bytes).ok();
    for record in decoded.iter().chain(&bare) {
        let again = config_record::decode(&config_record::encode(record));
        assert_eq!(again.ok().as_ref(), Some(record));
    }
    Verdict::of(decoded.is_some())
}
