//! Every target: its name says what its input is fed to.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[global_allocator]
static ALLOCATOR: muster_fuzz::Counting = muster_fuzz::Counting;

fuzz_target!(|data: &[u8]| muster_fuzz::feed(env!("CARGO_BIN_NAME"), data));
