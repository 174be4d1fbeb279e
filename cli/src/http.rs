//! The smallest HTTP client: one GET to a server's `/readyz` or `/metrics`.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer: its status and its body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Bytes of an answer: metrics of one server are a few dozen KiB.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// Asks `address` (`HOST:PORT`) for `path`.
pub(crate) async fn get(address: &str, path: &str, timeout: Duration) -> io::Result<Answer> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    tokio::time::timeout(timeout, exchange(address, path)).await.map_err(late)?
}

async fn exchange(address: &str, path: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    // HTTP/1.0: the server closes at the end and never sends chunks.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).await?;
    parse(&String::from_utf8_lossy(&bytes))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is not an HTTP answer"))
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut words = head.lines().next()?.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/"))?;
    Some(Answer { status: words.next()?.parse().ok()?, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_cut_into_status_and_body() {
        let answer = parse("HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\na 1\n\r\n\r\nb 2");
        assert_eq!(answer, Some(Answer { status: 200, body: "a 1\n\r\n\r\nb 2".to_owned() }));
        for text in ["", "HTTP/1.1 200 OK\r\n", "FTP 200\r\n\r\n", "HTTP/1.1 ok\r\n\r\n"] {
            assert_eq!(parse(text), None, "{text:?} was taken");
        }
    }
}
