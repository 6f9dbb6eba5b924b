//! hyper and reqwest as clients of our server.

mod serving;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::rt::TokioIo;
use millstream_http::{Body, Request, Response};
use serving::{Served, block_on};

/// `/echo` gives the body back as it comes, `/trailers` counts it in a trailer; all else answers with the path.
async fn various(mut request: Request) -> millstream_base::Result<Response> {
    Ok(match request.path() {
        "/echo" => Response::bytes(request.take_body()),
        "/trailers" => {
            let bytes = request.bytes().await?;
            let (sender, body) = Body::channel(2);
            let length = http::HeaderValue::from(bytes.len());
            sender.send(bytes).await?;
            sender
                .send_trailers([(http::HeaderName::from_static("x-length"), length)].into_iter().collect())
                .await?;
            Response::bytes(body)
        }
        path => Response::text(path.to_owned()),
    })
}

type Sender<B> = hyper::client::conn::http1::SendRequest<B>;

/// A connection of hyper's, driven by a task of its own.
async fn hyper_conn<B>(server: &Served) -> Sender<B>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = tokio::net::TcpStream::connect(server.address).await.expect("it listens");
    let (sender, conn) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(conn.with_upgrades());
    sender
}

fn request<B>(method: &str, path: &str, body: B) -> http::Request<B> {
    let request = http::Request::builder().method(method).uri(path).header("host", "a");
    request.body(body).expect("a request")
}

#[test]
fn hyper_keeps_its_connection_over_many_requests() {
    let server = Served::with(2, |server| server, various);
    block_on(async {
        let mut sender = hyper_conn::<Full<Bytes>>(&server).await;
        for number in 0..100 {
            let path = format!("/{number}");
            sender.ready().await.expect("the connection is kept");
            let response =
                sender.send_request(request("GET", &path, Full::default())).await.expect("a response");
            assert_eq!(response.headers()["connection"], "keep-alive");
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            assert_eq!(body, path.as_bytes());
        }
    });
    assert_eq!(server.metric("millstream_server_accepted"), 1);
}

#[test]
fn hyper_sends_and_gets_chunks_and_trailers() {
    let server = Served::start(various);
    block_on(async {
        let pieces = ["ab", "cde", "f"]
            .map(|piece| Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from(piece))));
        let body = StreamBody::new(futures_stream(pieces));
        let mut sender = hyper_conn(&server).await;
        let mut request = request("POST", "/trailers", body);
        request.headers_mut().insert("te", http::HeaderValue::from_static("trailers"));
        let response = sender.send_request(request).await.expect("a response");
        let collected = response.into_body().collect().await.expect("a body");
        assert_eq!(collected.trailers().expect("trailers")["x-length"], "6");
        assert_eq!(collected.to_bytes(), "abcdef");
    });
}

/// The items, one after the other: the little of a stream that a test needs.
fn futures_stream<T: Unpin, const N: usize>(items: [T; N]) -> impl futures_core::Stream<Item = T> {
    struct Items<T>(std::vec::IntoIter<T>);
    impl<T: Unpin> futures_core::Stream for Items<T> {
        type Item = T;
        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<T>> {
            std::task::Poll::Ready(self.0.next())
        }
    }
    Items(Vec::from(items).into_iter())
}

#[test]
fn hyper_upgrades() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Served::start(async |_| {
        Response::upgrade(async |mut upgraded| {
            let mut word = [0; 4];
            if upgraded.read_exact(&mut word).await.is_ok() {
                // The test reads it or fails.
                let _ = upgraded.write_all(&word).await;
            }
        })
        .with_header(http::header::UPGRADE, http::HeaderValue::from_static("echo"))
    });
    block_on(async {
        let mut sender = hyper_conn::<Full<Bytes>>(&server).await;
        let mut request = request("GET", "/", Full::default());
        request.headers_mut().insert("connection", http::HeaderValue::from_static("upgrade"));
        request.headers_mut().insert("upgrade", http::HeaderValue::from_static("echo"));
        let response = sender.send_request(request).await.expect("a response");
        assert_eq!(response.status(), 101);
        let upgraded = hyper::upgrade::on(response).await.expect("an upgrade");
        let mut upgraded = TokioIo::new(upgraded);
        upgraded.write_all(b"ping").await.expect("it is open");
        let mut word = Vec::new();
        upgraded.read_to_end(&mut word).await.expect("it ends");
        assert_eq!(word, b"ping");
    });
}

#[test]
fn reqwest_keeps_one_connection_for_calls_in_turn() {
    let server = Served::with(2, |server| server, various);
    block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        for number in 0..50 {
            let response = client.get(server.url(&format!("/{number}"))).send().await.expect("a response");
            assert_eq!(response.text().await.expect("a body"), format!("/{number}"));
        }
    });
    assert_eq!(server.metric("millstream_server_accepted"), 1);
}

#[test]
fn reqwest_sends_and_gets_large_bodies() {
    let server = Served::with(2, |server| server.configure(|options| options.max_body = u64::MAX), various);
    let body = Bytes::from(vec![b'x'; 20 << 20]);
    block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let sized = client.post(server.url("/echo")).body(body.clone()).send().await.expect("a response");
        assert_eq!(sized.content_length(), Some(20 << 20));
        assert!(sized.bytes().await.expect("a body") == body);
        let pieces = (0..320).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 64 << 10])));
        let pieces: [_; 320] = pieces.collect::<Vec<_>>().try_into().expect("320 pieces");
        let chunked = reqwest::Body::wrap_stream(futures_stream(pieces));
        let chunked = client.post(server.url("/echo")).body(chunked).send().await.expect("a response");
        assert_eq!(chunked.content_length(), None);
        assert!(chunked.bytes().await.expect("a body") == body);
    });
}

#[test]
fn reqwest_calls_at_once_are_all_answered() {
    let server = Served::with(2, |server| server, various);
    block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let calls: Vec<_> = (0..200)
            .map(|number| {
                let call = client.get(server.url(&format!("/{number}"))).send();
                tokio::spawn(async move { call.await?.text().await })
            })
            .collect();
        for (number, call) in calls.into_iter().enumerate() {
            let text = call.await.expect("no panic").expect("a response");
            assert_eq!(text, format!("/{number}"));
        }
    });
}
