//! `api` and `log`: what the process shows to the outside.

use std::net::SocketAddr;

use tracing_subscriber::EnvFilter;

use super::read::{Node, size};
use crate::api::Settings;
use crate::model::Span;
use crate::telemetry::logs::Format;

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
const TEN_MILLIS: Span = Span::from_millis(10);

pub(super) fn read_api(mut node: Node<'_>) -> Settings {
    let listen = node.text("listen").unwrap_or_else(|| LISTEN.to_owned());
    let parsed: Option<SocketAddr> = listen.parse().ok();
    if parsed.is_none() {
        let rule = "is not an address and a port, such as 127.0.0.1:8080 or [::]:8080";
        node.broken("listen", Some(&listen), rule);
    }
    let body_bytes = node.bytes("body_bytes", 1 << 20, 1 << 10, 64 << 20);
    let header_timeout =
        node.span("header_timeout", Span::from_secs(5), TEN_MILLIS, Span::from_secs(300));
    let timeout = node.span("timeout", Span::from_secs(30), TEN_MILLIS, Span::from_secs(600));
    let connections = node.count("connections", 1_024, 1, 1_000_000);
    node.finish();
    Settings {
        listen: parsed.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8_080))),
        body_bytes: size(body_bytes),
        header_timeout,
        timeout,
        connections: size(connections),
        // Said beside the sources.
        ..Settings::default()
    }
}

/// Loopback: whoever reaches the port may read and send.
const LISTEN: &str = "127.0.0.1:8080";

pub(super) fn read_log(mut node: Node<'_>) -> (String, Format) {
    let level = node.text("level").unwrap_or_else(|| "info".to_owned());
    // A filter takes any word as the name of a module, so that a typo of a level would be silent.
    let filter = level.contains(['=', ',']) && EnvFilter::try_new(&level).is_ok();
    if !filter && !LEVELS.contains(&level.as_str()) {
        let rule = format!("is none of {} nor a filter like muster=debug", LEVELS.join(", "));
        node.broken("level", Some(&level), rule);
    }
    let formats = [("auto", Format::Auto), ("text", Format::Text), ("json", Format::Json)];
    let format = node.word("format", Format::Auto, &formats);
    node.finish();
    (level, format)
}
