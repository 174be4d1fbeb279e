//! Making the API server have what was built, with no write where it has it already.

mod covers;
mod kinds;
mod manifest;
mod write;

pub use covers::first_difference;
pub use kinds::Kind;
pub use manifest::{APPLIED_ANNOTATION, Live, Manifest, Why, manifests};
pub use write::{Applied, apply, delete_orphans};
