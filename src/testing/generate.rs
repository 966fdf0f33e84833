//! Events for tests: small sketches that become what a publisher would send.
//!
//! Few identities, few tags and few statuses, so that a short list of sketches already holds joins,
//! recoveries, refreshes and ties. Who draws them (a property test, a seed) is not decided here.

use serde_json::json;

use crate::model::Timestamp;

/// When generated histories begin: 2026-01-01, in milliseconds.
pub const BEGIN: i64 = 1_767_225_600_000;

/// How many identities sketches speak of.
pub const IDENTITIES: u8 = 12;

const STATUSES: [&str; 6] = ["ok", "info", "unknown", "warning", "critical", "acknowledged"];

/// One event, drawn with as few numbers as possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sketch {
    /// Whose, of [`IDENTITIES`]; larger numbers count from the beginning.
    pub who: u8,
    /// 0 is ok, 1 to 4 are worse and worse, 5 acknowledges.
    pub status: u8,
    /// When it happened, in seconds after [`BEGIN`].
    pub second: i64,
    /// Picks the tags; several numbers give the same ones.
    pub tags: u8,
    /// Picks the description, and whether there is a link.
    pub text: u8,
    /// Picks whether the event says itself when it loses its force, and when: half a minute or ten
    /// minutes after it happened.
    pub expires: u8,
}

impl Sketch {
    /// When it happened.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        Timestamp::from_millis(BEGIN + self.second * 1_000)
    }

    /// What a publisher would send.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let who = self.who % IDENTITIES;
        let status = STATUSES[usize::from(self.status) % STATUSES.len()];
        let source = ["nagios", "zabbix"][usize::from(who % 2)];
        let mut event = json!({
            "source": source,
            "host": format!("host-{}", who / 3),
            "check": format!("check-{}", who % 3),
            "status": status,
            "timestamp": self.time().as_millis(),
            "description": format!("text {}", self.text % 4),
            "tags": {"cluster": format!("c{}", who / 6)},
        });
        match self.tags % 6 {
            1 => event["tags"]["rack"] = json!(["r1", "r2"]),
            2 => event["tags"]["rack"] = json!(["r2", "r3"]),
            3 => event["tags"]["env"] = json!("prod"),
            _ => {}
        }
        if self.text % 4 == 3 {
            event["links"] = json!({"graph": format!("https://graphs.example/{}", self.text)});
        }
        let lives = [None, Some(30), Some(600)][usize::from(self.expires % 3)];
        if let Some(seconds) = lives {
            event["expires_at"] = json!(self.time().as_millis() + seconds * 1_000);
        }
        if who == IDENTITIES - 1 {
            // One identity is by key, and its host is not its own.
            event["key"] = json!("job");
            event["host"] = json!(format!("host-{}", self.tags % 3));
        }
        event
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.json().to_string().into_bytes()
    }
}

/// Sketches of a seed, in time order, `apart` seconds apart at most.
#[must_use]
pub fn sketches(seed: u64, count: usize, apart: i64) -> Vec<Sketch> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut second = 0;
    (0..count)
        .map(|_| {
            second += random.i64(0..=apart.max(0));
            Sketch {
                who: random.u8(..IDENTITIES),
                status: random.u8(..5),
                second,
                tags: random.u8(..6),
                text: random.u8(..4),
                expires: random.u8(..3),
            }
        })
        .collect()
}
