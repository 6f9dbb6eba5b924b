//! What is kept of a connection between calls.

use millstream_client::Session;
use millstream_transport::Conn;

/// An HTTP/1 connection between calls: nothing but its bytes.
#[derive(Debug)]
pub struct Http1Session {
    pub(crate) conn: Conn,
}

impl Session for Http1Session {
    #[inline]
    fn conn(&self) -> &Conn {
        &self.conn
    }

    #[inline]
    fn conn_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}
