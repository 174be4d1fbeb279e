//! `Mkdir`: a directory, with its missing parents if that is wanted.

use gfs_types::Error;

use super::mutate::Plan;
use super::{check_allowed, full, parse, place, taken, through_file};
use crate::Durable;
use crate::namespace::{Node, Resolved};
use crate::record::Change;
use crate::sessions::Outcome;

pub(super) fn plan(durable: &Durable, path: &str, parents: bool) -> Result<Plan, Error> {
    let path = parse(path)?;
    if parents && durable.tree.find(&path).is_some_and(|id| is_directory(durable, id)) {
        return Ok(Plan::Nothing(Outcome::Done));
    }
    check_allowed(&path)?;
    if !parents {
        place(&durable.tree, &path)?;
    }
    let (parent, there) = match durable.tree.resolve(&path) {
        Resolved::Found(id) => return Err(taken(&path, durable.tree.get(id))),
        Resolved::ThroughFile { names } => return Err(through_file(&path, names)),
        Resolved::Missing { directory, names } => (directory, names),
    };
    let names: Vec<&str> = path.names().skip(there).collect();
    let ids = durable.tree.next_ids(names.len()).ok_or_else(full)?;
    let made = ids.into_iter().zip(names.into_iter().map(str::to_owned)).collect();
    Ok(Plan::Change(Change::DirectoriesMade { parent, made }))
}

fn is_directory(durable: &Durable, id: gfs_types::ids::FileId) -> bool {
    durable.tree.get(id).and_then(Node::directory).is_some()
}
