//! What the host's TCP stack says: sockets by `sock_diag`, counters, sysctls, and who holds what. Usable alone.
