//! A file that is written in chunks and takes the place of another at its end, or leaves no trace.

mod kit;

use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use bytes::Bytes;
use kit::{BACKENDS, TakenThread, each, each_with, files, names, pattern, polled, until, with_small_disk};
use millstream_base::{Kind, Result};
use millstream_files::{Files, Options, Replacement};
use millstream_peers::{Folder, or_skip};
use millstream_runtime::{Engine, spawn_local};

/// Longer than what is done at once, so that it leaves the caller's thread.
const LONG: usize = 2 << 20;

fn content(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("it is there")
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

/// Waits until nothing is left beside the only file, which is the old one then.
async fn left_alone(path: &Path) {
    let folder = path.parent().expect("it is in a folder");
    until("no temporary is left", || names(folder).len() == 1).await;
    assert_eq!(content(path), b"old");
}

async fn began(files: &Files, path: &Path, writes: usize) -> Result<Replacement> {
    let mut replacement = files.replacement(path).await?;
    for index in 0..writes {
        replacement.write(Bytes::from(pattern(2, index as u64, 50_000))).await?;
    }
    Ok(replacement)
}

#[test]
fn readers_see_the_old_file_until_the_new_one_is_whole() {
    each(async |files, folder| {
        let path = folder.write("a", "old");
        let whole = Bytes::from(pattern(1, 0, 3 * LONG));
        let mut replacement = files.replacement(&path).await?;
        let mut end = 0;
        for size in [0, 1, 1000, 65_535, 65_536, 65_537, 10, LONG, 7, 300_000, 65_536, LONG, 9] {
            replacement.write(whole.slice(end..end + size)).await?;
            end += size;
            assert_eq!(files.read(&path, 3).await?, b"old");
            assert_eq!(names(folder.path()).len(), 2, "one temporary is beside it");
        }
        assert_eq!(replacement.finish().await?, end as u64);
        assert!(content(&path) == whole[..end]);
        assert_eq!(names(folder.path()).len(), 1);
        assert_eq!(files.replacement(&path).await?.finish().await?, 0);
        assert_eq!(content(&path), b"");
        Ok(())
    });
}

#[test]
fn permissions_are_as_with_replace() {
    each(async |files, folder| {
        let (old, new, usual) =
            (folder.write("old", ""), folder.path().join("new"), folder.path().join("usual"));
        std::fs::set_permissions(&old, PermissionsExt::from_mode(0o640)).expect("it is ours");
        began(&files, &old, 1).await?.finish().await?;
        assert_eq!((mode(&old), content(&old).len()), (0o640, 50_000));
        began(&files, &new, 1).await?.finish().await?;
        files.replace(&usual, "").await?;
        assert_eq!(mode(&new), mode(&usual));
        Ok(())
    });
}

#[test]
fn link_is_replaced_and_what_it_leads_to_is_not() {
    each(async |files, folder| {
        let path = folder.write("a", "old");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o604)).expect("it is ours");
        let link = |name: &str, to: &str| {
            let link = folder.path().join(name);
            symlink(to, &link).expect("the folder is ours");
            link
        };
        let (one, other, nowhere) = (link("one", "a"), link("other", "a"), link("nowhere", "none"));
        files.replace(&one, "new").await?;
        for link in [&other, &nowhere] {
            let mut replacement = files.replacement(link).await?;
            replacement.write("new".into()).await?;
            replacement.finish().await?;
        }
        for replaced in [one, other.clone(), nowhere] {
            assert!(!replaced.is_symlink());
            assert_eq!(content(&replaced), b"new");
        }
        assert_eq!((mode(&other), content(&path)), (0o604, b"old".to_vec()));
        Ok(())
    });
}

#[test]
fn replacement_begins_where_replace_can_and_nowhere_else() {
    each(async |files, folder| {
        folder.write("folder/file", "old");
        for (path, kind) in [
            ("none/file", ErrorKind::NotFound),
            ("folder", ErrorKind::IsADirectory),
            ("folder/file/x", ErrorKind::NotADirectory),
            (&"n".repeat(300), ErrorKind::InvalidFilename),
            // There nobody may make files, root neither.
            ("/sys/none", ErrorKind::PermissionDenied),
        ] {
            let path = folder.path().join(path);
            let error = files.replacement(&path).await.expect_err("it can't be");
            assert_eq!(error.io_kind(), Some(kind), "{error}");
            let same = files.replace(&path, "").await.expect_err("it can't be");
            assert_eq!(error.to_string(), same.to_string());
        }
        until("no temporary is left", || names(folder.path()).len() == 1).await;
        assert_eq!(names(&folder.path().join("folder")).len(), 1);
        Ok(())
    });
}

#[test]
fn dropped_replacement_leaves_the_old_file() {
    each(async |files, folder| {
        let path = folder.write("a", "old");
        for writes in 0..5 {
            drop(began(&files, &path, writes).await?);
            left_alone(&path).await;
        }
        let replacement = began(&files, &path, 3).await?;
        std::thread::spawn(move || drop(replacement)).join().expect("it does not panic");
        left_alone(&path).await;
        drop(polled(files.replacement(&path), 1).await);
        left_alone(&path).await;
        Ok(())
    });
}

#[test]
fn replacement_dropped_within_a_write_leaves_the_old_file() {
    each(async |files, folder| {
        let path = folder.write("a", "old");
        for times in 1..20 {
            let mut replacement = began(&files, &path, 1).await?;
            let write = replacement.write(Bytes::from(pattern(3, 0, LONG)));
            drop(polled(write, times).await);
            drop(replacement);
            left_alone(&path).await;
        }
        Ok(())
    });
}

#[test]
fn write_that_was_dropped_makes_finish_fail() {
    each(async |files, folder| {
        let path = folder.write("a", "old");
        // Seldom a thread is done with it before the first poll is over.
        let mut replacement = loop {
            let mut replacement = files.replacement(&path).await?;
            if polled(replacement.write(Bytes::from(pattern(3, 0, LONG))), 1).await.is_none() {
                break replacement;
            }
        };
        let error =
            replacement.write(Bytes::from_static(b"more")).await.expect_err("nobody knows what is there");
        assert_eq!(error.kind(), Kind::Cancelled);
        let error = replacement.finish().await.expect_err("nobody knows what is there");
        assert_eq!((error.kind(), error.target()), (Kind::Cancelled, path.to_str()));
        left_alone(&path).await;
        Ok(())
    });
}

#[test]
fn finish_dropped_before_it_renames_leaves_the_old_file() {
    each_with(&Options::default().threads(1), async |files, folder| {
        let path = folder.write("a", "old");
        let replacement = began(&files, &path, 1).await?;
        // The only place on threads is taken: the finish waits behind it.
        let taken = TakenThread::of(&files).await;
        assert!(polled(replacement.finish(), 10).await.is_none());
        // Needs no place.
        left_alone(&path).await;
        taken.give_back().await?;
        assert_eq!(content(&path), b"old");
        Ok(())
    });
}

#[test]
fn finish_dropped_at_any_time_leaves_one_of_the_two_whole() {
    each(async |files, folder| {
        let path = folder.path().join("a");
        for times in 1..60 {
            std::fs::write(&path, "old").expect("the folder is ours");
            let replacement = began(&files, &path, 2).await?;
            let finished = polled(replacement.finish(), times).await;
            until("no temporary is left", || names(folder.path()).len() == 1).await;
            let found = content(&path);
            assert!(found == b"old" || found.len() == 100_000, "{} bytes", found.len());
            if let Some(finished) = finished {
                assert_eq!((finished?, found.len()), (100_000, 100_000));
            }
        }
        Ok(())
    });
}

#[test]
fn two_at_once_are_both_whole_and_the_last_to_finish_wins() {
    each(async |files, folder| {
        let path = folder.write("a", "old");
        for is_together in [false, true] {
            let (mut one, mut other) = (files.replacement(&path).await?, files.replacement(&path).await?);
            let (left, right) = (pattern(4, 0, 300_000), pattern(5, 0, 200_000));
            for (left, right) in left.chunks(30_000).zip(right.chunks(20_000)) {
                one.write(Bytes::copy_from_slice(left)).await?;
                other.write(Bytes::copy_from_slice(right)).await?;
            }
            let second = spawn_local(other.finish());
            if is_together {
                one.finish().await?;
                second.await.expect("it is not cancelled")??;
                assert!([&left, &right].contains(&&content(&path)), "one of the two");
            } else {
                second.await.expect("it is not cancelled")??;
                assert!(content(&path) == right);
                one.finish().await?;
                assert!(content(&path) == left);
            }
            assert_eq!(names(folder.path()).len(), 1);
        }
        Ok(())
    });
}

#[test]
fn temporary_that_somebody_removed_makes_finish_fail() {
    each(async |files, folder| {
        let path = folder.write("a", "old");
        let replacement = began(&files, &path, 2).await?;
        let temporary = names(folder.path()).into_iter().find(|name| name != "a").expect("it is there");
        assert!(temporary.starts_with(".millstream-") && temporary.ends_with(".tmp"), "{temporary}");
        std::fs::remove_file(folder.path().join(temporary)).expect("it is there");
        let error = replacement.finish().await.expect_err("it has no name");
        assert_eq!(error.io_kind(), Some(ErrorKind::NotFound));
        assert!(error.to_string().starts_with(&format!("{}: replace: rename: ", path.display())), "{error}");
        left_alone(&path).await;
        Ok(())
    });
}

#[test]
fn full_disk_is_told_and_the_old_file_stays() {
    or_skip!(with_small_disk(|folder| {
        let at = folder.path().to_owned();
        each(async move |files, _| {
            let path = at.join("a");
            std::fs::write(&path, "old").expect("there is room");
            let mut replacement = files.replacement(&path).await?;
            let error = loop {
                if let Err(error) = replacement.write(Bytes::from(pattern(1, 0, 50_000))).await {
                    break error;
                }
            };
            assert_eq!(error.io_kind(), Some(ErrorKind::StorageFull), "{error}");
            assert!(
                error.to_string().starts_with(&format!("{}: replace: write: ", path.display())),
                "{error}"
            );
            let error = replacement.finish().await.expect_err("a write failed");
            assert_eq!(error.kind(), Kind::Cancelled, "{error}");
            left_alone(&path).await;

            // What is gathered is written by the finish.
            let mut replacement = files.replacement(&path).await?;
            replacement.write(Bytes::from(pattern(1, 0, 50_000))).await?;
            let filler = at.join("filler");
            let filled = std::fs::write(&filler, vec![1; LONG]);
            assert_eq!(filled.map_err(|error| error.kind()), Err(ErrorKind::StorageFull));
            let error = replacement.finish().await.expect_err("there is no room");
            assert_eq!(error.io_kind(), Some(ErrorKind::StorageFull), "{error}");
            std::fs::remove_file(filler).expect("it is there");
            left_alone(&path).await;
            Ok(())
        });
    }));
}

#[test]
fn engine_that_ends_removes_what_was_under_way() {
    for backend in BACKENDS {
        let folder = Folder::new();
        let path = folder.write("a", "old");
        let engine = Engine::builder().workers(2).build().expect("threads can be started");
        let Some(files) = files(&engine, &Options::default().backend(backend)) else { continue };
        let to = path.clone();
        let begun = engine.run(async move |_| {
            let outside = [began(&files, &to, 3).await?, began(&files, &to, 3).await?];
            // One ends with its task, within a write.
            let mut inside = began(&files, &to, 3).await?;
            drop(spawn_local(async move {
                while inside.write(Bytes::from(vec![0; LONG])).await.is_ok() {
                    tokio::task::yield_now().await;
                }
            }));
            Ok::<_, millstream_base::Error>(outside)
        });
        let [one, other] = begun.and_then(|begun| begun).expect("the folder is ours");
        assert_eq!(names(folder.path()).len(), 4);
        drop(engine);
        assert_eq!(names(folder.path()).len(), 3, "{backend:?}");
        drop(one);
        assert_eq!(names(folder.path()).len(), 2, "at once where no thread is left for it");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("tokio starts");
        let error = runtime.block_on(other.finish()).expect_err("there are no threads");
        assert_eq!(error.kind(), Kind::Cancelled, "{error}");
        assert_eq!((names(folder.path()).len(), content(&path)), (1, b"old".to_vec()));
    }
}
