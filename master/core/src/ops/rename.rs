//! `Rename`: another name, atomically; a file that has it goes to the trash if that is wanted.

use gfs_types::Error;
use gfs_types::ids::FileId;
use gfs_types::limits::{PATH_BYTES_MAX, PATH_DEPTH_MAX};
use gfs_types::path::GfsPath;

use super::mutate::Plan;
use super::{check_allowed, find, parse, place, taken};
use crate::Durable;
use crate::apply::facts;
use crate::namespace::{Extent, Node};
use crate::record::Change;
use crate::sessions::Outcome;

pub(super) fn plan(durable: &Durable, from: &str, to: &str, replace: bool) -> Result<Plan, Error> {
    let (from, to) = (parse(from)?, parse(to)?);
    check_allowed(&from)?;
    check_allowed(&to)?;
    let tree = &durable.tree;
    let entry = find(tree, &from)?;
    if from == to {
        let node = tree.get(entry).ok_or_else(|| Error::internal("found, and not there"))?;
        return Ok(Plan::Nothing(Outcome::Entry(facts(entry, node))));
    }
    if to.is_within(&from) && is_directory(durable, entry) {
        return Err(Error::invalid(format!(
            "directory `{from}` cannot be moved into itself, to `{to}`"
        )));
    }
    let (parent, there) = place(tree, &to)?;
    let replaced = match there {
        None => None,
        Some(id) => {
            check_replace(durable, entry, &from, id, &to, replace)?;
            Some((id, to.as_str().to_owned()))
        }
    };
    check_depth(durable, entry, &from, &to)?;
    let name = to.name().unwrap_or_default().to_owned();
    Ok(Plan::Change(Change::Renamed { entry, parent, name, replaced }))
}

fn check_replace(
    durable: &Durable,
    entry: FileId,
    from: &GfsPath,
    there: FileId,
    to: &GfsPath,
    replace: bool,
) -> Result<(), Error> {
    if !replace {
        return Err(taken(to, durable.tree.get(there)));
    }
    if is_directory(durable, there) {
        return Err(Error::already_exists(format!(
            "`{to}` is a directory and is not replaced: delete it first, or choose a name in it"
        )));
    }
    if is_directory(durable, entry) {
        return Err(Error::invalid(format!(
            "directory `{from}` cannot replace the file `{to}`: delete the file first"
        )));
    }
    Ok(())
}

/// What is below must still have paths within the limits, or nobody could name it any more.
fn check_depth(
    durable: &Durable,
    entry: FileId,
    from: &GfsPath,
    to: &GfsPath,
) -> Result<(), Error> {
    let (old, new) = (from.names().count(), to.names().count());
    if new <= old && to.as_str().len() <= from.as_str().len() {
        return Ok(());
    }
    let limit = Extent {
        names: PATH_DEPTH_MAX.saturating_sub(new),
        bytes: PATH_BYTES_MAX.saturating_sub(to.as_str().len()),
    };
    if durable.tree.reaches_at_most(entry, limit) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "`{from}` cannot become `{to}`: paths below it would have more than {PATH_DEPTH_MAX} names or {PATH_BYTES_MAX} \
         bytes; choose a shorter path"
    )))
}

fn is_directory(durable: &Durable, id: FileId) -> bool {
    durable.tree.get(id).and_then(Node::directory).is_some()
}
