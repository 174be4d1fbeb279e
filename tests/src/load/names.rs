//! One namespace client: it alone changes the names of its directory, and notes what it was told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use futures::TryStreamExt;
use gfs_client::{Client, ErrorKind};
use tokio::time::sleep;

use super::{Count, Shared, lock};

const PAUSE: Duration = Duration::from_millis(4);

/// One directory's names as its client knows them.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    there: BTreeSet<String>,
    /// Outcome unknown: may be there or not.
    maybe: BTreeSet<String>,
}

impl Names {
    /// Notes the end of a change that takes `gone` away and brings `new`; false when the outcome is unknown.
    fn note(
        &mut self,
        gone: Option<&str>,
        new: Option<&str>,
        outcome: &gfs_client::Result<()>,
    ) -> Result<bool> {
        match outcome {
            Ok(()) => {
                if let Some(gone) = gone {
                    self.there.remove(gone);
                }
                self.there.extend(new.map(str::to_owned));
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::Unknown => {
                for name in gone.into_iter().chain(new) {
                    self.there.remove(name);
                    self.maybe.insert(name.to_owned());
                }
                Ok(false)
            }
            Err(error) => bail!("{gone:?} -> {new:?}: {error}"),
        }
    }
}

/// Creates, renames, deletes, brings back.
pub(super) async fn run(shared: Arc<Shared>, number: u64) -> Result<()> {
    let dir = shared.names_dir(number);
    let names = &shared.names[usize::try_from(number)?];
    let client = shared.connect().await?;
    for turn in 0u64.. {
        if !shared.gate.pass().await {
            break;
        }
        let path = |name: &str| format!("{dir}/{name}");
        let fresh = format!("file-{turn}");
        let created = client.create(path(&fresh), Default::default()).await.map(drop);
        let settled = lock(names).note(None, Some(&fresh), &created)?;
        let mut changed = settled;
        if settled && turn % 3 == 1 {
            let renamed = format!("renamed-{turn}");
            let outcome = client.rename(path(&fresh), path(&renamed), false).await.map(drop);
            changed &= lock(names).note(Some(&fresh), Some(&renamed), &outcome)?;
        } else if settled && turn % 3 == 2 {
            let outcome = client.delete(path(&fresh), Default::default()).await;
            changed &= lock(names).note(Some(&fresh), None, &outcome)?;
            if outcome.is_ok() && turn % 6 == 2 {
                let outcome = client.undelete(path(&fresh)).await.map(drop);
                changed &= lock(names).note(None, Some(&fresh), &outcome)?;
            }
        }
        shared.count(if changed { Count::Changes } else { Count::Unsettled });
        sleep(PAUSE).await;
    }
    Ok(())
}

/// Every change that was acknowledged holds.
pub(super) async fn check(client: &Client, dir: &str, names: &Names) -> Result<()> {
    let entries = client.list(dir);
    let listed: BTreeSet<String> = entries.map_ok(|entry| entry.path).try_collect().await?;
    let lost: Vec<_> = names.there.difference(&listed).collect();
    ensure!(lost.is_empty(), "acknowledged and gone: {lost:?}");
    let known = |name: &&String| names.there.contains(*name) || names.maybe.contains(*name);
    let ghosts: Vec<_> = listed.iter().filter(|name| !known(name)).collect();
    ensure!(ghosts.is_empty(), "deleted or renamed, and there again: {ghosts:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_outcome_leaves_both_names_open_and_a_refusal_is_an_error() {
        let mut names = Names::default();
        assert!(names.note(None, Some("a"), &Ok(())).unwrap());
        let unknown = gfs_client::Error::Unknown { doing: "x".to_owned(), last: "y".to_owned() };
        assert!(!names.note(Some("a"), Some("b"), &Err(unknown)).unwrap());
        assert!(names.there.is_empty() && names.maybe.len() == 2);
        let refused = gfs_client::Error::Options("no".to_owned());
        assert!(names.note(None, Some("c"), &Err(refused)).is_err());
    }
}
