//! Reads regions that others write. A replica that was left behind may show it what was there before (READ-6 is not kept yet
//! between clients), but only while the others still have what was acknowledged: that the world is asked for.

use super::overwriter::{lost, read, told};
use super::regions::{Bytes, REGIONS};
use super::{Shared, region_path, rest};

pub(super) const DOES: &str = "look at regions";

pub(super) async fn run(shared: Shared, client: usize, files: usize) {
    let Some(connected) = shared.connected(client).await else { return };
    let mut random = shared.random(client);
    let mut all = Vec::new();
    for number in 0..files {
        let Some(file) = shared.open(&connected, region_path(number)).await else { return };
        all.push(file);
    }
    while !shared.is_stopped() {
        let number = usize::try_from(random.below(files as u64)).unwrap_or(0);
        let of = (number, random.below(REGIONS));
        if let Some(read) = read(&shared, &all[number], of).await {
            shared.done(client, DOES);
            match read.verdict {
                Bytes::Good => {}
                Bytes::Foreign => {
                    let why = told(&shared, &connected, &read).await;
                    return shared.violation(format!("an onlooker reads {why}"));
                }
                Bytes::Old(_) => {
                    shared.ledger().stale += 1;
                    if let Some(lost) = lost(&shared, &connected, of).await {
                        return shared.violation(lost);
                    }
                }
            }
        }
        rest(&mut random, 400).await;
    }
}
