//! Every decision of the master, without I/O.
