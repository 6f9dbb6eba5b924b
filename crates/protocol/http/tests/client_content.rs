//! What a program gives and gets: cookies, forms and files, text, JSON, upgrades.

mod client_world;

use client_world::{World, block_on, ok, serve, url};
use millstream_base::Kind;
use millstream_http::client::{CookieJar, Form, Part};
use millstream_http::{Body, HttpClient};
use millstream_peers::message::RawRequest;
use millstream_peers::{Folder, RawConn, Scripted, eventually, python};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn serving(reply: impl Fn(&RawRequest) -> String + Send + Sync + 'static) -> Scripted {
    Scripted::always(move |_, conn: &mut RawConn| serve(conn, &reply))
}

fn setting(cookies: &[&str], rest: &str) -> String {
    let fields: String = cookies.iter().map(|cookie| format!("Set-Cookie: {cookie}\r\n")).collect();
    format!("HTTP/1.1 200 OK\r\n{fields}{rest}Content-Length: 0\r\n\r\n")
}

async fn text(client: &HttpClient, url: String) -> String {
    client.get(url).send().await.expect("a reply").text().await.expect("text")
}

fn told(request: &RawRequest) -> String {
    ok(request.fields.get("cookie").unwrap_or("-"))
}

#[test]
fn cookies_are_kept_and_sent_only_where_a_jar_is_given() {
    let server = serving(|request| match request.target.as_str() {
        "/in" => setting(
            &["a=1; Path=/", "b=2; Path=/deep; HttpOnly", "c=3; Secure", "d=4; Domain=evil.example"],
            "",
        ),
        "/out" => setting(&["a=; Path=/; Max-Age=0"], ""),
        _ => told(request),
    });
    let jar = CookieJar::new();
    let (world, plain) = (World::with(|options| options.cookies = Some(jar.clone())), World::new());
    let at = |path: &str| url(server.address(), path);
    block_on(async {
        for client in [&world.client, &plain.client] {
            text(client, at("/in")).await;
        }
        assert_eq!(text(&world.client, at("/")).await, "a=1");
        assert_eq!(text(&world.client, at("/deep/er")).await, "b=2; a=1");
        assert_eq!(text(&plain.client, at("/deep/er")).await, "-");
        text(&world.client, at("/out")).await;
        assert_eq!(text(&world.client, at("/deep")).await, "b=2");
        let own = world.client.get(at("/deep")).header("cookie", "own=5").send().await.expect("a reply");
        assert_eq!(
            own.text().await.expect("text"),
            "own=5",
            "a Cookie field of the caller's is the whole truth"
        );
    });
    assert_eq!(jar.len(), 1);
}

#[test]
fn cookies_set_by_a_redirect_go_with_the_next_hop_and_not_to_strangers() {
    let stranger = serving(told);
    let far = format!("Location: http://localhost:{}/\r\n", stranger.address().port());
    let server = serving(move |request| match request.target.as_str() {
        "/near" => setting(&["n=1; Path=/"], "Location: /here\r\n").replace("200 OK", "302 Found"),
        "/far" => setting(&["f=1; Path=/"], &far).replace("200 OK", "302 Found"),
        _ => told(request),
    });
    let world = World::with(|options| options.cookies = Some(CookieJar::new()));
    block_on(async {
        assert_eq!(text(&world.client, url(server.address(), "/near")).await, "n=1");
        assert_eq!(text(&world.client, url(server.address(), "/far")).await, "-", "another host");
        assert_eq!(text(&world.client, url(server.address(), "/")).await, "n=1; f=1");
    });
}

const PARSER: &str = "
import json, sys
from email.parser import BytesParser
raw = open(sys.argv[1], 'rb').read()
message = BytesParser().parsebytes(b'Content-Type: ' + sys.argv[2].encode() + b'\\r\\n\\r\\n' + raw)
assert message.is_multipart(), 'no multipart'
for part in message.get_payload():
    name = part.get_param('name', header='content-disposition')
    print(json.dumps([name, part.get_filename(), part.get_content_type(), part.get_payload(decode=True).decode('latin-1')]))
";

#[test]
fn form_is_read_back_by_a_parser_that_somebody_else_wrote() {
    let folder = Folder::new();
    let path = folder.write("photo.bin", b"\x00\xff\r\n--form-x\r\nbinary");
    let sent = folder.path().join("sent");
    let server = serving({
        let sent = sent.clone();
        move |request| {
            std::fs::write(&sent, &request.body).expect("the folder is ours");
            ok(request.fields.get("content-type").unwrap_or("-"))
        }
    });
    let world = World::new();
    let content_type = block_on(async {
        let (sender, stream) = Body::channel(1);
        sender.send("streamed").await.expect("read");
        drop(sender);
        let form = Form::new()
            .text("plain", "some text")
            .text("empty", "")
            .part("file", Part::file(&world.client, &path).await.expect("a file"))
            .part("json", Part::text("{}").with_content_type("application/json").expect("a type"))
            .part("stream", Part::body(stream).with_file_name("s.txt"));
        let request = world.client.post(url(server.address(), "/")).multipart(form);
        request.send().await.expect("a reply").text().await.expect("text")
    });
    let output =
        millstream_peers::or_skip!(python::script(PARSER, &[&sent.display().to_string(), &content_type]));
    let lines: Vec<_> = output.succeeded().stdout.lines().map(str::to_owned).collect();
    assert_eq!(
        lines,
        [
            r#"["plain", null, "text/plain", "some text"]"#,
            r#"["empty", null, "text/plain", ""]"#,
            r#"["file", "photo.bin", "application/octet-stream", "\u0000\u00ff\r\n--form-x\r\nbinary"]"#,
            r#"["json", null, "application/json", "{}"]"#,
            r#"["stream", "s.txt", "text/plain", "streamed"]"#,
        ]
    );
}

#[test]
fn form_with_a_file_says_its_length_and_a_missing_file_is_named() {
    let folder = Folder::new();
    let path = folder.write("large", vec![b'x'; 1_000_000]);
    let server =
        serving(|request| ok(&format!("{:?} {}", request.fields.get("content-length"), request.body.len())));
    let world = World::new();
    block_on(async {
        let form = Form::new().part("f", Part::file(&world.client, &path).await.expect("a file"));
        let request = world.client.post(url(server.address(), "/")).multipart(form);
        let text = request.send().await.expect("a reply").text().await.expect("text");
        let length = text.rsplit_once(' ').expect("two words").1;
        assert_eq!(text, format!("Some(\"{length}\") {length}"));
        assert!(length.parse::<usize>().expect("a number") > 1_000_000);
        let missing = folder.path().join("missing");
        let error = Part::file(&world.client, &missing).await.expect_err("it is not there");
        assert_eq!(error.target(), Some(missing.display().to_string().as_str()));
        assert!(Part::file(&world.client, folder.path()).await.is_err(), "a folder is no file");
    });
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Point {
    x: i32,
    y: i32,
}

#[test]
fn json_form_and_query_go_out_as_their_types_say() {
    let server = serving(|request| {
        let content_type = request.fields.get("content-type").unwrap_or("-").to_owned();
        ok(&format!("{} {content_type} {}", request.target, String::from_utf8_lossy(&request.body)))
    });
    let (world, point) = (World::new(), Point { x: 1, y: -2 });
    let address = url(server.address(), "/p?a=b");
    block_on(async {
        let client = &world.client;
        for (request, expected) in [
            (client.post(address.as_str()).json(&point), "/p?a=b application/json {\"x\":1,\"y\":-2}"),
            (client.post(address.as_str()).form(&point), "/p?a=b application/x-www-form-urlencoded x=1&y=-2"),
            (client.get(address.as_str()).query(&[("c", "d e&f")]), "/p?a=b&c=d+e%26f - "),
        ] {
            assert_eq!(request.send().await.expect("a reply").text().await.expect("text"), expected);
        }
    });
}

#[test]
fn replies_are_read_as_json_text_and_status() {
    let server = serving(|request| match request.target.as_str() {
        "/json" => ok("{\"x\":1,\"y\":-2}"),
        "/latin" => {
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=latin1\r\nContent-Length: 1\r\n\r\nx".into()
        }
        "/koi8" => {
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=koi8-r\r\nContent-Length: 1\r\n\r\nx".into()
        }
        _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into(),
    });
    let world = World::new();
    let get = |path| world.client.get(url(server.address(), path)).send();
    block_on(async {
        assert_eq!(
            get("/json").await.expect("a reply").json::<Point>().await.expect("JSON"),
            Point { x: 1, y: -2 }
        );
        assert_eq!(
            get("/latin").await.expect("a reply").json::<Point>().await.expect_err("x").kind(),
            Kind::Protocol
        );
        assert_eq!(get("/latin").await.expect("a reply").text().await.expect("text"), "x");
        let error = get("/koi8").await.expect("a reply").text().await.expect_err("unknown charset");
        assert!(error.to_string().contains("koi8-r"), "{error}");
        let error = get("/none").await.expect("a reply").error_for_status().expect_err("404");
        assert_eq!((error.kind(), error.message()), (Kind::Policy, "answered with 404 Not Found"));
    });
}

#[test]
fn upgraded_connection_reads_what_came_early_and_frees_its_place_when_dropped() {
    let server = Scripted::always(|_, conn: &mut RawConn| {
        let head = String::from_utf8(conn.read_until(b"\r\n\r\n")).expect("text").to_ascii_lowercase();
        assert!(head.contains("connection: upgrade\r\n") && head.contains("upgrade: echo/1\r\n"), "{head}");
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\nearly ");
        while let Ok(bytes) = conn.try_read_some() {
            if bytes.is_empty() || conn.try_send(bytes).is_err() {
                return;
            }
        }
    });
    let world = World::with(|options| options.client.max_open = 1);
    let address = url(server.address(), "/");
    block_on(async {
        for _ in 0..2 {
            let reply = world.client.get(address.as_str()).upgrade("echo/1").send().await.expect("a reply");
            assert_eq!(reply.status().as_u16(), 101);
            let mut conn = reply.into_upgraded().expect("switched");
            assert_eq!(conn.early(), b"early ");
            conn.write_all(b"late").await.expect("open");
            conn.flush().await.expect("open");
            let mut bytes = [0; 10];
            conn.read_exact(&mut bytes).await.expect("open");
            assert_eq!(&bytes, b"early late");
            assert_eq!((world.client.pool_stats().lent, world.client.pool_stats().open), (1, 1));
            conn.shutdown().await.expect("open");
            assert_eq!(conn.read(&mut bytes).await.expect("a FIN"), 0);
        }
    });
    eventually("both places are free", || world.client.pool_stats().open == 0);
    assert_eq!(world.ended(millstream_client::transport::Cause::HandedOver), 2);
}

#[test]
fn upgrade_that_the_server_does_not_want_is_a_reply_like_any_other() {
    let (server, world) = (serving(|_| ok("no")), World::new());
    block_on(async {
        let request = || world.client.get(url(server.address(), "/")).upgrade("websocket").send();
        assert_eq!(request().await.expect("a reply").text().await.expect("text"), "no");
        let error = request().await.expect("a reply").into_upgraded().expect_err("no upgrade");
        assert!(error.to_string().contains("200 OK instead of switching"), "{error}");
    });
    assert_eq!(server.accepted().value(), 1);
}

#[test]
fn connect_gives_a_tunnel() {
    let server = Scripted::serve([|conn: &mut RawConn| {
        let head = String::from_utf8(conn.read_until(b"\r\n\r\n")).expect("text");
        assert!(head.starts_with("CONNECT 127.0.0.1:"), "{head}");
        conn.send("HTTP/1.1 200 OK\r\n\r\nhello");
    }]);
    let world = World::new();
    block_on(async {
        let request = world.client.request(millstream_http::Method::CONNECT, url(server.address(), "/"));
        let mut tunnel = request.send().await.expect("a reply").into_upgraded().expect("a tunnel");
        let mut text = String::new();
        tunnel.read_to_string(&mut text).await.expect("a FIN");
        assert_eq!(text, "hello");
    });
}
