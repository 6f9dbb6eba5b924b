//! Workers, timers, blocking pool, start and stop.
