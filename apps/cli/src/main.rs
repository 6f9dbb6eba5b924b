//! The millstream program: serve and get.

fn main() {}
