//! Two clients move one file to and fro between two directories, and look where it is: in one of them and never in both, by the history
//! that all who change names write together.

use gfs_client::Client;
use gfs_history::{Operation, Outcome};

use super::Shared;
use super::namer::call;
use crate::random::Random;

/// Nobody else touches these, so their history is searched for itself.
const DIRECTORIES: [&str; 2] = ["/ping", "/pong"];

/// So many of the clients that change names play.
pub(super) const PLAYERS: usize = 2;
/// Of a hundred of a player's operations.
const PERCENT: u64 = 40;

/// One who plays.
#[derive(Debug)]
pub(super) struct Player {
    random: Random,
    /// The first brings the ball, once: where nobody knows whether it did, it does not bring another.
    brings: bool,
}

impl Player {
    pub(super) fn new(shared: &Shared, client: usize, number: usize) -> Option<Self> {
        let random = Random::of(shared.seed, &format!("player {client}"));
        (shared.ball && number < PLAYERS).then_some(Self { random, brings: number == 0 })
    }

    /// Plays, if it is its turn; says whether it did.
    pub(super) async fn plays(
        &mut self,
        shared: &Shared,
        connected: &Client,
        client: usize,
    ) -> bool {
        if !self.random.percent(PERCENT) {
            return false;
        }
        if self.brings {
            self.brings = !bring(shared, connected, client).await;
            return true;
        }
        let from = usize::from(self.random.percent(50));
        let (from, to) = (ball(DIRECTORIES[from]), ball(DIRECTORIES[1 - from]));
        call(shared, connected, client, &Operation::Rename { from, to, replace: false }).await;
        look(shared, connected, client).await;
        true
    }
}

/// Says whether it may be there.
async fn bring(shared: &Shared, connected: &Client, client: usize) -> bool {
    for directory in DIRECTORIES {
        let mkdir = Operation::Mkdir { path: directory.to_owned(), parents: false };
        if !matches!(
            call(shared, connected, client, &mkdir).await,
            Some(Outcome::Done(_) | Outcome::Refused(_))
        ) {
            return false;
        }
    }
    let create = Operation::Create { path: ball(DIRECTORIES[0]) };
    !matches!(call(shared, connected, client, &create).await, Some(Outcome::NotDone))
}

/// Looks in both places.
pub(super) async fn look(shared: &Shared, connected: &Client, client: usize) {
    for directory in DIRECTORIES {
        let path = ball(directory);
        call(shared, connected, client, &Operation::Stat { path }).await;
    }
}

fn ball(directory: &str) -> String {
    format!("{directory}/ball")
}
