//! The admin endpoint as a scraper, a person and a hostile web page meet it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use millstream_admin::{Admin, RunningAdmin};
use millstream_http::server::{Engine, Running, Shutdown, transport::Addr};
use millstream_http::{HttpClient, HttpServer, Request};
use millstream_peers::{RawConn, Scripted};
use serde_json::Value;

fn engine(workers: usize) -> Engine {
    Engine::builder().workers(workers).build().expect("engine starts")
}

fn admin(engine: &Engine) -> RunningAdmin {
    Admin::new(engine).bind("127.0.0.1:0").expect("admin listens")
}

fn site(engine: &Engine) -> Running {
    let server = HttpServer::new(engine).bind("127.0.0.1:0").expect("listens");
    server.serve(async |_: Request| "hello").expect("serves")
}

fn connect(address: &Addr) -> TcpStream {
    let conn = TcpStream::connect(address.as_tcp().expect("a TCP address")).expect("connects");
    conn.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout above zero");
    conn
}

/// Head and body of the answer to one request, sent as it is.
fn exchange(address: &Addr, request: &str) -> (String, String) {
    let mut conn = connect(address);
    conn.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    conn.read_to_string(&mut answer).expect("an answer and a close");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_lowercase(), body.to_owned())
}

fn fetch(address: &Addr, path: &str) -> (String, String) {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))
}

fn json(address: &Addr, path: &str) -> Value {
    let (head, body) = fetch(address, path);
    assert!(head.contains("content-type: application/json"), "{head}");
    serde_json::from_str(&body).expect("JSON")
}

/// Asks again until the answer is as wanted.
fn until(ask: impl Fn() -> Value, is_wanted: impl Fn(&Value) -> bool) -> Value {
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = ask();
        if is_wanted(&answer) || Instant::now() > give_up {
            return answer;
        }
        std::thread::yield_now();
    }
}

#[test]
fn health_is_ok_while_the_engine_runs() {
    let engine = engine(2);
    let admin = Admin::new(&engine).with_version("9.8.7").bind("127.0.0.1:0").expect("listens");
    let (head, _) = fetch(admin.local_addr(), "/health");
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    let health = json(admin.local_addr(), "/health");
    assert_eq!((&health["status"], &health["version"]), (&Value::from("ok"), &Value::from("9.8.7")));
    assert_eq!(health["workers"], 2);
    assert!(health["uptime_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
}

/// A reply that is kept and not read, behind which the server has closed.
#[test]
fn doctor_names_the_calls_whose_replies_are_kept_and_not_read() {
    let engine = engine(1);
    let admin = admin(&engine);
    let server = Scripted::always(|_, conn: &mut RawConn| {
        conn.read_request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart").half_close().read_to_end();
    });
    let (client, url) = (HttpClient::new(&engine), format!("http://{}/", server.address()));
    let call = async || client.get(url.as_str()).send().await.expect("a head");
    let line = line!() - 1;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut kept = Vec::new();
    runtime.block_on(async {
        for _ in 0..5 {
            kept.push(call().await);
        }
    });
    let report = json(admin.local_addr(), "/doctor");
    let remote = server.address().to_string();
    let found = report["diagnoses"].as_array().expect("a list").iter().find(|one| {
        one["rule"] == "close-wait-leak" && one["endpoint"].as_str().is_some_and(|at| at.ends_with(&remote))
    });
    let found = found.unwrap_or_else(|| panic!("not told: {report}"));
    let place = format!("{}:{line}:", file!());
    let is_named = |line: &Value| {
        line.as_str().is_some_and(|line| line.starts_with("5 kept, and not read") && line.contains(&place))
    };
    assert!(found["evidence"].as_array().expect("a list").iter().any(is_named), "{found}");
    let busy = json(admin.local_addr(), "/connections?state=busy&side=client");
    let owners = busy["connections"].as_array().expect("a list").iter().map(|one| one["owner"].to_string());
    assert_eq!(owners.filter(|owner| owner.contains(&place)).count(), 5, "{busy}");
    drop(kept);
}

#[test]
fn health_says_503_while_draining_and_after() {
    let engine = engine(1);
    let admin = admin(&engine);
    let busy = engine.busy();
    let (told, tell) = mpsc::channel();
    let draining = engine.clone();
    let drain = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let watch = draining.draining();
            let patience = Shutdown::Graceful(Duration::from_secs(60));
            let tell = async {
                watch.await;
                told.send(()).expect("the test waits");
            };
            tokio::join!(draining.shutdown(patience), tell).0
        })
    });
    tell.recv().expect("the drain has begun");
    let (head, body) = fetch(admin.local_addr(), "/health");
    assert!(head.starts_with("http/1.1 503 "), "{head}");
    let health: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(health["status"], "draining");
    assert!(health["drain_seconds_left"].as_f64().is_some_and(|left| (1.0..=60.0).contains(&left)), "{body}");
    drop(busy);
    assert!(drain.join().expect("no panic"), "the drain was clean");
    let (head, body) = fetch(admin.local_addr(), "/health");
    assert!(head.starts_with("http/1.1 503 ") && body.contains("\"stopped\""), "{head}{body}");
}

#[test]
fn watching_does_not_keep_the_engine_alive() {
    let engine = engine(1);
    let admin = admin(&engine);
    drop(engine);
    assert_eq!(json(admin.local_addr(), "/health")["status"], "stopped");
}

#[test]
fn answers_while_every_worker_is_stuck() {
    let engine = engine(1);
    let admin = admin(&engine);
    let (free, stuck) = mpsc::channel::<()>();
    let (began, begins) = mpsc::channel();
    let job = engine.workers()[0].run(move || {
        began.send(()).expect("the test waits");
        let _ = stuck.recv();
    });
    job.expect("the engine runs");
    begins.recv().expect("the worker is stuck");
    assert_eq!(json(admin.local_addr(), "/health")["status"], "ok");
    drop(free);
}

#[test]
fn metrics_hold_what_servers_and_connections_counted() {
    let engine = engine(2);
    let (site, admin) = (site(&engine), admin(&engine));
    fetch(site.local_addr(), "/");
    let (head, text) = fetch(admin.local_addr(), "/metrics");
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(head.contains(kind), "{head}");
    assert!(text.ends_with("# EOF\n"));
    let listen = site.local_addr();
    for row in [
        format!("millstream_http_responses_total{{listen=\"{listen}\",status=\"2xx\"}} 1\n"),
        format!("millstream_server_accepted_total{{listen=\"{listen}\",protocol=\"http\"}} 1\n"),
        "millstream_connections_opened_total{opener=\"accepted\",side=\"server\"} 1\n".to_owned(),
        "millstream_workers 2\n".to_owned(),
        "millstream_draining 0\n".to_owned(),
    ] {
        assert!(text.contains(&row), "{row} in\n{text}");
    }
}

#[test]
fn connections_balance_and_the_live_ones_are_listed() {
    let engine = engine(2);
    let (site, admin) = (site(&engine), admin(&engine));
    let mut kept: Vec<_> = (0..3).map(|_| connect(site.local_addr())).collect();
    for conn in &mut kept {
        conn.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
        let mut byte = [0];
        conn.read_exact(&mut byte).expect("answered");
    }
    fetch(site.local_addr(), "/");
    // A client may have its answer a moment before the server has counted the bytes.
    let is_counted = |report: &Value| {
        let listed = report["connections"].as_array().expect("a list");
        listed.len() >= 3 && listed.iter().all(|one| one["bytes_out"].as_u64() > Some(20))
    };
    let report = until(|| json(admin.local_addr(), "/connections"), is_counted);
    let number = |path: &str| report.pointer(path).and_then(Value::as_u64).unwrap_or(u64::MAX);
    assert_eq!(number("/opened"), 4, "{report}");
    assert_eq!(number("/opened"), number("/open") + number("/ended"));
    let server = &report["sides"]["server"];
    let causes = server["ended_for"].as_object().expect("causes").values();
    let ended: u64 =
        causes.flat_map(|by| by.as_object().expect("parties").values()).filter_map(Value::as_u64).sum();
    assert_eq!(ended, number("/ended"), "{report}");
    assert_eq!(number("/sides/server/opened_for/accepted"), 4);
    let peers: Vec<_> = kept.iter().map(|conn| conn.local_addr().expect("bound").to_string()).collect();
    let listed = report["connections"].as_array().expect("a list");
    for peer in peers {
        let found = listed.iter().find(|listed| listed["peer"] == peer.as_str()).expect("it lives");
        assert_eq!(found["messages"], 1, "{found}");
        assert_eq!(found["tls"], false);
        assert!(found["bytes_in"].as_u64() > Some(20) && found["bytes_out"].as_u64() > Some(20), "{found}");
    }
    let few = json(admin.local_addr(), "/connections?limit=2&side=server");
    assert_eq!(few["connections"].as_array().map(Vec::len), Some(2));
    let none = json(admin.local_addr(), "/connections?side=client");
    assert_eq!(none["connections"].as_array().map(Vec::len), Some(0));
}

#[test]
fn each_target_has_its_account_with_causes_and_records() {
    let engine = engine(1);
    let (site, admin) = (site(&engine), admin(&engine));
    let client = HttpClient::new(&engine);
    let target = site.local_addr().to_string();
    let get = |closes: bool| {
        let request = client.get(format!("http://{target}/"));
        let request = if closes { request.header("connection", "close") } else { request };
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let text = runtime.block_on(async { request.send().await.expect("served").text().await });
        assert_eq!(text.expect("read"), "hello");
    };
    (0..5).for_each(|_| get(false));
    get(true);
    let path = format!("/connections?records=8&target={}", target.replace(':', "%3A"));
    until(|| json(admin.local_addr(), &path), |report| report["targets"][0]["ended"] == 1);
    get(false);
    let report = json(admin.local_addr(), &path);
    let one = &report["targets"][0];
    let numbers = ["opened", "open", "ended", "requests", "dials_failed"].map(|key| one[key].as_u64());
    assert_eq!(numbers, [2, 1, 1, 7, 0].map(Some), "{one}");
    assert_eq!(
        (&one["target"], report["targets"].as_array().map(Vec::len)),
        (&target.as_str().into(), Some(1))
    );
    assert!((one["reuse_ratio"].as_f64().expect("asked") - 5.0 / 7.0).abs() < 1e-9, "{one}");
    assert_eq!(one["avoidable"], serde_json::json!({ "own_close_header": 1 }));
    assert_eq!(one["opened_for"], serde_json::json!({ "pool_empty": 2 }));
    // The server was asked to close, and did: its side keeps TIME_WAIT.
    assert_eq!(one["ended_for"], serde_json::json!({ "own_close_header": { "peer": 1 } }));
    let records = one["records"].as_array().expect("they were asked for");
    assert_eq!((records.len(), &records[0]["messages"]), (1, &6.into()), "{records:?}");
    assert!(records[0]["connect_seconds"].as_f64() > Some(0.0), "{records:?}");
    assert!(one["handshake_seconds"].as_f64() > Some(0.0), "{one}");
    let ports = report["budgets"].as_array().and_then(|all| all.iter().find(|one| one["remote"] == target));
    let ports = ports.expect("the port of its open connection is counted");
    let told = ["open", "time_wait", "opened", "taken_over"].map(|key| ports[key].as_u64());
    assert_eq!((told, &ports["level"]), ([1, 0, 2, 0].map(Some), &"calm".into()), "{ports}");
    assert!(
        ports["seconds_to_exhaustion"].is_null() && ports["search_seconds"].as_f64() > Some(0.0),
        "{ports}"
    );
    let others = json(admin.local_addr(), "/connections?target=nobody:1");
    assert_eq!(others["targets"], serde_json::json!([]));
    assert!(json(admin.local_addr(), "/connections")["targets"][0]["records"].is_null(), "not asked for");
    let (_, metrics) = fetch(admin.local_addr(), "/metrics");
    for row in [
        format!("millstream_target_opened_total{{target=\"{target}\"}} 2\n"),
        format!("millstream_target_requests_total{{target=\"{target}\"}} 7\n"),
        format!("millstream_ports_open{{local=\"127.0.0.1\",remote=\"{target}\"}} 1\n"),
        format!("millstream_target_avoidable_total{{cause=\"own_close_header\",target=\"{target}\"}} 1\n"),
    ] {
        assert!(metrics.contains(&row), "{row} in\n{metrics}");
    }
}

/// A server that closes each connection after five requests, as nginx does after a thousand.
#[test]
fn doctor_of_an_engine_names_the_target_whose_server_closes_after_five_requests() {
    let engine = engine(1);
    let admin = admin(&engine);
    let server = Scripted::always(|_, conn: &mut RawConn| {
        for number in 1..=5 {
            // A small request comes in one piece; nothing, when the client has ended.
            if !conn.try_read_some().is_ok_and(|bytes| !bytes.is_empty()) {
                return;
            }
            let closes = if number == 5 { "Connection: close\r\n" } else { "" };
            conn.send(format!("HTTP/1.1 200 OK\r\n{closes}Content-Length: 0\r\n\r\n"));
        }
    });
    let client = HttpClient::new(&engine);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let url = format!("http://{}/", server.address());
    // The doctor looks for a second; the requests go on until it has.
    let (ends, ended) = mpsc::channel();
    let address = admin.local_addr().clone();
    let doctor = std::thread::spawn(move || {
        let report = json(&address, "/doctor");
        ends.send(()).expect("the test waits");
        report
    });
    while ended.try_recv().is_err() {
        let reply = runtime.block_on(client.get(url.as_str()).send()).expect("served");
        assert_eq!(reply.status(), 200);
    }
    let report = doctor.join().expect("it answers");
    let found = report["diagnoses"].as_array().expect("a list");
    let one = found.iter().find(|one| one["rule"] == "max-requests").unwrap_or_else(|| panic!("{report}"));
    assert_eq!(one["endpoint"], server.address().to_string(), "{one}");
    assert!(one["cause"].as_str().expect("text").contains("after 5 requests"), "{one}");
    let text = fetch(admin.local_addr(), "/doctor?format=text").1;
    assert!(!text.contains("Not checked: keep-alive-race"), "an engine was asked: {text}");
    assert!(fetch(admin.local_addr(), "/doctor?for=0").0.starts_with("http/1.1 400"));
}

/// Head and body of the answer to a report of before.
fn post(address: &Addr, path: &str, body: &str) -> (String, String) {
    let size = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
    );
    exchange(address, &(head + body))
}

#[test]
fn doctor_compares_with_the_report_that_it_is_sent() {
    let engine = engine(1);
    let admin = admin(&engine);
    let address = admin.local_addr();
    let before = fetch(address, "/doctor").1;
    let (head, now) = post(address, "/doctor", &before);
    assert!(head.starts_with("http/1.1 200 ") && head.contains("content-type: application/json"), "{head}");
    let (mut before, now): (Value, Value) =
        (serde_json::from_str(&before).expect("JSON"), serde_json::from_str(&now).expect("JSON"));
    // A look takes a second.
    assert!(now["since"]["elapsed_s"].as_u64().is_some_and(|seconds| seconds >= 1), "{now}");
    let followed = now["since"]["diagnoses"].as_array().expect("a list").len();
    assert_eq!(Some(followed), before["diagnoses"].as_array().map(Vec::len), "{now}");

    // As if a setting had been another then.
    let settings = before["host"]["sysctls"].as_object_mut().expect("a map");
    let (name, value) =
        settings.iter_mut().find(|(name, _)| name.ends_with("somaxconn")).expect("it is read");
    let is = value.as_u64().expect("a number");
    *value = (is + 1).into();
    let line = format!("{name}: {} -> {is}", is + 1);
    let (head, text) = post(address, "/doctor?format=text", &before.to_string());
    assert!(head.contains("content-type: text/plain"), "{head}");
    assert!(text.contains("Since the earlier report, ") && text.contains(&line), "{text}");
    // A report that has itself been compared is one as well.
    assert!(post(address, "/doctor", &now.to_string()).0.starts_with("http/1.1 200 "));
}

#[test]
fn doctor_refuses_what_is_no_report_and_what_is_too_long() {
    let engine = engine(1);
    let admin = admin(&engine);
    let address = admin.local_addr();
    for bad in ["", "{", "[]", r#"{"verdict":"ok"}"#, &"[".repeat(100_000)] {
        let (head, body) = post(address, "/doctor", bad);
        assert!(head.starts_with("http/1.1 400 "), "{head}");
        assert_eq!(body, "this is no report of `millstream doctor --json`, nor what /doctor gave\n");
    }
    let mut report = json(address, "/doctor");
    report["only"] = "10.9.0.2:80".into();
    let (head, body) = post(address, "/doctor", &report.to_string());
    assert!(head.starts_with("http/1.1 400 ") && body.contains("is of 10.9.0.2:80"), "{head}{body}");
    assert!(post(address, "/doctor?for=0", "{}").0.starts_with("http/1.1 400 "));

    // The length alone is enough to be refused, and only this path takes a body at all.
    for (path, size, status) in [("/doctor", 2_097_153, 413), ("/health", 1, 413), ("/doctor/x", 1, 413)] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
        );
        let (head, _) = exchange(address, &head);
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{path}: {head}");
    }
}

#[test]
fn only_known_hosts_are_answered() {
    let engine = engine(1);
    let admin = admin(&engine);
    let address = admin.local_addr();
    for (host, status) in [
        (address.to_string(), 200),
        ("localhost".to_owned(), 200),
        ("[::1]".to_owned(), 200),
        ("evil.example".to_owned(), 421),
        ("192.0.2.1".to_owned(), 421),
    ] {
        let (head, _) =
            exchange(address, &format!("GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{host}: {head}");
    }
}

#[test]
fn other_methods_and_paths_are_refused() {
    let engine = engine(1);
    let admin = admin(&engine);
    let address = admin.local_addr();
    let ask = |line: &str| {
        exchange(address, &format!("{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")).0
    };
    let head = ask("POST /health");
    assert!(head.starts_with("http/1.1 405 ") && head.contains("allow: get, head"), "{head}");
    let head = ask("PUT /doctor");
    assert!(head.starts_with("http/1.1 405 ") && head.contains("allow: get, head, post"), "{head}");
    assert!(ask("GET /nothing").starts_with("http/1.1 404 "));
    assert!(ask("POST /nothing").starts_with("http/1.1 404 "));
    assert!(ask("GET /connections?limit=x").starts_with("http/1.1 400 "));
    assert!(ask("GET /dashboard/script.js").starts_with("http/1.1 404 "));
    assert!(ask("HEAD /metrics").starts_with("http/1.1 200 "));
}

#[test]
fn page_loads_nothing_from_elsewhere() {
    let engine = engine(1);
    let admin = admin(&engine);
    let (head, page) = fetch(admin.local_addr(), "/");
    assert!(head.contains("content-security-policy: default-src 'none'; script-src 'self'"), "{head}");
    assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    assert!(!page.contains("http://") && !page.contains("https://"));
    for (path, kind) in [("/dashboard.css", "text/css"), ("/dashboard.js", "text/javascript")] {
        assert!(page.contains(path));
        let (head, body) = fetch(admin.local_addr(), path);
        assert!(head.contains(&format!("content-type: {kind}")), "{head}");
        // Nothing that puts text in as HTML: peers choose some of it.
        assert!(!body.contains("innerHTML") && !body.contains("insertAdjacentHTML"));
    }
}

#[test]
fn beyond_loopback_only_when_it_is_meant() {
    let engine = engine(1);
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let error = Admin::new(&engine).bind(address).expect_err("not loopback").to_string();
        assert!(error.contains("is not loopback"), "{error}");
    }
    assert!(Admin::new(&engine).allow_remote().bind("0.0.0.0:0").is_ok());
    assert!(Admin::new(&engine).bind("localhost:0").is_ok());
}

#[test]
fn dropping_it_ends_it() {
    let engine = engine(1);
    let admin = admin(&engine);
    let address = admin.local_addr().as_tcp().expect("a TCP address");
    drop(admin);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn doctor_of_an_engine_names_who_has_the_address_it_wanted() {
    let engine = engine(1);
    let admin = admin(&engine);
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = other.local_addr().expect("it listens").to_string();
    assert!(HttpServer::new(&engine).bind(&address).is_err());
    let report = json(admin.local_addr(), "/doctor");
    let diagnoses = report["diagnoses"].as_array().expect("a list");
    let found = diagnoses.iter().find(|one| one["rule"] == "listen-address").expect("it was refused");
    assert_eq!(found["endpoint"], address.as_str(), "{found}");
    let cause = found["cause"].as_str().expect("a text");
    assert!(cause.contains(&format!("pid {}", std::process::id())), "{cause}");
    assert_eq!(report["verdict"], "critical");
}
