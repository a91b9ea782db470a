//! See `muxloop::fuzzing::http`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    muxloop::fuzzing::http(data);
});
