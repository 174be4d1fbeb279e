//! The namespace: a tree of named files and directories (§4.1), and what was deleted from it.
//!
//! Knows ids, names and the shape of the tree; nothing of requests, of who may touch what, or of replicas.

mod assemble;
mod block;
mod directory;
mod extent;
mod node;
mod packed;
mod pages;
#[cfg(test)]
mod tests;
mod trash;
mod tree;
mod walk;

pub(crate) use assemble::{Assembly, Place};
#[cfg(test)]
pub(crate) use block::BLOCK_NAMES_MAX;
pub(crate) use block::Coder;
pub(crate) use extent::Extent;
pub(crate) use node::{File, FileNode, Node};
pub(crate) use trash::{Trash, Trashed};
pub(crate) use tree::{NewNode, TRASH_ID, Tree, UPLOAD_ID};
pub(crate) use walk::{DEPTH_MAX, Resolved};
