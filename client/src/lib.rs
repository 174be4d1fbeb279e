//! The client library of GFS.
