//! `SetLength`: a file is at least this long, at `close` and `sync`. It never shrinks.

use gfs_types::Error;
use gfs_types::ids::FileId;
use gfs_types::limits::FILE_CHUNKS_MAX;
use gfs_types::message::client::Attributes;

use super::mutate::Plan;
use super::no_file;
use crate::Durable;
use crate::namespace::Node;
use crate::record::Change;
use crate::sessions::Outcome;

pub(super) fn plan(
    durable: &Durable,
    file: FileId,
    length: u64,
    attributes: Option<Attributes>,
) -> Result<Plan, Error> {
    let node = durable.tree.get(file).ok_or_else(|| no_file(file))?;
    let Some(known) = Node::file(node) else {
        return Err(Error::invalid(format!(
            "`{}` is a directory: it has no length",
            durable.tree.path_of(file)
        )));
    };
    let most = FILE_CHUNKS_MAX * durable.chunk_size().bytes();
    if length > most {
        return Err(Error::invalid(format!(
            "a length of {length} bytes is too large for `{}`: a file has at most {most}",
            durable.tree.path_of(file)
        )));
    }
    if length <= known.length && attributes.is_none_or(|new| new == known.attributes) {
        return Ok(Plan::Nothing(Outcome::Done));
    }
    Ok(Plan::Change(Change::LengthSet { file, length, attributes }))
}
