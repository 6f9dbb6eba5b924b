//! The way over the blocking pool gives what the way through memory gives.

use std::fs::File;
use std::sync::Arc;

use millstream_peers::Folder;
use millstream_server::Engine;
use rustix::fs::{Advice, fadvise};

use super::Files;
use super::root::{Root, Way};
use crate::{Handler, Request};

/// Status and body of the answer, made on a worker.
fn ask(files: &Files, head: &'static str) -> (u16, Vec<u8>) {
    let engine = Engine::builder().workers(1).build().expect("threads can be started");
    let files = files.clone();
    let answer = engine.run(async move |_| {
        let mut response = files.call(Request::sample(head)).await;
        let body = std::mem::take(response.body_mut()).collect(usize::MAX).await.expect("whole");
        (response.status().as_u16(), body.to_vec())
    });
    answer.expect("the engine runs")
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 251 + at % 251) as u8).collect()
}

#[test]
fn walk_over_the_blocking_pool_serves_the_same() {
    let folder = Folder::new();
    folder.write("index.html", "home");
    folder.write("sub/big.bin", pattern(1_000_000));
    let root = Root::open(folder.path().to_owned()).expect("it is there").with_way(Way::Walk);
    let files = Files { root: Arc::new(root), options: Arc::default() };
    assert_eq!(ask(&files, "GET /"), (200, b"home".to_vec()));
    assert!(ask(&files, "GET /sub/big.bin") == (200, pattern(1_000_000)));
    assert!(
        ask(&files, "GET /sub/big.bin HTTP/1.1\r\nRange: bytes=5-300000")
            == (206, pattern(300_001)[5..].to_vec())
    );
    assert_eq!(ask(&files, "GET /sub").0, 301);
    assert_eq!(ask(&files, "GET /none").0, 404);
}

#[test]
fn file_that_is_not_in_memory_is_read_from_disk() {
    let folder = Folder::new();
    for (name, size) in [("small.bin", 60_000), ("big.bin", 3_000_000)] {
        let path = folder.write(name, pattern(size));
        let file = File::open(path).expect("ours");
        // Dirty pages stay whatever the advice.
        file.sync_all().expect("ours");
        // On a file system in memory this does nothing, and the test is weaker.
        fadvise(&file, 0, None, Advice::DontNeed).expect("advice is free");
    }
    let files = Files::new(folder.path()).expect("it is there");
    assert!(ask(&files, "GET /small.bin") == (200, pattern(60_000)));
    assert!(ask(&files, "GET /big.bin") == (200, pattern(3_000_000)));
}
