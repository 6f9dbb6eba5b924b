//! From a name to addresses: the Resolve trait and its cache.
