//! One checkpoint is one file: the sections of the core's image in a checked stream.
//!
//! The format is a contract: docs/formats/checkpoint.md. A checkpoint takes its name when it is
//! complete and durable, so a file with that name that does not verify is damage, never an accident.

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// Writes the checkpoint of a state, durable and under its name when this returns.
///
/// # Errors
/// The disk failed; nothing has the name then, or the whole checkpoint has.
pub fn write(fs: &Arc<dyn Fs>, dir: &Path, state: &Durable) -> Result<(), CheckpointError> {
    let file = AtomicFile::create(fs.clone(), &path(dir, state.position()))?;
    let mut writer = Writer::new(file, KIND)?;
    for section in image::sections(state) {
        writer.section(SECTION_TAG, &section)?;
    }
    writer.finish()?.commit()?;
    Ok(())
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
    let state = decode(BufReader::with_capacity(BUFFER_BYTES, Sequential { file, offset: 0 }))
        .map_err(|error| error.at(&path))?;
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
    let section_bytes_max =
        u32::try_from(image::SECTION_BYTES_MAX).expect("a section is far below 4 GiB");
    let mut reader = Reader::new(bytes, KIND, section_bytes_max)?;
    let mut loader = image::Loader::new();
    while let Some(section) = reader.next_section()? {
        loader.section(&section.payload)?;
    }
    Ok(loader.finish()?)
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
