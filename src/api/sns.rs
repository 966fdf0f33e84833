//! Amazon SNS: whether a delivery is really its own, and saying yes to a subscription.
//!
//! SNS signs each delivery with the key of a certificate that stands at a host of its own; nothing is
//! fetched from any other. Where a source lists topics, what is not signed so or is of another topic is
//! refused, and a subscription of a listed topic is confirmed. No other ever is: it is answered, logged
//! and counted, and somebody may say yes by hand.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::Parts;
use super::failure::Failure;
use super::senders::{Why, refuse};
use super::take::Taken;
use crate::decoders::cloudwatch::{confirmation, is_of_sns};
use crate::decoders::json;

/// How many certificates are remembered; SNS has one a region and changes it once a year.
const CERTIFICATES_MAX: usize = 32;
/// The most that is read of an answer, in bytes.
const ANSWER_MAX: usize = 64 << 10;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many fetches may be under way at once; a further one is put off.
const FETCHES_MAX: usize = 4;
/// The deepest nesting of an envelope.
const DEPTH: usize = 4;

/// What an address held, or why it could not be had.
pub type Fetched = Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send>>;

/// What is got from outside: certificates of SNS, and its confirmations. Only addresses whose host was
/// checked come here.
#[derive(Clone)]
pub struct Outside {
    fetch: Arc<dyn Fn(String) -> Fetched + Send + Sync>,
    under_way: Arc<Semaphore>,
    certificates: Arc<Mutex<BTreeMap<String, Arc<[u8]>>>>,
}

impl Outside {
    /// Over HTTPS, without following redirects.
    #[must_use]
    pub fn over_https() -> Self {
        let client = reqwest::Client::builder()
            .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .https_only(true)
            .timeout(PATIENCE)
            .build()
            .map_err(|error| error.to_string());
        Self::by(move |url| {
            let client = client.clone();
            Box::pin(async move { get(client?, &url).await })
        })
    }

    /// By other means.
    pub fn by(fetch: impl Fn(String) -> Fetched + Send + Sync + 'static) -> Self {
        Self {
            fetch: Arc::new(fetch),
            under_way: Arc::new(Semaphore::new(FETCHES_MAX)),
            certificates: Arc::default(),
        }
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let _permit = self.under_way.try_acquire().map_err(|_| "too much is being fetched")?;
        (self.fetch)(url.to_owned()).await
    }

    /// The public key of a certificate; its address was checked.
    async fn key(&self, url: &str) -> Result<Arc<[u8]>, String> {
        let known = |all: &BTreeMap<String, Arc<[u8]>>| all.get(url).cloned();
        if let Some(key) = known(&self.certificates.lock().unwrap_or_else(PoisonError::into_inner))
        {
            return Ok(key);
        }
        let pem = self.get(url).await?;
        let key: Arc<[u8]> = public_key(&pem).ok_or("it is no certificate with an RSA key")?.into();
        let mut all = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= CERTIFICATES_MAX {
            all.pop_first();
        }
        all.insert(url.to_owned(), Arc::clone(&key));
        Ok(key)
    }
}

async fn get(client: reqwest::Client, url: &str) -> Result<Vec<u8>, String> {
    let text = |error: reqwest::Error| error.without_url().to_string();
    let mut answer = client.get(url).send().await.map_err(text)?;
    if !answer.status().is_success() {
        return Err(format!("it answered {}", answer.status()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(text)? {
        if bytes.len() + chunk.len() > ANSWER_MAX {
            return Err(format!("it is longer than {ANSWER_MAX} bytes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Refuses what is not of SNS and of one of the topics, if there are any; confirms their subscriptions.
pub(super) async fn check(
    parts: &Parts,
    source: &str,
    topics: &[Box<str>],
    taken: &Taken,
) -> Result<(), Failure> {
    let wants = confirmation(&taken.bytes);
    let count = |outcome| parts.metrics.sns_confirmations.with_label_values(&[outcome]).inc();
    if let Some(wants) = &wants
        && !topics.iter().any(|topic| **topic == *wants.topic_arn)
    {
        let topic: String = wants.topic_arn.chars().take(256).collect();
        warn!(source, topic, "SNS asks to confirm a subscription of a topic not in sns_topics");
        count("not_listed");
        return Ok(());
    }
    if topics.is_empty() {
        return Ok(());
    }
    let signed = Signed::of(&taken.bytes).ok_or_else(|| refuse(parts, source, Why::NoSignature))?;
    if !topics.iter().any(|topic| **topic == *signed.topic) {
        return Err(refuse(parts, source, Why::WrongTopic));
    }
    if !is_of_sns(&signed.certificate) {
        return Err(refuse(parts, source, Why::WrongSignature));
    }
    let later = |what: &str, why: String| {
        warn!(source, what, why, "SNS was not reached");
        let message = format!("{what} cannot be had now; send again in a moment");
        Failure::unavailable("sns_not_reached", message)
    };
    let key = parts.outside.key(&signed.certificate).await;
    let key = key.map_err(|why| later("its certificate", why))?;
    if !signed.is_by(&key) {
        return Err(refuse(parts, source, Why::WrongSignature));
    }
    let Some(wants) = wants else { return Ok(()) };
    let topic = &wants.topic_arn;
    match parts.outside.get(&wants.subscribe_url).await {
        Ok(_) => {
            info!(source, topic, "subscription of SNS confirmed");
            count("confirmed");
            Ok(())
        }
        Err(why) => {
            count("failed");
            Err(later("its confirmation", why))
        }
    }
}

/// A delivery of SNS.
struct Signed {
    topic: String,
    certificate: String,
    signature: Vec<u8>,
    /// SHA-1 for version 1, SHA-256 for version 2.
    version: String,
    text: String,
}

impl Signed {
    fn of(bytes: &[u8]) -> Option<Self> {
        let object = json::within(std::str::from_utf8(bytes).ok()?, DEPTH)?;
        let text = |name: &str| object.get(name).and_then(serde_json::Value::as_str);
        let kind = text("Type")?;
        let names: &[&str] = match kind {
            "Notification" => &["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"],
            "SubscriptionConfirmation" | "UnsubscribeConfirmation" => {
                &["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
            }
            _ => return None,
        };
        let mut signed = String::new();
        for name in names {
            // A subject that is not there is not signed either.
            if let Some(value) = text(name) {
                signed.push_str(name);
                signed.push('\n');
                signed.push_str(value);
                signed.push('\n');
            }
        }
        Some(Self {
            topic: text("TopicArn")?.to_owned(),
            certificate: text("SigningCertURL")?.to_owned(),
            signature: STANDARD.decode(text("Signature")?).ok()?,
            version: text("SignatureVersion")?.to_owned(),
            text: signed,
        })
    }

    fn is_by(&self, key: &[u8]) -> bool {
        let algorithm = match self.version.as_str() {
            "1" => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            "2" => &RSA_PKCS1_2048_8192_SHA256,
            _ => return false,
        };
        let key = UnparsedPublicKey::new(algorithm, key);
        key.verify(self.text.as_bytes(), &self.signature).is_ok()
    }
}

/// The RSA key (PKCS #1) of a certificate in PEM.
fn public_key(pem: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(pem).ok()?;
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
    let (inner, _) = rest.split_once("-----END CERTIFICATE-----")?;
    let coded: String = inner.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let der = STANDARD.decode(coded).ok()?;
    let (certificate, _) = element(&der, 0x30)?;
    let (mut rest, _) = element(certificate, 0x30)?;
    // Version (if there), serial number, algorithm, issuer, validity, subject; then the key.
    if let Some((_, after)) = element(rest, 0xa0) {
        rest = after;
    }
    for tag in [0x02, 0x30, 0x30, 0x30, 0x30] {
        (_, rest) = element(rest, tag)?;
    }
    let (key, _) = element(rest, 0x30)?;
    let (_, bits) = element(key, 0x30)?;
    let (bits, _) = element(bits, 0x03)?;
    // The first byte says how many bits of the last do not count: none.
    bits.strip_prefix(&[0]).map(<[u8]>::to_vec)
}

/// What is in an element of DER with this tag, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    if first != tag {
        return None;
    }
    if length < 0x80 {
        return rest.split_at_checked(usize::from(length));
    }
    let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
    if digits.is_empty() || digits.len() > 4 {
        return None;
    }
    let length = digits.iter().fold(0_usize, |sum, digit| sum << 8 | usize::from(*digit));
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_has_no_key() {
        for bytes in [
            &b""[..],
            b"-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----",
            b"-----BEGIN CERTIFICATE-----\nMIIBMIIB\n-----END CERTIFICATE-----",
            b"\xff",
        ] {
            assert_eq!(public_key(bytes), None);
        }
        assert_eq!(element(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 1], 0x30), None);
        assert_eq!(element(&[0x30, 0x81, 0x01, 7, 8], 0x30), Some((&[7][..], &[8][..])));
        assert_eq!(element(&[0x30, 0x80, 7], 0x30), None, "of no certain length");
    }
}
