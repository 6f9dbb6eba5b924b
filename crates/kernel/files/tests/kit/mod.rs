//! Each test once with every backend.

#![allow(dead_code, reason = "no test file uses all of it")]

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
use std::task::Poll;

use millstream_base::Result;
use millstream_files::{Backend, Files, Options};
use millstream_peers::{Folder, Gate, Skip};
use millstream_runtime::{Engine, JoinHandle, spawn_local};
use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};

/// All that can be forced, and what is chosen by itself.
pub(crate) const BACKENDS: [Backend; 4] = [Backend::Auto, Backend::Inline, Backend::Ring, Backend::Pool];

/// Runs `test` with each backend, in an engine of two workers and an empty folder of its own.
pub(crate) fn each<F>(test: F)
where
    F: AsyncFn(Files, &Folder) -> Result<()> + Clone + Send + 'static,
{
    each_with(&Options::default(), test);
}

/// The same with other limits.
pub(crate) fn each_with<F>(options: &Options, test: F)
where
    F: AsyncFn(Files, &Folder) -> Result<()> + Clone + Send + 'static,
{
    for backend in BACKENDS {
        let engine = Engine::builder().workers(2).build().expect("threads can be started");
        let (options, test) = (options.clone().backend(backend), test.clone());
        let Some(files) = files(&engine, &options) else { continue };
        let folder = Folder::new();
        let ran = engine.run(async move |_| test(files, &folder).await);
        if let Err(error) = ran.and_then(|ended| ended) {
            panic!("{backend:?}: {error}");
        }
    }
}

/// `None`, and a word of it, where the kernel has no ring.
pub(crate) fn files(engine: &Engine, options: &Options) -> Option<Files> {
    match Files::with(engine, options) {
        Ok(files) => Some(files),
        Err(error) if error.target() == Some("io_uring") => {
            let test = std::thread::current().name().unwrap_or("files").to_owned();
            Skip::because(format!("no ring: {error}")).announce(&test);
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Bytes that tell where they are from: the low byte of a mix of offset and seed.
pub(crate) fn pattern(seed: u64, offset: u64, size: usize) -> Vec<u8> {
    (offset..).take(size).map(|at| byte(seed, at)).collect()
}

/// The byte at this offset.
pub(crate) fn byte(seed: u64, at: u64) -> u8 {
    let mixed = (at ^ seed.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8
}

/// So many polls that the future comes to its end.
pub(crate) const WHOLE: usize = usize::MAX;

/// Polls a future so many times, others between, then drops it; [`WHOLE`] waits for its end. Its output, if there was one.
pub(crate) async fn polled<T>(future: impl Future<Output = T>, times: usize) -> Option<T> {
    if times == WHOLE {
        return Some(future.await);
    }
    let mut future = pin!(future);
    for _ in 0..times {
        if let Poll::Ready(output) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// Waits on a worker, which goes on with its work meanwhile.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < millstream_peers::PATIENCE, "waited in vain: {what}");
        tokio::task::yield_now().await;
    }
}

/// What is in a folder.
pub(crate) fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).expect("it is there").flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Runs `test` with a file system of 1 MiB at the folder, in a mount namespace that ends with it.
pub(crate) fn with_small_disk(test: impl FnOnce(&Folder) + Send + 'static) -> std::result::Result<(), Skip> {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let inside = move || {
        unshare(CloneFlags::CLONE_NEWNS)
            .map_err(|errno| Skip::because(format!("no mount namespace may be made: {errno}")))?;
        let none = None::<&str>;
        let failed = |errno| Skip::because(format!("nothing may be mounted: {errno}"));
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(failed)?;
        let folder = Folder::new();
        mount(Some("tmpfs"), folder.path(), Some("tmpfs"), MsFlags::empty(), Some("size=1m"))
            .map_err(failed)?;
        test(&folder);
        umount(folder.path()).expect("nobody uses it");
        Ok(())
    };
    let thread = std::thread::Builder::new().name(name).spawn(inside).expect("a thread can be started");
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A place on threads that nobody else has.
pub(crate) struct TakenThread {
    given: Gate,
    replacing: JoinHandle<Result<Result<()>>>,
}

impl TakenThread {
    pub(crate) async fn of(files: &Files) -> Self {
        let (files, asked, given) = (files.clone(), Gate::new(), Gate::new());
        let gated = Gated { asked: asked.clone(), given: given.clone() };
        let replacing = spawn_local(async move {
            let folder = Folder::new();
            files.replace(folder.path().join("any"), gated).await
        });
        asked.passed().await;
        Self { given, replacing }
    }

    pub(crate) async fn give_back(self) -> Result<()> {
        self.given.open();
        self.replacing.await.expect("it is not cancelled")?
    }
}

/// Bytes that keep the thread which asks for them, until a gate opens.
struct Gated {
    asked: Gate,
    given: Gate,
}

impl AsRef<[u8]> for Gated {
    fn as_ref(&self) -> &[u8] {
        self.asked.open();
        self.given.wait();
        b"any"
    }
}
