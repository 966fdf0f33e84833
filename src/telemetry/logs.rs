//! Where log lines go: standard error, as text on a terminal, as JSON elsewhere.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing::warn;
use tracing_subscriber::EnvFilter;

/// Replaces the filter of the subscriber that counts.
type Replace = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

/// Set once logging has started.
static FILTER: OnceLock<Replace> = OnceLock::new();

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging at `level` (`error`, `warn`, `info`, `debug`, or a tracing filter); a second
/// call changes nothing.
pub fn start(level: &str, format: Format) {
    let lines = tracing_subscriber::fmt().with_writer(std::io::stderr);
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        Format::Auto => !terminal,
        Format::Text => false,
        Format::Json => true,
    };
    // Only the first subscriber of a process counts; tests start many runs in one process.
    let (started, replace): (_, Replace) = if json {
        let lines = lines.json().flatten_event(true).with_env_filter(filter(level));
        let lines = lines.with_filter_reloading();
        let handle = lines.reload_handle();
        let replace = move |filter| handle.reload(filter).map_err(|error| error.to_string());
        (lines.try_init(), Box::new(replace))
    } else {
        let lines = lines.with_ansi(terminal).with_env_filter(filter(level));
        let lines = lines.with_filter_reloading();
        let handle = lines.reload_handle();
        let replace = move |filter| handle.reload(filter).map_err(|error| error.to_string());
        (lines.try_init(), Box::new(replace))
    };
    if started.is_ok() {
        drop(FILTER.set(replace));
    }
}

/// Logs at another level from now on.
pub fn set_level(level: &str) {
    let Some(replace) = FILTER.get() else { return };
    if let Err(error) = replace(filter(level)) {
        warn!(error, level, "the log level stays as it was");
    }
}

fn filter(level: &str) -> EnvFilter {
    EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"))
}
