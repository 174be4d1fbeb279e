//! Records: appended in order, read exactly once.

pub(crate) mod append;
pub(crate) mod input;
pub(crate) mod list;
