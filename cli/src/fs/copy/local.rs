//! Local files: read piece by piece beside the network, written under another name until they are whole.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use gfs_client::Attributes;
use gfs_types::time::WallTime;
use tokio::sync::mpsc;

use crate::failure::{Context, Failure, Result};

/// Bytes read at once: one frame of the data plane.
const PIECE_BYTES: u64 = 1 << 20;
/// Files up to here are read as a whole when they are opened.
const SMALL_BYTES: u64 = 64 << 10;
/// Pieces read ahead of the network.
const PIECES_AHEAD: usize = 4;
/// Permission bits of "executable" by anybody.
const EXECUTABLE: u32 = 0o111;

/// A file, or stdin, while it is read by a thread of its own.
pub(crate) struct Pieces {
    /// Its length, if that is certain.
    pub(crate) length: Option<u64>,
    pub(crate) attributes: Attributes,
    source: Source,
}

enum Source {
    /// All of it is here: no thread is worth so little.
    Whole(Option<io::Result<Bytes>>),
    /// Nobody asked for it yet.
    Waiting(File),
    Read(mpsc::Receiver<io::Result<Bytes>>),
}

impl Pieces {
    /// Opens a file.
    pub(crate) async fn of_file(path: PathBuf) -> io::Result<Self> {
        tokio::task::spawn_blocking(move || Self::open(&path)).await.map_err(io::Error::other)?
    }

    fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        // The length of pipes, devices and files made up by the kernel says nothing.
        let length = Some(metadata.len()).filter(|bytes| metadata.is_file() && *bytes > 0);
        let source = match length {
            Some(length) if length <= SMALL_BYTES => {
                Source::Whole(Some(read_whole(&mut file, length)))
            }
            _ => Source::Waiting(file),
        };
        Ok(Self { length, attributes: attributes(&metadata), source })
    }

    /// Reads stdin. Its thread is not waited for: it may stand in a read for ever.
    pub(crate) fn of_stdin() -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        std::thread::spawn(move || read_into(io::stdin().lock(), None, &sender));
        Self { length: None, attributes: Attributes::default(), source: Source::Read(pieces) }
    }

    /// Whether it takes no more memory than its few bytes.
    pub(crate) fn is_small(&self) -> bool {
        matches!(self.source, Source::Whole(_))
    }

    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            match &mut self.source {
                Source::Whole(bytes) => return bytes.take(),
                Source::Read(pieces) => return pieces.recv().await,
                Source::Waiting(_) => {}
            }
            let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
            if let Source::Waiting(file) = std::mem::replace(&mut self.source, Source::Read(pieces))
            {
                let length = self.length;
                tokio::task::spawn_blocking(move || read_into(file, length, &sender));
            }
        }
    }
}

/// All `length` bytes.
fn read_whole(from: &mut impl Read, length: u64) -> io::Result<Bytes> {
    let bytes = read_piece(from, length)?;
    if (bytes.len() as u64) < length {
        return Err(shrank());
    }
    Ok(bytes)
}

fn shrank() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it shrank while it was read")
}

/// Reads to the end, or to `length`; ends early when nobody listens any more.
fn read_into(mut from: impl Read, length: Option<u64>, sender: &mpsc::Sender<io::Result<Bytes>>) {
    let mut left = length.unwrap_or(u64::MAX);
    while left > 0 {
        let piece = read_piece(&mut from, left);
        let read = piece.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let last = read == 0;
        if last && piece.is_ok() {
            return shrunk(length, sender);
        }
        if sender.blocking_send(piece).is_err() || last {
            return;
        }
        left -= read;
    }
}

/// The end came: too early if a length was promised.
fn shrunk(length: Option<u64>, sender: &mpsc::Sender<io::Result<Bytes>>) {
    if length.is_some() {
        // Without a listener there is nobody to tell.
        let _ = sender.blocking_send(Err(shrank()));
    }
}

fn read_piece(from: &mut impl Read, left: u64) -> io::Result<Bytes> {
    let most = left.min(PIECE_BYTES);
    let mut piece = Vec::with_capacity(usize::try_from(most).unwrap_or_default());
    from.take(most).read_to_end(&mut piece)?;
    Ok(Bytes::from(piece))
}

/// What is kept of a local file beside its bytes.
fn attributes(metadata: &Metadata) -> Attributes {
    let since =
        metadata.modified().ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    let ms = since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    Attributes {
        modified: WallTime { ms },
        executable: metadata.permissions().mode() & EXECUTABLE != 0,
    }
}

/// A local name as a name of the cluster.
pub(crate) fn utf8<'a>(name: &'a OsStr, path: &Path) -> Result<&'a str> {
    name.to_str().ok_or_else(|| {
        Failure::new(format!(
            "{path:?} has a name that is not UTF-8, and the cluster's names are: rename it"
        ))
    })
}

/// A local file that is being written; under another name until it is whole, and gone if it never is.
pub(crate) struct Draft {
    file: File,
    temporary: Option<PathBuf>,
    path: PathBuf,
}

static DRAFTS: AtomicU64 = AtomicU64::new(0);

impl Draft {
    /// Begins the file that will be `path`.
    pub(crate) fn begin(path: &Path, executable: bool) -> Result<Self> {
        // A short name of its own: with a suffix a name of 255 bytes would be too long.
        let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
        let name = format!(".gfs-get-{}-{number}", std::process::id());
        let temporary = path.with_file_name(name);
        let mode = if executable { 0o777 } else { 0o666 };
        let file = File::options().write(true).create_new(true).mode(mode).open(&temporary);
        let file = file.map_err(|error| Self::naming_directory(error, path));
        let file = file.during(|| format!("cannot make {}", path.display()))?;
        Ok(Self { file, temporary: Some(temporary), path: path.to_owned() })
    }

    /// `No such file` says little of a file that is just being made.
    fn naming_directory(error: io::Error, path: &Path) -> io::Error {
        match path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            Some(directory) if error.kind() == io::ErrorKind::NotFound => {
                let directory = directory.display();
                let what = format!("there is no directory {directory}: make it first");
                io::Error::new(error.kind(), what)
            }
            _ => error,
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        tokio::task::block_in_place(|| self.file.write_all(bytes))
            .during(|| format!("cannot write {}", self.path.display()))
    }

    /// Gives it its name, and the time of its original.
    pub(crate) fn finish(mut self, modified: WallTime) -> Result<()> {
        let failed = format!("cannot finish {}", self.path.display());
        if let Some(modified) =
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(modified.ms))
        {
            self.file.set_modified(modified).during(|| &failed)?;
        }
        if let Some(temporary) = &self.temporary {
            fs::rename(temporary, &self.path).during(|| &failed)?;
        }
        self.temporary = None;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // Already failing: a leftover is all that can come of it.
            let _ = fs::remove_file(temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    async fn all(mut pieces: Pieces) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes)
    }

    #[tokio::test]
    async fn a_file_is_read_in_pieces_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let limit = usize::try_from(PIECE_BYTES).unwrap();
        let small = usize::try_from(SMALL_BYTES).unwrap();
        for length in [0, 1, small, small + 1, limit - 1, limit, limit + 1] {
            let bytes: Vec<u8> = (0..length).map(|i| i.to_le_bytes()[0]).collect();
            fs::write(&path, &bytes).unwrap();
            let pieces = Pieces::of_file(path.clone()).await.unwrap();
            assert_eq!(pieces.length, (length > 0).then_some(length as u64));
            assert!(all(pieces).await.unwrap() == bytes, "{length} bytes");
        }
        assert!(Pieces::of_file(dir.path().to_owned()).await.is_err());
    }

    #[test]
    fn a_file_without_a_directory_says_which_to_make() {
        let dir = tempfile::tempdir().unwrap();
        let failure = Draft::begin(&dir.path().join("none/f"), false).err().unwrap();
        assert!(failure.message.ends_with("/none: make it first"), "{failure}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_shrinks_is_an_error_and_one_that_grows_is_cut() {
        let read = |length| {
            let (sender, mut receiver) = mpsc::channel(PIECES_AHEAD);
            read_into(&b"12345"[..], Some(length), &sender);
            drop(sender);
            std::iter::from_fn(|| receiver.blocking_recv()).collect::<io::Result<Vec<_>>>()
        };
        assert_eq!(read(3).unwrap(), [Bytes::from("123")]);
        assert_eq!(read(5).unwrap(), [Bytes::from("12345")]);
        assert_eq!(read(6).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let whole = |length| read_whole(&mut &b"12345"[..], length);
        assert_eq!(whole(3).unwrap(), Bytes::from("123"));
        assert_eq!(whole(6).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_draft_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n".repeat(255));
        let names = || fs::read_dir(dir.path()).unwrap().count();
        let mut draft = Draft::begin(&path, true).unwrap();
        draft.write(b"half").unwrap();
        assert!(!path.exists());
        drop(draft);
        assert_eq!(names(), 0);
        let mut draft = Draft::begin(&path, true).unwrap();
        draft.write(b"whole").unwrap();
        draft.finish(WallTime { ms: 1_700_000_000_123 }).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        let kept = attributes(&fs::metadata(&path).unwrap());
        assert_eq!(kept.modified, WallTime { ms: 1_700_000_000_123 });
        assert!(kept.executable);
        assert_eq!(names(), 1);
    }

    #[test]
    fn a_name_that_is_not_utf_8_is_named() {
        let name = OsStr::from_bytes(b"caf\xe9");
        let failure = utf8(name, Path::new(name)).unwrap_err();
        assert!(failure.message.contains("caf\\xE9"), "{failure}");
        assert_eq!(utf8(OsStr::new("é"), Path::new("é")), Ok("é"));
    }
}
