//! Bad input to every decoder: the corpus of the fuzz targets, and some hundreds of changes of each file of it.
//!
//! A decoder panics, or what it decoded does not come back the same: the test names the file and prints the bytes, which
//! then belong into `fuzz/corpus/<decoder>/`.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use gfs_tests::decoders::{self, Decoder, mutate};

/// Files of one decoder: few enough that somebody may look at each.
const FILES_MAX: usize = 40;
/// Bytes of the whole corpus: it is in everybody's clone.
const BYTES_MAX: u64 = 300 << 10;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

/// Names in a folder, without this ending, in order.
fn names(folder: &Path, ending: &str) -> BTreeSet<String> {
    let read = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    read.map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.strip_suffix(ending).unwrap_or_else(|| panic!("{name} in {folder:?}")).to_owned()
    })
    .collect()
}

fn corpus(decoder: &Decoder) -> Vec<(String, Vec<u8>)> {
    let folder = fuzz().join("corpus").join(decoder.name);
    let read = |name: String| {
        let bytes = fs::read(folder.join(&name)).unwrap();
        (name, bytes)
    };
    names(&folder, "").into_iter().map(read).collect()
}

/// The first input that the decoder fails on, for a person to read.
fn first_failure(decoder: &Decoder) -> Option<String> {
    let fails = |bytes: &[u8], what: &str| {
        let failed = catch_unwind(|| (decoder.run)(bytes)).is_err();
        let (name, length) = (decoder.name, bytes.len());
        failed.then(|| {
            format!("{name} fails on {what}, {length} bytes: b\"{}\"", bytes.escape_ascii())
        })
    };
    let files = corpus(decoder);
    let others: Vec<_> = files.iter().map(|(_, bytes)| bytes.clone()).collect();
    (1..).zip(&files).find_map(|(seed, (name, bytes))| {
        let cuts = mutate::cuts(bytes, decoder.mutations);
        let changed = mutate::changed(bytes, &others, seed, decoder.mutations);
        let mut changes = cuts.chain(changed);
        fails(bytes, name)
            .or_else(|| changes.find_map(|bytes| fails(&bytes, &format!("{name}, changed"))))
    })
}

#[test]
fn every_decoder_has_a_fuzz_target_and_a_corpus_and_nothing_else_has() {
    let listed: BTreeSet<_> = decoders::ALL.iter().map(|decoder| decoder.name.to_owned()).collect();
    assert_eq!(names(&fuzz().join("corpus"), ""), listed, "folders of the corpus");
    assert_eq!(names(&fuzz().join("fuzz_targets"), ".rs"), listed, "fuzz targets");
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in &listed {
        let target = fuzz().join("fuzz_targets").join(format!("{name}.rs"));
        let source = fs::read_to_string(target).unwrap();
        assert!(source.contains(&format!("run(\"{name}\", bytes)")), "{name} fuzzes another one");
        let entry = format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n");
        assert!(manifest.contains(&entry), "fuzz/Cargo.toml lacks {name}");
    }
}

#[test]
fn the_corpus_is_small_and_has_every_sample() {
    let mut bytes = 0;
    for decoder in decoders::ALL {
        let files = corpus(decoder);
        assert!(files.len() <= FILES_MAX, "{} has {} files", decoder.name, files.len());
        bytes += files.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
        let samples = files.iter().filter(|(name, _)| name.starts_with("sample-")).count();
        assert_eq!(samples, (decoder.samples)().len(), "run the example seed-corpus anew");
    }
    assert!(bytes <= BYTES_MAX, "the corpus has {bytes} bytes");
}

#[test]
fn every_decoder_survives_its_corpus_and_every_change_of_it() {
    let failures: Vec<_> = decoders::ALL.iter().filter_map(first_failure).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
