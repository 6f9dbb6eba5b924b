//! The decoders behind one face: some bytes in, some bytes out, never more than there is room for.

use flate2::{Decompress, FlushDecompress, Status};
use millstream_base::{Error, Result};

/// A decoder of one body.
pub(super) enum Inflater {
    Gzip(Gzip),
    Deflate(Deflate),
    #[cfg(feature = "brotli")]
    Brotli(Box<Brotli>),
    #[cfg(feature = "zstd")]
    Zstd(Zstd),
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Bytes of the input that are used up.
    pub(super) read: usize,
    /// Bytes of the output that are filled.
    pub(super) written: usize,
}

impl Inflater {
    /// `None` for a coding this build can't undo.
    pub(super) fn new(coding: &[u8]) -> Option<Self> {
        let is = |name: &str| coding.eq_ignore_ascii_case(name.as_bytes());
        if is("gzip") || is("x-gzip") {
            return Some(Self::Gzip(Gzip::new()));
        }
        if is("deflate") {
            return Some(Self::Deflate(Deflate::default()));
        }
        #[cfg(feature = "brotli")]
        if is("br") {
            return Some(Self::Brotli(Box::new(Brotli::new())));
        }
        #[cfg(feature = "zstd")]
        if is("zstd") {
            return Zstd::new().map(Self::Zstd);
        }
        None
    }

    /// Decodes as far as input and room allow.
    pub(super) fn step(&mut self, input: &[u8], room: &mut [u8]) -> Result<Step> {
        match self {
            Self::Gzip(gzip) => gzip.step(input, room),
            Self::Deflate(deflate) => deflate.step(input, room),
            #[cfg(feature = "brotli")]
            Self::Brotli(brotli) => brotli.step(input, room),
            #[cfg(feature = "zstd")]
            Self::Zstd(zstd) => zstd.step(input, room),
        }
    }

    /// May the body end here?
    pub(super) fn is_complete(&self) -> bool {
        match self {
            Self::Gzip(gzip) => gzip.is_complete,
            Self::Deflate(deflate) => deflate.is_complete,
            #[cfg(feature = "brotli")]
            Self::Brotli(brotli) => brotli.is_complete,
            #[cfg(feature = "zstd")]
            Self::Zstd(zstd) => zstd.is_complete,
        }
    }
}

/// gzip: one member after another (RFC 1952 §2.2).
pub(super) struct Gzip {
    member: Decompress,
    is_complete: bool,
}

impl Gzip {
    fn new() -> Self {
        Self { member: Decompress::new_gzip(WINDOW_BITS), is_complete: false }
    }

    fn step(&mut self, input: &[u8], room: &mut [u8]) -> Result<Step> {
        if self.is_complete {
            if input.is_empty() {
                return Ok(Step { read: 0, written: 0 });
            }
            *self = Self::new();
        }
        let (step, is_complete) = inflate(&mut self.member, input, room).ok_or_else(|| malformed("gzip"))?;
        self.is_complete = is_complete;
        Ok(step)
    }
}

/// deflate: the zlib format (RFC 9110 §8.4.1.2), or the bare stream that some servers send under this name.
#[derive(Default)]
pub(super) struct Deflate {
    /// Of the kind that the first byte tells.
    stream: Option<Decompress>,
    is_complete: bool,
}

impl Deflate {
    fn step(&mut self, input: &[u8], room: &mut [u8]) -> Result<Step> {
        if self.is_complete {
            let nothing = Step { read: 0, written: 0 };
            return input.is_empty().then_some(nothing).ok_or_else(|| malformed("deflate"));
        }
        // zlib names its method first, 8, with a window of up to 2^(7 + 8) bytes (RFC 1950 §2.2). A bare stream could
        // begin like this only with a stored block behind padding that is not zero: nobody makes that.
        let is_zlib = input.first().is_some_and(|first| first & 0x8f == 8);
        let stream = self.stream.get_or_insert_with(|| Decompress::new(is_zlib));
        let (step, is_complete) = inflate(stream, input, room).ok_or_else(|| malformed("deflate"))?;
        self.is_complete = is_complete;
        Ok(step)
    }
}

/// One step, and whether the stream ends with it; `None` for what is no such stream.
fn inflate(stream: &mut Decompress, input: &[u8], room: &mut [u8]) -> Option<(Step, bool)> {
    let (read, written) = (stream.total_in(), stream.total_out());
    let status = stream.decompress(input, room, FlushDecompress::None).ok()?;
    let count = |after: u64, before: u64| usize::try_from(after - before).unwrap_or(usize::MAX);
    let step = Step { read: count(stream.total_in(), read), written: count(stream.total_out(), written) };
    Some((step, status == Status::StreamEnd))
}

/// The largest window, which is what everybody uses.
const WINDOW_BITS: u8 = 15;

#[cfg(feature = "brotli")]
pub(super) struct Brotli {
    state: brotli::BrotliState<Heap, Heap, Heap>,
    is_complete: bool,
}

#[cfg(feature = "brotli")]
type Heap = brotli::enc::StandardAlloc;

#[cfg(feature = "brotli")]
impl Brotli {
    fn new() -> Self {
        let heap = Heap::default;
        // Strict: windows of up to 16 MiB, as RFC 7932 has them; the extension asks for up to 1 GiB.
        Self { state: brotli::BrotliState::new_strict(heap(), heap(), heap()), is_complete: false }
    }

    fn step(&mut self, input: &[u8], room: &mut [u8]) -> Result<Step> {
        use brotli::BrotliResult;
        if self.is_complete {
            return if input.is_empty() { Ok(Step { read: 0, written: 0 }) } else { Err(malformed("br")) };
        }
        let (mut left, mut read, mut space, mut written, mut total) = (input.len(), 0, room.len(), 0, 0);
        let result = brotli::BrotliDecompressStream(
            &mut left,
            &mut read,
            input,
            &mut space,
            &mut written,
            room,
            &mut total,
            &mut self.state,
        );
        match result {
            BrotliResult::ResultFailure => return Err(malformed("br")),
            BrotliResult::ResultSuccess => self.is_complete = true,
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
        }
        Ok(Step { read, written })
    }
}

#[cfg(feature = "zstd")]
pub(super) struct Zstd {
    decoder: zstd::stream::raw::Decoder<'static>,
    is_complete: bool,
}

#[cfg(feature = "zstd")]
impl Zstd {
    fn new() -> Option<Self> {
        use zstd::stream::raw::DParameter;
        let mut decoder = zstd::stream::raw::Decoder::new().ok()?;
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).ok()?;
        Some(Self { decoder, is_complete: false })
    }

    fn step(&mut self, input: &[u8], room: &mut [u8]) -> Result<Step> {
        use zstd::stream::raw::Operation;
        if self.is_complete && input.is_empty() {
            return Ok(Step { read: 0, written: 0 });
        }
        let status = self.decoder.run_on_buffers(input, room).map_err(|_| malformed("zstd"))?;
        // Nothing more of this frame; another may follow (RFC 8878 §3.1).
        self.is_complete = status.remaining == 0;
        Ok(Step { read: status.bytes_read, written: status.bytes_written })
    }
}

/// 8 MiB: what a recipient of HTTP content must take, and need not exceed (RFC 9659 §3).
#[cfg(feature = "zstd")]
const ZSTD_WINDOW_LOG: u32 = 23;

fn malformed(coding: &str) -> Error {
    Error::protocol(format!("malformed body: not what {coding} makes"))
}
