//! What a request carries: text, files and standard input, in a row.
//!
//! What is short is read before anything is sent, so that a redirect or a retry can send it again; the rest is read while it
//! is sent, by a thread, since reading blocks.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use millstream::http::Body;
use millstream::{Error, Kind, Origin, Result};
use tokio::sync::mpsc;

/// What a request carries.
pub(crate) enum Data {
    /// All of it.
    Whole(Bytes),
    /// To be read anew for each request.
    Files { words: Vec<String>, glue: &'static str },
    /// Can't be read twice.
    Once(RefCell<Option<Body>>),
}

/// What is read before anything is sent at most.
const SHORT_BYTES: usize = 1024 * 1024;
/// One read of what is longer.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces on their way from the thread that reads.
const PIECES: usize = 4;

impl Data {
    /// Text as it is, `@FILE`, and `@-` for standard input, with `glue` between them. Waits for standard input.
    ///
    /// # Errors
    /// When a file can't be read, or standard input is named twice.
    pub(crate) fn new(words: &[String], glue: &'static str) -> Result<Self> {
        if words.iter().filter(|word| *word == STDIN).count() > 1 {
            return Err(Error::invalid("standard input (`@-`) can be sent only once"));
        }
        let Row { mut reader, length, is_lasting } = Row::open(words, glue)?;
        let mut first = Vec::new();
        let limit = SHORT_BYTES as u64 + 1;
        reader.by_ref().take(limit).read_to_end(&mut first).map_err(unread)?;
        if first.len() <= SHORT_BYTES {
            return Ok(Self::Whole(first.into()));
        }
        if is_lasting {
            return Ok(Self::Files { words: words.to_vec(), glue });
        }
        let rest = Box::new(Cursor::new(first).chain(reader));
        Ok(Self::Once(RefCell::new(Some(read_along(rest, length)))))
    }

    /// The body of the next request.
    ///
    /// # Errors
    /// When it was sent already and can't be had again, or a file can't be opened any more.
    pub(crate) fn body(&self) -> Result<Body> {
        match self {
            Self::Whole(bytes) => Ok(bytes.clone().into()),
            Self::Files { words, glue } => {
                let row = Row::open(words, glue)?;
                Ok(read_along(row.reader, row.length))
            }
            Self::Once(body) => body
                .take()
                .ok_or_else(|| Error::invalid("what was read while it was sent can't be sent again")),
        }
    }
}

/// Names standard input.
const STDIN: &str = "@-";

type Source = Box<dyn Read + Send>;

/// Several sources in a row.
struct Row {
    reader: Source,
    /// In bytes, where it is known.
    length: Option<u64>,
    /// Can it be opened again?
    is_lasting: bool,
}

impl Row {
    fn open(words: &[String], glue: &'static str) -> Result<Self> {
        let mut row = Self { reader: Box::new(io::empty()), length: Some(0), is_lasting: true };
        for (at, word) in words.iter().enumerate() {
            if at > 0 {
                row.append(Box::new(glue.as_bytes()), Some(glue.len() as u64));
            }
            match word.strip_prefix('@') {
                None => row.append(Box::new(Cursor::new(word.clone())), Some(word.len() as u64)),
                Some("-") => row.append_once(Box::new(io::stdin())),
                Some(path) => row.append_file(Path::new(path))?,
            }
        }
        Ok(row)
    }

    fn append(&mut self, next: Source, length: Option<u64>) {
        let before = std::mem::replace(&mut self.reader, Box::new(io::empty()));
        self.reader = Box::new(before.chain(next));
        self.length = self.length.zip(length).map(|(before, next)| before + next);
    }

    fn append_once(&mut self, next: Source) {
        self.is_lasting = false;
        self.append(next, None);
    }

    fn append_file(&mut self, path: &Path) -> Result<()> {
        let failed = |error| {
            let why = format!("can't read {}", path.display());
            Error::new(Kind::Io, Origin::Caller, why).with_source(error)
        };
        let file = File::open(path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        if found.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        if found.is_file() {
            // No more than is announced, if it grows meanwhile.
            self.append(Box::new(file.take(found.len())), Some(found.len()));
        } else {
            self.append_once(Box::new(file));
        }
        Ok(())
    }
}

fn unread(error: io::Error) -> Error {
    Error::new(Kind::Io, Origin::Local, "can't read what is to be sent").with_source(error)
}

/// A body that a thread reads while it is sent. The thread ends with its source, or when nobody takes what it read.
fn read_along(mut reader: Source, left: Option<u64>) -> Body {
    let (give, take) = mpsc::channel(PIECES);
    std::thread::spawn(move || {
        loop {
            let mut piece = Vec::new();
            let read = reader.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece);
            let piece = match read {
                Ok(0) => return,
                Ok(_) => Ok(Bytes::from(piece)),
                Err(error) => Err(unread(error)),
            };
            let is_end = piece.is_err();
            if give.blocking_send(piece).is_err() || is_end {
                return;
            }
        }
    });
    Body::wrap(Pieces { take, left })
}

struct Pieces {
    take: mpsc::Receiver<Result<Bytes>>,
    /// Bytes that are still to come, where that is known.
    left: Option<u64>,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let next = std::task::ready!(self.take.poll_recv(cx));
        if let (Some(left), Some(Ok(piece))) = (&mut self.left, &next) {
            *left = left.saturating_sub(piece.len() as u64);
        }
        Poll::Ready(next.map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(words: &[&str], glue: &'static str) -> Bytes {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        match Data::new(&words, glue).expect("readable") {
            Data::Whole(bytes) => bytes,
            Data::Files { .. } | Data::Once(_) => panic!("it is short"),
        }
    }

    #[test]
    fn words_are_joined_with_the_glue() {
        assert_eq!(whole(&["a=b"], "&"), "a=b");
        assert_eq!(whole(&["a=b", "c", "d=e"], "&"), "a=b&c&d=e");
        assert_eq!(whole(&["{\"a\":", "1}"], ""), "{\"a\":1}");
        assert_eq!(whole(&[""], "&"), "");
    }

    #[test]
    fn what_can_not_be_read_is_told_by_name() {
        for (word, expected) in
            [("@/no/such/file", "can't read /no/such/file: No such file"), ("@/", "can't read /: is a dir")]
        {
            let error = Data::new(&[word.to_owned()], "&").err().expect("refused");
            assert!(error.to_string().starts_with(expected), "{error}");
        }
        assert!(Data::new(&["@-".to_owned(), "@-".to_owned()], "&").is_err());
    }
}
