//! Where payloads go: to Muster over HTTP, or to a topic on Kafka.
//!
//! What the other side answers is told apart into what may work later and what never will; nothing
//! else is made of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{StatusCode, Url};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::super::Failure;
use super::spool::{Head, Item};
use crate::api::path_segment;
use crate::config::{Config, JournalSettings};
use crate::kafka::publish::{Message, Publish, Unsent};
use crate::model::Timestamp;

/// How much of an answer is read.
const ANSWER_MAX: usize = 64 << 10;

/// What became of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is durable there; with what there is to say, such as that some of its events were not read.
    Sent(Option<String>),
    /// It may be taken another time.
    Later(String),
    /// It never will be.
    Never(String),
}

/// Where to, as far as flags and environment say.
#[derive(Debug, Clone, Default)]
pub(super) struct Given {
    /// Muster's address.
    pub(super) url: Option<String>,
    /// The token's file.
    pub(super) token_file: Option<PathBuf>,
    /// The certificate authority's file.
    pub(super) ca_file: Option<PathBuf>,
    /// Kafka's brokers.
    pub(super) brokers: Option<String>,
    /// The topic.
    pub(super) topic: Option<String>,
    /// Settings of the Kafka client.
    pub(super) settings: BTreeMap<String, String>,
    /// Headers that let their bearer in; they are sent and never stored.
    pub(super) secrets: Vec<(String, String)>,
}

/// One place.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Http(Url),
    Kafka { cluster: Cluster, topic: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Cluster {
    brokers: String,
    settings: BTreeMap<String, String>,
}

/// Sends, over connections that it keeps.
pub(super) struct Sender {
    given: Given,
    config: Config,
    client: reqwest::Client,
    token: Option<HeaderValue>,
    /// Always there until the sender is dropped.
    runtime: Option<Runtime>,
    kafka: Option<(Cluster, Publish)>,
    patience: Duration,
}

impl Sender {
    /// With what was given; the config knows the rest. `patience` is the time for all of it.
    pub(super) fn new(given: Given, config: Config, patience: Duration) -> Result<Self, Failure> {
        let mut client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            // Muster is asked straight, whatever the environment says of proxies.
            .no_proxy();
        if let Some(file) = &given.ca_file {
            let certificate = reqwest::Certificate::from_pem(&read(file, "--ca-file")?);
            client = client.add_root_certificate(certificate.map_err(|error| {
                Failure::usage(format!("--ca-file: {}: {error}", file.display()))
            })?);
        }
        let token = given.token_file.as_deref().map(token).transpose()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::other)?;
        Ok(Self {
            given,
            config,
            client: client.build().map_err(Failure::other)?,
            token,
            runtime: Some(runtime),
            kafka: None,
            patience,
        })
    }

    /// Whether it is known where a payload goes; else what is missing.
    pub(super) fn check(&self, head: &Head) -> Result<(), Failure> {
        self.place(head).map(drop).map_err(Failure::usage)
    }

    /// Sends one and waits for the answer, at most `within`.
    pub(super) fn send(&mut self, item: &Item, within: Duration) -> Outcome {
        match self.place(&item.head) {
            Err(why) => Outcome::Later(why),
            Ok(Place::Http(url)) => self.over_http(url, item, within),
            Ok(Place::Kafka { cluster, topic }) => self.over_kafka(&cluster, &topic, item, within),
        }
    }

    /// Flags and environment first, then the config.
    fn place(&self, head: &Head) -> Result<Place, String> {
        let Given { url, brokers, topic, settings, .. } = &self.given;
        if let Some(url) = url {
            return address(url, head).map(Place::Http);
        }
        let topics = self.config.source_topics();
        let known = topics.iter().find(|topic| *topic.source == *head.source);
        let named = head.topic.as_ref().or(topic.as_ref()).or(known.map(|known| &known.topic));
        let Some(named) = named else {
            if brokers.is_some() {
                return Err(format!(
                    "--topic: missing, and the config has none for the source `{}`",
                    head.source
                ));
            }
            let listen = super::super::client::reachable(self.config.api().listen);
            return address(&format!("http://{listen}"), head).map(Place::Http);
        };
        let own = match self.config.journal() {
            JournalSettings::Kafka(own) => Some((own.brokers, own.extra)),
            JournalSettings::Sqlite(_) => None,
        };
        let of_topic = known.and_then(|known| Some((known.brokers.clone()?, known.extra.clone())));
        let (brokers, mut all) = match brokers {
            Some(brokers) => (brokers.clone(), BTreeMap::new()),
            None => of_topic.or(own).ok_or_else(|| {
                format!("--brokers: missing, and the config has none for topic {named}")
            })?,
        };
        all.extend(settings.clone());
        let cluster = Cluster { brokers, settings: all };
        Ok(Place::Kafka { cluster, topic: named.clone() })
    }

    fn over_kafka(
        &mut self,
        cluster: &Cluster,
        topic: &str,
        item: &Item,
        within: Duration,
    ) -> Outcome {
        if self.kafka.as_ref().is_none_or(|(known, _)| known != cluster) {
            match Publish::open(&cluster.brokers, &cluster.settings, self.patience) {
                Ok(publish) => {
                    let before = self.kafka.replace((cluster.clone(), publish));
                    before.into_iter().for_each(|(_, publish)| publish.close());
                }
                Err(error) => return Outcome::Later(error.to_string()),
            }
        }
        let Some((_, publish)) = &self.kafka else {
            return Outcome::Later("no producer".to_owned());
        };
        let message = Message {
            topic,
            key: item.head.key.as_deref(),
            headers: &item.head.headers,
            value: &item.payload,
            at: Timestamp::from_millis(item.head.at),
        };
        match publish.send(&message, within) {
            Ok(()) => Outcome::Sent(None),
            Err(Unsent::Later(why)) => Outcome::Later(why),
            Err(Unsent::Never(why)) => Outcome::Never(why),
        }
    }

    fn over_http(&self, url: Url, item: &Item, within: Duration) -> Outcome {
        let mut request = self.client.post(url.clone()).timeout(within);
        let headers = item.head.headers.iter().chain(&self.given.secrets);
        let mut is_typed = false;
        for (name, value) in headers {
            is_typed |= name.eq_ignore_ascii_case(CONTENT_TYPE.as_str());
            request = request.header(name, value);
        }
        if !is_typed {
            request = request.header(CONTENT_TYPE, content_type(&item.payload));
        }
        if let Some(token) = &self.token {
            request = request.header(reqwest::header::AUTHORIZATION, token.clone());
        }
        let request = request.body(item.payload.clone());
        let runtime = self.runtime.as_ref().expect("it is taken only when the sender is dropped");
        runtime.block_on(async {
            let mut response = match request.send().await {
                Ok(response) => response,
                Err(error) if error.is_builder() => return Outcome::Never(told(&url, &error)),
                Err(error) => return Outcome::Later(told(&url, &error)),
            };
            let status = response.status();
            let mut body = Vec::new();
            while let Ok(Some(chunk)) = response.chunk().await {
                if body.len() + chunk.len() > ANSWER_MAX {
                    break;
                }
                body.extend_from_slice(&chunk);
            }
            outcome(&url, status, &body)
        })
    }
}

impl Drop for Sender {
    /// A name server that does not answer must not hold up a call whose time is over.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        if let Some((_, publish)) = self.kafka.take() {
            publish.close();
        }
    }
}

/// What an answer means for whoever sent the payload.
fn outcome(url: &Url, status: StatusCode, body: &[u8]) -> Outcome {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    if status.is_success() {
        let rejected = answer["rejected"].as_array().map_or(0, Vec::len);
        let first = answer["rejected"][0]["message"].as_str().unwrap_or_default();
        return Outcome::Sent((rejected > 0).then(|| {
            format!("{rejected} of its events are dead letters of Muster now; the first: {first}")
        }));
    }
    let why = match answer["error"]["message"].as_str() {
        Some(message) => message.to_owned(),
        None => String::from_utf8_lossy(&body[..body.len().min(200)]).trim().to_owned(),
    };
    let why = format!("{url}: {status}: {why}");
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Outcome::Later(why)
        }
        status if status.is_client_error() => Outcome::Never(why),
        _ => Outcome::Later(why),
    }
}

fn told(url: &Url, error: &reqwest::Error) -> String {
    let why = if error.is_connect() {
        "cannot connect"
    } else if error.is_timeout() {
        "no answer in time"
    } else if error.is_builder() {
        "the request cannot be made; look at its headers"
    } else {
        "the answer broke off"
    };
    // The address is in front already; the causes say what a person can act on.
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    let mut last = String::new();
    while let Some(inner) = cause {
        last = inner.to_string();
        cause = inner.source();
    }
    format!("{url}: {why} ({last})")
}

fn address(base: &str, head: &Head) -> Result<Url, String> {
    let url = Url::parse(base.trim()).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let mut url = url.ok_or_else(|| {
        format!("--url: {base}: is no address; one looks like https://muster.example.org")
    })?;
    let below = url.path().trim_end_matches('/');
    let path = match head.canonical {
        true => format!("{below}/v1/events"),
        false => format!("{below}/v1/events/{}", path_segment(&head.source)),
    };
    url.set_path(&path);
    Ok(url)
}

fn content_type(payload: &[u8]) -> HeaderValue {
    match payload.trim_ascii_start().first() {
        Some(b'{' | b'[') => HeaderValue::from_static("application/json"),
        _ => HeaderValue::from_static("text/plain"),
    }
}

fn token(file: &Path) -> Result<HeaderValue, Failure> {
    let bytes = read(file, "--token-file")?;
    let mut value = b"Bearer ".to_vec();
    value.extend_from_slice(bytes.trim_ascii());
    let bad = || Failure::usage(format!("--token-file: {}: holds no token", file.display()));
    let mut value = HeaderValue::from_bytes(&value).map_err(|_| bad())?;
    if bytes.trim_ascii().is_empty() {
        return Err(bad());
    }
    value.set_sensitive(true);
    Ok(value)
}

fn read(file: &Path, option: &str) -> Result<Vec<u8>, Failure> {
    std::fs::read(file)
        .map_err(|error| Failure::usage(format!("{option}: {}: {error}", file.display())))
}

/// A header as it is given: `name=value` or `name: value`.
pub(in crate::cli) fn header(text: &str) -> Result<(String, String), String> {
    let at = text.find(['=', ':']).ok_or("write it as name=value")?;
    let (name, value) = (text[..at].trim().to_ascii_lowercase(), text[at + 1..].trim().to_owned());
    if HeaderName::from_bytes(name.as_bytes()).is_err() || HeaderValue::from_str(&value).is_err() {
        return Err(format!("`{text}` is no header; write it as name=value"));
    }
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(source: &str, canonical: bool) -> Head {
        Head {
            source: source.to_owned(),
            canonical,
            topic: None,
            key: None,
            headers: Vec::new(),
            at: 0,
        }
    }

    fn sender(given: Given, config: &str) -> Sender {
        let config = crate::config::parse(config).expect("a good config");
        Sender::new(given, config, Duration::from_secs(1)).expect("a sender")
    }

    #[test]
    fn an_answer_is_for_later_or_for_good() {
        let url = Url::parse("http://muster/v1/events").expect("an address");
        let of = |status: u16| {
            let status = StatusCode::from_u16(status).expect("a status");
            match outcome(&url, status, br#"{"error":{"message":"why"}}"#) {
                Outcome::Sent(_) => "sent",
                Outcome::Later(why) if why.ends_with(": why") => "later",
                Outcome::Never(why) if why.ends_with(": why") => "never",
                other => panic!("{other:?}"),
            }
        };
        assert_eq!([200, 202].map(of), ["sent"; 2]);
        assert_eq!([302, 408, 425, 429, 500, 502, 503, 504].map(of), ["later"; 8]);
        assert_eq!([400, 401, 403, 404, 413, 422].map(of), ["never"; 6]);
        let some = br#"{"accepted":1,"rejected":[{"index":1,"message":"no host"}]}"#;
        let Outcome::Sent(Some(note)) = outcome(&url, StatusCode::ACCEPTED, some) else {
            panic!("it was sent");
        };
        assert!(note.contains("1 of its events") && note.contains("no host"), "{note}");
    }

    #[test]
    fn flags_come_before_the_config() {
        let config = "journal: {kind: kafka, brokers: \"own:9092\", settings: {client.rack: a}}\n\
                      collect: {sources: [{name: nagios, topic: monitoring.nagios}]}\n\
                      api: {listen: \"0.0.0.0:8099\"}\n";
        let http = |place: Result<Place, String>| match place {
            Ok(Place::Http(url)) => url.to_string(),
            other => panic!("{other:?}"),
        };
        let kafka = |place: Result<Place, String>| match place {
            Ok(Place::Kafka { cluster, topic }) => (cluster.brokers, cluster.settings.len(), topic),
            other => panic!("{other:?}"),
        };
        let by_config = sender(Given::default(), config);
        let own = ("own:9092".to_owned(), 1, "monitoring.nagios".to_owned());
        assert_eq!(kafka(by_config.place(&head("nagios", false))), own);
        let other = http(by_config.place(&head("in house", false)));
        assert_eq!(other, "http://127.0.0.1:8099/v1/events/in%20house");
        assert_eq!(http(by_config.place(&head("x", true))), "http://127.0.0.1:8099/v1/events");
        let given = Given { url: Some("https://muster/below/".to_owned()), ..Given::default() };
        let below = http(sender(given, config).place(&head("nagios", false)));
        assert_eq!(below, "https://muster/below/v1/events/nagios");
        let given = Given { brokers: Some("other:1".to_owned()), ..Given::default() };
        let of_brokers = sender(given, config);
        let there = ("other:1".to_owned(), 0, "monitoring.nagios".to_owned());
        assert_eq!(kafka(of_brokers.place(&head("nagios", false))), there);
        let missing = of_brokers.place(&head("zabbix", false)).expect_err("no topic");
        assert!(missing.contains("--topic"), "{missing}");
        let given = Given { topic: Some("t".to_owned()), ..Given::default() };
        assert_eq!(kafka(sender(given, config).place(&head("zabbix", true))).2, "t");
        let given = Given { topic: Some("t".to_owned()), ..Given::default() };
        let missing = sender(given, "").place(&head("zabbix", true)).expect_err("no brokers");
        assert!(missing.contains("--brokers"), "{missing}");
    }

    #[test]
    fn headers_are_read_as_people_write_them() {
        let good = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(header("CE-Type=a:b=c"), good("ce-type", "a:b=c"));
        assert_eq!(header("x-a: b=c"), good("x-a", "b=c"));
        for bad in ["", "x", "=y", "a b=c", "x=a\nb"] {
            assert!(header(bad).is_err(), "{bad}");
        }
    }
}
