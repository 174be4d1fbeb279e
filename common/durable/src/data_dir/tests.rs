//! Blank, formatted, in use, another's, damaged; and every crash of a format.

use std::convert::Infallible;

use super::*;
use crate::fs::Open;
use crate::fs::sim::{CrashMode, SimFs};
use crate::testing::{every_crash, on_both};

const DIR: &str = "/data";
const CLUSTER: ClusterUid = ClusterUid(0xc1);
const OWN: ServerUid = ServerUid(0x51);

fn open(fs: &Arc<dyn Fs>, dir: &Path) -> Result<Opened, DataDirError> {
    DataDir::open(fs.clone(), dir, Role::Master)
}

fn nothing(_: &Path) -> Result<(), Infallible> {
    Ok(())
}

fn blank(opened: Result<Opened, DataDirError>) -> BlankDir {
    match opened {
        Ok(Opened::Blank(blank)) => blank,
        other => panic!("not blank: {other:?}"),
    }
}

fn formatted(opened: Result<Opened, DataDirError>) -> DataDir {
    match opened {
        Ok(Opened::Formatted(dir)) => dir,
        other => panic!("not formatted: {other:?}"),
    }
}

fn format(fs: &Arc<dyn Fs>, dir: &Path) -> DataDir {
    blank(open(fs, dir)).format(CLUSTER, OWN, nothing).expect("the disk is fine")
}

#[test]
fn a_directory_is_blank_then_formatted_and_counts_its_sessions() {
    on_both(|fs, dir| {
        let dir = dir.join("deep/data");
        let expected = Format { cluster_uid: CLUSTER, own_uid: OWN, role: Role::Master };
        let mut made = format(&fs, &dir);
        assert_eq!((made.format(), made.path()), (expected, &*dir));
        assert_eq!(made.next_session().expect("the disk is fine"), ProcessSession(1));
        drop(made);
        let mut found = formatted(open(&fs, &dir));
        assert_eq!(found.format(), expected);
        assert_eq!(found.next_session().expect("the disk is fine"), ProcessSession(2));
        found.expect_cluster(CLUSTER).expect("it is ours");
        let error = found.expect_cluster(ClusterUid(0xc2)).expect_err("another's");
        assert!(matches!(error, DataDirError::ForeignCluster { .. }), "{error}");
    });
}

#[test]
fn a_directory_in_use_is_refused_with_the_process_that_has_it() {
    on_both(|fs, dir| {
        let held = format(&fs, dir);
        let error = open(&fs, dir).expect_err("it is in use");
        let expected =
            format!("data directory {} is in use by process {}", dir.display(), std::process::id());
        assert_eq!(error.to_string(), expected);
        drop(held);
        formatted(open(&fs, dir));
    });
}

#[test]
fn files_without_a_stamp_are_never_formatted_over() {
    on_both(|fs, dir| {
        for harmless in ["addresses", "lost+found", "formatting.tmp"] {
            fs.open(&dir.join(harmless), Open::CreateNew).expect("a new file");
        }
        drop(blank(open(&fs, dir)));
        fs.open(&dir.join("holiday.jpg"), Open::CreateNew).expect("a new file");
        let error = open(&fs, dir).expect_err("not empty");
        assert!(matches!(error, DataDirError::NotEmpty { .. }), "{error}");
        assert!(error.to_string().contains("holiday.jpg"), "{error}");
    });
}

#[test]
fn a_stamp_that_got_lost_makes_no_blank_directory() {
    on_both(|fs, dir| {
        drop(format(&fs, dir));
        fs.remove_file(&dir.join(STAMP)).expect("it is there");
        let error = open(&fs, dir).expect_err("its data is still there");
        assert!(matches!(error, DataDirError::NotEmpty { .. }), "{error}");
    });
}

#[test]
fn the_other_role_and_a_damaged_stamp_are_refused() {
    on_both(|fs, dir| {
        drop(format(&fs, dir));
        let error = DataDir::open(fs.clone(), dir, Role::Chunkserver).expect_err("a master's");
        assert!(
            error.to_string().contains("belongs to a master, this is a chunkserver"),
            "{error}"
        );
        let stamp = fs.open(&dir.join(STAMP), Open::Write).expect("it is there");
        stamp.write_all_at(b"G", 0).expect("the disk is fine");
        let error = open(&fs, dir).expect_err("damaged");
        assert!(matches!(error, DataDirError::BadStamp { .. }), "{error}");
        stamp.set_len(5000).expect("the disk is fine");
        open(&fs, dir).expect_err("no stamp is that long");
    });
}

#[test]
fn what_fill_could_not_do_is_told_and_starts_over() {
    on_both(|fs, dir| {
        let fill = |dir: &Path| {
            fs.open(&dir.join("half"), Open::CreateNew).expect("a new file");
            Err::<(), _>("no luck")
        };
        let error = blank(open(&fs, dir)).format(CLUSTER, OWN, fill).expect_err("refused");
        assert!(matches!(error, DataDirError::Fill { .. }), "{error}");
        drop(format(&fs, dir));
        assert!(!fs.exists(&dir.join("half")).expect("no error"), "the first attempt is gone");
        assert!(!fs.exists(&dir.join(FORMATTING)).expect("no error"));
    });
}

/// A format that writes two files, one of them in a directory of its own.
fn fill(fs: &Arc<dyn Fs>, dir: &Path) -> io::Result<()> {
    fs.create_dir_all(&dir.join("log"))?;
    atomic::replace(&**fs, &dir.join("log/first"), b"first")?;
    fs.open(&dir.join("second"), Open::CreateNew)?;
    fs.sync_dir(dir)
}

/// Formats a blank directory, or finds it formatted; then starts a session.
fn start(fs: &Arc<dyn Fs>) -> Result<ProcessSession, DataDirError> {
    let mut dir = match open(fs, Path::new(DIR))? {
        Opened::Formatted(dir) => dir,
        Opened::Blank(blank) => blank.format(CLUSTER, OWN, |dir| fill(fs, dir))?,
    };
    dir.next_session()
}

#[test]
fn every_crash_of_a_format_leaves_it_whole_or_blank() {
    let work = |disk: &SimFs| {
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        let first = start(&fs).map_or(0, |session| session.0);
        start(&fs).map_or(first, |session| session.0)
    };
    every_crash(&SimFs::new(1), 32, work, |disk, session, context| {
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        let stamped = fs.exists(&Path::new(DIR).join(STAMP)).expect("no error");
        assert!(stamped || *session == 0, "{context}: the stamp is gone");
        let next = start(&fs).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert!(next.0 > *session, "{context}: session {next:?} after {session}");
        let kept: Arc<dyn Fs> = Arc::new(disk.crash(CrashMode::Nothing));
        assert!(start(&kept).expect("whole") > next, "{context}: a session was given twice");
        let first = kept.read(&Path::new(DIR).join("log/first"), 9).expect("it was filled");
        assert_eq!(first, b"first", "{context}");
        let names = kept.read_dir(Path::new(DIR)).expect("a directory");
        assert_eq!(names, ["LOCK", "format", "log", "second", "session"], "{context}");
    });
}
