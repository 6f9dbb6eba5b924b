//! cargo xtask test | tidy | bench.

fn main() {}
