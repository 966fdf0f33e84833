//! Keeps the topology that stands in a compacted Kafka topic in force.
//!
//! The topic is read whole before correlate begins, then followed. What changes there comes into
//! force as by a reload: once it rests, as one graph, and only where it is another one. Whatever goes
//! wrong later, the last good graph stays in force and the topic is read anew. Each instance follows
//! for the partitions that it owns.

use std::time::Duration;

use tracing::{error, info, warn};

use super::Failure;
use super::reload::InForce;
use crate::clock::Stopwatch;
use crate::config::{Edges, NotHeld, TopologyTopic};
use crate::journal::{Followed, Follower, JournalError, Records};
use crate::kafka;
use crate::shutdown::Shutdown;
use crate::telemetry::Metrics;

const STEP: Duration = Duration::from_millis(100);
/// How long after a failure the topic is read anew.
const AGAIN: Duration = Duration::from_secs(10);
/// A topic that never rests is put in force all the same, after so many times as long.
const SETTLES_MAX: u32 = 6;
/// How many bad records of a batch get a log line of their own.
const NAMED_MAX: usize = 10;
/// How bad records are counted.
const GROUP: &str = "topology";

/// The topic and what it held so far.
pub(super) struct Following {
    topic: TopologyTopic,
    from: kafka::Sources,
    in_force: InForce,
    metrics: Metrics,
    edges: Edges,
    /// None after a failure: it is to be read anew.
    follower: Option<Box<dyn Follower>>,
}

impl Following {
    /// Reads the topic whole and puts its graph in force.
    ///
    /// # Errors
    /// When it cannot be read within its time, or holds more than it may.
    pub(super) fn open(
        topic: TopologyTopic,
        (group, instance): (String, String),
        in_force: InForce,
        metrics: Metrics,
        stop: &Shutdown,
    ) -> Result<Self, Failure> {
        let from = kafka::Sources {
            brokers: topic.brokers.clone(),
            extra: topic.extra.clone(),
            group: format!("{group}-topology"),
            instance,
        };
        for outcome in ["in_force", "failed"] {
            metrics.topology_graphs.with_label_values(&[outcome]).inc_by(0);
        }
        metrics.unreadable.with_label_values(&[GROUP]).inc_by(0);
        let edges = topic.edges();
        let mut following = Self { topic, from, in_force, metrics, edges, follower: None };
        let read = following.read(stop).and_then(|()| following.put());
        read.map_err(|why| {
            let name = &following.topic.topic;
            Failure::other(format!("correlate.topology.topic: `{name}`: {why}"))
        })?;
        Ok(following)
    }

    /// Follows the topic until the stop.
    pub(super) fn run(mut self, stop: &Shutdown) -> Result<(), JournalError> {
        // Since the first and since the last change that is not in force yet.
        let mut pending: Option<(Stopwatch, Stopwatch)> = None;
        let settle = self.topic.settle.to_std();
        while !stop.is_begun() {
            let news = match self.follower.is_some() {
                true => self.step(),
                false => self.read(stop).map(|()| true),
            };
            match news {
                Ok(false) => {}
                Ok(true) => {
                    let first = pending.take().map_or_else(Stopwatch::start, |(first, _)| first);
                    pending = Some((first, Stopwatch::start()));
                }
                Err(why) => {
                    self.failed(&why);
                    self.follower = None;
                    // What was read by half is not put in force.
                    pending = None;
                    if stop.wait_for(AGAIN) {
                        break;
                    }
                }
            }
            let is_due = pending.as_ref().is_some_and(|(first, last)| {
                last.elapsed() >= settle || first.elapsed() >= settle * SETTLES_MAX
            });
            if is_due {
                pending = None;
                if let Err(why) = self.put() {
                    self.failed(&why);
                }
            }
        }
        Ok(())
    }

    fn failed(&self, why: &str) {
        let topic = &self.topic.topic;
        error!(topic, why, "topology's topic not in force; the last good graph stays");
        self.metrics.topology_graphs.with_label_values(&["failed"]).inc();
    }

    /// Reads the topic from its beginning to its end.
    fn read(&mut self, stop: &Shutdown) -> Result<(), String> {
        let since = Stopwatch::start();
        let limit = self.topic.read_within.to_std();
        let opened = kafka::follow_other(&self.from, &self.topic.topic);
        let mut follower = opened.map_err(|error| error.to_string())?;
        let mut edges = self.topic.edges();
        loop {
            if stop.is_begun() {
                return Err("it was not read, since the process stops".to_owned());
            }
            if since.elapsed() > limit {
                return Err(format!(
                    "it was not read to its end within {}; look for a transaction that is left \
                     open there, or raise correlate.topology.read_within",
                    self.topic.read_within
                ));
            }
            match follower.poll(STEP).map_err(|error| error.to_string())? {
                Followed::CaughtUp => break,
                Followed::Batch(batch) => self.take(&mut edges, &*batch)?,
                Followed::Idle => {}
            }
        }
        self.edges = edges;
        self.follower = Some(follower);
        Ok(())
    }

    /// Reads on; whether there was anything.
    fn step(&mut self) -> Result<bool, String> {
        let Some(mut follower) = self.follower.take() else { return Ok(false) };
        let found = follower.poll(STEP).map_err(|error| error.to_string())?;
        let Followed::Batch(batch) = found else {
            self.follower = Some(follower);
            return Ok(false);
        };
        let mut edges = std::mem::replace(&mut self.edges, self.topic.edges());
        let taken = self.take(&mut edges, &*batch);
        self.edges = edges;
        taken?;
        self.follower = Some(follower);
        Ok(true)
    }

    /// Takes records; an error where there is no room for all of them.
    fn take(&self, edges: &mut Edges, batch: &dyn Records) -> Result<(), String> {
        let topic = &self.topic.topic;
        let mut bad = 0;
        for index in 0..batch.len() {
            let (slot, record) = batch.get(index);
            let (partition, offset) = (slot.partition, record.offset.0);
            match edges.take(partition, record.key, record.value) {
                Ok(()) => {}
                Err(NotHeld::Full(why)) => {
                    return Err(format!("partition {partition} at offset {offset}: {why}"));
                }
                Err(NotHeld::NoEdge(why)) => {
                    bad += 1;
                    if bad <= NAMED_MAX {
                        warn!(topic, partition, offset, why, "record of the topology left out");
                    }
                }
            }
        }
        if bad > NAMED_MAX {
            let more = bad - NAMED_MAX;
            warn!(topic, more, "further records of the topology left out");
        }
        self.metrics.unreadable.with_label_values(&[GROUP]).inc_by(bad as u64);
        Ok(())
    }

    /// Puts the graph in force, where it is another one than before.
    fn put(&mut self) -> Result<(), String> {
        let topology = self.edges.build()?;
        let count = i64::try_from(self.edges.len()).unwrap_or(i64::MAX);
        self.metrics.topology_edges.set(count);
        let before = self.in_force.correlate.get();
        if before.topology.as_ref().is_some_and(|before| before.digest == topology.digest) {
            return Ok(());
        }
        let topic = &self.topic.topic;
        if let Some(graph) = &topology.graph {
            for pattern in &before.patterns {
                let Some(near) = &pattern.near else { continue };
                let missing = near.kinds.iter().find(|kind| !graph.has_kind(kind));
                let missing = missing.or(Some(&near.tag).filter(|tag| !graph.tags().contains(tag)));
                if let Some(word) = missing {
                    let pattern = &*pattern.name;
                    warn!(topic, pattern, word, "the topology has no such tag or kind of edge");
                }
            }
        }
        let (nodes, edges) =
            topology.graph.as_ref().map_or((0, 0), |graph| (graph.nodes(), graph.edges()));
        let (digest, unreadable) = (topology.digest.clone(), self.edges.unreadable());
        self.in_force.topology_by(topology);
        self.metrics.topology_graphs.with_label_values(&["in_force"]).inc();
        info!(topic, nodes, edges, unreadable, digest = &digest[..12], "topology put in force");
        Ok(())
    }
}
