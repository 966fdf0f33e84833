//! A part of a topology: the value of its record in `muster.alerts`, and of its row. Version 1.
//!
//! A line of JSON that says which part of which graph it is, then the part's bytes as they are.

use serde::{Deserialize, Serialize};

use super::common::{unknown, unread};
use super::{WireError, to_vec};

const VERSION: u8 = 1;

/// How many bytes of a graph one part holds.
pub const PART_BYTES: usize = 512 << 10;
/// How many parts a graph may have.
pub const PARTS_MAX: u32 = 4_096;

/// A part of a graph's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The digest of the whole.
    pub digest: Box<str>,
    /// Which part, from 0.
    pub part: u32,
    /// How many parts there are.
    pub of: u32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    v: u8,
    digest: Box<str>,
    part: u32,
    of: u32,
}

/// A graph's bytes in parts.
#[must_use]
pub fn parts(digest: &str, bytes: &[u8]) -> Vec<Part> {
    let chunks = bytes.chunks(PART_BYTES);
    let of = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
    let part = |(part, bytes): (u32, &[u8])| Part {
        digest: digest.into(),
        part,
        of,
        bytes: bytes.to_vec(),
    };
    (0..).zip(chunks).map(part).collect()
}

/// The key of a part's row.
#[must_use]
pub fn key(digest: &str, part: u32) -> Vec<u8> {
    format!("g/{digest}/{part:04}").into_bytes()
}

/// The bytes of a part.
#[must_use]
pub fn encode(part: &Part) -> Vec<u8> {
    let Part { digest, part, of, bytes } = part;
    let head = Head { v: VERSION, digest: digest.clone(), part: *part, of: *of };
    let mut value = to_vec(&head, bytes.len() + 160);
    value.push(b'\n');
    value.extend_from_slice(bytes);
    value
}

/// A part from its bytes.
///
/// # Errors
/// Says what is not as a part has it.
pub fn decode(value: &[u8]) -> Result<Part, WireError> {
    let end = value.iter().position(|byte| *byte == b'\n');
    let (head, bytes) = value.split_at(end.unwrap_or(value.len()));
    let unread = |error| unread(head, VERSION, "a part of a topology", error);
    let Head { v, digest, part, of } = serde_json::from_slice(head).map_err(unread)?;
    if v != VERSION {
        return Err(unknown(v.into(), VERSION, "a part of a topology"));
    }
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_digest || part >= of || of > PARTS_MAX || bytes.len() > PART_BYTES + 1 {
        return Err(WireError("it is no part of a topology".to_owned()));
    }
    Ok(Part { digest, part, of, bytes: bytes.get(1..).unwrap_or_default().to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_reads_back_as_it_was() {
        let digest = "0a".repeat(32);
        let whole = vec![b'\n'; PART_BYTES + 1];
        let parts = parts(&digest, &whole);
        assert_eq!((parts.len(), parts[1].bytes.len()), (2, 1));
        for part in &parts {
            assert_eq!(decode(&encode(part)).as_ref(), Ok(part));
        }
        let text = String::from_utf8(encode(&parts[1])).expect("text");
        let newer = text.replacen("\"v\":1", "\"v\":9", 1);
        let error = decode(newer.as_bytes()).expect_err("version 9");
        assert!(error.to_string().contains("version 9"), "{error}");
        for (from, to) in [("0a", "xx"), ("\"part\":1", "\"part\":2"), ("\"of\":2", "\"of\":9999")]
        {
            assert!(decode(text.replacen(from, to, 1).as_bytes()).is_err(), "{from}");
        }
    }
}
