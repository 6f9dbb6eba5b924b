//! The 22 rules: each alone, each nearly, and all of them over thousands of random observations.

mod golden;
mod mutations;
mod traces;
