//! Several requests on one connection: order, one write for one read, and what waits behind a slow handler.

mod serving;

use millstream_http::{Request, Response};
use millstream_peers::RawConn;
use millstream_peers::message::RawResponse;
use millstream_server::transport::Cause;
use serving::{Held, Served, get, post};

/// Answers with the path.
async fn path(request: Request) -> String {
    request.path().to_owned()
}

/// Sends one request for each number, in pieces of this size, and expects the answers in order.
#[track_caller]
fn expect_in_order(conn: &mut RawConn, count: usize, piece: usize) {
    let requests: String = (0..count).map(|number| get(&format!("/{number}"))).collect();
    conn.send_pieces(requests.as_bytes().chunks(piece));
    for number in 0..count {
        assert_eq!(conn.read_response("GET").text(), format!("/{number}"));
    }
}

#[test]
fn replies_to_one_read_come_in_one_write() {
    let server = Served::start(path);
    let mut conn = server.connect();
    let requests: String = (0..16).map(|number| get(&format!("/{number}"))).collect();
    // With a write for each reply the first read would sooner or later see fewer than all of them.
    for _ in 0..100 {
        conn.send(&requests);
        let replies = RawResponse::read_each(&conn.read_some());
        let texts: Vec<_> = replies.iter().map(RawResponse::text).collect();
        assert_eq!(texts, (0..16).map(|number| format!("/{number}")).collect::<Vec<_>>());
    }
    assert_eq!(server.lives().snapshot()[0].messages, 1600);
}

#[test]
fn requests_in_any_pieces_are_answered_in_order() {
    let server = Served::start(path);
    for piece in [1, 2, 7, 35, 36, 37, 1000, 100_000] {
        expect_in_order(&mut server.connect(), 200, piece);
    }
}

#[test]
fn requests_behind_a_waiting_handler_are_answered_after_it() {
    let held = Held::new();
    let server = Served::start({
        let held = held.clone();
        move |request: Request| {
            let held = held.clone();
            async move {
                if request.path() == "/slow" {
                    held.hold().await;
                }
                request.path().to_owned()
            }
        }
    });
    let mut conn = server.connect();
    conn.send(get("/first") + &get("/slow") + &get("/behind"));
    assert_eq!(conn.read_response("GET").text(), "/first");
    held.entered.wait();
    conn.send(get("/later"));
    assert!(conn.is_silent());
    held.leaves.open();
    for expected in ["/slow", "/behind", "/later"] {
        assert_eq!(conn.read_response("GET").text(), expected);
    }
}

#[test]
fn handlers_that_yield_keep_the_order() {
    let server = Served::start(async |request: Request| {
        for _ in 0..request.path().len() % 3 {
            tokio::task::yield_now().await;
        }
        request.path().to_owned()
    });
    for piece in [1, 50, 100_000] {
        expect_in_order(&mut server.connect(), 300, piece);
    }
}

#[test]
fn bodies_between_pipelined_requests_are_told_apart() {
    let server = Served::start(serving::echo);
    let mut conn = server.connect();
    let chunked =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nGET\r\n2\r\n /\r\n0\r\n\r\n";
    let requests =
        [post("/", "one"), chunked.into(), get("/").into(), post("/", vec![b'x'; 100_000])].concat();
    for piece in [requests.len(), 1000, 61] {
        conn.send_pieces(requests.chunks(piece));
        for expected in [&b"one"[..], b"GET /", b"", &[b'x'; 100_000]] {
            assert_eq!(conn.read_response("POST").body, expected);
        }
    }
}

#[test]
fn replies_larger_than_all_buffers_come_whole_and_in_order() {
    let server = Served::start(async |request: Request| {
        let size = 10_000 + request.path().len() * 10_000;
        Response::bytes(request.path().repeat(size))
    });
    let mut conn = server.connect();
    let requests: String = (0..60).map(|number| get(&format!("/{number}"))).collect();
    conn.send(requests);
    for number in 0..60 {
        let path = format!("/{number}");
        assert!(conn.read_response("GET").text() == path.repeat(10_000 + path.len() * 10_000), "{path}");
    }
}

#[test]
fn client_that_closes_its_side_gets_its_reply_whole() {
    let server = Served::start(async |request: Request| {
        Response::bytes(vec![b'x'; request.path()[1..].parse().expect("a size")])
    });
    // It reads so late that the reply fills every buffer on its way; where that leaves the last piece varies.
    for size in (0..40).map(|step| (4 << 20) + step * 50_000) {
        let mut conn = server.connect();
        conn.send(get(&format!("/{size}"))).half_close();
        server.wait_for_metric("millstream_http_responses", 1);
        assert_eq!(conn.read_response("GET").body.len(), size);
        conn.expect_end();
    }
}

#[test]
fn requests_behind_the_last_one_are_not_served_and_do_not_destroy_its_reply() {
    for _ in 0..20 {
        let held = Held::new();
        let server = Served::configured(|options| options.max_requests = 2, {
            let held = held.clone();
            move |request: Request| {
                let held = held.clone();
                async move {
                    if request.number() == 2 {
                        held.hold().await;
                    }
                    Response::bytes(request.path().repeat(500_000))
                }
            }
        });
        let mut conn = server.connect();
        conn.send(get("/1") + &get("/2"));
        held.entered.wait();
        conn.send(get("/3").repeat(100));
        held.leaves.open();
        for (path, connection) in [("/1", "keep-alive"), ("/2", "close")] {
            let response = conn.read_response("GET");
            assert_eq!(response.field("connection"), Some(connection));
            assert!(response.text() == path.repeat(500_000));
        }
        assert_eq!(conn.read_to_fin(), b"");
        conn.close();
        server.wait_for_cause(Cause::MaxRequestsLocal, 1);
    }
}
