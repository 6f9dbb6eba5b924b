//! Futures that are dropped, engines that stop, places that are waited for.

mod kit;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use kit::{BACKENDS, TakenThread, WHOLE, each, each_with, files, pattern, polled, until};
use millstream_base::registry::Value;
use millstream_base::{Kind, Result};
use millstream_files::{AlignedBuf, Backend, File, Files, OpenOptions, Options};
use millstream_peers::{Count, Folder};
use millstream_runtime::{Engine, spawn_local};

const BLOCK: usize = 4096;

/// A file past the page cache where there is such a thing, so that reads wait for the disk.
async fn slow_file(files: &Files, folder: &Folder) -> Result<File> {
    let path = folder.write("a", pattern(1, 0, 256 * BLOCK));
    std::fs::File::open(&path).and_then(|file| file.sync_all()).expect("it can be synced");
    match files.open_with(&path, OpenOptions::new().read().direct()).await {
        Ok(file) => Ok(file),
        Err(_) => files.open(&path).await,
    }
}

fn gauge(engine: &Engine, name: &str) -> f64 {
    let samples = engine.registry().collect();
    let gauge = samples.iter().find_map(|sample| match sample.value {
        Value::Gauge(value) if sample.name == name => Some(value),
        _ => None,
    });
    gauge.expect("it is counted")
}

async fn quiet(files: &Files) {
    let engine = Engine::current().expect("this is a worker");
    until("nothing is in flight", || gauge(&engine, "millstream_file_in_flight") == 0.0).await;
    // Whatever was dropped has given its place back.
    assert_eq!(gauge(&engine, "millstream_file_waiting"), 0.0, "{files:?}");
}

#[test]
fn futures_dropped_in_every_phase_harm_nobody() {
    // Few places: some are dropped while they wait in line, some in flight, some before they begin.
    each_with(&Options::default().in_flight(32).threads(8), async |files, folder| {
        let file = slow_file(&files, folder).await?;
        let kept = Rc::new(Cell::new(0));
        let canaries = Rc::new(RefCell::new(Vec::new()));
        let tasks = (0..1000).map(|index: u64| {
            let (file, kept, canaries) = (file.clone(), kept.clone(), canaries.clone());
            spawn_local(async move {
                let offset = index % 256 * BLOCK as u64;
                let read = file.read_exact_at(AlignedBuf::zeroed(BLOCK), offset);
                let times = if index.is_multiple_of(3) { WHOLE } else { index as usize % 40 };
                if let Some((result, back)) = polled(read, times).await {
                    result.expect("it can be read");
                    assert!(back.as_ref() == pattern(1, offset, BLOCK), "its own bytes, and all of them");
                    kept.set(kept.get() + 1);
                } else {
                    // Takes the memory of dropped buffers, if that is free too early.
                    canaries.borrow_mut().push(vec![0xa5_u8; 2 * BLOCK]);
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.expect("it is not cancelled")?;
        }
        quiet(&files).await;
        assert!(kept.get() >= 334, "{} were read", kept.get());
        assert!(canaries.borrow().iter().flatten().all(|&byte| byte == 0xa5), "foreign memory was written");
        let (read, _) = file.read_exact_at(AlignedBuf::zeroed(BLOCK), 0).await;
        read
    });
}

#[test]
fn dropped_writes_write_what_they_were_given_or_nothing() {
    each_with(&Options::default().in_flight(32).threads(8), async |files, folder| {
        let file = files.create(folder.path().join("a")).await?;
        let tasks = (0..1000).map(|index: u64| {
            let file = file.clone();
            spawn_local(async move {
                let offset = index * BLOCK as u64;
                let write = file.write_all_at(pattern(1, offset, BLOCK), offset);
                let written =
                    polled(write, if index.is_multiple_of(2) { WHOLE } else { index as usize % 20 }).await;
                // Takes the memory of dropped buffers, if that is free too early.
                drop(vec![0xa5_u8; BLOCK]);
                written.map(|(written, _)| written.expect("there is room"))
            })
        });
        let mut whole = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            whole.push(task.await.expect("it is not cancelled")?.is_some());
        }
        quiet(&files).await;
        file.set_len(1000 * BLOCK as u64).await?;
        for (index, is_whole) in whole.into_iter().enumerate() {
            let offset = (index * BLOCK) as u64;
            let (read, back) = file.read_exact_at(vec![1; BLOCK], offset).await;
            read?;
            let is_zero = back.iter().all(|&byte| byte == 0);
            assert!(back == pattern(1, offset, BLOCK) || (!is_whole && is_zero), "block {index}");
        }
        Ok(())
    });
}

#[test]
fn ten_thousand_are_under_way_at_once() {
    each(async |files, folder| {
        let file = slow_file(&files, folder).await?;
        let reads = (0..10_000).map(|index: u64| {
            let file = file.clone();
            spawn_local(async move {
                let offset = index % 256 * BLOCK as u64;
                let (read, back) = file.read_exact_at(AlignedBuf::zeroed(BLOCK), offset).await;
                assert!(back.as_ref() == pattern(1, offset, BLOCK));
                read
            })
        });
        for read in reads.collect::<Vec<_>>() {
            read.await.expect("it is not cancelled")??;
        }
        quiet(&files).await;
        Ok(())
    });
}

#[test]
fn places_are_given_in_order_and_none_is_lost() {
    each_with(&Options::default().in_flight(1).threads(1), async |files, folder| {
        let file = slow_file(&files, folder).await?;
        // All are in line before a thread is done with the first, faster than that is told.
        let taken = TakenThread::of(&files).await;
        let (begun, ended) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(Vec::new())));
        let mut tasks = Vec::new();
        for index in 0..50 {
            let (file, begun, ended) = (file.clone(), begun.clone(), ended.clone());
            tasks.push(spawn_local(async move {
                begun.set(begun.get() + 1);
                let read = file.read_exact_at(AlignedBuf::zeroed(BLOCK), 0);
                // Some leave the line early.
                if polled(read, if index % 5 == 1 { 1 } else { WHOLE }).await.is_some() {
                    ended.borrow_mut().push(index);
                }
            }));
        }
        until("all have begun", || begun.get() == 50).await;
        taken.give_back().await?;
        for task in tasks {
            task.await.expect("it is not cancelled")?;
        }
        quiet(&files).await;
        assert!(ended.borrow().is_sorted(), "{:?}", ended.borrow());
        assert!(ended.borrow().len() >= 40);
        Ok(())
    });
}

#[test]
fn operations_of_foreign_threads_are_carried_out() {
    each(async |files, folder| {
        let file = slow_file(&files, folder).await?;
        let done = Count::new();
        for seed in 0..4_u64 {
            let (file, done) = (file.clone(), done.clone());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().expect("tokio starts");
                runtime.block_on(async move {
                    for index in 0..64 {
                        let offset = (seed * 64 + index) % 256 * BLOCK as u64;
                        let (read, back) = file.read_exact_at(AlignedBuf::zeroed(BLOCK), offset).await;
                        read.expect("it can be read");
                        assert!(back.as_ref() == pattern(1, offset, BLOCK));
                    }
                    done.rise();
                });
            });
        }
        done.reached(4).await;
        Ok(())
    });
}

#[test]
fn engine_that_stops_gives_every_buffer_back() {
    for backend in BACKENDS {
        let engine = Engine::builder().workers(2).build().expect("threads can be started");
        let Some(files) = files(&engine, &Options::default().backend(backend).in_flight(64)) else {
            continue;
        };
        let folder = Folder::new();
        let file = {
            let files = files.clone();
            let folder = Arc::new(Folder::new());
            let kept = folder.clone();
            let opened = engine.run(async move |_| slow_file(&files, &folder).await);
            (opened.and_then(|opened| opened).expect("it can be opened"), kept)
        };
        let (count, ended) = (Count::new(), Count::new());
        let reader = {
            let (file, count, ended) = (file.0.clone(), count.clone(), ended.clone());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().expect("tokio starts");
                let tasks = tokio::task::LocalSet::new();
                for index in 0..500_u64 {
                    let (file, count, ended) = (file.clone(), count.clone(), ended.clone());
                    tasks.spawn_local(async move {
                        let offset = index % 256 * BLOCK as u64;
                        loop {
                            let (read, back) = file.read_exact_at(AlignedBuf::zeroed(BLOCK), offset).await;
                            assert_eq!(back.as_ref().len(), BLOCK);
                            match read {
                                Ok(()) => assert!(back.as_ref() == pattern(1, offset, BLOCK)),
                                Err(error) => {
                                    assert_eq!(error.kind(), Kind::Cancelled, "{error}");
                                    break;
                                }
                            }
                            if count.rise() > 100_000 {
                                // All from memory: that needs no engine.
                                break;
                            }
                        }
                        ended.rise();
                    });
                }
                runtime.block_on(tasks);
            })
        };
        count.wait_for(600);
        drop(engine);
        ended.wait_for(500);
        reader.join().expect("no assertion failed");
        drop(folder);
    }
}

#[test]
fn engine_that_stops_cancels_what_would_never_end() {
    use rustix::event::{EventfdFlags, eventfd};
    let engine = Engine::builder().workers(1).build().expect("threads can be started");
    let Some(files) = files(&engine, &Options::default().backend(Backend::Ring)) else { return };
    // No file, but what a ring waits for until somebody writes to it.
    let event = eventfd(0, EventfdFlags::CLOEXEC).expect("Linux has it");
    let file = files.adopt(event.into(), "an eventfd");
    let reader = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("tokio starts");
        runtime.block_on(file.read_at(vec![7; 8], 0))
    });
    millstream_peers::eventually("it is in flight", || gauge(&engine, "millstream_file_in_flight") == 1.0);
    drop(engine);
    let (read, back) = reader.join().expect("it does not panic");
    assert_eq!(read.map_err(|error| error.kind()), Err(Kind::Cancelled));
    assert_eq!(back, [7; 8]);
}

#[test]
fn own_files_of_an_engine_go_while_it_runs() {
    each(async |files, folder| {
        let file = slow_file(&files, folder).await?;
        drop(files);
        for _ in 0..100 {
            drop(polled(file.read_at(AlignedBuf::zeroed(BLOCK), 0), 1).await);
        }
        drop(file);
        let engine = Engine::current().expect("this is a worker");
        until("nothing is in flight", || gauge(&engine, "millstream_file_in_flight") == 0.0).await;
        // Its own are there still.
        let (read, _) =
            slow_file(&Files::of(&engine), folder).await?.read_at(AlignedBuf::zeroed(BLOCK), 0).await;
        assert_eq!(read?, BLOCK);
        Ok(())
    });
}
