//! What the kernel says of sockets: no panic, whatever the bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| millstream_sockets::fuzz_messages(data));
