//! See `muxloop::fuzzing::world`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    muxloop::fuzzing::world(data);
});
