#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gfs_tests::decoders::run("chunkserver-message", bytes));
