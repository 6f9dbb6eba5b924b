//! The codec driven as a server and a client drive it, from bytes in any number of pieces.

use http::Method;
use millstream_http::codec::{
    ChunkEvent, ChunkedDecoder, Framing, HeadLimits, Parse, Progress, Reject, RequestHead, ResponseHead,
    parse_request, parse_response,
};

use super::{End, Outcome};

/// What becomes of these bytes at a server.
pub fn serve<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let (mut head, mut progress, limits) = (RequestHead::new(), Progress::default(), HeadLimits::DEFAULT);
    drive(pieces, |buf| {
        let Parse::Complete(used) = parse_request(buf, &limits, &mut head, &mut progress)? else {
            return Ok(None);
        };
        let upgrade = head.method == Method::CONNECT;
        let last = if upgrade { Some(End::Upgrade) } else { (!head.keep_alive).then_some(End::Close) };
        Ok(Some((used, Some((head.framing, last)))))
    })
}

/// What becomes of these bytes at a client that sent one request and then sees the connection close.
pub fn fetch<'a>(method: &Method, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let (mut head, mut progress, limits) = (ResponseHead::new(), Progress::default(), HeadLimits::DEFAULT);
    let mut outcome = drive(pieces, |buf| {
        let Parse::Complete(used) = parse_response(buf, &limits, method, &mut head, &mut progress)? else {
            return Ok(None);
        };
        let end = match head.framing {
            _ if head.upgrade => End::Upgrade,
            Framing::UntilClose => End::UntilClose,
            _ if head.keep_alive => End::Open,
            _ => End::Close,
        };
        Ok(Some((used, (!head.is_interim()).then_some((head.framing, Some(end))))))
    });
    if let End::Reject(status) = &mut outcome.end {
        *status = 502;
    }
    outcome
}

/// What a head said: bytes used, and, if it isn't an interim one, the body that follows, and the end if no message may.
type Head = Option<(usize, Option<(Framing, Option<End>)>)>;

fn drive<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    mut parse: impl FnMut(&[u8]) -> Result<Head, Reject>,
) -> Outcome {
    let mut conn = Conn::default();
    for piece in pieces {
        conn.buf.extend_from_slice(piece);
        match conn.advance(&mut parse) {
            Ok(None) => {}
            Ok(Some(end)) => return Outcome { bodies: conn.bodies, end },
            Err(reject) => return Outcome { bodies: conn.bodies, end: End::Reject(reject.status) },
        }
    }
    conn.at_eof()
}

#[derive(Default)]
struct Conn {
    buf: Vec<u8>,
    bodies: Vec<Vec<u8>>,
    reading: Option<Body>,
}

struct Body {
    framing: Framing,
    chunks: ChunkedDecoder,
    data: Vec<u8>,
    last: Option<End>,
}

impl Conn {
    /// Reads as many messages as there are; says how it ended if nothing more is to be read.
    fn advance(
        &mut self,
        parse: &mut impl FnMut(&[u8]) -> Result<Head, Reject>,
    ) -> Result<Option<End>, Reject> {
        loop {
            if self.reading.is_none() {
                let Some((used, message)) = parse(&self.buf)? else { return Ok(None) };
                self.buf.drain(..used);
                let Some((framing, last)) = message else { continue };
                self.reading = Some(Body { framing, chunks: ChunkedDecoder::new(), data: Vec::new(), last });
            }
            let Some(body) = &mut self.reading else { return Ok(None) };
            if !body.read(&mut self.buf)? {
                return Ok(None);
            }
            let Some(body) = self.reading.take() else { return Ok(None) };
            self.bodies.push(body.data);
            if body.last.is_some() {
                return Ok(body.last);
            }
        }
    }

    fn at_eof(mut self) -> Outcome {
        let end = match self.reading {
            Some(body) if body.framing == Framing::UntilClose => {
                self.bodies.push(body.data);
                End::UntilClose
            }
            None if self.buf.is_empty() => End::Open,
            _ => End::Wait,
        };
        Outcome { bodies: self.bodies, end }
    }
}

impl Body {
    /// Takes what belongs to the body; is it whole?
    fn read(&mut self, buf: &mut Vec<u8>) -> Result<bool, Reject> {
        match &mut self.framing {
            Framing::None => Ok(true),
            Framing::UntilClose => {
                self.data.append(buf);
                Ok(false)
            }
            Framing::Length(left) => {
                let taken = buf.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                self.data.extend(buf.drain(..taken));
                *left -= taken as u64;
                Ok(*left == 0)
            }
            Framing::Chunked => loop {
                let (used, event) = self.chunks.decode(buf)?;
                if let ChunkEvent::Data(range) = &event {
                    self.data.extend_from_slice(&buf[range.clone()]);
                }
                buf.drain(..used);
                match event {
                    ChunkEvent::Data(_) => {}
                    ChunkEvent::NeedMore => return Ok(false),
                    ChunkEvent::End => return Ok(true),
                }
            },
        }
    }
}
