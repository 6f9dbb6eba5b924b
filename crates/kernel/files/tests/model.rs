//! Any sequence of operations has the same results as on the standard library's file.

mod kit;

use std::os::unix::fs::FileExt;

use kit::{BACKENDS, files, pattern};
use millstream_base::Result;
use millstream_files::{File, Options};
use millstream_peers::Folder;
use millstream_runtime::Engine;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Action {
    Read { offset: u64, size: usize },
    ReadMany { offset: u64, sizes: Vec<usize> },
    Write { offset: u64, size: usize, seed: u64 },
    WriteMany { offset: u64, sizes: Vec<usize>, seed: u64 },
    SetLen(u64),
    Sync,
}

fn action() -> impl Strategy<Value = Action> {
    let offset = || prop_oneof![0..20_000_u64, 0..400_000_u64, Just(4096), Just(8191)];
    let size = || prop_oneof![0..100_usize, 0..20_000_usize, Just(4096), Just(300_000)];
    let sizes = || prop::collection::vec(0..5000_usize, 0..6);
    prop_oneof![
        3 => (offset(), size()).prop_map(|(offset, size)| Action::Read { offset, size }),
        1 => (offset(), sizes()).prop_map(|(offset, sizes)| Action::ReadMany { offset, sizes }),
        3 => (offset(), size(), any::<u64>()).prop_map(|(offset, size, seed)| Action::Write { offset, size, seed }),
        1 => (offset(), sizes(), any::<u64>()).prop_map(|(offset, sizes, seed)| Action::WriteMany { offset, sizes, seed }),
        1 => offset().prop_map(Action::SetLen),
        1 => Just(Action::Sync),
    ]
}

/// What the standard library gives: all there is, up to the size.
fn read_model(model: &std::fs::File, offset: u64, size: usize) -> (usize, Vec<u8>) {
    let (mut buf, mut done) = (vec![0xee; size], 0);
    while done < size {
        match model.read_at(&mut buf[done..], offset + done as u64).expect("it can be read") {
            0 => break,
            count => done += count,
        }
    }
    (done, buf)
}

async fn apply(file: &File, model: &std::fs::File, action: Action) -> Result<()> {
    match action {
        Action::Read { offset, size } => {
            let (count, buf) = file.read_at(vec![0xee; size], offset).await;
            let expected = read_model(model, offset, size);
            assert!((count?, buf) == expected, "{size} at {offset}");
        }
        Action::ReadMany { offset, sizes } => {
            let spaces = sizes.iter().map(|&size| vec![0xee; size]).collect();
            let (count, bufs) = file.read_vectored_at(spaces, offset).await;
            let expected = read_model(model, offset, sizes.iter().sum());
            assert!((count?, bufs.concat()) == expected, "{sizes:?} at {offset}");
        }
        Action::Write { offset, size, seed } => {
            let (count, buf) = file.write_at(pattern(seed, 0, size), offset).await;
            assert_eq!(count?, size);
            model.write_all_at(&buf, offset).expect("there is room");
        }
        Action::WriteMany { offset, sizes, seed } => {
            let pieces = sizes.iter().map(|&size| pattern(seed, size as u64, size)).collect();
            let (count, pieces) = file.write_vectored_at(pieces, offset).await;
            let all = pieces.concat();
            assert_eq!(count?, all.len());
            model.write_all_at(&all, offset).expect("there is room");
        }
        Action::SetLen(size) => {
            file.set_len(size).await?;
            model.set_len(size).expect("it is ours");
        }
        Action::Sync => file.sync_data().await?,
    }
    assert_eq!(file.len().await?, model.metadata().expect("it is ours").len());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn file_is_what_the_standard_library_s_is(actions in prop::collection::vec(action(), 1..30)) {
        let engine = Engine::builder().workers(1).build().expect("threads can be started");
        for backend in BACKENDS {
            let Some(files) = files(&engine, &Options::default().backend(backend)) else { continue };
            let (folder, actions) = (Folder::new(), actions.clone());
            let ran = engine.run(async move |_| {
                let file = files.create(folder.path().join("ours")).await?;
                let mut options = std::fs::File::options();
                options.read(true).write(true).create_new(true);
                let model = options.open(folder.path().join("model")).expect("the folder is ours");
                for action in actions {
                    apply(&file, &model, action).await?;
                }
                Ok::<_, millstream_base::Error>(())
            });
            ran.and_then(|ended| ended).expect("nothing fails");
        }
    }
}
