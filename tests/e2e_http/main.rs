//! The HTTP front of the built binary over real sockets. What timing makes hard to bring about here is left
//! to `src/front/tests.rs`; the codec to its own tests and fuzz targets.

mod legacy;
mod support;
mod wire;
