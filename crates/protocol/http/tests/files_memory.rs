//! Memory stays flat however large the files are, and however slowly they are taken.

mod serving;

use std::fs::File;

use millstream_http::Files;
use millstream_peers::{Folder, RawConn};
use serving::Served;

/// Memory of this process that is in use, in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux says it");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number of KiB")
}

#[test]
fn large_files_take_little_memory() {
    let folder = Folder::new();
    let path = folder.write("big.bin", "");
    // Without blocks on the disk: reading it costs no disk either.
    File::options().write(true).open(path).expect("ours").set_len(1 << 30).expect("ours");
    let server = Served::start(Files::new(folder.path()).expect("it is there"));

    let mut conn = server.connect();
    let before = resident_kib();
    conn.send(serving::get("/big.bin"));
    conn.read_until(b"\r\n\r\n");
    let (mut left, mut most) = (1u64 << 30, 0);
    let mut count = 0u64;
    while left > 0 {
        left -= conn.read_some().len() as u64;
        count += 1;
        if count.is_multiple_of(256) {
            most = most.max(resident_kib());
        }
    }
    assert!(most.saturating_sub(before) < 16 * 1024, "one reader: {before} KiB, then {most} KiB");

    // Sixteen clients that take nothing: each is owed the water mark at most, not the file.
    let before = resident_kib();
    let stuck: Vec<_> = (0..16)
        .map(|_| {
            let mut conn = RawConn::connect_narrow(server.address, 16 * 1024);
            conn.send(serving::get("/big.bin"));
            conn.read_until(b"\r\n\r\n");
            conn
        })
        .collect();
    let after = resident_kib();
    assert!(after.saturating_sub(before) < 24 * 1024, "16 stuck readers: {before} KiB, then {after} KiB");
    drop(stuck);
}
