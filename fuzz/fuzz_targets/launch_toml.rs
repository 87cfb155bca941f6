//! Fuzzes `launch_toml` of ../src/targets.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hoist_fuzz::run("launch_toml", data));
