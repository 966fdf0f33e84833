//! Every instrument, in one place.
//!
//! The table below is held equal to this file by a test. Every label has a closed set of values or
//! one that the config bounds.
//!
#![doc = include_str!("metrics.md")]

use std::cell::RefCell;
use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry,
};

use super::latency::Latency;
use crate::model::{ChangeKind, Timestamp};
use crate::stage::{EventOutcome, Limit, Tally};

/// Every instrument.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    described: Arc<[Described]>,
    sources: Arc<[Arc<str>]>,
    /// Events by source and outcome.
    events: IntCounterVec,
    limited: IntCounterVec,
    event_age: HistogramVec,
    changes: IntCounterVec,
    late: IntCounter,
    /// Alerts that fire, by partition.
    pub alerts_open: IntGaugeVec,
    /// Alerts that flap, by partition.
    pub alerts_flapping: IntGaugeVec,
    /// Alerts that are chronic, by partition.
    pub alerts_chronic: IntGaugeVec,
    /// Alerts in maintenance, by partition.
    pub alerts_maintenance: IntGaugeVec,
    /// Incidents that are open, by partition.
    pub incidents_open: IntGaugeVec,
    /// Those of them that are held, by partition.
    pub incidents_held: IntGaugeVec,
    /// Heartbeats that are watched, by partition and state.
    pub heartbeats: IntGaugeVec,
    /// Own heartbeats sent, or not, by outcome.
    pub own_heartbeats: IntCounterVec,
    /// Identities in the suppression cache.
    pub fingerprints: IntGauge,
    /// How long a commit took.
    pub commit_seconds: Latency,
    /// Event appended to the log → incident change committed.
    pub correlated_seconds: Latency,
    /// Incident change appended → delivered to a receiver.
    pub delivered_seconds: Latency,
    /// How long the last restore of a partition took.
    pub restore_seconds: GaugeVec,
    /// Records behind the position, by group, topic and partition.
    pub lag: IntGaugeVec,
    /// Failed commits after which a worker began anew, by group.
    pub rewinds: IntCounterVec,
    /// Records of Muster's own topics that could not be read and were skipped, by group.
    pub unreadable: IntCounterVec,
    /// Attempts to deliver, by receiver and outcome.
    pub deliveries: IntCounterVec,
    /// Notices set aside since the receiver refused them for good, by receiver.
    pub set_aside: IntCounterVec,
    /// Things waiting, by queue.
    pub queue_depth: IntGaugeVec,
    /// `muster_commands_total`.
    pub commands: IntCounterVec,
    /// HTTP requests by route and status code.
    pub http_requests: IntCounterVec,
    /// Requests that were refused for want of a token or signature, by source and reason.
    pub senders_refused: IntCounterVec,
    /// Subscriptions that SNS asked to confirm, by what became of them.
    pub sns_confirmations: IntCounterVec,
    /// HTTP connections that are open.
    pub http_connections: IntGauge,
    /// How old what the board shows is.
    pub board_age_seconds: Gauge,
    /// Incidents on the board, by state.
    pub board_incidents: IntGaugeVec,
    /// What the board left out to keep its bounds.
    pub board_dropped: IntCounterVec,
    /// Silences, by state.
    pub silences: IntGaugeVec,
    /// Notices that were held back, by reason.
    pub muted: IntCounterVec,
    /// How far the log's time is ahead of this machine's clock.
    pub log_ahead_seconds: Gauge,
    /// Edges that the topology's topic holds.
    pub topology_edges: IntGauge,
    /// Graphs of the topology's topic, by what became of them.
    pub topology_graphs: IntCounterVec,
    reload_success: IntGauge,
    reload_success_time: Gauge,
    reloads: IntCounterVec,
}

impl Metrics {
    /// Makes and registers every instrument. `sources` are the configured sources' names; the
    /// last stands for all others.
    ///
    /// # Errors
    /// When one of them is already in the registry.
    pub fn new(registry: Registry, sources: &[Arc<str>]) -> Result<Self, prometheus::Error> {
        let r = &Maker { registry: registry.clone(), made: RefCell::default() };
        let mut metrics = Self {
            described: Arc::default(),
            sources: sources.into(),
            events: counters(
                r,
                "muster_events_total",
                "Events in, by source and what became of them; `reason` says why where they were rejected; `dropped` are soft states, `ignored` payloads that say nothing of an alert.",
                &["source", "outcome", "reason"],
            )?,
            limited: counters(
                r,
                "muster_limited_total",
                "Times a limit cut something short without losing the event, by limit.",
                &["limit"],
            )?,
            event_age: histograms(
                r,
                "muster_event_age_seconds",
                "How old the youngest event of a source in a batch was as it arrived, by its sender's clock; less than 0 where that is ahead. Not of repeats that are known at a glance.",
                &["source"],
                &AGES,
            )?,
            changes: counters(
                r,
                "muster_incident_changes_total",
                "Incident changes committed, by kind; a change with two kinds counts under both.",
                &["kind"],
            )?,
            late: counter(
                r,
                "muster_late_updates_total",
                "Updates that reached correlate after a newer one of their identity.",
            )?,
            alerts_open: gauges(
                r,
                "muster_alerts_open",
                "Alerts that fire, by partition of muster.alerts.",
                &["partition"],
            )?,
            alerts_flapping: gauges(
                r,
                "muster_alerts_flapping",
                "Alerts that flap, and so fire whatever they say, by partition of muster.alerts.",
                &["partition"],
            )?,
            alerts_chronic: gauges(
                r,
                "muster_alerts_chronic",
                "Alerts that fire and are chronic, by partition of muster.alerts.",
                &["partition"],
            )?,
            alerts_maintenance: gauges(
                r,
                "muster_alerts_maintenance",
                "Alerts that fire in maintenance, or quiet after it, by partition of muster.alerts.",
                &["partition"],
            )?,
            incidents_open: gauges(
                r,
                "muster_incidents_open",
                "Incidents that are open, by partition of muster.alerts.",
                &["partition"],
            )?,
            incidents_held: gauges(
                r,
                "muster_incidents_held",
                "Incidents that are open and held: their patterns ask for more alerts, by partition of muster.alerts.",
                &["partition"],
            )?,
            heartbeats: gauges(
                r,
                "muster_heartbeats",
                "Heartbeats that are watched, each value of one for itself, by partition of muster.alerts and state (ok, missed).",
                &["partition", "state"],
            )?,
            own_heartbeats: counters(
                r,
                "muster_own_heartbeat_total",
                "Muster's own heartbeats, by outcome (sent, failed: the other end did not take it, withheld: something here is not well).",
                &["outcome"],
            )?,
            fingerprints: gauge(r, "muster_fingerprints", "Identities in the suppression cache.")?,
            commit_seconds: latency(
                r,
                "muster_commit_seconds",
                "How long a commit of rows, changes and position took.",
            )?,
            correlated_seconds: latency(
                r,
                "muster_correlated_seconds",
                "From an event's append to muster.alerts to the commit of the incident change it led to.",
            )?,
            delivered_seconds: latency(
                r,
                "muster_delivered_seconds",
                "From the append of an incident change to the receiver's acceptance of the notice.",
            )?,
            restore_seconds: float_gauges(
                r,
                "muster_restore_seconds",
                "How long the last restore of a partition took, by group and partition.",
                &["group", "partition"],
            )?,
            lag: gauges(
                r,
                "muster_lag_records",
                "Records behind the committed position, by group, input topic and partition; gaps count.",
                &["group", "topic", "partition"],
            )?,
            rewinds: counters(
                r,
                "muster_rewinds_total",
                "Failures after which a worker went back to its committed position, by group.",
                &["group"],
            )?,
            unreadable: counters(
                r,
                "muster_unreadable_records_total",
                "Records of Muster's own topics, and of the topology's (group `topology`), that could not be read and were skipped, by group: alarm on any.",
                &["group"],
            )?,
            deliveries: counters(
                r,
                "muster_deliveries_total",
                "Attempts to deliver a notice, by receiver and outcome (delivered, retried, set_aside).",
                &["receiver", "outcome"],
            )?,
            set_aside: counters(
                r,
                "muster_deliveries_set_aside_total",
                "Notices that a receiver refused for good, by receiver: alarm on any.",
                &["receiver"],
            )?,
            queue_depth: gauges(
                r,
                "muster_queue_depth",
                "Things waiting, by queue (intake, deliveries, pending).",
                &["queue"],
            )?,
            commands: counters(
                r,
                "muster_commands_total",
                "Commands answered over HTTP, by action and outcome (done, refused, pending).",
                &["action", "outcome"],
            )?,
            http_requests: counters(
                r,
                "muster_http_requests_total",
                "HTTP requests, by route and status code.",
                &["route", "code"],
            )?,
            senders_refused: counters(
                r,
                "muster_senders_refused_total",
                "Requests refused as their sender may not send, by source (`other`: not in the config) and reason (no_token, wrong_token, no_signature, wrong_signature, wrong_time, wrong_topic).",
                &["source", "reason"],
            )?,
            sns_confirmations: counters(
                r,
                "muster_sns_confirmations_total",
                "Subscriptions that SNS asked to confirm, by outcome (confirmed, failed, not_listed: the topic is not in sns_topics).",
                &["outcome"],
            )?,
            http_connections: gauge(
                r,
                "muster_http_connections",
                "HTTP connections that are open; at `api.connections` further ones wait.",
            )?,
            board_age_seconds: float_gauge(
                r,
                "muster_board_age_seconds",
                "How long ago what the board shows was last known to be current.",
            )?,
            board_incidents: gauges(
                r,
                "muster_board_incidents",
                "Incidents that the API can show, by state (open, resolved).",
                &["state"],
            )?,
            board_dropped: counters(
                r,
                "muster_board_dropped_total",
                "What the API cannot show, by what: open_incident, resolved_incident, alert, timeline, result and plan (maintenance) for room, change as unreadable, listed beyond what an answer in Alertmanager's form holds.",
                &["what"],
            )?,
            silences: gauges(
                r,
                "muster_silences",
                "Silences, by state (pending, active, expired).",
                &["state"],
            )?,
            muted: counters(
                r,
                "muster_notices_muted_total",
                "Notices held back, by reason (silence, inhibition), and those told since it was not sure in time (unsure).",
                &["reason"],
            )?,
            log_ahead_seconds: float_gauge(
                r,
                "muster_log_ahead_seconds",
                "How far the log's append time is ahead of this machine's clock; alarm above 300.",
            )?,
            topology_edges: gauge(
                r,
                "muster_topology_edges",
                "Edges that the topic of `correlate.topology.topic` held when its graph was last looked at.",
            )?,
            topology_graphs: counters(
                r,
                "muster_topology_graphs_total",
                "Graphs from the topology's topic, by outcome (in_force, failed: the topic could not be read or holds too much).",
                &["outcome"],
            )?,
            reload_success: gauge(
                r,
                "muster_config_last_reload_successful",
                "Whether the config was good when it was last read; if not, the one before is in force.",
            )?,
            reload_success_time: float_gauge(
                r,
                "muster_config_last_reload_success_timestamp_seconds",
                "When a config was last put into force, in seconds since 1970.",
            )?,
            reloads: counters(
                r,
                "muster_config_reloads_total",
                "Reads of the config, by outcome (ok, failed); the one at the start is the first.",
                &["outcome"],
            )?,
            registry,
        };
        for outcome in ["ok", "failed"] {
            metrics.reloads.with_label_values(&[outcome]).inc_by(0);
        }
        let build =
            gauges(r, "muster_build_info", "Always 1; the version is a label.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        metrics.described = r.made.take().into();
        Ok(metrics)
    }

    /// The config was read.
    pub fn reloaded(&self, is_good: bool, now: Timestamp) {
        self.reload_success.set(i64::from(is_good));
        self.reloads.with_label_values(&[if is_good { "ok" } else { "failed" }]).inc();
        if is_good {
            self.reload_success_time.set(now.since(Timestamp::default()).to_std().as_secs_f64());
        }
    }

    /// Adds what a stage counted.
    pub fn add(&self, tally: &Tally) {
        for (index, counts) in tally.events.iter().enumerate() {
            let source = self.source(index);
            for outcome in EventOutcome::all() {
                let reason = match outcome {
                    EventOutcome::Rejected(reason) => reason.as_str(),
                    _ => "",
                };
                add(&self.events, &[source, outcome.as_str(), reason], counts[outcome.index()]);
            }
        }
        for (index, age) in &tally.youngest {
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of this age of the world")]
            let seconds = *age as f64 / 1_000.0;
            self.event_age.with_label_values(&[self.source(*index)]).observe(seconds);
        }
        for limit in Limit::ALL {
            add(&self.limited, &[limit.as_str()], tally.limited[limit as usize]);
        }
        for kind in ChangeKind::ALL {
            add(&self.changes, &[kind.as_str()], tally.changes[kind as usize]);
        }
        self.late.inc_by(tally.late);
    }

    /// The label of a source, by its place among the configured ones.
    fn source(&self, index: usize) -> &str {
        match self.sources.get(index) {
            Some(name) if index + 1 < self.sources.len() => name,
            _ => "other",
        }
    }

    /// The text that Prometheus scrapes.
    ///
    /// # Errors
    /// When a metric cannot be encoded.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// What every instrument is, in the order of this file, whether it has a value yet or not.
    #[must_use]
    pub fn described(&self) -> &[Described] {
        &self.described
    }

    /// The registry, for what is scraped beside these.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}

/// What an instrument is, as the table above has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Its labels, in order.
    pub labels: Vec<String>,
    /// What it counts or measures.
    pub help: String,
}

/// Registers instruments and remembers what they are: a registry itself shows only those that
/// already have a value.
struct Maker {
    registry: Registry,
    made: RefCell<Vec<Described>>,
}

impl Maker {
    fn register<C: Collector + Clone + 'static>(
        &self,
        kind: &'static str,
        made: C,
    ) -> Result<C, prometheus::Error> {
        self.registry.register(Box::new(made.clone()))?;
        self.made.borrow_mut().extend(made.desc().into_iter().map(|desc| Described {
            name: desc.fq_name.clone(),
            kind,
            labels: desc.variable_labels.clone(),
            help: desc.help.clone(),
        }));
        Ok(made)
    }
}

fn add(counters: &IntCounterVec, labels: &[&str], by: u64) {
    if by > 0 {
        counters.with_label_values(labels).inc_by(by);
    }
}

fn counter(r: &Maker, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    r.register("counter", IntCounter::new(name, help)?)
}

fn counters(
    r: &Maker,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    r.register("counter", IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn gauge(r: &Maker, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    r.register("gauge", IntGauge::new(name, help)?)
}

fn gauges(
    r: &Maker,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntGaugeVec, prometheus::Error> {
    r.register("gauge", IntGaugeVec::new(Opts::new(name, help), labels)?)
}

fn float_gauge(r: &Maker, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
    r.register("gauge", Gauge::new(name, help)?)
}

fn float_gauges(
    r: &Maker,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<GaugeVec, prometheus::Error> {
    r.register("gauge", GaugeVec::new(Opts::new(name, help), labels)?)
}

/// Bounds of ages, in seconds.
const AGES: [f64; 11] = [-300.0, -60.0, -30.0, -10.0, -2.0, 2.0, 10.0, 30.0, 60.0, 300.0, 3_600.0];

fn histograms(
    r: &Maker,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: &[f64],
) -> Result<HistogramVec, prometheus::Error> {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    r.register("histogram", HistogramVec::new(options, labels)?)
}

fn latency(r: &Maker, name: &str, help: &str) -> Result<Latency, prometheus::Error> {
    r.register("histogram", Latency::new(name, help)?)
}
