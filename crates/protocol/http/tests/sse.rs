//! Events as a client reads them: by the rules of the HTML standard, written down here a second time.

mod serving;

use std::time::Duration;

use millstream_base::Kind;
use millstream_http::sse::{Event, Sse};
use millstream_http::{Body, Request, Response};
use serving::Served;

/// What a client makes of a stream: name, id and data of each event.
fn parse(stream: &str) -> Vec<(String, String, String)> {
    let (mut events, mut id) = (Vec::new(), String::new());
    let (mut name, mut data) = (String::new(), None::<String>);
    let stream = stream.replace("\r\n", "\n").replace('\r', "\n");
    for line in stream.split('\n') {
        if line.is_empty() {
            if let Some(data) = data.take() {
                events.push((name.clone(), id.clone(), data));
            }
            name.clear();
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = value.to_owned(),
            "id" => id = value.to_owned(),
            "data" => {
                data = Some(data.map_or_else(|| value.to_owned(), |data| format!("{data}\n{value}")));
            }
            _ => {}
        }
    }
    events
}

async fn read(body: Body) -> String {
    String::from_utf8(body.collect(1 << 20).await.expect("whole").into()).expect("text")
}

#[tokio::test]
async fn events_arrive_as_they_were_said() {
    let (sender, mut response) = Sse::channel(16);
    for event in [
        Event::data("plain"),
        Event::data("two\nlines"),
        Event::data("all\r\nthree\rline ends\n"),
        Event::data(""),
        Event::data(" leading blank"),
        Event::data("data: like a field\n\nevent: forged"),
        Event::data("named").with_event("tick").with_id("7").with_retry(Duration::from_millis(1500)),
        Event::comment("nobody\nsees this"),
        Event::json(&[1, 2]).expect("JSON"),
    ] {
        sender.send(event).await.expect("read");
    }
    drop(sender);
    let stream = read(std::mem::take(response.body_mut())).await;
    let events = parse(&stream);
    let data: Vec<_> = events.iter().map(|(_, _, data)| data.as_str()).collect();
    assert_eq!(
        data,
        [
            "plain",
            "two\nlines",
            "all\nthree\nline ends\n",
            "",
            " leading blank",
            "data: like a field\n\nevent: forged",
            "named",
            "[1,2]"
        ]
    );
    assert!(events.iter().all(|(name, _, _)| name.is_empty() || name == "tick"));
    assert_eq!(events[6], ("tick".to_owned(), "7".to_owned(), "named".to_owned()));
    assert!(stream.contains("retry: 1500\n") && stream.contains(": nobody\n: sees this\n"));
}

#[tokio::test]
async fn name_and_id_cannot_forge_events() {
    let (sender, _response) = Sse::channel(16);
    for bad in ["a\nb", "a\rdata: x", "a\r\n\r\ndata: x", "a\0"] {
        for event in [Event::data("x").with_event(bad), Event::data("x").with_id(bad)] {
            assert_eq!(sender.try_send(&event).expect_err(bad).kind(), Kind::Invalid);
            assert_eq!(sender.send(event).await.expect_err(bad).kind(), Kind::Invalid);
        }
    }
}

#[tokio::test]
async fn full_channel_and_gone_client_are_told_apart() {
    let (sender, response) = Sse::channel(2);
    let event = Event::data("x");
    assert!(sender.try_send(&event).expect("open") && sender.try_send(&event).expect("open"));
    assert!(!sender.try_send(&event).expect("open"));
    drop(response);
    sender.closed().await;
    assert_eq!(sender.send(event.clone()).await.expect_err("gone").kind(), Kind::Closed);
    assert_eq!(sender.try_send(&event).expect_err("gone").kind(), Kind::Closed);
}

#[tokio::test(start_paused = true)]
async fn silence_is_filled_with_comments() {
    let start = tokio::time::Instant::now();
    let (sender, mut response) = Sse::channel(2);
    for _ in 0..3 {
        assert_eq!(response.body_mut().chunk().await.expect("open").expect("no error"), ":\n\n");
    }
    assert_eq!(start.elapsed(), Duration::from_secs(45));
    // What is said restarts the silence.
    tokio::time::advance(Duration::from_secs(10)).await;
    sender.send(Event::data("x")).await.expect("read");
    assert_eq!(response.body_mut().chunk().await.expect("open").expect("no error"), "data: x\n\n");
    let before = tokio::time::Instant::now();
    assert_eq!(response.body_mut().chunk().await.expect("open").expect("no error"), ":\n\n");
    assert_eq!(before.elapsed(), Duration::from_secs(15));
}

#[tokio::test(start_paused = true)]
async fn keep_alive_can_be_set_and_works_for_functions() {
    let (_sender, mut response) = Sse::new().with_keep_alive(Duration::from_secs(2)).open(1);
    let start = tokio::time::Instant::now();
    assert_eq!(response.body_mut().chunk().await.expect("open").expect("no error"), ":\n\n");
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    let mut count = 0;
    let mut response = Response::sse(move || {
        count += 1;
        async move {
            tokio::time::sleep(Duration::from_secs(20)).await;
            (count < 3).then(|| Event::data(count.to_string()))
        }
    });
    let stream = read(std::mem::take(response.body_mut())).await;
    assert_eq!(stream, ":\n\ndata: 1\n\n:\n\ndata: 2\n\n:\n\n");
}

#[test]
fn stream_goes_over_the_wire_event_by_event() {
    let (give, take) = std::sync::mpsc::channel();
    let server = Served::start(move |request: Request| {
        // A client that goes is noticed when the stream says something.
        let (sender, response) = Sse::new().with_keep_alive(serving::SOON).open(4);
        give.send((sender, request.last_event_id().map(str::to_owned))).expect("the test waits");
        std::future::ready(response)
    });
    let mut conn = server.connect();
    conn.send("GET / HTTP/1.1\r\nHost: a\r\nLast-Event-ID: 41\r\n\r\n");
    let (sender, last) = take.recv_timeout(millstream_peers::PATIENCE).expect("asked");
    assert_eq!(last.as_deref(), Some("41"));
    let head = String::from_utf8(conn.read_until(b"\r\n\r\n")).expect("text").to_ascii_lowercase();
    assert!(
        head.contains("content-type: text/event-stream\r\n") && head.contains("cache-control: no-store\r\n")
    );
    for n in 0..3 {
        serving::block_on(sender.send(Event::data(n.to_string()))).expect("read");
        conn.read_until(format!("9\r\ndata: {n}\n\n\r\n").as_bytes());
    }
    conn.reset();
    serving::block_on(sender.closed());
}
