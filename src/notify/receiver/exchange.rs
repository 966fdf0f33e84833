//! Carries dialogs out over HTTP.
//!
//! No redirect is followed: the address is the operator's decision alone. Secrets are read anew for
//! each attempt, so that a rotated one is picked up. Each request ends within its time limit, and a
//! dialog after [`ASKS_MAX`] requests.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, Identity, Proxy, Response};

use super::dialog::{ASKS_MAX, Answer, Ask, Body, Context, Dialog, Step};
use super::printable;
use crate::clock::SharedClock;
use crate::model::{Span, Timestamp};
use crate::notify::{Delivery, Outcome, Report, Secret, SecretSource};

/// How much of an answer is read, in bytes.
const ANSWER_MAX: usize = 256 << 10;
/// How long the rest of an answer is waited for once its head is there, so that its connection can be
/// used again.
const TAIL_WAIT: Duration = Duration::from_secs(5);
/// How much of an error is shown, in characters.
const ERROR_MAX: usize = 400;

/// How a receiver is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The time to connect (default 3 s).
    pub connect_timeout: Span,
    /// The time for one request and its answer (default 10 s).
    pub timeout: Span,
    /// By way of this proxy: an http, https or socks5 address; none: as the environment says.
    pub proxy: Option<String>,
    /// A file of certificates (PEM) to trust beside the usual ones.
    pub ca_file: Option<PathBuf>,
    /// A file of our own certificate and key (PEM), for receivers that want one.
    pub client_cert_file: Option<PathBuf>,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            connect_timeout: Span::from_secs(3),
            timeout: Span::from_secs(10),
            proxy: None,
            ca_file: None,
            client_cert_file: None,
        }
    }
}

impl Reach {
    /// A client that reaches it so.
    ///
    /// # Errors
    /// Says which part cannot be used on this machine.
    pub fn client(&self) -> Result<Client, String> {
        let mut builder = Client::builder()
            .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(self.connect_timeout.to_std())
            .timeout(self.timeout.to_std());
        if let Some(proxy) = &self.proxy {
            let proxy = Proxy::all(proxy).map_err(|error| format!("proxy: {}", chain(&error)))?;
            builder = builder.proxy(proxy);
        }
        if let Some(path) = &self.ca_file {
            let bytes = file(path)?;
            let certificates = Certificate::from_pem_bundle(&bytes)
                .map_err(|error| format!("ca_file {}: {}", path.display(), chain(&error)))?;
            if certificates.is_empty() {
                return Err(format!("ca_file {} holds no certificate", path.display()));
            }
            for certificate in certificates {
                builder = builder.add_root_certificate(certificate);
            }
        }
        if let Some(path) = &self.client_cert_file {
            let identity = Identity::from_pem(&file(path)?).map_err(|error| {
                format!("client_cert_file {}: {}", path.display(), chain(&error))
            })?;
            builder = builder.identity(identity);
        }
        builder.build().map_err(|error| chain(&error))
    }
}

fn file(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

/// A dialog and the way to whom it is led with.
#[derive(Clone)]
pub struct Exchange {
    dialog: Arc<dyn Dialog>,
    client: Client,
    clock: SharedClock,
}

impl Exchange {
    /// Sets it up; nothing is sent yet.
    ///
    /// # Errors
    /// Says what of `reach` cannot be used here.
    pub fn new(dialog: Arc<dyn Dialog>, reach: &Reach, clock: SharedClock) -> Result<Self, String> {
        Ok(Self { dialog, client: reach.client()?, clock })
    }

    /// Makes one attempt.
    pub async fn deliver(&self, delivery: &Delivery) -> Report {
        let mut secrets = Vec::new();
        for source in self.dialog.secrets() {
            match read(source).await {
                Ok(secret) => secrets.push(secret),
                // A person can put the secret right while we wait; the notice must not be lost.
                Err(why) => return Outcome::Retry { after: None, why }.into(),
            }
        }
        let mut answers: Vec<Answer> = Vec::new();
        let mut remembered = None;
        for _ in 0..ASKS_MAX {
            let now = self.clock.now();
            let context = Context { delivery, now, secrets: &secrets, answers: &answers };
            let (ask, handle) = match self.dialog.next(&context) {
                Step::Ask { ask, handle } => (ask, handle),
                Step::Done(report) => {
                    return Report { handle: report.handle.or(remembered), ..report };
                }
            };
            remembered = handle.or(remembered);
            match self.send(*ask).await {
                Ok(answer) => answers.push(answer),
                Err(why) => {
                    let outcome = Outcome::Retry { after: None, why };
                    return Report { outcome, handle: remembered };
                }
            }
        }
        let why = format!("not done after {ASKS_MAX} requests");
        Report { outcome: Outcome::Retry { after: None, why }, handle: remembered }
    }

    async fn send(&self, ask: Ask) -> Result<Answer, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &ask.headers {
            // The value is not shown: it may be a secret.
            let mut held = HeaderValue::from_str(value.expose())
                .map_err(|_| format!("what is to go into `{name}` cannot stand in a header"))?;
            held.set_sensitive(true);
            headers.insert(HeaderName::from_static(name), held);
        }
        let mut request = self.client.request(ask.method, ask.url);
        match ask.body {
            Some(Body::Json(value)) => {
                headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
                request = request.body(value.to_string());
            }
            Some(Body::Bytes(bytes)) => request = request.body(bytes),
            None => {}
        }
        let answer = request.headers(headers).send().await;
        let answer = answer.map_err(|error| chain(&error.without_url()))?;
        let (status, after) = (answer.status(), retry_after(answer.headers(), self.clock.now()));
        let body = body(answer).await;
        Ok(Answer { status, after, body })
    }
}

/// The beginning of an answer's body.
async fn body(mut answer: Response) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = async {
        while bytes.len() < ANSWER_MAX {
            match answer.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) | Err(_) => break,
            }
        }
    };
    // What came in time is as much as there is.
    let _late = tokio::time::timeout(TAIL_WAIT, read).await;
    bytes.truncate(ANSWER_MAX);
    bytes
}

/// The wait that an answer asks for: seconds, or a date.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Span> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(secs) = text.parse::<u32>() {
        return Some(Span::from_secs(i64::from(secs)));
    }
    let parser = jiff::fmt::rfc2822::DateTimeParser::new();
    let date = parser.parse_timestamp(text).ok()?;
    Some(Timestamp::from_millis(date.as_millisecond()).since(now))
}

/// A secret as it is at this moment.
pub(super) async fn read(source: &SecretSource) -> Result<Secret, String> {
    match source {
        SecretSource::Inline(secret) => Ok(secret.clone()),
        SecretSource::File(path) => {
            let path = path.clone();
            let read = tokio::task::spawn_blocking(move || read_file(&path));
            read.await.map_err(|error| format!("reading the secret file: {error}"))?
        }
    }
}

fn read_file(path: &Path) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("secret file {} cannot be read: {error}", path.display()))?;
    match text.trim_end() {
        "" => Err(format!("secret file {} is empty", path.display())),
        text => Ok(Secret::new(text)),
    }
}

/// An error with its causes, which is where a refused connection or a bad certificate shows.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    printable(&text, ERROR_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_cannot_be_reached_so_is_refused_by_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ca.pem");
        let bad = |reach: Reach| reach.client().expect_err("unusable");
        let gone = Reach { ca_file: Some(path.clone()), ..Reach::default() };
        assert!(bad(gone).contains("cannot be read"));
        std::fs::write(&path, "no certificate").expect("written");
        let empty = Reach { ca_file: Some(path.clone()), ..Reach::default() };
        assert!(bad(empty).contains("ca_file"));
        let cert = Reach { client_cert_file: Some(path), ..Reach::default() };
        assert!(bad(cert).contains("client_cert_file"));
        let proxy = Reach { proxy: Some("not a proxy".into()), ..Reach::default() };
        assert!(bad(proxy).contains("proxy"));
        assert!(Reach::default().client().is_ok());
    }
}
