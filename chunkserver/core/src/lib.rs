//! Every decision of a chunkserver, without I/O.
