//! Fuzzes `setup_cfg` of ../src/targets.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hoist_fuzz::run("setup_cfg", data));
