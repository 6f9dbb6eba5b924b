//! The facade: Engine, re-exports, prelude.
