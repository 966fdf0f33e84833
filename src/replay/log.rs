//! Runs what correlate has read before, the retained `muster.alerts`, through correlate again.
//!
//! Each partition has a correlate of its own, as it had when it was read, and time is in the log.
//! By whose rules: those given, for trying them on what happened, or those that the log has, for
//! seeing again what came of it. What collect decided is in the log for good.

use std::collections::{BTreeMap, BTreeSet};

use super::{Assignment, SEAL_EVERY, Summary, Told};
use crate::correlate::Correlate;
use crate::model::{CorrelateSettings, IncidentId, Timestamp};
use crate::stage::{Kind, Offset, Output, Record, Slot, Stage};
use crate::wire;

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Its partition.
    pub partition: u32,
    /// When it was appended.
    pub time: Timestamp,
    /// What it is.
    pub kind: Kind,
    /// Its bytes.
    pub value: Box<[u8]>,
}

/// By whose rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Those given; the log's own are left aside.
    Given,
    /// The log's own; those given until it has some.
    AsWas,
}

/// A replay of a log under way.
pub struct LogReplay {
    settings: CorrelateSettings,
    rules: Rules,
    partitions: BTreeMap<u32, Partition>,
    told: Told,
}

struct Partition {
    correlate: Correlate,
    read: i64,
}

impl LogReplay {
    /// A replay by these settings.
    #[must_use]
    pub fn new(mut settings: CorrelateSettings, rules: Rules) -> Self {
        // Which partition awaits which heartbeat is known to the log's own settings only: by others
        // none is awaited, or each would be missed where its beats do not come.
        settings.heartbeats.clear();
        Self { settings, rules, partitions: BTreeMap::new(), told: Told::default() }
    }

    /// Takes the next record of the log. Each incident change goes to `changes`, an update's place
    /// to `assignments`.
    pub fn record(
        &mut self,
        logged: &Logged,
        mut changes: impl FnMut(&[u8]),
        mut assignments: impl FnMut(Assignment),
    ) {
        let Logged { partition, time, kind, ref value } = *logged;
        if matches!(kind, Kind::Settings | Kind::Topology) && self.rules == Rules::Given {
            return;
        }
        let slot = Slot { input: 0, partition };
        let settings = &self.settings;
        let mut out = Output::default();
        let part = self.partitions.entry(partition).or_insert_with(|| {
            let mut part = Partition { correlate: Correlate::new(settings), read: 0 };
            let opening = part.correlate.opening(slot);
            for opening in opening {
                part.apply(slot, time, opening.kind, &opening.value, &mut out);
            }
            part
        });
        part.apply(slot, time, kind, value, &mut out);
        if part.read % SEAL_EVERY == 0 {
            // Nobody wants the rows; sealing lets go of what is noted of them.
            part.correlate.seal(&mut out);
            self.told.summary.late += out.tally.late;
        }
        let records = std::mem::take(&mut out.records);
        let unread = records.iter().filter(|record| record.kind == Kind::DeadLetter).count();
        self.told.summary.unread += unread as u64;
        self.told.take(records, &mut changes);
        let summary = &mut self.told.summary;
        let mut count = |events, repeats: u64| {
            summary.repeats = summary.repeats.saturating_add(repeats);
            summary.events = summary.events.saturating_add(repeats.saturating_add(events));
        };
        match kind {
            Kind::Update => {
                let Ok(update) = wire::update::decode(value) else { return };
                count(1, update.seen.repeats);
                let correlate = &self.partitions[&partition].correlate;
                let place = correlate.place_of(&update.event.identity());
                assignments(Assignment { event_id: update.event.id, place });
            }
            Kind::Touch => {
                if let Ok(touch) = wire::update::decode_touch(value) {
                    count(0, touch.seen.repeats);
                }
            }
            _ => {}
        }
    }

    /// Everything was read.
    pub fn finish(&mut self) {
        for part in self.partitions.values_mut() {
            let mut out = Output::default();
            part.correlate.seal(&mut out);
            self.told.summary.late += out.tally.late;
        }
    }

    /// The incidents that nobody was told of, since their patterns asked for more alerts.
    #[must_use]
    pub fn held(&self) -> &BTreeSet<IncidentId> {
        &self.told.held
    }

    /// What was counted so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.told.summary
    }

    /// When an incident was opened, by log time.
    #[must_use]
    pub fn opened_at(&self, incident: IncidentId) -> Option<Timestamp> {
        self.told.opened.get(&incident).copied()
    }
}

impl Partition {
    fn apply(&mut self, slot: Slot, time: Timestamp, kind: Kind, value: &[u8], out: &mut Output) {
        let offset = Offset(self.read);
        self.read += 1;
        let record = Record { offset, time, kind, key: None, value: Some(value), headers: None };
        self.correlate.apply(slot, &record, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Chronic, Matchers, Pattern, Span};

    fn settings(patterns: Vec<Pattern>) -> CorrelateSettings {
        CorrelateSettings { patterns, ..CorrelateSettings::default() }
    }

    fn by_cluster() -> CorrelateSettings {
        settings(vec![Pattern {
            name: "cluster".into(),
            matchers: Matchers::default(),
            by: vec!["cluster".into()],
            window: Span::from_secs(3_600),
            gap: None,
            cross_source: true,
            max_alerts: 1_000,
            min_alerts: 1,
            chronic: Chronic::default(),
            near: None,
        }])
    }

    fn logged(partition: u32, second: i64, kind: Kind, value: impl Into<Vec<u8>>) -> Logged {
        let time = Timestamp::from_millis(second * 1_000);
        Logged { partition, time, kind, value: value.into().into() }
    }

    fn update(partition: u32, second: i64, host: &str) -> Logged {
        let value = format!(
            r#"{{"v":1,"shard":"default","expire_after":86400000,"repeats":2,"seen":null,"event":
            {{"source":"n","host":"{host}","check":"","status":"critical","timestamp":{},
            "description":"","tags":{{"cluster":"web"}},"links":{{}},"id":"{host}"}}}}"#,
            second * 1_000
        );
        logged(partition, second, Kind::Update, value)
    }

    fn run(
        settings: CorrelateSettings,
        rules: Rules,
        log: &[Logged],
    ) -> (Summary, Vec<Assignment>) {
        let mut replay = LogReplay::new(settings, rules);
        let mut places = Vec::new();
        for record in log {
            replay.record(record, |_| {}, |place| places.push(place));
        }
        replay.finish();
        (replay.summary(), places)
    }

    #[test]
    fn the_rules_given_count_or_those_that_the_log_has() {
        let was = wire::settings::encode(&by_cluster());
        let log = [
            logged(0, 0, Kind::Settings, was),
            update(0, 1, "a"),
            update(0, 2, "b"),
            // Another partition is another correlate.
            update(1, 3, "c"),
        ];
        let incidents = |settings, rules| run(settings, rules, &log).0.incidents;
        assert_eq!(incidents(settings(Vec::new()), Rules::Given), 3);
        assert_eq!(incidents(by_cluster(), Rules::Given), 2);
        assert_eq!(
            incidents(settings(Vec::new()), Rules::AsWas),
            2,
            "the log's, where it has some"
        );
        let (summary, places) = run(by_cluster(), Rules::Given, &log);
        assert_eq!((summary.events, summary.repeats, summary.alerts), (9, 6, 3));
        let events: Vec<_> = places.iter().filter_map(|one| one.event_id.as_deref()).collect();
        assert_eq!(events, ["a", "b", "c"]);
        assert_eq!(places[0].place.map(|place| place.1), places[1].place.map(|place| place.1));
    }

    #[test]
    fn what_this_version_cannot_use_is_counted_and_no_more() {
        let strange = logged(0, 1, Kind::Raw, "from tomorrow");
        let broken = logged(0, 1, Kind::Update, "{}");
        let log = [strange, broken, update(0, 2, "a"), logged(0, 3, Kind::Tick, "")];
        let (summary, places) = run(by_cluster(), Rules::Given, &log);
        assert_eq!((summary.unread, summary.incidents, places.len()), (2, 1, 1));
    }
}
