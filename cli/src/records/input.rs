//! Records as they come on stdin: a line each, or with their lengths before them.

use std::io::{self, BufRead, Read};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::failure::{Failure, Result};

/// How records are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A line each, without its newline.
    Lines,
    /// Four bytes of length, big-endian, before each.
    LengthPrefixed,
}

/// Records read ahead of the network.
const RECORDS_AHEAD: usize = 1024;
const BUFFER_BYTES: usize = 256 << 10;

/// Reads stdin in a thread of its own, which is not waited for: it may stand in a read for ever. A record of more
/// than `bytes_max` is an error, and the last thing read.
pub(crate) fn read_stdin(framing: Framing, bytes_max: usize) -> mpsc::Receiver<Result<Bytes>> {
    let (sender, records) = mpsc::channel(RECORDS_AHEAD);
    std::thread::spawn(move || {
        let mut stdin = io::BufReader::with_capacity(BUFFER_BYTES, io::stdin().lock());
        for number in 1_u64.. {
            let record = match next(&mut stdin, framing, bytes_max) {
                Ok(None) => return,
                Ok(Some(record)) => Ok(record),
                Err(problem) => Err(Failure::new(format!("record {number} of stdin: {problem}"))),
            };
            let failed = record.is_err();
            if sender.blocking_send(record).is_err() || failed {
                return;
            }
        }
    });
    records
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
