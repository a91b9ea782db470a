//! See `muxloop::fuzzing::line`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    muxloop::fuzzing::line(data);
});
