//! Who may send: tokens per source, and what each request shows of them.
//!
//! A source with tokens takes what shows one of them; a source without takes everything. Tokens are
//! kept as hashes only: they are random and long, so that a plain SHA-256 gives nothing away. What a
//! request shows is hashed, held against all hashes in constant time, and forgotten: a token in a body
//! is replaced by its source's name before anything else sees that body, one in a header or in the
//! address goes no further than here. None is ever logged.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tracing::debug;

use super::failure::Failure;
use super::signatures::{self, Signature};
use super::take::Taken;
use super::{Parts, sns};
use crate::collect::Origin;
use crate::decoders::{Decoder, form};
use crate::model::alert::MUSTER;

/// A header of our own that may hold a token, for senders that use the others up.
pub(super) const TOKEN_HEADER: &str = "x-muster-token";
/// Names of the query under which senders have keys.
const IN_QUERY: [&str; 9] = [
    "token",
    "access_token",
    "auth_token",
    "api_key",
    "apikey",
    "app_key",
    "routing_key",
    "service_key",
    "integration_key",
];
/// How many keys of one request are looked at.
const SHOWN_MAX: usize = 16;
/// The longest token that is looked at, in bytes.
const TOKEN_BYTES: usize = 1_024;
const PREFIX: &str = "sha256:";

/// The SHA-256 of a token: all that is kept of it.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Reads `sha256:` and 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.trim().strip_prefix(PREFIX)?;
        signatures::from_hex(digits)?.try_into().ok().map(Self)
    }

    /// Whether both are the same; takes as long whatever they are.
    fn is(&self, other: &Self) -> bool {
        let apart = self.0.iter().zip(other.0).fold(0, |apart, (one, two)| apart | (one ^ two));
        std::hint::black_box(apart) == 0
    }
}

impl std::fmt::Display for TokenHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// What a source asks of whoever sends for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The source.
    pub source: Arc<str>,
    /// Any of these lets in; none asks for no token, unless `defaults` has some.
    pub tokens: Vec<TokenHash>,
    /// What every body is signed with.
    pub signature: Option<Signature>,
    /// The only topics of SNS that may send; none: SNS is not asked who it is.
    pub topics: Vec<Box<str>>,
}

impl Sender {
    /// A source that asks for nothing.
    pub fn open(source: impl Into<Arc<str>>) -> Self {
        Self { source: source.into(), tokens: Vec::new(), signature: None, topics: Vec::new() }
    }
}

/// What all sources ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Senders {
    listed: Vec<Sender>,
    /// What goes for all others, and gives those listed their tokens where they have none.
    defaults: Sender,
}

impl Default for Senders {
    fn default() -> Self {
        Self { listed: Vec::new(), defaults: Sender::open("defaults") }
    }
}

impl Senders {
    /// Of the sources that are listed, and all others.
    #[must_use]
    pub fn new(listed: Vec<Sender>, defaults: Sender) -> Self {
        Self { listed, defaults }
    }

    /// The sources that anybody may send for.
    pub fn open(&self) -> impl Iterator<Item = &str> {
        let all = self.listed.iter().chain([&self.defaults]);
        let open = all.filter(|sender| {
            self.tokens(&sender.source).is_empty()
                && sender.signature.is_none()
                && sender.topics.is_empty()
        });
        open.map(|sender| &*sender.source)
    }

    /// The files that secrets of signatures are read from, each with its source.
    pub fn secret_files(&self) -> impl Iterator<Item = (&str, &std::path::Path)> {
        let all = self.listed.iter().chain([&self.defaults]);
        all.filter_map(|sender| Some((&*sender.source, &*sender.signature.as_ref()?.secret_file)))
    }

    fn find(&self, source: &str) -> Option<&Sender> {
        self.listed.iter().find(|sender| *sender.source == *source)
    }

    fn of(&self, source: &str) -> &Sender {
        self.find(source).unwrap_or(&self.defaults)
    }

    /// The tokens of which one lets a source in; none where nobody asks.
    fn tokens(&self, source: &str) -> &[TokenHash] {
        let own = &self.of(source).tokens;
        if own.is_empty() { &self.defaults.tokens } else { own }
    }

    fn has_tokens(&self) -> bool {
        self.listed.iter().chain([&self.defaults]).any(|sender| !sender.tokens.is_empty())
    }

    /// The source that one of the hashes is a token of, where it is a single source's.
    fn named_by(&self, shown: &[Shown]) -> Option<&Sender> {
        self.listed.iter().find(|sender| any(&sender.tokens, shown).is_some())
    }
}

/// Which of what was shown is one of the tokens; looks at all of them in any case.
fn any(tokens: &[TokenHash], shown: &[Shown]) -> Option<usize> {
    let mut found = None;
    for (at, one) in shown.iter().enumerate() {
        for token in tokens {
            if token.is(&one.hash) {
                found = Some(at);
            }
        }
    }
    found
}

/// Where a request is addressed to.
#[derive(Clone, Copy)]
pub(super) enum To<'a> {
    /// Events that name their sources themselves.
    Any,
    /// A source by its name, or the format of this name.
    Source(&'a str),
    /// An address of another system's, whose format this is: the source that the token names, or else
    /// the one that bears the format's name.
    Format(&'static Decoder),
}

impl To<'_> {
    /// Refuses what is addressed to nobody.
    pub(super) fn exists(self, parts: &Parts) -> Result<(), Failure> {
        match self {
            Self::Source(name) => origin(parts, name).map(|_| ()),
            Self::Any | Self::Format(_) => Ok(()),
        }
    }
}

fn origin(parts: &Parts, name: &str) -> Result<Origin, Failure> {
    parts.collect.get().origin(Origin::HTTP, name).map_err(|why| {
        Failure::new(StatusCode::NOT_FOUND, "no_such_source", why.to_string()).close()
    })
}

/// A request that may be taken, and for whom.
pub(super) struct Admitted {
    /// Where its payload came in, and what reads it.
    pub(super) origin: Origin,
    senders: Arc<Senders>,
    shown: Vec<Shown>,
}

impl Admitted {
    /// Whether its sender may speak for a source: the one it was let in for, one that asks for nothing,
    /// or one whose token it shows. For sources that are not listed any token of Muster's will do.
    pub(super) fn may(&self, source: &str) -> bool {
        if self.origin.source.as_deref() == Some(source) {
            return true;
        }
        let senders = &self.senders;
        let tokens = senders.tokens(source);
        let has_token = tokens.is_empty()
            || any(tokens, &self.shown).is_some()
            || senders.find(source).is_none() && senders.named_by(&self.shown).is_some();
        let sender = senders.of(source);
        // Who must sign can do so at the source's own address only.
        let signs = sender.signature.is_some() || !sender.topics.is_empty();
        has_token && !(signs && senders.find(source).is_some())
    }

    /// Refuses a request with an event of a source that its sender may not speak for, and counts it.
    pub(super) fn refuse(&self, parts: &Parts, source: &str) -> Failure {
        count(parts, source, Why::of(&self.shown));
        let message = format!(
            "events of the source `{source}` need a token of that source; nothing was taken"
        );
        Failure::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }
}

/// Why a sender was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// No token was shown.
    NoToken,
    /// What was shown is no token of this source.
    WrongToken,
    /// The signature is missing.
    NoSignature,
    /// The signature is another one.
    WrongSignature,
    /// What was signed is too old, or not yet due.
    WrongTime,
    /// SNS says so, but the topic is not one that may send.
    WrongTopic,
}

impl Why {
    fn of(shown: &[Shown]) -> Self {
        if shown.is_empty() { Self::NoToken } else { Self::WrongToken }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::WrongToken => "wrong_token",
            Self::NoSignature => "no_signature",
            Self::WrongSignature => "wrong_signature",
            Self::WrongTime => "wrong_time",
            Self::WrongTopic => "wrong_topic",
        }
    }
}

/// Refuses a sender, and counts it.
pub(super) fn refuse(parts: &Parts, source: &str, why: Why) -> Failure {
    count(parts, source, why);
    let message = match why {
        Why::NoToken => "this source takes events with a token only, and none was shown",
        Why::WrongToken => "what was shown is no token of this source",
        Why::NoSignature => "this source takes signed bodies only, and the signature is missing",
        Why::WrongSignature => "the signature is not that of this body with this source's secret",
        Why::WrongTime => "what was signed is too old, or a clock is wrong: look at both",
        Why::WrongTopic => "this source takes events of its own topics of SNS only (sns_topics)",
    };
    Failure::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
}

fn count(parts: &Parts, source: &str, why: Why) {
    // Anybody can make names up: only those of the config are labels.
    let settings = parts.settings.get();
    let label = settings.senders.find(source).map_or("other", |sender| &*sender.source);
    let why = why.as_str();
    debug!(source = label, reason = why, "sender refused");
    parts.metrics.senders_refused.with_label_values(&[label, why]).inc();
}

/// Lets a request in, or says why not; hides a token in its body.
pub(super) async fn admit(
    parts: &Parts,
    to: To<'_>,
    taken: &mut Taken,
) -> Result<Admitted, Failure> {
    let senders = Arc::clone(&parts.settings.get().senders);
    let asked = match to {
        To::Any => Origin::canonical(Origin::HTTP),
        To::Source(name) => origin(parts, name)?,
        To::Format(decoder) => {
            Origin { format: Some(decoder), ..Origin::of_source(Origin::HTTP, decoder.name) }
        }
    };
    let decoder = parts.collect.get().decoder(&asked).map(|decoder| decoder.name);
    let shown = if senders.has_tokens() { shown(taken, decoder) } else { Vec::new() };
    let named = matches!(to, To::Format(_)).then(|| senders.named_by(&shown)).flatten();
    let origin = match named {
        Some(sender) => Origin { source: Some(Arc::clone(&sender.source)), ..asked },
        None => asked,
    };
    if let Some(source) = &origin.source {
        let tokens = senders.tokens(source);
        if !tokens.is_empty() && any(tokens, &shown).is_none() {
            return Err(refuse(parts, source, Why::of(&shown)));
        }
        let sender = senders.of(source);
        if let Some(signature) = &sender.signature {
            signatures::check(parts, source, signature, taken).await?;
        }
        if decoder == Some("cloudwatch") || !sender.topics.is_empty() {
            sns::check(parts, source, &sender.topics, taken).await?;
        }
    }
    hide(&senders, origin.source.as_deref(), &shown, taken);
    Ok(Admitted { origin, senders, shown })
}

/// A key that a request shows.
struct Shown {
    hash: TokenHash,
    /// Where it is in the body, if there, and how it is written.
    at: Option<Place>,
}

/// Where a key is in a body, and how it is written there.
type Place = (Range<usize>, Written);

#[derive(Clone, Copy)]
enum Written {
    Json,
    Form,
}

/// Everything in a request that may be a token: headers, query, and the fields that the format has for
/// it.
fn shown(taken: &Taken, decoder: Option<&str>) -> Vec<Shown> {
    let mut keys: Vec<(Cow<'_, str>, Option<Place>)> =
        in_headers(&taken.headers).into_iter().map(|key| (key, None)).collect();
    for (name, value) in taken.query() {
        if IN_QUERY.contains(&name.to_ascii_lowercase().as_str()) {
            keys.push((Cow::Owned(value), None));
        }
    }
    let in_body = match decoder {
        Some("pagerduty" | "bigpanda") => in_json(&taken.bytes),
        Some("nagios") => in_form(&taken.bytes),
        _ => Vec::new(),
    };
    keys.extend(in_body.into_iter().map(|(key, at)| (Cow::Owned(key), Some(at))));
    keys.into_iter()
        .filter(|(key, _)| !key.is_empty() && key.len() <= TOKEN_BYTES)
        .take(SHOWN_MAX)
        .map(|(key, at)| Shown { hash: TokenHash::of(&key), at })
        .collect()
}

/// The keys in a request's headers.
fn in_headers(headers: &HeaderMap) -> Vec<Cow<'_, str>> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let own = ["x-api-key", TOKEN_HEADER].into_iter().filter_map(text).map(Cow::Borrowed);
    text("authorization").and_then(authorization).into_iter().chain(own).collect()
}

/// Lets somebody beat a heartbeat: who shows a token of the source `muster`, in a header, where that
/// has any.
pub(super) fn admit_beat(parts: &Parts, headers: &HeaderMap) -> Result<(), Failure> {
    let senders = Arc::clone(&parts.settings.get().senders);
    let tokens = senders.tokens(MUSTER);
    let shown: Vec<Shown> = in_headers(headers)
        .into_iter()
        .filter(|key| !key.is_empty() && key.len() <= TOKEN_BYTES)
        .map(|key| Shown { hash: TokenHash::of(&key), at: None })
        .collect();
    if tokens.is_empty() || any(tokens, &shown).is_some() {
        return Ok(());
    }
    Err(refuse(parts, MUSTER, Why::of(&shown)))
}

/// The key of `Bearer KEY`, `GenieKey KEY`, `Token token=KEY`, or the password of `Basic …`.
fn authorization(value: &str) -> Option<Cow<'_, str>> {
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" | "geniekey" => Some(Cow::Borrowed(rest)),
        "token" => {
            let key = rest.strip_prefix("token=").unwrap_or(rest);
            Some(Cow::Borrowed(key.trim_matches('"')))
        }
        "basic" => {
            let pair = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
            let (_, password) = pair.split_once(':')?;
            Some(Cow::Owned(password.to_owned()))
        }
        _ => None,
    }
}

/// The fields of BigPanda's and PagerDuty's bodies that hold a key.
#[derive(Deserialize)]
struct Keys<'a> {
    #[serde(borrow)]
    routing_key: Option<&'a RawValue>,
    #[serde(borrow)]
    service_key: Option<&'a RawValue>,
    #[serde(borrow)]
    app_key: Option<&'a RawValue>,
}

fn in_json(bytes: &[u8]) -> Vec<(String, Place)> {
    let Ok(keys) = serde_json::from_slice::<Keys<'_>>(bytes) else { return Vec::new() };
    let raw = [keys.routing_key, keys.service_key, keys.app_key].into_iter().flatten();
    let found = raw.filter_map(|raw| {
        let key: String = serde_json::from_str(raw.get()).ok()?;
        // It is borrowed from the bytes.
        let start = (raw.get().as_ptr() as usize).checked_sub(bytes.as_ptr() as usize)?;
        Some((key, (start..start + raw.get().len(), Written::Json)))
    });
    found.collect()
}

fn in_form(bytes: &[u8]) -> Vec<(String, Place)> {
    let mut found = Vec::new();
    let mut start = 0;
    for pair in bytes.split(|byte| *byte == b'&') {
        let end = start + pair.len();
        if let Some(equals) = pair.iter().position(|byte| *byte == b'=')
            && pair[..equals].eq_ignore_ascii_case(b"token")
            && let Ok(value) = std::str::from_utf8(&pair[equals + 1..]).map(form::decoded)
        {
            found.push((value, (start + equals + 1..end, Written::Form)));
        }
        start = end + 1;
    }
    found
}

/// Puts the name of its source in the place of each token in the body, so that dead letters, identities
/// and names of sources know none. A key that is none of Muster's stays: it is the sender's own.
fn hide(senders: &Senders, source: Option<&str>, shown: &[Shown], taken: &mut Taken) {
    let all = senders.listed.iter().chain([&senders.defaults]);
    let is_token = |one: &Shown| {
        let one = std::slice::from_ref(one);
        all.clone().any(|sender| any(&sender.tokens, one).is_some())
    };
    let mut places: Vec<&Place> =
        shown.iter().filter(|one| is_token(one)).filter_map(|one| one.at.as_ref()).collect();
    // From the end, so that the places before stay where they are.
    places.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    let name = source.unwrap_or("token");
    for (range, written) in places {
        let text = match written {
            Written::Json => serde_json::Value::from(name).to_string(),
            Written::Form => name.bytes().map(|byte| format!("%{byte:02X}")).collect(),
        };
        taken.bytes.splice(range.clone(), text.into_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_reads_back_and_only_its_own_token_has_it() {
        let hash = TokenHash::of("s3cret");
        assert_eq!(TokenHash::parse(&hash.to_string()), Some(hash.clone()));
        assert!(hash.is(&TokenHash::of("s3cret")) && !hash.is(&TokenHash::of("s3cres")));
        for text in ["", "sha256:", "s3cret", "sha256:00", "sha512:00", &format!("{hash}00")] {
            assert_eq!(TokenHash::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_scheme_of_a_sender_gives_its_key() {
        for (value, key) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("GenieKey abc", Some("abc")),
            ("Token token=abc", Some("abc")),
            ("Basic dXNlcjphYmM6ZA==", Some("abc:d")),
            ("Basic !", None),
            ("Digest x=y", None),
            ("abc", None),
        ] {
            assert_eq!(authorization(value).as_deref(), key, "{value}");
        }
    }

    #[test]
    fn keys_in_a_body_are_found_where_they_stand() {
        let json = br#"{"a":{"routing_key":"no"},"routing_key" : "a\u0062c","app_key":1}"#;
        let found = in_json(json);
        assert_eq!(found.len(), 1, "a number is none");
        let (key, (range, _)) = &found[0];
        assert_eq!((key.as_str(), &json[range.clone()]), ("abc", &br#""a\u0062c""#[..]));
        let form = b"cmd=submitcheck&Token=a%2bb+c&token=x&x=y";
        let keys: Vec<_> =
            in_form(form).into_iter().map(|(key, (range, _))| (key, &form[range])).collect();
        assert_eq!(keys, [("a+b c".to_owned(), &b"a%2bb+c"[..]), ("x".to_owned(), &b"x"[..])]);
    }
}
