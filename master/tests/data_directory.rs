//! Blank, formatted, foreign, in use: what a master does with the data directory it finds.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gfs_durable::data_dir::{BlankDir, DataDir, Opened, Role};
use gfs_durable::fs::Fs;
use gfs_durable::fs::sim::{CrashMode, SimFs};
use gfs_durable::log::LogOptions;
use gfs_master::lifecycle::{self, NewCluster};
use gfs_master::oplog;
use gfs_membership::record;
use gfs_types::fence::LogPosition;
use gfs_types::ids::{ClusterUid, ServerUid};
use gfs_types::region::ChunkSize;

const DIR: &str = "/master";
const CLUSTER: ClusterUid = ClusterUid(0xc1);
const MASTER: ServerUid = ServerUid(0x5e);

fn options(cluster: ClusterUid) -> LogOptions {
    LogOptions { segment_bytes: 4096, record_bytes_max: 1024, ..LogOptions::new(cluster) }
}

fn open(fs: &SimFs) -> Result<Opened, lifecycle::LifecycleError> {
    lifecycle::open(Arc::new(fs.clone()), Path::new(DIR))
}

fn blank(fs: &SimFs) -> BlankDir {
    match open(fs) {
        Ok(Opened::Blank(blank)) => blank,
        other => panic!("not blank: {other:?}"),
    }
}

fn formatted(fs: &SimFs) -> DataDir {
    match open(fs) {
        Ok(Opened::Formatted(data_dir)) => data_dir,
        other => panic!("not formatted: {other:?}"),
    }
}

fn format(fs: &SimFs) -> Result<DataDir, lifecycle::LifecycleError> {
    format_blank(fs, blank(fs))
}

fn format_blank(fs: &SimFs, blank: BlankDir) -> Result<DataDir, lifecycle::LifecycleError> {
    let disk: Arc<dyn Fs> = Arc::new(fs.clone());
    let chunk_size = ChunkSize::new(1 << 20).expect("it is within its limits");
    let new = NewCluster { cluster: CLUSTER, master: MASTER, chunk_size };
    lifecycle::format(&disk, blank, new, options(CLUSTER))
}

fn recover(fs: &SimFs, cluster: ClusterUid) -> Result<oplog::Recovered, oplog::RecoverError> {
    let disk: Arc<dyn Fs> = Arc::new(fs.clone());
    oplog::recover(&disk, Path::new(DIR), options(cluster), &AtomicBool::new(false))
}

#[test]
fn a_formatted_directory_has_a_first_record_and_a_configuration_record() {
    let fs = SimFs::new(1);
    let data_dir = format(&fs).unwrap();
    assert_eq!(data_dir.format().own_uid, MASTER);
    let (found, _store) = lifecycle::config_record(Arc::new(fs.clone()), &data_dir).unwrap();
    assert_eq!(found, record::first(CLUSTER, MASTER));
    let recovered = recover(&fs, CLUSTER).unwrap();
    assert_eq!(recovered.state.cluster(), Some(CLUSTER));
    assert_eq!(recovered.state.chunk_size().bytes(), 1 << 20);
    assert_eq!(recovered.state.position(), LogPosition(1));
}

/// Cut at any moment the directory is blank again, or it is formatted and has everything.
#[test]
fn an_interrupted_format_is_blank_again_or_complete() {
    let whole = SimFs::new(1);
    let begun = blank(&whole);
    let before = whole.operations();
    drop(format_blank(&whole, begun).unwrap());
    let changes = whole.operations() - before;
    let mut ends = [0, 0];
    for at in 0..=changes {
        let fs = SimFs::new(1);
        let begun = blank(&fs);
        fs.fail_after(fs.operations() + at);
        drop(format_blank(&fs, begun));
        let mut disks: Vec<_> = fs.crash_modes(4).into_iter().map(|mode| fs.crash(mode)).collect();
        disks.push(fs.kill());
        for disk in disks {
            let is_blank = matches!(open(&disk), Ok(Opened::Blank(_)));
            ends[usize::from(is_blank)] += 1;
            if is_blank {
                drop(format(&disk).unwrap_or_else(|error| panic!("cut at {at}: {error}")));
            }
            let data_dir = formatted(&disk);
            let store = lifecycle::config_record(Arc::new(disk.clone()), &data_dir);
            assert_eq!(store.unwrap().0.primary, MASTER, "cut at {at}");
            assert_eq!(recover(&disk, CLUSTER).unwrap().state.cluster(), Some(CLUSTER));
        }
    }
    assert!(ends.iter().all(|count| *count > 0), "{ends:?}");
}

#[test]
fn a_directory_in_use_is_refused() {
    let fs = SimFs::new(1);
    let _data_dir = format(&fs).unwrap();
    let error = open(&fs).unwrap_err().to_string();
    assert!(error.contains(DIR) && error.contains("in use"), "{error}");
}

#[test]
fn a_directory_of_a_chunkserver_is_refused() {
    let fs = SimFs::new(1);
    let opened = DataDir::open(Arc::new(fs.clone()), Path::new(DIR), Role::Chunkserver).unwrap();
    let Opened::Blank(blank) = opened else { panic!("it is blank") };
    let fill = |_: &Path| Ok::<_, std::io::Error>(());
    drop(blank.format(CLUSTER, MASTER, fill).unwrap());
    let error = open(&fs).unwrap_err().to_string();
    assert!(error.to_lowercase().contains("chunkserver"), "{error}");
}

#[test]
fn a_log_of_another_cluster_is_refused_with_both_uids() {
    let fs = SimFs::new(1);
    drop(format(&fs).unwrap());
    let other = ClusterUid(0xbad);
    let error = recover(&fs, other).unwrap_err().to_string();
    assert!(error.contains(&other.to_string()) && error.contains(&CLUSTER.to_string()), "{error}");
}

#[test]
fn the_record_survives_and_is_not_made_anew() {
    let fs = SimFs::new(1);
    let data_dir = format(&fs).unwrap();
    drop(data_dir);
    let fs = fs.crash(CrashMode::Nothing);
    let data_dir = formatted(&fs);
    let path = Path::new(DIR).join(gfs_membership::store::file::FILE_NAME);
    let damaged = Arc::new(fs.clone());
    damaged.open(&path, gfs_durable::fs::Open::Write).unwrap().set_len(3).unwrap();
    let error = lifecycle::config_record(damaged, &data_dir).unwrap_err().to_string();
    assert!(error.contains("config-record.json"), "{error}");
}

#[test]
fn a_recovery_that_is_stopped_says_so_and_changes_nothing() {
    let fs = SimFs::new(1);
    drop(format(&fs).unwrap());
    let disk: Arc<dyn Fs> = Arc::new(fs.clone());
    let stop = AtomicBool::new(true);
    let stopped = oplog::recover(&disk, Path::new(DIR), options(CLUSTER), &stop);
    assert!(matches!(stopped, Err(oplog::RecoverError::Stopped)));
    assert_eq!(recover(&fs, CLUSTER).unwrap().state.position(), LogPosition(1));
}
