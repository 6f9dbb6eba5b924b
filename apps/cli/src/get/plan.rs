//! Which URL goes where: names made of URLs, safe to write to, no two the same.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use millstream::http::Url;
use millstream::{Error, Result};

/// One URL and where its body goes.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) url: Url,
    pub(crate) place: Place,
}

/// Where a body goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Stdout,
    File(PathBuf),
}

/// Decides for all URLs.
///
/// # Errors
/// When several bodies would go to one file.
pub(crate) fn plan(urls: &[Url], output: Option<&Path>) -> Result<Vec<Job>> {
    let job = |place: Place| move |url: &Url| Job { url: url.clone(), place: place.clone() };
    let to_stdout = output == Some(Path::new("-")) || (output.is_none() && urls.len() == 1);
    if to_stdout {
        return Ok(urls.iter().map(job(Place::Stdout)).collect());
    }
    let folder = match output {
        None => PathBuf::new(),
        Some(folder) if folder.is_dir() => folder.to_owned(),
        Some(file) if urls.len() == 1 => {
            return Ok(urls.iter().map(job(Place::File(file.to_owned()))).collect());
        }
        Some(file) => {
            let why = format!(
                "--output {} is no folder: {} bodies don't go into one file",
                file.display(),
                urls.len()
            );
            return Err(Error::invalid(why));
        }
    };
    let mut taken = HashSet::new();
    let named = urls.iter().map(|url| {
        let name = free_name(&file_name(url), &mut taken);
        Job { url: url.clone(), place: Place::File(folder.join(name)) }
    });
    Ok(named.collect())
}

/// The end of what a body that is not whole yet is called.
pub(crate) const PART: &str = ".part";
/// The end of what says how to go on with a part.
pub(crate) const NOTE: &str = ".part.from";

/// `name`, or `name.2` and so on when it is taken; neither it nor its part is that of another.
fn free_name(name: &str, taken: &mut HashSet<String>) -> String {
    let with = |number: u32| if number == 1 { name.to_owned() } else { format!("{name}.{number}") };
    let names = |name: &str| [name.to_owned(), format!("{name}{PART}"), format!("{name}{NOTE}")];
    let free = (1..).map(with).find(|name| names(name).iter().all(|name| !taken.contains(name)));
    let free = free.expect("there are more numbers than URLs");
    taken.extend(names(&free));
    free
}

/// The last part of a URL's path as the name of a file: decoded, without what could lead elsewhere or hide it.
///
/// It is the URL that was asked for: where a redirect leads does not choose the name.
fn file_name(url: &Url) -> String {
    let segment = url.path().rsplit('/').next().unwrap_or_default();
    let decoded = String::from_utf8_lossy(&percent_decoded(segment)).into_owned();
    let is_odd = |letter: char| letter.is_control() || matches!(letter, '/' | '\\' | '\u{fffd}');
    let mut name: String = decoded.chars().map(|letter| if is_odd(letter) { '_' } else { letter }).collect();
    if name.starts_with('.') || name.starts_with('-') {
        name.insert(0, '_');
    }
    while name.len() > NAME_BYTES {
        name.pop();
    }
    if name.is_empty() { "index.html".to_owned() } else { name }
}

/// File systems take 255 bytes; this leaves room for a number and the ends above.
const NAME_BYTES: usize = 230;

fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes[at..].strip_prefix(b"%").and_then(|rest| rest.get(..2));
        let byte = escape
            .and_then(|two| std::str::from_utf8(two).ok())
            .and_then(|two| u8::from_str_radix(two, 16).ok());
        decoded.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(url: &str) -> String {
        file_name(&url.parse().expect("a URL"))
    }

    fn names(urls: &[&str], output: Option<&str>) -> Vec<String> {
        let urls: Vec<Url> = urls.iter().map(|url| url.parse().expect("a URL")).collect();
        let jobs = plan(&urls, output.map(Path::new)).expect("a plan");
        let place = |job: Job| match job.place {
            Place::Stdout => "-".to_owned(),
            Place::File(path) => path.to_str().expect("text").to_owned(),
        };
        jobs.into_iter().map(place).collect()
    }

    #[test]
    fn name_is_the_last_part_of_the_path() {
        assert_eq!(name("http://a/x/data.tar.gz?y=/z#w"), "data.tar.gz");
        assert_eq!(name("http://a/"), "index.html");
        assert_eq!(name("http://a/folder/"), "index.html");
        assert_eq!(name("http://a/a%20b%C3%BC"), "a bü");
        assert_eq!(name("http://a/100%"), "100%");
    }

    #[test]
    fn name_leads_nowhere_else_and_hides_nothing() {
        assert_eq!(name("http://a/..%2F..%2Fetc%2Fpasswd"), "_.._.._etc_passwd");
        assert_eq!(name("http://a/%2e%2e%2f"), "_.._");
        assert_eq!(name("http://a/.bashrc"), "_.bashrc");
        assert_eq!(name("http://a/-rf"), "_-rf");
        assert_eq!(name("http://a/a%00b%0Ac%5Cd"), "a_b_c_d");
        assert_eq!(name("http://a/%ff"), "_");
        assert!(name(&format!("http://a/{}", "%C3%BC".repeat(300))).len() <= NAME_BYTES);
    }

    #[test]
    fn no_two_bodies_go_to_one_file() {
        let urls = [
            "http://a/x",
            "http://b/x",
            "http://c/x.part",
            "http://d/x.2",
            "http://e/y.part.from",
            "http://f/y",
        ];
        let names = names(&urls, None);
        assert_eq!(names, ["x", "x.2", "x.part.2", "x.2.2", "y.part.from", "y.2"]);
        let all: HashSet<_> = names.iter().flat_map(|name| [name.clone(), format!("{name}{PART}")]).collect();
        assert_eq!(all.len(), 2 * names.len());
    }

    #[test]
    fn one_goes_to_standard_output_several_to_files() {
        assert_eq!(names(&["http://a/x"], None), ["-"]);
        assert_eq!(names(&["http://a/x"], Some("out")), ["out"]);
        assert_eq!(names(&["http://a/x", "http://a/y"], Some("-")), ["-", "-"]);
        assert_eq!(names(&["http://a/x"], Some("/")), ["/x"]);
        let urls: Vec<Url> = ["http://a/x", "http://a/y"].map(|url| url.parse().expect("a URL")).into();
        let error = plan(&urls, Some(Path::new("/no/such/folder"))).expect_err("two into one").to_string();
        assert!(error.contains("is no folder: 2 bodies"), "{error}");
    }
}
