//! The row that says how often an alert identity began to fire. Version 1.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::common::{unknown, unread};
use super::{WireError, to_vec};
use crate::model::{Identity, Rate, Timestamp};

const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRate<'a> {
    v: u8,
    identity: Cow<'a, Identity>,
    day: i64,
    counts: Cow<'a, [u32]>,
    appended_at: Timestamp,
}

/// The bytes of a rate's row.
#[must_use]
pub fn encode(rate: &Rate) -> Vec<u8> {
    let wire = WireRate {
        v: VERSION,
        identity: Cow::Borrowed(&rate.identity),
        day: rate.day,
        counts: Cow::Borrowed(&rate.counts),
        appended_at: rate.appended_at,
    };
    to_vec(&wire, 192)
}

/// A rate from its bytes.
///
/// # Errors
/// When the version is not known, or the bytes are not as the row has them.
pub fn decode(bytes: &[u8]) -> Result<Rate, WireError> {
    let wire: WireRate<'_> =
        serde_json::from_slice(bytes).map_err(|error| unread(bytes, VERSION, "a row", error))?;
    if wire.v != VERSION {
        return Err(unknown(wire.v.into(), VERSION, "a row"));
    }
    Ok(Rate {
        identity: wire.identity.into_owned(),
        day: wire.day,
        counts: wire.counts.into_owned(),
        appended_at: wire.appended_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: &[u8] = include_bytes!("../../tests/fixtures/wire/rate.v1.json");

    #[test]
    fn a_row_of_version_1_is_what_it_was() {
        let rate = Rate {
            identity: Identity::new("nagios", Some("web-1"), Some("disk /"), None),
            day: 20_415,
            counts: vec![3, 0, 7],
            appended_at: Timestamp::from_millis(1_763_913_600_123),
        };
        assert_eq!(encode(&rate), RATE.trim_ascii());
        assert_eq!(decode(RATE), Ok(rate));
        let newer = std::str::from_utf8(RATE).expect("text").replacen("\"v\":1", "\"v\":9", 1);
        let error = decode(newer.as_bytes()).expect_err("version 9").to_string();
        assert!(error.contains("version 9"), "{error}");
    }
}
