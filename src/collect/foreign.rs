//! Payloads of other systems: what their decoders find, under a source's settings and limits.
//!
//! From here on a foreign event is held to the same limits as one in canonical form, by the same
//! code.

use std::borrow::Cow;

use super::decode::{Context, Form, Incoming, Parsed, Rejected, too_large};
use super::refused::Refused;
use super::scan::{Scan, Value};
use super::{Settings, SoftStates, SourceSettings};
use crate::decoders::{self, Decoder, Draft, Failure, Grade, Payload, Tag, When};
use crate::model::Status;
use crate::stage::EventOutcome;

/// What a payload held.
pub(super) enum Found<'a> {
    /// An event.
    Event(Box<Parsed<'a>>),
    /// Something that cannot be read, or is no event.
    Rejected(Rejected),
    /// Something readable that says nothing to Muster.
    Silent {
        /// Of which source, by its place in the settings.
        source: usize,
        /// What became of it.
        outcome: EventOutcome,
        /// Why.
        why: String,
    },
}

/// Why a soft state says nothing.
const SOFT: &str =
    "a soft state: the source checks again before it believes it (soft_states: keep)";

/// Hands over what a payload of another system holds.
pub(super) fn each(
    decoder: &Decoder,
    incoming: &Incoming<'_>,
    settings: &Settings,
    mut sink: impl FnMut(Found<'static>),
) {
    let bytes = incoming.bytes;
    if let Some(rejected) = too_large(bytes, &settings.limits) {
        return sink(Found::Rejected(rejected));
    }
    let name = incoming.origin.source.as_deref().unwrap_or(decoder.name);
    let (place, source) = settings.source(name);
    let payload = Payload {
        bytes,
        headers: incoming.headers,
        arrival: incoming.arrival,
        zone: &source.time_zone,
        depth: settings.limits.depth,
    };
    let mut found = Vec::new();
    decoder.read(&payload, &mut found);
    let several = found.len() > 1;
    let context = Context { form: Form::Decoded, arrival: incoming.arrival, settings };
    let silent = |outcome, why| Some(Found::Silent { source: place, outcome, why });
    let mut refused = Refused::of(bytes);
    for (index, found) in found.into_iter().enumerate() {
        let index = several.then_some(index);
        let found = match found {
            decoders::Found::Nothing(why) => silent(EventOutcome::Ignored, why),
            decoders::Found::Rejected { index, failure, bytes: Some(part) } => {
                refused.element(index, failure, &part).map(Found::Rejected)
            }
            decoders::Found::Rejected { index, failure, bytes: None } => {
                refused.without_bytes(index, failure);
                None
            }
            decoders::Found::Event(draft) => match event(*draft, name, source, context) {
                Ok(Some(parsed)) => Some(Found::Event(Box::new(parsed))),
                Ok(None) => silent(EventOutcome::Dropped, SOFT.to_owned()),
                Err(failure) => {
                    refused.without_bytes(index, failure);
                    None
                }
            },
        };
        found.into_iter().for_each(&mut sink);
    }
    refused.together().into_iter().map(Found::Rejected).for_each(sink);
}

/// The event of a draft; none where it is a soft state that is not to count.
fn event(
    draft: Draft,
    name: &str,
    source: &SourceSettings,
    context: Context<'_>,
) -> Result<Option<Parsed<'static>>, Failure> {
    let status = match &draft.grade {
        Grade::Recovered => Status::Ok.as_str(),
        Grade::Acknowledged => "acknowledged",
        Grade::Problem { word, usual } => source.meaning(word).unwrap_or(*usual).as_str(),
    };
    if draft.soft && status != Status::Ok.as_str() && source.soft_states == SoftStates::Drop {
        return Ok(None);
    }
    let timestamp = match draft.at {
        Some(When::At(time)) => Some(Value::Int(time.as_millis())),
        // A text that is no time, for the limit that counts it.
        Some(When::Unread) => Some(text("unread".to_owned())),
        None => None,
    };
    let tags = draft.tags.into_iter().map(|(name, tag)| (Cow::Owned(name), value(tag))).collect();
    let links = draft.links.into_iter().map(|(name, url)| (Cow::Owned(name), text(url))).collect();
    let scan = Scan {
        source: Some(text(draft.source.unwrap_or_else(|| name.to_owned()))),
        host: draft.host.map(text),
        check: draft.check.map(text),
        key: draft.key.map(text),
        status: Some(Value::Text(Cow::Borrowed(status))),
        timestamp,
        expires_at: draft.expires_at.map(|time| Value::Int(time.as_millis())),
        description: Some(text(draft.description)),
        links: Some(Value::Map(links)),
        id: draft.id.map(text),
        tags,
        ..Scan::default()
    };
    let parsed = context.parse(scan, None)?;
    context.fits(&parsed)?;
    Ok(Some(parsed))
}

fn text(text: String) -> Value<'static> {
    Value::Text(Cow::Owned(text))
}

fn value(tag: Tag) -> Value<'static> {
    match tag {
        Tag::One(one) => text(one),
        Tag::List(values) => Value::List(values.into_iter().map(text).collect()),
    }
}
