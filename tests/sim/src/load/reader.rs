//! Follows a file of records from its start: each comes once, whole, and none that was acknowledged before is missed.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{LOGS, Shared, Tag, is_trouble, log_path};

pub(super) async fn run(shared: Shared, client: usize, number: usize) {
    let log = number % LOGS;
    let Ok(connected) = shared.connect(client).await else { return };
    while !shared.is_stopped() {
        let file = match connected.open(log_path(log)).await {
            Ok(file) => file,
            Err(error) if is_trouble(&error) => continue,
            Err(error) => return shared.violation(format!("opening a log to read it: {error}")),
        };
        let before: Vec<_> = {
            let ledger = shared.ledger();
            ledger.framed.iter().filter(|(of, ..)| *of == log).map(|(.., tag)| *tag).collect()
        };
        let mut seen = BTreeSet::new();
        let mut records = file.record_reader();
        let ended = loop {
            match records.next().await {
                None => break true,
                Some(Ok(record)) => match Tag::of(&record.payload) {
                    None => {
                        return shared.violation(format!("a torn record at {}", record.offset));
                    }
                    Some(tag) if !seen.insert(tag) => {
                        return shared.violation(format!("{tag:?} came twice"));
                    }
                    Some(_) => {}
                },
                Some(Err(error)) if is_trouble(&error) => break false,
                Some(Err(error)) => {
                    return shared.violation(format!("reading records: {error}"));
                }
            }
        };
        if ended {
            if let Some(lost) = before.iter().find(|tag| !seen.contains(tag)) {
                return shared.violation(format!("a reader of log {log} misses {lost:?}"));
            }
            shared.acknowledged(client);
        }
        tokio::time::sleep(Duration::from_millis(2_000)).await;
    }
}
