//! Keys, buffers, the timer wheel and the limits: what every layer above stands on.
//!
//! Knows nothing of MCP and does no I/O.

pub mod arena;
pub mod buffer;
pub mod date;
#[cfg(feature = "gateway")]
pub mod filter;
pub mod hash;
pub mod limits;
pub mod nearest;
pub mod short;
pub mod sorted;
pub mod time;
pub mod wheel;

pub use arena::{Arena, Key, KeyMap};
pub use buffer::{RecvBuf, SendBuf};
pub use short::ShortBytes;
pub use sorted::{SortedMap, SortedSet};
pub use time::Time;
pub use wheel::{TimerKey, TimerWheel};
