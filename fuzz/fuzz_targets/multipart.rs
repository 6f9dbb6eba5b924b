//! Forms with files: no panic, and the same fields however the bytes are split.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millstream_http::extract::fuzz;

fuzz_target!(|data: &[u8]| fuzz::multipart(data));
