//! The examples stand beside this file, one idea each: `cargo run --release --example 01_hello`.

/// The code in the README and in the guides is compiled with the tests of this crate.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../README.md")]
    struct Readme;
    #[doc = include_str!("../../docs/guide-server.md")]
    struct GuideServer;
    #[doc = include_str!("../../docs/flows.md")]
    struct Flows;
    #[doc = include_str!("../../docs/from-workflow.md")]
    struct FromWorkflow;
}
