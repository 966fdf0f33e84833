//! The row of a silence in `muster.silences`; its key is its id. The same JSON is shown by the API,
//! there with `state` as of the answer.

use serde::{Deserialize, Serialize};

use super::common::unread;
use super::{WireError, to_vec};
use crate::model::{Matchers, Silence, SilenceId, Timestamp};

/// The version that is written.
pub const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct WireSilence {
    v: u8,
    matchers: Vec<String>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    created_by: Box<str>,
    created_at: Timestamp,
    updated_by: Box<str>,
    updated_at: Timestamp,
    comment: Box<str>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    requests: Vec<Box<str>>,
}

fn form(silence: &Silence) -> WireSilence {
    WireSilence {
        v: VERSION,
        matchers: silence.matchers.iter().map(ToString::to_string).collect(),
        starts_at: silence.starts_at,
        ends_at: silence.ends_at,
        created_by: silence.created_by.clone(),
        created_at: silence.created_at,
        updated_by: silence.updated_by.clone(),
        updated_at: silence.updated_at,
        comment: silence.comment.clone(),
        requests: silence.requests.clone(),
    }
}

/// The bytes of a row.
#[must_use]
pub fn encode(silence: &Silence) -> Vec<u8> {
    to_vec(&form(silence), 512)
}

/// As the API shows it at a time.
#[must_use]
pub fn to_json(silence: &Silence, now: Timestamp) -> serde_json::Value {
    let WireSilence { matchers, .. } = form(silence);
    serde_json::json!({
        "id": silence.id.to_string(),
        "state": silence.state(now).as_str(),
        "matchers": matchers,
        "starts_at": silence.starts_at.as_millis(),
        "ends_at": silence.ends_at.as_millis(),
        "created_by": silence.created_by,
        "created_at": silence.created_at.as_millis(),
        "updated_by": silence.updated_by,
        "updated_at": silence.updated_at.as_millis(),
        "comment": silence.comment,
    })
}

/// A row; none where it was deleted.
///
/// # Errors
/// When key or value are not of a known form.
pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<(SilenceId, Option<Silence>), WireError> {
    let text = std::str::from_utf8(key).map_err(|error| WireError(error.to_string()))?;
    let id = SilenceId::parse(text).map_err(|error| WireError(error.to_string()))?;
    let Some(bytes) = value else { return Ok((id, None)) };
    let what = "a silence";
    let wire: WireSilence =
        serde_json::from_slice(bytes).map_err(|error| unread(bytes, VERSION, what, error))?;
    if wire.v != VERSION {
        return Err(super::common::unknown(u64::from(wire.v), VERSION, what));
    }
    let matchers = Matchers::parse(wire.matchers.iter().map(String::as_str))
        .map_err(|error| WireError(error.to_string()))?;
    let silence = Silence {
        id,
        matchers,
        starts_at: wire.starts_at,
        ends_at: wire.ends_at,
        created_by: wire.created_by,
        created_at: wire.created_at,
        updated_by: wire.updated_by,
        updated_at: wire.updated_at,
        comment: wire.comment,
        requests: wire.requests,
    };
    Ok((id, Some(silence)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIXTURE: &[u8] = include_bytes!("../../tests/fixtures/wire/silence.v1.json");

    #[test]
    fn the_stored_form_reads_and_writes_the_same_bytes_and_others_are_refused_by_name() {
        let id = SilenceId::of_request("change-4711");
        let key = id.to_string();
        let (read, silence) = decode(key.as_bytes(), Some(FIXTURE)).expect("version 1");
        let silence = silence.expect("a silence");
        assert_eq!((read, silence.id), (id, id));
        assert_eq!(String::from_utf8_lossy(&encode(&silence)), String::from_utf8_lossy(FIXTURE));
        assert_eq!(decode(key.as_bytes(), None), Ok((id, None)), "a deleted row");
        let other = String::from_utf8_lossy(FIXTURE).replace("\"v\":1", "\"v\":9");
        let error = decode(key.as_bytes(), Some(other.as_bytes())).expect_err("version 9");
        assert!(error.to_string().contains("version 9 of a silence"), "{error}");
    }
}
