//! What the kernel does, asked of the kernel: docs/decisions/0016-what-the-kernel-does.md has the questions P1 to P18.
//!
//! Each probe is a test in a network namespace of its own. What one prints is seen with `--nocapture`.
#![allow(missing_docs, clippy::unwrap_used)]

mod attribution;
mod dial;
mod others;
mod ports;
mod shared;
mod takeover;
mod time_wait;
