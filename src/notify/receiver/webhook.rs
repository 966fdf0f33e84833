//! Posts the incident change as JSON, signed as Standard Webhooks has it.
//!
//! <https://github.com/standard-webhooks/standard-webhooks>: `webhook-id` is the idempotency key,
//! `webhook-signature` is over `id.timestamp.body`. No redirect is followed: the address is the
//! operator's decision alone. Nothing unsigned leaves where a secret is configured.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use sha2::Sha256;

use super::dialog::{Ask, Body, Context, Dialog, Step};
use super::exchange::Reach;
use crate::notify::{Address, Outcome, SecretSource};
use crate::wire;

const PREFIX: &str = "whsec_";

/// What a receiver of this kind goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where to post.
    pub url: Address,
    /// The key of the signature, if there is one; `whsec_` and base64, or plain text. Of several, one
    /// a line, each signs.
    pub secret: Option<SecretSource>,
    /// How it is reached.
    pub reach: Reach,
}

impl Dialog for Settings {
    fn secrets(&self) -> Vec<&SecretSource> {
        self.secret.iter().collect()
    }

    fn next(&self, context: &Context<'_>) -> Step {
        if let Some(answer) = context.answers.last() {
            return answer.failure().map_or_else(Step::told, Step::from);
        }
        let delivery = context.delivery;
        let body = wire::change::encode(&delivery.change);
        let (id, time) = (delivery.id.key(), context.now.as_millis().div_euclid(1_000));
        let mut ask = Ask {
            method: Method::POST,
            url: self.url.expose().clone(),
            headers: Vec::new(),
            body: Some(Body::Bytes(Vec::new())),
            hidden: &[],
        }
        .with("content-type", "application/json")
        .with("webhook-id", &*id)
        .with("webhook-timestamp", time.to_string());
        if let Some(secret) = context.secrets.first() {
            match keys(secret.expose()) {
                Ok(keys) => ask = ask.with("webhook-signature", sign(&keys, &id, time, &body)),
                // A person can put the secret right while we wait; the notice must not be lost.
                Err(why) => return Outcome::Retry { after: None, why }.into(),
            }
        }
        ask.body = Some(Body::Bytes(body));
        Step::ask(ask)
    }
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

/// The keys in a secret, one a line.
fn keys(secret: &str) -> Result<Vec<Vec<u8>>, String> {
    let lines = secret.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys: Vec<_> = lines.map(key).collect::<Result<_, _>>()?;
    if keys.is_empty() { Err("the secret is empty".to_owned()) } else { Ok(keys) }
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
    fn every_line_of_a_secret_signs() {
        let keys = keys("old secret\n\n  whsec_bmV3\n").expect("two keys");
        assert_eq!(keys, [b"old secret".to_vec(), b"new".to_vec()]);
        assert_eq!(sign(&keys, "a", 1, b"").split(' ').count(), 2);
    }

    #[test]
    fn a_bad_secret_is_refused_without_being_shown() {
        let error = key("whsec_not base64!").expect_err("no base64");
        assert!(!error.contains("not base64!"), "{error}");
        assert!(keys("\n \n").expect_err("empty").contains("empty"));
    }
}
