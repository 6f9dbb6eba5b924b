//! The same bytes to this codec and to hyper: the same verdict and the same bodies, or the case says that we differ.
//!
//! Where and why we are stricter on purpose stands in `docs/http-strictness.md`; the cases are marked in `corpus/`.

mod corpus;

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use corpus::drive::{fetch, serve};
use corpus::{Case, End, Hyper, Outcome};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

#[test]
fn server_agrees_with_hyper_or_says_so() {
    check(corpus::requests(), |case| hyper_serves(&case.bytes));
}

#[test]
fn client_agrees_with_hyper_or_says_so() {
    check(corpus::responses(), |case| hyper_fetches(&case.method, &case.bytes));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever we accept, hyper accepts too, and sees the same bodies. A line that isn't whole we may refuse later, and
    /// behind a close we don't look.
    #[test]
    fn never_laxer_than_hyper_on_requests(bytes in mutated(corpus::requests())) {
        let ours = serve([&bytes[..]]);
        let theirs = hyper_serves(&bytes);
        prop_assert!(theirs.bodies.starts_with(&ours.bodies), "{} {ours:?} {theirs:?}", bytes.escape_ascii());
        if matches!(ours.end, End::Open | End::Upgrade) {
            prop_assert!(!is_rejected(&theirs), "{} {ours:?} {theirs:?}", bytes.escape_ascii());
        }
    }

    /// The same for responses to a GET.
    #[test]
    fn never_laxer_than_hyper_on_responses(bytes in mutated(corpus::responses())) {
        let ours = fetch(&http::Method::GET, [&bytes[..]]);
        let theirs = hyper_fetches(&http::Method::GET, &bytes);
        if matches!(ours.end, End::Open | End::Close | End::UntilClose) {
            prop_assert_eq!(&ours.bodies, &theirs.bodies, "{} {:?}", bytes.escape_ascii(), theirs.end);
        }
    }
}

/// A case of the corpus with a few bytes replaced, removed or put in.
fn mutated(cases: Vec<Case>) -> impl Strategy<Value = Vec<u8>> {
    let small: Vec<_> = cases.into_iter().map(|case| case.bytes).filter(|bytes| bytes.len() < 400).collect();
    let piece = prop::sample::select(vec![
        &b"\r\n"[..],
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b":",
        b",",
        b";",
        b"\0",
        b"0",
        b"5",
        b"a",
        b"\x80",
        b"chunked",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Host: a\r\n",
        b"0\r\n\r\n",
        b"HTTP/1.0",
        b"#",
    ]);
    let edit = (any::<prop::sample::Index>(), 0_usize..3, piece);
    (prop::sample::select(small), prop::collection::vec(edit, 0..4)).prop_map(|(mut bytes, edits)| {
        for (at, removed, piece) in edits {
            let at = at.index(bytes.len() + 1);
            let end = bytes.len().min(at + removed);
            bytes.splice(at..end, piece.iter().copied());
        }
        bytes
    })
}

fn check(cases: Vec<Case>, hyper: impl Fn(&Case) -> Outcome) {
    let mut wrong = Vec::new();
    for case in cases {
        let theirs = hyper(&case);
        let is_same = match case.hyper {
            None => {
                is_rejected(&theirs) == is_rejected(&case.expected) && theirs.bodies == case.expected.bodies
            }
            Some(Hyper::Accepts) => !is_rejected(&theirs),
            Some(Hyper::Rejects) => is_rejected(&theirs) && !is_rejected(&case.expected),
        };
        if !is_same {
            wrong.push((case.name, case.expected, theirs));
        }
    }
    for (name, expected, theirs) in &wrong {
        eprintln!("{name}: {} expected, hyper {}", short(expected), short(theirs));
    }
    assert!(wrong.is_empty(), "{} cases differ without saying so", wrong.len());
}

fn short(outcome: &Outcome) -> String {
    let bodies: Vec<_> = outcome.bodies.iter().map(|body| body.escape_ascii().to_string()).collect();
    format!("{bodies:?} {:?}", outcome.end)
}

fn is_rejected(outcome: &Outcome) -> bool {
    matches!(outcome.end, End::Reject(_))
}

/// What becomes of these bytes at a hyper server, when the client closes behind them.
fn hyper_serves(bytes: &[u8]) -> Outcome {
    let bodies = Rc::new(RefCell::new(Vec::new()));
    let end = run(async {
        let (mut peer, server) = duplex(1 << 20);
        peer.write_all(bytes).await.expect("it fits");
        peer.shutdown().await.expect("a duplex");
        let fault = Rc::new(RefCell::new(None));
        let service = service_fn(|request: Request<Incoming>| {
            let (bodies, fault) = (Rc::clone(&bodies), Rc::clone(&fault));
            async move {
                match request.into_body().collect().await {
                    Ok(body) => bodies.borrow_mut().push(body.to_bytes().to_vec()),
                    Err(error) => *fault.borrow_mut() = Some(end_of(&error)),
                }
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .half_close(true)
            .serve_connection(TokioIo::new(server), service)
            .await;
        let fault = fault.borrow_mut().take();
        fault.unwrap_or_else(|| served.map_or_else(|error| end_of(&error), |()| End::Open))
    });
    Outcome { bodies: bodies.take(), end }
}

/// What becomes of these bytes at a hyper client.
fn hyper_fetches(method: &http::Method, bytes: &[u8]) -> Outcome {
    run(async {
        let (mut peer, client) = duplex(1 << 20);
        let (mut sender, conn) =
            hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(client))
                .await
                .expect("no bytes go yet");
        let answer = async {
            let mut request = [0; 1024];
            let _ = peer.read(&mut request).await;
            peer.write_all(bytes).await.expect("it fits");
            peer.shutdown().await.expect("a duplex");
            peer
        };
        let target = if method == http::Method::CONNECT { "a:443" } else { "/" };
        let request = Request::builder().method(method).uri(target).header("host", "a").body(Empty::new());
        let call = async {
            match sender.send_request(request.expect("valid")).await {
                Ok(response) => response.into_body().collect().await.map(|body| body.to_bytes().to_vec()),
                Err(error) => Err(error),
            }
        };
        let (result, _, _peer) = tokio::join!(call, conn, answer);
        match result {
            Ok(body) => Outcome { bodies: vec![body], end: End::Open },
            Err(error) => Outcome { bodies: Vec::new(), end: end_of(&error) },
        }
    })
}

/// Was it the bytes, or that there were too few?
fn end_of(error: &hyper::Error) -> End {
    use std::error::Error as _;
    let source = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    let is_cut = source.is_some_and(|source| source.kind() == std::io::ErrorKind::UnexpectedEof);
    if error.is_incomplete_message() || is_cut { End::Wait } else { End::Reject(400) }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}
