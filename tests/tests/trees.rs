//! Real files go in and come out identical: trees, long streams, awkward names (docs/semantics.md, "Files").

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gfs_tests::cluster::Cluster;
use gfs_tests::command::{fails, gfs, ok};
use gfs_tests::{payload, tree};

/// The Rust toolchain's own directory: thousands of files, empty to hundreds of MB.
fn toolchain() -> PathBuf {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    PathBuf::from(ok(rustc.args(["--print", "sysroot"])).trim_end())
}

/// The same tree by hard links, less the generated pages of one crate, which are 40,000 of its 52,000 files and all alike.
/// A toolchain without pages has too few files: then the sources of all dependencies come along.
fn selection(scratch: &Path) -> PathBuf {
    let tree = scratch.join("toolchain");
    link_tree(&toolchain(), &tree, &|path| !path.ends_with("html/core"));
    if tree::walk(&tree).unwrap().len() < 2_000 {
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
        link_tree(&home.unwrap().join("registry/src"), &tree.join("dependencies"), &|_| true);
    }
    tree
}

/// A copy by hard links, or by bytes where links are not possible.
fn link_tree(from: &Path, to: &Path, wanted: &dyn Fn(&Path) -> bool) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() && wanted(&path) {
            link_tree(&path, &to.join(name), wanted);
        } else if path.is_file() && fs::hard_link(&path, to.join(&name)).is_err() {
            fs::copy(&path, to.join(&name)).unwrap();
        }
    }
}

#[test]
fn the_toolchain_goes_in_and_comes_out_identical() {
    let cluster = Cluster::start();
    let (source, copy) = (selection(&cluster.scratch()), cluster.scratch().join("copy"));
    let before = tree::walk(&source).unwrap();
    let sizes: Vec<u64> = before.values().filter_map(|found| found.bytes).collect();
    assert!(sizes.len() > 2_000, "{} has only {} files", source.display(), sizes.len());
    assert!(sizes.iter().any(|bytes| *bytes > 100 << 20), "no file over 100 MiB");
    assert!(sizes.contains(&0), "no empty file");

    cluster.ok(&["put", "-r", source.to_str().unwrap(), "/toolchain"]);
    cluster.ok(&["get", "-r", "/toolchain", copy.to_str().unwrap()]);

    assert_eq!(tree::differences(&source, &copy).unwrap(), Vec::<String>::new());
    let listed = cluster.ok(&["ls", "-R", "/toolchain"]);
    assert_eq!(listed.lines().count(), before.len(), "ls -R names every file and directory");
    cluster.ok(&["fsck", "--replicas", "/toolchain"]);
}

#[test]
fn a_stream_of_4_gib_goes_in_from_stdin_and_comes_out_at_stdout() {
    const BYTES: u64 = 4 << 30;
    let cluster = Cluster::start();
    let mut put = cluster.gfs(&["put", "-", "/stream"]).stdin(Stdio::piped()).spawn().unwrap();
    let stdin = put.stdin.take().unwrap();
    let sent = Pattern::new().write_to(stdin, BYTES);
    assert!(put.wait().unwrap().success());
    assert_eq!(sent.unwrap(), BYTES);

    let mut get = cluster.gfs(&["get", "/stream", "-"]).stdout(Stdio::piped()).spawn().unwrap();
    Pattern::new().expect_from(get.stdout.take().unwrap(), BYTES);
    assert!(get.wait().unwrap().success());
}

#[test]
fn awkward_names_keep_their_bytes() {
    let cluster = Cluster::start();
    let source = cluster.scratch().join("names");
    fs::create_dir(&source).unwrap();
    let names = [
        "with space".to_owned(),
        "  both ends  ".to_owned(),
        "-rf".to_owned(),
        "--help".to_owned(),
        "ünï-çødé-日本語-🦀".to_owned(),
        "quote'\"\\back\ttab".to_owned(),
        "line\nbreak".to_owned(),
        "*?[a]$HOME`".to_owned(),
        "...".to_owned(),
        "n".repeat(255),
        "ü".repeat(127),
    ];
    for name in &names {
        fs::write(source.join(name), name.as_bytes()).unwrap();
    }
    fs::write(source.join("empty"), b"").unwrap();
    fs::create_dir(source.join("empty directory")).unwrap();
    let script = source.join("executable");
    fs::write(&script, b"#!/bin/sh\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();

    let copy = cluster.scratch().join("names copy");
    cluster.ok(&["put", "-r", source.to_str().unwrap(), "/names"]);
    cluster.ok(&["get", "-r", "/names", copy.to_str().unwrap()]);
    assert_eq!(tree::differences(&source, &copy).unwrap(), Vec::<String>::new());
    let modified = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let age = |path: &Path| modified(path).elapsed().unwrap().as_millis();
    assert!(age(&script).abs_diff(age(&copy.join("executable"))) < 1000, "the time was not kept");

    for name in &names {
        let path = format!("/names/{name}");
        assert_eq!(cluster.ok(&["cat", "--", &path]), *name);
    }
    cluster.ok(&["mv", "/names/-rf", "/names/--output"]);
    assert_eq!(cluster.ok(&["cat", "/names/--output"]), "-rf");
    let long = format!("/names/{}", "n".repeat(256));
    let stderr = fails(&mut cluster.gfs(&["put", script.to_str().unwrap(), &long]), 1);
    assert!(stderr.contains("256"), "{stderr}");
}

#[test]
fn a_broken_off_put_leaves_no_file_under_the_final_name() {
    use rustix::process::{Pid, Signal, kill_process};
    let cluster = Cluster::start();
    for signal in [Signal::INT, Signal::KILL] {
        for already_sent in [0, 1 << 20, 70 << 20] {
            let mut put =
                gfs(&cluster.masters, ["put", "-", "/half"]).stdin(Stdio::piped()).spawn().unwrap();
            let mut stdin = put.stdin.take().unwrap();
            stdin.write_all(&vec![7; already_sent]).unwrap();
            kill_process(Pid::from_child(&put), signal).unwrap();
            assert!(!put.wait().unwrap().success());
            drop(stdin);
            let stderr = fails(&mut cluster.gfs(&["stat", "/half"]), 1);
            assert!(stderr.contains("/half"), "{stderr}");
        }
    }
    let source = cluster.scratch().join("whole");
    fs::write(&source, b"whole").unwrap();
    cluster.ok(&["put", source.to_str().unwrap(), "/half"]);
    assert_eq!(cluster.ok(&["cat", "/half"]), "whole");
}

/// An endless stream in which no two MiB are alike, made and checked in constant memory.
struct Pattern {
    next: u64,
}

impl Pattern {
    const PIECE: usize = 1 << 20;

    fn new() -> Self {
        Self { next: 0 }
    }

    fn piece(&mut self) -> Vec<u8> {
        self.next += 1;
        payload::record(1, self.next, Self::PIECE)
    }

    fn write_to(&mut self, mut to: impl Write, bytes: u64) -> io::Result<u64> {
        for _ in 0..bytes / Self::PIECE as u64 {
            to.write_all(&self.piece())?;
        }
        Ok(bytes)
    }

    fn expect_from(&mut self, mut from: impl Read, bytes: u64) {
        let mut got = vec![0; Self::PIECE];
        for at in 0..bytes / Self::PIECE as u64 {
            from.read_exact(&mut got).unwrap();
            assert!(got == self.piece(), "MiB {at} differs");
        }
        assert_eq!(from.read(&mut got).unwrap(), 0, "there is more than was put");
    }
}

#[test]
fn get_and_put_follow_the_rules_of_cp() {
    let cluster = Cluster::start();
    let dir = cluster.scratch();
    fs::write(dir.join("a"), b"a").unwrap();
    fs::write(dir.join("b"), b"b").unwrap();
    let (a, b) = (dir.join("a"), dir.join("b"));
    let (a, b) = (a.to_str().unwrap(), b.to_str().unwrap());
    cluster.ok(&["mkdir", "/d"]);
    cluster.ok(&["put", a, b, "/d"]);
    assert_eq!(cluster.ok(&["ls", "/d"]), "a\nb\n");
    cluster.ok(&["put", a, "/d/new name"]);
    cluster.ok(&["put", b, "/d/new name"]);
    assert_eq!(cluster.ok(&["cat", "/d/new name"]), "b", "put over a file replaces it");
    fails(&mut cluster.gfs(&["put", a, b, "/no-directory"]), 1);
    fails(&mut cluster.gfs(&["get", "/d", dir.to_str().unwrap()]), 1);
    let out = dir.join("out");
    fs::create_dir(&out).unwrap();
    cluster.ok(&["get", "/d/a", "/d/b", out.to_str().unwrap()]);
    assert_eq!(fs::read(out.join("b")).unwrap(), b"b");
    let mut nothing = File::open("/dev/null").unwrap();
    assert_eq!(nothing.read(&mut [0]).unwrap(), 0);
}
