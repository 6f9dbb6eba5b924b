//! Forms with files, read back by a parser that shares nothing with the writer.

mod serving;

use std::time::Duration;

use bytes::Bytes;
use millstream_base::{Kind, Result};
use millstream_http::client::{Form, Part};
use millstream_http::{Body, HttpClient, Request, Response, StatusCode, header};
use millstream_peers::{Folder, Gate};
use serving::{Served, block_on};

/// Far more than opening takes.
const AT_ONCE: Duration = Duration::from_secs(5);

/// One part as a server reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Read {
    name: String,
    file_name: Option<String>,
    content_type: Option<String>,
    data: Vec<u8>,
}

/// RFC 7578 and RFC 2046 §5.1, by hand: `--boundary CRLF head CRLF CRLF data CRLF`, again and again, then
/// `--boundary--`.
fn parse(content_type: &str, mut body: &[u8]) -> Vec<Read> {
    let boundary = content_type.strip_prefix("multipart/form-data; boundary=").expect("a form");
    assert!((1..=70).contains(&boundary.len()), "RFC 2046 allows 70 characters: {boundary}");
    assert!(boundary.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{boundary}");
    let (line, delimiter) = (format!("--{boundary}"), format!("\r\n--{boundary}"));
    let mut parts = Vec::new();
    body = body.strip_prefix(line.as_bytes()).expect("begins with a boundary");
    loop {
        if let Some(rest) = body.strip_prefix(b"--") {
            assert_eq!(rest, b"\r\n", "nothing follows the last boundary");
            return parts;
        }
        body = body.strip_prefix(b"\r\n").expect("a boundary ends its line");
        let (head, rest) = split(body, b"\r\n\r\n").expect("a head ends");
        let (data, rest) = split(rest, delimiter.as_bytes()).expect("a part ends");
        parts.push(parse_part(std::str::from_utf8(head).expect("UTF-8"), data));
        body = rest;
    }
}

fn split<'a>(bytes: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let found = bytes.windows(at.len()).position(|window| window == at)?;
    Some((&bytes[..found], &bytes[found + at.len()..]))
}

fn parse_part(head: &str, data: &[u8]) -> Read {
    let mut part = Read { data: data.to_vec(), ..Read::default() };
    for line in head.split("\r\n") {
        assert!(!line.contains(['\r', '\n']), "a bare CR or LF in {head:?}");
        let (name, value) = line.split_once(": ").expect("a field");
        match name {
            "Content-Type" => part.content_type = Some(value.to_owned()),
            "Content-Disposition" => {
                let mut rest = value.strip_prefix("form-data").expect("of a form");
                while let Some(parameter) = rest.strip_prefix("; ") {
                    let (name, quoted) = parameter.split_once("=\"").expect("quoted");
                    let (text, after) = quoted.split_once('"').expect("the quotes end");
                    match name {
                        "name" => part.name = text.to_owned(),
                        "filename" => part.file_name = Some(text.to_owned()),
                        other => panic!("parameter {other}"),
                    }
                    rest = after;
                }
                assert_eq!(rest, "", "text behind the parameters");
            }
            other => panic!("field {other}"),
        }
    }
    part
}

fn read(name: &str, file_name: Option<&str>, content_type: Option<&str>, data: impl AsRef<[u8]>) -> Read {
    let (file_name, content_type) = (file_name.map(str::to_owned), content_type.map(str::to_owned));
    Read { name: name.to_owned(), file_name, content_type, data: data.as_ref().to_vec() }
}

/// Gives the body back, and in fields of its own how it was framed.
async fn mirror(mut request: Request) -> millstream_base::Result<Response> {
    if request.path() == "/moved" {
        let status = StatusCode::TEMPORARY_REDIRECT;
        let there = header::HeaderValue::from_static("/");
        return Ok(Response::new(status).with_header(header::LOCATION, there));
    }
    let shown = |name: &str| {
        let text = request.header(name).unwrap_or("none");
        header::HeaderValue::try_from(text).expect("one line")
    };
    let fields =
        [("x-type", "content-type"), ("x-length", "content-length"), ("x-coding", "transfer-encoding")]
            .map(|(to, from)| (header::HeaderName::from_static(to), shown(from)));
    let mut response = Response::bytes(request.bytes().await?);
    response.headers_mut().extend(fields);
    Ok(response)
}

/// What a server made of a form.
struct Seen {
    parts: Vec<Read>,
    length: Option<usize>,
    is_chunked: bool,
    bytes: Bytes,
}

async fn post(client: &HttpClient, url: String, form: Form) -> Result<Seen> {
    let reply = client.post(url).multipart(form).send().await?.error_for_status()?;
    let of = |name: &str| reply.header(name).expect("the server says it").to_owned();
    let (content_type, length, is_chunked) =
        (of("x-type"), of("x-length").parse().ok(), of("x-coding") == "chunked");
    let bytes = reply.bytes().await?;
    Ok(Seen { parts: parse(&content_type, &bytes), length, is_chunked, bytes })
}

struct World {
    server: Served,
    client: HttpClient,
}

impl World {
    fn new() -> Self {
        let server = Served::start(mirror);
        let client =
            HttpClient::builder().without_proxies().build(&server.engine).expect("settings make sense");
        Self { server, client }
    }

    async fn post(&self, form: Form) -> Result<Seen> {
        post(&self.client, self.server.url("/"), form).await
    }
}

/// A body that does not know its length.
fn stream(pieces: &'static [&'static str]) -> Body {
    let mut pieces = pieces.iter();
    Body::from_fn(move || {
        std::future::ready(pieces.next().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))))
    })
}

#[test]
fn parts_arrive_as_they_were_given_with_the_length_announced() {
    let world = World::new();
    let binary: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let photo = Part::bytes(binary.clone()).with_file_name("beach.jpg");
    let form = Form::new()
        .text("title", "Holidays")
        .text("empty", "")
        .text("lines", "one\r\n\r\n--two--\r\nthree\n")
        .part("photo", photo.with_content_type("image/jpeg").expect("a type"))
        .text("title", "again");
    let seen = block_on(world.post(form)).expect("answered");
    let expected = [
        read("title", None, None, "Holidays"),
        read("empty", None, None, ""),
        read("lines", None, None, "one\r\n\r\n--two--\r\nthree\n"),
        read("photo", Some("beach.jpg"), Some("image/jpeg"), binary),
        read("title", None, None, "again"),
    ];
    assert!(seen.parts == expected, "{:?}", seen.parts.iter().map(|part| &part.name).collect::<Vec<_>>());
    assert_eq!((seen.length, seen.is_chunked), (Some(seen.bytes.len()), false));
}

#[test]
fn part_of_unknown_length_makes_the_form_chunked() {
    let world = World::new();
    let form = Form::new()
        .text("a", "1")
        .part("s", Part::body(stream(&["over ", "", "several ", "pieces"])).with_file_name("s.txt"))
        .part("t", Part::body(stream(&[])))
        .text("b", "2");
    let seen = block_on(world.post(form)).expect("answered");
    let expected = [
        read("a", None, None, "1"),
        read("s", Some("s.txt"), None, "over several pieces"),
        read("t", None, None, ""),
        read("b", None, None, "2"),
    ];
    assert_eq!((&seen.parts[..], seen.length, seen.is_chunked), (&expected[..], None, true));
}

#[test]
fn form_without_parts_is_a_form() {
    let seen = block_on(World::new().post(Form::new())).expect("answered");
    assert_eq!((seen.parts.len(), seen.length), (0, Some(seen.bytes.len())));
}

#[test]
fn no_name_ends_its_quotes_or_its_line() {
    let world = World::new();
    for (given, sent) in [
        ("plain", "plain"),
        ("a\"b", "a%22b"),
        ("a\r\nX-Evil: 1", "a%0D%0AX-Evil: 1"),
        ("a\r\n\r\nbody", "a%0D%0A%0D%0Abody"),
        ("\"; filename=\"evil", "%22; filename=%22evil"),
        ("back\\slash", "back\\slash"),
        ("back\\\"quote", "back\\%22quote"),
        ("per%22cent", "per%22cent"),
        ("naïve ☃", "naïve ☃"),
        ("../../etc/passwd", "../../etc/passwd"),
        ("", ""),
    ] {
        let form = Form::new().part(given, Part::bytes("x").with_file_name(given));
        let seen = block_on(world.post(form)).expect("answered");
        assert_eq!(seen.parts, [read(sent, Some(sent), None, "x")], "{given:?}");
    }
}

#[test]
fn content_type_that_no_field_can_hold_is_refused() {
    for bad in ["text/plain\r\nX-Evil: 1", "a\nb", "a\0b"] {
        let error = Part::bytes("x").with_content_type(bad).expect_err("refused");
        assert_eq!(error.kind(), Kind::Invalid, "{bad:?}");
    }
}

#[test]
fn form_takes_the_place_of_a_content_type_set_before() {
    let world = World::new();
    let request = world.client.post(world.server.url("/")).header("content-type", "text/plain");
    let reply = block_on(request.multipart(Form::new().text("a", "1")).send()).expect("answered");
    assert!(reply.header("x-type").is_some_and(|text| text.starts_with("multipart/form-data; boundary=")));
}

#[test]
fn file_is_sent_under_its_name_with_its_length() {
    let (world, folder) = (World::new(), Folder::new());
    // More than one read of it.
    let data: Vec<u8> = (0..=250).cycle().take(700_001).collect();
    let (path, empty) = (folder.write("data.bin", &data), folder.write("empty", ""));
    let seen = block_on(async {
        let (file, none) = (Part::file(&world.client, path).await?, Part::file(&world.client, empty).await?);
        let named = none.with_file_name("other.txt").with_content_type("text/plain")?;
        world.post(Form::new().text("a", "1").part("f", file).part("e", named)).await
    });
    let seen = seen.expect("answered");
    let expected = [
        read("a", None, None, "1"),
        read("f", Some("data.bin"), Some("application/octet-stream"), data),
        read("e", Some("other.txt"), Some("text/plain"), ""),
    ];
    assert!(seen.parts == expected);
    assert_eq!((seen.length, seen.is_chunked), (Some(seen.bytes.len()), false));
}

#[test]
fn what_is_no_file_is_refused_by_its_name() {
    let (world, folder) = (World::new(), Folder::new());
    for path in [folder.path().join("missing"), folder.path().to_owned()] {
        let error = block_on(Part::file(&world.client, &path)).expect_err("no file");
        assert_eq!(error.target(), path.to_str(), "{error}");
    }
}

#[test]
fn fifo_that_nobody_writes_to_is_refused_at_once() {
    let (world, folder) = (World::new(), Folder::new());
    let path = folder.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(0o600)).expect("made");
    let opened = block_on(async { tokio::time::timeout(AT_ONCE, Part::file(&world.client, &path)).await });
    if opened.is_err() {
        // The thread that hangs in there would hang this test too.
        std::fs::OpenOptions::new().write(true).open(&path).expect("lets the reader go");
    }
    let error = opened.expect("not in time").expect_err("no regular file");
    assert_eq!((error.kind(), error.target()), (Kind::Io, path.to_str()), "{error}");
}

#[test]
fn file_that_shrinks_is_an_error_and_never_a_shorter_form() {
    let (world, folder) = (World::new(), Folder::new());
    let path = folder.write("data.bin", vec![b'x'; 600_000]);
    let error = block_on(async {
        let file = Part::file(&world.client, &path).await.expect("it is there");
        std::fs::write(&path, "short").expect("it can be written");
        world.post(Form::new().part("f", file)).await.err()
    });
    assert_eq!(error.expect("not whole").kind(), Kind::Io);
}

#[test]
fn form_in_memory_follows_a_redirect_and_a_stream_can_not() {
    let world = World::new();
    let moved = || world.server.url("/moved");
    let seen = block_on(post(&world.client, moved(), Form::new().text("a", "1"))).expect("sent again");
    assert_eq!(seen.parts, [read("a", None, None, "1")]);
    let form = Form::new().part("s", Part::body(stream(&["once"])));
    let error = block_on(post(&world.client, moved(), form)).err().expect("gone");
    assert_eq!(error.kind(), Kind::Policy, "{error}");
}

#[test]
fn part_is_on_its_way_before_the_next_one_is_made() {
    let arrived = Gate::new();
    let server = Served::start({
        let arrived = arrived.clone();
        move |mut request: Request| {
            let arrived = arrived.clone();
            async move {
                let mut body = request.take_body();
                let mut whole = Vec::new();
                while let Some(piece) = body.chunk().await {
                    whole.extend_from_slice(&piece?);
                    if split(&whole, b"early").is_some() {
                        arrived.open();
                    }
                }
                Ok::<_, millstream_base::Error>(whole)
            }
        }
    });
    let client = HttpClient::builder().without_proxies().build(&server.engine).expect("settings make sense");
    let mut step = 0;
    let late = Body::from_fn(move || {
        let arrived = arrived.clone();
        step += 1;
        async move {
            arrived.passed().await;
            (step == 1).then(|| Ok(Bytes::from_static(b"late")))
        }
    });
    let form = Form::new().part("one", Part::body(stream(&["early"]))).part("two", Part::body(late));
    let reply = block_on(async { client.post(server.url("/")).multipart(form).send().await?.bytes().await });
    let whole = reply.expect("answered");
    assert!(split(&whole, b"early").is_some_and(|(_, rest)| split(rest, b"late").is_some()));
}

#[test]
fn part_that_fails_breaks_the_form_off() {
    let world = World::new();
    let mut step = 0;
    let failing = Body::from_fn(move || {
        step += 1;
        let broken = millstream_base::Error::invalid("no more of it");
        std::future::ready(Some(if step == 1 { Ok(Bytes::from_static(b"some")) } else { Err(broken) }))
    });
    let form = Form::new().part("f", Part::body(failing)).text("a", "1");
    assert!(block_on(world.post(form)).is_err());
}
