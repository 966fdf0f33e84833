//! What is said over HTTP to a system that takes notices: questions and answers, without I/O.
//!
//! A receiver of such a kind is a [`Dialog`]: from a delivery and the answers so far it says what to
//! ask next, or how it ended. So the exact requests can be shown and tested without sending any;
//! `exchange` carries them out. A dialog that breaks off begins anew with the next attempt, with
//! what it asked to have remembered: it must find what it made before, or say that it repeats.

use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use super::printable;
use crate::model::{Span, Timestamp};
use crate::notify::{Delivery, Outcome, Report, Secret, SecretSource};

/// The most questions of one attempt; a dialog that goes on is broken off and repeated later.
pub const ASKS_MAX: usize = 12;
/// How much of an answer is shown, in characters.
pub const SHOWN_MAX: usize = 200;

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// How.
    pub method: Method,
    /// Where; may hold a secret.
    pub url: Url,
    /// What goes along, names in lower case.
    pub headers: Vec<(&'static str, Secret)>,
    /// What is said; none for questions.
    pub body: Option<Body>,
    /// The top keys of a JSON body whose values are secrets.
    pub hidden: &'static [&'static str],
}

/// What is said.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// As `application/json`.
    Json(Value),
    /// Bytes with their own `content-type`, which is among the headers.
    Bytes(Vec<u8>),
}

impl Ask {
    /// Says something as JSON.
    #[must_use]
    pub fn json(method: Method, url: Url, body: Value) -> Self {
        Self { method, url, headers: Vec::new(), body: Some(Body::Json(body)), hidden: &[] }
    }

    /// Asks for something.
    #[must_use]
    pub fn get(url: Url) -> Self {
        Self { method: Method::GET, url, headers: Vec::new(), body: None, hidden: &[] }
    }

    /// With a header; the name in lower case.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, Secret::new(value)));
        self
    }

    /// With these top keys of its JSON body never shown.
    #[must_use]
    pub fn hiding(mut self, keys: &'static [&'static str]) -> Self {
        self.hidden = keys;
        self
    }

    /// The request as text, as it goes out but for its secrets, of which `***` is shown.
    #[must_use]
    pub fn shown(&self) -> String {
        use std::fmt::Write as _;
        let mut text = format!("{} {}\n", self.method, without_secrets(&self.url));
        for (name, value) in &self.headers {
            let value = if is_open(name) { value.expose() } else { "***" };
            writeln!(text, "{name}: {value}").expect("a string takes all");
        }
        match &self.body {
            Some(Body::Json(value)) => {
                let mut value = value.clone();
                for key in self.hidden {
                    if let Some(held) = value.get_mut(key) {
                        *held = "***".into();
                    }
                }
                if !self.headers.iter().any(|(name, _)| *name == "content-type") {
                    text += "content-type: application/json\n";
                }
                text.push('\n');
                text += &serde_json::to_string_pretty(&value).unwrap_or_default();
            }
            Some(Body::Bytes(bytes)) => {
                text.push('\n');
                text += &String::from_utf8_lossy(bytes);
            }
            None => {}
        }
        text.trim_end().to_owned() + "\n"
    }
}

/// Headers whose values are no secrets.
fn is_open(name: &str) -> bool {
    ["accept", "content-type", "idempotency-key", "webhook-id", "webhook-timestamp"].contains(&name)
}

/// An address without user, password and query, and with its path only where that is one of an API
/// and not of a hook: `/hooks/…`, `/services/…` and the like are secrets.
#[must_use]
pub fn without_secrets(url: &Url) -> String {
    let mut shown = url.clone();
    let hidden = url.query().is_some();
    shown.set_query(None);
    shown.set_fragment(None);
    // Fails only where there is no host, and then there is nothing to hide.
    let _no_user = shown.set_username("");
    let _no_password = shown.set_password(None);
    let hook = ["/hooks/", "/services/", "/workflows/", "/webhook", "/bot", "/triggers/"];
    if hook.iter().any(|part| url.path().contains(part)) {
        shown.set_path("/***");
    }
    if hidden { format!("{shown}?***") } else { shown.to_string() }
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The wait that it asks for.
    pub after: Option<Span>,
    /// The beginning of its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Its body as JSON; null where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The beginning of its body, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        printable(&String::from_utf8_lossy(&self.body), SHOWN_MAX)
    }

    /// How it ends an attempt by its status; none where it is good.
    #[must_use]
    pub fn failure(&self) -> Option<Outcome> {
        if self.status.is_success() {
            return None;
        }
        let why = format!("answered {}: {}", self.status, self.shown());
        Some(if passes(self.status) {
            Outcome::Retry { after: self.after, why }
        } else {
            Outcome::SetAside { why }
        })
    }

    /// That it cannot be read, though its status is good: what was done is not known.
    #[must_use]
    pub fn unreadable(&self, wanted: &str) -> Outcome {
        let why = format!("answered {} without {wanted}: {}", self.status, self.shown());
        Outcome::Retry { after: None, why }
    }
}

/// Whether the same request may succeed later.
#[must_use]
pub fn passes(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
}

/// What comes next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A request.
    Ask {
        /// Which.
        ask: Box<Ask>,
        /// What is to be remembered should it fail.
        handle: Option<Box<str>>,
    },
    /// The end.
    Done(Report),
}

impl Step {
    /// A request after which nothing new is to be remembered.
    #[must_use]
    pub fn ask(ask: Ask) -> Self {
        Self::Ask { ask: Box::new(ask), handle: None }
    }

    /// It is told; nothing new is to be remembered.
    #[must_use]
    pub fn told() -> Self {
        Self::Done(Outcome::Delivered.into())
    }

    /// It is told, and this is to be remembered.
    #[must_use]
    pub fn told_with(handle: impl Into<Box<str>>) -> Self {
        Self::Done(Report { outcome: Outcome::Delivered, handle: Some(handle.into()) })
    }
}

impl From<Outcome> for Step {
    fn from(outcome: Outcome) -> Self {
        Self::Done(outcome.into())
    }
}

/// What an attempt goes by.
pub struct Context<'a> {
    /// What is said, to whom.
    pub delivery: &'a Delivery,
    /// The time of the attempt.
    pub now: Timestamp,
    /// The secrets as they are now, in the order of [`Dialog::secrets`].
    pub secrets: &'a [Secret],
    /// What was answered so far.
    pub answers: &'a [Answer],
}

/// A receiver that is spoken to over HTTP.
pub trait Dialog: Send + Sync {
    /// What must be read from the config or a file before each attempt.
    fn secrets(&self) -> Vec<&SecretSource> {
        Vec::new()
    }

    /// What to ask next. The same context gives the same step.
    fn next(&self, context: &Context<'_>) -> Step;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    #[test]
    fn what_is_shown_holds_no_secret() {
        let ask = Ask::json(
            Method::POST,
            url("https://u:p@hooks.example/services/T0/B0/x1?sig=y2"),
            serde_json::json!({"text": "z", "key": "k4"}),
        )
        .hiding(&["key", "none"])
        .with("authorization", "Bearer x3")
        .with("idempotency-key", "msg_1");
        let shown = ask.shown();
        for secret in ["u:p", "x1", "y2", "x3", "k4"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("POST https://hooks.example/***?***\n"), "{shown}");
        assert!(shown.contains("authorization: ***\nidempotency-key: msg_1\n"), "{shown}");
        let api = url("https://api.example/v1/pages/7/incidents");
        assert_eq!(without_secrets(&api), api.as_str());
    }

    #[test]
    fn what_may_pass_is_told_from_what_never_will() {
        let passing = [408, 425, 429, 500, 502, 503, 504, 599];
        let lasting = [301, 302, 307, 400, 401, 403, 404, 409, 410, 413, 422];
        let passes = |code: &u16| passes(StatusCode::from_u16(*code).expect("a status"));
        assert!(passing.iter().all(passes) && !lasting.iter().any(passes));
    }
}
