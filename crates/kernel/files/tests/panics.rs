//! Buffers whose code panics, or gives other memory at each call.

mod kit;

use std::cell::Cell;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};

use kit::{BACKENDS, each, files};
use millstream_base::{Kind, Result};
use millstream_files::{File, Files, OpenOptions, Options};
use millstream_peers::{Count, Folder};
use millstream_runtime::Engine;

/// Longer than two steps of a ring.
const SIZE: usize = 3 << 20;

/// Panics when it is asked for its memory for the `fatal`th time, and maybe when it is dropped.
struct Bomb {
    bytes: Vec<u8>,
    asked: Cell<usize>,
    fatal: usize,
    drops: Option<Count>,
}

impl Bomb {
    fn new(bytes: Vec<u8>, fatal: usize) -> Self {
        Self { bytes, asked: Cell::new(0), fatal, drops: None }
    }

    fn count(&self) {
        self.asked.set(self.asked.get() + 1);
        assert!(self.asked.get() != self.fatal, "on purpose");
    }
}

impl AsRef<[u8]> for Bomb {
    fn as_ref(&self) -> &[u8] {
        self.count();
        &self.bytes
    }
}

impl AsMut<[u8]> for Bomb {
    fn as_mut(&mut self) -> &mut [u8] {
        self.count();
        &mut self.bytes
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if let Some(drops) = self.drops.take() {
            drops.rise();
            panic!("on purpose");
        }
    }
}

/// Did it panic, where it was to?
fn check<T>(result: Result<T>, bomb: &Bomb, what: &str) -> bool {
    let is_panic = result.as_ref().is_err_and(|error| error.kind() == Kind::Panic);
    if let Err(error) = &result {
        assert!(is_panic && error.to_string().contains("on purpose"), "{what}: {error}");
        assert_eq!(error.io_kind(), None, "{what}");
    }
    assert_eq!(bomb.bytes.len(), SIZE, "{what}: its memory came back");
    assert_eq!(is_panic, bomb.asked.get() >= bomb.fatal, "{what}: asked {} times", bomb.asked.get());
    is_panic
}

/// Every operation, with a panic at each call there is.
async fn blow_up(files: &Files, folder: &Folder) -> Result<()> {
    let path = folder.write("a", vec![5; SIZE]);
    let file = files.open_with(&path, OpenOptions::new().read().write()).await?;
    let data = || vec![5; SIZE];
    for fatal in 1.. {
        let what = format!("the call {fatal} panics");
        let mut panics = 0;
        let (read, bomb) = file.read_at(Bomb::new(vec![0; SIZE], fatal), 0).await;
        panics += usize::from(check(read, &bomb, &what));
        let (read, bomb) = file.read_exact_at(Bomb::new(vec![0; SIZE], fatal), 0).await;
        panics += usize::from(check(read, &bomb, &what));
        let (written, bomb) = file.write_at(Bomb::new(data(), fatal), 0).await;
        panics += usize::from(check(written, &bomb, &what));
        let (written, bomb) = file.write_all_at(Bomb::new(data(), fatal), 0).await;
        panics += usize::from(check(written, &bomb, &what));
        let others = |fatal| vec![Bomb::new(data(), 0), Bomb::new(data(), fatal), Bomb::new(data(), 0)];
        let (read, bombs) = file.read_vectored_at(others(fatal), 0).await;
        panics += usize::from(check(read, &bombs[1], &what));
        let (written, bombs) = file.write_vectored_at(others(fatal), 0).await;
        panics += usize::from(check(written, &bombs[1], &what));
        // Small ones, which may be done at once.
        let (read, bomb) = file.read_at(Bomb::new(vec![0; 100], fatal), 0).await;
        assert_eq!(read.is_err(), bomb.asked.get() >= bomb.fatal, "{what}");
        // Nothing else is harmed.
        let (read, back) = file.read_at(vec![0; SIZE], 0).await;
        assert_eq!(read.expect("it can be read"), SIZE);
        assert!(back == data(), "{what}");
        if panics == 0 {
            assert!(fatal > 2, "each is asked for its size and for its memory");
            break;
        }
    }
    let other = folder.path().join("b");
    let result = files.replace(&other, Bomb::new(data(), 1)).await;
    assert_eq!(result.map_err(|error| error.kind()), Err(Kind::Panic));
    assert!(!other.exists());
    Ok(())
}

#[test]
fn panic_of_a_buffer_is_the_answer_of_its_operation_alone() {
    each(async |files, folder| blow_up(&files, folder).await);
}

/// Runs `test` with each backend, in tokio's runtime, beside an engine of one worker, which ends after it.
fn each_beside(test: impl AsyncFn(Files, &Folder) -> Result<()>) {
    for backend in BACKENDS {
        let engine = Engine::builder().workers(1).build().expect("threads can be started");
        let Some(files) = files(&engine, &Options::default().backend(backend)) else { continue };
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("tokio starts");
        let folder = Folder::new();
        if let Err(error) = runtime.block_on(test(files, &folder)) {
            panic!("{backend:?}: {error}");
        }
        // The worker goes on, and the engine's end waits for nothing.
        assert_eq!(engine.run(async |_| 1).ok(), Some(1), "{backend:?}");
        drop(engine);
    }
}

#[test]
fn panic_of_a_buffer_harms_no_engine_that_is_asked_from_outside() {
    each_beside(async |files, folder| blow_up(&files, folder).await);
}

/// Drops operations that are under way.
async fn drop_bombs(files: Files, folder: &Folder) -> Result<()> {
    let file = files.open(folder.write("a", vec![5; SIZE])).await?;
    let dropped = Count::new();
    for index in 0..4 {
        let mut bomb = Bomb::new(vec![0; SIZE], if index % 2 == 0 { 0 } else { 4 });
        bomb.drops = Some(dropped.clone());
        let mut reading = Box::pin(file.read_at(bomb, 0));
        if let Poll::Ready((_, mut bomb)) = poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await {
            // A thread was that fast.
            bomb.drops = None;
            dropped.rise();
        }
        // Where it has its answer by now, the panic is ours.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(reading)));
    }
    dropped.reached(4).await;
    let (read, _) = file.read_at(vec![0; SIZE], 0).await;
    assert_eq!(read?, SIZE);
    Ok(())
}

#[test]
fn panic_in_the_drop_of_a_buffer_that_nobody_waits_for_harms_nobody() {
    each(drop_bombs);
    each_beside(drop_bombs);
}

/// New memory, and as much as comes next in the list, whenever it is asked for it.
struct Restless(Vec<u8>, Vec<usize>);

impl AsMut<[u8]> for Restless {
    fn as_mut(&mut self) -> &mut [u8] {
        let size = self.1.pop().unwrap_or(self.0.len());
        self.0 = vec![7; size];
        &mut self.0
    }
}

#[test]
fn buffer_that_gives_other_memory_each_time_gets_what_fits_in_it() {
    each(async |files, folder| {
        let file = files.open(folder.write("a", vec![5; SIZE])).await?;
        for sizes in [
            vec![SIZE],
            vec![0, SIZE],
            vec![SIZE, 0, SIZE],
            vec![1, 1, SIZE, SIZE],
            vec![2 * SIZE, SIZE, 1 << 19, SIZE],
            vec![10, 100],
            vec![100, 10],
            vec![0, 100],
        ] {
            let most = sizes.iter().copied().max().unwrap_or_default();
            let sizes: Vec<usize> = sizes.into_iter().rev().collect();
            let (read, back) = file.read_at(Restless(Vec::new(), sizes.clone()), 0).await;
            assert!(read? <= most && back.0.len() <= most, "{sizes:?}");
            let buf = || Restless(Vec::new(), sizes.clone());
            let (read, back) = file.read_vectored_at(vec![buf(), buf()], 0).await;
            assert!(read? <= 2 * most && back.len() == 2, "{sizes:?}");
        }
        Ok(())
    });
}

/// Thrown by a buffer; throws itself when it is dropped.
struct Grudge;

impl Drop for Grudge {
    fn drop(&mut self) {
        // It is leaked: this takes no memory.
        std::panic::panic_any(());
    }
}

/// Begins another operation within its own, then throws.
struct Nested(Vec<u8>, usize, Option<File>);

impl AsMut<[u8]> for Nested {
    fn as_mut(&mut self) -> &mut [u8] {
        self.1 += 1;
        if self.1 < 3 {
            return &mut self.0;
        }
        if let Some(file) = self.2.take() {
            let mut inner = Box::pin(file.read_at(vec![0; SIZE], 0));
            let _ = inner.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        std::panic::panic_any(Grudge);
    }
}

#[test]
fn whatever_a_buffer_does_and_throws_is_contained() {
    let test = async |files: Files, folder: &Folder| {
        let file = files.open(folder.write("a", vec![5; SIZE])).await?;
        for other in [None, Some(file.clone())] {
            let (read, _) = file.read_at(Nested(vec![0; SIZE], 0, other), 0).await;
            assert_eq!(read.map_err(|error| error.kind()), Err(Kind::Panic));
            let (read, back) = file.read_at(vec![0; SIZE], 0).await;
            assert!(read? == SIZE && back == vec![5; SIZE]);
        }
        Ok(())
    };
    each(test);
    each_beside(test);
}
