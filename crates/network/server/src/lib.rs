//! Listen, accept, limits, sessions, keep-alive, drain.
