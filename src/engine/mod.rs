//! Connections, turns and backpressure, over any kernel: real or simulated.

pub mod port;
