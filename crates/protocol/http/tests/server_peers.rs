//! Programs that others wrote, as clients: curl, wrk, ab, Python's http.client.

mod serving;

use millstream_http::{Body, Request, Response};
use millstream_peers::curl::{curl, curl_with};
use millstream_peers::load::{ab, wrk};
use millstream_peers::{or_skip, python};
use serving::Served;

/// `/echo` gives the body back; `/stream` streams 3,000,000 bytes; all else answers with method and path.
async fn various(mut request: Request) -> millstream_base::Result<Response> {
    Ok(match request.path() {
        "/echo" => Response::bytes(request.bytes().await?),
        "/mirror" => Response::bytes(request.take_body()),
        "/stream" => {
            let mut left = 300;
            Response::bytes(Body::from_fn(move || {
                left -= 1;
                std::future::ready((left >= 0).then(|| Ok("x".repeat(10_000).into())))
            }))
        }
        path => Response::text(format!("{} {path}", request.method())),
    })
}

fn server() -> Served {
    Served::with(2, |server| server, various)
}

#[test]
fn curl_gets_text_and_head() {
    let server = server();
    let output = or_skip!(curl(&[&server.url("/a%20b?q")])).succeeded();
    assert_eq!(output.stdout, "GET /a%20b");
    let head = or_skip!(curl(&["--head", &server.url("/x")])).succeeded().stdout;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("Content-Length: 7\r\n"), "{head}");
}

#[test]
fn curl_speaks_version_1_0() {
    let server = server();
    for path in ["/x", "/stream"] {
        let output = or_skip!(curl(&["--http1.0", "--include", &server.url(path)])).succeeded();
        assert!(output.stdout.contains("Connection: close\r\n"), "{}", output.stdout);
        assert!(!output.stdout.contains("Transfer-Encoding"), "{}", output.stdout);
        assert!(path == "/x" || output.bytes.len() > 3_000_000);
    }
}

#[test]
fn curl_gets_a_stream_whole() {
    let server = server();
    assert_eq!(or_skip!(curl(&[&server.url("/stream")])).succeeded().bytes, vec![b'x'; 3_000_000]);
}

#[test]
fn curl_waits_for_continue_before_a_large_post() {
    let server = server();
    let body = vec![b'y'; 2_000_000];
    let arguments = ["--verbose", "--data-binary", "@-", "--expect100-timeout", "15", &server.url("/echo")];
    let output = or_skip!(curl_with(&arguments, &body)).succeeded();
    assert!(output.bytes == body, "{} bytes", output.bytes.len());
    assert!(output.stderr.contains("< HTTP/1.1 100 Continue"), "{}", output.stderr);
}

#[test]
fn curl_uploads_in_chunks() {
    let server = server();
    let body = vec![b'z'; 3_000_000];
    for path in ["/echo", "/mirror"] {
        let output = or_skip!(curl_with(&["--upload-file", "-", &server.url(path)], &body)).succeeded();
        assert!(output.bytes == body, "{} bytes from {path}", output.bytes.len());
    }
}

#[test]
fn curl_uses_one_connection_for_two_urls() {
    let server = server();
    let urls = [server.url("/1"), server.url("/2")];
    let output = or_skip!(curl(&["--verbose", &urls[0], &urls[1]])).succeeded();
    assert_eq!(output.stdout, "GET /1GET /2");
    assert!(output.stderr.contains("Re-using existing connection"), "{}", output.stderr);
    assert_eq!(server.metric("millstream_server_accepted"), 1);
}

#[test]
fn curl_over_a_unix_socket() {
    let folder = millstream_peers::Folder::new();
    let path = folder.path().join("s");
    let engine = millstream_server::Engine::builder().workers(2).build().expect("threads can be started");
    let server = millstream_http::HttpServer::new(&engine).bind(&format!("unix:{}", path.display()));
    let _running = server.expect("the folder is ours").serve(various).expect("the engine runs");
    let socket = path.display().to_string();
    for _ in 0..5 {
        let output = or_skip!(curl(&["--unix-socket", &socket, "http://localhost/x"])).succeeded();
        assert_eq!(output.stdout, "GET /x");
    }
}

#[test]
fn wrk_finds_no_error() {
    let server = server();
    let load = or_skip!(wrk(&server.url("/x"), 64, 2, &[]));
    assert_eq!(load.errors, 0, "{}", load.output.stdout);
    assert!(load.requests > 100, "{}", load.output.stdout);
    let counted = server.metric("millstream_http_responses");
    assert!(counted >= load.requests, "{counted} counted, {} seen", load.requests);
}

#[test]
fn wrk_finds_no_error_when_every_connection_closes() {
    let server = server();
    let load = or_skip!(wrk(&server.url("/x"), 16, 1, &["-H", "Connection: close"]));
    assert_eq!(load.errors, 0, "{}", load.output.stdout);
    assert!(load.requests > 10, "{}", load.output.stdout);
}

#[test]
fn ab_finds_no_failure_with_and_without_keep_alive() {
    let server = server();
    let kept = or_skip!(ab(&server.url("/x"), 5000, 32, &["-k"]));
    assert_eq!((kept.requests, kept.errors, kept.kept_alive), (5000, 0, 5000), "{}", kept.output.stdout);
    let closed = or_skip!(ab(&server.url("/x"), 1000, 32, &[]));
    assert_eq!((closed.requests, closed.errors), (1000, 0), "{}", closed.output.stdout);
}

const PYTHON: &str = "
import http.client, sys
conn = http.client.HTTPConnection(sys.argv[1], timeout=20)
def ask(method, path, body=None, **more):
    conn.request(method, path, body=body, **more)
    response = conn.getresponse()
    return response.status, response.read()
assert ask('GET', '/a') == (200, b'GET /a')
sock = conn.sock
assert ask('POST', '/echo', b'x' * 1000000) == (200, b'x' * 1000000)
assert ask('HEAD', '/a') == (200, b'')
assert ask('PUT', '/echo', iter([b'ab', b'cd']), encode_chunked=True,
           headers={'Transfer-Encoding': 'chunked'}) == (200, b'abcd')
assert len(ask('GET', '/stream')[1]) == 3000000
assert conn.sock is sock, 'one connection for all'
assert ask('GET', '/a', headers={'Connection': 'close'}) == (200, b'GET /a')
assert conn.sock is None, 'closed as asked'
print('well')
";

#[test]
fn python_keeps_one_connection_for_all_kinds_of_requests() {
    let server = server();
    let output = or_skip!(python::script(PYTHON, &[&server.address.to_string()])).succeeded();
    assert_eq!(output.stdout.trim(), "well");
    assert_eq!(server.metric("millstream_server_accepted"), 1);
}
