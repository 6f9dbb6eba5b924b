//! Dial, listen, read, write: TCP, Unix, TLS, and the life record of each connection.
