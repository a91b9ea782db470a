//! The kernel: the only place with descriptors, clocks and `unsafe`.

pub mod stderr;
