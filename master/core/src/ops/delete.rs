//! `Delete`: a rename to a hidden name (§4.4). A directory goes as it is, in one step, however much is in it.

use gfs_types::Error;

use super::mutate::Plan;
use super::{check_allowed, find, parse};
use crate::Durable;
use crate::namespace::Node;
use crate::record::Change;

pub(super) fn plan(
    durable: &Durable,
    path: &str,
    recursive: bool,
    purge: bool,
) -> Result<Plan, Error> {
    let path = parse(path)?;
    check_allowed(&path)?;
    let entry = find(&durable.tree, &path)?;
    let directory = durable.tree.get(entry).and_then(Node::directory);
    if !recursive && directory.is_some_and(|directory| !directory.is_empty()) {
        return Err(Error::invalid(format!(
            "directory `{path}` is not empty: delete it recursively, or empty it first"
        )));
    }
    // Nobody wants an upload back that never had its name.
    let purge = purge || path.is_reserved();
    Ok(Plan::Change(Change::Deleted { entry, path: path.as_str().to_owned(), purge }))
}
