//! See `muxloop::fuzzing::sse`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    muxloop::fuzzing::sse(data);
});
