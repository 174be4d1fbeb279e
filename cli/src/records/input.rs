//! Records as they come on stdin: a line each, or with their lengths before them.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::failure::{Failure, Result};

/// How records are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A line each, without its newline.
    Lines,
    /// Four bytes of length, big-endian, before each.
    LengthPrefixed,
}

/// Records read ahead of the network, and their bytes: a record can be as large as a quarter of a chunk.
const RECORDS_AHEAD: usize = 1024;
const BYTES_AHEAD: usize = 32 << 20;
const BUFFER_BYTES: usize = 256 << 10;

/// A record that was read, and its room: others are read in its place when that is dropped.
pub(crate) struct Record {
    pub(crate) bytes: Bytes,
    pub(crate) room: OwnedSemaphorePermit,
}

/// Reads stdin in a thread of its own, which is not waited for: it may stand in a read for ever. A record of more
/// than `bytes_max` is an error, and the last thing read.
pub(crate) fn read_stdin(framing: Framing, bytes_max: usize) -> mpsc::Receiver<Result<Record>> {
    let (sender, records) = mpsc::channel(RECORDS_AHEAD);
    let runtime = Handle::current();
    std::thread::spawn(move || {
        let stdin = io::BufReader::with_capacity(BUFFER_BYTES, io::stdin().lock());
        read_all(stdin, framing, bytes_max, &runtime, &sender);
    });
    records
}

fn read_all(
    mut from: impl BufRead,
    framing: Framing,
    bytes_max: usize,
    runtime: &Handle,
    sender: &mpsc::Sender<Result<Record>>,
) {
    let room = Arc::new(Semaphore::new(BYTES_AHEAD));
    for number in 1_u64.. {
        let record = match next(&mut from, framing, bytes_max) {
            Ok(None) => return,
            Ok(Some(bytes)) => {
                let permits = u32::try_from(bytes.len().min(BYTES_AHEAD)).unwrap_or(u32::MAX);
                let taken = runtime.block_on(Arc::clone(&room).acquire_many_owned(permits));
                let Ok(taken) = taken else { return };
                Ok(Record { bytes, room: taken })
            }
            Err(problem) => Err(Failure::new(format!("record {number} of stdin: {problem}"))),
        };
        let failed = record.is_err();
        if sender.blocking_send(record).is_err() || failed {
            return;
        }
    }
}

fn next(
    from: &mut impl BufRead,
    framing: Framing,
    bytes_max: usize,
) -> std::result::Result<Option<Bytes>, String> {
    match framing {
        Framing::Lines => line(from, bytes_max),
        Framing::LengthPrefixed => prefixed(from, bytes_max),
    }
}

/// The last line needs no newline.
fn line(from: &mut impl BufRead, bytes_max: usize) -> std::result::Result<Option<Bytes>, String> {
    let mut line = Vec::new();
    let most = bytes_max as u64 + 1;
    from.take(most).read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.is_empty() {
        return Ok(None);
    } else if line.len() > bytes_max {
        return Err(too_long(bytes_max));
    }
    Ok(Some(Bytes::from(line)))
}

fn prefixed(
    from: &mut impl BufRead,
    bytes_max: usize,
) -> std::result::Result<Option<Bytes>, String> {
    if from.fill_buf().map_err(|error| error.to_string())?.is_empty() {
        return Ok(None);
    }
    let cut = |_| "stdin ends within it".to_owned();
    let mut prefix = [0; 4];
    from.read_exact(&mut prefix).map_err(cut)?;
    let length = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
    if length > bytes_max {
        return Err(too_long(bytes_max));
    }
    let mut record = vec![0; length];
    from.read_exact(&mut record).map_err(cut)?;
    Ok(Some(Bytes::from(record)))
}

fn too_long(bytes_max: usize) -> String {
    format!("it is too long: at most {bytes_max} bytes are possible in this cluster")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        text: &[u8],
        framing: Framing,
        bytes_max: usize,
    ) -> std::result::Result<Vec<Bytes>, String> {
        let mut from = text;
        std::iter::from_fn(|| next(&mut from, framing, bytes_max).transpose()).collect()
    }

    /// Counts what was taken from an endless row of lines.
    struct Endless(Arc<std::sync::atomic::AtomicUsize>);

    impl Read for Endless {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            buf.fill(b'x');
            if let Some(last) = buf.last_mut() {
                *last = b'\n';
            }
            self.0.fetch_add(buf.len(), std::sync::atomic::Ordering::SeqCst);
            Ok(buf.len())
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn large_records_are_not_read_far_ahead() {
        let record = 16 << 20;
        let read = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let stdin = io::BufReader::with_capacity(record, Endless(Arc::clone(&read)));
        let (sender, mut records) = mpsc::channel(RECORDS_AHEAD);
        let runtime = Handle::current();
        let reading = std::thread::spawn(move || {
            read_all(stdin, Framing::Lines, record, &runtime, &sender);
        });
        // One that is held, those ahead, the one that waits for room, and what the buffer holds.
        let first = records.recv().await.unwrap().unwrap();
        assert_eq!(first.bytes.len(), record - 1);
        for _ in 0..8 {
            drop(records.recv().await.unwrap().unwrap());
            let most = first.bytes.len() + 8 * record + BYTES_AHEAD + 2 * record;
            assert!(read.load(std::sync::atomic::Ordering::SeqCst) <= most);
        }
        drop((first, records));
        reading.join().unwrap();
    }

    #[test]
    fn a_record_a_line_empty_ones_too() {
        let lines = |text: &str| read(text.as_bytes(), Framing::Lines, 3);
        assert_eq!(lines("").unwrap(), Vec::<Bytes>::new());
        assert_eq!(lines("\n").unwrap(), [""]);
        assert_eq!(lines("a\n\nbcd\n").unwrap(), ["a", "", "bcd"]);
        assert_eq!(lines("a\nbcd").unwrap(), ["a", "bcd"]);
        assert!(lines("abcd\n").unwrap_err().contains("at most 3 bytes"));
        assert!(lines("abcd").is_err());
    }

    #[test]
    fn a_length_before_each_lets_it_hold_any_byte() {
        let prefixed = |bytes: &[u8]| read(bytes, Framing::LengthPrefixed, 3);
        assert_eq!(prefixed(b"").unwrap(), Vec::<Bytes>::new());
        assert_eq!(prefixed(b"\0\0\0\x02\n\0\0\0\0\0").unwrap(), ["\n\0", ""]);
        assert!(prefixed(b"\0\0\0\x04abcd").unwrap_err().contains("at most 3 bytes"));
        for cut in [&b"\0"[..], b"\0\0\0", b"\0\0\0\x01", b"\0\0\0\x03ab"] {
            assert!(prefixed(cut).unwrap_err().contains("ends within"), "{cut:?}");
        }
    }
}
