//! Reading framed records.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::file::File;
use crate::reader::Reader;
use crate::record::Record;
use crate::record::scan::Scanner;
use crate::record::seen::Seen;

/// Pauses between looks at the end of a file that is followed: short at first, then longer while nothing comes.
const FOLLOW_MS: (u64, u64) = (20, 500);

/// Reads framed records in the order of their offsets, each once: padding, fragments and copies are passed over.
#[derive(Debug)]
pub struct RecordReader {
    file: File,
    scanner: Scanner,
    seen: Seen,
    follow: bool,
    state: State,
    pause_ms: u64,
}

#[derive(Debug)]
enum State {
    /// Bytes are coming.
    Reading(Reader),
    /// All bytes up to the end are in the scanner.
    AtEnd,
    /// An error was given.
    Over,
}

impl RecordReader {
    pub(crate) fn new(file: File, offset: u64) -> Self {
        let scanner = Scanner::new(file.engine().chunk_size, offset);
        let state = State::Reading(file.reader(offset..));
        let seen = Seen::default();
        Self { file, scanner, seen, follow: false, state, pause_ms: FOLLOW_MS.0 }
    }

    /// Whether to wait for more at the end of the file instead of ending.
    #[must_use]
    pub fn follow(mut self, follow: bool) -> Self {
        self.follow = follow;
        self
    }

    /// The next whole record that was not given before; `None` at the end (never when following). After an error it
    /// ends.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Result<Record>> {
        loop {
            if let Some(record) = self.scan() {
                self.pause_ms = FOLLOW_MS.0;
                return Some(Ok(record));
            }
            match self.feed().await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.state = State::Over;
                    return Some(Err(error));
                }
            }
        }
    }

    /// The next new record in what was read.
    fn scan(&mut self) -> Option<Record> {
        loop {
            let record = match self.state {
                State::Reading(_) => self.scanner.next_record()?,
                State::AtEnd => self.scanner.next_record_at_end()?,
                State::Over => return None,
            };
            if self.seen.first(record.writer, record.seq, record.offset) {
                return Some(record);
            }
        }
    }

    /// Brings more bytes, or the news that these are all; false when it is over.
    async fn feed(&mut self) -> std::result::Result<bool, Error> {
        match &mut self.state {
            State::Over => return Ok(false),
            State::Reading(reader) => match reader.next().await {
                Some(bytes) => self.scanner.push(&bytes?),
                None => self.state = State::AtEnd,
            },
            State::AtEnd if !self.follow => return Ok(false),
            State::AtEnd => {
                tokio::time::sleep(Duration::from_millis(self.pause_ms)).await;
                self.pause_ms = (self.pause_ms * 2).min(FOLLOW_MS.1);
                let from = self.scanner.wanted();
                if self.file.length().await? > from {
                    self.state = State::Reading(self.file.reader(from..));
                }
            }
        }
        Ok(true)
    }
}
