//! Carries attempts out: one file for each kind of receiver.
//!
//! A receiver gets a [`Delivery`] and answers with a [`Report`]; when to try again, and what is then
//! said, is not its business. Whatever happens outside, an attempt ends within a bounded time.

use std::fmt::Write as _;
use std::sync::Arc;

use super::{Delivery, ReceiverKind, ReceiverSettings, Report};
use crate::clock::SharedClock;

pub mod by_status;
mod chat;
pub mod dialog;
pub mod exchange;
pub mod log;
pub mod opsgenie;
#[cfg(test)]
mod paged;
pub mod pagerduty;
pub mod slack;
#[cfg(test)]
pub(crate) mod table;
pub mod webhook;

use dialog::Dialog;
use exchange::{Exchange, Reach};

/// A receiver that can be told.
#[derive(Clone)]
pub enum Receiver {
    /// Readable lines.
    Log(log::Log),
    /// Over HTTP.
    Http(Exchange),
}

/// A receiver cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("receiver `{name}` cannot be set up: {why}")]
pub struct SetupError {
    /// Which.
    pub name: String,
    /// What is wrong.
    pub why: String,
}

impl Receiver {
    /// Sets a receiver up; nothing is sent. `lines` is where receivers of kind `log` write.
    ///
    /// # Errors
    /// When its settings cannot be used on this machine.
    pub fn new(
        settings: &ReceiverSettings,
        clock: SharedClock,
        lines: &log::Lines,
    ) -> Result<Self, SetupError> {
        match dialog(&settings.kind) {
            None => Ok(Self::Log(log::Log::new(lines.clone()))),
            Some((dialog, reach)) => Exchange::new(dialog, reach, clock)
                .map(Self::Http)
                .map_err(|why| SetupError { name: settings.name.to_string(), why }),
        }
    }

    /// Makes one attempt.
    pub async fn deliver(&self, delivery: &Delivery) -> Report {
        match self {
            Self::Log(log) => log.deliver(delivery).await.into(),
            Self::Http(exchange) => exchange.deliver(delivery).await,
        }
    }
}

/// How a receiver of a kind is spoken to, where that is over HTTP, and how it is reached.
#[must_use]
pub fn dialog(kind: &ReceiverKind) -> Option<(Arc<dyn Dialog>, &Reach)> {
    match kind {
        ReceiverKind::Log => None,
        ReceiverKind::Opsgenie(it) => Some((Arc::new((**it).clone()), &it.reach)),
        ReceiverKind::PagerDuty(it) => Some((Arc::new((**it).clone()), &it.reach)),
        ReceiverKind::Slack(it) => Some((Arc::new((**it).clone()), &it.reach)),
        ReceiverKind::Webhook(it) => Some((Arc::new((**it).clone()), &it.reach)),
    }
}

/// Text of others, safe on a terminal and in one line of a log: what would move the cursor, colour
/// or turn around what follows is shown by its number; cut after `max` characters.
#[must_use]
pub fn printable(text: &str, max: usize) -> String {
    let mut safe = String::with_capacity(text.len().min(max));
    for (count, c) in text.chars().enumerate() {
        if count == max {
            safe.push('…');
            break;
        }
        if steers(c) {
            write!(safe, "\\u{{{:x}}}", u32::from(c)).expect("a string takes all");
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Control characters, and those that change direction, hide, or end a line.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_cannot_steer_a_terminal() {
        let shown = printable("disk\x1b[2J full\r\nFAKE \u{202e}line\u{9b}31m", 100);
        assert_eq!(shown, "disk\\u{1b}[2J full\\u{d}\\u{a}FAKE \\u{202e}line\\u{9b}31m");
        assert_eq!(printable("größe ✓", 100), "größe ✓");
    }

    #[test]
    fn long_text_is_cut_and_says_so() {
        assert_eq!(printable("abcdef", 3), "abc…");
        assert_eq!(printable("abc", 3), "abc");
    }
}
