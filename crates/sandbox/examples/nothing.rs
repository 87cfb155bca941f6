//! Does nothing, statically: the floor of every measurement of a start.

fn main() {}
