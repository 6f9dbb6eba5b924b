//! The real program: what it prints, what it writes, how it ends.

mod bench;
mod demo;
mod doctor;
mod get;
mod get_request;
mod program;
mod serve;
