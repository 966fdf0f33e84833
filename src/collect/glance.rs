//! Looks at a record just far enough to know a repeat by its bytes.
//!
//! Most events differ from the one before of their identity in time, text and links only. A glance
//! takes identity, status and time, and of everything that the content digest is made from nothing
//! but a hash of the bytes as they stand: where an accepted event had the same ones, they mean the
//! same. Whatever is out of the ordinary (an escape in a name, a list of events, a field twice)
//! gets no glance and is read in full by `decode`. A glance never says other than `decode` would.

use std::borrow::Cow;
use std::hash::Hasher;
use std::num::NonZeroU64;

use siphasher::sip::SipHasher13;

use super::Settings;
use super::decode::{Form, SMALL, hash_identity, may_be_macro, write};
use crate::model::event::Report;
use crate::model::{Status, Timestamp};
use crate::wire::event::parse_report;

/// What tells whether an event is a repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Glance<'a> {
    pub(super) source: &'a str,
    pub(super) status: Status,
    pub(super) timestamp: Timestamp,
    /// When it reached Muster.
    pub(super) arrival: Timestamp,
    pub(super) expires_at: Option<Timestamp>,
    /// The keyed hash of its identity.
    pub(super) hash: u128,
    /// The keyed hash of the bytes that its content digest is made from.
    pub(super) form: NonZeroU64,
}

/// A glance at a record; none where only reading all of it can tell. `keys` are those of the
/// identity's hash and of the content's.
pub(super) fn glance<'a>(
    bytes: &'a [u8],
    form: Form,
    arrival: Timestamp,
    settings: &Settings,
    keys: &[(u64, u64); 2],
) -> Option<Glance<'a>> {
    let limits = &settings.limits;
    if bytes.len() > limits.record_bytes.min(SMALL) {
        return None;
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let mut fields = Fields::new(keys[1]);
    let mut cursor = Cursor { text, at: 0 };
    cursor.take(b'{')?;
    loop {
        cursor.take(b'"')?;
        let name = cursor.plain()?;
        cursor.take(b':')?;
        fields.take(name, &mut cursor, form)?;
        match cursor.next()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    cursor.ends()?;
    fields.glance(form, arrival, settings, keys[0])
}

/// The fields found so far; each may be there once.
struct Fields<'a> {
    source: Option<&'a str>,
    host: Option<&'a str>,
    check: Option<&'a str>,
    key: Option<&'a str>,
    status: Option<&'a str>,
    timestamp: Option<i64>,
    arrival: Option<i64>,
    expires_at: Option<i64>,
    /// Fields that say nothing here, or nothing at all, and may not be there twice.
    seen: u8,
    content: SipHasher13,
}

const DESCRIPTION: u8 = 1;
const LINKS: u8 = 2;
const ID: u8 = 4;
const KEY: u8 = 8;
const EXPIRES_AT: u8 = 16;
const TAGS: u8 = 32;

impl<'a> Fields<'a> {
    fn new(keys: (u64, u64)) -> Self {
        Self {
            source: None,
            host: None,
            check: None,
            key: None,
            status: None,
            timestamp: None,
            arrival: None,
            expires_at: None,
            seen: 0,
            content: SipHasher13::new_with_keys(keys.0, keys.1),
        }
    }

    fn take(&mut self, name: &str, cursor: &mut Cursor<'a>, form: Form) -> Option<()> {
        match name {
            "source" => once(&mut self.source, cursor.name()?),
            "host" => once(&mut self.host, cursor.name()?),
            "check" => once(&mut self.check, cursor.name()?),
            "status" => once(&mut self.status, cursor.name()?),
            "timestamp" => once(&mut self.timestamp, cursor.integer()?),
            "arrival" if form == Form::Own => once(&mut self.arrival, cursor.integer()?),
            "key" | "incident_identifier" => {
                self.first(KEY)?;
                cursor.null().or_else(|| once(&mut self.key, cursor.name()?))
            }
            "expires_at" => {
                self.first(EXPIRES_AT)?;
                cursor.null().or_else(|| once(&mut self.expires_at, cursor.integer()?))
            }
            "description" => {
                self.first(DESCRIPTION)?;
                cursor.null().or_else(|| cursor.text())
            }
            "id" => {
                self.first(ID)?;
                cursor.null().or_else(|| cursor.text())
            }
            "links" => {
                self.first(LINKS)?;
                cursor.null().or_else(|| cursor.texts())
            }
            // A wrapper, and what stands in for other fields.
            "alerts" | "app_key" | "primary_property" => None,
            other => {
                if other == "tags" {
                    self.first(TAGS)?;
                }
                write(&mut self.content, other);
                write(&mut self.content, cursor.value()?);
                Some(())
            }
        }
    }

    fn first(&mut self, field: u8) -> Option<()> {
        let first = self.seen & field == 0;
        self.seen |= field;
        first.then_some(())
    }

    fn glance(
        mut self,
        form: Form,
        arrival: Timestamp,
        settings: &Settings,
        keys: (u64, u64),
    ) -> Option<Glance<'a>> {
        let (source, host) = (self.source?, self.host?);
        let check = self.check.unwrap_or_default();
        let blank = |text: &str| text.trim().is_empty();
        if blank(source) || blank(host) || blank(check) && !check.is_empty() {
            return None;
        }
        if self.key.is_some_and(blank) {
            return None;
        }
        if [source, host, check, self.key.unwrap_or_default()].into_iter().any(may_be_macro) {
            return None;
        }
        let limits = &settings.limits;
        // What is longer is cut.
        let longest = [source, host, check, self.key.unwrap_or_default()].map(str::len);
        if longest.into_iter().any(|bytes| bytes > limits.value_bytes) {
            return None;
        }
        let Report::Status(status) = parse_report(self.status?.trim())? else { return None };
        let arrival = self.arrival.map_or(arrival, Timestamp::from_millis);
        let time = |number| match form {
            Form::Own => Some(Timestamp::from_millis(number)),
            _ => Timestamp::from_epoch(number),
        };
        let timestamp = match self.timestamp {
            Some(number) => time(number)?,
            None => arrival,
        };
        if form == Form::Published && timestamp > arrival + limits.ahead {
            return None;
        }
        let expires_at = match self.expires_at {
            Some(number) => Some(time(number)?),
            None => None,
        };
        let canonical = match form {
            Form::Own => Cow::Borrowed(host),
            _ => settings.hosts.canonical(Cow::Borrowed(host)),
        };
        if self.key.is_some() {
            // Else the identity stands for both.
            write(&mut self.content, host);
            write(&mut self.content, check);
        }
        Some(Glance {
            source,
            status,
            timestamp,
            arrival,
            expires_at,
            hash: hash_identity(keys, source, &canonical, check, self.key),
            form: NonZeroU64::new(self.content.finish().max(1)).expect("at least 1"),
        })
    }
}

fn once<T>(field: &mut Option<T>, value: T) -> Option<()> {
    field.replace(value).is_none().then_some(())
}

/// A place in a record; everything it hands out is well-formed JSON, but for what `value` says.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The next byte that is not white space, taken.
    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.text.as_bytes().get(self.at)? {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    fn take(&mut self, wanted: u8) -> Option<()> {
        (self.next()? == wanted).then_some(())
    }

    fn ends(&mut self) -> Option<()> {
        self.peek().is_none().then_some(())
    }

    fn null(&mut self) -> Option<()> {
        self.peek()?;
        let rest = &self.text.as_bytes()[self.at..];
        rest.starts_with(b"null").then(|| self.at += 4)
    }

    /// A text without escapes.
    fn name(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        self.plain()
    }

    /// The rest of a text without escapes.
    fn plain(&mut self) -> Option<&'a str> {
        let begin = self.at;
        let end = special(self.text.as_bytes(), begin)?;
        if self.text.as_bytes()[end] != b'"' {
            return None;
        }
        self.at = end + 1;
        self.text.get(begin..end)
    }

    /// A text that may have escapes, but not those by number.
    fn text(&mut self) -> Option<()> {
        self.take(b'"')?;
        loop {
            let at = special(self.text.as_bytes(), self.at)?;
            match self.text.as_bytes()[at..] {
                [b'"', ..] => {
                    self.at = at + 1;
                    return Some(());
                }
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => {
                    self.at = at + 2;
                }
                _ => return None,
            }
        }
    }

    /// An object of texts.
    fn texts(&mut self) -> Option<()> {
        self.take(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.text()?;
            self.take(b':')?;
            self.text()?;
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// A positive whole number of at most 18 digits.
    fn integer(&mut self) -> Option<i64> {
        self.peek()?;
        let begin = self.at;
        let digits = &self.text.as_bytes()[begin..];
        let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).take(19).count();
        if !(1..=18).contains(&count) || digits[0] == b'0' {
            return None;
        }
        self.at += count;
        // A fraction or an exponent is not whole, and shows as no comma at the caller.
        Some(digits[..count].iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
    }

    /// The bytes of any value. They are a value only if they once were taken for one: where it
    /// ends is found by quotes and brackets alone.
    fn value(&mut self) -> Option<&'a str> {
        self.peek()?;
        let (bytes, begin) = (self.text.as_bytes(), self.at);
        let mut depth = 0_usize;
        loop {
            match *bytes.get(self.at)? {
                b'"' => {
                    self.at += 1;
                    self.skip_text()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                b',' | b'}' | b']' if depth == 0 => break,
                _ => {
                    self.at += 1;
                    continue;
                }
            }
            if depth == 0 {
                break;
            }
        }
        self.text.get(begin..self.at)
    }

    fn skip_text(&mut self) -> Option<()> {
        loop {
            let at = special(self.text.as_bytes(), self.at)?;
            match self.text.as_bytes()[at] {
                b'"' => {
                    self.at = at + 1;
                    return Some(());
                }
                b'\\' => self.at = at + 2,
                _ => return None,
            }
        }
    }
}

/// The place of the next quote, backslash or control character.
fn special(bytes: &[u8], from: usize) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let rest = bytes.get(from..)?;
    let mut at = from;
    // Eight bytes at once. The lowest bit that is set is always right; those above it need not be.
    let (words, tail) = rest.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word);
        let zero = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes;
        let quote = zero(word ^ (ONES * u64::from(b'"')));
        let backslash = zero(word ^ (ONES * u64::from(b'\\')));
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let found = (quote | backslash | control) & HIGH;
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let found = tail.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20))?;
    Some(at + found)
}

#[cfg(test)]
mod tests;
