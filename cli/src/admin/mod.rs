//! The cluster as a whole: a module for each command.

pub(crate) mod df;
pub(crate) mod fsck;
pub(crate) mod locate;
pub(crate) mod status;
