//! A download larger than any buffer leaves memory flat. Alone in its program: the process's memory is what is measured.

mod client_world;

use client_world::{World, block_on, url};
use millstream_peers::Folder;
use millstream_peers::nginx::NginxConfig;

const GIB: u64 = 1024 * 1024 * 1024;

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a process has memory");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
}

#[test]
fn download_of_a_gibibyte_leaves_memory_flat() {
    let folder = Folder::new();
    let file = std::fs::File::create(folder.path().join("large")).expect("the folder is ours");
    file.set_len(GIB).expect("a sparse file");
    let nginx = millstream_peers::or_skip!(
        NginxConfig::new()
            .root(folder.path())
            .directive("sendfile on")
            .directive("sendfile_max_chunk 4m")
            .start()
    );
    let world = World::new();
    let (received, most) = block_on(async {
        let mut reply = world.client.get(url(nginx.address(), "/large")).send().await.expect("a reply");
        assert_eq!(reply.content_length(), Some(GIB));
        let (mut received, mut pieces, mut most) = (0, 0_u64, 0);
        let before = resident();
        while let Some(piece) = reply.chunk().await.expect("whole") {
            received += piece.len() as u64;
            pieces += 1;
            if pieces.is_multiple_of(64) {
                most = resident().saturating_sub(before).max(most);
            }
        }
        (received, most)
    });
    assert_eq!(received, GIB);
    assert!(most < 32 * 1024 * 1024, "{most} bytes more");
    assert_eq!(world.client.pool_stats().idle, 1);
}
