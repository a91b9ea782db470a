//! The table `rate_limit` of a server.

use super::keys::{Choice, Key, Kind, choice, key};
use crate::mux::rate::{Algorithm, RateLimits};

/// Keys of `[servers.NAME.rate_limit]`.
pub const RATE_LIMIT: &[Key<RateLimits>] = &[
    key("client", Kind::Rate(|limits, rate| limits.client = Some(rate)), "", "\"10/s\"", "Of each client."),
    key("server", Kind::Rate(|limits, rate| limits.server = Some(rate)), "", "\"600/m\"", "Of all together."),
    key("algorithm", Kind::Choice(ALGORITHMS), "\"bucket\"", "\"window\"", "How they are counted."),
    key(
        "burst",
        Kind::Integer { min: 1, max: 1_000_000_000, set: |limits, count| limits.burst = Some(count as u32) },
        "",
        "20",
        "Requests at once with bucket; without it, those of a whole period.",
    ),
];

const ALGORITHMS: &[Choice<RateLimits>] = &[
    choice("bucket", "token bucket: a burst, then evenly", |limits| limits.algorithm = Algorithm::Bucket),
    choice("window", "sliding window: so many in any period", |limits| limits.algorithm = Algorithm::Window),
];
