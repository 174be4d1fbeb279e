//! One suite for the real disk and the simulated one: what the second promises, the first does.

mod simulated;

use std::io::{ErrorKind, IoSlice};
use std::path::Path;

use super::*;
use crate::testing::on_both;

fn names(fs: &dyn Fs, dir: &Path) -> Vec<String> {
    let names = fs.read_dir(dir).expect("a directory");
    names.into_iter().map(|name| name.into_string().expect("plain names")).collect()
}

fn put(fs: &dyn Fs, path: &Path, bytes: &[u8]) {
    let file = fs.open(path, Open::Create).expect("the directory is there");
    file.write_all_at(bytes, 0).expect("the disk is fine");
}

#[test]
fn open_finds_makes_or_refuses() {
    on_both(|fs, dir| {
        let path = dir.join("file");
        for how in [Open::Read, Open::Write] {
            let error = fs.open(&path, how).expect_err("nothing there");
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(error.to_string().contains("cannot open"), "{error}");
            assert!(error.to_string().contains(path.to_str().expect("plain")), "{error}");
        }
        assert!(!fs.exists(&path).expect("no error"));
        fs.open(&path, Open::CreateNew).expect("a new file");
        let error = fs.open(&path, Open::CreateNew).expect_err("it is there");
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        put(&*fs, &path, b"kept");
        let again = fs.open(&path, Open::Create).expect("it is there");
        assert_eq!(again.len().expect("no error"), 4, "an open never cuts a file");
        assert!(fs.exists(&path).expect("no error"));
        let error = fs.open(&dir.join("no/file"), Open::Create).expect_err("no such directory");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let read_only = fs.open(&path, Open::Read).expect("it is there");
        read_only.write_all_at(b"x", 0).expect_err("opened to read");
    });
}

#[test]
fn bytes_are_read_where_they_were_written() {
    on_both(|fs, dir| {
        let file = fs.open(&dir.join("file"), Open::CreateNew).expect("a new file");
        assert!(file.is_empty().expect("no error"));
        file.write_all_at(b"world", 6).expect("the disk is fine");
        file.write_all_at(b"hello", 0).expect("the disk is fine");
        let mut bytes = [9; 11];
        file.read_exact_at(&mut bytes, 0).expect("all are there");
        assert_eq!(&bytes, b"hello\0world");
        let mut rest = [0; 4];
        let error = file.read_exact_at(&mut rest, 8).expect_err("three are left");
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert_eq!(file.read_at(&mut rest, 11).expect("no error"), 0);
        assert_eq!(file.read_at(&mut rest, 1 << 40).expect("no error"), 0);
        file.set_len(5).expect("the disk is fine");
        file.set_len(7).expect("the disk is fine");
        assert_eq!(fs.read(&dir.join("file"), 7).expect("no error"), b"hello\0\0");
        let error = fs.read(&dir.join("file"), 6).expect_err("one too many");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        file.sync_data().expect("the disk is fine");
        file.sync_all().expect("the disk is fine");
    });
}

#[test]
fn vectored_writes_are_like_plain_ones() {
    on_both(|fs, dir| {
        let file = fs.open(&dir.join("file"), Open::CreateNew).expect("a new file");
        let piece = [7; 3];
        let mut buffers = vec![IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"c")];
        buffers.extend(std::iter::repeat_n(IoSlice::new(&piece), 2000));
        file.write_all_vectored_at(&buffers, 10).expect("the disk is fine");
        file.write_all_vectored_at(&[], 0).expect("nothing to do");
        assert_eq!(file.len().expect("no error"), 10 + 3 + 6000);
        let mut bytes = vec![0; 6003];
        file.read_exact_at(&mut bytes, 10).expect("all are there");
        assert_eq!(&bytes[..3], b"abc");
        assert!(bytes[3..].iter().all(|byte| *byte == 7));
    });
}

#[test]
fn reserved_space_does_not_change_the_length() {
    on_both(|fs, dir| {
        let file = fs.open(&dir.join("file"), Open::CreateNew).expect("a new file");
        file.allocate(0, 1 << 16).expect("there is room");
        file.allocate(0, 0).expect("nothing to do");
        assert_eq!(file.len().expect("no error"), 0);
    });
}

#[test]
fn names_are_made_changed_removed_and_sorted() {
    on_both(|fs, dir| {
        for name in ["b", "a", "c"] {
            put(&*fs, &dir.join(name), name.as_bytes());
        }
        fs.create_dir_all(&dir.join("d/e")).expect("new directories");
        fs.create_dir_all(&dir.join("d/e")).expect("they may be there");
        assert_eq!(names(&*fs, dir), ["a", "b", "c", "d"]);
        assert!(fs.metadata(&dir.join("d")).expect("it is there").is_dir);
        let file = fs.metadata(&dir.join("b")).expect("it is there");
        assert_eq!(file, Metadata { len: 1, is_dir: false });
        fs.rename(&dir.join("a"), &dir.join("d/e/a")).expect("the disk is fine");
        fs.rename(&dir.join("c"), &dir.join("b")).expect("it replaces");
        assert_eq!(names(&*fs, dir), ["b", "d"]);
        assert_eq!(fs.read(&dir.join("b"), 9).expect("it is there"), b"c");
        fs.remove_file(&dir.join("d/e/a")).expect("it is there");
        assert!(names(&*fs, &dir.join("d/e")).is_empty());
        for gone in [fs.remove_file(&dir.join("a")), fs.rename(&dir.join("a"), &dir.join("x"))] {
            assert_eq!(gone.expect_err("not there").kind(), ErrorKind::NotFound);
        }
        fs.sync_dir(dir).expect("the disk is fine");
        assert_eq!(fs.sync_dir(&dir.join("x")).expect_err("no").kind(), ErrorKind::NotFound);
        assert_eq!(fs.read_dir(&dir.join("x")).expect_err("no").kind(), ErrorKind::NotFound);
        let blocked = fs.create_dir_all(&dir.join("b/under")).expect_err("b is a file");
        assert!(
            matches!(blocked.kind(), ErrorKind::NotADirectory | ErrorKind::AlreadyExists),
            "{blocked}"
        );
    });
}

#[test]
fn an_open_file_outlives_its_name() {
    on_both(|fs, dir| {
        let path = dir.join("file");
        put(&*fs, &path, b"old");
        let old = fs.open(&path, Open::Read).expect("it is there");
        put(&*fs, &dir.join("new"), b"new");
        fs.rename(&dir.join("new"), &path).expect("it replaces");
        let mut bytes = [0; 3];
        old.read_exact_at(&mut bytes, 0).expect("still there");
        assert_eq!(&bytes, b"old");
        assert_eq!(fs.read(&path, 9).expect("it is there"), b"new");
    });
}

#[test]
fn a_lock_is_given_once_and_comes_back() {
    on_both(|fs, dir| {
        let path = dir.join("LOCK");
        let lock = fs.try_lock(&path).expect("no error").expect("nobody has it");
        lock.file().write_all_at(b"me", 0).expect("the disk is fine");
        assert!(fs.try_lock(&path).expect("no error").is_none(), "it was given twice");
        assert_eq!(fs.read(&path, 9).expect("others may read"), b"me");
        drop(lock);
        assert!(fs.try_lock(&path).expect("no error").is_some(), "it did not come back");
    });
}

#[test]
fn space_is_told() {
    on_both(|fs, dir| {
        let space = fs.free_space(dir).expect("no error");
        assert!(space.total_bytes > 0 && space.available_bytes <= space.total_bytes, "{space:?}");
    });
}
