//! See `muxloop::fuzzing::config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    muxloop::fuzzing::config(data);
});
