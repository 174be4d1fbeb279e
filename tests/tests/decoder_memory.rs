//! No input makes a decoder take much more memory than the input has: lengths and counts that lie cost nothing.
//!
//! Alone in its file, because it counts what the whole process allocates.

use gfs_tests::decoders::{self, mutate};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

#[test]
fn memory_is_bounded_by_the_input() {
    for decoder in decoders::ALL {
        let samples = (decoder.samples)();
        let changes = decoder.mutations.min(200);
        for (seed, sample) in (1..).zip(&samples) {
            let changed = mutate::changed(sample, &samples, seed, changes);
            for bytes in changed.chain([sample.clone()]) {
                let bound = decoder.memory.fixed_bytes + decoder.memory.per_byte * bytes.len();
                let before = ALLOCATOR.current_usage();
                ALLOCATOR.reset_peak_usage();
                decoders::run(decoder.name, &bytes);
                let taken = ALLOCATOR.peak_usage().saturating_sub(before);
                assert!(
                    taken <= bound,
                    "{} takes {taken} bytes for {} bytes, {bound} at most are allowed: b\"{}\"",
                    decoder.name,
                    bytes.len(),
                    bytes.escape_ascii()
                );
            }
        }
    }
}
