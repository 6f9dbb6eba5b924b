//! The 22 rules: each alone, each nearly, and all of them over thousands of random observations; and two reports compared.

mod compare;
mod golden;
mod mutations;
mod takeover;
mod traces;
