//! The hoist binary.
fn main() {}
