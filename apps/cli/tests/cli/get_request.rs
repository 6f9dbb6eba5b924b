//! What `millstream get` sends when it is told to: methods, bodies, heads.

use std::fs::File;
use std::process::Stdio;

use crate::program::{Ended, Program, command, run};
use millstream_peers::message::RawRequest;
use millstream_peers::{Folder, RawConn, Scripted};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
/// For who closes after it: what is sent behind an end that nobody announced can't be sent again if it is a POST.
const LAST_OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// The requests that a server gets when `get` is run with these arguments and its URL, and how it ended.
fn sent(requests: usize, run: impl FnOnce(&str) -> Ended) -> (Vec<RawRequest>, Ended) {
    let (give, take) = std::sync::mpsc::channel();
    let server = Scripted::always(move |_, conn: &mut RawConn| {
        let request = conn.read_request();
        give.send(request).expect("the test takes it");
        conn.send(LAST_OK);
    });
    let ended = run(&format!("http://{}/x", server.address()));
    (take.try_iter().take(requests).collect(), ended)
}

fn one(arguments: &[&str]) -> RawRequest {
    let (mut requests, ended) = sent(1, |url| run(&[&["get", url], arguments].concat()));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    requests.pop().expect("one request")
}

fn kind(request: &RawRequest) -> Option<&str> {
    request.fields.get("content-type")
}

#[test]
fn method_is_as_told_else_get_or_post_with_data() {
    assert_eq!(one(&[]).method, "GET");
    assert_eq!(one(&["-X", "PURGE"]).method, "PURGE");
    assert_eq!(one(&["--request", "delete"]).method, "delete");
    assert_eq!(one(&["--data", "a"]).method, "POST");
    let put = one(&["-X", "PUT", "-d", "a"]);
    assert_eq!((&*put.method, &*put.body), ("PUT", &b"a"[..]));
}

#[test]
fn data_is_a_form_and_json_is_json_unless_a_field_says_otherwise() {
    let form = one(&["--data", "a=b", "-d", "c=d"]);
    assert_eq!((kind(&form), &*form.body), (Some("application/x-www-form-urlencoded"), &b"a=b&c=d"[..]));
    let json = one(&["--json", "{\"a\":1}"]);
    assert_eq!((kind(&json), &*json.body), (Some("application/json"), &b"{\"a\":1}"[..]));
    assert_eq!((&*json.method, json.fields.get("accept")), ("POST", Some("application/json")));
    let told = one(&["--json", "{}", "-H", "Content-Type: application/ld+json", "-H", "Accept: text/plain"]);
    assert_eq!((kind(&told), told.fields.get("accept")), (Some("application/ld+json"), Some("text/plain")));
}

#[test]
fn data_of_a_file_is_sent_byte_for_byte_with_its_length() {
    let folder = Folder::new();
    // Short ones are read at once, long ones while they are sent; neither loses an end of line, as curl's --data does.
    for size in [0, 1, 1 << 20, (1 << 20) + 1, 5_000_000] {
        let content: Vec<u8> = (0..size).map(|at: usize| b"a\r\n\0b&@"[at % 7]).collect();
        std::fs::write(folder.path().join("body"), &content).expect("written");
        let word = format!("@{}", folder.path().join("body").display());
        let request = one(&["--data", &word, "-H", "Content-Type: application/octet-stream"]);
        assert_eq!(request.fields.get("content-length"), Some(&*size.to_string()));
        assert_eq!(request.fields.get("transfer-encoding"), None);
        assert!(request.body == content, "{size} bytes");
    }
}

#[test]
fn standard_input_is_sent_with_its_length_when_it_is_short_else_in_chunks() {
    let folder = Folder::new();
    for (size, is_chunked) in [(0, false), (10, false), (1 << 20, false), (3_000_000, true)] {
        let path = folder.path().join("in");
        std::fs::write(&path, vec![b'x'; size]).expect("written");
        let (requests, ended) = sent(1, |url| {
            let input = File::open(&path).expect("just written");
            Program::start(command(&["get", url, "--data", "@-"]).stdin(Stdio::from(input))).wait()
        });
        assert_eq!(ended.code(), 0, "{}", ended.stderr);
        let fields = &requests[0].fields;
        assert_eq!(fields.get("transfer-encoding").is_some(), is_chunked, "{size}");
        assert_eq!(requests[0].body.len(), size);
    }
}

#[test]
fn long_file_goes_to_each_url_and_standard_input_only_once() {
    let folder = Folder::new();
    let body = folder.path().join("body");
    std::fs::write(&body, vec![b'x'; 2_000_000]).expect("written");
    let word = format!("@{}", body.display());
    let (requests, ended) = sent(2, |url| run(&["get", "-o", "-", "--data", &word, url, url]));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    assert_eq!(requests.iter().map(|request| request.body.len()).collect::<Vec<_>>(), [2_000_000; 2]);
    let (requests, ended) = sent(2, |url| {
        let input = File::open(&body).expect("just written");
        Program::start(command(&["get", "-o", "-", "-d", "@-", url, url]).stdin(Stdio::from(input))).wait()
    });
    assert_eq!((requests.len(), ended.code()), (1, 1));
    assert!(ended.stderr.contains("can't be sent again"), "{}", ended.stderr);
}

#[test]
fn short_data_follows_a_redirect_that_keeps_the_method() {
    let moved = "HTTP/1.1 307 Temporary Redirect\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n";
    let server = Scripted::serve([move |conn: &mut RawConn| {
        assert_eq!(conn.read_request().body, b"a=b");
        conn.send(moved);
        let again = conn.read_request();
        assert_eq!((&*again.target, &*again.method, &*again.body), ("/y", "POST", &b"a=b"[..]));
        conn.send(OK);
    }]);
    let ended = run(&["get", "-d", "a=b", &format!("http://{}/x", server.address())]);
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    server.finish();
}

#[test]
fn head_is_shown_as_it_came_and_none_is_a_file() {
    let head = "HTTP/1.1 200 OK\r\nX-Odd-Case: a  b\r\nContent-Length: 1000\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n";
    let server = Scripted::always(move |_, conn: &mut RawConn| {
        assert_eq!(conn.read_request().method, "HEAD");
        conn.send(head);
    });
    let url = format!("http://{}/x", server.address());
    let folder = Folder::new();
    let ended = Program::start(command(&["get", "-I", &url, &url]).current_dir(folder.path())).wait();
    assert_eq!((ended.code(), ended.stdout), (0, head.repeat(2)), "{}", ended.stderr);
    assert_eq!(std::fs::read_dir(folder.path()).expect("ours").count(), 0);
    let refuse = Scripted::serve([|conn: &mut RawConn| {
        conn.read_request();
        conn.send("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\n");
    }]);
    let ended = run(&["get", "--head", &format!("http://{}/x", refuse.address())]);
    assert_eq!(ended.code(), 1);
    assert!(ended.stdout.starts_with("HTTP/1.1 404 Not Found\r\n"), "{}", ended.stdout);
    assert!(ended.stderr.contains("answered with 404"), "{}", ended.stderr);
}

#[test]
fn what_can_not_be_sent_is_told_before_anything_is() {
    for (arguments, code, expected) in [
        (&["-X", "GE T"][..], 2, "a method is a word"),
        (&["-X", ""], 2, "a method is a word"),
        (&["-X", "CONNECT"], 2, "--proxy"),
        (&["-d", "a", "--json", "b"], 2, "cannot be used with"),
        (&["-d", "a", "-I"], 2, "cannot be used with"),
        (&["-d", "a", "--resume"], 2, "cannot be used with"),
        (&["-d", "@/no/such/file"], 1, "can't read /no/such/file: No such file or directory"),
        (&["-d", "@/"], 1, "can't read /"),
        (&["-d", "@-", "-d", "@-"], 1, "only once"),
    ] {
        let (requests, ended) = sent(1, |url| run(&[&["get", url], arguments].concat()));
        assert_eq!(ended.code(), code, "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(expected), "{arguments:?}: {}", ended.stderr);
        assert!(requests.is_empty(), "{arguments:?}");
    }
}

/// The URL's own password, its query, and what was said wrongly.
#[test]
fn errors_show_no_secret() {
    let refuse = Scripted::always(|_, conn: &mut RawConn| {
        conn.read_request();
        conn.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    });
    let missing = format!("http://u:secret@{}/x?token=secret", refuse.address());
    let file = Folder::new();
    let file = file.path().join("x").display().to_string();
    for (arguments, code, expected) in [
        (&["get", "http://u:secret@127.0.0.1:1/x?token=secret"][..], 1, "http://127.0.0.1:1/x: "),
        (&["get", &missing], 1, "/x: answered with 404"),
        (&["get", &missing, "-I"], 1, "/x: answered with 404"),
        (&["get", &missing, "-o", &file], 1, "/x: "),
        (&["get", "http://u:secret@bad host/"], 2, "bad value for '<URL>...': not a URL: "),
        (&["get", "a", "-H", "Authorization secret"], 2, "'--header <NAME: VALUE>': want NAME: VALUE"),
        (&["get", "a", "-H", "A secret: x"], 2, "'--header <NAME: VALUE>': what stands before the colon"),
        (&["get", "a", "-x", "http://pu:proxy secret@:bad"], 2, "'--proxy <URL>': not a URL: "),
        (&["bench", "http://u:secret@bad host/"], 2, "'<URL>': not a URL: "),
        (&["bench", "a", "-H", "Authorization secret"], 2, "want NAME: VALUE"),
        (&["bench", "a", "http://u:secret@a/"], 2, "unexpected argument '(not shown)'"),
        (&["http://u:secret@a/"], 2, "unrecognized subcommand '(not shown)'"),
    ] {
        let ended = run(arguments);
        assert_eq!(ended.code(), code, "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(expected), "{arguments:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains("secret"), "{arguments:?}: {}", ended.stderr);
    }
}
