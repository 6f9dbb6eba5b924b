//! Chunked bodies: no panic, and one verdict however the bytes are split.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millstream_http::codec::fuzz;

fuzz_target!(|data: &[u8]| fuzz::chunked(data));
