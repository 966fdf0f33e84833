//! Stage 3: tells receivers what an incident is now, where that differs from what they were told.
//!
//! `stage` is the fold, `entry` its rules, `route` who is told, `delivery` what an attempt is;
//! `receiver` carries attempts out and is the only part with I/O. Threads, commits and the clock are
//! `worker::deliver`'s work. It may repeat, under the same id; it never loses and never reorders.

use std::path::PathBuf;

use crate::model::{Matchers, Span};

mod address;
pub mod delivery;
mod entry;
pub mod message;
pub mod receiver;
pub mod route;
#[cfg(test)]
mod rules;
#[cfg(test)]
pub(crate) mod sample;
pub mod stage;

pub use address::Address;
pub use delivery::{Delivery, DeliveryId, Outcome, Report};
pub use entry::ALERTS_MAX;
pub use stage::{Held, Notify, Room};

/// How many pairs of ended incident and receiver are remembered in a partition; beyond it the
/// longest ended is forgotten before `keep` is over, which costs nothing but a repeated first notice
/// should that very incident reopen.
pub const ENDED_MAX: usize = 100_000;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that must use it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// A secret given in the config, or in a file that is read anew at each use, so that a rotated
/// secret is picked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In the config.
    Inline(Secret),
    /// In a file; white space at its end does not count.
    File(PathBuf),
}

/// The kind of a receiver, and what that kind needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiverKind {
    /// Readable lines on the terminal.
    Log,
    /// Alerts of Opsgenie or Jira Service Management.
    Opsgenie(Box<receiver::opsgenie::Settings>),
    /// Pages of `PagerDuty`.
    PagerDuty(Box<receiver::pagerduty::Settings>),
    /// Slack, as a bot or by an incoming webhook.
    Slack(Box<receiver::slack::Settings>),
    /// The incident change as JSON, with Standard Webhooks headers.
    Webhook(Box<receiver::webhook::Settings>),
}

impl ReceiverKind {
    /// Its word in configs.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Opsgenie(it) => it.product.word(),
            Self::PagerDuty(_) => "pagerduty",
            Self::Slack(_) => "slack",
            Self::Webhook(_) => "webhook",
        }
    }

    /// Where it leads to, for people, without secrets; none for what needs no address.
    #[must_use]
    pub fn place(&self) -> Option<String> {
        match self {
            Self::Log => None,
            Self::Opsgenie(it) => Some(it.url.to_string()),
            Self::PagerDuty(it) => Some(it.url.to_string()),
            Self::Slack(it) => it.place(),
            Self::Webhook(it) => Some(it.url.to_string()),
        }
    }

    /// Its secrets by the names of their keys, without the `_file` at their end.
    #[must_use]
    pub fn secrets(&self) -> Vec<(&'static str, &SecretSource)> {
        match self {
            Self::Log => Vec::new(),
            Self::Opsgenie(it) => vec![("api_key", &it.api_key)],
            Self::PagerDuty(it) => vec![("routing_key", &it.routing_key)],
            Self::Slack(it) => it.secret_keys(),
            Self::Webhook(it) => it.secret.iter().map(|held| ("secret", held)).collect(),
        }
    }
}

/// A configured destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiverSettings {
    /// Its name; unique.
    pub name: Box<str>,
    /// What it is.
    pub kind: ReceiverKind,
    /// How many deliveries may be under way at once.
    pub concurrency: usize,
}

/// A node of the routing tree. A child that matches takes the incident, unless it continues; where
/// no child matches, the node's own receiver does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSettings {
    /// Which incidents; the root has none and takes all.
    pub matchers: Matchers,
    /// Who is told; the root always has one, children inherit their parent's.
    pub receiver: Box<str>,
    /// How long an incident may gather before its first notice.
    pub group_wait: Span,
    /// Whether later siblings are asked as well.
    pub cont: bool,
    /// Finer routes, asked in order.
    pub routes: Vec<Self>,
}

/// What notify goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Configured destinations.
    pub receivers: Vec<ReceiverSettings>,
    /// The routing tree; none while there are no receivers.
    pub route: Option<RouteSettings>,
    /// The first wait after a failed attempt (default 1 s); doubles with each further one.
    pub retry_min: Span,
    /// The longest wait between attempts (default 5 min).
    pub retry_max: Span,
    /// The shortest time between two notices of mere growth (default 5 min).
    pub growth_every: Span,
    /// How long after its end a told incident's row is kept (default 24 h).
    pub keep: Span,
    /// Seed of the backoff jitter.
    pub seed: u64,
}
