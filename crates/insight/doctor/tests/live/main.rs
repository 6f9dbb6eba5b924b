//! The doctor looks at real sockets, in network namespaces that the tests make.

mod cures;
mod incident;
mod namespace;
mod rows;
