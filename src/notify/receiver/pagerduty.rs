//! `PagerDuty` Events API v2: pages on-call, and takes the page back when it is over.
//!
//! `POST /v2/enqueue` (<https://developer.pagerduty.com/docs/events-api-v2/overview/>). The `dedup_key`
//! is the incident's id, so a repeat is no second page: exactly once. A resolve is always sent,
//! for a trigger whose answer was lost must not stay open; without an open alert it is dropped there.
//! After a resolve the same key opens a new alert. That nobody takes care any more cannot be said.
//! Limits: summary 1,024 characters, event 512 KB. Every part is bounded so that it fits; of what
//! has many, the first are shown: tags, links, alerts (the worst).

use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::by_status::ByStatus;
use super::dialog::{Answer, Ask, Context, Dialog, Step};
use super::exchange::Reach;
use super::printable;
use crate::model::{Change, ChangeKind, Span};
use crate::notify::message::{Message, clock_text, cut};
use crate::notify::{Address, Outcome, SecretSource};

/// The longest summary, in characters.
const SUMMARY_MAX: usize = 1_024;
/// How many alerts and tags are shown, and how much of a tag.
const ALERTS_MAX: usize = 20;
const TAGS_MAX: usize = 50;
const TAG_MAX: usize = 200;
/// The wait after an answer of 429 that names none.
const FLOODED: Span = Span::from_secs(30);

/// The address of the service regions.
pub const US: &str = "https://events.pagerduty.com";
/// The address for accounts in the EU.
pub const EU: &str = "https://events.eu.pagerduty.com";
/// What `severity` may be.
pub const SEVERITIES: [(&str, &str); 4] =
    [("critical", "critical"), ("error", "error"), ("warning", "warning"), ("info", "info")];
/// How long a routing key is.
const KEY_CHARS: usize = 32;

/// What a receiver of this kind goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The API, without `/v2/enqueue`.
    pub url: Address,
    /// The integration key of a service or an event orchestration.
    pub routing_key: SecretSource,
    /// Which severity a status is.
    pub severity: ByStatus,
    /// How it is reached.
    pub reach: Reach,
}

/// Which of [`SEVERITIES`] a status usually is.
pub const SEVERITY: ByStatus =
    ByStatus { critical: "critical", warning: "warning", unknown: "warning", info: "info" };

/// Whether a text can be a routing key.
#[must_use]
pub fn is_key(text: &str) -> bool {
    text.len() == KEY_CHARS && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// What is remembered of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Handle {
    v: u8,
    /// The revision of the newest trigger that was taken.
    triggered: u64,
    /// Whether it is open there.
    open: bool,
}

impl Handle {
    const VERSION: u8 = 1;

    /// Of one that this version does not know nothing is known.
    fn read(text: Option<&str>) -> Option<Self> {
        let held: Self = serde_json::from_str(text?).ok()?;
        (held.v == Self::VERSION).then_some(held)
    }

    fn write(self) -> Box<str> {
        serde_json::to_string(&self).unwrap_or_default().into()
    }
}

impl Dialog for Settings {
    fn secrets(&self) -> Vec<&SecretSource> {
        vec![&self.routing_key]
    }

    fn next(&self, context: &Context<'_>) -> Step {
        if let Some(failed) = context.answers.last().and_then(failure) {
            return failed.into();
        }
        let change = &context.delivery.change;
        let known = Handle::read(context.delivery.handle.as_deref());
        let mut events = Vec::new();
        if !change.is_open() {
            events.push("resolve");
        } else {
            if is_new(change, known) {
                events.push("trigger");
            }
            if change.acknowledged.is_some() {
                events.push("acknowledge");
            }
        }
        let done = context.answers.len();
        let triggered = match (events.first(), known) {
            (Some(&"trigger"), _) if done > 0 => change.revision,
            (_, known) => known.map_or(0, |held| held.triggered),
        };
        let handle = Handle { v: Handle::VERSION, triggered, open: change.is_open() };
        let Some(event) = events.get(done) else { return Step::told_with(handle.write()) };
        let ask = match self.ask(event, context) {
            Ok(ask) => Box::new(ask),
            // A person can put the secret right while we wait; the notice must not be lost.
            Err(why) => return Outcome::Retry { after: None, why }.into(),
        };
        Step::Ask { ask, handle: (done > 0).then(|| handle.write()) }
    }
}

/// Whether it must be triggered: not where all that is new is who takes care of it, and not once more
/// where an earlier attempt got so far.
fn is_new(change: &Change, known: Option<Handle>) -> bool {
    let care = [ChangeKind::Acknowledged, ChangeKind::Assigned];
    let Some(known) = known.filter(|held| held.open) else { return true };
    let only_care = change.kinds.iter().all(|kind| care.contains(kind));
    !(only_care || known.triggered == change.revision)
}

fn failure(answer: &Answer) -> Option<Outcome> {
    Some(match answer.failure()? {
        Outcome::Retry { after, why } => {
            let flooded = answer.status == StatusCode::TOO_MANY_REQUESTS;
            Outcome::Retry { after: after.or(flooded.then_some(FLOODED)), why }
        }
        other => other,
    })
}

impl Settings {
    fn ask(&self, event: &str, context: &Context<'_>) -> Result<Ask, String> {
        let key = context.secrets.first().map(|secret| secret.expose()).unwrap_or_default();
        if !is_key(key) {
            return Err(format!("the routing key is not {KEY_CHARS} letters and digits"));
        }
        let change = &context.delivery.change;
        let mut body = json!({
            "routing_key": key,
            "event_action": event,
            "dedup_key": change.id.to_string(),
        });
        if event == "trigger" {
            let message = Message::new(change, ALERTS_MAX);
            let links =
                message.links.iter().map(|(text, href)| json!({"href": href, "text": text}));
            body["client"] = "Muster".into();
            body["links"] = links.collect();
            body["payload"] = self.payload(change, &message);
        }
        let ask = Ask::json(Method::POST, self.url.below(["v2", "enqueue"]), body);
        Ok(ask.hiding(&["routing_key"]))
    }

    fn payload(&self, change: &Change, message: &Message) -> Value {
        let first = |names: &[Box<str>]| names.first().map(|name| printable(name, TAG_MAX));
        let mut payload = json!({
            "summary": cut(&format!("{} · {}", message.title, message.extent), SUMMARY_MAX),
            "source": first(&change.hosts).filter(|host| !host.is_empty()).unwrap_or("muster".into()),
            "severity": self.severity.of(change.status),
            "timestamp": clock_text(change.started_at),
            "custom_details": details(change, message),
        });
        if let [check] = &*change.checks
            && !check.is_empty()
        {
            payload["component"] = printable(check, TAG_MAX).into();
        }
        if let Some(pair) = &change.pair {
            payload["class"] = printable(&pair.pattern, TAG_MAX).into();
        }
        payload
    }
}

/// What a person sees below the summary; the keys are shown in the order of the alphabet.
fn details(change: &Change, message: &Message) -> Value {
    let alert = |line: &crate::notify::message::Line| match line.text.as_str() {
        "" => format!("{}: {}", line.state, line.name),
        text => format!("{}: {}: {text}", line.state, line.name),
    };
    let mut details = json!({
        "extent": message.extent,
        "time": message.time,
        "news": message.news,
        "grouping": message.grouping,
        "alerts": message.alerts.iter().map(alert).collect::<Vec<_>>(),
        "incident": message.foot,
    });
    if message.more > 0 {
        details["alerts_not_shown"] = message.more.into();
    }
    for (name, text) in [("care", &message.care), ("remark", &message.remark)] {
        if let Some(text) = text {
            details[name] = text.as_str().into();
        }
    }
    let tag = |(name, value): (&str, &crate::model::TagValue)| {
        let values: Vec<&str> = value.values().take(TAGS_MAX).collect();
        (printable(name, TAG_MAX), Value::from(printable(&values.join(", "), TAG_MAX)))
    };
    let tags: Map<String, Value> = change.tags.iter().take(TAGS_MAX).map(tag).collect();
    if !tags.is_empty() {
        details["tags"] = tags.into();
    }
    details
}
