//! Operations are counted by who carried them out and by how they ended.

mod kit;

use kit::files;
use millstream_base::registry::Value;
use millstream_files::{Backend, OpenOptions, Options};
use millstream_peers::Folder;
use millstream_runtime::Engine;

fn counted(engine: &Engine, backend: &str, outcome: &str) -> u64 {
    let is_it = |labels: &[(&str, String)]| {
        labels.contains(&("backend", backend.to_owned())) && labels.contains(&("outcome", outcome.to_owned()))
    };
    let samples = engine.registry().collect();
    let counters = samples.iter().filter_map(|sample| match sample.value {
        Value::Counter(count) if sample.name == "millstream_file_operations" && is_it(&sample.labels) => {
            Some(count)
        }
        _ => None,
    });
    counters.sum()
}

#[test]
fn operations_are_counted_where_they_were_done() {
    for (backend, name) in [
        (Backend::Auto, "inline"),
        (Backend::Inline, "inline"),
        (Backend::Ring, "ring"),
        (Backend::Pool, "pool"),
    ] {
        let engine = Engine::builder().workers(1).build().expect("threads can be started");
        let Some(files) = files(&engine, &Options::default().backend(backend)) else { continue };
        let folder = Folder::new();
        let path = folder.write("a", "abc");
        let ran = engine.run(async move |engine| {
            let file = files.open(&path).await?;
            // Opening is for a thread, always.
            let before = (counted(&engine, name, "done"), counted(&engine, "pool", "done"));
            assert_eq!(before, if name == "pool" { (1, 1) } else { (0, 1) });
            for _ in 0..10 {
                file.read_at(vec![0; 10], 0).await.0?;
            }
            assert_eq!(counted(&engine, name, "done"), before.0 + 10, "{backend:?}");
            let write_only = files.open_with(&path, OpenOptions::new().write()).await?;
            write_only.read_at(vec![0; 10], 0).await.0.expect_err("it is open for writing");
            let failed: u64 =
                ["inline", "ring", "pool"].map(|by| counted(&engine, by, "failed")).iter().sum();
            assert_eq!(failed, 1);
            Ok::<_, millstream_base::Error>(())
        });
        ran.and_then(|ended| ended).expect("nothing fails");
    }
}
