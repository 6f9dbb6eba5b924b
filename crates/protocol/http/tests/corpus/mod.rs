//! The smuggling corpus: bytes and what must become of them, for the codec and for whole servers and clients.
//!
//! A file is a list of cases. Lines beginning with `#` and empty lines are skipped.
//!
//! ```text
//! == name of the case
//! method: HEAD                        (responses only: what was asked; GET if left out)
//! expect: "body" "body" then open     (bodies of the messages accepted, then what becomes of the connection)
//! hyper: accepts                      (only where hyper differs from us: `accepts` or `rejects`)
//! "bytes" "more bytes" * 100          (all quoted parts together; \r \n \t \0 \\ \" \xNN; `* N` repeats one part)
//! ```
//!
//! `expect:` ends in `open` (ready for another message), `close` (nothing more is read), `wait` (more bytes are needed),
//! `until-close` (the body ended with the connection), `upgrade` (raw bytes from here on) or `reject STATUS`. For
//! responses, `reject` has no status. Without bodies before it, `then` is left out.

#![allow(dead_code, unreachable_pub, reason = "each test that mounts this module uses a part of it")]

pub mod drive;

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    /// The method that a response answers.
    pub method: http::Method,
    pub bytes: Vec<u8>,
    pub expected: Outcome,
    /// What hyper does where it differs.
    pub hyper: Option<Hyper>,
}

/// What becomes of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The bodies of the whole messages, in order.
    pub bodies: Vec<Vec<u8>>,
    pub end: End,
}

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Open,
    Close,
    Wait,
    UntilClose,
    Upgrade,
    Reject(u16),
}

/// What hyper does where it differs from us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hyper {
    Accepts,
    Rejects,
}

/// All cases for a server.
pub fn requests() -> Vec<Case> {
    parse(include_str!("requests.txt"))
}

/// All cases for a client.
pub fn responses() -> Vec<Case> {
    parse(include_str!("responses.txt"))
}

fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix("== ") {
            assert!(cases.iter().all(|case| case.name != name), "two cases named {name}");
            cases.push(Case::named(name));
            continue;
        }
        let case = cases.last_mut().expect("a case begins with ==");
        match line.split_once(": ") {
            _ if line.starts_with('"') => case.bytes.extend(bytes_of(line)),
            Some(("method", method)) => case.method = method.parse().expect("a method"),
            Some(("expect", expected)) => case.expected = outcome_of(expected),
            Some(("hyper", "accepts")) => case.hyper = Some(Hyper::Accepts),
            Some(("hyper", "rejects")) => case.hyper = Some(Hyper::Rejects),
            _ => panic!("{}: what is {line}?", case.name),
        }
    }
    assert!(cases.iter().all(|case| !case.bytes.is_empty()));
    cases
}

impl Case {
    fn named(name: &str) -> Self {
        let expected = Outcome { bodies: Vec::new(), end: End::Wait };
        Self { name: name.into(), method: http::Method::GET, bytes: Vec::new(), expected, hyper: None }
    }
}

/// `"body" "body" then end`, or `end`.
fn outcome_of(text: &str) -> Outcome {
    let (bodies, end) = text.rsplit_once("then ").unwrap_or(("", text));
    let end = match end.split_once(' ').unwrap_or((end, "502")) {
        ("open", _) => End::Open,
        ("close", _) => End::Close,
        ("wait", _) => End::Wait,
        ("until-close", _) => End::UntilClose,
        ("upgrade", _) => End::Upgrade,
        ("reject", status) => End::Reject(status.parse().expect("a status")),
        _ => panic!("what is {end}?"),
    };
    Outcome { bodies: quoted(bodies).map(|(body, _)| body).collect(), end }
}

fn bytes_of(line: &str) -> Vec<u8> {
    quoted(line).flat_map(|(bytes, times)| bytes.repeat(times)).collect()
}

/// The quoted parts of a line, and how often each stands.
fn quoted(mut line: &str) -> impl Iterator<Item = (Vec<u8>, usize)> {
    std::iter::from_fn(move || {
        let (part, rest) = unescape(line.trim_start().strip_prefix('"')?);
        let (times, rest) = match rest.trim_start().strip_prefix("* ") {
            Some(rest) => rest.split_at(rest.find(' ').unwrap_or(rest.len())),
            None => ("1", rest),
        };
        line = rest;
        Some((part, times.parse().expect("a count")))
    })
}

/// The bytes up to the closing quote, and what stands behind it.
fn unescape(text: &str) -> (Vec<u8>, &str) {
    let (mut bytes, mut at, raw) = (Vec::new(), 0, text.as_bytes());
    loop {
        let (byte, len) = match &raw[at..] {
            [b'"', ..] => return (bytes, &text[at + 1..]),
            [b'\\', b'r', ..] => (b'\r', 2),
            [b'\\', b'n', ..] => (b'\n', 2),
            [b'\\', b't', ..] => (b'\t', 2),
            [b'\\', b'0', ..] => (0, 2),
            [b'\\', b'x', ..] => (u8::from_str_radix(&text[at + 2..at + 4], 16).expect("two digits"), 4),
            [b'\\', other, ..] => (*other, 2),
            [other, ..] => (*other, 1),
            [] => panic!("no closing quote in {text}"),
        };
        bytes.push(byte);
        at += len;
    }
}
