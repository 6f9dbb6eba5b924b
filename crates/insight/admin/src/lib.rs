//! Health, metrics and connections over HTTP.
