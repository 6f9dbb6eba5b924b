//! Diagnosis of a host's connections: evidence, conclusion, remedy, expected effect, and how it is checked.
