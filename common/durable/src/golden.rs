//! The bytes on disk are a contract: what is written today is what the golden files hold, and they
//! are read for ever. A change that breaks this is a new format version, with files of its own.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use gfs_types::fence::{LogPosition, MasterEpoch};
use gfs_types::ids::{ClusterUid, ServerUid};

use crate::data_dir::{DataDir, Format, Opened, Role, decode_stamp};
use crate::frame::{self, Kind, Section};
use crate::fs::Fs;
use crate::fs::sim::SimFs;
use crate::log::{Log, LogOptions, recover_bytes};
use crate::slots::{self, Slots};

const CLUSTER: ClusterUid = ClusterUid(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
const OWN: ServerUid = ServerUid(0xfeed);
const KIND: Kind = Kind { name: *b"GOLD", version: 1 };

const LOG: &[u8] = include_bytes!("../golden/log-segment-v1");
const FRAME: &[u8] = include_bytes!("../golden/frame-v1");
const SLOTS: &[u8] = include_bytes!("../golden/slots-v1");
const STAMP: &[u8] = include_bytes!("../golden/format-v1");

fn written(disk: &SimFs, path: &str) -> Vec<u8> {
    disk.read(Path::new(path), 1 << 20).expect("it was just written")
}

#[test]
fn log_segment() {
    let disk = SimFs::new(1);
    let options = LogOptions { cluster_uid: CLUSTER, segment_bytes: 1024, record_bytes_max: 64 };
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let mut log = Log::create(fs, Path::new("/"), options, LogPosition(7)).expect("blank");
    log.append(MasterEpoch(2), &[&b"seven"[..], b"", b"nine"]).expect("the disk is fine");
    log.mark_durable().expect("the disk is fine");
    assert_eq!(written(&disk, "/log-0000000000000007"), LOG);
    let record = |position, bytes: &[u8]| (LogPosition(position), MasterEpoch(2), bytes.to_vec());
    let records = [record(7, b"seven"), record(8, b""), record(9, b"nine")];
    assert_eq!(recover_bytes(CLUSTER, LOG).expect("good for ever"), records);
}

#[test]
fn framed_stream() {
    let mut writer = frame::Writer::new(Vec::new(), KIND).expect("memory does not fail");
    writer.section(1, b"one").expect("memory does not fail");
    writer.section(2, b"").expect("memory does not fail");
    assert_eq!(writer.finish().expect("memory does not fail"), FRAME);
    let sections = [(1, &b"one"[..]), (2, b"")]
        .map(|(tag, payload)| Section { tag, payload: payload.to_owned() });
    assert_eq!(frame::decode(FRAME, KIND, 10).expect("good for ever"), sections);
}

#[test]
fn slot_file() {
    let disk = SimFs::new(1);
    let mut slots = Slots::create(&disk, Path::new("/slots"), b"first").expect("the disk is fine");
    slots.write(b"second").expect("the disk is fine");
    assert_eq!(written(&disk, "/slots"), SLOTS);
    assert_eq!(slots::decode(SLOTS, Path::new("/slots")).expect("good for ever"), b"second");
}

#[test]
fn stamp() {
    let disk = SimFs::new(1);
    let opened = DataDir::open(Arc::new(disk.clone()), Path::new("/data"), Role::Master);
    let Ok(Opened::Blank(blank)) = opened else { panic!("not blank: {opened:?}") };
    blank.format(CLUSTER, OWN, |_| Ok::<(), Infallible>(())).expect("the disk is fine");
    assert_eq!(written(&disk, "/data/format"), STAMP);
    let format = Format { cluster_uid: CLUSTER, own_uid: OWN, role: Role::Master };
    assert_eq!(decode_stamp(STAMP), Ok(format));
}
