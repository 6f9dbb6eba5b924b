//! Reads and writes at offsets: the same with every backend.

mod kit;

use std::io::ErrorKind;

use bytes::Bytes;
use kit::{each, pattern};
use millstream_base::Kind;
use millstream_files::{AlignedBuf, OpenOptions};

#[test]
fn what_is_written_is_read() {
    each(async |files, folder| {
        let file = files.create(folder.path().join("a")).await?;
        let data = pattern(1, 0, 300_000);
        let (written, data) = file.write_at(data, 5).await;
        assert_eq!(written?, 300_000);
        let (read, back) = file.read_at(vec![9; 300_000], 5).await;
        assert_eq!(read?, 300_000);
        assert!(back == data);
        assert_eq!(file.len().await?, 300_005);
        // What was skipped is zero.
        let (read, hole) = file.read_at(vec![9; 5], 0).await;
        assert_eq!((read?, hole), (5, vec![0; 5]));
        Ok(())
    });
}

#[test]
fn read_is_short_only_at_the_end() {
    each(async |files, folder| {
        let path = folder.write("a", pattern(1, 0, 10_000));
        let file = files.open(path).await?;
        for (offset, size, expected) in [
            (0, 10_000, 10_000),
            (0, 10_001, 10_000),
            (9_999, 4096, 1),
            (10_000, 4096, 0),
            (10_001, 4096, 0),
            (1 << 40, 4096, 0),
            (0, 0, 0),
            (20_000, 0, 0),
        ] {
            let (read, back) = file.read_at(vec![7; size], offset).await;
            assert_eq!(read?, expected, "{size} bytes at {offset}");
            assert_eq!(back.len(), size, "the buffer comes back as it was");
            assert_eq!(back[..expected], pattern(1, offset, expected), "{size} bytes at {offset}");
            assert!(back[expected..].iter().all(|&byte| byte == 7), "the rest is left alone");
        }
        Ok(())
    });
}

#[test]
fn exact_read_fails_at_the_end_and_gives_the_buffer_back() {
    each(async |files, folder| {
        let path = folder.write("a", pattern(1, 0, 100));
        let file = files.open(&path).await?;
        let (read, back) = file.read_exact_at(vec![0; 50], 50).await;
        read?;
        assert_eq!(back, pattern(1, 50, 50));
        let (read, back) = file.read_exact_at(vec![0; 51], 50).await;
        let error = read.expect_err("one byte is missing");
        assert_eq!((error.kind(), error.io_kind()), (Kind::Io, Some(ErrorKind::UnexpectedEof)));
        assert!(error.to_string().contains(path.to_str().expect("text")), "{error}");
        assert_eq!(back[..50], pattern(1, 50, 50));
        Ok(())
    });
}

#[test]
fn many_pieces_are_filled_and_written_in_order() {
    each(async |files, folder| {
        let file = files.create(folder.path().join("a")).await?;
        // More than one call takes, with empty ones, and with some that are longer than a step.
        let sizes: Vec<usize> = (0..2500).map(|at| at % 7 * 10).chain([0, 3 << 20, 1, 0]).collect();
        let total: usize = sizes.iter().sum();
        let whole = Bytes::from(pattern(3, 0, total));
        let mut begin = 0;
        let pieces = sizes.iter().map(|&size| {
            begin += size;
            whole.slice(begin - size..begin)
        });
        let (written, pieces) = file.write_vectored_at(pieces.collect(), 11).await;
        assert_eq!((written?, pieces.len()), (total, sizes.len()));
        let spaces: Vec<_> = sizes.iter().rev().map(|&size| vec![0; size]).chain([vec![5; 10]]).collect();
        let (read, spaces) = file.read_vectored_at(spaces, 11).await;
        assert_eq!(read?, total);
        assert!(spaces.concat()[..total] == whole[..]);
        assert_eq!(spaces.last(), Some(&vec![5; 10]));
        let (read, none) = file.read_vectored_at(Vec::<Vec<u8>>::new(), 0).await;
        assert_eq!((read?, none.len()), (0, 0));
        Ok(())
    });
}

#[test]
fn offsets_beyond_four_gib_are_themselves() {
    each(async |files, folder| {
        let file = files.create(folder.path().join("sparse")).await?;
        let offsets = [0, (1 << 32) - 2, (1 << 32) + 7, 5 << 32];
        for offset in offsets {
            file.write_all_at(pattern(offset, offset, 9), offset).await.0?;
        }
        assert_eq!(file.len().await?, (5 << 32) + 9);
        for offset in offsets {
            let (read, back) = file.read_exact_at(vec![0; 9], offset).await;
            read?;
            assert_eq!(back, pattern(offset, offset, 9));
        }
        file.set_len((5 << 32) + 3).await?;
        let (read, _) = file.read_at(vec![0; 9], 5 << 32).await;
        assert_eq!(read?, 3);
        Ok(())
    });
}

#[test]
fn offset_that_the_kernel_can_t_have_is_an_error() {
    each(async |files, folder| {
        let file = files.create(folder.path().join("a")).await?;
        // The greatest would mean "where the file's own position is" to the kernel.
        for offset in [u64::MAX, 1 << 63] {
            let (read, back) = file.read_at(vec![1; 4], offset).await;
            assert_eq!(read.map_err(|error| error.io_kind()), Err(Some(ErrorKind::InvalidInput)));
            assert_eq!(back, [1; 4]);
            let (written, back) = file.write_all_at(back, offset).await;
            assert_eq!(written.map_err(|error| error.io_kind()), Err(Some(ErrorKind::InvalidInput)));
            assert_eq!(back, [1; 4]);
        }
        assert_eq!(file.len().await?, 0);
        Ok(())
    });
}

#[test]
fn file_past_the_page_cache_takes_aligned_memory() {
    each(async |files, folder| {
        let path = folder.path().join("direct");
        let options = OpenOptions::new().read().write().create().direct();
        let file = match files.open_with(&path, options).await {
            Ok(file) => file,
            Err(error) if error.io_kind() == Some(ErrorKind::InvalidInput) => {
                millstream_peers::Skip::because("no O_DIRECT in the folder for temporary files")
                    .announce("direct");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let mut data = AlignedBuf::zeroed(3 << 20);
        data.as_mut().copy_from_slice(&pattern(8, 0, 3 << 20));
        let (written, data) = file.write_all_at(data, 4096).await;
        written?;
        let (read, back) = file.read_exact_at(AlignedBuf::zeroed(3 << 20), 4096).await;
        read?;
        assert!(back.as_ref() == data.as_ref());
        let (read, _) = file.read_at(AlignedBuf::zeroed(8192), 3 << 20).await;
        assert_eq!(read?, 4096, "the file ends there");
        Ok(())
    });
}

#[test]
fn kernel_s_own_files_are_read_whole() {
    each(async |files, _| {
        // It has no length, and can't be asked without waiting.
        let text = files.read("/proc/self/status", 100_000).await?;
        assert!(text.starts_with(b"Name:"));
        let error = files.read("/proc/self/status", 10).await.expect_err("it is longer");
        assert_eq!(error.kind(), Kind::Limit);
        Ok(())
    });
}

#[test]
fn files_are_read_and_written_by_path() {
    each(async |files, folder| {
        let path = folder.path().join("a");
        files.write_at_path(&path, "abc", 2).await.0?;
        let (read, back) = files.read_at_path(&path, [9_u8; 4], 1).await;
        assert_eq!((read?, back), (4, *b"\0abc"));
        assert_eq!(files.read(&path, 5).await?, b"\0\0abc");
        assert_eq!(files.read(folder.write("empty", ""), 0).await?, b"");
        let (read, back) = files.read_at_path(folder.path().join("none"), vec![4; 4], 0).await;
        assert_eq!(read.map_err(|error| error.io_kind()), Err(Some(ErrorKind::NotFound)));
        assert_eq!(back, [4; 4]);
        Ok(())
    });
}

#[test]
fn file_is_brought_to_the_disk() {
    each(async |files, folder| {
        let file = files.create(folder.path().join("a")).await?;
        file.write_all_at("abc", 0).await.0?;
        file.sync_data().await?;
        file.sync_all().await
    });
}
