//! Sockets of the data plane, as both ends want them. Why: docs/adr/0042-no-pacing-within-a-host.md.

use std::io;
use std::net::SocketAddr;

use socket2::SockRef;

/// Sets a connection up. Its buffer for sending is left to the kernel, which lets it grow: along the chain of a push, fixed
/// ones of a mebibyte cost a quarter of the processor time on a quiet machine.
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
        && is_one_host(&here, &there)
    {
        do_not_pace(&socket);
    }
    Ok(())
}

/// Whether both ends have the same address.
fn is_one_host(here: &SocketAddr, there: &SocketAddr) -> bool {
    here.ip().to_canonical() == there.ip().to_canonical()
}

/// Between processes of one host nothing is congested. What paces its packets all the same, as the default of many
/// hosts does, wakes the reader for each of them.
fn do_not_pace(socket: &SockRef<'_>) {
    // In every kernel and allowed to everybody. Without it the connection is slower, not wrong.
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_congestion(b"reno");
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

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
            assert!(SockRef::from(stream).tcp_congestion().unwrap().starts_with(b"reno"));
        }
    }
}
