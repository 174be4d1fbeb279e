#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gfs_tests::decoders::run("record", bytes));
