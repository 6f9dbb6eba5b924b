//! From a question to a response: which file, which version, which part of it.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HeaderValue, LAST_MODIFIED, VARY, X_CONTENT_TYPE_OPTIONS,
};
use millstream_files::{CHUNK_BYTES, Chunk};
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Stat, fstat};
use rustix::io::Errno;

use super::body::{FileBody, Part};
use super::conditions::{Conditions, Validators, Verdict};
use super::kinds::content_type;
use super::parts;
use super::path::LocalPath;
use super::ranges::{self, Wanted};
use super::root::{Reach, Root};
use super::source::Source;
use super::{Options, listing};
use crate::compress::{Accepted, Coding, is_compressible};
use crate::{Body, Response};

/// What a request asks for, without the request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) path: LocalPath,
    pub(crate) is_head: bool,
    pub(crate) accepted: Accepted,
    pub(crate) conditions: Conditions,
}

/// What came out.
pub(crate) enum Answer {
    Response(Response),
    /// It is a folder, and was asked for without a slash at its end.
    AddSlash,
}

/// A file that was found.
pub(crate) struct Found {
    pub(crate) file: OwnedFd,
    pub(crate) stat: Stat,
    pub(crate) coding: Option<Coding>,
    pub(crate) content_type: &'static str,
}

/// Finds and answers.
///
/// # Errors
/// What stopped it; [`Errno::AGAIN`] when it needs a longer reach.
pub(crate) fn answer(root: &Root, options: &Options, ask: &Ask, reach: Reach) -> Result<Answer, Errno> {
    match answer_path(root, options, ask, reach) {
        Err(error) if is_absent(error) => match &options.fallback {
            Some(fallback) => {
                let found = find_file(root, options, fallback, ask.accepted, reach)?.ok_or(Errno::NOENT)?;
                respond(found, options, ask, reach).map(Answer::Response)
            }
            None => Err(error),
        },
        other => other,
    }
}

fn answer_path(root: &Root, options: &Options, ask: &Ask, reach: Reach) -> Result<Answer, Errno> {
    let path = &ask.path;
    if path.wants_directory {
        return answer_folder(root, options, ask, reach);
    }
    match find_file(root, options, &path.text, ask.accepted, reach)? {
        Some(found) => respond(found, options, ask, reach).map(Answer::Response),
        None => Ok(Answer::AddSlash),
    }
}

fn answer_folder(root: &Root, options: &Options, ask: &Ask, reach: Reach) -> Result<Answer, Errno> {
    let path = &ask.path.text;
    if let Some(index) = &options.index {
        let separator = if path.is_empty() { "" } else { "/" };
        match find_file(root, options, &format!("{path}{separator}{index}"), ask.accepted, reach) {
            Ok(Some(found)) => return respond(found, options, ask, reach).map(Answer::Response),
            Err(error) if !is_absent(error) => return Err(error),
            // A folder of that name is no index either.
            Ok(None) | Err(_) => {}
        }
    }
    if !options.lists {
        return Err(Errno::NOENT);
    }
    if reach == Reach::Memory {
        return Err(Errno::AGAIN);
    }
    let folder = root.file(path, reach)?;
    if FileType::from_raw_mode(fstat(&folder)?.st_mode) != FileType::Directory {
        return Err(Errno::NOTDIR);
    }
    let page = listing::page(root, folder, path, options.shows_dotfiles)?;
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    let response = Response::html(page).with_header(CONTENT_SECURITY_POLICY, policy);
    Ok(Answer::Response(response.with_header(X_CONTENT_TYPE_OPTIONS, NOSNIFF)))
}

/// The file at this path, or a compressed variant of it; `None` when it is a folder.
fn find_file(
    root: &Root,
    options: &Options,
    path: &str,
    accepted: Accepted,
    reach: Reach,
) -> Result<Option<Found>, Errno> {
    let file = root.file(path, reach)?;
    let stat = fstat(&file)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Ok(None),
        _ => return Err(Errno::NOENT),
    }
    let content_type = content_type(path);
    let mut found = Found { file, stat, coding: None, content_type };
    if options.precompressed && is_compressible(content_type) {
        for coding in accepted.ranked(SMALLEST_FIRST) {
            if let Some((file, stat)) = variant(root, path, coding, &found.stat, reach)? {
                found = Found { file, stat, coding: Some(coding), ..found };
                break;
            }
        }
    }
    Ok(Some(found))
}

/// The compressed file beside a file, unless it is older.
fn variant(
    root: &Root,
    path: &str,
    coding: Coding,
    of: &Stat,
    reach: Reach,
) -> Result<Option<(OwnedFd, Stat)>, Errno> {
    let extension = match coding {
        Coding::Brotli => "br",
        Coding::Zstd => "zst",
        Coding::Gzip => "gz",
    };
    let file = match root.file(&format!("{path}.{extension}"), reach) {
        Ok(file) => file,
        Err(Errno::AGAIN) if reach == Reach::Memory => return Err(Errno::AGAIN),
        // Whatever is wrong with it: the file itself is there.
        Err(_) => return Ok(None),
    };
    let stat = fstat(&file)?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let is_fresh = (stat.st_mtime, stat.st_mtime_nsec) >= (of.st_mtime, of.st_mtime_nsec);
    Ok((is_file && is_fresh).then_some((file, stat)))
}

/// The response for a file that was found.
pub(crate) fn respond(found: Found, options: &Options, ask: &Ask, reach: Reach) -> Result<Response, Errno> {
    let validators = validators(&found.stat);
    let varies = options.precompressed && is_compressible(found.content_type);
    match ask.conditions.check(&validators) {
        Verdict::Send => {}
        Verdict::NotModified => {
            return Ok(describe(Response::new(StatusCode::NOT_MODIFIED), &validators, varies, options));
        }
        Verdict::Failed => return Ok(Response::new(StatusCode::PRECONDITION_FAILED)),
    }
    let length = u64::try_from(found.stat.st_size).unwrap_or(0);
    let range = ask.conditions.range.as_deref().filter(|_| !ask.is_head);
    let wanted = match range {
        Some(range) if ask.conditions.range_holds(&validators, SystemTime::now()) => {
            ranges::parse(range, length)
        }
        _ => Wanted::Whole,
    };
    let response = match wanted {
        Wanted::Unsatisfiable => return Ok(unsatisfiable(length)),
        Wanted::Whole if ask.is_head => {
            let response = Response::new(StatusCode::OK).with_header(CONTENT_LENGTH, length.into());
            response.with_header(CONTENT_TYPE, HeaderValue::from_static(found.content_type))
        }
        Wanted::Whole => whole(found.file, found.content_type, length, reach)?,
        Wanted::Parts(parts) => parts::partial(found.file, found.content_type, length, &parts),
    };
    let mut response = describe(response, &validators, varies, options);
    response.headers_mut().append(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response.headers_mut().append(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    if let Some(coding) = found.coding {
        response.headers_mut().append(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
    Ok(response)
}

/// 200 with all of the file: read at once when it is small.
fn whole(file: OwnedFd, content_type: &'static str, length: u64, reach: Reach) -> Result<Response, Errno> {
    let source = Source::new(file);
    let body = match usize::try_from(length) {
        Ok(bytes) if bytes <= SMALL_BYTES => {
            let mut chunk = Chunk::take(bytes);
            if source.read(chunk.as_mut(), 0, reach)? < bytes {
                // Not all of it is in memory; or it has just become shorter, which a second look finds out.
                return Err(if reach == Reach::Memory { Errno::AGAIN } else { Errno::IO });
            }
            Body::from(chunk.into_bytes(bytes))
        }
        _ => Body::stream(FileBody::new(source, [Part::Range { start: 0, length }])),
    };
    Ok(Response::bytes(body).with_header(CONTENT_TYPE, HeaderValue::from_static(content_type)))
}

fn unsatisfiable(length: u64) -> Response {
    let range = HeaderValue::try_from(format!("bytes */{length}")).expect("digits and ASCII");
    Response::new(StatusCode::RANGE_NOT_SATISFIABLE).with_header(CONTENT_RANGE, range)
}

/// With the fields that 200, 206 and 304 have in common.
fn describe(mut response: Response, validators: &Validators, varies: bool, options: &Options) -> Response {
    let headers = response.headers_mut();
    headers.append(ETAG, HeaderValue::try_from(&validators.etag).expect("hexadecimal digits and quotes"));
    if let Some(modified) = validators.modified {
        let date = httpdate::fmt_http_date(modified);
        headers.append(LAST_MODIFIED, HeaderValue::try_from(date).expect("a date is ASCII"));
    }
    if varies {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    if let Some(value) = &options.cache_control {
        headers.append(CACHE_CONTROL, value.clone());
    }
    response
}

/// The tag changes with the time of change, the length, and the file behind the name (what replaces a file is another).
fn validators(stat: &Stat) -> Validators {
    let mut hash = 0u64;
    for number in [stat.st_mtime as u64, stat.st_mtime_nsec, stat.st_size as u64, stat.st_ino, stat.st_dev] {
        hash = mix(hash ^ number);
    }
    let seconds = u64::try_from(stat.st_mtime).ok();
    let modified =
        seconds.and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    // A date in the future must not be sent (RFC 9110 §8.8.2.1); the tag alone tells versions apart then.
    let modified = modified.filter(|modified| *modified <= SystemTime::now());
    Validators { etag: format!("\"{hash:016x}\""), modified }
}

/// The finalizer of SplitMix64: every bit of the number reaches every bit of the hash.
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Errors that mean that nothing is served under this name. `XDEV` is the kernel's word for a way out of the root.
pub(crate) fn is_absent(error: Errno) -> bool {
    matches!(
        error,
        Errno::NOENT
            | Errno::NOTDIR
            | Errno::NAMETOOLONG
            | Errno::LOOP
            | Errno::XDEV
            | Errno::NXIO
            | Errno::NODEV
    )
}

/// What is said when nothing can be sent.
pub(crate) fn refuse(error: Errno) -> Response {
    let status = match error {
        error if is_absent(error) => StatusCode::NOT_FOUND,
        Errno::ACCESS | Errno::PERM => StatusCode::FORBIDDEN,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    if status.is_server_error() {
        tracing::warn!(%error, "a file can't be served");
    }
    let reason = status.canonical_reason().unwrap_or_default().to_ascii_lowercase();
    Response::text(format!("{reason}\n")).with_status(status)
}

/// A file up to this size is read before the response begins: one piece, one write.
const SMALL_BYTES: usize = 64 * 1024;
const _: () = assert!(SMALL_BYTES <= CHUNK_BYTES);
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
/// What was compressed once may take its time: then brotli is the smallest.
const SMALLEST_FIRST: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];
