//! Keep, lend, cap and evict reusable things; knows no socket.
