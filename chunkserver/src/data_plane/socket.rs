//! Sockets as the data plane wants them.

use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

/// Bytes of the kernel's buffers where it is not left to size them: a frame. Larger ones add delay, not throughput.
const BUFFER_BYTES: usize = 1 << 20;
const CONNECT: Duration = Duration::from_secs(2);
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Sets a fresh connection up. `stall` bounds each wait of a read or write.
pub(super) fn prepare(stream: &TcpStream, stall: Duration) -> io::Result<()> {
    gfs_protocol::socket::prepare(stream)?;
    stream.set_read_timeout(Some(stall))?;
    stream.set_write_timeout(Some(stall))?;
    let socket = SockRef::from(stream);
    socket.set_recv_buffer_size(BUFFER_BYTES)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))
}

/// ... and one that somebody else opened: what is sent there has a bound, since the peer may never read it, and there may be
/// thousands of them.
pub(super) fn prepare_accepted(stream: &TcpStream, stall: Duration) -> io::Result<()> {
    SockRef::from(stream).set_send_buffer_size(BUFFER_BYTES)?;
    prepare(stream, stall)
}

/// Connects to the first address of `HOST:PORT` that answers.
pub(super) fn connect(address: &str, stall: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match connect_to(&address) {
            Ok(stream) => {
                prepare(&stream, stall)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn connect_to(address: &SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(*address), Type::STREAM, None)?;
    gfs_protocol::socket::begin(&socket);
    socket.connect_timeout(&(*address).into(), CONNECT)?;
    Ok(socket.into())
}

/// The bytes of a socket, read no more slowly than a frame in `limit`: a peer that sends a byte now and then would keep
/// a thread and a buffer for days. Only waiting for the peer counts, not what is done between the reads.
pub(super) struct Paced<'a> {
    stream: &'a TcpStream,
    limit: Duration,
    waited: Duration,
}

impl<'a> Paced<'a> {
    pub(super) fn new(stream: &'a TcpStream, limit: Duration) -> Self {
        Self { stream, limit, waited: Duration::ZERO }
    }

    /// A new frame begins.
    pub(super) fn begin(&mut self) {
        self.waited = Duration::ZERO;
    }
}

impl Read for Paced<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.waited > self.limit {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let began = Instant::now();
        let outcome = self.stream.read(buffer);
        self.waited += began.elapsed();
        outcome
    }
}

/// Writes all of it to a peer that takes it no more slowly than in `limit`.
pub(super) fn write_all(
    mut stream: &TcpStream,
    mut bytes: &[u8],
    limit: Duration,
) -> io::Result<()> {
    let began = Instant::now();
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if !bytes.is_empty() && began.elapsed() > limit {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    Ok(())
}

/// Gives the socket as much as it takes without waiting: how many bytes that was.
pub(super) fn write_now(stream: &TcpStream, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    match sendmsg(stream, parts, &mut SendAncillaryBuffer::default(), flags) {
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(0),
        outcome => Ok(outcome?),
    }
}

/// Whether a read or write came to its timeout.
pub(super) fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Reads that together end by a point in time.
pub(super) struct Deadline<'a> {
    pub stream: &'a TcpStream,
    pub until: Instant,
}

impl Read for Deadline<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}
