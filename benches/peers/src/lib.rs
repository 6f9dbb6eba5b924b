//! What the peers share: their arguments, the reply that all servers give, and the report that all clients print.

mod args;
mod report;
pub mod work;

pub use args::Args;
pub use report::{Cpu, report};

/// The body of every reply: `size` bytes of text that live as long as the process.
pub fn body(size: usize) -> &'static [u8] {
    let line = b"Measured beside its peers on one machine, in one run, in turn. ";
    let text: Vec<u8> = line.iter().copied().cycle().take(size).collect();
    Vec::leak(text)
}

/// The content type of every reply.
pub const CONTENT_TYPE: &str = "text/plain";
