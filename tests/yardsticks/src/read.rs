//! A read by sendfile out of the page cache, verified by the reader.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rustix::fs::sendfile;

use crate::frame::{
    self, CHUNK_BYTES, FIXED_BYTES, FRAME_BYTES, HEADER_BYTES, PIECE_BYTES, accept, connect, verify,
};
use crate::process::{Role, Spent, own_cpu_s, say, text};
use crate::report;

/// Requests in flight.
const AHEAD: u64 = 4;
const REQUEST_BYTES: usize = FIXED_BYTES;

pub(crate) fn measure(dir: &Path, mib: u64) -> Result<()> {
    let folder = dir.join("yardstick-reads");
    fs::create_dir_all(&folder)?;
    let spent = both(&folder, mib);
    let removed = fs::remove_dir_all(&folder);
    let spent = spent?;
    removed?;
    report::print("read", mib, spent[0].1.seconds, &spent)
}

fn both(folder: &Path, mib: u64) -> Result<[(String, Spent); 2]> {
    let mib = mib.to_string();
    let mut server = Role::start("server", &["server", "--dir", text(folder)?, "--mib", &mib])?;
    let address = server.line()?;
    let client = Role::start("client", &["reader", "--to", &address, "--mib", &mib])?;
    Ok([client.finish()?, server.finish()?])
}

/// Writes the chunks, which is not measured, then serves frames as they are asked for.
pub(crate) fn server(dir: &Path, mib: u64) -> Result<()> {
    let payload = frame::payload(5);
    let mut header = vec![0; HEADER_BYTES];
    frame::write_header(&mut header, &payload);
    let chunks = (0..mib.div_ceil(CHUNK_BYTES >> 20)).map(|number| {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        options.open(dir.join(number.to_string()))
    });
    let chunks: Vec<File> = chunks.collect::<Result<_, _>>()?;
    for number in 0..mib {
        let (chunk, offset) = place(&chunks, number)?;
        chunk.write_all_at(&payload, offset)?;
    }
    let mut stream = accept()?;
    let (before_s, begin) = (own_cpu_s(), Instant::now());
    let mut request = [0; REQUEST_BYTES];
    loop {
        match stream.read_exact(&mut request) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            read => read?,
        }
        let [a, b, c, d, e, f, g, h, ..] = request;
        let (chunk, offset) = place(&chunks, u64::from_le_bytes([a, b, c, d, e, f, g, h]))?;
        stream.write_all(&header)?;
        send(&stream, chunk, offset)?;
    }
    say(&Spent { cpu_s: own_cpu_s() - before_s, seconds: begin.elapsed().as_secs_f64() })
}

/// The chunk of a frame, and where it begins there.
fn place(chunks: &[File], number: u64) -> Result<(&File, u64)> {
    let at = number * FRAME_BYTES as u64;
    let chunk = chunks.get(usize::try_from(at / CHUNK_BYTES)?).context("no such frame")?;
    Ok((chunk, at % CHUNK_BYTES))
}

fn send(stream: &TcpStream, chunk: &File, mut offset: u64) -> Result<()> {
    let mut left = FRAME_BYTES;
    while left > 0 {
        let sent = sendfile(stream, chunk, Some(&mut offset), left)?;
        ensure!(sent > 0, "a chunk is too short");
        left -= sent;
    }
    Ok(())
}

/// Asks for frames in order, some ahead, and verifies every block.
pub(crate) fn reader(to: &str, mib: u64) -> Result<()> {
    let (before_s, begin) = (own_cpu_s(), Instant::now());
    let mut stream = connect(to)?;
    for number in 0..AHEAD.min(mib) {
        ask(&mut stream, number)?;
    }
    let (mut header, mut piece) = (vec![0; HEADER_BYTES], vec![0; PIECE_BYTES]);
    for number in 0..mib {
        stream.read_exact(&mut header)?;
        for piece_number in 0..FRAME_BYTES / PIECE_BYTES {
            stream.read_exact(&mut piece)?;
            verify(&header, piece_number, &piece)?;
        }
        if number + AHEAD < mib {
            ask(&mut stream, number + AHEAD)?;
        }
    }
    say(&Spent { cpu_s: own_cpu_s() - before_s, seconds: begin.elapsed().as_secs_f64() })
}

fn ask(stream: &mut TcpStream, number: u64) -> Result<()> {
    let mut request = [0; REQUEST_BYTES];
    request[..8].copy_from_slice(&number.to_le_bytes());
    Ok(stream.write_all(&request)?)
}
