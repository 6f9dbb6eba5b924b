//! Each test once with every backend.

#![allow(dead_code, reason = "no test file uses all of it")]

use millstream_base::Result;
use millstream_files::{Backend, Files, Options};
use millstream_peers::{Folder, Skip};
use millstream_runtime::Engine;

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
