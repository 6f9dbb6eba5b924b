//! A response arrives whole, whatever the client still sends: our close must not reset the connection under it.

mod serving;

use millstream_http::{Request, Response, StatusCode};
use millstream_peers::End;
use serving::{Served, get, post};

const MEGABYTE: usize = 1 << 20;

/// Answers at once with a megabyte and reads no body.
async fn megabyte(request: Request) -> Response {
    let response = Response::bytes(vec![b'y'; MEGABYTE]);
    if request.path() == "/close" { response.with_close() } else { response }
}

/// Sends all of it, whether it is read or not, while the response is read; the response must come whole, then a FIN.
#[track_caller]
fn expect_whole(server: &Served, request: Vec<u8>, status: u16, length: Option<usize>) {
    let mut conn = server.connect();
    let mut twin = conn.twin();
    let sending = std::thread::spawn(move || drop(twin.try_send(request)));
    let response = conn.read_response("POST");
    assert_eq!((response.status, response.field("connection")), (status, Some("close")));
    assert!(length.is_none_or(|length| response.body.len() == length));
    assert_eq!(conn.expect_end(), End::Fin);
    sending.join().expect("no panic");
}

#[test]
fn response_arrives_whole_before_an_unread_body_100_times_of_100() {
    let server = Served::with(2, |server| server, megabyte);
    for _ in 0..100 {
        expect_whole(&server, post("/", vec![b'x'; MEGABYTE]), 200, Some(MEGABYTE));
    }
}

#[test]
fn refusal_arrives_whole_before_what_is_refused() {
    let server = Served::configured(|options| options.max_body = 1000, megabyte);
    let long_head = [b"GET / HTTP/1.1\r\nHost: a\r\nX: ", &vec![b'x'; 4 * MEGABYTE][..]].concat();
    let long_target = [b"GET /", &vec![b'x'; 4 * MEGABYTE][..]].concat();
    let garbage = b"\0\0\0\r\n".repeat(MEGABYTE);
    for _ in 0..10 {
        expect_whole(&server, post("/", vec![b'x'; 4 * MEGABYTE]), 413, None);
        expect_whole(&server, long_head.clone(), 431, None);
        expect_whole(&server, long_target.clone(), 414, None);
        expect_whole(&server, garbage.clone(), 400, None);
    }
}

#[test]
fn response_that_closes_arrives_whole_before_more_requests() {
    let server = Served::start(megabyte);
    for _ in 0..20 {
        expect_whole(&server, (get("/close") + &get("/").repeat(100_000)).into_bytes(), 200, Some(MEGABYTE));
    }
}

#[test]
fn response_of_a_handler_that_read_half_the_body_arrives_whole() {
    let server = Served::start(async |mut request: Request| {
        let mut size = 0;
        while size < MEGABYTE
            && let Some(Ok(data)) = request.body_mut().chunk().await
        {
            size += data.len();
        }
        Response::bytes(vec![b'y'; MEGABYTE]).with_status(StatusCode::IM_A_TEAPOT)
    });
    for _ in 0..20 {
        expect_whole(&server, post("/", vec![b'x'; 4 * MEGABYTE]), 418, Some(MEGABYTE));
    }
}
