//! What receivers for chats share: marks, alerts on a line, and addresses of hooks, which are secrets
//! as a whole.

use reqwest::Url;

use super::dialog::Context;
use crate::model::{Change, ChangeKind, Status};
use crate::notify::message::{Line, Message};
use crate::notify::{Address, Outcome};

/// How many alerts are named.
pub(super) const ALERTS_MAX: usize = 10;

/// A mark that shows how bad it is to who only glances.
pub(super) const fn mark(message: &Message) -> &'static str {
    match message.severity {
        _ if message.is_over() => "🟢",
        Status::Critical => "🔴",
        Status::Warning => "🟠",
        Status::Unknown => "🟣",
        Status::Info | Status::Ok => "🔵",
    }
}

/// An alert on one line, without markup.
pub(super) fn plain(alert: &Line) -> String {
    let text = if alert.text.is_empty() { String::new() } else { format!(": {}", alert.text) };
    format!("• {} {}{text}", alert.state, alert.name)
}

/// Whether people should look again: what is edited in place makes no sound.
pub(super) fn is_loud(change: &Change) -> bool {
    let loud = [ChangeKind::Worsened, ChangeKind::Reopened, ChangeKind::Released];
    change.is_open() && change.kinds.iter().any(|kind| loud.contains(kind))
}

/// The address in the first secret. That it is none can be put right while we wait.
pub(super) fn hook(context: &Context<'_>) -> Result<Url, Outcome> {
    let text = context.secrets.first().map(crate::notify::Secret::expose).unwrap_or_default();
    Address::parse(text).map(|address| address.expose().clone()).map_err(|rule| Outcome::Retry {
        after: None,
        why: format!("the address of the hook {rule}"),
    })
}
