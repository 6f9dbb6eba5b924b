//! Scripted peers, certificates and real-server starters for tests.

pub mod certs;
