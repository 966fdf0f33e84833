//! A simulated estate: four hundred hosts whose checks report every five seconds, and what goes
//! wrong with them.
//!
//! Pure: the time is an argument, and the same step of the same estate gives the same events.

use std::fmt::Write;

use crate::model::Timestamp;

/// Steps a second.
pub(super) const STEPS: u32 = 5;

/// How often each host reports, in steps.
const EVERY: u32 = 25;

const RACKS: u32 = 10;
const RACK_HOSTS: u32 = 40;
const CHECKS: [&str; 5] = ["ping", "cpu", "memory", "disk /", "http errors"];

/// When the last fault has ended and everybody has reported it, in seconds.
pub(super) const SECONDS: u32 = 60;

/// What happens, for the reader of the screen; seconds and words.
pub(super) const SCRIPT: [(u32, &str); 5] = [
    (5, "the disk of db-r02-04 fills up"),
    (8, "the switch of rack r07 fails: forty hosts are gone at once"),
    (14, "a check of web-r01-12 begins to flap"),
    (26, "a bad deploy of `checkout`"),
    (46, "the deploy is rolled back, the disk cleaned"),
];

/// One host.
struct Host {
    name: String,
    rack: u32,
    service: &'static str,
}

/// The estate.
pub(super) struct Estate {
    hosts: Vec<Host>,
}

impl Estate {
    /// Every host of every rack.
    pub(super) fn new() -> Self {
        let host = |number: u32| {
            let (rack, place) = (number / RACK_HOSTS + 1, number % RACK_HOSTS);
            let (kind, service) = match place {
                0..8 => ("db", "orders-db"),
                8..24 => ("web", "storefront"),
                24..32 => ("app", "checkout"),
                _ => ("app", "search"),
            };
            Host { name: format!("{kind}-r{rack:02}-{place:02}"), rack, service }
        };
        Self { hosts: (0..RACKS * RACK_HOSTS).map(host).collect() }
    }

    /// What is reported in a step, as one JSON list; and how many events it holds.
    pub(super) fn step(&self, step: u32, now: Timestamp) -> (String, u64) {
        let mut list = String::from("[");
        let mut count = 0;
        for (number, host) in (0_u32..).zip(&self.hosts) {
            // The flapping check is run by hand, so to speak: it reports more often.
            let flapping = is_flapper(host) && step.is_multiple_of(2 * STEPS);
            if number % EVERY != step % EVERY && !flapping {
                continue;
            }
            for check in CHECKS {
                let (status, text) = state(host, check, step / STEPS);
                if count > 0 {
                    list.push(',');
                }
                count += 1;
                write(&mut list, host, check, status, &text, now);
            }
        }
        list.push(']');
        (list, count)
    }
}

fn is_flapper(host: &Host) -> bool {
    host.name == "web-r01-12"
}

/// What a check says at a second of the script.
fn state(host: &Host, check: &str, second: u32) -> (&'static str, String) {
    match (check, second) {
        ("disk /", 5..15) if host.name == "db-r02-04" => ("warning", "12 % free".into()),
        ("disk /", 15..46) if host.name == "db-r02-04" => ("critical", "512 MB free (1 %)".into()),
        ("ping", 8..36) if host.rack == 7 => ("critical", "100 % packet loss".into()),
        ("http errors", 14..40) if is_flapper(host) && (second / 4).is_multiple_of(2) => {
            ("warning", "timeout after 10 s".into())
        }
        ("http errors", 26..32) if host.service == "checkout" && host.rack != 7 => {
            ("warning", format!("{} % of requests fail", 4 + second % 5))
        }
        ("http errors", 32..46) if host.service == "checkout" && host.rack != 7 => {
            ("critical", format!("{} % of requests fail", 31 + second % 9))
        }
        _ => ("ok", String::new()),
    }
}

fn write(list: &mut String, host: &Host, check: &str, status: &str, text: &str, now: Timestamp) {
    let Host { name, rack, service } = host;
    write!(
        list,
        r#"{{"source":"estate","host":"{name}","check":"{check}","status":"{status}","timestamp":{},"description":"{text}","tags":{{"env":"prod","rack":"r{rack:02}","service":"{service}"}},"links":{{"graph":"https://graphs.example.com/{name}"}}}}"#,
        now.as_millis()
    )
    .expect("writing to memory cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_a_list_of_events() {
        let estate = Estate::new();
        let mut events = 0;
        for step in 0..SECONDS * STEPS {
            let (list, count) = estate.step(step, Timestamp::from_millis(1_763_913_600_000));
            let limits = crate::collect::Limits::default();
            let decoded = crate::collect::decode::decode(list.as_bytes(), Timestamp::MAX, &limits);
            assert_eq!((decoded.events.len() as u64, decoded.rejected.len()), (count, 0));
            events += count;
        }
        assert!(events > 20_000, "{events}");
    }

    #[test]
    fn all_is_well_before_and_after() {
        let estate = Estate::new();
        for step in [0, SECONDS * STEPS - EVERY, SECONDS * STEPS - 1] {
            let (list, _) = estate.step(step, Timestamp::default());
            assert!(!list.contains("critical") && !list.contains("warning"), "step {step}");
        }
    }
}
