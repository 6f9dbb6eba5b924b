//! What a million items take of memory. Alone in its process, as it looks at all of it.

mod kit;

use kit::Live;
use millstream_flow::Each;

/// What it holds of physical memory, in bytes.
fn resident_size() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let pages = text.split(' ').nth(1).expect("the second number");
    4096 * pages.parse::<usize>().expect("a number")
}

#[tokio::test]
async fn million_items_take_no_more_memory_than_a_few() {
    let live = Live::default();
    let all = live.clone();
    let mut outputs = Each::of(0..1_000_000_u64).at_most(100).run(move |item| {
        let one = all.one();
        async move {
            if item % 3 == 0 {
                tokio::task::yield_now().await;
            }
            drop(one);
            Ok(item)
        }
    });
    let (mut sum, mut count, mut early) = (0, 0, 0);
    while let Some(output) = outputs.next().await {
        sum += output.expect("no error");
        count += 1;
        if count == 100_000 {
            early = resident_size();
        }
    }
    assert_eq!((count, sum), (1_000_000, 499_999_500_000));
    assert!(live.most() <= 100, "{} at once", live.most());
    let growth = resident_size().saturating_sub(early);
    assert!(growth < 1 << 20, "{growth} bytes more than after a tenth");
}
