//! The two traits from which a request/response protocol gets a client and a server.

use bytes::BytesMut;

use crate::Result;

/// Bytes in, messages out.
pub trait Decode {
    /// What comes out.
    type Message;

    /// Takes one message from the front of `buf`, or gives `None` and leaves `buf` alone when it is not whole yet.
    ///
    /// It is called again with more bytes behind the same ones, so it must bound what it waits for: a length over its
    /// limit is an error at once, not when the bytes have come.
    ///
    /// # Errors
    /// When the bytes can't become a message. The connection is closed then.
    fn decode(&mut self, buf: &mut BytesMut) -> Result<Option<Self::Message>>;
}

/// Messages in, bytes out.
pub trait Encode<Message> {
    /// Appends the message to `out`.
    ///
    /// # Errors
    /// When it can't be said in this protocol (too long, a forbidden byte). Nothing must have been appended then.
    fn encode(&mut self, message: Message, out: &mut BytesMut) -> Result<()>;
}
