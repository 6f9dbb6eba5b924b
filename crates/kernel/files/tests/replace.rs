//! A file in the place of another: all or nothing; and what a full disk does.

mod kit;

use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kit::{each, names, pattern, with_small_disk};
use millstream_files::Files;
use millstream_peers::{Folder, Skip, or_skip};
use millstream_runtime::Engine;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

/// Of what is there, be it a link.
fn metadata(path: &Path) -> std::fs::Metadata {
    std::fs::symlink_metadata(path).expect("it is there")
}

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
fn what_is_no_file_is_not_replaced() {
    each(async |files, folder| {
        let (fifo, socket) = (folder.path().join("fifo"), folder.path().join("socket"));
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).expect("the folder is ours");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("the folder is ours");
        for path in [&fifo, &socket] {
            let error = files.replace(path, "new").await.expect_err("it is no file");
            assert_eq!(error.io_kind(), Some(ErrorKind::InvalidInput), "{error}");
            let error = files.replacement(path).await.expect_err("it is no file");
            assert_eq!(error.io_kind(), Some(ErrorKind::InvalidInput), "{error}");
        }
        assert!(metadata(&fifo).file_type().is_fifo() && metadata(&socket).file_type().is_socket());
        assert_eq!(names(folder.path()).len(), 2, "nothing is left beside them");
        Ok(())
    });
}

#[test]
fn link_is_replaced_whatever_it_leads_to() {
    each(async |files, folder| {
        let (usual, below) = (folder.path().join("usual"), folder.path().join("below"));
        files.replace(&usual, "").await?;
        std::fs::create_dir(&below).expect("the folder is ours");
        nix::unistd::mkfifo(&folder.path().join("fifo"), nix::sys::stat::Mode::S_IRUSR).expect("it is ours");
        for to in ["below", "fifo", "nowhere", "link", "usual/x"] {
            let link = folder.path().join("link");
            std::os::unix::fs::symlink(to, &link).expect("the folder is ours");
            files.replace(&link, "new").await?;
            assert!(metadata(&link).is_file(), "{to}");
            assert_eq!(metadata(&link).permissions(), metadata(&usual).permissions(), "{to}");
            std::fs::remove_file(link).expect("it is ours");
        }
        assert_eq!(names(folder.path()), ["below", "fifo", "usual"].map(str::to_owned).into());
        Ok(())
    });
}

/// Not ours.
const OTHER: u32 = 54_321;

/// A file of another user's and group's that runs as they do.
fn other_s_file(folder: &Folder) -> Result<PathBuf, Skip> {
    let path = folder.write("a", "old");
    chown(&path, Some(OTHER), Some(OTHER))
        .map_err(|error| Skip::because(format!("files can't be given away: {error}")))?;
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o6754)).expect("we are root");
    Ok(path)
}

#[test]
fn owner_and_group_stay_and_with_them_the_bits_that_mean_them() {
    let folder = Folder::new();
    let path = or_skip!(other_s_file(&folder));
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).expect("the folder is ours");
    let engine = Engine::builder().workers(1).build().expect("threads can be started");
    let ran = engine.run(async move |engine| {
        let files = Files::of(&engine);
        files.replace(&path, "new").await?;
        let mut replacement = files.replacement(&path).await?;
        replacement.write("newer".into()).await?;
        replacement.finish().await?;
        let new = metadata(&path);
        assert_eq!((new.uid(), new.gid(), new.mode() & 0o7777), (OTHER, OTHER, 0o6754));
        files.replace(&link, "new").await?;
        let new = metadata(&link);
        assert_eq!((new.uid(), new.gid(), new.mode() & 0o7777), (OTHER, OTHER, 0o754));
        Ok::<_, millstream_base::Error>(())
    });
    ran.and_then(|ended| ended).expect("we are root");
}

#[test]
fn owner_that_can_t_stay_takes_the_bits_with_it() {
    let folder = Folder::new();
    let path = or_skip!(other_s_file(&folder));
    let given = path.clone();
    let replacing = std::thread::spawn(move || {
        // This thread, and those that it starts, may give no files away.
        let mut sets = capabilities(None).expect("Linux has them");
        sets.effective -= CapabilitySet::CHOWN;
        set_capabilities(None, sets).expect("less is allowed always");
        let engine = Engine::builder().workers(1).build().expect("threads can be started");
        engine.run(async move |engine| Files::of(&engine).replace(given, "new").await)
    });
    let ran = replacing.join().expect("it does not panic");
    ran.and_then(|ended| ended).expect("the folder is ours");
    let new = metadata(&path);
    assert!(new.uid() != OTHER && new.gid() != OTHER);
    assert_eq!(new.mode() & 0o7777, 0o754);
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
