//! Alerts of Opsgenie, and of its successor, the operations of Jira Service Management: one API.
//!
//! `/v2/alerts` (<https://docs.opsgenie.com/docs/alert-api>), with the key of an API integration. The
//! `alias` is the incident's id, so a repeated create is no second alert, and acknowledge and close
//! may be repeated: exactly once. Notes have no key: at least once; each names its revision. Answers
//! of 202 are a queue: that somebody was told is not proven. A close is always sent, for a create whose answer
//! was lost must not stay open. Limits: message 130 characters, description 15,000, note 25,000,
//! details 8,000 together, entity 512, 20 tags of 50. Cut first: details, then alerts after the worst.

use std::fmt::Write as _;

use reqwest::{Method, StatusCode, Url};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::by_status::ByStatus;
use super::dialog::{Answer, Ask, Context, Dialog, Step};
use super::exchange::Reach;
use super::printable;
use crate::model::{Change, ChangeKind};
use crate::notify::message::{Message, cut};
use crate::notify::{Address, Outcome, SecretSource};

/// Limits of the API, in characters.
const MESSAGE_MAX: usize = 130;
const DESCRIPTION_MAX: usize = 15_000;
const NOTE_MAX: usize = 25_000;
const DETAILS_MAX: usize = 8_000;
const ENTITY_MAX: usize = 512;
/// How many alerts are shown, and how much of a tag.
const ALERTS_MAX: usize = 20;
const TAG_MAX: usize = 200;
/// The longest key that is taken for one.
const KEY_MAX: usize = 256;

/// The address of Opsgenie.
pub const US: &str = "https://api.opsgenie.com";
/// The address of Opsgenie for accounts in the EU.
pub const EU: &str = "https://api.eu.opsgenie.com";
/// The address of Jira Service Management.
pub const JSM: &str = "https://api.atlassian.com/jsm/ops/integration";
/// What `priority` may be, the worst first.
pub const PRIORITIES: [(&str, &str); 5] =
    [("P1", "P1"), ("P2", "P2"), ("P3", "P3"), ("P4", "P4"), ("P5", "P5")];

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// Ends on 2027-04-05.
    Opsgenie,
    /// Jira Service Management.
    JsmOps,
}

impl Product {
    /// Its word in configs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Opsgenie => "opsgenie",
            Self::JsmOps => "jsm_ops",
        }
    }
}

/// What a receiver of this kind goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Which of the two.
    pub product: Product,
    /// The API, without `/v2/alerts`.
    pub url: Address,
    /// The key of an API integration.
    pub api_key: SecretSource,
    /// Which priority a status is.
    pub priority: ByStatus,
    /// Who is to respond: type and name.
    pub responders: Vec<(&'static str, Box<str>)>,
    /// Tags of every alert.
    pub tags: Vec<Box<str>>,
    /// How it is reached.
    pub reach: Reach,
}

/// Which of [`PRIORITIES`] a status usually is.
pub const PRIORITY: ByStatus =
    ByStatus { critical: "P1", warning: "P3", unknown: "P3", info: "P5" };

/// Whether a text can be a key.
#[must_use]
pub fn is_key(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !text.is_empty() && text.len() <= KEY_MAX && text.bytes().all(fits)
}

/// What is remembered of an incident.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Handle {
    v: u8,
    /// Whether it is open there.
    open: bool,
    /// The priority it has there.
    priority: String,
    /// Whether it is acknowledged there.
    acknowledged: bool,
    /// The revision that is being told, and how many requests of it were taken.
    revision: u64,
    done: usize,
}

impl Handle {
    const VERSION: u8 = 1;

    /// Of one that this version does not know nothing is known.
    fn read(text: Option<&str>) -> Self {
        let held: Option<Self> = text.and_then(|text| serde_json::from_str(text).ok());
        let held = held.filter(|held| held.v == Self::VERSION);
        held.unwrap_or(Self { v: Self::VERSION, ..Self::default() })
    }

    fn write(&self) -> Box<str> {
        serde_json::to_string(self).unwrap_or_default().into()
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Create,
    Priority,
    Note,
    Acknowledge,
    Unacknowledge,
    Close,
}

impl Dialog for Settings {
    fn secrets(&self) -> Vec<&SecretSource> {
        vec![&self.api_key]
    }

    fn next(&self, context: &Context<'_>) -> Step {
        let change = &context.delivery.change;
        let mut held = Handle::read(context.delivery.handle.as_deref());
        // What an earlier attempt said of this revision is in the handle already.
        for answer in context.answers {
            let Some(act) = self.act(change, &held) else { break };
            if let Some(failed) = failure(act, answer) {
                return failed.into();
            }
            self.take(change, &mut held, act);
        }
        let Some(act) = self.act(change, &held) else { return Step::told_with(held.write()) };
        let Some(key) = context.secrets.first().filter(|key| is_key(key.expose())) else {
            // A person can put the secret right while we wait; the notice must not be lost.
            let why = "the API key is not one word of letters, digits and dashes".to_owned();
            return Outcome::Retry { after: None, why }.into();
        };
        let ask = self.ask(act, change).with("authorization", format!("GenieKey {}", key.expose()));
        let handle = (!context.answers.is_empty()).then(|| held.write());
        Step::Ask { ask: Box::new(ask), handle }
    }
}

impl Settings {
    /// What is left to be said of a change, given what was.
    fn act(&self, change: &Change, held: &Handle) -> Option<Act> {
        let done = if held.revision == change.revision { held.done } else { 0 };
        // One bit an act, so that an attempt that broke off goes on where it was.
        let is_left = |act: Act| done & (1 << act as usize) == 0;
        if !change.is_open() {
            return is_left(Act::Close).then_some(Act::Close);
        }
        if is_left(Act::Create) && (!held.open || is_anew(change)) {
            return Some(Act::Create);
        }
        let priority = self.priority.of(change.status);
        if is_left(Act::Priority) && held.priority != priority {
            return Some(Act::Priority);
        }
        if is_left(Act::Note) && !is_only_care(change) {
            return Some(Act::Note);
        }
        match (change.acknowledged.is_some(), held.acknowledged) {
            (true, false) => Some(Act::Acknowledge),
            (false, true) => Some(Act::Unacknowledge),
            _ => None,
        }
    }

    /// An act was taken.
    fn take(&self, change: &Change, held: &mut Handle, act: Act) {
        if held.revision != change.revision {
            (held.revision, held.done) = (change.revision, 0);
        }
        held.done |= 1 << act as usize;
        match act {
            Act::Create if !held.open => {
                (held.open, held.acknowledged) = (true, false);
                // All that a note would say is in it; of one that was there it changes nothing.
                held.done |= 1 << Act::Note as usize;
                held.priority = self.priority.of(change.status).to_owned();
            }
            Act::Priority => held.priority = self.priority.of(change.status).to_owned(),
            Act::Acknowledge => held.acknowledged = true,
            Act::Unacknowledge => held.acknowledged = false,
            Act::Close => (held.open, held.acknowledged) = (false, false),
            Act::Create | Act::Note => {}
        }
    }

    fn ask(&self, act: Act, change: &Change) -> Ask {
        let message = Message::new(change, ALERTS_MAX);
        let by = change.acknowledged.as_ref().map(|held| printable(&held.by, TAG_MAX));
        let note = |text: &str| json!({"source": "Muster", "note": cut(text, NOTE_MAX)});
        match act {
            Act::Create => Ask::json(Method::POST, self.alerts(), self.alert(change, &message)),
            Act::Priority => {
                let body = json!({"priority": self.priority.of(change.status)});
                Ask::json(Method::PUT, self.of(change, "priority"), body)
            }
            Act::Note => {
                let body = note(&text(&message, &message.headline()));
                Ask::json(Method::POST, self.of(change, "notes"), body)
            }
            Act::Acknowledge => {
                let body = note(&format!("acknowledged in Muster by {}", by.unwrap_or_default()));
                Ask::json(Method::POST, self.of(change, "acknowledge"), body)
            }
            Act::Unacknowledge => {
                let body = note("nobody takes care of it any more");
                Ask::json(Method::POST, self.of(change, "unacknowledge"), body)
            }
            Act::Close => {
                let body = note(&format!("{} · {}", message.time, message.foot));
                Ask::json(Method::POST, self.of(change, "close"), body)
            }
        }
    }

    fn alerts(&self) -> Url {
        self.url.below(["v2", "alerts"])
    }

    fn of(&self, change: &Change, what: &str) -> Url {
        let mut url = self.url.below(["v2", "alerts", &change.id.to_string(), what]);
        url.query_pairs_mut().append_pair("identifierType", "alias");
        url
    }

    fn alert(&self, change: &Change, message: &Message) -> Value {
        let responders = self.responders.iter().map(|(kind, name)| {
            let key = if *kind == "user" { "username" } else { "name" };
            json!({"type": kind, key: name})
        });
        let hosts: Vec<&str> = change.hosts.iter().map(|host| &**host).collect();
        json!({
            "message": cut(&message.title, MESSAGE_MAX),
            "alias": change.id.to_string(),
            "description": cut(&text(message, &message.title), DESCRIPTION_MAX),
            "responders": responders.collect::<Vec<_>>(),
            "tags": self.tags,
            "details": details(change),
            "entity": printable(&hosts.join(", "), ENTITY_MAX / 8),
            "source": "Muster",
            "priority": self.priority.of(change.status),
        })
    }
}

/// Whether it may have been closed there by hand, and must be told as if it were new; where it is
/// still open that does no more than count.
fn is_anew(change: &Change) -> bool {
    let anew = [ChangeKind::Opened, ChangeKind::Reopened, ChangeKind::Worsened];
    change.kinds.iter().any(|kind| anew.contains(kind))
}

/// Whether all that is new is who takes care of it.
fn is_only_care(change: &Change) -> bool {
    let care = [ChangeKind::Acknowledged, ChangeKind::Unacknowledged];
    change.kinds.iter().all(|kind| care.contains(kind))
}

/// How an answer ends the attempt; none where it goes on.
fn failure(act: Act, answer: &Answer) -> Option<Outcome> {
    let gone = answer.status == StatusCode::NOT_FOUND;
    // What is not there needs no close; and a priority that cannot be set is in the note.
    let passed = match act {
        Act::Close => gone,
        Act::Priority => gone || answer.status == StatusCode::METHOD_NOT_ALLOWED,
        _ => false,
    };
    answer.failure().filter(|_| !passed)
}

/// Facts, alerts and links, as plain text.
fn text(message: &Message, first: &str) -> String {
    const STRING: &str = "a string takes all";
    let mut text = first.to_owned();
    for fact in message.facts() {
        write!(text, "\n{fact}").expect(STRING);
    }
    for (name, url) in &message.links {
        write!(text, "\n{name}: {url}").expect(STRING);
    }
    for line in &message.alerts {
        write!(text, "\n{}: {}", line.state, line.name).expect(STRING);
        if !line.text.is_empty() {
            write!(text, ": {}", line.text).expect(STRING);
        }
    }
    if message.more > 0 {
        write!(text, "\n… and {} more alerts", message.more).expect(STRING);
    }
    write!(text, "\n{}", message.foot).expect(STRING);
    text
}

/// The tags all its alerts have in common, as many as there is room for.
fn details(change: &Change) -> Map<String, Value> {
    let mut left = DETAILS_MAX;
    let mut details = Map::new();
    for (name, value) in change.tags.iter() {
        let values: Vec<&str> = value.values().take(TAG_MAX).collect();
        let name = printable(name, TAG_MAX);
        let value = printable(&values.join(", "), TAG_MAX);
        let chars = name.chars().count() + value.chars().count();
        if chars > left {
            break;
        }
        left -= chars;
        details.insert(name, value.into());
    }
    details
}
