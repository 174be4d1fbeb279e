//! Reading frames from a blocking stream.

use std::io::{self, Read};

use super::{FrameError, Head, Header};

/// Why no frame came.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The stream failed, or ended within a frame.
    #[error("reading a data frame: {0}")]
    Io(#[from] io::Error),
    /// What came is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// The next frame's header and head; `None` at a clean end of the stream. The payload is still to be read.
///
/// # Errors
/// When the stream fails or what comes is no frame.
pub fn read_head(stream: &mut impl Read) -> Result<Option<(Header, Head)>, ReadError> {
    let mut bytes = [0; Header::BYTES];
    if !read_or_end(stream, &mut bytes)? {
        return Ok(None);
    }
    let header = Header::decode(&bytes)?;
    let mut tail = vec![0; header.tail_bytes()];
    stream.read_exact(&mut tail)?;
    let head = Head::decode(&header, &tail)?;
    Ok(Some((header, head)))
}

/// Fills `bytes`, or finds the stream at its end before the first byte.
fn read_or_end(stream: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    let mut filled = 0;
    while filled < bytes.len() {
        match stream.read(&mut bytes[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
