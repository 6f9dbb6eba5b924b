//! A folder as a page: readable without scripts, in the dark too.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, FileType, Stat, fstat, statat};
use rustix::io::Errno;

use super::path::is_served_name;
use super::root::Root;

/// Entries on a page at most: 10,000 make about 2 MiB of HTML, more helps nobody.
const MOST_ENTRIES: usize = 10_000;

/// What a segment of a link may hold as it is (RFC 3986 `unreserved`).
pub(crate) const SEGMENT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One line of a listing.
#[derive(Debug)]
struct Entry {
    name: String,
    is_directory: bool,
    bytes: u64,
    modified: SystemTime,
}

/// The page of the open folder at `path` below the root.
pub(crate) fn page(root: &Root, folder: OwnedFd, path: &str, shows_dotfiles: bool) -> Result<String, Errno> {
    let (mut entries, is_cut) = read(root, folder, path, shows_dotfiles)?;
    entries.sort_by_cached_key(|entry| (!entry.is_directory, entry.name.to_lowercase(), entry.name.clone()));
    Ok(render(path, &entries, is_cut))
}

fn read(root: &Root, folder: OwnedFd, path: &str, shows_dotfiles: bool) -> Result<(Vec<Entry>, bool), Errno> {
    let mut directory = Dir::read_from(&folder)?;
    let mut entries = Vec::new();
    while let Some(found) = directory.read() {
        let found = found?;
        // What can't be asked for is not shown: names that are no text, dotfiles, the folder itself.
        let Ok(name) = found.file_name().to_str() else { continue };
        if !is_served_name(name, shows_dotfiles) {
            continue;
        }
        if entries.len() >= MOST_ENTRIES {
            return Ok((entries, true));
        }
        // A file may have vanished meanwhile, and a link may lead out: then there is nothing to show.
        let Ok(stat) = stat(root, &folder, path, name) else { continue };
        entries.extend(entry(name, &stat));
    }
    Ok((entries, false))
}

fn stat(root: &Root, folder: &OwnedFd, path: &str, name: &str) -> Result<Stat, Errno> {
    let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        return Ok(stat);
    }
    let separator = if path.is_empty() { "" } else { "/" };
    fstat(root.entry(&format!("{path}{separator}{name}"))?)
}

fn entry(name: &str, stat: &Stat) -> Option<Entry> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    if !matches!(kind, FileType::RegularFile | FileType::Directory) {
        return None;
    }
    let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
    Some(Entry {
        name: name.to_owned(),
        is_directory: kind == FileType::Directory,
        bytes: u64::try_from(stat.st_size).unwrap_or(0),
        modified: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(LAST_SECOND)),
    })
}

fn render(path: &str, entries: &[Entry], is_cut: bool) -> String {
    let title = escape(&format!("/{path}"));
    let mut page = String::with_capacity(1024 + entries.len() * 160);
    page.push_str("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width\">");
    let _ = write!(page, "<title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1><table>");
    page.push_str("<thead><tr><th>Name</th><th>Size</th><th>Modified (UTC)</th></tr></thead><tbody>\n");
    if !path.is_empty() {
        page.push_str("<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n");
    }
    for entry in entries {
        row(&mut page, entry);
    }
    page.push_str("</tbody></table>");
    if is_cut {
        let _ = write!(page, "<p>Only {MOST_ENTRIES} entries are shown.</p>");
    }
    page.push_str("</body></html>\n");
    page
}

fn row(page: &mut String, entry: &Entry) {
    let slash = if entry.is_directory { "/" } else { "" };
    let size = if entry.is_directory { String::new() } else { size(entry.bytes) };
    let (link, name) = (utf8_percent_encode(&entry.name, &SEGMENT), escape(&entry.name));
    let date = date(entry.modified);
    let _ = writeln!(
        page,
        "<tr><td><a href=\"./{link}{slash}\">{name}{slash}</a></td><td>{size}</td><td>{date}</td></tr>"
    );
}

/// Text that can stand in HTML, also within an attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // A line break or an escape code in a name must not change the page.
            other if other.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// `1.5 MiB`.
#[allow(clippy::cast_precision_loss)] // two digits are shown
fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = 0;
    // As it is printed, 1023.95 would be 1024.0.
    while amount >= 1023.95 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// `06 Nov 1994 08:49`, cut out of `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date(moment: SystemTime) -> String {
    httpdate::fmt_http_date(moment).get(5..22).unwrap_or_default().to_owned()
}

/// 9999-12-31 23:59:59, the last that a date of HTTP can say.
const LAST_SECOND: u64 = 253_402_300_799;

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.2rem;overflow-wrap:anywhere}table{border-collapse:collapse;width:100%}\
th{text-align:left;border-bottom:1px solid #8888}td,th{padding:.2rem .6rem}\
td:nth-child(n+2),th:nth-child(n+2){text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\
td:first-child{overflow-wrap:anywhere}tr:hover td{background:#8882}a{text-decoration:none}a:hover{text-decoration:underline}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn names_are_escaped_in_text_and_link() {
        let entry = Entry {
            name: "<a href=\"x\">&'\n %#?".to_owned(),
            is_directory: false,
            bytes: 3,
            modified: SystemTime::UNIX_EPOCH,
        };
        let page = render("x<y", &[entry], false);
        assert!(page.contains("<h1>/x&lt;y</h1>"));
        assert!(page.contains("&lt;a href=&quot;x&quot;&gt;&amp;&#39;\u{fffd} %#?</a>"));
        assert!(page.contains("href=\"./%3Ca%20href%3D%22x%22%3E%26%27%0A%20%25%23%3F\""));
        assert!(page.contains("<td>3 B</td><td>01 Jan 1970 00:00</td>"));
    }
}
