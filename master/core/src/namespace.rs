//! The namespace: a tree of named files and directories (§4.1), and what was deleted from it.
//!
//! Knows ids, names and the shape of the tree; nothing of requests, of who may touch what, or of replicas.

mod extent;
mod node;
#[cfg(test)]
mod tests;
mod trash;
mod tree;
mod walk;

pub(crate) use extent::Extent;
pub(crate) use node::{FileNode, Node, NodeBody};
pub(crate) use trash::{Trash, Trashed};
pub(crate) use tree::{Slot, TRASH_ID, Tree, UPLOAD_ID};
pub(crate) use walk::{DEPTH_MAX, Resolved};
