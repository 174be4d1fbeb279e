//! A write through a chain of replicas, each a process with files of its own.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use rustix::fs::{FallocateFlags, fallocate};

use crate::frame::{
    self, CHUNK_BYTES, FRAME_BYTES, HEADER_BYTES, PIECE_BYTES, accept, connect, verify,
};
use crate::process::{Role, Spent, own_cpu_s, say, text};
use crate::report;

/// Frames in flight.
const WINDOW: u64 = 8;
const PAYLOADS: u8 = 4;

/// Starts the replicas from the last to the first, then the writer.
pub(crate) fn measure(dir: &Path, mib: u64, replicas: u32) -> Result<()> {
    let mut folders = Folders(Vec::new());
    let mut roles: Vec<Role> = Vec::new();
    let mut next: Option<String> = None;
    for number in (0..replicas).rev() {
        let folder = dir.join(format!("yardstick-replica-{number}"));
        fs::create_dir_all(&folder)?;
        folders.0.push(folder.clone());
        let mut arguments = vec!["replica", "--dir", text(&folder)?];
        arguments.extend(next.iter().flat_map(|next| ["--next", next.as_str()]));
        let mut role = Role::start(format!("replica{number}"), &arguments)?;
        next = Some(role.line()?);
        roles.push(role);
    }
    let head = next.context("a chain has one replica at least")?;
    let client = Role::start("client", &["writer", "--to", &head, "--mib", &mib.to_string()])?;
    let mut spent = vec![client.finish()?];
    let seconds = spent[0].1.seconds;
    for role in roles {
        spent.push(role.finish()?);
    }
    report::print("chain", mib, seconds, &spent)
}

/// Removed at the end.
struct Folders(Vec<PathBuf>);

impl Drop for Folders {
    fn drop(&mut self) {
        for folder in &self.0 {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// A count that one thread raises and another waits for.
#[derive(Clone, Default)]
struct Count(Arc<(Mutex<u64>, Condvar)>);

impl Count {
    fn raise(&self, to: u64) {
        *self.lock() = to;
        self.0.1.notify_one();
    }

    fn wait_for(&self, at_least: u64) {
        let mut count = self.lock();
        while *count < at_least {
            count = self.0.1.wait(count).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Receives a piece, verifies it, forwards it, writes it to the page cache; acknowledges a frame when the next has.
pub(crate) fn replica(dir: &Path, next: Option<&str>) -> Result<()> {
    let mut from = accept()?;
    let begin = Instant::now();
    let mut down = next.map(connect).transpose()?;
    let written = Count::default();
    let acknowledging = match &down {
        Some(down) => Some(pass_back(down.try_clone()?, from.try_clone()?, written.clone())),
        None => None,
    };
    let (mut header, mut piece) = (vec![0; HEADER_BYTES], vec![0; PIECE_BYTES]);
    let mut chunks = Chunks { dir, open: None };
    let mut frames = 0;
    while read_or_end(&mut from, &mut header)? {
        if let Some(down) = &mut down {
            down.write_all(&header)?;
        }
        for number in 0..FRAME_BYTES / PIECE_BYTES {
            from.read_exact(&mut piece)?;
            verify(&header, number, &piece)?;
            if let Some(down) = &mut down {
                down.write_all(&piece)?;
            }
            chunks.write(&piece, frames * FRAME_BYTES as u64 + (number * PIECE_BYTES) as u64)?;
        }
        frames += 1;
        match &down {
            Some(_) => written.raise(frames),
            None => from.write_all(&frames.to_le_bytes())?,
        }
    }
    if let Some(down) = down {
        down.shutdown(Shutdown::Write)?;
    }
    if let Some(thread) = acknowledging {
        thread.join().map_err(|_| anyhow!("the thread of acknowledgements failed"))??;
    }
    say(&Spent { cpu_s: own_cpu_s(), seconds: begin.elapsed().as_secs_f64() })
}

/// Hands acknowledgements up the chain, each when its frame is written here too.
fn pass_back(mut down: TcpStream, mut up: TcpStream, written: Count) -> JoinHandle<Result<()>> {
    thread::spawn(move || {
        let mut acknowledged = [0; 8];
        while read_or_end(&mut down, &mut acknowledged)? {
            written.wait_for(u64::from_le_bytes(acknowledged));
            up.write_all(&acknowledged)?;
        }
        Ok(())
    })
}

/// False when the other side has ended.
fn read_or_end(from: &mut TcpStream, into: &mut [u8]) -> Result<bool> {
    match from.read_exact(into) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Files of 64 MiB whose space is taken at their birth.
struct Chunks<'a> {
    dir: &'a Path,
    open: Option<File>,
}

impl Chunks<'_> {
    fn write(&mut self, piece: &[u8], at: u64) -> Result<()> {
        if at.is_multiple_of(CHUNK_BYTES) {
            let file = File::create(self.dir.join((at / CHUNK_BYTES).to_string()))?;
            fallocate(&file, FallocateFlags::KEEP_SIZE, 0, CHUNK_BYTES)?;
            self.open = Some(file);
        }
        let file = self.open.as_ref().context("pieces come in order")?;
        Ok(file.write_all_at(piece, at % CHUNK_BYTES)?)
    }
}

/// Sends frames with their checksums, a window of them ahead of the acknowledgements.
pub(crate) fn writer(to: &str, mib: u64) -> Result<()> {
    let payloads: Vec<_> = (0..PAYLOADS).map(frame::payload).collect();
    let before_s = own_cpu_s();
    let begin = Instant::now();
    let mut stream = connect(to)?;
    let acknowledged = Count::default();
    let hearing = hear(stream.try_clone()?, mib, acknowledged.clone());
    let mut header = vec![0; HEADER_BYTES];
    for (number, payload) in (0..mib).zip(payloads.iter().cycle()) {
        acknowledged.wait_for((number + 1).saturating_sub(WINDOW));
        frame::write_header(&mut header, payload);
        stream.write_all(&header)?;
        stream.write_all(payload)?;
    }
    hearing.join().map_err(|_| anyhow!("the thread of acknowledgements failed"))??;
    say(&Spent { cpu_s: own_cpu_s() - before_s, seconds: begin.elapsed().as_secs_f64() })
}

fn hear(mut stream: TcpStream, mib: u64, count: Count) -> JoinHandle<Result<()>> {
    thread::spawn(move || {
        let mut acknowledged = [0; 8];
        for _ in 0..mib {
            stream.read_exact(&mut acknowledged)?;
            count.raise(u64::from_le_bytes(acknowledged));
        }
        Ok(())
    })
}
