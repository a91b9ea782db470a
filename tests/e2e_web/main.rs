//! What the HTTP front of the built binary offers besides the MCP transports of its own, over real sockets:
//! WebSocket, metrics, rate limits, the dashboard's events, and one server without a configuration. The page
//! itself is tested in a browser by `make interop`.

mod apart;
mod dashboard;
mod expose;
mod metrics;
mod rate;
mod socket;
#[allow(dead_code, unused_imports)]
#[path = "../e2e_http/support/mod.rs"]
mod support;
mod websocket;
