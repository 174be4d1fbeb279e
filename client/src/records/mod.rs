//! Records that are written at least once and read exactly once.

mod reader;
mod writer;

pub use reader::RecordReader;
pub use writer::{RecordWriter, Submitted};
