//! Muster's own heartbeat: sent while the whole way through it is open, so that somebody outside
//! notices its silence.
//!
//! Before each one a probe is written to every partition of correlate's log; correlate's answers must
//! come back, committed, to the board here, and to notify where this process is the only one. While
//! anything here is not well, or an answer is missing, nothing is sent. No redirect is followed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Client;
use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::{Method, Outwards};
use crate::collect::to_alerts;
use crate::journal::Appender;
use crate::live::Live;
use crate::model::Beat;
use crate::shutdown::Shutdown;
use crate::stage::{Kind, Outgoing, Route};
use crate::telemetry::{Health, Metrics};
use crate::wire;

/// How often it is looked whether one is configured, where none is.
const LOOK: Duration = Duration::from_secs(2);
/// How often it is looked whether the answers are there.
const POLL: Duration = Duration::from_millis(20);
/// What became of one.
const OUTCOMES: [&str; 3] = ["sent", "failed", "withheld"];

/// Everything that sending takes.
pub struct Sender {
    /// Where to, and how often; none: not at all.
    pub settings: Live<Option<Outwards>>,
    /// Knows how the parts are, and which answers came.
    pub health: Health,
    /// Counts outcomes.
    pub metrics: Metrics,
    /// Writes probes.
    pub appender: Arc<Mutex<Box<dyn Appender>>>,
    /// How many partitions are probed.
    pub partitions: u32,
    /// The parts of this process to which every answer must come back.
    pub witnesses: Vec<&'static str>,
    /// Ends it.
    pub stop: Shutdown,
}

impl Sender {
    /// Sends until it is told to stop.
    pub async fn run(self) {
        for outcome in OUTCOMES {
            self.metrics.own_heartbeats.with_label_values(&[outcome]).inc_by(0);
        }
        // A write that hangs is waited for, not joined by others.
        let room = Arc::new(Semaphore::new(1));
        let mut before = "";
        loop {
            let settings = self.settings.get();
            let pause = settings.as_ref().as_ref().map_or(LOOK, |to| to.every.to_std());
            if self.pause(pause).await {
                return;
            }
            let settings = self.settings.get();
            let Some(to) = settings.as_ref() else { continue };
            let (outcome, why) = match self.alive(to, &room).await {
                Err(why) => ("withheld", Some(why)),
                Ok(()) => match send(to).await {
                    Err(why) => ("failed", Some(why)),
                    Ok(()) => ("sent", None),
                },
            };
            self.metrics.own_heartbeats.with_label_values(&[outcome]).inc();
            if before != outcome {
                match why {
                    Some(why) => warn!(outcome, why, "own heartbeat not sent"),
                    None => info!("own heartbeat sent"),
                }
            }
            before = outcome;
        }
    }

    /// Waits, but notices the stop and other settings.
    async fn pause(&self, pause: Duration) -> bool {
        let version = self.settings.version();
        let mut left = pause;
        while left > Duration::ZERO && version == self.settings.version() {
            let step = left.min(LOOK);
            if tokio::time::timeout(step, self.stop.wait()).await.is_ok() {
                return true;
            }
            left = left.saturating_sub(step);
        }
        self.stop.is_begun()
    }

    /// Whether everything here works.
    async fn alive(&self, to: &Outwards, room: &Arc<Semaphore>) -> Result<(), String> {
        self.well()?;
        let id = format!("{:032x}", fastrand::u128(..));
        let within = to.timeout.to_std();
        let answered = tokio::time::timeout(within, self.probe(&id, room)).await;
        answered.map_err(|_| {
            let seen = |part: &&str| format!("{part} {}", self.health.seen(part, &id));
            let seen: Vec<String> = self.witnesses.iter().map(seen).collect();
            format!(
                "a probe did not come back within {}: of {} answers were seen: {}",
                to.timeout,
                self.partitions,
                seen.join(", ")
            )
        })??;
        // What broke meanwhile counts as well.
        self.well()
    }

    fn well(&self) -> Result<(), String> {
        let troubles = self.health.troubles();
        let first = troubles.iter().next();
        first.map_or(Ok(()), |(part, why)| Err(format!("{part} is not well: {why}")))
    }

    async fn probe(&self, id: &str, room: &Arc<Semaphore>) -> Result<(), String> {
        let value = wire::heartbeat::encode(&Beat::Probe(id.into()));
        let probe = |partition| Outgoing {
            route: Route::Partition(partition),
            ..to_alerts("", Kind::Heartbeat, value.clone())
        };
        let records: Vec<Outgoing> = (0..self.partitions).map(probe).collect();
        let Ok(slot) = Arc::clone(room).try_acquire_owned() else {
            return Err("the journal still writes the probe before".to_owned());
        };
        let appender = Arc::clone(&self.appender);
        let append = move || {
            let _slot = slot;
            appender.lock().unwrap_or_else(PoisonError::into_inner).append(records)
        };
        let appended = tokio::task::spawn_blocking(append).await;
        appended
            .map_err(|_| "the probe broke off".to_owned())?
            .map_err(|error| format!("the journal does not take a probe: {error}"))?;
        let all = self.partitions as usize;
        while self.witnesses.iter().any(|part| self.health.seen(part, id) < all) {
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

/// Sends one.
async fn send(to: &Outwards) -> Result<(), String> {
    let target = to.target.clone();
    let url = tokio::task::spawn_blocking(move || target.read()).await;
    let url =
        url.map_err(|error| error.to_string())?.map_err(|why| format!("its address {why}"))?;
    let client = Client::builder()
        .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .timeout(to.timeout.to_std())
        .build()
        .map_err(|error| error.to_string())?;
    let method = match to.method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
        Method::Head => reqwest::Method::HEAD,
    };
    // The address is a secret: it is in no error.
    let answer = client.request(method, url).send().await;
    let status = answer.map_err(|error| error.without_url().to_string())?.status();
    if status.is_success() { Ok(()) } else { Err(format!("the other end answered {status}")) }
}
