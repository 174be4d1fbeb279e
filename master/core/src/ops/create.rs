//! `Create`: an empty file in a directory that is there.

use gfs_types::Error;
use gfs_types::limits::REPLICATION_MAX;
use gfs_types::message::client::Attributes;

use super::mutate::Plan;
use super::{check_allowed, full, parse, place, taken};
use crate::Durable;
use crate::record::Change;

pub(super) fn plan(
    durable: &Durable,
    path: &str,
    replication: u8,
    attributes: Attributes,
) -> Result<Plan, Error> {
    let path = parse(path)?;
    check_allowed(&path)?;
    if replication > REPLICATION_MAX {
        return Err(Error::invalid(format!(
            "{replication} replicas of `{path}` are too many: at most {REPLICATION_MAX} are possible"
        )));
    }
    let (parent, there) = place(&durable.tree, &path)?;
    if let Some(id) = there {
        return Err(taken(&path, durable.tree.get(id)));
    }
    let file = durable.tree.next_ids(1).ok_or_else(full)?[0];
    let name = path.name().unwrap_or_default().to_owned();
    Ok(Plan::Change(Change::Created { file, parent, name, replication, attributes }))
}
