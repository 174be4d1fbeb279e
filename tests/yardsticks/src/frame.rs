//! What goes over the wire: a header with the checksum of each block, then a mebibyte.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;

use anyhow::{Result, ensure};
use rustix::net::{AddressFamily, SocketType, sockopt};

/// One request.
pub(crate) const FRAME_BYTES: usize = 1 << 20;
/// Received, verified, forwarded and written at a time: what a core's cache holds.
pub(crate) const PIECE_BYTES: usize = 256 << 10;
/// Under one checksum.
pub(crate) const BLOCK_BYTES: usize = 64 << 10;
/// One file.
pub(crate) const CHUNK_BYTES: u64 = 64 << 20;
/// What a real header would have, and four bytes for each block.
pub(crate) const HEADER_BYTES: usize = FIXED_BYTES + 4 * FRAME_BYTES / BLOCK_BYTES;

pub(crate) const FIXED_BYTES: usize = 64;
const SOCKET_BUFFER_BYTES: usize = 1 << 20;

/// The header of a frame with this payload.
pub(crate) fn write_header(header: &mut [u8], payload: &[u8]) {
    let checksums = header[FIXED_BYTES..].chunks_exact_mut(4);
    for (place, block) in checksums.zip(payload.chunks(BLOCK_BYTES)) {
        place.copy_from_slice(&crc32c(block));
    }
}

/// Compares a piece of a frame with its checksums.
pub(crate) fn verify(header: &[u8], piece_number: usize, piece: &[u8]) -> Result<()> {
    let first = FIXED_BYTES + 4 * piece_number * PIECE_BYTES / BLOCK_BYTES;
    for (expected, block) in header[first..].chunks_exact(4).zip(piece.chunks(BLOCK_BYTES)) {
        ensure!(crc32c(block) == expected, "a block does not match its checksum");
    }
    Ok(())
}

fn crc32c(block: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] =
        crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, block).to_le_bytes();
    [a, b, c, d]
}

/// A frame of bytes; different ones for different seeds.
pub(crate) fn payload(seed: u8) -> Vec<u8> {
    let byte = |index: usize| {
        let [low, ..] = index.to_le_bytes();
        low.wrapping_mul(seed | 1) ^ seed
    };
    (0..FRAME_BYTES).map(byte).collect()
}

/// Prints where it listens, and waits for the one connection.
pub(crate) fn accept() -> Result<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    do_not_pace(&listener)?;
    println!("{}", listener.local_addr()?);
    let (stream, _) = listener.accept()?;
    tune(&stream)?;
    Ok(stream)
}

pub(crate) fn connect(address: &str) -> Result<TcpStream> {
    let address: SocketAddr = address.parse()?;
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    do_not_pace(&socket)?;
    rustix::net::connect(&socket, &address)?;
    let stream = TcpStream::from(socket);
    tune(&stream)?;
    Ok(stream)
}

fn tune(stream: &TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_send_buffer_size(stream, SOCKET_BUFFER_BYTES)?;
    sockopt::set_socket_recv_buffer_size(stream, SOCKET_BUFFER_BYTES)?;
    Ok(())
}

/// As the system does within a host: what paces would be measured instead. Before a connection begins, for what has begun to pace never
/// stops; those that are accepted begin as their listener is.
fn do_not_pace(socket: impl AsFd) -> Result<()> {
    sockopt::set_tcp_congestion(socket, "reno")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_verified_against_its_own_checksums() {
        let payload = payload(3);
        let mut header = vec![0; HEADER_BYTES];
        write_header(&mut header, &payload);
        for (number, piece) in payload.chunks(PIECE_BYTES).enumerate() {
            assert!(verify(&header, number, piece).is_ok());
            let mut wrong = piece.to_vec();
            wrong[PIECE_BYTES - 1] ^= 1;
            assert!(verify(&header, number, &wrong).is_err());
        }
    }
}
