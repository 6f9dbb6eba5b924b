//! The examples stand beside this file, one idea each: `cargo run --release --example 01_hello`.
