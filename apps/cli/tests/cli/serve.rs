//! `millstream serve` as people and scripts run it.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use crate::program::{Program, address_in, command, run};
use millstream_peers::curl::curl;
use millstream_peers::{Folder, RawConn, certs, eventually, or_skip};
use rustix::process::Signal;

/// More than all buffers between server and client hold.
const LARGE: usize = 64 << 20;

fn get(conn: &mut RawConn, path: &str) -> (u16, String) {
    conn.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
    let response = conn.read_response("GET");
    (response.status, response.text().to_owned())
}

#[test]
fn one_line_says_what_is_served_and_where() {
    let folder = Folder::new();
    folder.write("a.txt", "hello");
    let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--workers", "2"]);
    let mut program = Program::start(command.current_dir(folder.path()));
    let line = program.line();
    let root = folder.path().canonicalize().expect("it exists");
    let address = address_in(&line);
    assert_eq!(line, format!("serving {} on http://{address}", root.display()));
    assert_eq!(get(&mut RawConn::connect(address), "/a.txt"), (200, "hello".to_owned()));
    program.signal(Signal::TERM);
    let ended = program.wait();
    assert_eq!((ended.code(), &*ended.stdout, &*ended.stderr), (0, "", ""));
}

#[test]
fn curl_gets_a_file_a_range_and_a_listing() {
    let folder = Folder::new();
    folder.write("sub/a b.txt", "hello");
    let (_program, address) = Program::serve(folder.path(), &[]);
    let file = or_skip!(curl(&[&format!("http://{address}/sub/a%20b.txt")])).succeeded();
    assert_eq!(file.stdout, "hello");
    let part = or_skip!(curl(&["-r", "1-3", &format!("http://{address}/sub/a%20b.txt")])).succeeded();
    assert_eq!(part.stdout, "ell");
    let list = or_skip!(curl(&["-L", &format!("http://{address}/sub")])).succeeded();
    assert!(list.stdout.contains("a b.txt"), "{}", list.stdout);
}

#[test]
fn listings_and_hidden_files_are_as_the_flags_say() {
    let folder = Folder::new();
    folder.write(".secret", "dot");
    let (_plain, address) = Program::serve(folder.path(), &[]);
    let mut conn = RawConn::connect(address);
    assert_eq!(get(&mut conn, "/").0, 200);
    assert_eq!(get(&mut conn, "/.secret").0, 404);
    let (_other, address) = Program::serve(folder.path(), &["--hidden", "--no-listing"]);
    let mut conn = RawConn::connect(address);
    assert_eq!(get(&mut conn, "/").0, 404);
    assert_eq!(get(&mut conn, "/.secret"), (200, "dot".to_owned()));
}

#[test]
fn access_log_has_a_line_for_each_request() {
    let folder = Folder::new();
    folder.write("a.txt", "hello");
    let (mut program, address) = Program::serve(folder.path(), &["--access-log"]);
    let mut conn = RawConn::connect(address);
    get(&mut conn, "/a.txt?x=1");
    get(&mut conn, "/missing");
    for (expected, length) in
        [("\"GET /a.txt?x=1 HTTP/1.1\" 200", "5"), ("\"GET /missing HTTP/1.1\" 404", "")]
    {
        let line = program.line();
        let (moment, rest) = line.split_once(' ').expect("a moment");
        assert!(moment.len() == 20 && moment.ends_with('Z'), "{line}");
        assert!(rest.starts_with(&format!("{} {expected} {length}", conn.local_addr())), "{line}");
    }
    // Other output of the program shows no query: who turns this on is told.
    assert!(run(&["serve", "--help"]).stdout.contains("with the query"));
}

#[test]
fn compresses_only_when_told_to() {
    let folder = Folder::new();
    folder.write("a.txt", "hello ".repeat(1000));
    for (arguments, coding) in [(&[][..], None), (&["--compress"], Some("gzip"))] {
        let (_program, address) = Program::serve(folder.path(), arguments);
        let mut conn = RawConn::connect(address);
        conn.send("GET /a.txt HTTP/1.1\r\nHost: test\r\nAccept-Encoding: gzip\r\n\r\n");
        let response = conn.read_response("GET");
        assert_eq!(response.field("content-encoding"), coding);
        assert_eq!(response.body.len() < 1000, coding.is_some());
    }
}

#[test]
fn tls_serves_who_trusts_the_certificate() {
    let folder = Folder::new();
    folder.write("a.txt", "hello");
    let authority = certs::Authority::new();
    let keys = Folder::new();
    let (chain, key) = authority.server(&["127.0.0.1"]).write_to(keys.path(), "site").expect("written");
    let root = keys.write("root.pem", authority.root());
    let text = |path: &std::path::Path| path.to_str().expect("a plain name").to_owned();
    let (chain, key, root) = (text(&chain), text(&key), text(&root));
    let (_program, address) = Program::serve(folder.path(), &["--tls-cert", &chain, "--tls-key", &key]);
    let url = format!("https://{address}/a.txt");
    for version in ["--http1.0", "--http1.1", "--http2", "--no-alpn"] {
        let output = or_skip!(curl(&[version, "--cacert", &root, &url])).succeeded();
        assert_eq!(output.stdout, "hello", "{version}");
    }
    assert_ne!(or_skip!(curl(&[&url])).code, Some(0));
}

#[test]
fn admin_answers_only_where_it_is_asked_for() {
    let folder = Folder::new();
    let (mut program, address) = Program::serve(folder.path(), &["--admin", "127.0.0.1:0"]);
    let line = program.line();
    assert!(line.starts_with("admin on http://127.0.0.1:"), "{line}");
    let mut site = RawConn::connect(address);
    assert_eq!(get(&mut site, "/health").0, 404);
    let mut admin = RawConn::connect(address_in(&line));
    for (path, part) in [
        ("/health", "\"status\":\"ok\""),
        ("/metrics", "millstream_http_responses_total"),
        ("/connections", "\"accepted\":1"),
        ("/", "<title>Millstream</title>"),
    ] {
        admin.send(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", address_in(&line)));
        let response = admin.read_response("GET");
        assert!(response.status == 200 && response.text().contains(part), "{path}: {}", response.text());
    }
}

#[test]
fn drain_lets_a_response_under_way_end() {
    let folder = Folder::new();
    folder.write("large", vec![b'x'; LARGE]);
    let (program, address) = Program::serve(folder.path(), &[]);
    let mut conn = RawConn::connect(address);
    conn.send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n");
    conn.read_until(b"\r\n\r\n");
    program.signal(Signal::TERM);
    eventually("nobody new is let in", || RawConn::try_connect(address).is_err());
    assert!(conn.read_exact(LARGE).iter().all(|byte| *byte == b'x'));
    assert_eq!(program.wait().code(), 0);
}

#[test]
fn second_signal_ends_it_now() {
    let folder = Folder::new();
    folder.write("large", vec![b'x'; LARGE]);
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (program, address) = Program::serve(folder.path(), &[]);
        let mut conn = RawConn::connect(address);
        conn.send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n");
        conn.read_until(b"\r\n\r\n");
        program.signal(Signal::TERM);
        eventually("nobody new is let in", || RawConn::try_connect(address).is_err());
        program.signal(signal);
        assert_eq!(program.wait().code(), code);
    }
}

#[test]
fn what_outlives_the_drain_is_cut_off_and_said() {
    let folder = Folder::new();
    folder.write("large", vec![b'x'; LARGE]);
    let (program, address) = Program::serve(folder.path(), &["--drain", "20ms"]);
    let mut conn = RawConn::connect(address);
    conn.send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n");
    conn.read_until(b"\r\n\r\n");
    program.signal(Signal::TERM);
    let ended = program.wait();
    assert_eq!(ended.code(), 1);
    assert_eq!(ended.stderr, "millstream: what was still under way after 20ms was cut off\n");
}

#[test]
fn what_cannot_be_served_is_one_clear_line() {
    let folder = Folder::new();
    let root = folder.path().to_str().expect("a plain name");
    let file = folder.write("file", "");
    let (file, missing) = (file.to_str().expect("a plain name"), format!("{root}/missing"));
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let taken = taken.local_addr().expect("bound").to_string();
    for (arguments, expected) in [
        (vec![&*missing], format!("can't serve {missing}: No such file or directory")),
        (vec![file], format!("can't serve {file}: Not a directory")),
        (vec![root, "--listen", &taken], format!("can't listen on {taken}: Address already in use")),
        (vec![root, "--listen", "nowhere"], "\"nowhere\" is no address to listen on".to_owned()),
        (vec![root, "--tls-cert", file], "--tls-cert needs --tls-key".to_owned()),
        (vec![root, "--tls-key", file], "--tls-key needs --tls-cert".to_owned()),
        (vec![root, "--tls-cert", file, "--tls-key", file], format!("bad certificate file {file}")),
        (
            vec![root, "--tls-cert", &missing, "--tls-key", file],
            format!("can't read certificate file {missing}"),
        ),
        (vec![root, "--listen", "127.0.0.1:0", "--admin", &taken], format!("can't listen on {taken}")),
        (vec![root, "--listen", "127.0.0.1:0", "--admin", "0.0.0.0:0"], "--admin-remote".to_owned()),
        (vec![root, "--workers", "0"], "workers must be 1 to 1024".to_owned()),
    ] {
        let arguments: Vec<_> = ["serve"].into_iter().chain(arguments).collect();
        let ended = run(&arguments);
        assert_eq!(ended.code(), 1, "{arguments:?}");
        assert!(
            ended.stderr.starts_with("millstream: ") && ended.stderr.contains(&expected),
            "{}",
            ended.stderr
        );
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert_eq!(ended.stdout, "", "{arguments:?}");
    }
}

#[test]
fn folder_that_may_not_be_read_is_one_clear_line() {
    let folder = Folder::new();
    let program = folder.path().join("millstream");
    std::fs::copy(env!("CARGO_BIN_EXE_millstream"), &program).expect("copied");
    let locked = folder.write("locked/file", "").parent().expect("it has one").to_owned();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o000)).expect("it is ours");
    // For root no folder is unreadable: then somebody else tries.
    let mut command = std::process::Command::new(&program);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    if rustix::process::geteuid().is_root() {
        command.uid(65_534);
    }
    let ended = Program::start(command.arg("serve").arg(&locked)).wait();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o700)).expect("it is ours");
    assert_eq!(ended.code(), 1);
    assert_eq!(
        ended.stderr,
        format!("millstream: can't serve {}: Permission denied (os error 13)\n", locked.display())
    );
}

#[test]
fn usage_errors_exit_with_two_and_without_colour_in_a_pipe() {
    for arguments in
        [&[][..], &["serve", "--nothing"], &["serve", "--drain", "soon"], &["serve", "a", "b"], &["what"]]
    {
        let ended = run(arguments);
        assert_eq!(ended.code(), 2, "{arguments:?}");
        assert!(
            ended.stderr.contains("Usage: millstream") || ended.stderr.contains("--help"),
            "{}",
            ended.stderr
        );
        assert!(!ended.stderr.contains('\u{1b}'), "{}", ended.stderr);
    }
    assert_eq!(run(&["--version"]).stdout, format!("millstream {}\n", env!("CARGO_PKG_VERSION")));
}
