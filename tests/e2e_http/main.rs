//! The HTTP front of the built binary over real sockets. What timing makes hard to bring about here is left
//! to `src/front/tests.rs`; the codec to its own tests and fuzz targets.

mod events;
mod guards;
mod hostile;
mod legacy;
mod listeners;
mod modern;
mod streams;
mod support;
mod wire;
