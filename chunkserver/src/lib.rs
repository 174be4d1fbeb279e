//! The chunkserver: the shell around its core.
