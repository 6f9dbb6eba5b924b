//! A file in the place of another: all or nothing; and what a full disk does.

mod kit;

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use kit::{each, names, pattern, with_small_disk};
use millstream_files::Files;
use millstream_peers::{Folder, or_skip};
use millstream_runtime::Engine;

#[test]
fn file_is_replaced_with_its_permissions() {
    each(async |files, folder| {
        let path = folder.path().join("a");
        files.replace(&path, "one").await?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).expect("it is ours");
        files.replace(&path, pattern(1, 0, 100_000)).await?;
        assert!(std::fs::read(&path).expect("it is there") == pattern(1, 0, 100_000));
        assert_eq!(std::fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o640);
        files.replace(&path, "").await?;
        assert_eq!(std::fs::read(&path).expect("it is there"), b"");
        assert_eq!(names(folder.path()).len(), 1, "nothing is left beside it");
        Ok(())
    });
}

#[test]
fn replacement_that_fails_leaves_everything_as_it_was() {
    each(async |files, folder| {
        let io_kind = |result: millstream_base::Result<()>| result.expect_err("it can't be").io_kind();
        folder.write("folder/file", "old");
        let none = files.replace(folder.path().join("none/file"), "new").await;
        assert_eq!(io_kind(none), Some(ErrorKind::NotFound));
        let at_folder = files.replace(folder.path().join("folder"), "new").await;
        assert_eq!(io_kind(at_folder), Some(ErrorKind::IsADirectory));
        let below_file = files.replace(folder.path().join("folder/file/x"), "new").await;
        assert_eq!(io_kind(below_file), Some(ErrorKind::NotADirectory));
        let long = files.replace(folder.path().join("n".repeat(300)), "new").await;
        assert_eq!(io_kind(long), Some(ErrorKind::InvalidFilename));
        assert_eq!(names(folder.path()).len(), 1);
        assert_eq!(std::fs::read(folder.path().join("folder/file")).expect("it is there"), b"old");
        Ok(())
    });
}

#[test]
fn full_disk_is_told_and_the_old_file_stays() {
    or_skip!(with_small_disk(|folder| {
        let at = folder.path().to_owned();
        // Threads of engines that are made here live in this namespace.
        each(async move |files, _| {
            let (path, other) = (at.join("a"), at.join("b"));
            files.replace(&path, "old").await?;
            let error = files.replace(&path, vec![1; 2 << 20]).await.expect_err("there is no room");
            assert_eq!(error.io_kind(), Some(ErrorKind::StorageFull), "{error}");
            assert!(error.to_string().contains("replace: write"), "{error}");
            assert_eq!(files.read(&path, 3).await?, b"old");
            assert_eq!(names(&at).len(), 1, "nothing is left beside it");

            let file = files.create(&other).await?;
            let (written, back) = file.write_at(pattern(1, 0, 2 << 20), 0).await;
            let count = written?;
            assert!(count < 1 << 20 && count > 1 << 19, "{count}");
            assert!(back == pattern(1, 0, 2 << 20));
            let (written, _) = file.write_at(back, count as u64).await;
            assert_eq!(written.map_err(|error| error.io_kind()), Err(Some(ErrorKind::StorageFull)));
            let pieces = vec![vec![2; 1 << 20], vec![3; 1 << 20]];
            let (written, pieces) = file.write_vectored_at(pieces, count as u64).await;
            assert_eq!(written.map_err(|error| error.io_kind()), Err(Some(ErrorKind::StorageFull)));
            assert_eq!(pieces.len(), 2);
            let (written, _) = file.write_all_at(pattern(1, 0, 2 << 20), 0).await;
            assert_eq!(written.map_err(|error| error.io_kind()), Err(Some(ErrorKind::StorageFull)));
            assert!(files.read(&other, 1 << 20).await? == pattern(1, 0, count), "what was told is there");
            std::fs::remove_file(other).expect("it is there");
            drop(file);
            std::fs::remove_file(path).expect("it is there");
            Ok(())
        });
    }));
}

/// Set for a child that replaces until it is killed.
const CHILD: &str = "MILLSTREAM_REPLACE";

#[test]
fn child_replaces() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let engine = Engine::builder().workers(1).build().expect("threads can be started");
    let ran = engine.run(async move |engine| {
        let files = Files::of(&engine);
        for seed in 0_u64.. {
            let bytes = vec![seed as u8; 10_000 + seed as usize % 90_000];
            files.replace(&path, bytes).await.expect("the folder is ours");
        }
    });
    ran.expect("it is killed first");
}

#[test]
fn whoever_looks_at_a_file_that_is_replaced_sees_a_whole_one_also_after_a_kill() {
    let folder = Folder::new();
    let path = folder.write("a", "");
    let whole = || {
        let bytes = std::fs::read(&path).expect("there is always one");
        assert!(bytes.windows(2).all(|two| two[0] == two[1]), "of two replacements");
        bytes.len()
    };
    for looks in [1, 20, 50] {
        let program = std::env::current_exe().expect("it runs");
        let mut child = Command::new(program)
            .args(["child_replaces", "--exact", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::null())
            .spawn()
            .expect("it can be started");
        let before = whole();
        millstream_peers::eventually("the child is at work", || whole() != before);
        for _ in 0..looks {
            assert!(whole() >= 10_000);
        }
        child.kill().expect("it runs");
        child.wait().expect("it was started");
        assert!(whole() >= 10_000);
    }
}
