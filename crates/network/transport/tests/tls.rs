//! TLS between ourselves: who is let in, who is not, and what the error says.
#![allow(missing_docs, clippy::unwrap_used)]

mod shared;

use std::time::{Duration, Instant};

use millstream_base::{Deadline, Error, Kind, Origin, Phase, Seen};
use millstream_peers::certs::{Authority, Identity, self_signed};
use millstream_transport::tls::{Pem, TlsClient, TlsClientBuilder, TlsServer, TlsServerBuilder};
use millstream_transport::{Cause, ClosedBy, Conn, LifeTable, PeerEvent};
use shared::{pair_at, peer, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn trusting(authority: &Authority) -> TlsClientBuilder {
    TlsClient::builder().without_system_roots().with_roots(Pem::text(authority.root()))
}

fn serving(identity: &Identity) -> TlsServerBuilder {
    TlsServer::builder().with_certificate(Pem::text(&*identity.chain), Pem::text(&*identity.key))
}

/// Both ends of a handshake over TCP on loopback.
async fn handshake(
    client: &TlsClient,
    server: &TlsServer,
    name: &str,
    table: &LifeTable,
) -> (Result<Conn, Error>, Result<Conn, Error>) {
    let (near, far) = pair_at("127.0.0.1:0", table).await;
    tokio::join!(near.start_tls(client, name, soon()), far.accept_tls(server, soon()))
}

/// The client's error against this server.
async fn refusal(client: TlsClientBuilder, identity: &Identity, name: &str) -> Error {
    let table = LifeTable::default();
    let (client, server) = (client.build().unwrap(), serving(identity).build().unwrap());
    let (near, _) = handshake(&client, &server, name, &table).await;
    let error = near.unwrap_err();
    assert_eq!((error.kind(), error.origin()), (Kind::Tls, Origin::Peer));
    assert_eq!((error.phase(), error.seen()), (Some(Phase::Tls), Seen::No));
    assert_eq!(table.counts().ended_by_cause(Cause::Tls), 2);
    error
}

#[tokio::test]
async fn good_certificate_carries_bytes_both_ways() {
    let (authority, table) = (Authority::new(), LifeTable::default());
    let client = trusting(&authority).with_alpn(["h2", "http/1.1"]).build().unwrap();
    let server = serving(&authority.server(&["good.test"])).with_alpn(["http/1.1"]).build().unwrap();
    let (near, far) = handshake(&client, &server, "good.test", &table).await;
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    let body = vec![7u8; 300_000];
    let (sent, received) = tokio::join!(
        async {
            near.write_all(&body).await.unwrap();
            near.shutdown().await.unwrap();
            near.life().snapshot().bytes_out
        },
        async {
            let mut all = Vec::new();
            far.read_to_end(&mut all).await.unwrap();
            far.write_all(b"bye").await.unwrap();
            far.flush().await.unwrap();
            all
        }
    );
    assert_eq!(received, body);
    assert_eq!(sent, 300_000, "plain bytes are counted");
    let mut bye = [0; 3];
    near.read_exact(&mut bye).await.unwrap();
    let (ours, theirs) = (near.tls_info().unwrap(), far.tls_info().unwrap());
    assert_eq!(ours.alpn.as_deref(), Some(&b"http/1.1"[..]));
    assert_eq!((theirs.sni.as_deref(), ours.version), (Some("good.test"), "TLSv1_3"));
    assert_eq!((ours.peer_certificates.len(), theirs.peer_certificates.len()), (2, 0));
    assert!(ours.cipher.starts_with("TLS13_"), "{}", ours.cipher);
    assert!(near.life().snapshot().tls_time > Duration::ZERO);
    assert_eq!(far.life().closed_by(), Some(ClosedBy::Peer));
}

#[tokio::test]
async fn bad_certificates_are_refused_in_one_clear_line() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let name = "good.test";
    let expired = refusal(trusting(&authority), &authority.expired(&[name]), name).await.to_string();
    assert!(expired.starts_with("certificate expired ") && expired.ends_with(" days ago, in TLS handshake"));
    for (identity, expected) in [
        (authority.not_yet_valid(&[name]), "certificate not valid yet"),
        (
            authority.server(&["other.test", "*.good.test"]),
            "certificate not valid for name good.test, only for other.test, *.good.test",
        ),
        (self_signed(&[name]), "unknown issuer: certificate is self-signed or its root not trusted"),
        (stranger.server(&[name]), "unknown issuer: certificate is self-signed or its root not trusted"),
        (authority.client(name), "certificate not accepted"),
    ] {
        let text = refusal(trusting(&authority), &identity, name).await.to_string();
        assert!(text.starts_with(expected) && text.ends_with(", in TLS handshake"), "{text}");
        assert!(!text.contains('\n'));
    }
}

#[tokio::test]
async fn server_learns_why_it_was_refused() {
    let (authority, table) = (Authority::new(), LifeTable::default());
    let client = trusting(&authority).build().unwrap();
    for (identity, expected) in [
        (authority.expired(&["x.test"]), "peer says our certificate expired, in TLS handshake"),
        (self_signed(&["x.test"]), "peer does not trust the issuer of our certificate, in TLS handshake"),
    ] {
        let server = serving(&identity).build().unwrap();
        let (_, far) = handshake(&client, &server, "x.test", &table).await;
        assert_eq!(far.unwrap_err().to_string(), expected);
    }
}

#[tokio::test]
async fn revoked_leaf_and_revoked_issuer_are_refused() {
    let authority = Authority::new();
    let good = authority.server(&["x.test"]);
    let lists = |text: String| trusting(&authority).with_revocation_lists(Pem::text(text));
    for revoking in [authority.lists_revoking(&good), authority.lists_revoking_issuer()] {
        let text = refusal(lists(revoking), &good, "x.test").await.to_string();
        assert_eq!(text, "certificate revoked, in TLS handshake");
    }
    let table = LifeTable::default();
    let server = serving(&good).build().unwrap();
    for client in
        [lists(authority.clean_lists()), lists(Authority::new().clean_lists()).allow_unknown_revocation()]
    {
        handshake(&client.build().unwrap(), &server, "x.test", &table).await.0.unwrap();
    }
    let text = refusal(lists(Authority::new().clean_lists()), &good, "x.test").await.to_string();
    assert_eq!(text, "certificate not covered by any revocation list, in TLS handshake");
}

#[tokio::test]
async fn address_in_a_certificate_is_verified_without_sni() {
    let (authority, table) = (Authority::new(), LifeTable::default());
    let client = trusting(&authority).build().unwrap();
    let server = serving(&authority.server(&["127.0.0.1", "::1"])).build().unwrap();
    for name in ["127.0.0.1", "::1", "[::1]"] {
        let (near, far) = handshake(&client, &server, name, &table).await;
        near.unwrap();
        assert_eq!(far.unwrap().tls_info().unwrap().sni, None, "{name}");
    }
    let error = refusal(trusting(&authority), &authority.server(&["127.0.0.1"]), "127.0.0.2").await;
    assert!(error.to_string().starts_with("certificate not valid for name 127.0.0.2, only for "), "{error}");
}

#[tokio::test]
async fn bad_server_name_is_the_callers_mistake() {
    let (authority, table) = (Authority::new(), LifeTable::default());
    let (near, _far) = pair_at("127.0.0.1:0", &table).await;
    let client = trusting(&authority).build().unwrap();
    let error = near.start_tls(&client, "no name", soon()).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Invalid, "\"no name\" is no server name"));
}

#[tokio::test]
async fn anybody_is_trusted_only_when_told_so() {
    let table = LifeTable::default();
    let client = TlsClient::builder().danger_accept_invalid_certificates().build().unwrap();
    let authority = Authority::new();
    for identity in [self_signed(&["a.test"]), authority.expired(&["b.test"])] {
        let server = serving(&identity).build().unwrap();
        handshake(&client, &server, "c.test", &table).await.0.unwrap();
    }
}

#[tokio::test]
async fn certificate_is_chosen_by_name() {
    let (authority, table) = (Authority::new(), LifeTable::default());
    let client = trusting(&authority).build().unwrap();
    let mut builder = TlsServer::builder();
    let names: [&[&str]; 3] = [&["first.test"], &["second.test", "*.second.test"], &["deep.second.test"]];
    let identities = names.map(|names| authority.server(names));
    for identity in &identities {
        builder = builder.with_certificate(Pem::text(&*identity.chain), Pem::text(&*identity.key));
    }
    let server = builder.build().unwrap();
    for good in
        ["first.test", "second.test", "x.second.test", "deep.second.test", "SECOND.test", "first.test."]
    {
        handshake(&client, &server, good, &table).await.0.unwrap_or_else(|error| panic!("{good}: {error}"));
    }
    for bad in ["unknown.test", "x.y.second.test"] {
        let text = handshake(&client, &server, bad, &table).await.0.unwrap_err().to_string();
        assert!(text.contains("only for first.test"), "{bad} gets the first certificate: {text}");
    }
    let named = trusting(&authority).with_server_name("second.test").build().unwrap();
    let (near, far) = handshake(&named, &server, "ignored.test", &table).await;
    near.unwrap();
    assert_eq!(far.unwrap().tls_info().unwrap().sni.as_deref(), Some("second.test"));
}

#[tokio::test]
async fn required_client_certificate_is_verified() {
    let (authority, table) = (Authority::new(), LifeTable::default());
    let server =
        serving(&authority.server(&["x.test"])).require_clients(Pem::text(authority.root())).build().unwrap();
    let with = |identity: &Identity| {
        let (chain, key) = (Pem::text(&*identity.chain), Pem::text(&*identity.key));
        trusting(&authority).with_certificate(chain, key).build().unwrap()
    };
    let (near, far) = handshake(&with(&authority.client("me")), &server, "x.test", &table).await;
    near.unwrap();
    assert_eq!(far.unwrap().tls_info().unwrap().peer_certificates.len(), 2);

    for (client, at_server, at_client) in [
        (
            trusting(&authority).build().unwrap(),
            "peer sent no certificate, but one is required",
            "peer requires a client certificate",
        ),
        (with(&authority.expired_client("me")), "certificate expired", "peer says our certificate expired"),
        (with(&Authority::new().client("me")), "unknown issuer", "peer does not trust the issuer of our"),
    ] {
        let (near, far) = handshake(&client, &server, "x.test", &table).await;
        assert!(far.as_ref().unwrap_err().to_string().starts_with(at_server), "{far:?}");
        // In TLS 1.3 the client is done before the server has looked at its certificate: the first read tells.
        let error = Error::from(near.unwrap().read_u8().await.unwrap_err());
        assert_eq!(error.kind(), Kind::Tls);
        assert!(error.to_string().starts_with(at_client), "{error}");
    }
}

#[tokio::test]
async fn asked_client_may_stay_nameless() {
    let (authority, table) = (Authority::new(), LifeTable::default());
    let identity = authority.server(&["x.test"]);
    let server = serving(&identity).ask_clients(Pem::text(authority.root())).build().unwrap();
    let client = trusting(&authority).build().unwrap();
    let (near, far) = handshake(&client, &server, "x.test", &table).await;
    near.unwrap();
    assert!(far.unwrap().tls_info().unwrap().peer_certificates.is_empty());
}

#[tokio::test]
async fn revoked_client_is_refused() {
    let (authority, table) = (Authority::new(), LifeTable::default());
    let revoked = authority.client("gone");
    let server = serving(&authority.server(&["x.test"]))
        .require_clients(Pem::text(authority.root()))
        .with_revocation_lists(Pem::text(authority.lists_revoking(&revoked)))
        .build()
        .unwrap();
    for (identity, is_in) in [(&revoked, false), (&authority.client("here"), true)] {
        let (chain, key) = (Pem::text(&*identity.chain), Pem::text(&*identity.key));
        let client = trusting(&authority).with_certificate(chain, key).build().unwrap();
        let (_, far) = handshake(&client, &server, "x.test", &table).await;
        assert_eq!(far.is_ok(), is_in, "{far:?}");
    }
}

#[tokio::test]
async fn no_protocol_in_common_is_an_error_on_both_sides() {
    let (authority, table) = (Authority::new(), LifeTable::default());
    let client = trusting(&authority).with_alpn(["smtp"]).build().unwrap();
    let server = serving(&authority.server(&["x.test"])).with_alpn(["http/1.1"]).build().unwrap();
    let (near, far) = handshake(&client, &server, "x.test", &table).await;
    for error in [near.unwrap_err(), far.unwrap_err()] {
        assert_eq!(error.to_string(), "no application protocol in common (ALPN), in TLS handshake");
    }
}

#[tokio::test]
async fn sessions_are_resumed() {
    let (authority, table) = (Authority::new(), LifeTable::default());
    let client = trusting(&authority).build().unwrap();
    let server = serving(&authority.server(&["x.test"])).build().unwrap();
    for round in 0..3 {
        let (near, far) = handshake(&client, &server, "x.test", &table).await;
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        assert_eq!(near.tls_info().unwrap().is_resumed, round > 0, "round {round}");
        far.write_all(b"x").await.unwrap();
        far.flush().await.unwrap();
        near.read_u8().await.unwrap(); // tickets come before it
    }
}

#[tokio::test]
async fn identities_differ_and_clones_share_theirs() {
    let authority = Authority::new();
    let (one, two) = (trusting(&authority).build().unwrap(), trusting(&authority).build().unwrap());
    assert_ne!(one.identity(), two.identity());
    assert_eq!(one.identity(), one.clone().identity());
}

#[tokio::test]
async fn watching_opens_records_and_loses_nothing() {
    let (authority, table) = (Authority::new(), LifeTable::default());
    let client = trusting(&authority).build().unwrap();
    let server = serving(&authority.server(&["x.test"])).build().unwrap();
    let (near, far) = handshake(&client, &server, "x.test", &table).await;
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    // The server has sent session tickets by now: they are no data for anybody.
    assert!(near.try_peer().is_none());
    let watch = tokio::spawn(async move { (peer(&mut near).await, near) });
    tokio::task::yield_now().await;
    assert!(!watch.is_finished());
    far.write_all(b"ab").await.unwrap();
    far.flush().await.unwrap();
    let (event, mut near) = watch.await.unwrap();
    assert!(matches!(event, PeerEvent::Data));
    assert!(matches!(near.try_peer(), Some(PeerEvent::Data)));
    let mut both = [0; 2];
    near.read_exact(&mut both).await.unwrap();
    assert_eq!(&both, b"ab");
    assert!(near.try_peer().is_none());

    far.shutdown().await.unwrap();
    assert!(matches!(peer(&mut near).await, PeerEvent::Fin), "close_notify");
    assert_eq!(near.read(&mut both).await.unwrap(), 0);
    assert_eq!(near.life().closed_by(), Some(ClosedBy::Peer));
}

#[tokio::test]
async fn closing_says_so_and_dropping_does_not() {
    let (authority, table) = (Authority::new(), LifeTable::default());
    let client = trusting(&authority).build().unwrap();
    let server = serving(&authority.server(&["x.test"])).build().unwrap();
    let (near, far) = handshake(&client, &server, "x.test", &table).await;
    far.unwrap().close(Cause::Shutdown);
    assert_eq!(near.unwrap().read(&mut [0; 8]).await.unwrap(), 0, "close_notify reached the peer");

    let (near, far) = handshake(&client, &server, "x.test", &table).await;
    drop(far.unwrap());
    let error = near.unwrap().read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "a cut stream is no end");
}

#[tokio::test]
async fn tls_runs_inside_tls() {
    let (authority, table) = (Authority::new(), LifeTable::default());
    let client = trusting(&authority).build().unwrap();
    let server = serving(&authority.server(&["proxy.test", "origin.test"])).build().unwrap();
    let (near, far) = handshake(&client, &server, "proxy.test", &table).await;
    let (near, far) = tokio::join!(
        near.unwrap().start_tls(&client, "origin.test", soon()),
        far.unwrap().accept_tls(&server, soon())
    );
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    near.write_all(b"deep").await.unwrap();
    near.flush().await.unwrap();
    assert!(matches!(peer(&mut far).await, PeerEvent::Data));
    let mut text = [0; 4];
    far.read_exact(&mut text).await.unwrap();
    assert_eq!(&text, b"deep");
    assert!(near.stream().socket().is_some());
    assert!(far.try_peer().is_none());
    near.close(Cause::Shutdown);
    assert!(matches!(peer(&mut far).await, PeerEvent::Fin));
    assert!(matches!(far.try_peer(), Some(PeerEvent::Fin)));
}

#[tokio::test]
async fn certificates_are_renewed_without_a_restart() {
    let (authority, table) = (Authority::new(), LifeTable::default());
    let client = trusting(&authority).build().unwrap();
    let server = serving(&authority.expired(&["x.test"])).build().unwrap();
    let on_a_worker = server.clone();
    handshake(&client, &on_a_worker, "x.test", &table).await.0.unwrap_err();
    server.replace(&serving(&authority.server(&["x.test"])).build().unwrap());
    handshake(&client, &on_a_worker, "x.test", &table).await.0.unwrap();
    server.replace(&on_a_worker);
}

#[tokio::test(start_paused = true)]
async fn silent_peer_in_the_handshake_times_out() {
    let (authority, table) = (Authority::new(), LifeTable::default());
    let client = trusting(&authority).build().unwrap();
    let (near, _far) = pair_at("127.0.0.1:0", &table).await;
    let deadline = Deadline::after(Instant::now(), Duration::from_secs(5));
    let error = near.start_tls(&client, "x.test", deadline).await.unwrap_err();
    assert_eq!((error.kind(), error.phase()), (Kind::Timeout, Some(Phase::Tls)));
    assert_eq!((error.origin(), error.seen()), (Origin::Peer, Seen::No));
    assert_eq!(table.counts().ended_by_cause(Cause::Tls), 1);
}

#[tokio::test]
async fn dropped_handshake_counts_as_cancelled() {
    let (authority, table) = (Authority::new(), LifeTable::default());
    let client = trusting(&authority).build().unwrap();
    let (near, _far) = pair_at("127.0.0.1:0", &table).await;
    let task = tokio::spawn(async move { near.start_tls(&client, "x.test", soon()).await.map(drop) });
    tokio::task::yield_now().await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(table.counts().ended_by_cause(Cause::Cancelled), 1);
}

#[tokio::test]
async fn peer_without_tls_is_named() {
    let (authority, table) = (Authority::new(), LifeTable::default());
    let client = trusting(&authority).build().unwrap();
    let (near, mut far) = pair_at("127.0.0.1:0", &table).await;
    far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    let error = near.start_tls(&client, "x.test", soon()).await.unwrap_err();
    assert_eq!(error.to_string(), "peer does not speak TLS, in TLS handshake");

    let (near, far) = pair_at("127.0.0.1:0", &table).await;
    drop(far);
    let error = near.start_tls(&client, "x.test", soon()).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::Tls | Kind::Reset), "{error:?}");
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    let authority = Authority::new();
    let (one, two) = (authority.server(&["x.test"]), authority.server(&["x.test"]));
    let mixed = TlsServer::builder().with_certificate(Pem::text(one.chain), Pem::text(two.key)).build();
    assert_eq!(
        mixed.unwrap_err().to_string(),
        "bad certificate: the private key belongs to another certificate"
    );
    assert_eq!(TlsServer::builder().build().unwrap_err().to_string(), "a TLS server needs a certificate");
    let nobody = TlsClient::builder().without_system_roots().build().unwrap_err();
    assert_eq!((nobody.kind(), nobody.to_string().contains("nobody to trust")), (Kind::Invalid, true));
}

#[tokio::test]
async fn secrets_do_not_show() {
    let authority = Authority::new();
    let identity = authority.server(&["x.test"]);
    let builder = serving(&identity);
    let shown = format!("{builder:?} {:?}", builder.clone().build().unwrap());
    let secret = identity.key.lines().nth(1).unwrap();
    assert!(!shown.contains(secret) && shown.contains("bytes"), "{shown}");
}

#[tokio::test]
async fn waiting_for_a_handshake_takes_little_room() {
    let (authority, table) = (Authority::new(), LifeTable::default());
    let client = trusting(&authority).build().unwrap();
    let server = serving(&authority.server(&["x.test"])).build().unwrap();
    let (near, far) = Conn::pair(64, &table);
    let (near, far) = (near.start_tls(&client, "x.test", soon()), far.accept_tls(&server, soon()));
    let (near, far) = (size_of_val(&near), size_of_val(&far));
    assert!(near <= 768 && far <= 768, "{near} and {far} bytes");
}

#[tokio::test]
async fn system_roots_do_not_trust_a_stranger() {
    let client = match TlsClient::new() {
        Ok(client) => client,
        Err(error) => return eprintln!("SKIPPED: {error}"),
    };
    let (authority, table) = (Authority::new(), LifeTable::default());
    let server = serving(&authority.server(&["x.test"])).build().unwrap();
    let error = handshake(&client, &server, "x.test", &table).await.0.unwrap_err();
    assert!(error.to_string().starts_with("unknown issuer"), "{error}");
}
