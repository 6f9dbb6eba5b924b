//! TLS: whom the client trusts, what it says when it does not, and that it knows HTTP/1.1 alone.

mod client_world;

use client_world::{World, block_on};
use millstream_base::{Error, Kind, Phase, Result, Seen};
use millstream_client::transport::tls::{Pem, TlsClient, TlsClientBuilder};
use millstream_http::HttpClient;
use millstream_http::client::HttpClientBuilder;
use millstream_peers::certs::{Authority, Identity, self_signed};
use millstream_peers::nginx::NginxConfig;
use millstream_peers::{Folder, Skip, openssl};

const NAME: &[&str] = &["localhost"];

fn trusting(authority: &Authority) -> HttpClientBuilder {
    HttpClient::builder().root_certificates(Pem::text(authority.root())).without_system_roots()
}

fn trusting_with_lists(authority: &Authority, lists: String) -> HttpClientBuilder {
    let tls = TlsClient::builder().with_roots(Pem::text(authority.root())).without_system_roots();
    let tls: TlsClientBuilder = tls.with_revocation_lists(Pem::text(lists)).with_alpn(["http/1.1"]);
    HttpClient::builder().tls(tls.build().expect("settings"))
}

/// A GET of `openssl s_server`'s page, as somebody with this certificate.
fn fetch(
    builder: HttpClientBuilder,
    identity: &Identity,
    arguments: &[&str],
) -> Result<Result<String>, Skip> {
    let server = openssl::Server::start(identity, arguments)?;
    let world = World::new();
    let client = builder.build(&world.engine).expect("settings");
    let address = format!("https://localhost:{}/", server.address().port());
    Ok(block_on(async { client.get(address).send().await?.text().await }))
}

fn check_refused(outcome: Result<String>, expected: &str) {
    let error: Error = outcome.expect_err(expected);
    assert_eq!(
        (error.kind(), error.phase(), error.seen()),
        (Kind::Tls, Some(Phase::Tls), Seen::No),
        "{error}"
    );
    let text = error.to_string();
    assert!(text.contains(expected) && !text.contains('\n'), "{text}");
    assert!(text.starts_with("GET https://localhost:"), "{text}");
}

#[test]
fn good_certificate_is_good() {
    let authority = Authority::new();
    let outcome = fetch(trusting(&authority), &authority.server(NAME), &[]);
    let text = millstream_peers::or_skip!(outcome).expect("trusted");
    assert!(text.contains("TLSv1.3"), "{text}");
}

#[test]
fn tls_1_2_is_spoken_and_1_1_is_not() {
    let authority = Authority::new();
    let outcome = fetch(trusting(&authority), &authority.server(NAME), &["-tls1_2"]);
    assert!(millstream_peers::or_skip!(outcome).expect("trusted").contains("TLSv1.2"));
    let old = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"];
    let outcome = fetch(trusting(&authority), &authority.server(NAME), &old);
    assert_eq!(millstream_peers::or_skip!(outcome).expect_err("too old").kind(), Kind::Tls);
}

#[test]
fn bad_certificates_are_refused_with_one_line() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for (identity, expected) in [
        (authority.expired(NAME), "certificate expired"),
        (authority.not_yet_valid(NAME), "certificate not valid yet"),
        (authority.server(&["other.example"]), "not valid for name localhost, only for other.example"),
        (stranger.server(NAME), "unknown issuer"),
        (self_signed(NAME), "unknown issuer"),
    ] {
        let outcome = fetch(trusting(&authority), &identity, &[]);
        check_refused(millstream_peers::or_skip!(outcome), expected);
    }
}

#[test]
fn revoked_certificates_and_issuers_are_refused() {
    let authority = Authority::new();
    let leaf = authority.server(NAME);
    for (lists, expected) in [
        (authority.lists_revoking(&leaf), Some("certificate revoked")),
        (authority.lists_revoking_issuer(), Some("certificate revoked")),
        (authority.clean_lists(), None),
    ] {
        let outcome = fetch(trusting_with_lists(&authority, lists), &leaf, &[]);
        let outcome = millstream_peers::or_skip!(outcome);
        match expected {
            Some(expected) => check_refused(outcome, expected),
            None => assert!(outcome.is_ok(), "{outcome:?}"),
        }
    }
}

#[test]
fn danger_accepts_what_is_refused_else() {
    for identity in [Authority::new().expired(NAME), self_signed(&["other.example"])] {
        let builder = HttpClient::builder().danger_accept_invalid_certificates();
        let outcome = fetch(builder, &identity, &[]);
        assert!(millstream_peers::or_skip!(outcome).is_ok());
    }
}

#[test]
fn client_certificate_is_shown_where_it_is_asked_for() {
    let authority = Authority::new();
    let folder = Folder::new();
    let root = folder.write("root.pem", authority.root()).display().to_string();
    let arguments = ["-Verify", "2", "-verify_return_error", "-CAfile", root.as_str()];
    let (server, known) = (authority.server(NAME), authority.client("me"));
    let shown = trusting(&authority).client_certificate(Pem::text(known.chain), Pem::text(known.key));
    let outcome = fetch(shown, &server, &arguments);
    assert!(millstream_peers::or_skip!(outcome).is_ok());
    let outcome = fetch(trusting(&authority), &server, &arguments);
    let error = millstream_peers::or_skip!(outcome).expect_err("no certificate");
    assert!(error.to_string().contains("requires a client certificate"), "{error}");
}

#[test]
fn http_1_1_is_offered_and_nothing_else() {
    let authority = Authority::new();
    let outcome = fetch(trusting(&authority), &authority.server(NAME), &["-alpn", "h2,http/1.1"]);
    assert!(millstream_peers::or_skip!(outcome).is_ok());
    let outcome = fetch(trusting(&authority), &authority.server(NAME), &["-alpn", "h2"]);
    let error = millstream_peers::or_skip!(outcome).expect_err("no protocol in common");
    assert_eq!(error.kind(), Kind::Tls, "{error}");
}

#[test]
fn connections_over_tls_are_used_again_and_their_end_is_noticed() {
    let (authority, folder) = (Authority::new(), Folder::new());
    folder.write("x", "y".repeat(100_000));
    let config = NginxConfig::new().root(folder.path()).tls(&authority.server(NAME)).keepalive_timeout(1);
    let nginx = millstream_peers::or_skip!(config.start());
    let world = World::new();
    let client = trusting(&authority).build(&world.engine).expect("settings");
    let address = format!("https://localhost:{}/x", nginx.address().port());
    block_on(async {
        for _ in 0..20 {
            let body = client.get(address.as_str()).send().await.expect("a reply").bytes().await;
            assert_eq!(body.expect("whole").len(), 100_000);
        }
        let stats = client.pool_stats();
        assert_eq!((stats.dialled, stats.reused, stats.idle), (1, 19, 1), "tickets are no end");
    });
    // close_notify and FIN of a server that has waited for long enough.
    millstream_peers::eventually("its end is noticed", || client.pool_stats().open == 0);
}

#[test]
fn plain_server_behind_https_is_told_apart() {
    let server = millstream_peers::Scripted::serve([|conn: &mut millstream_peers::RawConn| {
        conn.read_some();
        conn.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        conn.has_more();
    }]);
    let world = World::new();
    let client = trusting(&Authority::new()).build(&world.engine).expect("settings");
    let address = format!("https://localhost:{}/", server.address().port());
    check_refused(block_on(async { client.get(address).send().await?.text().await }), "does not speak TLS");
}
