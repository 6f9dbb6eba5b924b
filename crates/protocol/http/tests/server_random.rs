//! Random requests in random pieces on one connection, against a model that knows each answer.

mod serving;

use millstream_http::{Body, Request, Response, StatusCode};
use millstream_peers::{RawConn, eventually};
use serving::Served;

/// Numbers that look random and are the same in each run (Knuth's MMIX generator).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }

    /// Mostly small, sometimes larger than every buffer.
    fn size(&mut self) -> usize {
        let most = [1, 10, 1000, 20_000, 150_000][self.roll(5)];
        self.roll(most + 1)
    }
}

/// What a request is answered with.
struct Expected {
    method: &'static str,
    status: u16,
    body: Vec<u8>,
}

/// Bytes that tell where they belong.
fn pattern(seed: usize, size: usize) -> Vec<u8> {
    (0..size).map(|n| b'a' + ((n + seed) % 23) as u8).collect()
}

/// A body with its length, or in chunks of random sizes, sometimes with a trailer.
fn framed(dice: &mut Dice, body: &[u8]) -> (String, Vec<u8>) {
    if dice.roll(2) == 0 {
        return (format!("Content-Length: {}\r\n", body.len()), body.to_vec());
    }
    let (mut bytes, mut rest) = (Vec::new(), body);
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at((1 + dice.size()).min(rest.len()));
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
        rest = behind;
    }
    bytes.extend_from_slice(if dice.roll(3) == 0 { b"0\r\nX-Sum: 1\r\n\r\n" } else { b"0\r\n\r\n" });
    ("Transfer-Encoding: chunked\r\n".to_owned(), bytes)
}

/// A request of a random kind, and its answer.
fn request(dice: &mut Dice, number: usize) -> (Vec<u8>, Expected) {
    const KINDS: [&str; 10] =
        ["text", "later", "empty", "large", "stream", "echo", "mirror", "ignore", "half", "expect"];
    let kind = KINDS[dice.roll(KINDS.len())];
    let size = dice.size();
    let body = if matches!(kind, "echo" | "mirror" | "ignore" | "half" | "expect") {
        pattern(number, size)
    } else {
        Vec::new()
    };
    let method = match kind {
        "text" | "later" | "stream" | "empty" if dice.roll(4) == 0 => "HEAD",
        _ if body.is_empty() => "GET",
        _ => "POST",
    };
    let mut bytes = format!("{method} /{kind}/{number}/{size} HTTP/1.1\r\nHost: a\r\n").into_bytes();
    if method == "POST" {
        let (head, framed) = framed(dice, &body);
        bytes.extend_from_slice(head.as_bytes());
        if kind == "expect" {
            bytes.extend_from_slice(b"Expect: 100-continue\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&framed);
    } else {
        bytes.extend_from_slice(b"\r\n");
    }
    let answer = match kind {
        _ if method == "HEAD" => Vec::new(),
        "empty" => Vec::new(),
        "large" | "stream" => pattern(number, size * 3),
        "echo" | "mirror" | "expect" => body,
        _ => format!("/{kind}/{number}/{size}").into_bytes(),
    };
    (bytes, Expected { method, status: if kind == "empty" { 204 } else { 200 }, body: answer })
}

/// Answers as [`request`] expects.
async fn answer(mut request: Request) -> millstream_base::Result<Response> {
    let path = request.path().to_owned();
    let words: Vec<_> = path.split('/').skip(1).collect();
    let [kind, number, size] = words[..] else { return Ok(Response::new(StatusCode::NOT_FOUND)) };
    let (number, size): (usize, usize) = (number.parse().unwrap_or(0), size.parse().unwrap_or(0));
    Ok(match kind {
        "later" => {
            for _ in 0..number % 4 {
                tokio::task::yield_now().await;
            }
            Response::text(path)
        }
        "empty" => Response::new(StatusCode::NO_CONTENT),
        "large" => Response::bytes(pattern(number, size * 3)),
        "stream" => Response::bytes(pieces(pattern(number, size * 3), number)),
        "echo" | "expect" => Response::bytes(request.bytes().await?),
        "mirror" => Response::bytes(request.take_body()),
        "half" => {
            let _ = request.body_mut().chunk().await;
            Response::text(path)
        }
        _ => Response::text(path),
    })
}

/// A stream of uneven pieces, some of which come later.
fn pieces(whole: Vec<u8>, seed: usize) -> Body {
    let (mut rest, mut dice) = (bytes::Bytes::from(whole), Dice(seed as u64));
    Body::from_fn(move || {
        let piece = rest.split_to((1 + dice.size()).min(rest.len()));
        let waits = dice.roll(3) == 0;
        async move {
            if waits {
                tokio::task::yield_now().await;
            }
            (!piece.is_empty()).then_some(Ok(piece))
        }
    })
}

/// Thirty requests on one connection.
fn converse(server: &Served, seed: u64) {
    let mut dice = Dice(seed);
    let (mut bytes, mut expected) = (Vec::new(), Vec::new());
    for number in 0..30 {
        let (request, answer) = request(&mut dice, number);
        bytes.extend_from_slice(&request);
        expected.push(answer);
    }
    let mut conn = if dice.roll(2) == 0 {
        server.connect()
    } else {
        RawConn::connect_narrow(server.address, 2048 << dice.roll(6))
    };
    let mut twin = conn.twin();
    let sending = std::thread::spawn(move || {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at((1 + dice.size()).min(rest.len()));
            twin.send(piece);
            rest = behind;
            if dice.roll(4) == 0 {
                std::thread::yield_now();
            }
        }
    });
    for (number, expected) in expected.iter().enumerate() {
        let mut response = conn.read_response(expected.method);
        while response.status == 100 {
            response = conn.read_response(expected.method);
        }
        let Expected { method, status, body } = expected;
        assert_eq!(response.status, *status, "seed {seed}, request {number}");
        assert!(response.body == *body, "seed {seed}, request {number}: {method}, {} bytes", body.len());
        assert_eq!(response.field("connection"), Some("keep-alive"), "seed {seed}, request {number}");
    }
    sending.join().expect("all is sent");
    conn.half_close().expect_end();
}

#[test]
fn every_request_gets_its_answer_however_it_comes() {
    let server = Served::with(2, |server| server, answer);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let server = &server;
            scope.spawn(move || (0..25).for_each(|round| converse(server, thread * 1000 + round)));
        }
    });
    eventually("every place is free", || server.running.open_connections() == 0);
    assert_eq!(server.metric("millstream_http_rejected"), 0);
}
