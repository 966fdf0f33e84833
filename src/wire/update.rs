//! What collect writes to `muster.alerts`: updates and touches. Version 1.

use serde::{Deserialize, Serialize};

use super::common::{unknown, unread};
use super::event::{Reading, nested};
use super::{WireError, to_vec};
use crate::model::event::Identity;
use crate::model::update::{Seen, Touch};
use crate::model::{Event, Span, Timestamp, Update};

const VERSION: u8 = 1;

#[derive(Serialize)]
struct WritingUpdate<'a> {
    v: u8,
    shard: &'a str,
    expire_after: Span,
    repeats: u64,
    seen: Option<(Timestamp, Timestamp)>,
    #[serde(serialize_with = "nested")]
    event: &'a Event,
}

#[derive(Deserialize)]
struct ReadingUpdate {
    v: u8,
    shard: Box<str>,
    expire_after: Span,
    repeats: u64,
    seen: Option<(Timestamp, Timestamp)>,
    event: Reading,
}

#[derive(Serialize, Deserialize)]
struct WireTouch {
    v: u8,
    source: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Box<str>>,
    repeats: u64,
    seen: Option<(Timestamp, Timestamp)>,
}

/// The bytes of an update.
#[must_use]
pub fn encode(update: &Update) -> Vec<u8> {
    let writing = WritingUpdate {
        v: VERSION,
        shard: &update.shard,
        expire_after: update.expire_after,
        repeats: update.seen.repeats,
        seen: update.seen.newest,
        event: &update.event,
    };
    to_vec(&writing, 1_024)
}

/// An update from its bytes.
///
/// # Errors
/// Says what is not as an update has it.
pub fn decode(bytes: &[u8]) -> Result<Update, WireError> {
    let unread = |error| unread(bytes, VERSION, "an update", error);
    let wire: ReadingUpdate = serde_json::from_slice(bytes).map_err(unread)?;
    version(wire.v)?;
    Ok(Update {
        shard: wire.shard,
        expire_after: wire.expire_after,
        seen: Seen { repeats: wire.repeats, newest: wire.seen },
        event: wire.event.into(),
    })
}

/// The bytes of a touch.
#[must_use]
pub fn encode_touch(touch: &Touch) -> Vec<u8> {
    let (host, check, key) = match &touch.identity {
        Identity::Check { host, check, .. } => (Some(host.clone()), Some(check.clone()), None),
        Identity::Key { key, .. } => (None, None, Some(key.clone())),
    };
    let wire = WireTouch {
        v: VERSION,
        source: touch.identity.source().into(),
        host,
        check,
        key,
        repeats: touch.seen.repeats,
        seen: touch.seen.newest,
    };
    to_vec(&wire, 256)
}

/// A touch from its bytes.
///
/// # Errors
/// Says what is not as a touch has it.
pub fn decode_touch(bytes: &[u8]) -> Result<Touch, WireError> {
    let unread = |error| unread(bytes, VERSION, "a touch", error);
    let wire: WireTouch = serde_json::from_slice(bytes).map_err(unread)?;
    version(wire.v)?;
    let (host, check, key) = (wire.host.as_deref(), wire.check.as_deref(), wire.key.as_deref());
    Ok(Touch {
        identity: Identity::new(&wire.source, host, check, key),
        seen: Seen { repeats: wire.repeats, newest: wire.seen },
    })
}

fn version(found: u8) -> Result<(), WireError> {
    if found == VERSION {
        return Ok(());
    }
    Err(unknown(found.into(), VERSION, "an update"))
}
