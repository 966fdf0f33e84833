//! What a dead letter keeps of a payload's headers, so that it can be read once more, and the record
//! that says which were.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::WireError;
use crate::model::Timestamp;
use crate::stage::Headed;

/// How many bytes of headers are kept.
const BYTES: usize = 8_192;
/// Headers that let their bearer in; they are not kept.
const SECRET: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "x-api-key"];

/// The headers that a decoder may go by, as a JSON object; none where there are none.
#[must_use]
pub fn headers(headed: &dyn Headed) -> Option<Vec<u8>> {
    let mut kept = Map::new();
    let mut room = BYTES;
    headed.each(&mut |name, value| {
        let name = name.to_ascii_lowercase();
        if let Ok(value) = std::str::from_utf8(value)
            && name.len() + value.len() <= room
            && !SECRET.contains(&name.as_str())
        {
            room -= name.len() + value.len();
            kept.insert(name, value.into());
        }
    });
    (!kept.is_empty()).then(|| Value::Object(kept).to_string().into_bytes())
}

/// Reads them back; what is no such object holds none.
#[must_use]
pub fn read_headers(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let Ok(Value::Object(kept)) = serde_json::from_slice(bytes) else { return Vec::new() };
    let texts = kept.into_iter().filter_map(|(name, value)| match value {
        Value::String(value) => Some((name, value.into_bytes())),
        _ => None,
    });
    texts.collect()
}

/// An event of a list whose source the list named, once more in such a list.
#[must_use]
pub fn within(app_key: &str, event: &[u8]) -> Vec<u8> {
    let mut list = format!(r#"{{"app_key":{},"alerts":["#, Value::from(app_key)).into_bytes();
    list.extend_from_slice(event);
    list.extend_from_slice(b"]}");
    list
}

/// Whether a header lets its bearer in.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    SECRET.iter().any(|secret| secret.eq_ignore_ascii_case(name))
}

/// The version of the record that is written; there is no other one yet.
const VERSION: u32 = 1;

/// Which dead letters of a partition were read once more with success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retried {
    /// Their offsets.
    pub offsets: Vec<i64>,
    /// When.
    pub at: Timestamp,
    /// Who asked for it.
    pub by: String,
}

impl Retried {
    /// As JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let form = Versioned { version: VERSION, retried: self.clone() };
        super::to_vec(&form, self.offsets.len() * 8 + 64)
    }

    /// Reads it back; further fields are left aside.
    ///
    /// # Errors
    /// When it is something else, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let Versioned { version, retried } = serde_json::from_slice(bytes)?;
        if version != VERSION {
            return Err(WireError(format!("a retry of version {version}; known is {VERSION}")));
        }
        Ok(retried)
    }
}

#[derive(Serialize, Deserialize)]
struct Versioned {
    version: u32,
    #[serde(flatten)]
    retried: Retried,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_decoder_goes_by_is_kept_and_what_lets_in_is_not() {
        let header = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
        let given = vec![
            header("Authorization", b"Bearer secret"),
            header("Sentry-Hook-Resource", b"issue"),
            header("ce-type", "ä".as_bytes()),
            header("binary", &[0xff]),
            header("long", &[b'x'; BYTES]),
        ];
        let kept = headers(&given).expect("two are kept");
        let expected =
            [header("ce-type", "ä".as_bytes()), header("sentry-hook-resource", b"issue")];
        assert_eq!(read_headers(&kept), expected);
        assert_eq!(headers(&Vec::new()), None);
        assert!(read_headers(b"[1]").is_empty());
    }
    #[test]
    fn what_was_retried_is_read_back_by_every_version() {
        let stored = br#"{"version":1,"offsets":[3,17],"at":1763913600123,"by":"ann"}"#;
        let at = Timestamp::from_millis(1_763_913_600_123);
        let retried = Retried { offsets: vec![3, 17], at, by: "ann".to_owned() };
        assert_eq!(Retried::decode(stored), Ok(retried.clone()));
        assert_eq!(retried.encode(), stored);
        let later = br#"{"version":1,"offsets":[3,17],"at":1763913600123,"by":"ann","more":[1]}"#;
        assert_eq!(Retried::decode(later), Ok(retried));
        for other in
            [r#"{"version":1,"offsets":3}"#, r#"{"version":2,"offsets":[],"at":1,"by":"a"}"#]
        {
            assert!(Retried::decode(other.as_bytes()).is_err(), "{other}");
        }
    }
}
