//! `millstream get` against servers that do what real ones do, and what they should not.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::program::{Ended, Program, command, run};
use millstream_peers::scripted::{boxed, resetting};
use millstream_peers::{Count, Folder, Gate, RawConn, Scripted, certs, eventually};
use rustix::process::Signal;

/// Answers one request with these bytes.
fn answer(bytes: impl AsRef<[u8]> + Send + 'static) -> impl FnOnce(&mut RawConn) + Send + 'static {
    move |conn| {
        conn.read_request();
        conn.send(bytes);
    }
}

fn url(server: &Scripted, path: &str) -> String {
    format!("http://{}{path}", server.address())
}

fn get_in(folder: &Folder, arguments: &[&str]) -> Ended {
    Program::start(command(&["get"]).args(arguments).current_dir(folder.path())).wait()
}

fn read(folder: &Folder, name: &str) -> String {
    std::fs::read_to_string(folder.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn names(folder: &Folder) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path()).expect("it is ours");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("listed").file_name();
    let mut names: Vec<_> = entries.map(|entry| name(entry).into_string().expect("text")).collect();
    names.sort();
    names
}

#[test]
fn one_body_goes_to_standard_output_as_it_is() {
    let server = Scripted::serve([answer("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\na\0\nb\r\n")]);
    let ended = run(&["get", &url(&server, "/")]);
    assert_eq!((ended.code(), &*ended.stdout, &*ended.stderr), (0, "a\0\nb\r\n", ""));
}

#[test]
fn body_goes_out_as_it_arrives() {
    let seen = Gate::new();
    let server = Scripted::serve([{
        let seen = seen.clone();
        move |conn: &mut RawConn| {
            conn.read_request();
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfirst\n\r\n");
            seen.wait();
            conn.send("5\r\nlast\n\r\n0\r\n\r\n");
        }
    }]);
    let mut program = Program::start(&mut command(&["get", &url(&server, "/")]));
    assert_eq!(program.line(), "first");
    seen.open();
    assert_eq!(program.line(), "last");
    assert_eq!(program.wait().code(), 0);
}

#[test]
fn several_bodies_go_to_files_at_once() {
    let here = Count::new();
    let server = Scripted::serve((0..3).map(|_| {
        let here = here.clone();
        move |conn: &mut RawConn| {
            let target = conn.read_request().target;
            here.rise();
            // All three are under way at the same time.
            here.wait_for(3);
            conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len()));
        }
    }));
    let folder = Folder::new();
    let urls = [url(&server, "/x/a.txt?q"), url(&server, "/y/a.txt"), url(&server, "/")];
    let ended = get_in(&folder, &["--parallel", "3", &urls[0], &urls[1], &urls[2]]);
    assert_eq!((ended.code(), &*ended.stdout, &*ended.stderr), (0, "", ""));
    assert_eq!(names(&folder), ["a.txt", "a.txt.2", "index.html"]);
    let bodies = ["a.txt", "a.txt.2", "index.html"].map(|name| read(&folder, name));
    assert_eq!(bodies, ["/x/a.txt?q", "/y/a.txt", "/"]);
}

#[test]
fn output_names_a_file_or_a_folder() {
    let body = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    let server = Scripted::serve([answer(body), answer(body), answer(body)]);
    let folder = Folder::new();
    folder.write("out", "something longer that was there before");
    assert_eq!(get_in(&folder, &[&url(&server, "/a"), "-o", "out"]).code(), 0);
    folder.write("sub/empty", "");
    assert_eq!(get_in(&folder, &[&url(&server, "/a"), "-o", "sub"]).code(), 0);
    assert_eq!(get_in(&folder, &[&url(&server, "/a"), "-o", "-"]).stdout, "hi");
    assert_eq!((read(&folder, "out"), read(&folder, "sub/a")), ("hi".to_owned(), "hi".to_owned()));
    assert_eq!(names(&folder), ["out", "sub"]);
}

#[test]
fn what_is_no_file_is_written_not_replaced() {
    let server = Scripted::serve([answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")]);
    let folder = Folder::new();
    let pipe = folder.path().join("pipe");
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).expect("made");
    let reads = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read_to_string(pipe).expect("it can be read")
    });
    assert_eq!(get_in(&folder, &[&url(&server, "/a"), "-o", "pipe"]).code(), 0);
    assert_eq!(reads.join().expect("read"), "hi");
    assert_eq!(names(&folder), ["pipe"]);
}

#[test]
fn request_says_what_it_was_told_to() {
    let server = Scripted::serve([|conn: &mut RawConn| {
        let request = conn.read_request();
        assert_eq!((&*request.method, &*request.target), ("POST", "/form?x=1"));
        assert_eq!(request.fields.get("x-one"), Some("1: a"));
        assert_eq!(request.fields.get("content-type"), Some("text/csv"));
        assert_eq!(request.body, b"a=b&c");
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }]);
    let url = url(&server, "/form?x=1");
    let ended = run(&["get", "-H", "X-One: 1: a", "-H", "Content-Type: text/csv", "--data", "a=b&c", &url]);
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    server.finish();
}

#[test]
fn redirects_are_followed_and_do_not_choose_the_name() {
    let server = Scripted::always(|_, conn| {
        let target = conn.read_request().target;
        match &*target {
            "/a" => conn.send(
                "HTTP/1.1 302 Found\r\nLocation: /.bashrc\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            ),
            "/.bashrc" => conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"),
            _ => conn
                .send("HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        };
    });
    let folder = Folder::new();
    assert_eq!(get_in(&folder, &[&url(&server, "/a"), "-o", "."]).code(), 0);
    assert_eq!((names(&folder), read(&folder, "a")), (vec!["a".to_owned()], "hi".to_owned()));
    let endless = get_in(&folder, &["--max-redirects", "3", &url(&server, "/b")]);
    assert_eq!(endless.code(), 1);
    assert!(endless.stderr.contains("too many redirects (limit 3)"), "{}", endless.stderr);
}

#[test]
fn proxy_gets_the_whole_url() {
    let asked = |conn: &mut RawConn| {
        assert_eq!(conn.read_request().target, "http://site.invalid/a?b");
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    };
    let proxy = Scripted::serve([asked, asked]);
    let told = run(&["get", "--proxy", &proxy.address().to_string(), "http://site.invalid/a?b"]);
    assert_eq!((told.code(), &*told.stdout), (0, "hi"), "{}", told.stderr);
    let variable = format!("http://{}", proxy.address());
    let mut command = command(&["get", "http://site.invalid/a?b"]);
    assert_eq!(Program::start(command.env("http_proxy", &variable)).wait().stdout, "hi");
    let refused = Program::start(command.arg("--proxy").arg("")).wait();
    assert_eq!(refused.code(), 1, "{}", refused.stdout);
    proxy.finish();
}

#[test]
fn body_is_written_as_it_came() {
    let server = Scripted::serve([|conn: &mut RawConn| {
        assert_eq!(conn.read_request().fields.get("accept-encoding"), None);
        conn.send("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc");
    }]);
    assert_eq!(run(&["get", &url(&server, "/a.gz")]).stdout, "abc");
    server.finish();
}

#[test]
fn status_of_400_and_more_is_a_failure_that_makes_no_file() {
    let refuse = "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone";
    let server = Scripted::serve([answer(refuse), answer(refuse)]);
    let folder = Folder::new();
    let address = url(&server, "/a");
    let shown = get_in(&folder, &[&address]);
    assert_eq!((shown.code(), &*shown.stdout), (1, "gone"));
    assert_eq!(shown.stderr, format!("millstream: {address}: answered with 404 Not Found\n"));
    let saved = get_in(&folder, &[&address, "-o", "a"]);
    assert_eq!((saved.code(), saved.stderr), (1, shown.stderr));
    assert!(names(&folder).is_empty());
}

#[test]
fn one_failure_among_several_is_told_and_the_others_arrive() {
    let server = Scripted::always(|_, conn| {
        let target = conn.read_request().target;
        let status = if target == "/bad" { "500 Oops" } else { "200 OK" };
        conn.send(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"));
    });
    let folder = Folder::new();
    let ended = get_in(&folder, &[&url(&server, "/a"), &url(&server, "/bad"), &url(&server, "/b")]);
    assert_eq!(ended.code(), 1);
    assert!(ended.stderr.contains("/bad: answered with 500"), "{}", ended.stderr);
    assert_eq!(names(&folder), ["a", "b"]);
}

#[test]
fn truncated_and_malformed_answers_are_errors_that_say_so() {
    let ok = "HTTP/1.1 200 OK\r\n";
    for (bytes, expected) in [
        (format!("{ok}Content-Length: 10\r\n\r\nhello"), "truncated: 5 bytes are missing"),
        (
            format!("{ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
            "truncated: its last chunk is missing",
        ),
        (format!("{ok}Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n"), "malformed body"),
        (format!("{ok}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), "malformed"),
        ("SSH-2.0-OpenSSH_9\r\n".to_owned(), "malformed"),
        (ok.to_owned(), "closed within the reply's head"),
        (String::new(), "closed"),
    ] {
        let server = Scripted::always(move |_, conn| {
            conn.read_request();
            conn.send(&bytes);
        });
        let folder = Folder::new();
        let ended = get_in(&folder, &[&url(&server, "/a"), "-o", "a"]);
        assert_eq!(ended.code(), 1, "{expected}");
        assert!(ended.stderr.starts_with("millstream: http://"), "{}", ended.stderr);
        assert!(ended.stderr.contains(expected), "want {expected} in {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(names(&folder).is_empty(), "{:?}", names(&folder));
    }
}

#[test]
fn nobody_there_is_an_error_that_says_so() {
    let (listener, address) = Scripted::never();
    drop(listener);
    let ended = run(&["get", &format!("http://{address}/")]);
    assert_eq!(ended.code(), 1);
    assert!(ended.stderr.contains("Connection refused"), "{}", ended.stderr);
}

const BEGIN: &str = "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: 10\r\n\r\nhello";

/// A first try that was broken off after `hello`.
fn broken_off(folder: &Folder, address: &str) {
    let ended = get_in(folder, &[address, "-o", "a"]);
    assert_eq!(ended.code(), 1);
    assert!(ended.stderr.contains("--resume goes on with it"), "{}", ended.stderr);
    assert_eq!(names(folder), ["a.part", "a.part.from"]);
    assert_eq!(read(folder, "a.part"), "hello");
}

#[test]
fn resume_goes_on_where_it_was_broken_off() {
    let server = Scripted::serve_boxed(vec![
        boxed(answer(BEGIN)),
        boxed(|conn| {
            let request = conn.read_request();
            assert_eq!(request.fields.get("range"), Some("bytes=5-"));
            assert_eq!(request.fields.get("if-range"), Some("\"v1\""));
            conn.send("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\nworld");
        }),
    ]);
    let folder = Folder::new();
    let address = url(&server, "/a");
    broken_off(&folder, &address);
    let ended = get_in(&folder, &[&address, "-o", "a", "--resume"]);
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    assert_eq!((names(&folder), read(&folder, "a")), (vec!["a".to_owned()], "helloworld".to_owned()));
    server.finish();
}

#[test]
fn resume_begins_anew_when_the_resource_has_changed() {
    let changed = "HTTP/1.1 200 OK\r\nETag: \"v2\"\r\nContent-Length: 3\r\n\r\nnew";
    let server = Scripted::serve([answer(BEGIN), answer(changed)]);
    let folder = Folder::new();
    broken_off(&folder, &url(&server, "/a"));
    assert_eq!(get_in(&folder, &[&url(&server, "/a"), "-o", "a", "--resume"]).code(), 0);
    assert_eq!((names(&folder), read(&folder, "a")), (vec!["a".to_owned()], "new".to_owned()));
}

#[test]
fn resume_of_what_was_whole_already_fetches_nothing() {
    let server = Scripted::serve([
        answer(BEGIN),
        answer("HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */5\r\nContent-Length: 0\r\n\r\n"),
    ]);
    let folder = Folder::new();
    broken_off(&folder, &url(&server, "/a"));
    assert_eq!(get_in(&folder, &[&url(&server, "/a"), "-o", "a", "--resume"]).code(), 0);
    assert_eq!((names(&folder), read(&folder, "a")), (vec!["a".to_owned()], "hello".to_owned()));
}

#[test]
fn resume_takes_no_other_range_than_it_asked_for() {
    let wrong =
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 6\r\n\r\noworld";
    let server = Scripted::serve([answer(BEGIN), answer(wrong)]);
    let folder = Folder::new();
    broken_off(&folder, &url(&server, "/a"));
    let ended = get_in(&folder, &[&url(&server, "/a"), "-o", "a", "--resume"]);
    assert_eq!(ended.code(), 1);
    assert!(ended.stderr.contains("asked for bytes from 5 on and sent others"), "{}", ended.stderr);
    assert_eq!(read(&folder, "a.part"), "hello");
}

#[test]
fn part_of_another_url_or_without_a_validator_is_not_continued() {
    let weak = "HTTP/1.1 200 OK\r\nETag: W/\"v1\"\r\nContent-Length: 10\r\n\r\nhello";
    let fresh = |conn: &mut RawConn| {
        assert_eq!(conn.read_request().fields.get("range"), None);
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew");
    };
    let server =
        Scripted::serve_boxed(vec![boxed(answer(weak)), boxed(fresh), boxed(answer(BEGIN)), boxed(fresh)]);
    let folder = Folder::new();
    assert_eq!(get_in(&folder, &[&url(&server, "/a"), "-o", "a"]).code(), 1);
    assert_eq!(get_in(&folder, &[&url(&server, "/a"), "-o", "a", "--resume"]).code(), 0);
    assert_eq!(read(&folder, "a"), "new");
    std::fs::remove_file(folder.path().join("a")).expect("ours");
    broken_off(&folder, &url(&server, "/a"));
    assert_eq!(get_in(&folder, &[&url(&server, "/b"), "-o", "a", "--resume"]).code(), 0);
    assert_eq!((names(&folder), read(&folder, "a")), (vec!["a".to_owned()], "new".to_owned()));
    server.finish();
}

#[test]
fn reset_within_the_body_keeps_what_arrived() {
    let gate = Gate::new();
    let server = Scripted::serve_boxed(vec![resetting({
        let gate = gate.clone();
        move |conn| {
            conn.read_request();
            conn.send(BEGIN);
            gate.wait();
        }
    })]);
    let folder = Folder::new();
    let mut command = command(&["get", &url(&server, "/a"), "-o", "a"]);
    let program = Program::start(command.current_dir(folder.path()));
    eventually("the part is written", || {
        std::fs::read(folder.path().join("a.part")).is_ok_and(|part| part == b"hello")
    });
    gate.open();
    let ended = program.wait();
    assert_eq!(ended.code(), 1);
    assert!(ended.stderr.contains("reset"), "{}", ended.stderr);
    assert_eq!(names(&folder), ["a.part", "a.part.from"]);
}

#[test]
fn interrupted_transfer_can_be_resumed() {
    let end = Gate::new();
    let server = Scripted::serve_boxed(vec![
        boxed({
            let end = end.clone();
            move |conn| {
                conn.read_request();
                conn.send(BEGIN);
                end.wait();
            }
        }),
        boxed(answer(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\nworld",
        )),
    ]);
    let folder = Folder::new();
    let program =
        Program::start(command(&["get", &url(&server, "/a"), "-o", "a"]).current_dir(folder.path()));
    eventually("the part is written", || {
        std::fs::read(folder.path().join("a.part")).is_ok_and(|part| part == b"hello")
    });
    // Not INT: who runs the tests in the background may have it ignored, and that is inherited.
    program.signal(Signal::TERM);
    assert_eq!(program.wait().signal(), Some(15));
    end.open();
    assert_eq!(get_in(&folder, &[&url(&server, "/a"), "-o", "a", "--resume"]).code(), 0);
    assert_eq!(read(&folder, "a"), "helloworld");
}

#[test]
fn deadline_covers_the_body() {
    let end = Gate::new();
    let server = Scripted::serve([{
        let end = end.clone();
        move |conn: &mut RawConn| {
            conn.read_request();
            conn.send(BEGIN);
            end.wait();
        }
    }]);
    let ended = run(&["get", "--deadline", "300ms", &url(&server, "/a")]);
    end.open();
    assert_eq!((ended.code(), &*ended.stdout), (1, "hello"));
    assert!(ended.stderr.contains("timed out") && ended.stderr.contains("300ms"), "{}", ended.stderr);
}

#[test]
fn deadline_tells_what_was_waited_for() {
    let end = Gate::new();
    let server = Scripted::always({
        let end = end.clone();
        move |_, conn: &mut RawConn| {
            conn.read_request();
            end.wait();
        }
    });
    let target = url(&server, "/a?q");
    let ends = [&["--head"][..], &[]]
        .map(|arguments| run(&[&["get", "--deadline", "300ms", &*target], arguments].concat()));
    end.open();
    for ended in ends {
        assert_eq!(ended.code(), 1);
        let expected = "/a: timed out (the call's deadline), in wait for the first byte";
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    }
}

#[test]
fn who_stops_reading_ends_it_quietly() {
    let server = Scripted::serve([|conn: &mut RawConn| {
        conn.read_request();
        conn.send("HTTP/1.1 200 OK\r\n\r\n");
        // Until the client has gone.
        while conn.try_send([b'x'; 65536]).is_ok() {}
    }]);
    let mut child = command(&["get", &url(&server, "/a")]).spawn().expect("the program was built");
    let mut stdout = child.stdout.take().expect("piped");
    stdout.read_exact(&mut [0; 10]).expect("something comes");
    drop(stdout);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), &*output.stderr), (Some(141), &b""[..]));
}

#[test]
fn certificates_are_verified_unless_told_otherwise() {
    let site = Folder::new();
    site.write("a", "secret");
    let keys = Folder::new();
    let (chain, key) = certs::self_signed(&["127.0.0.1"]).write_to(keys.path(), "site").expect("written");
    let text = |path: &Path| path.to_str().expect("a plain name").to_owned();
    let (_server, address) =
        Program::serve(site.path(), &["--tls-cert", &text(&chain), "--tls-key", &text(&key)]);
    let url = format!("https://{address}/a");
    let refused = run(&["get", &url]);
    assert_eq!((refused.code(), &*refused.stdout), (1, ""));
    assert!(refused.stderr.contains("certificate"), "{}", refused.stderr);
    assert_eq!(run(&["get", "--insecure", &url]).stdout, "secret");
}

#[test]
fn large_file_needs_little_memory() {
    let site = Folder::new();
    let size = 512 << 20;
    std::fs::File::create(site.path().join("large"))
        .and_then(|file| file.set_len(size))
        .expect("a sparse file");
    let (_server, address) = Program::serve(site.path(), &[]);
    let out = site.path().join("out");
    // The shell sets the limit on writable memory, then becomes the program.
    let script = "ulimit -d 65536 && exec \"$0\" get \"$1\" -o \"$2\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_millstream"), &format!("http://{address}/large")]);
    command.arg(&out).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = Program::start(&mut command).wait();
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    assert_eq!(std::fs::metadata(&out).expect("written").len(), size);
}

#[test]
fn usage_errors_exit_with_two() {
    for arguments in [
        &["get"][..],
        &["get", "ftp://example.org/"],
        &["get", "-H", "Host: x", "example.org"],
        &["get", "-H", "nothing", "example.org"],
        &["get", "--parallel", "0", "example.org"],
        &["get", "--deadline", "soon", "example.org"],
    ] {
        let ended = run(arguments);
        assert_eq!(ended.code(), 2, "{arguments:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
    let ended = run(&["get", "http://a.invalid/x", "http://a.invalid/y", "-o", "/no/such/folder"]);
    assert_eq!(ended.code(), 1);
    assert!(ended.stderr.contains("is no folder"), "{}", ended.stderr);
}
