//! Writes the samples of every decoder to `fuzz/corpus/<decoder>/sample-NN`; what fuzzing found there stays.
//!
//! `cargo run -p gfs-tests --example seed-corpus`, after a format or a list of samples changed.

use std::path::Path;
use std::{fs, io};

use gfs_tests::decoders;

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for decoder in decoders::ALL {
        let folder = corpus.join(decoder.name);
        fs::create_dir_all(&folder)?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(b"sample-") {
                fs::remove_file(entry.path())?;
            }
        }
        for (number, sample) in (decoder.samples)().iter().enumerate() {
            fs::write(folder.join(format!("sample-{number:02}")), sample)?;
        }
    }
    Ok(())
}
