//! TLS against OpenSSL's `s_server` and `s_client`: another implementation judges the same chains as we do.
#![allow(missing_docs, clippy::unwrap_used)]

mod shared;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use millstream_base::Error;
use millstream_peers::certs::{Authority, Identity, self_signed};
use millstream_transport::tls::{Pem, TlsClient, TlsClientBuilder, TlsServer, TlsServerBuilder};
use millstream_transport::{Addr, Conn, LifeTable};
use shared::{Folder, dial_to, listen, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn is_missing() -> bool {
    let missing = Command::new("openssl").arg("version").output().is_err();
    if missing {
        eprintln!("SKIPPED: openssl missing");
    }
    missing
}

/// A running `openssl`, killed with the test.
struct Openssl {
    child: Child,
    output: BufReader<ChildStdout>,
    _input: Option<ChildStdin>,
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(arguments: &[&str]) -> Openssl {
    let mut command = Command::new("openssl");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let (output, input) = (BufReader::new(child.stdout.take().unwrap()), child.stdin.take());
    Openssl { child, output, _input: input }
}

/// An `s_server` that sends each line back reversed.
fn s_server(folder: &Folder, identity: &Identity, more: &[&str]) -> (Openssl, Addr) {
    let (chain, key) = identity.write_to(&folder.0, "server").unwrap();
    let (chain, key) = (text(&chain), text(&key));
    let mut arguments = vec!["s_server", "-accept", "127.0.0.1:0", "-rev", "-cert", &chain, "-key", &key];
    let issuer = write(folder, "issuer.pem", issuer_of(identity));
    arguments.extend(["-cert_chain", &issuer]);
    arguments.extend(more);
    let mut server = spawn(&arguments);
    let mut line = String::new();
    while !line.starts_with("ACCEPT ") {
        line.clear();
        assert_ne!(server.output.read_line(&mut line).unwrap(), 0, "s_server did not start");
    }
    let address = line.trim_start_matches("ACCEPT ").trim().parse().unwrap();
    (server, Addr::Tcp(address))
}

/// What follows the first certificate; for a self-signed one that is itself.
fn issuer_of(identity: &Identity) -> &str {
    let begin = identity.chain.rfind("-----BEGIN").unwrap();
    &identity.chain[begin..]
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn write(folder: &Folder, name: &str, content: &str) -> String {
    let path: PathBuf = folder.0.join(name);
    std::fs::write(&path, content).unwrap();
    text(&path)
}

fn trusting(authority: &Authority) -> TlsClientBuilder {
    TlsClient::builder().without_system_roots().with_roots(Pem::text(authority.root()))
}

fn serving(identity: &Identity) -> TlsServerBuilder {
    TlsServer::builder().with_certificate(Pem::text(&*identity.chain), Pem::text(&*identity.key))
}

async fn open(client: TlsClientBuilder, address: &Addr, name: &str) -> Result<Conn, Error> {
    let conn = dial_to(address, &LifeTable::default()).await;
    conn.start_tls(&client.build().unwrap(), name, soon()).await
}

async fn assert_reverses(mut conn: Conn) {
    conn.write_all(b"abc\n").await.unwrap();
    conn.flush().await.unwrap();
    let mut reply = [0; 4];
    conn.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"cba\n");
}

#[tokio::test]
async fn our_client_talks_to_s_server_in_both_versions() {
    if is_missing() {
        return;
    }
    let (folder, authority) = (Folder::new("versions"), Authority::new());
    for (flag, version) in [("-tls1_3", "TLSv1_3"), ("-tls1_2", "TLSv1_2")] {
        let identity = authority.server(&["x.test"]);
        let (_server, address) = s_server(&folder, &identity, &[flag, "-alpn", "http/1.1"]);
        let conn =
            open(trusting(&authority).with_alpn(["h2", "http/1.1"]), &address, "x.test").await.unwrap();
        let info = conn.tls_info().unwrap();
        assert_eq!((info.version, info.alpn.as_deref()), (version, Some(&b"http/1.1"[..])));
        assert_reverses(conn).await;
    }
}

#[tokio::test]
async fn our_client_refuses_bad_chains_of_s_server() {
    if is_missing() {
        return;
    }
    let (folder, authority) = (Folder::new("bad-chains"), Authority::new());
    let name = "x.test";
    let good = authority.server(&[name]);
    let with_lists = trusting(&authority).with_revocation_lists(Pem::text(authority.lists_revoking_issuer()));
    for (identity, client, expected) in [
        (authority.expired(&[name]), trusting(&authority), "certificate expired"),
        (authority.server(&["y.test"]), trusting(&authority), "certificate not valid for name x.test"),
        (self_signed(&[name]), trusting(&authority), "unknown issuer"),
        (good.clone(), with_lists, "certificate revoked"),
    ] {
        let (_server, address) = s_server(&folder, &identity, &[]);
        let error = open(client, &address, name).await.unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
    let clean = trusting(&authority).with_revocation_lists(Pem::text(authority.clean_lists()));
    let (_server, address) = s_server(&folder, &good, &[]);
    assert_reverses(open(clean, &address, name).await.unwrap()).await;
}

#[tokio::test]
async fn our_client_shows_its_certificate_to_s_server() {
    if is_missing() {
        return;
    }
    let (folder, authority) = (Folder::new("client-cert"), Authority::new());
    let root = write(&folder, "root.pem", &authority.root());
    let demand = ["-Verify", "3", "-verify_return_error", "-CAfile", &root];
    let (_server, address) = s_server(&folder, &authority.server(&["x.test"]), &demand);
    let me = authority.client("me.test");
    let with_certificate = trusting(&authority).with_certificate(Pem::text(me.chain), Pem::text(me.key));
    assert_reverses(open(with_certificate, &address, "x.test").await.unwrap()).await;

    let (_server, address) = s_server(&folder, &authority.server(&["x.test"]), &demand);
    let mut conn = open(trusting(&authority), &address, "x.test").await.unwrap();
    let error = Error::from(conn.read_u8().await.unwrap_err());
    assert_eq!(error.to_string(), "peer requires a client certificate");
}

#[tokio::test]
async fn our_client_asks_s_server_for_a_name() {
    if is_missing() {
        return;
    }
    let (folder, authority) = (Folder::new("sni"), Authority::new());
    let (second, second_key) = authority.server(&["second.test"]).write_to(&folder.0, "second").unwrap();
    let (second, second_key) = (text(&second), text(&second_key));
    let more = ["-servername", "second.test", "-cert2", &second, "-key2", &second_key];
    let (_server, address) = s_server(&folder, &authority.server(&["first.test"]), &more);
    assert_reverses(open(trusting(&authority), &address, "first.test").await.unwrap()).await;
    // s_server sends its second certificate without the intermediate; what counts here is which one it chose.
    let conn = open(TlsClient::builder().danger_accept_invalid_certificates(), &address, "second.test").await;
    let sent = conn.unwrap().tls_info().unwrap().peer_certificates.remove(0);
    let expected = std::fs::read_to_string(&second).unwrap();
    let der = rustls_pki_types::pem::PemObject::from_pem_slice(expected.as_bytes());
    assert_eq!(Ok::<_, String>(sent), der.map_err(|error: rustls_pki_types::pem::Error| error.to_string()));
}

/// Runs `s_client` against one handshake of ours that echoes one line; gives what it printed and whether it liked it.
async fn s_client(server: TlsServerBuilder, arguments: &[&str]) -> (bool, String, Result<Conn, Error>) {
    let mut acceptor = listen("127.0.0.1:0");
    let address = acceptor.local_addr().to_string();
    let mut all = vec!["s_client", "-connect", &address, "-verify_return_error", "-quiet", "-no_ign_eof"];
    all.extend(arguments);
    let mut command = Command::new("openssl");
    command.args(&all).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"hello\n").unwrap();
    let table = LifeTable::default();
    let conn = Conn::accept(acceptor.accept().await.unwrap(), &table).unwrap();
    let outcome = echo_line(conn, &server.build().unwrap()).await;
    let finished = tokio::task::spawn_blocking(move || {
        let (mut out, mut err) = (String::new(), String::new());
        child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (child.wait().unwrap().success(), out + &err)
    });
    let (is_good, printed) = finished.await.unwrap();
    (is_good, printed, outcome)
}

async fn echo_line(conn: Conn, server: &TlsServer) -> Result<Conn, Error> {
    let mut conn = conn.accept_tls(server, soon()).await?;
    let mut line = [0; 6];
    conn.read_exact(&mut line).await?;
    conn.write_all(&line).await?;
    conn.shutdown().await?;
    Ok(conn)
}

#[tokio::test]
async fn s_client_trusts_our_server() {
    if is_missing() {
        return;
    }
    let (folder, authority) = (Folder::new("s-client"), Authority::new());
    let root = write(&folder, "root.pem", &authority.root());
    for version in ["-tls1_3", "-tls1_2"] {
        let server = serving(&authority.server(&["x.test"])).with_alpn(["http/1.1"]);
        let arguments = [
            version,
            "-CAfile",
            &root,
            "-servername",
            "x.test",
            "-verify_hostname",
            "x.test",
            "-alpn",
            "http/1.1",
        ];
        let (is_good, printed, outcome) = s_client(server, &arguments).await;
        assert!(is_good && printed.contains("hello"), "{version}: {printed}");
        let info = outcome.unwrap().tls_info().unwrap();
        assert_eq!((info.sni.as_deref(), info.alpn.as_deref()), (Some("x.test"), Some(&b"http/1.1"[..])));
    }
}

#[tokio::test]
async fn s_client_refuses_bad_chains_of_ours() {
    if is_missing() {
        return;
    }
    let (folder, authority) = (Folder::new("s-client-bad"), Authority::new());
    let root = write(&folder, "root.pem", &authority.root());
    let lists = authority.root() + &authority.lists_revoking_issuer();
    let revoking = write(&folder, "revoking.pem", &lists);
    let trust: &[&str] = &["-CAfile", &root, "-servername", "x.test", "-verify_hostname", "x.test"];
    let strict: &[&str] = &["-CAfile", &revoking, "-crl_check_all", "-servername", "x.test"];
    for (identity, arguments, why, at_server) in [
        (
            authority.expired(&["x.test"]),
            trust,
            "certificate has expired",
            "peer says our certificate expired",
        ),
        (authority.server(&["y.test"]), trust, "ostname mismatch", "peer does not accept our certificate"),
        (self_signed(&["x.test"]), trust, "self-signed certificate", "peer does not trust the issuer"),
        (
            authority.server(&["x.test"]),
            strict,
            "certificate revoked",
            "peer says our certificate is revoked",
        ),
    ] {
        let (is_good, printed, outcome) = s_client(serving(&identity), arguments).await;
        assert!(!is_good && printed.contains(why), "{why}: {printed}");
        let error = outcome.unwrap_err();
        assert!(error.to_string().starts_with(at_server), "{error}");
    }
}

#[tokio::test]
async fn our_server_lets_s_client_in_by_certificate() {
    if is_missing() {
        return;
    }
    let (folder, authority) = (Folder::new("s-client-cert"), Authority::new());
    let root = write(&folder, "root.pem", &authority.root());
    let me = authority.client("me.test");
    let (chain, key) = me.write_to(&folder.0, "me").unwrap();
    let (chain, key) = (text(&chain), text(&key));
    let issuer = write(&folder, "issuer.pem", issuer_of(&me));
    let server = || serving(&authority.server(&["x.test"])).require_clients(Pem::text(authority.root()));
    let with = ["-CAfile", &root, "-cert", &chain, "-key", &key, "-cert_chain", &issuer];
    let (is_good, printed, outcome) = s_client(server(), &with).await;
    assert!(is_good && printed.contains("hello"), "{printed}");
    assert_eq!(outcome.unwrap().tls_info().unwrap().peer_certificates.len(), 2);
    let (_, _, outcome) = s_client(server(), &["-CAfile", &root]).await;
    let error = outcome.unwrap_err();
    assert!(error.to_string().starts_with("peer sent no certificate, but one is required"), "{error}");
}
