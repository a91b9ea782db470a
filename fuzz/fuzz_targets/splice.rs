//! See `muxloop::fuzzing::splice`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    muxloop::fuzzing::splice(data);
});
