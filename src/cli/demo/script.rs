//! What happens in the demo: a simulated estate, 36 times as fast as life, by a script.
//!
//! Pure: the time is an argument, and the same times give the same events.

use crate::model::{Span, Timestamp};
use crate::simulate::{Kind, Rates, Scripted, Settings, Simulation};

/// How much faster than life; checks of 1 to 5 minutes come every 2 to 8 seconds.
const PACE: u32 = 36;

/// The estate's pairs of host and check.
const PAIRS: u32 = 2_000;

/// When the last fault has ended and everybody has reported it, in seconds.
pub(super) const SECONDS: u32 = 60;

/// What happens, for the reader of the screen; seconds and words.
pub(super) const SCRIPT: [(u32, &str); 5] = [
    (5, "a disk fills up"),
    (9, "a check begins to flap"),
    (16, "the switch of a rack fails: all its hosts and their VMs are gone at once"),
    (37, "a bad deploy of a service"),
    (50, "the deploy is rolled back, the disk cleaned"),
];

/// The events, as they come.
pub(super) struct Feed {
    simulation: Simulation,
    held: Option<(Timestamp, Vec<u8>)>,
}

impl Feed {
    /// The feed of a demo that begins now.
    pub(super) fn new(start: Timestamp) -> Self {
        let fault = |from: i64, to: i64, kind: Option<Kind>| Scripted {
            at: paced(from),
            length: paced(to - from),
            kind,
        };
        let script = vec![
            fault(5, 50, Some(Kind::Disk)),
            fault(9, 56, None),
            fault(16, 40, Some(Kind::Switch)),
            fault(37, 50, Some(Kind::Deploy)),
        ];
        let rates = Rates { chatty: 1.0, late: 0.0, lost_ok: 0.0, twice: 0.0, ..Rates::default() };
        let settings = Settings {
            pairs: PAIRS,
            start,
            pace: PACE,
            rates,
            script,
            length: Some(paced(SECONDS.into())),
            ..Settings::new(1, 1_000_000)
        };
        let mut feed = Self { simulation: Simulation::new(settings), held: None };
        feed.hold();
        feed
    }

    /// How many machines report.
    pub(super) fn machines(&self) -> usize {
        self.simulation.machines()
    }

    /// What has arrived by now, as one JSON list; and how many events it holds.
    pub(super) fn until(&mut self, now: Timestamp) -> (Vec<u8>, u64) {
        let (mut list, mut count) = (vec![b'['], 0);
        while let Some((_, event)) = self.held.take_if(|(arrival, _)| *arrival <= now) {
            if count > 0 {
                list.push(b',');
            }
            list.extend_from_slice(&event);
            count += 1;
            self.hold();
        }
        list.push(b']');
        (list, count)
    }

    fn hold(&mut self) {
        let next = self.simulation.deliver();
        self.held = next.map(|delivery| (delivery.arrival, delivery.event.to_owned()));
    }
}

/// Seconds of the demo as simulated time.
fn paced(seconds: i64) -> Span {
    Span::from_secs(seconds * i64::from(PACE))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::collect::Origin;
    use crate::collect::decode::Incoming;
    use crate::model::Status;
    use crate::model::event::Report;

    #[test]
    fn the_feed_is_lists_of_events_that_begin_and_end_well() {
        let start = Timestamp::from_millis(1_763_913_600_000);
        let mut feed = Feed::new(start);
        assert!(feed.machines() > 300);
        let settings = crate::collect::Settings::default();
        let origin = Origin::canonical("demo");
        let mut last = BTreeMap::new();
        let (mut events, mut bad) = (0, BTreeMap::<u32, usize>::new());
        for second in 0..=SECONDS {
            let now = start + Span::from_secs(second.into());
            let (list, count) = feed.until(now);
            let arrival = Timestamp::MAX;
            let incoming = Incoming { bytes: &list, headers: &[], arrival, origin: &origin };
            let decoded = crate::collect::decode::decode(&incoming, &settings);
            assert_eq!((decoded.events.len() as u64, decoded.rejected.len()), (count, 0));
            for event in decoded.events {
                // A clock may be off by 20 s of a demo's minute that is 36 minutes long.
                assert!(event.timestamp <= now + Span::from_secs(1), "{event:?}");
                last.insert(event.identity(), event.report);
            }
            let is_bad = |report: &&Report| **report != Report::Status(Status::Ok);
            bad.insert(second, last.values().filter(is_bad).count());
            events += count;
        }
        assert!(events > 20_000, "{events}");
        assert_eq!((bad[&4], bad[&SECONDS]), (0, 0), "{bad:?}");
        // A rack is gone; later a service fails.
        assert!(bad[&24] > 150 && bad[&44] >= 5, "{bad:?}");
        // What is still on its way then, and nothing more.
        assert!(feed.until(Timestamp::MAX).1 < 100);
        assert_eq!(feed.until(Timestamp::MAX).1, 0);
    }
}
