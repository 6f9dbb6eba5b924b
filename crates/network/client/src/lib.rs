//! One call: target, pool, session, reply; deadline and retry.
