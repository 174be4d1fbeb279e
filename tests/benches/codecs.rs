//! Codecs alone: bytes in memory to values and back. `cargo bench -p gfs-tests --bench codecs`.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput};
use gfs_client::record::WriterId;
use gfs_client::record::frame as record_frame;
use gfs_client::record::scan::Scanner;
use gfs_master_core::record::{Change, Record, RequestMark};
use gfs_protocol::checksum;
use gfs_protocol::frame::{Head, Header, encode_request};
use gfs_types::fence::{ChunkVersion, MasterEpoch};
use gfs_types::ids::{ChunkHandle, FileId, RequestId, RequestSeq, SessionId};
use gfs_types::message::client::Attributes;
use gfs_types::message::data::{DataRequest, DataSource, Target};
use gfs_types::region::ChunkSize;
use gfs_types::time::WallTime;

const MIB: usize = 1 << 20;
const MIB_U32: u32 = 1 << 20;
const RECORD_BYTES: usize = 1 << 10;
const RECORDS: usize = 1000;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    log_records(&mut criterion);
    frame_heads(&mut criterion);
    block_checksums(&mut criterion);
    record_frames(&mut criterion);
    criterion.final_summary();
}

fn log_records(criterion: &mut Criterion) {
    let record = Record {
        wall: WallTime { ms: 1_700_000_000_000 },
        request: Some(RequestMark {
            id: RequestId { session: SessionId(7), seq: RequestSeq(1234) },
            answered_below: RequestSeq(1200),
            fingerprint: 99,
        }),
        change: Change::Created {
            file: FileId(1_000_000),
            parent: FileId(1000),
            name: "file-000000001234567".to_owned(),
            replication: 3,
            attributes: Attributes { modified: WallTime { ms: 1 }, executable: false },
        },
    };
    let bytes = record.encode();
    criterion.bench_function("log record/encode", |b| b.iter(|| black_box(&record).encode()));
    criterion.bench_function("log record/decode", |b| b.iter(|| Record::decode(black_box(&bytes))));
}

/// Of a write of one mebibyte: sixteen checksums.
fn frame_heads(criterion: &mut Criterion) {
    let target = Target {
        handle: ChunkHandle(7),
        version: ChunkVersion(3),
        epoch: MasterEpoch(1),
        left_ms: 1000,
    };
    let length = MIB as u64;
    let request = DataRequest::Write { offset: 0, length, source: DataSource::Inline };
    let checksums = checksum::blocks(0, &vec![5; MIB]);
    let encode = || encode_request(9, &target, black_box(&request), MIB_U32, &checksums);
    let bytes = encode().expect("it is within the limits");
    criterion.bench_function("frame head/encode", |b| b.iter(encode));
    criterion.bench_function("frame head/decode", |b| {
        b.iter(|| {
            let (header, tail) = black_box(&bytes).split_first_chunk().expect("a whole header");
            Header::decode(header).and_then(|header| Head::decode(&header, tail))
        });
    });
}

fn block_checksums(criterion: &mut Criterion) {
    let bytes = vec![5; MIB];
    let mut group = criterion.benchmark_group("checksums of blocks");
    group.throughput(Throughput::Bytes(MIB as u64));
    group.bench_function("1 MiB", |b| b.iter(|| checksum::blocks(0, black_box(&bytes))));
    group.finish();
}

fn record_frames(criterion: &mut Criterion) {
    let payload = vec![7; RECORD_BYTES];
    let mut file = BytesMut::new();
    for seq in 1..=RECORDS {
        record_frame::encode(&mut file, WriterId(1), seq as u64, &payload);
    }
    let file = Bytes::from(file);
    let mut group = criterion.benchmark_group("record frames");
    group.throughput(Throughput::Elements(RECORDS as u64));
    group.bench_function("scan", |b| {
        b.iter(|| {
            let mut scanner = Scanner::new(ChunkSize::default(), 0);
            scanner.push(black_box(&file));
            let found = std::iter::from_fn(|| scanner.next_record()).count();
            assert!(found + 1 >= RECORDS, "the last one may wait for more");
        });
    });
    group.finish();
}
