//! 4 KiB reads at random offsets of one file. `file --path F --way W --seconds S` reads in one way and prints a line of JSON: how many, how long,
//! what CPU. Ways:
//!
//! - `plain`: a loop of `preadv2(RWF_NOWAIT)` on one thread
//! - `spawn-blocking`: 64 tasks of one current-thread tokio runtime, each read by `spawn_blocking`, as `tokio::fs` does it
//! - `ours`: 64 tasks of one worker of Millstream
//! - `ours-direct`: the same past the page cache

use std::cell::Cell;
use std::fs::File;
use std::io::IoSliceMut;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_bench_peers::{Args, Cpu, report};
use millstream_files::{AlignedBuf, Files, OpenOptions};
use millstream_runtime::{Engine, spawn_local};
use rustix::io::{ReadWriteFlags, preadv2};

const BLOCK: usize = 4096;
const IN_FLIGHT: usize = 64;

fn main() {
    let args = Args::from_process();
    let path: String = args.value("path", "/tmp/file".to_owned());
    let way: String = args.value("way", "ours".to_owned());
    let span = Duration::from_secs_f64(args.value("seconds", 1.0));
    let blocks = std::fs::metadata(&path).expect("the file is there").len() / BLOCK as u64;
    match &*way {
        // On a thread of its own, as a server's: with a second thread in the process the kernel counts the users of a file.
        "plain" => std::thread::scope(|scope| {
            scope.spawn(|| plain(&path, blocks, span));
        }),
        "spawn-blocking" => spawn_blocking(&path, blocks, span),
        "ours" => ours(path, OpenOptions::new().read(), || vec![0; BLOCK], blocks, span),
        "ours-direct" => {
            ours(path, OpenOptions::new().read().direct(), || AlignedBuf::zeroed(BLOCK), blocks, span);
        }
        _ => panic!("no way of that name"),
    }
}

/// The next offset: xorshift, as good as any other and the same for all.
fn next(state: &mut u64, blocks: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % blocks * BLOCK as u64
}

fn plain(path: &str, blocks: u64, span: Duration) {
    let file = File::open(path).expect("the file is there");
    // As many buffers as the others have: what lies in the core's cache is a part of the cost.
    let mut bufs = vec![vec![0; BLOCK]; IN_FLIGHT];
    let (mut state, mut count) = (1, 0_u64);
    let (start, end) = (Cpu::now(), Instant::now() + span);
    while Instant::now() < end {
        for buf in &mut bufs {
            let offset = next(&mut state, blocks);
            let read = preadv2(&file, &mut [IoSliceMut::new(buf)], offset, ReadWriteFlags::NOWAIT);
            // A page may have left the memory: rare, or the machine is unfit to measure.
            let read = read.map_err(std::io::Error::from).or_else(|_| file.read_at(buf, offset));
            assert_eq!(read.expect("the file can be read"), BLOCK);
        }
        count += IN_FLIGHT as u64;
    }
    report(count, start);
}

fn spawn_blocking(path: &str, blocks: u64, span: Duration) {
    let file = Arc::new(File::open(path).expect("the file is there"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("tokio starts");
    let tasks = tokio::task::LocalSet::new();
    let count = Rc::new(Cell::new(0_u64));
    let (start, end) = (Cpu::now(), Instant::now() + span);
    for index in 0..IN_FLIGHT as u64 {
        let (file, count) = (file.clone(), count.clone());
        tasks.spawn_local(async move {
            let (mut buf, mut state) = (vec![0; BLOCK], index + 1);
            while Instant::now() < end {
                let (file, offset) = (file.clone(), next(&mut state, blocks));
                let read = tokio::task::spawn_blocking(move || (file.read_at(&mut buf, offset), buf));
                let (read, back) = read.await.expect("it does not panic");
                assert_eq!(read.expect("the file can be read"), BLOCK);
                buf = back;
                count.set(count.get() + 1);
            }
        });
    }
    runtime.block_on(tasks);
    report(count.get(), start);
}

fn ours<B>(path: String, options: OpenOptions, buffer: fn() -> B, blocks: u64, span: Duration)
where
    B: AsMut<[u8]> + Send + 'static,
{
    let engine = Engine::builder().workers(1).build().expect("threads can be started");
    let ran = engine.run(async move |engine| {
        let file = Files::of(&engine).open_with(path, options).await.expect("the file is there");
        let count = Rc::new(Cell::new(0_u64));
        let (start, end) = (Cpu::now(), Instant::now() + span);
        let tasks: Vec<_> = (0..IN_FLIGHT as u64)
            .map(|index| {
                let (file, count) = (file.clone(), count.clone());
                spawn_local(async move {
                    let (mut buf, mut state, mut own) = (buffer(), index + 1, 0_u64);
                    while !own.is_multiple_of(64) || Instant::now() < end {
                        let (read, back) = file.read_at(buf, next(&mut state, blocks)).await;
                        assert_eq!(read.expect("the file can be read"), BLOCK);
                        buf = back;
                        own += 1;
                    }
                    count.set(count.get() + own);
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("it is not cancelled").expect("it does not panic");
        }
        report(count.get(), start);
    });
    ran.expect("the engine runs");
}
