//! Records that are written at least once and read exactly once.

mod reader;
mod way;
mod writer;

pub use reader::RecordReader;
pub(crate) use way::Ways;
pub use writer::{RecordWriter, Submitted};
