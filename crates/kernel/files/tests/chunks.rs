//! Files in chunks.

mod kit;

use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use futures_core::Stream;
use kit::{each, pattern};
use millstream_base::{Kind, Result};
use millstream_files::{OpenOptions, Reader};

async fn whole(mut reader: Reader) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(chunk) = reader.next().await {
        let chunk = chunk?;
        assert!(!chunk.is_empty() && chunk.len() <= 64 * 1024);
        all.extend_from_slice(&chunk);
    }
    assert!(reader.next().await.is_none(), "the end stays the end");
    Ok(all)
}

#[test]
fn what_a_writer_wrote_a_reader_reads() {
    each(async |files, folder| {
        let file = files.create(folder.path().join("a")).await?;
        let data = Bytes::from(pattern(1, 0, 500_000));
        let mut writer = file.writer(100);
        let mut begin = 0;
        for size in [0, 1, 65_535, 65_536, 65_537, 3, 200_000, 1000, 0, 64_000, 2000] {
            writer.write(data.slice(begin..begin + size)).await?;
            begin += size;
        }
        writer.write(data.slice(begin..)).await?;
        assert_eq!(writer.finish().await?, 500_100);
        assert!(whole(file.reader(100..)).await? == data);
        assert!(whole(file.reader(..)).await?[100..] == data);
        for (start, end) in
            [(100, 100), (100, 101), (65_636, 65_636 + 65_536), (499_000, 500_100), (200, 100)]
        {
            let expected = &data[start - 100..end.max(start) - 100];
            assert!(whole(file.reader(start as u64..end as u64)).await? == expected, "{start}..{end}");
        }
        assert!(whole(file.reader(100..=100)).await? == data[..1]);
        assert_eq!(whole(file.reader(500_100..)).await?.len(), 0);
        assert_eq!(whole(file.reader(500_000..1 << 40)).await?.len(), 100, "the file ends before");
        Ok(())
    });
}

#[test]
fn reader_whose_future_is_dropped_goes_on() {
    each(async |files, folder| {
        let path = folder.write("a", pattern(1, 0, 1_000_000));
        let mut reader = files.reader(path).await?;
        let mut all = Vec::new();
        let mut is_end = false;
        while !is_end {
            // A look, after which the future is dropped, and then one that waits.
            let mut looked = None;
            {
                let mut next = std::pin::pin!(reader.next());
                std::future::poll_fn(|cx| {
                    looked = match next.as_mut().poll(cx) {
                        Poll::Ready(chunk) => Some(chunk),
                        Poll::Pending => None,
                    };
                    Poll::Ready(())
                })
                .await;
            }
            let chunk = match looked {
                Some(chunk) => chunk,
                None => std::future::poll_fn(|cx| Pin::new(&mut reader).poll_next(cx)).await,
            };
            match chunk {
                Some(chunk) => all.extend_from_slice(&chunk?),
                None => is_end = true,
            }
        }
        assert!(all == pattern(1, 0, 1_000_000));
        Ok(())
    });
}

#[test]
fn error_is_the_last_thing_of_a_reader_and_stops_a_writer() {
    each(async |files, folder| {
        let path = folder.write("a", pattern(1, 0, 100_000));
        let mut reader = files.open_with(&path, OpenOptions::new().write()).await?.reader(..);
        assert!(reader.next().await.is_some_and(|chunk| chunk.is_err()));
        assert!(reader.next().await.is_none());
        let mut writer = files.open(&path).await?.writer(0);
        let data = Bytes::from(vec![0; 100_000]);
        assert_eq!(writer.write(data.clone()).await.map_err(|error| error.kind()), Err(Kind::Io));
        assert_eq!(writer.write(data).await.map_err(|error| error.kind()), Err(Kind::Cancelled));
        assert_eq!(writer.finish().await.map_err(|error| error.kind()), Err(Kind::Cancelled));
        assert!(std::fs::read(path).expect("it is there") == pattern(1, 0, 100_000));
        Ok(())
    });
}
