//! Fuzzes `planqk_json` of ../src/targets.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hoist_fuzz::run("planqk_json", data));
