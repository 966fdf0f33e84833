//! A load whose outcome is known: an estate that reports every minute, with faults here and there.
//!
//! Deterministic: event `n` is the same bytes in every run. Every identity reports once a round; a
//! round is a minute of event time. In each round but the first and the last, a few clusters have
//! a fault on some checks of all hosts, which ends in the next round. So it is known how many
//! events are new, and how many alerts and incidents there are.

use std::io::Write;

use crate::collect::Collect;
use crate::model::{Chronic, CorrelateSettings, Matchers, Pattern, Span, Timestamp};
use crate::stage::{Kind, Offset, Output, Record, Slot, Stage};

/// What correlate goes by so that a load's faults are told apart: one pattern, by cluster.
#[must_use]
pub fn by_cluster(gap: Span, reopen_window: Span) -> CorrelateSettings {
    CorrelateSettings {
        reopen_window,
        patterns: vec![Pattern {
            name: "cluster".into(),
            matchers: Matchers::default(),
            by: vec!["cluster".into()],
            window: Span::from_secs(3_600),
            gap: Some(gap),
            cross_source: true,
            max_alerts: 1_000,
            min_alerts: 1,
            chronic: Chronic::default(),
            near: None,
        }],
        ..CorrelateSettings::default()
    }
}

/// How big the estate is and how long it is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Clusters.
    pub clusters: u32,
    /// Hosts of a cluster.
    pub hosts: u32,
    /// Checks of a host.
    pub checks: u32,
    /// Clusters with a fault, per round.
    pub faults: u32,
    /// Checks of each host that a fault breaks.
    pub broken: u32,
    /// Rounds.
    pub rounds: u32,
    /// The event time of the first round.
    pub start: Timestamp,
}

impl Load {
    /// The load of the pipeline bench: 100,000 identities, 3,000,000 events, 95 % repeats.
    #[must_use]
    pub const fn large(start: Timestamp) -> Self {
        Self { clusters: 200, hosts: 50, checks: 10, faults: 9, broken: 2, rounds: 30, start }
    }

    /// A load of the same shape that takes no time: 1,000 identities, 10,000 events.
    #[must_use]
    pub const fn small(start: Timestamp) -> Self {
        Self { clusters: 20, hosts: 5, checks: 10, faults: 2, broken: 2, rounds: 10, start }
    }

    /// How many identities there are.
    #[must_use]
    pub const fn identities(&self) -> u64 {
        self.clusters as u64 * self.hosts as u64 * self.checks as u64
    }

    /// How many events there are.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.identities() * self.rounds as u64
    }

    /// How many alerts they make: one for each broken check of each fault.
    #[must_use]
    pub const fn alerts(&self) -> u64 {
        self.incidents() * self.hosts as u64 * self.broken as u64
    }

    /// How many incidents they make by cluster: one a fault.
    #[must_use]
    pub const fn incidents(&self) -> u64 {
        self.faults as u64 * (self.rounds as u64 - 2)
    }

    /// Writes event `n` into `bytes`, which is cleared first; about 450 bytes.
    pub fn write(&self, n: u64, bytes: &mut Vec<u8>) {
        bytes.clear();
        let (round, at) = (n / self.identities(), n % self.identities());
        let check = at % u64::from(self.checks);
        let host = at / u64::from(self.checks);
        let cluster = host / u64::from(self.hosts);
        let time =
            self.start.as_millis() + i64::try_from(round * 60_000 + at % 50_000).unwrap_or(0);
        let status = if self.is_broken(round, cluster, check) { "critical" } else { "ok" };
        write!(
            bytes,
            "{{\"source\":\"estate\",\"host\":\"node-{host:05}.dc{}.example.net\",\"check\":\"check-{check:02} service latency\",\
             \"status\":\"{status}\",\"timestamp\":{time},\"description\":\"round {round:03}: p99 latency {}.{:03} s over 5 min, \
             threshold 0.750 s, measured by the probe beside the service\",\"tags\":{{\"cluster\":\"cluster-{cluster:03}\",\
             \"env\":\"prod\",\"region\":\"eu-central-1\",\"az\":\"eu-central-1{}\",\"team\":\"team-{:02}\",\"service\":\"service-{:03}\"}},\
             \"links\":{{\"graph\":\"https://graphs.example.net/d/{host:05}/{check:02}\"}}}}",
            cluster % 4,
            n % 3,
            n % 1_000,
            char::from(b'a' + u8::try_from(host % 3).unwrap_or(0)),
            cluster % 20,
            cluster % 50,
        )
        .expect("writing to memory cannot fail");
    }

    /// Writes the key of event `n`, its host, into `bytes`, which is cleared first.
    pub fn write_key(&self, n: u64, bytes: &mut Vec<u8>) {
        bytes.clear();
        let host = n % self.identities() / u64::from(self.checks);
        write!(bytes, "node-{host:05}").expect("writing to memory cannot fail");
    }

    fn is_broken(&self, round: u64, cluster: u64, check: u64) -> bool {
        if round == 0 || round + 1 >= u64::from(self.rounds) || check >= u64::from(self.broken) {
            return false;
        }
        // Each round takes the next few clusters, so that a cluster's faults lie far apart.
        let first = (round * u64::from(self.faults)) % u64::from(self.clusters);
        let place = (cluster + u64::from(self.clusters) - first) % u64::from(self.clusters);
        place < u64::from(self.faults)
    }
}

/// Feeds records of publishers to collect, all of one arrival; what it hands out.
pub fn collect(stage: &mut Collect, records: &[Vec<u8>], arrival: Timestamp) -> Output {
    let mut out = Output::default();
    for bytes in records {
        let record = Record {
            offset: Offset(0),
            time: arrival,
            kind: Kind::Raw,
            key: None,
            value: Some(bytes),
            headers: None,
        };
        stage.apply(Slot::default(), &record, &mut out);
    }
    out
}
