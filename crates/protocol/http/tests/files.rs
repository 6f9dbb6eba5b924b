//! A folder over a connection.

mod serving;

use std::fs::{File, FileTimes};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use millstream_http::{Files, Request, Response, Router};
use millstream_peers::message::RawResponse;
use millstream_peers::{End, Folder};
use serving::Served;

fn serve(folder: &Folder) -> Served {
    Served::start(Files::new(folder.path()).expect("it is there"))
}

/// A request line without version, and fields.
fn ask(server: &Served, head: &str) -> RawResponse {
    let (line, fields) = head.split_once("\r\n").unwrap_or((head, "X: y"));
    let method = line.split(' ').next().expect("a method");
    let mut conn = server.connect();
    conn.send(format!("{line} HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"));
    conn.read_response(method)
}

/// Sets a file's time of change.
fn touch(path: &Path, seconds: u64) {
    let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let file = File::options().write(true).open(path).expect("it is ours");
    file.set_times(FileTimes::new().set_modified(moment)).expect("it is ours");
}

/// Bytes that tell where they are from.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 251 + at % 251) as u8).collect()
}

const BIG: usize = 3 * 1024 * 1024 + 7;

#[test]
fn file_comes_with_type_length_and_validators() {
    let folder = Folder::new();
    touch(&folder.write("a.txt", "hello"), 784_111_777);
    let server = serve(&folder);
    let response = ask(&server, "GET /a.txt");
    assert_eq!((response.status, response.text()), (200, "hello"));
    for (name, value) in [
        ("content-type", "text/plain; charset=utf-8"),
        ("content-length", "5"),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("accept-ranges", "bytes"),
        ("x-content-type-options", "nosniff"),
        ("vary", "Accept-Encoding"),
    ] {
        assert_eq!(response.field(name), Some(value), "{name}");
    }
    let etag = response.field("etag").expect("a tag");
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() == 18, "{etag}");
    assert_eq!(response.field("cache-control"), None);
    // The same file has the same tag, a changed one another.
    assert_eq!(ask(&server, "GET /a.txt").field("etag"), Some(etag));
    touch(&folder.write("a.txt", "hallo"), 784_111_778);
    assert_ne!(ask(&server, "GET /a.txt").field("etag"), Some(etag));
}

#[test]
fn files_of_all_sizes_arrive_whole() {
    let folder = Folder::new();
    let sizes = [0, 1, 16 * 1024, 16 * 1024 + 1, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 128 * 1024, BIG];
    for size in sizes {
        folder.write(&format!("{size}.bin"), pattern(size));
    }
    let server = serve(&folder);
    for size in sizes {
        for _ in 0..2 {
            let response = ask(&server, &format!("GET /{size}.bin"));
            assert_eq!(response.field("content-length"), Some(&*size.to_string()));
            assert!(response.body == pattern(size), "{size}");
        }
    }
}

#[test]
fn head_has_the_same_fields_and_no_body() {
    let folder = Folder::new();
    folder.write("small.css", "a{}");
    folder.write("big.css", pattern(BIG));
    let server = serve(&folder);
    for name in ["small.css", "big.css"] {
        let (get, head) = (ask(&server, &format!("GET /{name}")), ask(&server, &format!("HEAD /{name}")));
        let sorted = |response: &RawResponse| {
            let mut fields = response.fields.0.clone();
            fields.retain(|(name, _)| name != "date");
            fields.sort();
            fields
        };
        assert_eq!(sorted(&get), sorted(&head));
        assert!(head.body.is_empty());
    }
}

#[test]
fn other_methods_are_405() {
    let folder = Folder::new();
    folder.write("a.txt", "a");
    let server = serve(&folder);
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let response = ask(&server, &format!("{method} /a.txt"));
        assert_eq!((response.status, response.field("allow")), (405, Some("GET, HEAD")), "{method}");
    }
}

#[test]
fn single_ranges_are_206_with_their_place() {
    let folder = Folder::new();
    folder.write("big.bin", pattern(BIG));
    let server = serve(&folder);
    let whole = pattern(BIG);
    let last = BIG - 1;
    for (range, start, end) in [
        ("0-0".to_owned(), 0, 1),
        ("0-99".to_owned(), 0, 100),
        ("100-".to_owned(), 100, BIG),
        ("-100".to_owned(), BIG - 100, BIG),
        (format!("{last}-"), last, BIG),
        ("131071-131072".to_owned(), 131_071, 131_073),
        ("5-9999999999".to_owned(), 5, BIG),
    ] {
        let response = ask(&server, &format!("GET /big.bin\r\nRange: bytes={range}"));
        assert_eq!(response.status, 206, "{range}");
        let place = format!("bytes {start}-{}/{BIG}", end - 1);
        assert_eq!(response.field("content-range"), Some(&*place));
        assert_eq!(response.field("content-type"), Some("application/octet-stream"));
        assert!(response.body == whole[start..end], "{range}");
    }
}

#[test]
fn several_ranges_are_multipart() {
    let folder = Folder::new();
    folder.write("a.txt", "0123456789");
    let server = serve(&folder);
    let response = ask(&server, "GET /a.txt\r\nRange: bytes=0-1, 4-4, -2");
    assert_eq!(response.status, 206);
    assert_eq!(response.field("content-range"), None);
    let kind = response.field("content-type").expect("a type");
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").expect("multipart");
    let part = |range: &str, data: &str| {
        format!(
            "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes {range}/10\r\n\r\n{data}\r\n"
        )
    };
    let expected =
        format!("{}{}{}--{boundary}--\r\n", part("0-1", "01"), part("4-4", "4"), part("8-9", "89"));
    assert_eq!(response.text(), expected);
}

#[test]
fn ranges_that_make_no_sense() {
    let folder = Folder::new();
    folder.write("a.txt", "0123456789");
    folder.write("empty.txt", "");
    let server = serve(&folder);
    let response = ask(&server, "GET /a.txt\r\nRange: bytes=10-");
    assert_eq!((response.status, response.field("content-range")), (416, Some("bytes */10")));
    let response = ask(&server, "GET /empty.txt\r\nRange: bytes=0-");
    assert_eq!((response.status, response.field("content-range")), (416, Some("bytes */0")));
    for range in ["bytes=5-1", "lines=1-2", "bytes=0-9,0-9", "bytes=x"] {
        let response = ask(&server, &format!("GET /a.txt\r\nRange: {range}"));
        assert_eq!((response.status, response.text()), (200, "0123456789"), "{range}");
    }
    // Ranges are for GET.
    assert_eq!(ask(&server, "HEAD /a.txt\r\nRange: bytes=0-1").status, 200);
}

#[test]
fn if_range_decides_between_part_and_whole() {
    let folder = Folder::new();
    touch(&folder.write("a.txt", "0123456789"), 784_111_777);
    let server = serve(&folder);
    let etag = ask(&server, "GET /a.txt").field("etag").expect("a tag").to_owned();
    for (if_range, status) in [
        (&*etag, 206),
        ("\"other\"", 200),
        (&*format!("W/{etag}"), 200),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 206),
        ("Sun, 06 Nov 1994 08:49:38 GMT", 200),
    ] {
        let response = ask(&server, &format!("GET /a.txt\r\nRange: bytes=1-2\r\nIf-Range: {if_range}"));
        assert_eq!(response.status, status, "{if_range}");
    }
}

#[test]
fn conditional_requests_save_the_body() {
    let folder = Folder::new();
    touch(&folder.write("a.txt", "hello"), 784_111_777);
    let server = Served::start(
        Files::new(folder.path()).expect("it is there").with_cache_control("max-age=60").expect("a value"),
    );
    let etag = ask(&server, "GET /a.txt").field("etag").expect("a tag").to_owned();
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (fields, status) in [
        (format!("If-None-Match: {etag}"), 304),
        (format!("If-None-Match: W/{etag}"), 304),
        (format!("If-None-Match: {etag}\r\nRange: bytes=0-1"), 304),
        (format!("If-Modified-Since: {date}"), 304),
        (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {date}"), 200),
        ("If-Match: \"x\"".to_owned(), 412),
        (format!("If-Match: {etag}"), 200),
        ("If-Unmodified-Since: Sat, 05 Nov 1994 08:49:37 GMT".to_owned(), 412),
        ("If-Match: \"x\"\r\nRange: bytes=99-".to_owned(), 412),
    ] {
        for method in ["GET", "HEAD"] {
            let response = ask(&server, &format!("{method} /a.txt\r\n{fields}"));
            assert_eq!(response.status, status, "{method} {fields}");
            if status == 304 {
                assert_eq!(response.field("etag"), Some(&*etag));
                assert_eq!(response.field("cache-control"), Some("max-age=60"));
                assert_eq!(response.field("content-length"), None);
            }
        }
    }
}

#[test]
fn folders_have_an_index_or_a_listing() {
    let folder = Folder::new();
    folder.write("with/index.html", "<p>index");
    folder.write("without/b.txt", "b");
    let plain = serve(&folder);
    let response = ask(&plain, "GET /with/");
    assert_eq!((response.status, response.text()), (200, "<p>index"));
    assert_eq!(response.field("content-type"), Some("text/html; charset=utf-8"));
    for path in ["/", "/without/", "/with/index.html/", "/none/"] {
        assert_eq!(ask(&plain, &format!("GET {path}")).status, 404, "{path}");
    }
    let listing = Served::start(Files::new(folder.path()).expect("it is there").with_listing());
    assert_eq!(ask(&listing, "GET /with/").text(), "<p>index");
    assert_eq!(ask(&listing, "GET /without/b.txt/").status, 404);
    assert_eq!(ask(&listing, "GET /none/").status, 404);
    let other = Served::start(Files::new(folder.path()).expect("it is there").with_index("b.txt"));
    assert_eq!(ask(&other, "GET /without/").text(), "b");
    let without =
        Served::start(Files::new(folder.path()).expect("it is there").without_index().with_listing());
    assert!(ask(&without, "GET /with/").text().contains("index.html"));
}

#[test]
fn listing_is_sorted_escaped_and_shows_only_what_is_served() {
    let folder = Folder::new();
    folder.write("sub/B.txt", "12345");
    folder.write("sub/a.txt", "");
    folder.write("sub/<b>&\"'.txt", "");
    folder.write("sub/Zoo/x", "");
    folder.write("sub/.hidden", "");
    folder.write("secret", "");
    symlink("a.txt", folder.path().join("sub/link")).expect("ours");
    symlink("../../..", folder.path().join("sub/out")).expect("ours");
    symlink("nowhere", folder.path().join("sub/dangling")).expect("ours");
    let server = Served::start(Files::new(folder.path()).expect("it is there").with_listing());
    let response = ask(&server, "GET /sub/");
    let page = response.text();
    let names: Vec<_> =
        page.split("<a href=\"").skip(1).map(|rest| rest.split('"').next().expect("a link")).collect();
    assert_eq!(names, ["../", "./Zoo/", "./%3Cb%3E%26%22%27.txt", "./a.txt", "./B.txt", "./link"]);
    assert!(page.contains("&lt;b&gt;&amp;&quot;&#39;.txt"));
    assert!(page.contains("<td>5 B</td>"));
    assert!(page.contains("color-scheme:light dark") && !page.contains("<script"));
    assert!(
        response.field("content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'"))
    );
    // Every link leads to what it shows.
    for name in &names[1..] {
        let path = format!("/sub/{}", name.trim_start_matches("./"));
        assert_eq!(ask(&server, &format!("GET {path}")).status, 200, "{path}");
    }
    assert!(!ask(&server, "GET /").text().contains("\"../\""));
}

#[test]
fn folder_without_slash_is_redirected_and_keeps_its_query() {
    let folder = Folder::new();
    folder.write("dir/index.html", "x");
    folder.write("a b/index.html", "x");
    let server =
        Served::start(Router::new().mount("/static", Files::new(folder.path()).expect("it is there")));
    for (path, location) in [
        ("/static/dir", "./dir/"),
        ("/static/dir?a=b&c", "./dir/?a=b&c"),
        ("/static/dir?", "./dir/?"),
        ("/static/a%20b", "./a%20b/"),
        // Never another host.
        ("/static//dir", "./dir/"),
        ("//static/dir", ""),
    ] {
        let response = ask(&server, &format!("GET {path}"));
        match location {
            "" => assert_eq!(response.status, 404, "{path}"),
            location => {
                assert_eq!((response.status, response.field("location")), (301, Some(location)), "{path}");
            }
        }
    }
    let root = serve(&folder);
    assert_eq!(ask(&root, "GET //dir").field("location"), Some("./dir/"));
    folder.write("index.html", "home");
    assert_eq!(ask(&server, "GET /static").field("location"), Some("./static/"));
    assert_eq!(ask(&server, "GET /static/").text(), "home");
}

#[test]
fn precompressed_variant_is_chosen_as_the_client_likes() {
    let folder = Folder::new();
    let old = 1_000_000;
    for name in ["app.js", "stale.js", "photo.png"] {
        touch(&folder.write(name, "plain"), old);
        for extension in ["br", "zst", "gz"] {
            let time = if name == "stale.js" { old - 1 } else { old };
            touch(&folder.write(&format!("{name}.{extension}"), extension), time);
        }
    }
    touch(&folder.write("only.js", "plain"), old);
    touch(&folder.write("only.js.gz", "gz"), old + 1);
    let server = serve(&folder);
    for (path, accept, body, coding) in [
        ("/app.js", "gzip, deflate, br, zstd", "br", Some("br")),
        ("/app.js", "gzip, zstd", "zst", Some("zstd")),
        ("/app.js", "gzip", "gz", Some("gzip")),
        ("/app.js", "gzip, br;q=0.5", "gz", Some("gzip")),
        ("/app.js", "br;q=0, gzip;q=0", "plain", None),
        ("/app.js", "identity", "plain", None),
        ("/app.js", "", "plain", None),
        ("/only.js", "br, zstd, gzip", "gz", Some("gzip")),
        ("/only.js", "br", "plain", None),
        // Older than the file itself.
        ("/stale.js", "br, gzip", "plain", None),
        // What is compressed already is not looked for.
        ("/photo.png", "br, gzip", "plain", None),
    ] {
        let response = ask(&server, &format!("GET {path}\r\nAccept-Encoding: {accept}"));
        assert_eq!((response.text(), response.field("content-encoding")), (body, coding), "{path} {accept}");
        let varies = (!path.ends_with("png")).then_some("Accept-Encoding");
        assert_eq!(response.field("vary"), varies, "{path}");
        if path.ends_with(".js") {
            assert_eq!(response.field("content-type"), Some("text/javascript; charset=utf-8"));
        }
    }
    // Each variant is a version of its own.
    let tags: std::collections::BTreeSet<_> = ["br", "zstd", "gzip", "identity"]
        .map(|coding| {
            let response = ask(&server, &format!("GET /app.js\r\nAccept-Encoding: {coding}"));
            response.field("etag").expect("a tag").to_owned()
        })
        .into();
    assert_eq!(tags.len(), 4);
    let without = Served::start(Files::new(folder.path()).expect("it is there").without_precompressed());
    let response = ask(&without, "GET /app.js\r\nAccept-Encoding: br");
    assert_eq!((response.text(), response.field("vary")), ("plain", None));
}

#[test]
fn dotfiles_are_hidden_unless_asked_for() {
    let folder = Folder::new();
    folder.write(".git/config", "secret");
    folder.write(".well-known/acme-challenge/x", "token");
    let hidden = serve(&folder);
    assert_eq!(ask(&hidden, "GET /.git/config").status, 404);
    assert_eq!(ask(&hidden, "GET /%2egit/config").status, 404);
    assert_eq!(ask(&hidden, "GET /.well-known/acme-challenge/x").text(), "token");
    let shown = Served::start(Files::new(folder.path()).expect("it is there").with_dotfiles());
    assert_eq!(ask(&shown, "GET /.git/config").text(), "secret");
}

#[test]
fn fallback_file_answers_what_is_not_there() {
    let folder = Folder::new();
    folder.write("index.html", "app");
    folder.write("a.js", "js");
    let server = Served::start(Files::new(folder.path()).expect("it is there").with_fallback("index.html"));
    for (path, body) in
        [("/", "app"), ("/a.js", "js"), ("/users/7", "app"), ("/users/", "app"), ("/a.js/x", "app")]
    {
        let response = ask(&server, &format!("GET {path}"));
        assert_eq!((response.status, response.text()), (200, body), "{path}");
    }
    assert_eq!(ask(&server, "GET /../x").status, 404);
}

#[test]
fn file_that_shrinks_while_it_is_sent_breaks_off() {
    let folder = Folder::new();
    // Larger than what the kernel takes on its own for a reader that does not read.
    let path = folder.write("big.bin", "");
    File::options().write(true).open(&path).expect("ours").set_len(256 << 20).expect("ours");
    let server = serve(&folder);
    let mut conn = millstream_peers::RawConn::connect_narrow(server.address, 16 * 1024);
    conn.send(serving::get("/big.bin"));
    conn.read_until(b"\r\n\r\n");
    File::options().write(true).open(&path).expect("ours").set_len(100).expect("ours");
    let (rest, end) = conn.read_to_end();
    assert!(rest.len() < 256 << 20);
    assert!(matches!(end, End::Reset), "{end:?}");
    server.wait_for_metric("millstream_http_response_bodies_failed", 1);
}

#[test]
fn file_that_grows_while_it_is_sent_keeps_its_announced_length() {
    let folder = Folder::new();
    let path = folder.write("big.bin", "");
    let file = File::options().write(true).open(&path).expect("ours");
    file.set_len(64 << 20).expect("ours");
    let server = serve(&folder);
    let mut conn = millstream_peers::RawConn::connect_narrow(server.address, 16 * 1024);
    conn.send(serving::get("/big.bin"));
    conn.read_until(b"\r\n\r\n");
    file.set_len(65 << 20).expect("ours");
    for _ in 0..64 {
        conn.read_exact(1 << 20);
    }
    conn.send(serving::get("/none"));
    assert_eq!(conn.read_response("GET").status, 404);
}

#[test]
fn root_that_is_swapped_is_found_anew() {
    let folder = Folder::new();
    folder.write("one/v", "1");
    folder.write("two/v", "2");
    let current = folder.path().join("current");
    symlink("one", &current).expect("ours");
    let server = Served::start(Files::new(&current).expect("it is there"));
    assert_eq!(ask(&server, "GET /v").text(), "1");
    symlink("two", folder.path().join("next")).expect("ours");
    std::fs::rename(folder.path().join("next"), &current).expect("ours");
    millstream_peers::eventually("the new root is served", || ask(&server, "GET /v").text() == "2");
}

#[test]
fn unreadable_file_is_403() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let path = folder.write("a.txt", "a");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).expect("ours");
    if File::open(&path).is_ok() {
        // Root reads everything: nothing to see here.
        return;
    }
    assert_eq!(ask(&serve(&folder), "GET /a.txt").status, 403);
}

#[test]
fn program_can_answer_with_one_file() {
    let folder = Folder::new();
    let path = folder.write("report.pdf", pattern(200_000));
    let (there, missing) = (path.clone(), folder.path().join("none"));
    let router = Router::new()
        .get("/report", move |request: Request| Response::file(&request, there.clone()))
        .get("/missing", move |request: Request| Response::file(&request, missing.clone()))
        .get("/folder", move |request: Request| Response::file(&request, "/"));
    let server = Served::start(router);
    let response = ask(&server, "GET /report\r\nRange: bytes=1-70000");
    assert_eq!((response.status, response.field("content-type")), (206, Some("application/pdf")));
    assert!(response.body == pattern(200_000)[1..=70_000]);
    assert!(ask(&server, "HEAD /report").field("content-length") == Some("200000"));
    assert_eq!(ask(&server, "GET /missing").status, 404);
    assert_eq!(ask(&server, "GET /folder").status, 404);
}

#[test]
fn missing_root_is_one_clear_line() {
    let folder = Folder::new();
    let error = Files::new(folder.path().join("none")).map(drop).expect_err("nothing there");
    assert!(error.to_string().ends_with("/none: No such file or directory (os error 2)"), "{error}");
}

#[test]
fn many_clients_share_one_connection_each() {
    let folder = Folder::new();
    folder.write("a.txt", "hello");
    folder.write("big.bin", pattern(BIG));
    let server = serve(&folder);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut conn = server.connect();
                for _ in 0..8 {
                    conn.send(serving::get("/a.txt")).send(serving::get("/big.bin"));
                    assert_eq!(conn.read_response("GET").text(), "hello");
                    assert!(conn.read_response("GET").body == pattern(BIG));
                }
            });
        }
    });
}
