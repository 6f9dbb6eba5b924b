//! How to go on with a part: what of it is there, and which version of the resource it belongs to.
//!
//! Beside `x.part` lies `x.part.from`: the URL on one line, a validator on the next. Without it a part can't be trusted: the
//! resource may have changed since.

use std::io;
use std::path::PathBuf;

use millstream::Result;
use millstream::http::Url;
use millstream::http::client::Response;

use super::plan::NOTE;
use super::sink::{self, Draft, with_end};

/// A part that may be continued.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) size: u64,
    /// A strong ETag, or a Last-Modified that is as good: what If-Range takes.
    pub(crate) validator: String,
}

fn note(draft: &Draft) -> PathBuf {
    with_end(&draft.whole, NOTE)
}

/// What an earlier try left behind for this URL.
pub(crate) fn find(draft: &Draft, url: &Url) -> Option<Part> {
    let size = std::fs::symlink_metadata(&draft.part).ok().filter(|part| part.is_file())?.len();
    let text = std::fs::read_to_string(note(draft)).ok()?;
    let (of, validator) = text.trim_end().split_once('\n')?;
    (size > 0 && of == url.to_string()).then(|| Part { size, validator: validator.to_owned() })
}

/// Notes what a later try needs; says whether there is anything to note.
pub(crate) fn remember(draft: &Draft, url: &Url, response: &Response) -> Result<bool> {
    let validator = validator(response).filter(|_| draft.part != draft.whole);
    let Some(validator) = validator else { return forget(draft).map(|()| false) };
    let note = note(draft);
    std::fs::write(&note, format!("{url}\n{validator}\n")).map_err(|error| sink::failed(error, &note))?;
    Ok(true)
}

/// Is there something to go on with?
pub(crate) fn is_remembered(draft: &Draft) -> bool {
    note(draft).exists()
}

/// Removes the note.
pub(crate) fn forget(draft: &Draft) -> Result<()> {
    if draft.part == draft.whole {
        return Ok(());
    }
    let note = note(draft);
    match std::fs::remove_file(&note) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(sink::failed(error, &note)),
        _ => Ok(()),
    }
}

/// What names this version of the resource byte for byte (RFC 9110 §8.8.1, §13.1.5).
fn validator(response: &Response) -> Option<String> {
    let etag = response.header("etag").filter(|etag| etag.starts_with('"'));
    // Changed in the second in which it was sent: it may change once more in that second.
    let modified = response
        .header("last-modified")
        .filter(|moment| response.header("date").is_some_and(|now| now != *moment));
    etag.or(modified).map(str::to_owned)
}

/// Where the bytes of a 206 begin, and how long the whole is: `bytes 5-9/10`.
pub(crate) fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, whole) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _last) = range.split_once('-')?;
    Some((first.parse().ok()?, whole.parse().ok()))
}

/// How long the whole is, as a 416 says: `bytes */10`.
pub(crate) fn whole_length(value: &str) -> Option<u64> {
    value.strip_prefix("bytes */")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(whole_length("bytes */10"), Some(10));
        for bad in ["", "5-9/10", "bytes 5", "bytes x-9/10", "bytes */10"] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
