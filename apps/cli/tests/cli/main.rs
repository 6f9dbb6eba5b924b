//! The real program: what it prints, what it writes, how it ends.

mod get;
mod program;
mod serve;
