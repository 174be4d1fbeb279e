//! CRC-32C (Castagnoli), the checksum of every format in this crate.

use crc_fast::{CrcAlgorithm, Digest};

/// CRC-32C of `parts` read one after the other.
pub(crate) fn crc32c(parts: &[&[u8]]) -> u32 {
    let mut running = Running::default();
    for part in parts {
        running.update(part);
    }
    running.value()
}

/// A CRC-32C that is fed piece by piece.
#[derive(Clone)]
pub(crate) struct Running(Digest);

impl Default for Running {
    fn default() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }
}

impl Running {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn value(&self) -> u32 {
        u32::try_from(self.0.finalize()).expect("a CRC-32 has 32 bits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_polynomial_is_castagnoli() {
        assert_eq!(crc32c(&[b"123456789"]), 0xe306_9283);
        assert_eq!(crc32c(&[b"1234", b"", b"56789"]), 0xe306_9283);
    }
}
