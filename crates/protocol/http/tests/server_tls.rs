//! Our server over TLS: several names, ALPN, whole responses, and clients that others wrote.

mod serving;

use millstream_http::server::ALPN;
use millstream_http::{Request, Response};
use millstream_peers::certs::Authority;
use millstream_peers::curl::{curl, curl_with};
use millstream_peers::{Folder, RawConn, openssl, or_skip};
use millstream_server::transport::tls::{Pem, TlsServer};
use serving::{Served, get};

struct Secure {
    server: Served,
    folder: Folder,
    root: String,
}

impl Secure {
    /// A server with certificates for `one.test`, `*.two.test` and 127.0.0.1.
    fn start() -> Self {
        let (authority, folder) = (Authority::new(), Folder::new());
        let mut tls = TlsServer::builder().with_alpn(ALPN);
        for names in [&["localhost", "127.0.0.1"][..], &["one.test"], &["*.two.test"]] {
            let identity = authority.server(names);
            tls = tls.with_certificate(Pem::text(identity.chain), Pem::text(identity.key));
        }
        let tls = tls.build().expect("the certificates are good");
        folder.write("root.pem", authority.root());
        let server = Served::with(2, |server| server.with_tls(tls), answer);
        Self { server, folder, root: authority.root() }
    }

    fn url(&self, name: &str, path: &str) -> String {
        format!("https://{name}:{}{path}", self.server.address.port())
    }

    /// curl's arguments: trusts our root, finds every name on this host.
    fn arguments(&self, name: &str) -> [String; 4] {
        let root = self.folder.path().join("root.pem").display().to_string();
        let resolve = format!("{name}:{}:127.0.0.1", self.server.address.port());
        ["--cacert".to_owned(), root, "--resolve".to_owned(), resolve]
    }
}

/// Says which name and protocol the handshake agreed on; `/echo` gives the body back, `/large` eight megabytes.
async fn answer(mut request: Request) -> millstream_base::Result<Response> {
    let Some(tls) = request.conn().tls() else { return Ok(Response::text("no TLS")) };
    let alpn = tls.alpn.as_ref().map(|alpn| String::from_utf8_lossy(alpn).into_owned());
    let text = format!("{} {}", tls.sni.as_deref().unwrap_or("-"), alpn.as_deref().unwrap_or("-"));
    Ok(match request.path() {
        "/echo" => Response::bytes(request.bytes().await?),
        "/large" => Response::bytes(vec![b'x'; 8 << 20]),
        "/stream" => {
            let mut left = 800;
            Response::bytes(millstream_http::Body::from_fn(move || {
                left -= 1;
                std::future::ready((left >= 0).then(|| Ok("x".repeat(10_000).into())))
            }))
        }
        _ => Response::text(text),
    })
}

fn strs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

#[test]
fn curl_trusts_each_of_the_names() {
    let secure = Secure::start();
    for name in ["one.test", "a.two.test", "localhost"] {
        let arguments = secure.arguments(name);
        let url = secure.url(name, "/");
        let output = or_skip!(curl(&[&strs(&arguments)[..], &["--http1.1", &url]].concat())).succeeded();
        assert_eq!(output.stdout, format!("{name} http/1.1"));
    }
}

#[test]
fn curl_offering_http_2_gets_1_1() {
    let secure = Secure::start();
    let (arguments, url) = (secure.arguments("one.test"), secure.url("one.test", "/"));
    let output = or_skip!(curl(&[&strs(&arguments)[..], &["--http2", &url]].concat())).succeeded();
    assert_eq!(output.stdout, "one.test http/1.1");
}

#[test]
fn curl_refuses_a_name_without_a_certificate() {
    let secure = Secure::start();
    let (arguments, url) = (secure.arguments("three.test"), secure.url("three.test", "/"));
    let output = or_skip!(curl(&[&strs(&arguments)[..], &[&url]].concat()));
    assert_eq!(output.code, Some(60), "{}", output.stderr);
}

#[test]
fn bodies_go_through_in_both_directions() {
    let secure = Secure::start();
    let arguments = secure.arguments("one.test");
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let url = secure.url("one.test", "/echo");
    let output =
        or_skip!(curl_with(&[&strs(&arguments)[..], &["--data-binary", "@-", &url]].concat(), &body))
            .succeeded();
    assert!(output.bytes == body, "{} bytes", output.bytes.len());
}

#[test]
fn large_responses_come_whole_also_where_the_connection_closes() {
    let secure = Secure::start();
    let arguments = secure.arguments("one.test");
    for path in ["/large", "/stream"] {
        let url = secure.url("one.test", path);
        // So slowly that what TLS holds can't go out at once.
        for more in [
            &["--limit-rate", "40M"][..],
            &["--limit-rate", "40M", "-H", "Connection: close"],
            &["--http1.0"],
        ] {
            let output = or_skip!(curl(&[&strs(&arguments)[..], more, &[&url]].concat())).succeeded();
            assert!(output.bytes.len() >= 8_000_000, "{} bytes of {path} with {more:?}", output.bytes.len());
        }
    }
}

#[test]
fn openssl_speaks_with_us_in_both_versions() {
    let secure = Secure::start();
    let request = "GET / HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n";
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = [
            version,
            "-quiet",
            "-alpn",
            "http/1.1",
            "-servername",
            "one.test",
            "-verify_hostname",
            "one.test",
        ];
        let output =
            or_skip!(openssl::client(secure.server.address, &secure.root, &arguments, request.as_bytes()));
        assert!(output.stdout.ends_with("one.test http/1.1"), "{output:?}");
    }
}

#[test]
fn client_that_speaks_no_tls_is_counted_and_harms_nobody() {
    let secure = Secure::start();
    let mut conn = RawConn::connect(secure.server.address);
    conn.send(get("/"));
    let (bytes, _) = conn.read_to_end();
    assert!(!bytes.starts_with(b"HTTP"), "{}", bytes.escape_ascii());
    secure.server.wait_for_metric("millstream_server_handshake_failures", 1);
    // One that leaves in the middle, and one that says nothing.
    RawConn::connect(secure.server.address).send(b"\x16\x03\x01").half_close();
    secure.server.wait_for_metric("millstream_server_handshake_failures", 2);
    let _silent = RawConn::connect(secure.server.address);
    let (arguments, url) = (secure.arguments("one.test"), secure.url("one.test", "/"));
    or_skip!(curl(&[&strs(&arguments)[..], &[&url]].concat())).succeeded();
}
