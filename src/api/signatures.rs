//! Signatures that senders put on their bodies: HMAC-SHA256 with a secret both sides know.
//!
//! The secret is read from its file at each use, a key a line, so that it can be changed without a
//! restart and two hold while it is. What is signed is the body as it was sent. Comparing takes as long
//! whatever was sent.

use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tracing::error;

use super::Parts;
use super::failure::Failure;
use super::senders::{Why, refuse};
use super::take::Taken;
use crate::model::Span;

/// How far a time that is signed as well may lie from ours.
const APART_MAX: Span = Span::from_secs(300);
/// How many keys a file may hold.
const KEYS_MAX: usize = 10;
/// The longest file of keys, in bytes.
const FILE_MAX: u64 = 64 << 10;
/// How many signatures of one header are looked at.
const SIGNATURES_MAX: usize = 10;

/// How a source signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The sender's way.
    pub scheme: Scheme,
    /// Where the secret is.
    pub secret_file: PathBuf,
    /// Of Grafana: the header with the time, where one was chosen there; it is signed too then.
    pub timestamp_header: Option<Box<str>>,
}

/// A sender's way of signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `Sentry-Hook-Signature`: hex.
    Sentry,
    /// `X-Grafana-Alerting-Signature`: hex, over the time as well where there is one.
    Grafana,
    /// `X-Hub-Signature-256` or `X-Hub-Signature`: `sha256=` and hex; GitHub, Jira and others.
    Hub,
    /// `X-PagerDuty-Signature`: `v1=` and hex, several with commas between.
    PagerDuty,
}

impl Scheme {
    /// Every way, with its words.
    pub const ALL: [(&'static str, Self); 5] = [
        ("sentry", Self::Sentry),
        ("grafana", Self::Grafana),
        ("jira", Self::Hub),
        ("github", Self::Hub),
        ("pagerduty", Self::PagerDuty),
    ];

    const fn headers(self) -> &'static [&'static str] {
        match self {
            Self::Sentry => &["sentry-hook-signature"],
            Self::Grafana => &["x-grafana-alerting-signature"],
            Self::Hub => &["x-hub-signature-256", "x-hub-signature"],
            Self::PagerDuty => &["x-pagerduty-signature"],
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Sentry | Self::Grafana => "",
            Self::Hub => "sha256=",
            Self::PagerDuty => "v1=",
        }
    }
}

/// Whether a file of keys can be read, or why not.
///
/// # Errors
/// Says what is wrong with it; never shows what it holds.
pub fn readable(path: &Path) -> Result<(), String> {
    keys(path).map(|_| ())
}

/// Refuses a request that is not signed as it should be.
pub(super) async fn check(
    parts: &Parts,
    source: &str,
    signature: &Signature,
    taken: &Taken,
) -> Result<(), Failure> {
    let scheme = signature.scheme;
    let given = scheme.headers().iter().find_map(|name| taken.header(name));
    let given = given.ok_or_else(|| refuse(parts, source, Why::NoSignature))?;
    let time = signature.timestamp_header.as_deref().map(|name| taken.header(name));
    let time = match time {
        Some(None) => return Err(refuse(parts, source, Why::NoSignature)),
        Some(time) => time,
        None => None,
    };
    let path = signature.secret_file.clone();
    let read = tokio::task::spawn_blocking(move || keys(&path)).await;
    let keys = read.map_err(|error| error.to_string()).and_then(|keys| keys).map_err(|why| {
        error!(source, why, "signatures cannot be checked");
        let message = "the secret of this source cannot be read here; see the log";
        Failure::unavailable("no_secret", message)
    })?;
    let good = given
        .split(',')
        .take(SIGNATURES_MAX)
        .filter_map(|one| from_hex(one.trim().strip_prefix(scheme.prefix())?))
        .any(|one| keys.iter().any(|key| is_signed(key, time, taken.sent(), &one)));
    if !good {
        return Err(refuse(parts, source, Why::WrongSignature));
    }
    let Some(time) = time else { return Ok(()) };
    let said = time.parse::<i64>().ok().and_then(|secs| secs.checked_mul(1_000));
    let now = taken.arrival.as_millis();
    let near = said.is_some_and(|said| said.abs_diff(now) <= APART_MAX.as_millis().unsigned_abs());
    if near { Ok(()) } else { Err(refuse(parts, source, Why::WrongTime)) }
}

fn is_signed(key: &[u8], time: Option<&str>, body: &[u8], signature: &[u8]) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    if let Some(time) = time {
        mac.update(time.as_bytes());
        mac.update(b":");
    }
    mac.update(body);
    mac.verify_slice(signature).is_ok()
}

fn keys(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let shown = path.display();
    let unread = |error: std::io::Error| format!("secret file {shown} cannot be read: {error}");
    if std::fs::metadata(path).map_err(unread)?.len() > FILE_MAX {
        return Err(format!("secret file {shown} is longer than {FILE_MAX} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(unread)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys: Vec<Vec<u8>> = lines.map(|line| line.as_bytes().to_vec()).collect();
    match keys.len() {
        0 => Err(format!("secret file {shown} is empty")),
        1..=KEYS_MAX => Ok(keys),
        _ => Err(format!("secret file {shown} holds more than {KEYS_MAX} keys")),
    }
}

/// The bytes of hexadecimal digits.
pub(super) fn from_hex(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return None;
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pairs = digits.as_bytes().chunks_exact(2);
    pairs.map(|pair| u8::try_from(digit(&pair[0])? * 16 + digit(&pair[1])?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_signature_of_the_body_with_the_key_is_good() {
        // RFC 4231, test case 2.
        let signature =
            from_hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let signature = signature.expect("hexadecimal");
        let body = b"what do ya want for nothing?";
        assert!(is_signed(b"Jefe", None, body, &signature));
        assert!(!is_signed(b"jefe", None, body, &signature));
        assert!(!is_signed(b"Jefe", None, b"what do ya want", &signature));
        assert!(!is_signed(b"Jefe", None, body, &signature[..16]), "half of it");
        assert!(!is_signed(b"Jefe", None, body, &[]));
        // The time stands before the body, with a colon between.
        assert!(!is_signed(b"Jefe", Some("1"), body, &signature));
        assert_eq!(from_hex("0g"), None);
        assert_eq!(from_hex("abc"), None);
        assert_eq!(from_hex("éé"), None);
    }
}
