//! Out of descriptors. Alone in its program: it lowers the limit of the whole process.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs::File;

use millstream_base::{Kind, Origin};
use millstream_runtime::Engine;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn engine_without_descriptors_is_an_error_and_is_built_when_there_are_some() {
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: before.maximum }).unwrap();
    let mut fill = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        fill.push(file);
    }
    // From none to just too few: whichever descriptor of a worker is missing, `build` says so.
    let mut failed = 0;
    let engine = loop {
        match Engine::builder().workers(2).build() {
            Ok(engine) => break engine,
            Err(error) => {
                assert_eq!((error.kind(), error.origin()), (Kind::Io, Origin::Local), "{error}");
                assert!(error.to_string().contains("can't start worker"), "{error}");
                failed += 1;
            }
        }
        drop(fill.pop().expect("an engine needs fewer than 50 descriptors"));
    };
    assert!(failed > 5, "{failed}");
    setrlimit(Resource::Nofile, before).unwrap();
    assert_eq!(engine.run(async |_| 7).unwrap(), 7);
}
