//! One connection as bytes: what a test sends and expects, piece by piece, on either side.
//!
//! Every wait is limited to [`PATIENCE`]; a test that waits in vain fails and says what had come so far.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::PATIENCE;
use crate::message::{RawRequest, RawResponse, Reader};

/// One connection as bytes.
#[derive(Debug)]
pub struct RawConn {
    stream: TcpStream,
    /// Read, and not taken yet.
    ahead: Vec<u8>,
}

/// How the peer ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a FIN: it has sent all it wanted.
    Fin,
    /// With a reset.
    Reset,
}

impl RawConn {
    /// Connects, with `TCP_NODELAY`: each piece sent is a segment of its own.
    ///
    /// # Panics
    /// When nobody answers there.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("can't connect to {address}: {error}"))
    }

    /// The same, where a refusal is expected.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        TcpStream::connect_timeout(&address, PATIENCE).and_then(Self::over)
    }

    /// Connects with a receive buffer of about this size, so that a sender soon feels that nobody reads.
    ///
    /// # Panics
    /// When nobody answers there.
    #[track_caller]
    pub fn connect_narrow(address: SocketAddr, bytes: usize) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.cloexec(), None);
        let socket = socket.expect("the process may open one more socket");
        socket.set_recv_buffer_size(bytes).expect("it is a socket");
        socket.connect_timeout(&address.into(), PATIENCE).expect("somebody listens there");
        Self::over(socket.into()).expect("it is a connected socket")
    }

    /// An accepted or connected stream.
    ///
    /// # Errors
    /// When it is broken already.
    pub fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, ahead: Vec::new() })
    }

    /// The same connection for another thread, which reads or writes while this one does the other.
    ///
    /// # Panics
    /// When the process may open no more descriptors.
    #[must_use]
    pub fn twin(&self) -> Self {
        let stream = self.stream.try_clone().expect("the process may open one more descriptor");
        Self { stream, ahead: Vec::new() }
    }

    /// Our address.
    ///
    /// # Panics
    /// When it has none any more.
    pub fn local_addr(&self) -> SocketAddr {
        self.stream.local_addr().expect("a connected socket has an address")
    }

    /// Sends all of it.
    ///
    /// # Panics
    /// When the peer is gone, or takes nothing for ten seconds.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let result = self.try_send(bytes);
        result.unwrap_or_else(|error| panic!("can't send: {error}; {}", self.so_far()));
        self
    }

    /// Sends each piece with a write of its own.
    ///
    /// # Panics
    /// As [`send`](Self::send).
    #[track_caller]
    pub fn send_pieces<P: AsRef<[u8]>>(&mut self, pieces: impl IntoIterator<Item = P>) -> &mut Self {
        for piece in pieces {
            self.send(piece);
        }
        self
    }

    /// Sends all of it to a peer that may be gone.
    ///
    /// # Errors
    /// What the operating system said; `WouldBlock` when the peer took nothing for ten seconds.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends until the peer has taken nothing for `silence`, and gives how much it took. For peers that don't read.
    ///
    /// # Panics
    /// When it is no socket any more.
    pub fn send_until_stuck(&mut self, piece: &[u8], silence: Duration, most: usize) -> usize {
        self.stream.set_write_timeout(Some(silence)).expect("a timeout above zero");
        let mut sent = 0;
        while sent < most {
            match self.stream.write(piece) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        self.stream.set_write_timeout(Some(PATIENCE)).expect("a timeout above zero");
        sent
    }

    /// One read: what has come by now, at least a byte; nothing at the end.
    ///
    /// # Panics
    /// When nothing comes for ten seconds, or the peer resets the connection.
    #[track_caller]
    pub fn read_some(&mut self) -> Vec<u8> {
        if !self.ahead.is_empty() {
            return std::mem::take(&mut self.ahead);
        }
        let mut piece = vec![0; 256 * 1024];
        match self.read_once(&mut piece) {
            Ok(count) => piece.truncate(count),
            Err(error) => panic!("can't read: {error}; {}", self.so_far()),
        }
        piece
    }

    /// One read from a peer that may break the connection.
    ///
    /// # Errors
    /// What the operating system said; `WouldBlock` when nothing came for ten seconds.
    pub fn try_read_some(&mut self) -> io::Result<Vec<u8>> {
        if !self.ahead.is_empty() {
            return Ok(std::mem::take(&mut self.ahead));
        }
        let mut piece = vec![0; 256 * 1024];
        let count = self.read_once(&mut piece)?;
        piece.truncate(count);
        Ok(piece)
    }

    /// Waits for the peer to send more; false when it closes or resets the connection instead, or is silent for ten
    /// seconds.
    pub fn has_more(&mut self) -> bool {
        if self.ahead.is_empty() {
            self.ahead = self.try_read_some().unwrap_or_default();
        }
        !self.ahead.is_empty()
    }

    /// Reads this many bytes.
    ///
    /// # Panics
    /// When they don't come.
    #[track_caller]
    pub fn read_exact(&mut self, count: usize) -> Vec<u8> {
        while self.ahead.len() < count {
            self.read_ahead();
        }
        self.take(count)
    }

    /// Reads up to and with `end`.
    ///
    /// # Panics
    /// When it doesn't come.
    #[track_caller]
    pub fn read_until(&mut self, end: &[u8]) -> Vec<u8> {
        let mut searched = 0;
        loop {
            let from = searched.min(self.ahead.len());
            if let Some(at) = self.ahead[from..].windows(end.len()).position(|window| window == end) {
                return self.take(from + at + end.len());
            }
            searched = self.ahead.len().saturating_sub(end.len() - 1);
            self.read_ahead();
        }
    }

    /// Reads as many bytes as `expected` has: they must be these.
    ///
    /// # Panics
    /// When they are others.
    #[track_caller]
    pub fn expect(&mut self, expected: impl AsRef<[u8]>) -> &mut Self {
        let expected = expected.as_ref();
        let got = self.read_exact(expected.len());
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        assert!(got == expected, "expected {}, got {}", text(expected), text(&got));
        self
    }

    /// Reads to the end, and says how it ended.
    ///
    /// # Panics
    /// When the end doesn't come.
    #[track_caller]
    pub fn read_to_end(&mut self) -> (Vec<u8>, End) {
        let mut whole = std::mem::take(&mut self.ahead);
        let mut piece = vec![0; 64 * 1024];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return (whole, End::Fin),
                Ok(count) => whole.extend_from_slice(&piece[..count]),
                Err(error) if is_reset(&error) => return (whole, End::Reset),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => panic!("no end: {error}; so far {} bytes", whole.len()),
            }
        }
    }

    /// Reads to the end, which must be a FIN.
    ///
    /// # Panics
    /// On a reset, or when the end doesn't come.
    #[track_caller]
    pub fn read_to_fin(&mut self) -> Vec<u8> {
        let (whole, end) = self.read_to_end();
        assert_eq!(end, End::Fin, "after {} bytes", whole.len());
        whole
    }

    /// Nothing must follow but the end.
    ///
    /// # Panics
    /// When something else follows.
    #[track_caller]
    pub fn expect_end(&mut self) -> End {
        let (rest, end) = self.read_to_end();
        assert!(rest.is_empty(), "expected the end, got {}", rest.escape_ascii());
        end
    }

    /// Reads a response; `method` is what was asked, since to HEAD there is no body.
    ///
    /// # Panics
    /// When it is malformed or not whole.
    #[track_caller]
    pub fn read_response(&mut self, method: &str) -> RawResponse {
        RawResponse::read(self, method)
    }

    /// Reads a whole request, body included.
    ///
    /// # Panics
    /// When it is malformed or not whole.
    #[track_caller]
    pub fn read_request(&mut self) -> RawRequest {
        RawRequest::read(self)
    }

    /// Closes our direction only: the peer reads to the end and may still answer.
    pub fn half_close(&mut self) -> &mut Self {
        // It fails when the peer has reset the connection: then a read says so.
        let _ = self.stream.shutdown(Shutdown::Write);
        self
    }

    /// The same where the connection may be gone.
    pub fn try_half_close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Closes with a reset, whatever was sent or received.
    pub fn reset(self) {
        // It fails only on a descriptor that is no socket.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// From here on a close is a reset.
    pub fn reset_at_close(&mut self) -> &mut Self {
        // It fails only on a descriptor that is no socket.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        self
    }

    /// Closes well: with a FIN, unless bytes lie there unread.
    pub fn close(self) {}

    /// Is there nothing to read at this moment, not even the end?
    ///
    /// # Panics
    /// When it is no socket any more.
    pub fn is_silent(&self) -> bool {
        self.stream.set_nonblocking(true).expect("it is a socket");
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).expect("it is a socket");
        self.ahead.is_empty() && matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Waits for the first byte, or for the end, and says whether it is the end; takes nothing.
    ///
    /// # Panics
    /// When neither comes for ten seconds.
    #[track_caller]
    pub fn is_at_end(&mut self) -> bool {
        if !self.ahead.is_empty() {
            return false;
        }
        let mut piece = [0; 16 * 1024];
        match self.read_once(&mut piece) {
            Ok(count) => self.ahead.extend_from_slice(&piece[..count]),
            Err(error) if is_reset(&error) => {}
            Err(error) => panic!("neither a byte nor the end: {error}"),
        }
        self.ahead.is_empty()
    }

    fn so_far(&self) -> String {
        let (len, tail) = (self.ahead.len(), self.ahead.len().saturating_sub(300));
        format!("so far {len} bytes, the last of them: {}", self.ahead[tail..].escape_ascii())
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.ahead.split_off(count);
        std::mem::replace(&mut self.ahead, rest)
    }

    /// With a timeout set, Linux does not resume a read that a signal interrupted.
    fn read_once(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(into) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    #[track_caller]
    fn read_ahead(&mut self) {
        let mut piece = [0; 16 * 1024];
        match self.read_once(&mut piece) {
            Ok(0) => panic!("the peer closed too early; {}", self.so_far()),
            Ok(count) => self.ahead.extend_from_slice(&piece[..count]),
            Err(error) => panic!("can't read: {error}; {}", self.so_far()),
        }
    }
}

impl Reader for RawConn {
    #[track_caller]
    fn line(&mut self) -> Vec<u8> {
        let mut line = self.read_until(b"\r\n");
        line.truncate(line.len() - 2);
        line
    }

    #[track_caller]
    fn exact(&mut self, count: usize) -> Vec<u8> {
        self.read_exact(count)
    }

    #[track_caller]
    fn to_end(&mut self) -> Vec<u8> {
        self.read_to_fin()
    }
}

fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted
    )
}
