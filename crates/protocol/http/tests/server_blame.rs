//! Who is to blame for a request that came to nothing: the client for its own body, an upstream for itself.

mod serving;

use millstream_base::Result;
use millstream_http::extract::Rejection;
use millstream_http::{HttpClient, HttpClientOptions, Request, Response};
use millstream_peers::{RawConn, Scripted};
use millstream_server::Engine;
use serving::{SOON, Served, echo};

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const LENGTH: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n";

/// The status and text of the answer to these bytes, behind which the client sends no more.
fn answer(server: &Served, bytes: &str) -> (u16, String) {
    let mut conn = server.connect();
    conn.send(bytes).half_close();
    let response = conn.read_response("POST");
    (response.status, response.text().trim_end().to_owned())
}

async fn as_text(mut request: Request) -> Result<String, Rejection> {
    Ok(String::from_utf8_lossy(&request.bytes().await?).into_owned())
}

#[test]
fn client_that_leaves_within_its_body_is_answered_with_400() {
    for server in [Served::start(echo), Served::start(as_text)] {
        for bytes in [
            LENGTH.to_owned(),
            format!("{LENGTH}half"),
            CHUNKED.to_owned(),
            format!("{CHUNKED}4\r\nhalf\r\n"),
        ] {
            let expected = (400, "the client left within its request's body".to_owned());
            assert_eq!(answer(&server, &bytes), expected, "{bytes}");
        }
        assert_eq!(answer(&server, &format!("{LENGTH}0123456789")), (200, "0123456789".to_owned()));
    }
}

#[test]
fn upstream_that_is_late_or_odd_is_no_fault_of_the_client() {
    for (reply, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", 504),
        ("", 504),
        ("SSH-2.0-OpenSSH_9\r\n", 502),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n", 502),
        ("HTTP/1.1 302 Found\r\nLocation: ftp://a/\r\nContent-Length: 0\r\n\r\n", 502),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", 502),
    ] {
        let upstream = Scripted::always(move |_, conn: &mut RawConn| {
            conn.read_request();
            conn.send(reply).has_more();
        });
        let (status, text) = answer(&forwarding(&upstream), &format!("{LENGTH}0123456789"));
        assert_eq!((status, &*text), (expected, ""), "{reply:?}");
    }
}

/// A server that hands each request's body to this upstream and gives back what it answers.
fn forwarding(upstream: &Scripted) -> Served {
    let to = format!("http://{}/", upstream.address());
    Served::start(move |mut request: Request| {
        let to = to.clone();
        async move {
            let engine = Engine::current().expect("a worker's");
            let mut options = HttpClientOptions::default();
            (options.http.first_byte_timeout, options.http.read_timeout) = (2 * SOON, 2 * SOON);
            let client = HttpClient::with_options(&engine, options);
            let reply = client.post(to.as_str()).body(request.take_body()).send().await?;
            Ok::<_, millstream_base::Error>(Response::bytes(reply.bytes().await?))
        }
    })
}

#[test]
fn forwarded_body_that_breaks_off_is_the_client_s_fault() {
    let upstream = Scripted::always(|_, conn: &mut RawConn| {
        conn.read_to_end();
    });
    let (status, text) = answer(&forwarding(&upstream), &format!("{LENGTH}half"));
    assert_eq!((status, &*text), (400, "the client left within its request's body"));
}

#[test]
fn upstream_that_hangs_up_is_a_502() {
    for reply in ["", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"] {
        let upstream = Scripted::always(move |_, conn: &mut RawConn| {
            conn.read_request();
            conn.send(reply);
        });
        let (status, text) = answer(&forwarding(&upstream), &format!("{LENGTH}0123456789"));
        assert_eq!((status, &*text), (502, ""), "{reply:?}");
    }
}

#[test]
fn trailers_over_their_limit_are_a_431_and_up_to_it_are_not() {
    // The section's bytes count, the empty line among them (codec: 8 KiB, 64 fields).
    let of_bytes = |bytes: usize| format!("X: {}\r\n", "x".repeat(bytes - "X: \r\n\r\n".len()));
    let of_fields = |fields: usize| "X: y\r\n".repeat(fields);
    for server in [Served::start(echo), Served::start(as_text)] {
        for (trailers, expected) in [
            (of_bytes(8 * 1024 - 1), 200),
            (of_bytes(8 * 1024), 200),
            (of_bytes(8 * 1024 + 1), 431),
            (of_bytes(100_000), 431),
            (of_fields(63), 200),
            (of_fields(64), 200),
            (of_fields(65), 431),
        ] {
            let body = format!("2\r\nhi\r\n0\r\n{trailers}\r\n");
            // With the head, and while the handler waits for it.
            for waits in [false, true] {
                let mut conn = server.connect();
                if waits {
                    conn.send(CHUNKED.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n"));
                    conn.expect("HTTP/1.1 100 Continue\r\n\r\n").send(&body);
                } else {
                    conn.send(format!("{CHUNKED}{body}"));
                }
                let response = conn.read_response("POST");
                let closes = response.field("connection") == Some("close");
                let size = trailers.len();
                assert_eq!((response.status, closes), (expected, expected == 431), "{size} bytes, {waits}");
            }
        }
    }
}

#[test]
fn body_over_its_limit_is_a_413() {
    for server in [
        Served::configured(|options| options.max_body = 5, echo),
        Served::configured(|options| options.max_body = 5, as_text),
    ] {
        for (body, expected) in [("12345", 200), ("123456", 413)] {
            let chunk = format!("{CHUNKED}{}\r\n{body}\r\n0\r\n\r\n", body.len());
            assert_eq!(answer(&server, &chunk).0, expected);
        }
    }
}
