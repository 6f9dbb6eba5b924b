//! Every example runs: those that end by themselves end well, and the servers answer.

use std::process::{Command, Stdio};

use millstream::prelude::*;
use millstream_peers::Folder;
use millstream_peers::program::{self, Running};

/// Cargo builds examples into a folder beside that of the tests.
fn example(name: &str) -> Command {
    let mut path = std::env::current_exe().expect("a test is a file");
    path.pop();
    path.pop();
    path.extend(["examples", name]);
    assert!(path.exists(), "cargo test -p millstream-examples builds {}", path.display());
    Command::new(path)
}

/// Runs an example to its end in a folder of its own; what it printed.
#[track_caller]
fn run(name: &str, args: &[&str]) -> (String, Folder) {
    let folder = Folder::new();
    let mut command = example(name);
    command.args(args).current_dir(folder.path()).env("TMPDIR", folder.path());
    (program::run(&mut command, b"").succeeded().stdout, folder)
}

/// Starts an example that serves; gives it with its URL.
#[track_caller]
fn serve(name: &str, args: &[&str]) -> (Running, String) {
    let mut command = example(name);
    let mut running =
        Running::start(command.args(["--listen", "127.0.0.1:0"]).args(args).stdout(Stdio::piped()));
    let line = running.first_line();
    let url = line.split_whitespace().find(|word| word.starts_with("http://")).expect("its URL");
    (running, url.trim_end_matches(':').to_owned())
}

/// The body at this URL, and its status.
fn get(url: String) -> (StatusCode, String) {
    let engine = Engine::builder().workers(1).build().expect("an engine");
    let got = engine.run(async move |engine| {
        let response = HttpClient::new(&engine).get(&url).send().await?;
        Ok::<_, Error>((response.status(), response.text().await?))
    });
    got.flatten().expect("a server that answers")
}

#[test]
fn hello_answers_and_fetch_fetches_once_and_often() {
    let (_server, url) = serve("01_hello", &["--workers", "1", "--body-bytes", "5"]);
    assert_eq!(run("02_fetch", &["--url", &url]).0, "xxxxx");
    let many = run("02_fetch", &["--url", &url, "--callers", "4", "--requests", "50"]).0;
    assert!(many.starts_with(r#"{"requests":50,"#), "{many}");
}

#[test]
fn router_answers() {
    let (_server, url) = serve("03_router", &[]);
    assert_eq!(get(url.clone() + "/"), (StatusCode::OK, "notes live at /api/notes\n".to_owned()));
    assert_eq!(get(url + "/api/notes/1").0, StatusCode::NOT_FOUND);
}

#[test]
fn stream_uploads_echoes_and_downloads() {
    let text = run("04_stream", &["--mib", "4"]).0;
    let words: Vec<_> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(words, ["uploaded", "echoed", "downloaded"]);
}

#[test]
fn custom_protocol_speaks() {
    let text = run("05_custom_protocol", &[]).0;
    assert!(text.starts_with("one codec -> ONE CODEC\n"), "{text}");
}

#[test]
fn parallel_wget_fetches_all() {
    let text = run("06_parallel_wget", &["--at-most", "8"]).0;
    assert_eq!(text.lines().filter(|line| line.starts_with("   200 ")).count(), 20, "{text}");
    let (_server, url) = serve("03_router", &[]);
    let nobody = format!("http://127.0.0.1:{}/", program::free_port());
    let text = run("06_parallel_wget", &[&url, &format!("{url}/nothing"), &nobody]).0;
    let mut states: Vec<_> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    states.sort_unstable();
    assert_eq!(states, ["200", "3", "404", "GET", "error", "status"], "{text}");
}

#[test]
fn wget_to_file_replaces_the_file_or_leaves_it() {
    let (text, folder) = run("07_wget_to_file", &["--to", "body"]);
    assert_eq!(text, "body has 67108864 bytes\n");
    let names = || -> Vec<_> {
        let entries = std::fs::read_dir(folder.path()).expect("the folder is ours");
        entries.map(|entry| entry.expect("it is a file").file_name()).collect()
    };
    assert_eq!(names(), ["body"]);
    let (_server, url) = serve("03_router", &[]);
    let mut command = example("07_wget_to_file");
    let output = program::run(
        command.args([&format!("{url}/nothing"), "--to", "body"]).current_dir(folder.path()),
        b"",
    );
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    let metadata = std::fs::metadata(folder.path().join("body")).expect("it is there");
    assert_eq!((names().len(), metadata.len()), (1, 64 << 20));
}

#[test]
fn sort_and_matrix_give_what_is_expected() {
    let text = run("08_sort", &["--count", "50000"]).0;
    assert!(text.contains("sorted on all threads") && text.contains("times as fast"), "{text}");
    let text = run("09_matrix_multiply", &["--size", "100"]).0;
    assert!(text.ends_with("both are the same\n"), "{text}");
}

#[test]
fn file_server_serves_its_folder() {
    let folder = Folder::new();
    folder.write("page", "0123456789");
    let root = folder.path().to_str().expect("text");
    let (_server, url) = serve("10_file_server", &["--root", root]);
    assert_eq!(get(url.clone() + "/page"), (StatusCode::OK, "0123456789".to_owned()));
    assert!(get(url + "/").1.contains("page"));
}

#[test]
fn graph_reports_and_draws() {
    let (text, folder) = run("11_graph", &["--svg", "run.svg", "--mermaid", "graph.mmd", "--to", "page"]);
    assert!(text.ends_with("5 different words in 20000 lines\n"), "{text}");
    let read = |name| std::fs::read_to_string(folder.path().join(name)).expect("it was written");
    assert!(read("run.svg").starts_with("<svg") && read("graph.mmd").starts_with("flowchart"));
    assert_eq!(read("page").lines().count(), 20_000);
}

#[test]
fn hedged_request_says_who_won() {
    let text = run("12_hedged_request", &["--after-ms", "20", "--slow-ms", "3600000"]).0;
    assert!(text.lines().last().is_some_and(|line| line.contains("2 asked, the second won")), "{text}");
}

#[test]
fn crawler_sees_each_page_once() {
    let text = run("13_crawler", &["--depth", "3"]).0;
    let urls: Vec<_> = text.lines().filter_map(|line| line.split("links  ").nth(1)).collect();
    let mut different = urls.clone();
    different.sort_unstable();
    different.dedup();
    // Two trees of 15 pages.
    assert_eq!((urls.len(), different.len()), (30, 30), "{text}");
    assert!(text.ends_with("30 pages\n"), "{text}");
}
