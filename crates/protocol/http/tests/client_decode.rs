//! Compressed replies: undone piece by piece, never short, never a bomb.

mod client_world;

use std::io::Write;

use bytes::Bytes;
use client_world::{World, block_on, url};
use millstream_base::{Kind, Result};
use millstream_http::Method;
use millstream_http::client::Response;
use millstream_peers::{Gate, RawConn, Scripted};

const CODINGS: [&str; 3] = ["gzip", "br", "zstd"];

fn compress(coding: &str, data: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(data).expect("memory");
            encoder.finish().expect("memory")
        }
        "br" => {
            let mut coded = Vec::new();
            brotli::CompressorWriter::new(&mut coded, 4096, 5, 22).write_all(data).expect("memory");
            coded
        }
        "zstd" => zstd::stream::encode_all(data, 3).expect("memory"),
        other => panic!("{other}?"),
    }
}

fn head(coding: &str, length: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {length}\r\nX-A: b\r\n\r\n")
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_le_bytes()[3]
        })
        .collect()
}

/// A server that sends these bytes to each request, in pieces.
fn sending(reply: Vec<u8>, piece: usize) -> Scripted {
    Scripted::always(move |_, conn: &mut RawConn| {
        while conn.has_more() {
            conn.read_request();
            for piece in reply.chunks(piece) {
                if conn.try_send(piece).is_err() {
                    return;
                }
            }
        }
    })
}

async fn whole(reply: Result<Response>) -> Result<Bytes> {
    reply?.bytes().await
}

#[test]
fn every_coding_is_undone_and_hidden_and_its_connection_kept() {
    for coding in CODINGS {
        for data in [b"".to_vec(), b"short".to_vec(), b"abc".repeat(100_000), noise(300_000)] {
            let coded = compress(coding, &data);
            let reply = [head(coding, coded.len()).into_bytes(), coded].concat();
            for piece in [reply.len(), 1460, 7] {
                if reply.len() / piece > 3_000 {
                    continue;
                }
                let (server, world) = (sending(reply.clone(), piece), World::new());
                block_on(async {
                    for _ in 0..2 {
                        let reply =
                            world.client.get(url(server.address(), "/")).send().await.expect("a reply");
                        let names =
                            ["content-encoding", "content-length", "x-a"].map(|name| reply.header(name));
                        assert_eq!(names, [None, None, Some("b")], "{coding}");
                        assert_eq!(reply.bytes().await.expect("whole"), data, "{coding}");
                    }
                });
                assert_eq!(server.accepted().value(), 1, "{coding}");
            }
        }
    }
}

#[test]
fn truncated_or_damaged_body_is_an_error_at_every_byte() {
    let data = b"some text, and some text again, and again";
    for coding in CODINGS {
        let coded = compress(coding, data);
        for cut in 1..coded.len() {
            let reply = [head(coding, cut).into_bytes(), coded[..cut].to_vec()].concat();
            let (server, world) = (sending(reply, 1 << 20), World::new());
            let outcome =
                block_on(async { whole(world.client.get(url(server.address(), "/")).send().await).await });
            let error = outcome.expect_err(coding);
            assert!(matches!(error.kind(), Kind::Closed | Kind::Protocol), "{coding} cut at {cut}: {error}");
            assert!(error.target().is_some(), "{error}");
        }
        let mut damaged = coded.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x55;
        damaged.truncate(damaged.len() - 1);
        for body in [damaged, [&coded[..], b"behind"].concat(), b"not compressed at all".to_vec()] {
            let reply = [head(coding, body.len()).into_bytes(), body].concat();
            let (server, world) = (sending(reply, 1 << 20), World::new());
            let outcome =
                block_on(async { whole(world.client.get(url(server.address(), "/")).send().await).await });
            assert!(outcome.is_err(), "{coding}");
        }
    }
}

#[test]
fn gzip_in_several_members_is_one_body() {
    let coded = [compress("gzip", b"one "), compress("gzip", b"two")].concat();
    let reply = [head("x-gzip", coded.len()).into_bytes(), coded].concat();
    let (server, world) = (sending(reply, 3), World::new());
    let body = block_on(async { whole(world.client.get(url(server.address(), "/")).send().await).await });
    assert_eq!(body.expect("whole"), "one two");
}

#[test]
fn bomb_is_an_error_before_it_fills_memory() {
    const BOMB: usize = 512 * 1024 * 1024;
    for coding in ["br", "zstd", "gzip"] {
        let coded = match coding {
            "br" => {
                let mut coded = Vec::new();
                let mut writer = brotli::CompressorWriter::new(&mut coded, 1 << 16, 1, 22);
                (0..BOMB / (1 << 20)).for_each(|_| writer.write_all(&[0; 1 << 20]).expect("memory"));
                drop(writer);
                coded
            }
            "zstd" => zstd::stream::encode_all(std::io::Read::take(std::io::repeat(0), BOMB as u64), 1)
                .expect("memory"),
            _ => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
                (0..64).for_each(|_| encoder.write_all(&[0; 1 << 20]).expect("memory"));
                encoder.finish().expect("memory")
            }
        };
        let reply = [head(coding, coded.len()).into_bytes(), coded].concat();
        let (server, world) = (sending(reply, 1 << 20), World::new());
        block_on(async {
            let mut reply = world.client.get(url(server.address(), "/")).send().await.expect("a reply");
            let mut most = 0;
            let error = loop {
                match reply.chunk().await {
                    Ok(Some(piece)) => most = most.max(piece.len()),
                    Ok(None) => panic!("{coding} came to its end"),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), Kind::Limit, "{error}");
            assert!(most <= 64 * 1024, "{coding}: a piece of {most} bytes");
        });
    }
}

#[test]
fn limit_of_a_collected_body_counts_what_it_grows_to() {
    let coded = compress("gzip", &b"x".repeat(100_000));
    let reply = [head("gzip", coded.len()).into_bytes(), coded].concat();
    let (server, world) = (sending(reply, 1 << 20), World::with(|options| options.max_body = 50_000));
    let outcome = block_on(async { whole(world.client.get(url(server.address(), "/")).send().await).await });
    assert_eq!(outcome.expect_err("too much").kind(), Kind::Limit);
}

#[test]
fn what_is_asked_for_is_what_this_build_can_undo() {
    let server = Scripted::always(|_, conn: &mut RawConn| {
        client_world::serve(conn, |request| {
            client_world::ok(request.fields.get("accept-encoding").unwrap_or("-"))
        });
    });
    let (world, plain) = (World::new(), World::with(|options| options.decompresses = false));
    let address = url(server.address(), "/");
    block_on(async {
        let get = |world: &World| world.client.get(address.as_str());
        for (request, expected) in [
            (get(&world), "zstd, br, gzip, deflate"),
            (get(&world).header("accept-encoding", "identity"), "identity"),
            (get(&world).header("range", "bytes=0-1"), "-"),
            (get(&plain), "-"),
        ] {
            assert_eq!(request.send().await.expect("a reply").text().await.expect("text"), expected);
        }
    });
}

#[test]
fn what_was_not_asked_for_or_has_no_body_is_left_as_it_is() {
    let coded = compress("gzip", b"data");
    let with = |status: &str, coding: &str, body: &[u8]| {
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    for (method, own, reply) in [
        (Method::GET, true, with("200 OK", "gzip", &coded)),
        (Method::GET, false, with("200 OK", "compress", &coded)),
        (Method::GET, false, with("200 OK", "gzip, br", &coded)),
        (Method::GET, false, with("304 Not Modified", "gzip", b"")),
        (Method::HEAD, false, with("200 OK", "gzip", b"")),
    ] {
        let is_empty = reply.ends_with(b"\r\n\r\n");
        let (server, world) = (sending(reply, 1 << 20), World::new());
        block_on(async {
            let mut request = world.client.request(method.clone(), url(server.address(), "/"));
            if own {
                request = request.header("accept-encoding", "gzip");
            }
            let reply = request.send().await.expect("a reply");
            assert!(reply.header("content-encoding").is_some() && reply.header("content-length").is_some());
            assert_eq!(reply.bytes().await.expect("whole"), if is_empty { &b""[..] } else { &coded[..] });
        });
    }
}

#[test]
fn pieces_come_as_the_server_flushes_them() {
    let (first_read, server_goes_on) = (Gate::new(), Gate::new());
    let server = Scripted::serve([{
        let (first_read, server_goes_on) = (first_read.clone(), server_goes_on.clone());
        move |conn: &mut RawConn| {
            conn.read_request();
            conn.send("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n");
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            let mut send = |encoder: &mut flate2::write::GzEncoder<Vec<u8>>| {
                let data = std::mem::take(encoder.get_mut());
                conn.send(format!("{:x}\r\n", data.len())).send(data).send("\r\n");
            };
            encoder.write_all(b"first").expect("memory");
            encoder.flush().expect("memory");
            send(&mut encoder);
            first_read.wait();
            encoder.write_all(b"second").expect("memory");
            encoder.try_finish().expect("memory");
            send(&mut encoder);
            conn.send("0\r\nX-T: u\r\n\r\n");
            server_goes_on.open();
            conn.has_more();
        }
    }]);
    let world = World::new();
    block_on(async {
        let mut reply = world.client.get(url(server.address(), "/")).send().await.expect("a reply");
        assert_eq!(reply.chunk().await.expect("data").expect("a piece"), "first");
        first_read.open();
        let (rest, trailers) = reply.into_body().collect_with_trailers(100).await.expect("whole");
        assert_eq!(rest, "second");
        assert_eq!(trailers.expect("trailers")["x-t"], "u");
    });
    server_goes_on.wait();
    assert_eq!(world.client.pool_stats().idle, 1);
    drop(world);
    server.finish();
}
