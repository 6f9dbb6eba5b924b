//! Forms with files, as curl, our own client and hostile peers send them.

mod serving;

use std::fmt::Write as _;

use millstream_http::client::{Form, Part};
use millstream_http::extract::{MultipartLimits, Rejection};
use millstream_http::router::streamed;
use millstream_http::{Body, HttpClient, Request, Router};
use millstream_peers::curl::curl;
use millstream_peers::{Folder, RawConn, or_skip};
use serving::{Served, block_on};

/// One line a field: its name, file, type, length, and the sum of its bytes.
async fn list(mut request: Request) -> Result<String, Rejection> {
    let mut lines = String::new();
    let mut form = request.multipart()?;
    while let Some(mut field) = form.next_field().await? {
        let (mut size, mut sum) = (0, 0_u64);
        while let Some(piece) = field.chunk().await? {
            size += piece.len();
            sum += piece.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        }
        let (file, media) = (field.file_name().unwrap_or("-"), field.content_type().unwrap_or("-"));
        writeln!(lines, "{}|{file}|{media}|{size}|{sum}", field.name()).expect("memory");
    }
    Ok(lines)
}

/// With small limits: the second field in memory, after the first was passed over.
async fn limited(mut request: Request) -> Result<String, Rejection> {
    let mut limits = MultipartLimits::default();
    (limits.fields, limits.head_bytes, limits.memory_bytes, limits.field_bytes) = (3, 100, 10, 20);
    let mut form = request.multipart_within(limits)?;
    drop(form.next_field().await?);
    let mut texts = String::new();
    while let Some(mut field) = form.next_field().await? {
        if field.name() == "streamed" {
            while let Some(piece) = field.chunk().await? {
                writeln!(texts, "{}", piece.len()).expect("memory");
            }
        } else {
            writeln!(texts, "{}", field.text().await?).expect("memory");
        }
    }
    Ok(texts)
}

fn started() -> Served {
    Served::start(Router::new().post("/", streamed(list)).post("/limited", limited))
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

/// The answer to a form of this body, whose boundary is `b`.
fn answer(server: &Served, path: &str, body: &str) -> (u16, String) {
    let mut conn = server.connect();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\n");
    conn.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
    let response = conn.read_response("POST");
    (response.status, response.text().to_owned())
}

fn field(name: &str, data: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{data}\r\n")
}

#[test]
fn curl_sends_fields_and_binary_files() {
    let (server, folder) = (started(), Folder::new());
    // Line ends, quotes, boundaries of others, and every byte there is.
    let binary: Vec<u8> = (0..=255).cycle().take(300_000).chain(*b"\r\n--b\r\n--").collect();
    let path = folder.path().join("odd name.bin");
    std::fs::write(&path, &binary).expect("ours");
    folder.write("empty.txt", "");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let output = or_skip!(curl(&[
        "-F",
        "title=Holidays & more",
        "-F",
        &format!("photo=@{}", at("odd name.bin")),
        "-F",
        &format!("photo=@{};type=text/x-odd;filename=\"a\\\"b\"", at("empty.txt")),
        "-F",
        "last=x",
        &server.url("/"),
    ]))
    .succeeded();
    let lines: Vec<_> = output.stdout.lines().collect();
    assert_eq!(lines[0], format!("title|-|-|15|{}", sum(b"Holidays & more")));
    let expected = format!("photo|odd name.bin|application/octet-stream|300009|{}", sum(&binary));
    assert_eq!(lines[1], expected);
    // curl escaped a quote with a backslash, then as browsers do.
    assert!(["photo|a\"b|text/x-odd|0|0", "photo|a%22b|text/x-odd|0|0"].contains(&lines[2]), "{}", lines[2]);
    assert_eq!(lines[3..], [format!("last|-|-|1|{}", sum(b"x"))]);
}

#[test]
fn our_own_client_s_forms_are_read_in_pieces_of_any_size() {
    let server = started();
    let client = HttpClient::new(&server.engine);
    for size in [1, 7, 64, 1000] {
        let data = Body::from_fn({
            let mut left = 5000 / size;
            move || {
                left -= 1;
                std::future::ready((left > 0).then(|| Ok("\r\n--form-".repeat(size).into())))
            }
        });
        let expected = (5000 / size - 1) * size * "\r\n--form-".len();
        let form = Form::new().text("a", "ä").part("f", Part::body(data).with_file_name("x"));
        let text = block_on(async {
            client.post(server.url("/").as_str()).multipart(form).send().await.expect("a reply").text().await
        });
        let text = text.expect("text");
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(format!("a|-|-|2|{}", sum("ä".as_bytes())).as_str()));
        assert!(
            lines
                .next()
                .is_some_and(|line| line.starts_with("f|x|") && line.contains(&format!("|{expected}|"))),
            "{text}"
        );
    }
}

#[test]
fn connection_goes_on_behind_a_form() {
    let server = started();
    let mut conn = server.connect();
    for _ in 0..3 {
        let body = format!("{}--b--\r\n", field("a", "hi"));
        let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: Multipart/Form-Data;boundary=\"b\"\r\n";
        conn.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
        assert_eq!(conn.read_response("POST").text(), format!("a|-|-|2|{}\n", sum(b"hi")));
    }
}

#[test]
fn what_is_no_good_form_is_told_what_is_wrong() {
    let server = started();
    let (one, end) = (field("a", "hi"), "--b--\r\n");
    for (body, status, message) in [
        (format!("{one}{end}"), 200, ""),
        (one.clone(), 400, "form: cut off"),
        (one[..one.len() - 3].to_owned(), 400, "form: cut off"),
        ("--b\r\nContent-Dispo".to_owned(), 400, "form: cut off"),
        (String::new(), 400, "form: cut off"),
        ("hello".to_owned(), 400, "form: cut off"),
        (format!("--b\r\n\r\nhi\r\n{end}"), 400, "without a good Content-Disposition"),
        (format!("--b\r\nContent-Disposition: form-data\r\n\r\nhi\r\n{end}"), 400, "without a good"),
        (format!("--b\r\nContent-Disposition: form-data; x=y\r\n\r\nhi\r\n{end}"), 400, "without a name"),
        (format!("--b\r\nContent-Disposition: attachment; name=a\r\n\r\nhi\r\n{end}"), 400, "without a good"),
        (format!("--b\r\nno colon\r\n\r\nhi\r\n{end}"), 400, "malformed head"),
        (format!("{one}--bhi\r\n\r\n{end}"), 400, "malformed boundary"),
        (format!("--b\r\nX: {}\r\n\r\n{end}", "x".repeat(9000)), 431, "longer than 8192 bytes"),
        (format!("{}{end}", one.repeat(100)), 200, ""),
        (format!("{}{end}", one.repeat(101)), 413, "more than 100 fields"),
    ] {
        let (got, text) = answer(&server, "/", &body);
        assert_eq!(got, status, "{text} for {body:.100}");
        assert!(text.contains(message), "{text} for {body:.100}");
    }
}

#[test]
fn content_type_must_name_a_boundary() {
    let server = started();
    for (media, status, message) in [
        ("text/plain", 415, "must be multipart/form-data"),
        ("multipart/mixed; boundary=b", 415, "must be multipart/form-data"),
        ("multipart/form-data", 400, "names no boundary"),
        ("multipart/form-data; charset=utf-8", 400, "names no boundary"),
        ("multipart/form-data; boundary=", 400, "1 to 70"),
        ("multipart/form-data; boundary=b; boundary=c", 400, "malformed"),
        ("multipart/form-data; boundary=\"b", 400, "malformed"),
    ] {
        let mut conn = server.connect();
        conn.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {media}\r\nContent-Length: 7\r\n\r\n--b--\r\n"
        ));
        let response = conn.read_response("POST");
        assert_eq!(response.status, status, "{media}");
        assert!(response.text().contains(message), "{media}: {}", response.text());
    }
}

#[test]
fn limits_hold_at_below_and_above() {
    let server = started();
    let form = |fields: &[(&str, &str)]| {
        fields.iter().map(|(name, data)| field(name, data)).collect::<String>() + "--b--\r\n"
    };
    let long = "x".repeat(100_000);
    for (fields, status, text) in [
        // What is passed over has no limit but the body's.
        (&[("skipped", &*long), ("a", "0123456789")][..], 200, "0123456789\n"),
        (&[("s", ""), ("a", "01234567890")], 413, "form: a: more than 10 bytes\n"),
        (&[("s", ""), ("streamed", "01234567890123456789")], 200, "20\n"),
        (&[("s", ""), ("streamed", "012345678901234567890")], 413, "form: streamed: more than 20 bytes\n"),
        (&[("s", ""), ("b", ""), ("c", "")], 200, "\n\n"),
        (&[("s", ""), ("b", ""), ("c", ""), ("d", "")], 413, "form: more than 3 fields\n"),
        (&[("s", ""), (&long[..57], "")], 200, "\n"),
        (&[("s", ""), (&long[..58], "")], 431, "form: a field's head is longer than 100 bytes\n"),
    ] {
        let (got, answered) = answer(&server, "/limited", &form(fields));
        assert_eq!((got, &*answered), (status, text));
    }
}

#[test]
fn client_that_leaves_within_a_form_is_to_blame() {
    let server = started();
    let mut conn: RawConn = server.connect();
    conn.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 999\r\n\r\n");
    conn.send(field("a", "half")).half_close();
    let response = conn.read_response("POST");
    assert_eq!((response.status, response.text()), (400, "the client left within its request's body\n"));
}
