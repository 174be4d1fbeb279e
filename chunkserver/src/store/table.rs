//! The checksums of whole blocks. The entry of a block that is not whole means nothing.

use std::io;

use gfs_durable::fs::File;

use super::layout::entry_at;

/// Entries from `first` on.
pub(super) fn read(file: &dyn File, first: u64, count: u64) -> io::Result<Vec<u32>> {
    let mut bytes = vec![0; usize::try_from(4 * count).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, entry_at(first))?;
    Ok(bytes.chunks_exact(4).map(|e| u32::from_le_bytes([e[0], e[1], e[2], e[3]])).collect())
}

/// Writes entries from `first` on.
pub(super) fn write(file: &dyn File, first: u64, sums: &[u32]) -> io::Result<()> {
    if sums.is_empty() {
        return Ok(());
    }
    let bytes: Vec<u8> = sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
    file.write_all_at(&bytes, entry_at(first))
}
