//! The file format is a contract, docs/formats/chunk-file.md: this very file must come out for ever.

use std::fmt::Write;

use gfs_durable::fs::Fs;
use gfs_durable::fs::sim::SimFs;
use gfs_types::fence::ChunkVersion;

use super::model::{HANDLE, open, pattern};
use crate::store::Payload;

const GOLDEN: &str = include_str!("chunk-file.golden");

/// The file as lines of 16 bytes, those of zeros left out; the chunk's own bytes only by their first line.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (index, line) in bytes.chunks(16).enumerate() {
        let at = index * 16;
        let data = usize::try_from(crate::store::layout::DATA_AT).unwrap();
        if line.iter().any(|byte| *byte != 0) && at <= data {
            write!(text, "{at:06x}").unwrap();
            line.iter().for_each(|byte| write!(text, " {byte:02x}").unwrap());
            text.push('\n');
        }
    }
    text
}

fn path() -> std::path::PathBuf {
    format!("/data/chunks/cd/{HANDLE}.chunk").into()
}

#[test]
fn the_format_is_what_it_was() {
    let fs = SimFs::new(1);
    let (store, _) = open(fs.clone()).unwrap();
    store.create(HANDLE, ChunkVersion(1)).unwrap();
    store.write(HANDLE, 0, &Payload::compute(pattern(1, 70_000), 0)).unwrap();
    store.flush(HANDLE, 69_000).unwrap();
    store.write(HANDLE, 65_530, &Payload::compute(pattern(2, 20), 0)).unwrap();
    store.set_version(HANDLE, ChunkVersion(2)).unwrap();
    let dumped = dump(&fs.read(&path(), 1 << 30).unwrap());
    assert_eq!(dumped, GOLDEN, "the format changed; the file is now:\n{dumped}");
}
