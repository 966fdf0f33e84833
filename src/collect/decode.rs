//! Bytes to events in canonical form, within the limits.
//!
//! Stateless: the same bytes and arrival give the same events wherever they are decoded. A record
//! holds one event, a list of them, or an `alerts` wrapper; a bad one among good ones is set aside
//! alone. Nothing that comes in can make it panic or multiply, and nothing vanishes: what holds no
//! event is set aside, but for an empty list, which says nothing.

use std::borrow::Cow;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use siphasher::sip128::{self, Hasher128};

use super::foreign;
use super::refused::Refused;
use super::scan::{self, Scan, Value};
use super::time::{self, Youngest};
use super::{Field, Limits, Origin, Settings, SourceSettings};
use crate::decoders::{Failure, json, macros};
use crate::model::event::{Identity, Links, Report};
use crate::model::{Event, TagValue, Tags, Timestamp};
use crate::stage::{EventOutcome, Limit, Reason};
use crate::wire;
use crate::wire::event::parse_report;

/// The longest name of a tag, in bytes. A longer one is set aside: cut, it might be another's.
const NAME_BYTES: usize = 512;
/// How much longer than a record of the publisher an event in canonical form may be: it names
/// every field.
const CANONICAL_MORE: usize = 4_096;
/// A record of no more bytes cannot become too large in canonical form, whatever it holds.
pub(super) const SMALL: usize = 8_192;
/// How deep Muster's own form is: a list in the tags of an event.
const OWN_DEPTH: usize = 3;

/// What a record held.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Events in canonical form, in the record's order.
    pub events: Vec<Event>,
    /// What was set aside, in the record's order.
    pub rejected: Vec<Rejected>,
    /// What was read and says nothing to Muster: of which source (its place in the settings), what
    /// became of it, and why.
    pub silent: Vec<(usize, EventOutcome, String)>,
    /// How often each limit cut something short.
    pub limited: [u64; Limit::ALL.len()],
    /// How old the youngest event of each source was, as in [`crate::stage::Tally`].
    pub youngest: Vec<(usize, i64)>,
}

/// A record, or an event in one, that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its place in the record's list; none where the whole record was set aside.
    pub index: Option<usize>,
    /// Why, of a closed set.
    pub reason: Reason,
    /// What was wrong, where, and what is expected.
    pub message: String,
    /// The original bytes of it.
    pub bytes: Vec<u8>,
    /// The source that the list around it named for all of its events.
    pub app_key: Option<String>,
}

/// A payload, with what came with it.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// The body, or the record's value.
    pub bytes: &'a [u8],
    /// The headers of the request or the record, names in lower case.
    pub headers: &'a [(String, Vec<u8>)],
    /// When it reached Muster.
    pub arrival: Timestamp,
    /// Where it came in.
    pub origin: &'a Origin,
}

/// Decodes a payload into owned events; for HTTP, where each request answers for itself.
#[must_use]
pub fn decode(incoming: &Incoming<'_>, settings: &Settings) -> Decoded {
    let mut decoded = Decoded::default();
    let limits = &settings.limits;
    let mut limited = [0; Limit::ALL.len()];
    let mut youngest = Youngest::default();
    if let Some(decoder) = settings.decoder(incoming.origin) {
        foreign::each(decoder, incoming, settings, |found| match found {
            foreign::Found::Event(parsed) => {
                youngest.note(&parsed, || settings.source(&parsed.source).0);
                decoded.events.push(parsed.to_event(limits, &mut limited));
            }
            foreign::Found::Rejected(rejected) => decoded.rejected.push(rejected),
            foreign::Found::Silent { source, outcome, why } => {
                decoded.silent.push((source, outcome, why));
            }
        });
    } else {
        each(incoming.bytes, Form::Published, incoming.arrival, settings, |found| match found {
            Ok(parsed) => {
                youngest.note(&parsed, || settings.source(&parsed.source).0);
                decoded.events.push(parsed.to_event(limits, &mut limited));
            }
            Err(rejected) => decoded.rejected.push(rejected),
        });
    }
    decoded.limited = limited;
    decoded.youngest = youngest.take();
    decoded
}

/// Hands over time, sender's id and identity of each readable event of a record, without making
/// events of them; for whoever must know a record's time before it is taken in.
pub fn peek(
    bytes: &[u8],
    arrival: Timestamp,
    settings: &Settings,
    mut sink: impl FnMut(Timestamp, Option<&str>, Identity),
) {
    each(bytes, Form::Published, arrival, settings, |found| {
        if let Ok(parsed) = found {
            sink(parsed.timestamp, parsed.id.as_deref(), parsed.identity());
        }
    });
}

/// Who wrote the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A publisher.
    Published,
    /// A publisher in a format of its own, of which a decoder made an event: the source's own words
    /// and fields are dealt with.
    Decoded,
    /// Muster itself, on the way to the owner of the identity; with the arrival in it.
    Own,
}

/// Hands each event of a record over, still borrowed, or why it was set aside.
pub(super) fn each<'a>(
    bytes: &'a [u8],
    form: Form,
    arrival: Timestamp,
    settings: &Settings,
    mut sink: impl FnMut(Result<Parsed<'a>, Rejected>),
) {
    let limits = &settings.limits;
    let whole = |failure: Failure| Rejected::new(None, failure, bytes);
    let context = Context { form, arrival, settings };
    if form == Form::Published
        && let Some(rejected) = too_large(bytes, limits)
    {
        return sink(Err(rejected));
    }
    match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => match context.one(bytes, None) {
            Ok(Found::Event(parsed)) => sink(Ok(*parsed)),
            Ok(Found::Wrapper { app_key, alerts }) => {
                context.elements(alerts, app_key.as_ref(), bytes, &mut sink);
            }
            Err(failure) => sink(Err(whole(failure))),
        },
        Some(b'[') => context.elements(bytes, None, bytes, &mut sink),
        Some(_) => sink(Err(whole(broken(bytes, limits, "not an object or a list")))),
        None => sink(Err(whole(Failure::new(Reason::Empty, "no bytes at all")))),
    }
}

/// Sets aside what is larger than a record may be.
pub(super) fn too_large(bytes: &[u8], limits: &Limits) -> Option<Rejected> {
    if bytes.len() <= limits.record_bytes {
        return None;
    }
    let message = format!("{} bytes; at most {} are taken", bytes.len(), limits.record_bytes);
    // The start of it tells who sent it; all of it would not fit where dead letters go.
    let head = &bytes[..limits.record_bytes.min(4_096)];
    Some(Rejected::new(None, Failure::new(Reason::TooLarge, message), head))
}

/// An event that is fit to be one, borrowed from its payload.
#[derive(Debug)]
pub(super) struct Parsed<'a> {
    pub(super) source: Cow<'a, str>,
    pub(super) host: Cow<'a, str>,
    pub(super) check: Cow<'a, str>,
    pub(super) key: Option<Cow<'a, str>>,
    pub(super) report: Report,
    pub(super) timestamp: Timestamp,
    /// When it reached Muster.
    pub(super) arrival: Timestamp,
    /// How old it was then by its sender's clock, in milliseconds; none where it stated no time, or
    /// where that was measured before.
    pub(super) age: Option<i64>,
    pub(super) expires_at: Option<Timestamp>,
    /// How many parts of its identity were cut. That is done at once: what is cut off must not
    /// tell apart here what is one and the same further on.
    cut: u64,
    /// Sorted by name, each name once.
    tags: Vec<(Cow<'a, str>, Value<'a>)>,
    description: Cow<'a, str>,
    links: NamedTexts<'a>,
    id: Option<Cow<'a, str>>,
    time_limit: Option<Limit>,
}

impl Parsed<'_> {
    /// The keyed hash of its identity.
    pub(super) fn identity_hash(&self, keys: (u64, u64)) -> u128 {
        hash_identity(keys, &self.source, &self.host, &self.check, self.key.as_deref())
    }

    /// Its identity.
    pub(super) fn identity(&self) -> Identity {
        Identity::new(&self.source, Some(&self.host), Some(&self.check), self.key.as_deref())
    }

    /// The keyed hash of what may not change unnoticed: tags, and host and check, which a sender
    /// with a key of its own may change.
    pub(super) fn digest(&self, keys: (u64, u64)) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(keys.0, keys.1);
        write(&mut hasher, &self.host);
        write(&mut hasher, &self.check);
        for (name, value) in &self.tags {
            write(&mut hasher, name);
            write_value(&mut hasher, value);
        }
        hasher.finish()
    }

    /// The event with values of its own, cut to the limits.
    pub(super) fn to_event(&self, limits: &Limits, limited: &mut [u64; Limit::ALL.len()]) -> Event {
        if let Some(limit) = self.time_limit {
            limited[limit as usize] += 1;
        }
        limited[Limit::ValueCut as usize] += self.cut;
        let mut cut_value = |text: &str| cut(text, limits.value_bytes, Limit::ValueCut, limited);
        let mut tags = Tags::default();
        for (name, value) in &self.tags {
            let value = match value {
                Value::List(values) => {
                    let texts = values.iter().filter_map(Value::text);
                    TagValue::List(texts.map(|text| cut_value(&text)).collect())
                }
                scalar => match scalar.text() {
                    Some(text) => TagValue::One(cut_value(&text)),
                    None => continue,
                },
            };
            tags.set(name, value);
        }
        let links: Links = self
            .links
            .iter()
            .map(|(name, url)| {
                (Box::from(name.as_ref()), cut(url, 2_048, Limit::ValueCut, limited))
            })
            .collect();
        let id = self.id.as_ref().map(|id| cut(id, limits.value_bytes, Limit::ValueCut, limited));
        let description =
            cut(&self.description, limits.description_bytes, Limit::DescriptionCut, limited);
        Event {
            source: self.source.as_ref().into(),
            host: self.host.as_ref().into(),
            check: self.check.as_ref().into(),
            key: self.key.as_deref().map(Into::into),
            report: self.report,
            timestamp: self.timestamp,
            description,
            tags,
            links,
            expires_at: self.expires_at,
            id,
        }
    }
}

/// The keyed hash of an identity.
pub(super) fn hash_identity(
    keys: (u64, u64),
    source: &str,
    host: &str,
    check: &str,
    key: Option<&str>,
) -> u128 {
    let mut hasher = sip128::SipHasher13::new_with_keys(keys.0, keys.1);
    let (form, parts) = match key {
        Some(key) => (1, [source, key, ""]),
        None => (2, [source, host, check]),
    };
    hasher.write_u8(form);
    for part in parts {
        write(&mut hasher, part);
    }
    hasher.finish128().as_u128()
}

/// Writes a text so that no two lists of texts write the same bytes.
pub(super) fn write(hasher: &mut impl Hasher, text: &str) {
    hasher.write(text.as_bytes());
    // 0xff is in no UTF-8 text.
    hasher.write_u8(0xff);
}

fn write_value(hasher: &mut impl Hasher, value: &Value<'_>) {
    match value {
        Value::Text(text) => write(hasher, text),
        Value::List(values) => {
            hasher.write_u8(0xfe);
            for value in values {
                write_value(hasher, value);
            }
            hasher.write_u8(0xfd);
        }
        other => write(hasher, &other.text().unwrap_or_default()),
    }
}

fn cut(text: &str, max: usize, limit: Limit, limited: &mut [u64; Limit::ALL.len()]) -> Box<str> {
    let start = cut_to(text, max);
    limited[limit as usize] += u64::from(start.len() < text.len());
    start.into()
}

/// The start of a text, of so many bytes at most.
pub(super) fn cut_to(text: &str, max: usize) -> &str {
    if text.len() <= max { text } else { &text[..boundary(text, max)] }
}

/// The last end of a character up to a length.
fn boundary(text: &str, max: usize) -> usize {
    (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default()
}

/// The start of a text; counts where that is not all of it.
fn start<'a>(text: Cow<'a, str>, max: usize, cut: &mut u64) -> Cow<'a, str> {
    if text.len() <= max {
        return text;
    }
    *cut += 1;
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(cut_to(text, max)),
        Cow::Owned(text) => Cow::Owned(cut_to(&text, max).to_owned()),
    }
}

impl Rejected {
    pub(super) fn new(index: Option<usize>, failure: Failure, bytes: &[u8]) -> Self {
        let Failure { reason, mut message } = failure;
        if let Some(index) = index {
            message = format!("event {index} of the list: {message}");
        }
        Self { index, reason, message, bytes: bytes.to_vec(), app_key: None }
    }
}

enum Found<'a> {
    Event(Box<Parsed<'a>>),
    Wrapper { app_key: Option<Cow<'a, str>>, alerts: &'a [u8] },
}

/// What all events of a record have in common.
#[derive(Clone, Copy)]
pub(super) struct Context<'l> {
    pub(super) form: Form,
    pub(super) arrival: Timestamp,
    pub(super) settings: &'l Settings,
}

impl<'l> Context<'l> {
    fn limits(self) -> &'l Limits {
        &self.settings.limits
    }

    fn elements<'a>(
        self,
        bytes: &'a [u8],
        app_key: Option<&Cow<'a, str>>,
        whole: &[u8],
        sink: &mut impl FnMut(Result<Parsed<'a>, Rejected>),
    ) {
        let list = match scan::list(bytes) {
            Ok(list) => list,
            Err(error) => {
                let failure = broken(bytes, self.limits(), &error.to_string());
                return sink(Err(Rejected::new(None, failure, bytes)));
            }
        };
        let mut refused = Refused::of(whole);
        for (index, raw) in list.into_iter().enumerate() {
            let raw = raw.get().as_bytes();
            let failure = match self.one(raw, app_key) {
                Ok(Found::Event(parsed)) => {
                    sink(Ok(*parsed));
                    continue;
                }
                Ok(Found::Wrapper { .. }) => {
                    Failure::new(Reason::NotAnEvent, "a list of alerts within a list")
                }
                Err(failure) => failure,
            };
            if let Some(rejected) = refused.element(Some(index), failure, raw) {
                let app_key = app_key.map(|key| key.as_ref().to_owned());
                sink(Err(Rejected { app_key, ..rejected }));
            }
        }
        refused.together().into_iter().map(Err).for_each(sink);
    }

    fn one<'a>(
        self,
        bytes: &'a [u8],
        app_key: Option<&Cow<'a, str>>,
    ) -> Result<Found<'a>, Failure> {
        let depth = match self.form {
            Form::Published | Form::Decoded => self.limits().depth,
            Form::Own => self.limits().depth.max(OWN_DEPTH),
        };
        let mut scan = scan::object(bytes, depth)
            .map_err(|error| broken(bytes, self.limits(), &error.to_string()))?;
        match scan.alerts.take() {
            // Whoever claims a status has said something.
            Some(alerts) if scan.status.is_some() && scan::is_empty(alerts) => {
                scan.tags.push((Cow::Borrowed("alerts"), Value::List(Vec::new())));
            }
            Some(alerts) => {
                let app_key = scan.source.or(scan.app_key).and_then(|value| value.text());
                // Each event gets a copy of it: what is cut for each may as well be cut once.
                let app_key = app_key.map(|key| start(key, self.limits().value_bytes, &mut 0));
                return Ok(Found::Wrapper { app_key, alerts: alerts.get().as_bytes() });
            }
            None => {}
        }
        let parsed = self.parse(scan, app_key)?;
        if self.form == Form::Published && bytes.len() > SMALL {
            self.fits(&parsed)?;
        }
        Ok(Found::Event(Box::new(parsed)))
    }

    /// Numbers and names within names may grow on the way to canonical form; what grows beyond
    /// measure would fit nowhere.
    pub(super) fn fits(self, parsed: &Parsed<'_>) -> Result<(), Failure> {
        let event = parsed.to_event(self.limits(), &mut [0; Limit::ALL.len()]);
        let bytes = wire::event::encode(&event, self.arrival).len();
        let most = self.limits().record_bytes + CANONICAL_MORE;
        if bytes <= most {
            return Ok(());
        }
        let message = format!("{bytes} bytes in canonical form; at most {most} are taken");
        Err(Failure::new(Reason::TooLarge, message))
    }

    pub(super) fn parse<'a>(
        self,
        mut scan: Scan<'a>,
        app_key: Option<&Cow<'a, str>>,
    ) -> Result<Parsed<'a>, Failure> {
        if scan.bad_tags {
            return Err(Failure::new(Reason::BadField, "`tags` is not an object"));
        }
        let source = text("source", scan.source.take())?
            .or(text("app_key", scan.app_key.take())?)
            .or_else(|| app_key.cloned())
            .ok_or_else(|| Failure::new(Reason::NoSource, "`source` is missing"))?;
        let own = (self.form == Form::Published).then(|| self.settings.source(&source).1);
        if let Some(own) = own {
            map_fields(own, &mut scan);
        }
        let report = report(own, scan.status.take())?;
        let arrival = match (self.form, scan.arrival.take()) {
            // Arrival as Muster stored it on the way counts before the record's own.
            (Form::Own, Some(Value::Int(millis))) => Timestamp::from_millis(millis),
            (Form::Published, Some(value)) => {
                scan.tags.push((Cow::Borrowed("arrival"), value));
                self.arrival
            }
            _ => self.arrival,
        };
        let mut tags = flatten(std::mem::take(&mut scan.tags), self.limits())?;
        sort(&mut tags);
        tags.retain(|(_, value)| !matches!(value, Value::Text(text) if is_macro(text)));
        let named = text("primary_property", scan.primary_property.take())?;
        let key = text("key", scan.key.take())?;
        let check = text("check", scan.check.take())?;
        let host = text("host", scan.host.take())?;
        let host = match primary(host, named.as_deref(), &tags) {
            // What is over needs no more than the sender's key of it: its alert knows the rest.
            Err(_) if key.is_some() && !report.is_problem() => Cow::Borrowed(""),
            // Other systems need not name what they look at.
            Err(_) if self.form == Form::Decoded && check.is_some() => {
                check.clone().unwrap_or_default()
            }
            primary => primary?,
        };
        let host = match self.form {
            Form::Own => host,
            Form::Published | Form::Decoded => self.settings.hosts.canonical(host),
        };
        let (timestamp, age, mut time_limit) = match (self.form, &scan.timestamp) {
            // What Muster writes is milliseconds, however few.
            (Form::Own, Some(Value::Int(millis))) => (Timestamp::from_millis(*millis), None, None),
            (Form::Decoded, Some(Value::Int(millis))) => {
                time::of_decoded(Timestamp::from_millis(*millis), arrival, self.limits())
            }
            (_, value) => time::of_event(value.as_ref(), arrival, self.limits())?,
        };
        let expires_at = match (self.form, &scan.expires_at) {
            (_, None | Some(Value::Null)) => None,
            (Form::Own | Form::Decoded, Some(Value::Int(millis))) => {
                Some(Timestamp::from_millis(*millis))
            }
            (_, Some(value)) => {
                let read = time::read("expires_at", value)?;
                if read.is_none() {
                    time_limit = time_limit.or(Some(Limit::TimeUnread));
                }
                read
            }
        };
        let mut cut = 0;
        let mut own = |text| start(text, self.limits().value_bytes, &mut cut);
        Ok(Parsed {
            source: own(source),
            host: own(host),
            check: own(check.unwrap_or_default()),
            key: key.map(own),
            cut,
            report,
            timestamp,
            arrival,
            age,
            expires_at,
            tags,
            description: text("description", scan.description.take())?.unwrap_or_default(),
            links: links(scan.links.take())?,
            id: text("id", scan.id.take())?,
            time_limit,
        })
    }
}

/// A source's own words come before the usual ones.
fn report(own: Option<&SourceSettings>, value: Option<Value<'_>>) -> Result<Report, Failure> {
    let word = text("status", value)?
        .ok_or_else(|| Failure::new(Reason::NoStatus, "`status` is missing"))?;
    let own = own.and_then(|settings| settings.meaning(&word)).map(Report::Status);
    own.or_else(|| parse_report(word.trim())).ok_or_else(|| {
        let word: String = word.chars().take(40).collect();
        let message =
            format!("`{word}` is not ok, info, unknown, warning, critical or acknowledged");
        Failure::new(Reason::BadStatus, message)
    })
}

/// Where a field is missing, those that the source's settings name stand for it.
fn map_fields(own: &SourceSettings, scan: &mut Scan<'_>) {
    for (field, names) in &own.fields {
        let target = match field {
            Field::Host => &mut scan.host,
            Field::Check => &mut scan.check,
            Field::Key => &mut scan.key,
            Field::Status => &mut scan.status,
            Field::Timestamp => &mut scan.timestamp,
            Field::Description => &mut scan.description,
        };
        if !matches!(target, None | Some(Value::Null)) {
            continue;
        }
        let found = names
            .iter()
            .find_map(|name| scan.tags.iter().position(|(tag, _)| tag.as_ref() == &**name));
        if let Some(found) = found {
            *target = Some(scan.tags.remove(found).1);
        }
    }
}

/// Why bytes could not be read, told apart only once it matters.
fn broken(bytes: &[u8], limits: &Limits, error: &str) -> Failure {
    if let Err(error) = std::str::from_utf8(bytes) {
        return Failure::new(Reason::NotUtf8, error.to_string());
    }
    let depth = json::depth(bytes);
    if depth > limits.depth {
        let message = format!("nested {depth} deep; at most {} are taken", limits.depth);
        return Failure::new(Reason::TooDeep, message);
    }
    if scan::is_json(bytes) {
        let message = format!("{error}; expected an event, a list of events or {{\"alerts\":[…]}}");
        return Failure::new(Reason::NotAnEvent, message);
    }
    Failure::new(Reason::NotJson, error)
}

/// Whether a text could be a macro, by a look at its first letter.
pub(super) fn may_be_macro(text: &str) -> bool {
    matches!(text.trim_start().as_bytes().first(), Some(b'$' | b'{' | b'*'))
}

fn is_macro(text: &str) -> bool {
    may_be_macro(text) && macros::is_unexpanded(text.trim())
}

/// A field that is one text; empty counts as absent, and so does a macro that its sender did not
/// expand.
fn text<'a>(name: &str, value: Option<Value<'a>>) -> Result<Option<Cow<'a, str>>, Failure> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Text(text)) => {
            let none = text.trim().is_empty() || is_macro(&text);
            Ok(if none { None } else { Some(text) })
        }
        Some(value) => value.text().map(Some).ok_or_else(|| {
            Failure::new(Reason::BadField, format!("`{name}` is not a text or a number"))
        }),
    }
}

/// Fields of objects become tags of their own, `outer.inner`; null counts as absent.
fn flatten<'a>(tags: NamedValues<'a>, limits: &Limits) -> Result<NamedValues<'a>, Failure> {
    let flat = |(name, value): &(Cow<'_, str>, Value<'_>)| name.len() <= NAME_BYTES && plain(value);
    if tags.len() <= limits.tags && tags.iter().all(flat) {
        return Ok(tags);
    }
    let mut flat = Vec::with_capacity(tags.len());
    for (name, value) in tags {
        lift(name, value, limits, &mut flat)?;
    }
    Ok(flat)
}

/// Whether a value is one that a tag can have.
fn plain(value: &Value<'_>) -> bool {
    match value {
        Value::Null | Value::Map(_) => false,
        Value::List(values) => values
            .iter()
            .all(|value| !matches!(value, Value::Null | Value::List(_) | Value::Map(_))),
        _ => true,
    }
}

/// Adds a field, or those within it. Limits are kept at each step, so that neither names in front
/// of names nor their number can make much of little.
fn lift<'a>(
    name: Cow<'a, str>,
    value: Value<'a>,
    limits: &Limits,
    flat: &mut NamedValues<'a>,
) -> Result<(), Failure> {
    if name.len() > NAME_BYTES {
        let bytes = name.len();
        let message =
            format!("the name of a tag has {bytes} bytes; at most {NAME_BYTES} are taken");
        return Err(Failure::new(Reason::BadField, message));
    }
    match value {
        Value::Null => Ok(()),
        Value::Map(inner) => inner.into_iter().try_for_each(|(inner, value)| {
            lift(Cow::Owned(format!("{name}.{inner}")), value, limits, flat)
        }),
        value if !plain(&value) => {
            let message = format!("the list `{name}` holds lists or objects");
            Err(Failure::new(Reason::BadField, message))
        }
        _ if flat.len() == limits.tags => {
            let message = format!("more than {} tags", limits.tags);
            Err(Failure::new(Reason::TooManyTags, message))
        }
        value => {
            flat.push((name, value));
            Ok(())
        }
    }
}

type NamedValues<'a> = Vec<(Cow<'a, str>, Value<'a>)>;

/// By name; of two values of one name the later one counts.
fn sort(tags: &mut Vec<(Cow<'_, str>, Value<'_>)>) {
    if tags.is_sorted_by(|a, b| a.0 < b.0) {
        return;
    }
    tags.sort_by(|a, b| a.0.cmp(&b.0));
    tags.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            std::mem::swap(later, kept);
        }
        same
    });
}

/// What the event is about: `host`, else the first of the usual names, else the tag that
/// `primary_property` names.
fn primary<'a>(
    host: Option<Cow<'a, str>>,
    named: Option<&str>,
    tags: &[(Cow<'a, str>, Value<'a>)],
) -> Result<Cow<'a, str>, Failure> {
    if let Some(host) = host {
        return Ok(host);
    }
    let usual = ["service", "application", "device"];
    for name in usual.into_iter().chain(named) {
        let tag = tags.binary_search_by(|(tag, _)| tag.as_ref().cmp(name));
        if let Some(text) = tag.ok().and_then(|at| tags[at].1.text())
            && !text.trim().is_empty()
        {
            return Ok(text);
        }
    }
    let message = "neither `host`, `service`, `application`, `device` nor what \
                   `primary_property` names is there";
    Err(Failure::new(Reason::NoPrimary, message))
}

type NamedTexts<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

fn links(value: Option<Value<'_>>) -> Result<NamedTexts<'_>, Failure> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Map(links)) => Ok(links
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.text()?)))
            .filter(|(_, url)| !url.is_empty())
            .collect()),
        Some(_) => Err(Failure::new(Reason::BadField, "`links` is not an object")),
    }
}
