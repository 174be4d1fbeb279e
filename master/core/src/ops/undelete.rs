//! `Undelete`: what was last deleted from a path comes back to it.

use gfs_types::Error;

use super::mutate::Plan;
use super::{check_allowed, parse, place, taken};
use crate::Durable;
use crate::record::Change;

pub(super) fn plan(durable: &Durable, path: &str) -> Result<Plan, Error> {
    let path = parse(path)?;
    check_allowed(&path)?;
    let Some(trashed) = durable.trash.latest(path.as_str()) else {
        return Err(Error::not_found(format!(
            "nothing that was deleted from `{path}` can come back: it was purged, its grace is over, or there was none"
        )));
    };
    let entry = trashed.id;
    let (parent, there) = place(&durable.tree, &path)?;
    if let Some(id) = there {
        return Err(taken(&path, durable.tree.get(id)));
    }
    let name = path.name().unwrap_or_default().to_owned();
    Ok(Plan::Change(Change::Undeleted { entry, parent, name }))
}
