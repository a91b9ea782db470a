//! Wire formats as byte slices: bytes are pushed in, slices pulled out; `None` asks for more bytes.
//!
//! Knows nothing of who is connected, of time, or of descriptors.

pub mod batch;
pub(crate) mod edit;
pub mod envelope;
#[cfg(feature = "http")]
pub mod http;
pub mod json;
pub mod line;
pub mod list;
pub mod message;
mod scan;
mod scan_simd;
mod skip;
#[cfg(feature = "http")]
pub mod sse;
#[cfg(feature = "http")]
pub mod ws;

pub use envelope::{Envelope, Incoming, Kind, ScanError, ScanErrorKind, Span};
pub use line::{Line, LineFramer, Overlong};
pub use list::List;
pub use message::{Message, Value};
