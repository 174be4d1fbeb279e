//! Numbers from the operating system: who this client is, where its pauses begin, who a record writer is.

use crate::error::{Error, Result};

/// Independent random numbers.
///
/// # Errors
/// When the operating system has none.
pub(crate) fn numbers<const N: usize>() -> Result<[u64; N]> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(|error| Error::Unfit {
            doing: "draw a random number".to_owned(),
            reason: error.to_string(),
        })?;
        *number = u64::from_le_bytes(bytes);
    }
    Ok(numbers)
}
