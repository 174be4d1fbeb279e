//! Deletes files and wants them back: until their grace is over they come back with all that was in them. Then it deletes them for good.

use gfs_client::{Client, DeleteOptions, Error, ErrorKind};

use super::{Shared, Tag, is_trouble, rest};
use crate::random::Random;

pub(super) const DOES: &str = "delete a file and want it back";
/// Above those of all other writers.
const WRITER: u64 = 10_000;

pub(super) async fn run(shared: Shared, client: usize) {
    let Some(connected) = shared.connected(client).await else { return };
    let mut random = shared.random(client);
    let mut number = 0;
    while !shared.is_stopped() {
        number += 1;
        match keep(&shared, &connected, &mut random, number).await {
            Ok(()) => shared.done(client, DOES),
            // Nobody knows what became of this file: the next one has another name.
            Err(error) if is_trouble(&error) => {}
            Err(error) => return shared.violation(format!("keeping file {number}: {error}")),
        }
        rest(&mut random, 1_000).await;
    }
}

async fn keep(
    shared: &Shared,
    connected: &Client,
    random: &mut Random,
    number: u64,
) -> Result<(), Error> {
    let path = format!("/kept-{number}");
    let power = shared.ledger().blackouts;
    let tag = Tag { writer: WRITER, number, length: random.between(24, 20_000) };
    let file = connected.create(&path, Default::default()).await?;
    let offset = file.append(tag.bytes()).await?;
    let delete = |purge| connected.delete(&path, DeleteOptions { purge, recursive: false });
    delete(false).await?;
    rest(random, 2_000).await;
    match connected.undelete(&path).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            shared.violation(format!("{path} was deleted and does not come back: {error} (N1)"));
            return Ok(());
        }
        undeleted => drop(undeleted?),
    }
    let bytes = connected.open(&path).await?.read_at(offset, tag.length).await?;
    if Tag::of(&bytes) != Some(tag) && shared.ledger().blackouts == power {
        shared.violation(format!("{path} came back without its bytes (A1)"));
    }
    delete(true).await
}
