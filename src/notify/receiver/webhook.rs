//! Posts the incident change as JSON, signed as Standard Webhooks has it.
//!
//! <https://github.com/standard-webhooks/standard-webhooks>: `webhook-id` is the idempotency key,
//! `webhook-signature` is over `id.timestamp.body`. No redirect is followed: the address is the
//! operator's decision alone. Nothing unsigned leaves where a secret is configured.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use sha2::Sha256;

use super::{Delivery, Outcome, printable};
use crate::clock::SharedClock;
use crate::model::{Span, Timestamp};
use crate::notify::{Secret, SecretSource};
use crate::wire;

/// How much of an answer is read, in bytes.
const ANSWER_MAX: usize = 4_096;
/// How much of an answer is shown, in characters.
const SHOWN_MAX: usize = 200;
/// How long the rest of a good answer is waited for, so that its connection can be used again.
const TAIL_WAIT: Duration = Duration::from_millis(500);
const PREFIX: &str = "whsec_";

/// Posts to one address.
#[derive(Clone)]
pub struct Webhook {
    client: Client,
    url: Url,
    secret: Option<SecretSource>,
    clock: SharedClock,
}

impl Webhook {
    /// Sets it up; nothing is sent yet.
    ///
    /// # Errors
    /// Says what is wrong with the address, or why TLS cannot be used here.
    pub fn new(
        url: &str,
        secret: Option<SecretSource>,
        connect_timeout: Span,
        timeout: Span,
        clock: SharedClock,
    ) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| format!("its url is none: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("its url begins with `{}:`, not with http or https", url.scheme()));
        }
        let client = Client::builder()
            .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(connect_timeout.to_std())
            .timeout(timeout.to_std())
            .build()
            .map_err(|error| chain(&error))?;
        Ok(Self { client, url, secret, clock })
    }

    /// Makes one attempt.
    pub async fn deliver(&self, delivery: &Delivery) -> Outcome {
        let body = wire::change::encode(&delivery.change);
        let headers = match self.headers(&delivery.id.key(), &body).await {
            Ok(headers) => headers,
            // A person can put the secret right while we wait; the notice must not be lost.
            Err(why) => return Outcome::Retry { after: None, why },
        };
        let request = self.client.post(self.url.clone()).headers(headers).body(body);
        match request.send().await {
            Ok(answer) => self.judge(answer).await,
            Err(error) => Outcome::Retry { after: None, why: chain(&error.without_url()) },
        }
    }

    async fn headers(&self, id: &str, body: &[u8]) -> Result<HeaderMap, String> {
        let time = self.clock.now().as_millis().div_euclid(1_000);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("webhook-id", HeaderValue::from_str(id).map_err(|error| error.to_string())?);
        headers.insert("webhook-timestamp", HeaderValue::from(time));
        if let Some(secret) = &self.secret {
            let signature = sign(&keys(secret).await?, id, time, body);
            let signature = HeaderValue::from_str(&signature).map_err(|error| error.to_string())?;
            headers.insert("webhook-signature", signature);
        }
        Ok(headers)
    }

    async fn judge(&self, answer: Response) -> Outcome {
        let status = answer.status();
        if status.is_success() {
            // The answer counts by its status; its body is only cleared out of the way.
            drop(tokio::time::timeout(TAIL_WAIT, shown(answer)).await);
            return Outcome::Delivered;
        }
        let after = retry_after(answer.headers(), self.clock.now());
        let why = format!("answered {status}: {}", shown(answer).await);
        if passes(status) { Outcome::Retry { after, why } } else { Outcome::SetAside { why } }
    }
}

/// Whether the same request may succeed later.
fn passes(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
}

/// The wait that the answer asks for: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Span> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(secs) = text.parse::<u32>() {
        return Some(Span::from_secs(i64::from(secs)));
    }
    let parser = jiff::fmt::rfc2822::DateTimeParser::new();
    let date = parser.parse_timestamp(text).ok()?;
    Some(Timestamp::from_millis(date.as_millisecond()).since(now))
}

/// The beginning of an answer, for the log.
async fn shown(mut answer: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_MAX {
        match answer.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    bytes.truncate(ANSWER_MAX);
    printable(&String::from_utf8_lossy(&bytes), SHOWN_MAX)
}

/// Every signature, a blank between them, so that a receiver can change its secret in its own time.
fn sign(keys: &[Vec<u8>], id: &str, time: i64, body: &[u8]) -> String {
    let sign = |key: &Vec<u8>| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        mac.update(format!("{id}.{time}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    };
    keys.iter().map(sign).collect::<Vec<_>>().join(" ")
}

/// The keys as they are at this moment.
async fn keys(secret: &SecretSource) -> Result<Vec<Vec<u8>>, String> {
    match secret {
        SecretSource::Inline(secret) => Ok(vec![key(secret.expose())?]),
        SecretSource::File(path) => {
            let path = path.clone();
            let read = tokio::task::spawn_blocking(move || read_keys(&path));
            read.await.map_err(|error| format!("reading the secret file: {error}"))?
        }
    }
}

fn read_keys(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map(Secret::new)
        .map_err(|error| format!("secret file {shown} cannot be read: {error}"))?;
    let lines = text.expose().lines().map(str::trim).filter(|line| !line.is_empty());
    let keys: Vec<_> = lines.map(key).collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(format!("secret file {shown} is empty")) } else { Ok(keys) }
}

fn key(secret: &str) -> Result<Vec<u8>, String> {
    match secret.strip_prefix(PREFIX) {
        // The text itself must not show in a log, not even a wrong one.
        Some(coded) => STANDARD
            .decode(coded)
            .map_err(|_| format!("the secret begins with `{PREFIX}`, but no base64 follows")),
        None if secret.is_empty() => Err("the secret is empty".to_owned()),
        None => Ok(secret.as_bytes().to_vec()),
    }
}

/// An error with its causes, which is where a refused connection or a bad certificate shows.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    printable(&text, 2 * SHOWN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_standard() {
        // The example of the specification's own libraries.
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
        let body = br#"{"test": 2432232314}"#;
        let signature = sign(&[key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_line_of_a_secret_file_signs() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("secret");
        std::fs::write(&path, "old secret\n\n  whsec_bmV3\n").expect("written");
        let keys = read_keys(&path).expect("two keys");
        assert_eq!(keys, [b"old secret".to_vec(), b"new".to_vec()]);
        assert_eq!(sign(&keys, "a", 1, b"").split(' ').count(), 2);
    }

    #[test]
    fn a_bad_secret_is_refused_without_being_shown() {
        let error = key("whsec_not base64!").expect_err("no base64");
        assert!(!error.contains("not base64!"), "{error}");
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("secret");
        assert!(read_keys(&path).is_err());
        std::fs::write(&path, "\n \n").expect("written");
        assert!(read_keys(&path).expect_err("empty").contains("empty"));
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = Timestamp::from_millis(784_111_777_000);
        let asked = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            retry_after(&headers, now)
        };
        assert_eq!(asked("120"), Some(Span::from_secs(120)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Span::from_secs(60)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Span::ZERO), "long ago is now");
        assert_eq!(asked("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn what_may_pass_is_told_from_what_never_will() {
        let passing = [408, 425, 429, 500, 502, 503, 504, 599];
        let lasting = [301, 302, 307, 400, 401, 403, 404, 409, 410, 413, 422];
        let passes = |code: &u16| passes(StatusCode::from_u16(*code).expect("a status"));
        assert!(passing.iter().all(passes) && !lasting.iter().any(passes));
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        let clock: SharedClock = std::sync::Arc::new(crate::clock::SystemClock);
        for url in ["not a url", "ftp://example.org/x"] {
            let (short, long) = (Span::from_secs(3), Span::from_secs(10));
            assert!(Webhook::new(url, None, short, long, clock.clone()).is_err(), "{url}");
        }
    }
}
