//! What the routes `/slow` and `/compute` do, the same in every server.

use std::time::{Duration, Instant};

/// How long `/slow` waits.
pub const SLOW: Duration = Duration::from_millis(5);

/// How long `/compute` keeps its core busy.
pub const COMPUTE: Duration = Duration::from_millis(1);

/// Computes for [`COMPUTE`] of wall time on the calling thread.
pub fn compute() {
    let start = Instant::now();
    let mut state = 1_u64;
    while start.elapsed() < COMPUTE {
        for _ in 0..100 {
            state = std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
}
