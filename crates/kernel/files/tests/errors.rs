//! What goes wrong, and how it is told.

mod kit;

use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;

use kit::{each, with_small_disk};
use millstream_base::{Kind, Result};
use millstream_files::{File, OpenOptions};
use millstream_peers::or_skip;

fn io_kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().and_then(|error| error.io_kind())
}

#[test]
fn what_can_t_be_opened_says_why() {
    each(async |files, folder| {
        let path = folder.write("a", "");
        let none = folder.path().join("none");
        let error = files.open(&none).await.expect_err("it is not there");
        assert_eq!((error.kind(), error.io_kind()), (Kind::Io, Some(ErrorKind::NotFound)));
        assert_eq!(
            error.to_string(),
            format!("{}: open: No such file or directory (os error 2)", none.display())
        );
        assert_eq!(io_kind(files.open(path.join("below")).await), Some(ErrorKind::NotADirectory));
        assert_eq!(io_kind(files.open(folder.path()).await), Some(ErrorKind::IsADirectory));
        let new = OpenOptions::new().write().create_new();
        assert_eq!(io_kind(files.open_with(&path, new).await), Some(ErrorKind::AlreadyExists));
        assert_eq!(io_kind(files.open("a\0b").await), Some(ErrorKind::InvalidInput));
        Ok(())
    });
}

#[test]
fn file_that_no_memory_holds_is_an_error() {
    or_skip!(with_small_disk(|folder| {
        let path = folder.write("a", "abc");
        // Only a hole, which tmpfs lets be as long as an offset can be.
        let file = std::fs::OpenOptions::new().write(true).open(&path).expect("it is there");
        file.set_len(i64::MAX.cast_unsigned()).expect("it takes no room");
        each(async move |files, _| {
            let error = files.read(&path, usize::MAX).await.expect_err("nobody has so much");
            assert_eq!((error.kind(), error.io_kind()), (Kind::Io, Some(ErrorKind::OutOfMemory)), "{error}");
            let error = files.read(&path, 1 << 40).await.expect_err("it is longer");
            assert_eq!(error.kind(), Kind::Limit, "{error}");
            Ok(())
        });
    }));
}

#[test]
fn fifo_is_refused_and_keeps_nobody_waiting() {
    each(async |files, folder| {
        let path = folder.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).expect("the folder is ours");
        assert!(std::fs::metadata(&path).expect("it is there").file_type().is_fifo());
        assert_eq!(io_kind(files.open(&path).await), Some(ErrorKind::InvalidInput));
        Ok(())
    });
}

#[test]
fn file_open_for_one_thing_refuses_the_other_and_gives_the_buffer_back() {
    const EBADF: i32 = 9;
    let code = |error: &millstream_base::Error| {
        let source =
            std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
        source.and_then(std::io::Error::raw_os_error)
    };
    each(async move |files, folder| {
        let path = folder.write("a", "abc");
        let read_only = files.open(&path).await?;
        let (written, back) = read_only.write_at(vec![1, 2, 3], 0).await;
        let error = written.expect_err("it is open for reading");
        assert_eq!((error.kind(), code(&error)), (Kind::Io, Some(EBADF)));
        assert_eq!(back, [1, 2, 3]);
        let (written, back) = read_only.write_vectored_at(vec![vec![1], vec![2]], 0).await;
        assert_eq!((written.err().as_ref().and_then(code), back.len()), (Some(EBADF), 2));
        let write_only = files.open_with(&path, OpenOptions::new().write()).await?;
        let (read, back) = write_only.read_at(vec![4; 3], 0).await;
        assert_eq!((read.err().as_ref().and_then(code), back), (Some(EBADF), vec![4; 3]));
        assert_eq!(std::fs::read(path).expect("it is there"), b"abc");
        Ok(())
    });
}

#[test]
fn file_is_closed_with_its_last_user() {
    each(async |files, folder| {
        let path = folder.write("a", vec![0; 1 << 20]);
        let opened = |file: &File| {
            let path = file.path().to_owned();
            move || {
                let open = std::fs::read_dir("/proc/self/fd").expect("Linux has it").flatten();
                open.filter_map(|entry| entry.path().read_link().ok()).filter(|open| *open == path).count()
            }
        };
        let file = files.open(&path).await?;
        let count = opened(&file);
        let same = file.clone();
        drop(file);
        assert_eq!(count(), 1);
        let (read, _) = same.read_at(vec![0; 1 << 20], 0).await;
        assert_eq!(read?, 1 << 20);
        drop(same);
        millstream_peers::eventually("it is closed", || count() == 0);
        Ok(())
    });
}

#[test]
fn adopted_file_is_used_as_it_is() {
    each(async |files, folder| {
        let path = folder.write("a", "abc");
        let file = files.adopt(std::fs::File::open(&path).expect("it is there"), &path);
        let (read, back) = file.read_at(vec![0; 9], 1).await;
        assert_eq!((read?, &back[..2]), (2, &b"bc"[..]));
        Ok(())
    });
}

#[test]
fn options_have_limits() {
    use millstream_files::{Files, Options};
    let engine = millstream_runtime::Engine::builder().workers(1).build().expect("threads can be started");
    for options in [
        Options::default().in_flight(0),
        Options::default().in_flight(16_385),
        Options::default().threads(0),
        Options::default().threads(513),
    ] {
        let error = Files::with(&engine, &options).expect_err("out of range");
        assert_eq!(error.kind(), Kind::Invalid);
    }
}
