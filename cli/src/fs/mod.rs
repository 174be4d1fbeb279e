//! Files in and out, and the namespace: a module for each command.

pub(crate) mod cat;
pub(crate) mod copy;
pub(crate) mod entry;
pub(crate) mod get;
pub(crate) mod ls;
pub(crate) mod namespace;
pub(crate) mod put;
pub(crate) mod stat;
pub(crate) mod trash;
