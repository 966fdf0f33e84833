//! Says in correlate's log whether this process reads what is sent, and raises alerts about lag.
//!
//! Notes go to every partition, since a heartbeat of any of them may be beaten by what is read here;
//! there are none where no heartbeat is configured. A reader has caught up once everything has been
//! read that was there at some time in the last seconds; no sender's clock is asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::clock::SharedClock;
use crate::collect::{self, LagLimit, to_alerts};
use crate::journal::Appender;
use crate::live::Live;
use crate::model::event::Report;
use crate::model::heartbeat::OWN_SOURCE;
use crate::model::update::Seen;
use crate::model::{
    Beat, Event, Heartbeat, Span, Status, TagValue, Tags, Timestamp, Update, Watch,
};
use crate::shutdown::Shutdown;
use crate::stage::{Kind, Outgoing, Route};
use crate::telemetry::Health;
use crate::telemetry::health::Lag;
use crate::wire;

/// The check of alerts about lag.
const CHECK: &str = "lag";
/// How often it is said how collect is: a quarter of the shortest deadline, within these.
const EVERY: (Span, Span) = (Span::from_secs(1), Span::from_secs(5));
/// From which age of what is unread on a reader is behind.
const BEHIND: Span = Span::from_secs(10);
/// How often an alert about lag is told again, and how long it lives without.
const AGAIN: Span = Span::from_secs(300);
const LIVES: Span = Span::from_secs(1_800);
/// The workers that read what is sent.
const COLLECTING: [&str; 3] = ["collect", "suppress", "intake"];

/// Everything that watching takes.
pub struct Watcher {
    /// For the heartbeats that are configured, and the limits of lag.
    pub settings: Live<collect::Settings>,
    /// Knows how far every reader is.
    pub health: Health,
    /// Writes to correlate's log.
    pub appender: Box<dyn Appender>,
    /// How many partitions that has.
    pub partitions: u32,
    /// Whether this process collects: only such a one says how collect is.
    pub collects: bool,
    /// This instance, for alerts about lag.
    pub instance: Arc<str>,
    /// The time.
    pub clock: SharedClock,
    /// Ends it.
    pub stop: Shutdown,
}

impl Watcher {
    /// Watches on this thread until it is told to stop.
    pub fn run(mut self) {
        let mut lags = Lags::default();
        let mut watch = Watch::Began;
        let mut failing = false;
        loop {
            let settings = self.settings.get();
            let rules = settings.heartbeats.rules();
            let now = self.clock.now();
            let mut records = lags.look(now, &settings.lag, &self.health.lags(), &self.instance);
            if self.collects && !rules.is_empty() {
                if watch != Watch::Began {
                    watch = self.how(&lags);
                }
                records.extend((0..self.partitions).map(|partition| note(watch, partition)));
            }
            let noted = self.collects && !rules.is_empty();
            match records.is_empty() || self.append(records, &mut failing) {
                // What was not told is told anew.
                false => lags.told.clear(),
                true if noted => watch = Watch::CaughtUp,
                true => {}
            }
            if self.stop.wait_for(every(rules)) {
                return;
            }
        }
    }

    fn append(&mut self, records: Vec<Outgoing>, failing: &mut bool) -> bool {
        match self.appender.append(records) {
            Ok(()) => {
                if std::mem::take(failing) {
                    info!("collect's state is in the log again");
                }
                true
            }
            Err(error) => {
                if !std::mem::replace(failing, true) {
                    warn!(%error, "collect's state cannot be told; no heartbeat is missed meanwhile");
                }
                false
            }
        }
    }

    fn how(&self, lags: &Lags) -> Watch {
        let troubles = self.health.troubles();
        // Who cannot read does not know what waits.
        let ill = COLLECTING.iter().any(|part| troubles.contains_key(*part));
        if ill || lags.behind { Watch::Behind } else { Watch::CaughtUp }
    }
}

/// How often it is said.
fn every(rules: &[Heartbeat]) -> Duration {
    let shortest = rules.iter().map(|rule| rule.every + rule.grace).min();
    let (least, most) = EVERY;
    shortest.map_or(most, |span| span.part(4).clamp(least, most)).to_std()
}

fn note(watch: Watch, partition: u32) -> Outgoing {
    let value = wire::heartbeat::encode(&Beat::Watch(watch));
    Outgoing { route: Route::Partition(partition), ..to_alerts("", Kind::Heartbeat, value) }
}

/// Whose lag it is: worker, topic, partition.
type Place = (&'static str, Arc<str>, u32);

/// How every reader is doing.
#[derive(Default)]
struct Lags {
    progress: BTreeMap<Place, Progress>,
    /// What was said of each last, and when.
    told: BTreeMap<Place, (Status, Timestamp)>,
    /// A reader of events is behind.
    behind: bool,
}

/// How far one reader is in one partition.
#[derive(Debug, Clone, Copy)]
struct Progress {
    /// All that was there then has been read.
    caught_up: Option<Timestamp>,
    /// Since when it is looked at.
    since: Timestamp,
    /// What was there at a time ends here.
    mark: Option<(Timestamp, i64)>,
    /// It began with something unread: whoever read it before may have said that it was behind.
    owes: bool,
}

impl Progress {
    fn new(now: Timestamp, lag: &Lag) -> Self {
        Self { caught_up: None, since: now, mark: None, owes: lag.records > 0 }
    }

    fn look(&mut self, now: Timestamp, lag: &Lag) {
        if lag.records == 0 {
            (self.caught_up, self.mark) = (Some(now), None);
            return;
        }
        let Some(next) = lag.next else { return };
        if let Some((at, _)) = self.mark.filter(|(_, end)| next >= *end) {
            (self.caught_up, self.mark) = (Some(at), None);
        }
        let end = next.saturating_add(i64::try_from(lag.records).unwrap_or(i64::MAX));
        self.mark.get_or_insert((now, end));
    }

    /// How long something has been unread for.
    fn age(&self, now: Timestamp) -> Span {
        now.since(self.caught_up.unwrap_or(self.since))
    }

    fn is_behind(&self, now: Timestamp) -> bool {
        self.caught_up.is_none() || self.age(now) > BEHIND
    }
}

impl Lags {
    /// Looks at every reader; the updates that are to be told.
    fn look(
        &mut self,
        now: Timestamp,
        limit: &LagLimit,
        readers: &[(&'static str, Vec<Lag>)],
        instance: &str,
    ) -> Vec<Outgoing> {
        let mut before = std::mem::take(&mut self.progress);
        let mut records = Vec::new();
        self.behind = false;
        for (name, lags) in readers {
            for lag in lags {
                let place: Place = (name, Arc::clone(&lag.topic), lag.partition);
                let mut progress = before.remove(&place).unwrap_or_else(|| Progress::new(now, lag));
                progress.look(now, lag);
                self.behind |= COLLECTING.contains(name) && progress.is_behind(now);
                records.extend(self.tell(now, limit, (&place, lag, &mut progress), instance));
                self.progress.insert(place, progress);
            }
        }
        // Whoever reads them now says how they are.
        self.told.retain(|place, _| self.progress.contains_key(place));
        records
    }

    fn tell(
        &mut self,
        now: Timestamp,
        limit: &LagLimit,
        (place, lag, progress): (&Place, &Lag, &mut Progress),
        instance: &str,
    ) -> Option<Outgoing> {
        let age = progress.age(now);
        let known = self.told.get(place).copied();
        let open = known.is_some_and(|(status, _)| status != Status::Ok);
        // Half of a limit ends what began beyond it, so that nothing flaps around it.
        let parts = if open { 2 } else { 1 };
        let over_records = limit.records > 0 && lag.records > limit.records / parts;
        let most = limit.age.part(if open { 2 } else { 1 });
        let over_age = limit.age > Span::ZERO && lag.records > 0 && age > most;
        let status = if over_records || over_age { limit.status } else { Status::Ok };
        let due = match (known, status) {
            (None, Status::Ok) => progress.owes && progress.caught_up.is_some(),
            (None, _) => true,
            (Some((said, at)), _) => {
                said != status || (status != Status::Ok && now.since(at) >= AGAIN)
            }
        };
        if !due {
            return None;
        }
        progress.owes = false;
        self.told.insert(place.clone(), (status, now));
        let (worker, topic, partition) = place;
        let text = format!(
            "{worker} is {} records behind in {topic}/{partition}; the oldest has been waiting \
             for {age}",
            lag.records
        );
        let mut tags = Tags::default();
        let partition_text = partition.to_string();
        let all = [("group", *worker), ("topic", topic), ("partition", &partition_text)];
        for (name, value) in all.into_iter().chain([("instance", instance)]) {
            tags.set(name, TagValue::one(value));
        }
        let event = Event {
            source: OWN_SOURCE.into(),
            host: topic.as_ref().into(),
            check: CHECK.into(),
            key: Some(format!("{CHECK} {worker} {topic}/{partition}").into()),
            report: Report::Status(status),
            timestamp: now,
            description: text.into(),
            tags,
            links: Default::default(),
            expires_at: None,
            id: None,
        };
        let shard: Box<str> = "default".into();
        let update =
            Update { shard: shard.clone(), expire_after: LIVES, seen: Seen::default(), event };
        Some(to_alerts(&shard, Kind::Update, wire::update::encode(&update)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(1_763_913_600_000 + second * 1_000)
    }

    fn lag(records: u64, next: i64) -> Lag {
        Lag { topic: "monitoring".into(), partition: 2, records, next: Some(next) }
    }

    /// What is said at each look: the status, where something is.
    fn said(looks: &[(i64, Lag)], limit: &LagLimit) -> Vec<Option<Status>> {
        let mut lags = Lags::default();
        let look = |(second, lag): &(i64, Lag)| {
            let readers = [("collect", vec![lag.clone()])];
            let records = lags.look(at(*second), limit, &readers, "here");
            assert!(records.len() < 2, "one partition");
            let update = wire::update::decode(&records.first()?.value).expect("an update");
            assert_eq!(&*update.event.host, "monitoring");
            update.event.status()
        };
        looks.iter().map(look).collect()
    }

    const OLD: LagLimit =
        LagLimit { records: 0, age: Span::from_secs(60), status: Status::Warning };

    #[test]
    fn what_waits_for_long_is_an_alert_and_half_the_limit_ends_it() {
        let looks = [
            (0, lag(0, 100)),
            (30, lag(5, 100)),
            (61, lag(5, 100)),
            (100, lag(9, 100)),
            (400, lag(9, 100)),
            // All of those were read, and others came.
            (401, lag(3, 110)),
            (402, lag(0, 113)),
        ];
        let (ok, bad) = (Some(Status::Ok), Some(Status::Warning));
        assert_eq!(said(&looks, &OLD), [None, None, bad, None, bad, None, ok]);
    }

    #[test]
    fn a_stream_that_is_read_as_it_comes_is_never_old() {
        // Something is unread at each look, but never the same.
        let looks: Vec<_> = (0..200).map(|nth| (nth * 2, lag(50, 100 + nth * 60))).collect();
        let said = said(&looks, &OLD);
        let after_the_first: Vec<_> = said.iter().flatten().collect();
        assert_eq!(
            after_the_first,
            [&Status::Ok],
            "whoever read it before may have said otherwise"
        );
    }

    #[test]
    fn many_unread_records_are_an_alert() {
        let many = LagLimit { records: 100, age: Span::ZERO, status: Status::Critical };
        let looks = [(0, lag(101, 0)), (5, lag(60, 90)), (10, lag(50, 150)), (15, lag(99, 200))];
        let (ok, bad) = (Some(Status::Ok), Some(Status::Critical));
        assert_eq!(said(&looks, &many), [bad, None, ok, None]);
        let off = LagLimit { records: 0, age: Span::ZERO, status: Status::Critical };
        assert_eq!(said(&looks, &off), [None, None, ok, None]);
    }

    #[test]
    fn who_never_caught_up_is_behind_from_the_start() {
        let mut lags = Lags::default();
        let mut behind = |second: i64, records: u64, next: i64| {
            let readers = [("suppress", vec![lag(records, next)]), ("correlate", vec![lag(9, 0)])];
            lags.look(at(second), &OLD, &readers, "here");
            lags.behind
        };
        assert!(behind(0, 500, 100), "a backlog");
        assert!(behind(2, 100, 500), "it is not read yet");
        assert!(!behind(4, 10, 600), "all that was there at first is read");
        assert!(!behind(10, 10, 600));
        assert!(behind(20, 10, 600), "it stands still");
    }
}
