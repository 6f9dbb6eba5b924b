//! Bodies of requests and responses on their way: 100-continue, chunks, trailers, limits, back-pressure.

mod serving;

use std::time::Instant;

use bytes::Bytes;
use millstream_http::{Body, Request, Response, StatusCode};
use millstream_peers::{Count, RawConn, eventually};
use millstream_server::transport::LifeSnapshot;
use serving::{Held, SOON, Served, echo, get, post};

const EXPECTING: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Answers with the request's body, piece by piece as it comes.
async fn stream_back(mut request: Request) -> Response {
    Response::bytes(request.take_body())
}

/// The only connection there is.
fn life(server: &Served) -> LifeSnapshot {
    server.lives().snapshot().pop().expect("it is open")
}

#[test]
fn client_is_told_to_continue_when_the_body_is_read_and_not_before() {
    let held = Held::new();
    let server = Served::start({
        let held = held.clone();
        move |request: Request| {
            let held = held.clone();
            async move {
                held.hold().await;
                echo(request).await
            }
        }
    });
    let mut conn = server.connect();
    conn.send(EXPECTING);
    held.entered.wait();
    assert!(conn.is_silent());
    held.leaves.open();
    conn.expect("HTTP/1.1 100 Continue\r\n\r\n").send("hello");
    assert_eq!(conn.read_response("POST").text(), "hello");
    // The connection goes on, and the next is told as well.
    conn.send(EXPECTING);
    conn.expect("HTTP/1.1 100 Continue\r\n\r\n").send("again");
    assert_eq!(conn.read_response("POST").text(), "again");
}

#[test]
fn client_is_not_told_to_continue_when_the_body_is_refused() {
    let server = Served::start(async |_| StatusCode::FORBIDDEN);
    let mut conn = server.connect();
    conn.send(EXPECTING);
    let response = conn.read_response("POST");
    // It may send the body or not, so nobody knows where the next request begins.
    assert_eq!((response.status, response.field("connection")), (403, Some("close")));
    conn.expect_end();
}

#[test]
fn client_that_does_not_wait_is_not_told_to_continue() {
    let server = Served::start(echo);
    let mut conn = server.connect();
    conn.send(format!("{EXPECTING}hello"));
    assert_eq!(conn.read_response("POST").text(), "hello");
}

#[test]
fn continue_never_stands_within_a_response() {
    // The response begins before the body is read.
    let server = Served::start(stream_back);
    let mut conn = server.connect();
    conn.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
    let head = conn.read_until(b"\r\n\r\n");
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", head.escape_ascii());
    conn.send("5\r\nhello\r\n0\r\n\r\n").expect("5\r\nhello\r\n0\r\n\r\n");
}

#[test]
fn chunks_and_trailers_are_handed_on() {
    let server = Served::start(async |mut request: Request| -> millstream_base::Result<Response> {
        let (bytes, trailers) = request.take_body().collect_with_trailers(1 << 20).await?;
        let (sender, body) = Body::channel(4);
        sender.send(bytes).await?;
        sender.send_trailers(trailers.unwrap_or_default()).await?;
        Ok(Response::bytes(body))
    });
    let mut conn = server.connect();
    let message = "3\r\nabc\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\nX-Sum: 7\r\nContent-Length: 99\r\n\r\n";
    for piece in [1, 2, 5, 1000] {
        conn.send(CHUNKED).send_pieces(message.as_bytes().chunks(piece));
        let response = conn.read_response("POST");
        assert_eq!(response.text(), "abc0123456789");
        assert_eq!(response.trailers.0, [("x-sum".to_owned(), "7".to_owned())]);
    }
}

#[test]
fn malformed_chunk_ends_the_body_with_an_error_and_the_connection() {
    let server = Served::start(echo);
    let mut conn = server.connect();
    conn.send(CHUNKED).send("3\r\nabc\r\n").send("+1\r\nx\r\n0\r\n\r\n").send(get("/smuggled"));
    let response = conn.read_response("POST");
    assert_eq!((response.status, response.field("connection")), (400, Some("close")));
    conn.expect_end();
}

#[test]
fn many_tiny_chunks_come_in_few_pieces() {
    let held = Held::new();
    let server = Served::start({
        let held = held.clone();
        move |mut request: Request| {
            let held = held.clone();
            async move {
                let first = request.body_mut().chunk().await;
                held.hold().await;
                let (mut pieces, mut bytes) =
                    (1, first.map_or(0, |first| first.map_or(0, |data| data.len())));
                while let Some(Ok(data)) = request.body_mut().chunk().await {
                    pieces += 1;
                    bytes += data.len();
                }
                format!("{pieces} {bytes}")
            }
        }
    });
    let mut conn = server.connect();
    conn.send(CHUNKED).send("1\r\nx\r\n".repeat(100_000));
    held.entered.wait();
    conn.send("0\r\n\r\n");
    held.leaves.open();
    let text = conn.read_response("POST").text().to_owned();
    let (pieces, bytes) = text.split_once(' ').expect("two numbers");
    assert_eq!(bytes, "100000");
    // A piece costs far more memory than a byte: each byte its own would be 10 MB for 100 kB.
    assert!(pieces.parse::<u32>().expect("a number") < 1000, "{pieces} pieces");
}

#[test]
fn fifty_megabytes_go_through_with_little_memory() {
    const SIZE: usize = 50 << 20;
    let server = Served::configured(|options| options.max_body = u64::MAX, stream_back);
    let mut reader = server.connect();
    let mut writer = reader.twin();
    let writing = std::thread::spawn(move || {
        writer.send(CHUNKED);
        let piece: Vec<u8> = (0..1 << 20).map(|byte| (byte % 251) as u8).collect();
        for _ in 0..SIZE / piece.len() {
            writer.send(format!("{:x}\r\n", piece.len())).send(&piece).send("\r\n");
        }
        writer.send("0\r\n\r\n");
    });
    assert!(reader.read_until(b"\r\n\r\n").starts_with(b"HTTP/1.1 200"));
    let (mut total, mut most_held) = (0, 0);
    loop {
        let line = reader.read_until(b"\r\n");
        let size = usize::from_str_radix(line.trim_ascii().escape_ascii().to_string().as_str(), 16);
        let data = reader.read_exact(size.expect("a chunk's size"));
        reader.expect("\r\n");
        if data.is_empty() {
            break;
        }
        let is_same = data.iter().enumerate().all(|(n, byte)| *byte == ((total + n) % (1 << 20) % 251) as u8);
        assert!(is_same, "within the {} bytes behind {total}", data.len());
        total += data.len();
        let life = life(&server);
        most_held = most_held.max(life.bytes_in.saturating_sub(life.bytes_out));
    }
    writing.join().expect("all is sent");
    assert_eq!(total, SIZE);
    assert!(most_held < 1 << 20, "{most_held} bytes lay in the server");
}

#[test]
fn connection_is_kept_behind_a_streamed_exchange_that_was_read_to_its_end() {
    let server = Served::start(async |mut request: Request| {
        let body = request.take_body();
        match request.path() {
            // Begins to answer and leaves the rest of the body.
            "/leave" => Response::bytes(Body::from_fn({
                let mut pieces = vec!["piece"];
                move || std::future::ready(pieces.pop().map(|piece| Ok(piece.into())))
            })),
            _ => Response::bytes(body),
        }
    });
    let mut conn = server.connect();
    for _ in 0..2 {
        let mut twin = conn.twin();
        let sending = std::thread::spawn(move || {
            twin.send(post("/", vec![b'x'; 3 << 20]));
        });
        let response = conn.read_response("POST");
        assert_eq!((response.body.len(), response.field("connection")), (3 << 20, Some("keep-alive")));
        sending.join().expect("all is sent");
    }
    let mut twin = conn.twin();
    let sending = std::thread::spawn(move || drop(twin.try_send(post("/leave", vec![b'x'; 3 << 20]))));
    assert_eq!(conn.read_response("POST").text(), "piece");
    // Too much is left to read it for the sake of the connection.
    assert_eq!(conn.read_to_fin(), b"");
    sending.join().expect("no panic");
}

/// A stream without an end that counts what it has produced.
fn endless(produced: &Count) -> Body {
    let produced = produced.clone();
    Body::from_fn(move || {
        produced.add(64 << 10);
        std::future::ready(Some(Ok(Bytes::from_static(&[b'x'; 64 << 10]))))
    })
}

/// Waits until the count has stood still for a while.
fn stalled(count: &Count) -> u64 {
    let (mut last, mut since) = (count.value(), Instant::now());
    eventually("the count stands still", || {
        if count.value() != last {
            (last, since) = (count.value(), Instant::now());
        }
        last > 0 && since.elapsed() > 2 * SOON
    });
    last
}

#[test]
fn client_that_does_not_read_stops_what_is_produced_for_it() {
    let produced = Count::new();
    let server = Served::start({
        let produced = produced.clone();
        move |_: Request| std::future::ready(Response::bytes(endless(&produced)))
    });
    let mut conn = RawConn::connect_narrow(server.address, 16 << 10);
    conn.send(get("/"));
    let first = stalled(&produced);
    // What the kernel holds for both sides; nothing that grows.
    assert!(first < 16 << 20, "{first} bytes for nobody");
    assert!(first - life(&server).bytes_out < 256 << 10, "what lies in the server itself");
    conn.read_exact(8 << 20);
    assert!(stalled(&produced) > first, "it goes on when somebody reads");
    // Others are served meanwhile.
    let mut other = server.connect();
    other.send(get("/"));
    assert!(other.read_until(b"\r\n\r\n").starts_with(b"HTTP/1.1 200"));
}

#[test]
fn body_that_nobody_reads_stops_its_sender() {
    let held = Held::new();
    let server = Served::configured(|options| options.max_body = u64::MAX, {
        let held = held.clone();
        move |request: Request| {
            let held = held.clone();
            async move {
                held.hold().await;
                drop(request);
                "done"
            }
        }
    });
    let mut conn = server.connect();
    conn.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n");
    let sent = conn.send_until_stuck(&[b'x'; 64 << 10], 2 * SOON, 64 << 20);
    assert!(sent < 32 << 20, "{sent} bytes went nowhere");
    assert!(life(&server).bytes_in < 512 << 10, "read by nobody");
    held.leaves.open();
    let response = conn.read_response("POST");
    assert_eq!((response.text(), response.field("connection")), ("done", Some("close")));
}

#[test]
fn body_over_the_limit_is_refused_before_and_while_it_comes() {
    let called = Count::new();
    let server = Served::configured(|options| options.max_body = 10, {
        let called = called.clone();
        move |request: Request| {
            called.rise();
            echo(request)
        }
    });
    let chunks = |size: usize| format!("{CHUNKED}{size:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(size)).into_bytes();
    for (request, status) in [
        (post("/", "x".repeat(10)), 200),
        (post("/", "x".repeat(11)), 413),
        (chunks(10), 200),
        (chunks(11), 413),
        ([CHUNKED, "6\r\nxxxxxx\r\n"].concat().into_bytes(), 413),
    ] {
        let mut conn = server.connect();
        conn.send(request);
        if status == 413 {
            // The part that is too much may come late.
            let _ = conn.try_send("5\r\nxxxxx\r\n0\r\n\r\n");
        }
        let response = conn.read_response("POST");
        let connection = if status == 200 { "keep-alive" } else { "close" };
        assert_eq!((response.status, response.field("connection")), (status, Some(connection)));
        if status == 413 {
            conn.expect_end();
        }
    }
    assert!(called.value() <= 3, "an announced body that is too long reaches no handler");
}

struct Roomy;

impl millstream_http::Handler for Roomy {
    type Future = std::pin::Pin<Box<dyn Future<Output = Response>>>;

    fn call(&self, request: Request) -> Self::Future {
        Box::pin(async { millstream_http::IntoResponse::into_response(echo(request).await) })
    }

    fn max_body(&self, head: &millstream_http::codec::RequestHead) -> Option<u64> {
        (head.path() == "/large").then_some(100)
    }
}

#[test]
fn handler_may_allow_more_than_the_server() {
    let server = Served::configured(|options| options.max_body = 10, Roomy);
    for (path, size, status) in [("/large", 100, 200), ("/large", 101, 413), ("/", 11, 413), ("/", 10, 200)] {
        let mut conn = server.connect();
        conn.send(post(path, "x".repeat(size)));
        assert_eq!(conn.read_response("POST").status, status, "{size} bytes to {path}");
    }
}

#[test]
fn connection_is_not_kept_behind_a_body_that_went_wrong_under_a_response() {
    let held = Held::new();
    let server = Served::configured(|options| options.max_body = 10, {
        let held = held.clone();
        move |mut request: Request| {
            let (held, mut body) = (held.clone(), request.take_body());
            let mut is_over = false;
            let stream = Body::from_fn(move || {
                let (held, was_over) = (held.clone(), std::mem::replace(&mut is_over, true));
                let mut body = std::mem::take(&mut body);
                async move {
                    if was_over {
                        return None;
                    }
                    while let Some(Ok(_)) = body.chunk().await {}
                    held.hold().await;
                    Some(Ok("done".into()))
                }
            });
            std::future::ready(Response::bytes(stream))
        }
    });
    for wrong in ["b\r\n0\r\n\r\nxxxxxx\r\n0\r\n\r\n", "+1\r\nx\r\n0\r\n\r\n"] {
        let mut conn = server.connect();
        // Its head says keep-alive before anything is known of the body.
        conn.send(CHUNKED);
        assert!(conn.read_until(b"\r\n\r\n").starts_with(b"HTTP/1.1 200"));
        conn.send(wrong).send(get("/smuggled")).send(get("/smuggled"));
        held.leaves.open();
        assert_eq!(conn.read_to_fin(), b"4\r\ndone\r\n0\r\n\r\n");
    }
}

#[test]
fn rest_of_a_body_that_nobody_wants_is_skipped_or_closes() {
    let server = Served::start(async |_| "no thanks");
    let chunks = |size: usize| format!("{CHUNKED}{size:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(size)).into_bytes();
    for request in [post("/", vec![b'x'; 200_000]), chunks(200_000)] {
        let mut conn = server.connect();
        conn.send(request);
        assert_eq!(conn.read_response("POST").field("connection"), Some("keep-alive"));
        conn.send(get("/"));
        assert_eq!(conn.read_response("GET").text(), "no thanks");
    }
    for request in [post("/", vec![b'x'; 4 << 20]), chunks(4 << 20)] {
        let mut conn = server.connect();
        conn.send(request);
        assert_eq!(conn.read_response("POST").text(), "no thanks");
        conn.send(get("/")).expect_end();
    }
}
