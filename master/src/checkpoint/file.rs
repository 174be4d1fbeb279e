//! One checkpoint is one file: the sections of the core's image in a checked stream.
//!
//! The format is a contract: docs/formats/checkpoint.md. A checkpoint takes its name when it is
//! complete and durable, so a file with that name that does not verify is damage, never an accident.

use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use gfs_durable::atomic::AtomicFile;
use gfs_durable::frame::{FrameError, Kind, Reader, Writer};
use gfs_durable::fs::{File, Fs, Open};
use gfs_master_core::Durable;
use gfs_master_core::image::{self, ImageError};
use gfs_types::fence::LogPosition;

/// What the stream says it is.
pub const KIND: Kind = Kind { name: *b"CKPT", version: 1 };
/// The tag of every section: their order says the rest.
const SECTION_TAG: u32 = 1;
const PREFIX: &str = "checkpoint-";
const BUFFER_BYTES: usize = 256 << 10;
/// Sections that are read and verified before the one that is decoded is done.
const SECTIONS_AHEAD: usize = 8;
/// So many bytes of a checkpoint are made durable at once: what the operation log flushes waits for no more than these.
const PACE_BYTES: usize = 4 << 20;

/// Why a checkpoint cannot be read, written or removed.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The stream does not verify.
    #[error("{}: {source}", path.display())]
    Stream {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong.
        source: FrameError,
    },
    /// The sections make no state.
    #[error("{}: {source}", path.display())]
    Image {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong.
        source: ImageError,
    },
    /// A copy under another name.
    #[error("{}: it holds the state at log position {found}", path.display())]
    OtherPosition {
        /// The checkpoint.
        path: PathBuf,
        /// What it holds.
        found: LogPosition,
    },
}

/// Where the checkpoint of a position is.
#[must_use]
pub fn path(dir: &Path, position: LogPosition) -> PathBuf {
    dir.join(format!("{PREFIX}{:020}", position.0))
}

/// The positions of all checkpoints in a directory, in order, good or not.
///
/// # Errors
/// The directory cannot be read.
pub fn list(fs: &dyn Fs, dir: &Path) -> io::Result<Vec<LogPosition>> {
    let names = fs.read_dir(dir)?;
    let mut positions: Vec<_> =
        names.iter().filter_map(|name| position_in(name.to_str()?)).collect();
    positions.sort();
    Ok(positions)
}

fn position_in(name: &str) -> Option<LogPosition> {
    let digits = name.strip_prefix(PREFIX)?;
    let well_formed = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    well_formed.then(|| digits.parse().ok()).flatten().map(LogPosition)
}

/// Writes the checkpoint of a state, durable and under its name when this returns. Gives the digest of the state.
///
/// # Errors
/// The disk failed; nothing has the name then, or the whole checkpoint has.
pub fn write(fs: &Arc<dyn Fs>, dir: &Path, state: &Durable) -> Result<u64, CheckpointError> {
    let file = AtomicFile::create(fs.clone(), &path(dir, state.position()))?;
    let mut writer = Writer::new(Paced { file, pending_bytes: 0 }, KIND)?;
    let mut digest = None;
    for section in image::sections(state) {
        writer.section(SECTION_TAG, &section)?;
        digest = image::digest_in(&section);
    }
    writer.finish()?.file.commit()?;
    Ok(digest.expect("the last section of an image holds the digest"))
}

/// Makes what is written durable piece by piece, so that the disk is never busy with much of it.
struct Paced {
    file: AtomicFile,
    pending_bytes: usize,
}

impl Write for Paced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.file.write(bytes)?;
        self.pending_bytes += taken;
        if self.pending_bytes >= PACE_BYTES {
            self.pending_bytes = 0;
            self.file.sync_so_far()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Reads and verifies a checkpoint, believing nothing.
///
/// # Errors
/// It does not verify, or the disk failed.
pub fn load(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    position: LogPosition,
) -> Result<Durable, CheckpointError> {
    let path = path(dir, position);
    let file = fs.open(&path, Open::Read)?;
    let bytes = BufReader::with_capacity(BUFFER_BYTES, Sequential { file, offset: 0 });
    let state = decode_beside(bytes)?.map_err(|error| error.at(&path))?;
    if state.position() == position {
        return Ok(state);
    }
    Err(CheckpointError::OtherPosition { found: state.position(), path })
}

/// Removes a checkpoint, durably.
///
/// # Errors
/// The disk failed.
pub fn remove(fs: &dyn Fs, dir: &Path, position: LogPosition) -> io::Result<()> {
    fs.remove_file(&path(dir, position))?;
    fs.sync_dir(dir)
}

/// Bytes that are no checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The stream does not verify.
    #[error(transparent)]
    Stream(#[from] FrameError),
    /// The sections make no state.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl DecodeError {
    fn at(self, path: &Path) -> CheckpointError {
        let path = path.to_owned();
        match self {
            Self::Stream(source) => CheckpointError::Stream { path, source },
            Self::Image(source) => CheckpointError::Image { path, source },
        }
    }
}

/// The state in the bytes of a checkpoint. Total: any bytes give a state or an error.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode(bytes: impl Read) -> Result<Durable, DecodeError> {
    let mut loader = image::Loader::new();
    let mut wrong = Ok(());
    read(bytes, |section| {
        wrong = loader.section(&section);
        wrong.is_ok()
    })?;
    wrong?;
    Ok(loader.finish()?)
}

/// As [`decode`], on two threads: one reads and verifies, the other decodes.
fn decode_beside(bytes: impl Read + Send) -> io::Result<Result<Durable, DecodeError>> {
    std::thread::scope(|scope| {
        let (sender, sections) = mpsc::sync_channel(SECTIONS_AHEAD);
        let reader = std::thread::Builder::new()
            .name("checkpoint-read".to_owned())
            .spawn_scoped(scope, move || read(bytes, |section| sender.send(section).is_ok()))?;
        let mut loader = image::Loader::new();
        let decoded = sections.iter().try_for_each(|section| loader.section(&section));
        // The reader ends with the next section that nobody takes.
        drop(sections);
        let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok(decoded
            .map_err(DecodeError::from)
            .and(read.map_err(DecodeError::from))
            .and_then(|()| Ok(loader.finish()?)))
    })
}

/// Gives the sections of a stream, each verified, until it ends or `take` wants no more. Only a whole stream gives its last one
/// without an error behind it.
fn read(bytes: impl Read, mut take: impl FnMut(Vec<u8>) -> bool) -> Result<(), FrameError> {
    let section_bytes_max =
        u32::try_from(image::SECTION_BYTES_MAX).expect("a section is far below 4 GiB");
    let mut reader = Reader::new(bytes, KIND, section_bytes_max)?;
    while let Some(section) = reader.next_section()? {
        if !take(section.payload) {
            break;
        }
    }
    Ok(())
}

/// A file read from its beginning to its end.
struct Sequential {
    file: Arc<dyn File>,
    offset: u64,
}

impl Read for Sequential {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_checkpoints_name_is_taken_for_one() {
        let name = path(Path::new("/d"), LogPosition(42));
        assert_eq!(name, Path::new("/d/checkpoint-00000000000000000042"));
        assert_eq!(position_in("checkpoint-00000000000000000042"), Some(LogPosition(42)));
        for other in [
            "checkpoint-42",
            "checkpoint-00000000000000000042.tmp",
            "checkpoint-000000000000000000+2",
            "checkpoint-99999999999999999999",
            "00000000000000000042",
        ] {
            assert_eq!(position_in(other), None, "{other}");
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_refused() {
        for bytes in [&b""[..], b"GFSF", &[0; 64], &[0xff; 64]] {
            assert!(decode(bytes).is_err());
        }
    }
}
