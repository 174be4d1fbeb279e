//! Sockets of the data plane, as both ends want them. Why: docs/adr/0042-no-pacing-within-a-host.md and
//! docs/adr/0049-a-connection-begins-unpaced.md.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, SockRef, Socket, Type};

/// What may wait to be sent to the same host, in bytes; the kernel adds as much for its own. Less lets a hop of a chain wait for
/// the next one, more does not fit into a processor's cache.
const NEAR_SEND_BYTES: usize = 512 << 10;

/// In every kernel, allowed to everybody, and hardly paces.
const UNPACED: &[u8] = b"reno";
/// What begins with this paces, and whatever takes its place later goes on doing so.
const PACED: &[u8] = b"bbr";

/// Of a socket that is about to connect, or listens: those accepted from it begin as it is. Only the two ends tell whether
/// anything is to be paced between them, and what has begun to pace never stops. So it is begun without, and
/// [`prepare`] takes the host's default where the ends turn out to be far.
pub fn begin<'s, S>(socket: &'s S)
where
    SockRef<'s>: From<&'s S>,
{
    let socket = SockRef::from(socket);
    if congestion(&socket).is_some_and(|name| name.starts_with(PACED)) {
        set_congestion(&socket, UNPACED);
    }
}

/// Sets a connection up. Between hosts the buffer for sending is left to the kernel, which lets it grow.
///
/// # Errors
/// The kernel's.
pub fn prepare<'s, S>(stream: &'s S) -> io::Result<()>
where
    SockRef<'s>: From<&'s S>,
{
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    // Without an address the peer is gone already, and the first read will say so.
    if let (Ok(here), Ok(there)) = (socket.local_addr(), socket.peer_addr())
        && let (Some(here), Some(there)) = (here.as_socket(), there.as_socket())
    {
        if is_one_host(&here, &there) {
            set_congestion(&socket, UNPACED);
            socket.set_send_buffer_size(NEAR_SEND_BYTES)?;
        } else {
            do_as_the_host_does(&socket)?;
        }
    }
    Ok(())
}

/// Whether both ends have the same address.
fn is_one_host(here: &SocketAddr, there: &SocketAddr) -> bool {
    here.ip().to_canonical() == there.ip().to_canonical()
}

/// Takes back what [`begin`] did.
fn do_as_the_host_does(socket: &SockRef<'_>) -> io::Result<()> {
    if congestion(socket).is_some_and(|name| name.starts_with(UNPACED)) {
        let fresh = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if let Some(default) = congestion(&SockRef::from(&fresh)) {
            set_congestion(socket, &default);
        }
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn congestion(socket: &SockRef<'_>) -> Option<Vec<u8>> {
    socket.tcp_congestion().ok()
}

/// Where it is not to be had the connection is slower, not wrong.
#[cfg(target_os = "linux")]
fn set_congestion(socket: &SockRef<'_>, name: &[u8]) {
    let _ = socket.set_tcp_congestion(name);
}

#[cfg(not(target_os = "linux"))]
fn congestion(_: &SockRef<'_>) -> Option<Vec<u8>> {
    None
}

#[cfg(not(target_os = "linux"))]
fn set_congestion(_: &SockRef<'_>, _: &[u8]) {}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn one_host_is_told_from_two() {
        let same = |a: &str, b: &str| is_one_host(&a.parse().unwrap(), &b.parse().unwrap());
        assert!(same("127.0.0.1:1", "127.0.0.1:2"));
        assert!(same("[::ffff:10.0.0.1]:1", "10.0.0.1:2"));
        assert!(!same("10.0.0.1:1", "10.0.0.2:1"));
        assert!(!same("[::1]:1", "127.0.0.1:1"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn both_ends_within_a_host_are_prepared() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        for stream in [&near, &far] {
            prepare(stream).unwrap();
            assert!(stream.nodelay().unwrap());
            assert!(SockRef::from(stream).tcp_congestion().unwrap().starts_with(UNPACED));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn no_connection_begins_paced() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        begin(&listener);
        let near = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        begin(&near);
        near.connect(&listener.local_addr().unwrap().into()).unwrap();
        let (far, _) = listener.accept().unwrap();
        for socket in [SockRef::from(&near), SockRef::from(&far)] {
            assert!(!socket.tcp_congestion().unwrap().starts_with(PACED));
        }
    }

    /// The two addresses of this host stand for two hosts.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_goes_to_another_host_is_as_the_host_wants_it() {
        let fresh = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let default = fresh.tcp_congestion().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        near.bind(&"127.0.0.2:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        near.connect(&listener.local_addr().unwrap().into()).unwrap();
        let (far, _) = listener.accept().unwrap();
        for socket in [SockRef::from(&near), SockRef::from(&far)] {
            socket.set_tcp_congestion(UNPACED).unwrap();
            let kept = socket.send_buffer_size().unwrap();
            prepare(&*socket).unwrap();
            assert_eq!(socket.tcp_congestion().unwrap(), default);
            assert_eq!(socket.send_buffer_size().unwrap(), kept);
        }
    }
}
