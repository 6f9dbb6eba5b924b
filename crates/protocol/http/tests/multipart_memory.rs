//! An upload larger than any buffer leaves memory flat. Alone in its program: the process's memory is what is measured.

mod serving;

use millstream_http::Request;
use millstream_http::extract::Rejection;
use millstream_http::router::streamed;
use millstream_peers::curl::curl;
use millstream_peers::{Folder, or_skip};
use serving::Served;

async fn size(mut request: Request) -> Result<String, Rejection> {
    let mut size = 0;
    let mut form = request.multipart()?;
    while let Some(mut field) = form.next_field().await? {
        while let Some(piece) = field.chunk().await? {
            size += piece.len();
        }
    }
    Ok(size.to_string())
}

/// What the kernel says of this process's memory, in KiB.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a process has memory");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

#[test]
fn upload_of_a_quarter_of_a_gibibyte_leaves_memory_flat() {
    let (server, folder) = (Served::start(streamed(size)), Folder::new());
    let path = folder.path().join("large");
    std::fs::File::create(&path).and_then(|file| file.set_len(256 << 20)).expect("a sparse file");
    let before = memory("VmRSS:");
    let form = format!("f=@{}", path.display());
    let output = or_skip!(curl(&["-F", &form, &server.url("/")])).succeeded();
    assert_eq!(output.stdout, (256 << 20).to_string());
    let most = memory("VmHWM:");
    assert!(most < before + 8 * 1024, "{before} KiB, then up to {most} KiB");
}
