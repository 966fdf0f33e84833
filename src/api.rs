//! HTTP: intake of events, incidents, metrics, health.

use std::net::SocketAddr;

use crate::model::Span;

/// What the HTTP server goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where to listen (default 127.0.0.1:8080).
    pub listen: SocketAddr,
    /// The largest body, in bytes (default 1 MiB).
    pub body_bytes: usize,
    /// The time to send the request's head (default 5 s).
    pub header_timeout: Span,
    /// The time for the whole request, answer included (default 30 s).
    pub timeout: Span,
    /// How many connections may be open at once (default 1,024).
    pub connections: usize,
}
