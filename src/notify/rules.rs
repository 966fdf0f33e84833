//! Tests of what is told, to whom and when: one for each rule, and the laws as properties.
//!
//! Every test drives the fold by hand: seconds after the begin are its clock, and what it sealed is
//! all that survives a crash.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::sample::{self, at, change, incident, settings};
use super::{Delivery, Notify, Outcome, Room, RouteSettings, Settings};
use crate::model::ChangeKind::{
    self, Acknowledged, Calmed, Eased, Flapping, Grew, Opened, Reopened, Resolved, Updated,
    Worsened,
};
use crate::model::{Change, Matchers, Span, Status};
use crate::stage::Output;
use crate::wire;

/// The fold with what outlives it.
struct World {
    settings: Arc<Settings>,
    notify: Notify,
    room: Room,
    stored: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl World {
    fn new(settings: Settings) -> Self {
        let settings = Arc::new(settings);
        let notify = Notify::new(Arc::clone(&settings)).expect("known receivers");
        let room = Room::new(&settings);
        Self { settings, notify, room, stored: BTreeMap::new() }
    }

    fn one() -> Self {
        Self::new(settings(&["oncall"]))
    }

    fn see(&mut self, secs: i64, change: Change) -> &mut Self {
        self.notify.apply(at(secs), &change);
        self
    }

    /// What is sent at this time; its rows are stored before.
    fn due(&mut self, secs: i64) -> Vec<Delivery> {
        self.notify.advance(at(secs));
        let due = self.notify.take_due(&mut self.room);
        self.store();
        due
    }

    fn only(&mut self, secs: i64) -> Delivery {
        let mut due = self.due(secs);
        assert_eq!(due.len(), 1, "{due:?}");
        due.remove(0)
    }

    fn answer(&mut self, secs: i64, delivery: &Delivery, outcome: Outcome) {
        self.room.give_back(&delivery.id.receiver);
        self.notify.completed(at(secs), &delivery.id, &outcome);
        self.store();
    }

    /// Sends what is due and has it accepted.
    fn tell(&mut self, secs: i64) -> Vec<(u64, Vec<ChangeKind>)> {
        let due = self.due(secs);
        for delivery in &due {
            self.answer(secs, delivery, Outcome::Delivered);
        }
        due.into_iter().map(|delivery| (delivery.id.revision, delivery.change.kinds)).collect()
    }

    fn store(&mut self) {
        let mut out = Output::default();
        self.notify.seal(&mut out);
        for row in out.rows {
            match row.value {
                Some(value) => self.stored.insert(row.key, value),
                None => self.stored.remove(&row.key),
            };
        }
    }

    fn crash(&mut self, secs: i64) {
        self.notify = Notify::new(Arc::clone(&self.settings)).expect("known receivers");
        self.room = Room::new(&self.settings);
        for (key, value) in &self.stored {
            self.notify.restore(key, value).expect("our own row");
        }
        self.notify.restored(at(secs));
    }
}

fn on(mut change: Change, secs: i64) -> Change {
    change.at = at(secs);
    change
}

fn with(mut change: Change, status: Status, total: u32) -> Change {
    change.status = status;
    change.counts.total = total;
    change
}

fn retry() -> Outcome {
    Outcome::Retry { after: None, why: "no".into() }
}

fn refuse() -> Outcome {
    Outcome::SetAside { why: "no".into() }
}

#[test]
fn the_first_notice_waits_for_the_incident_to_gather() {
    let mut world = World::one();
    world.see(0, change(1, 1, &[Opened]));
    assert_eq!(world.tell(9), []);
    world.see(9, with(change(1, 2, &[Grew]), Status::Critical, 5));
    assert_eq!(world.notify.next_deadline(), Some(at(10)));
    assert_eq!(world.tell(10), [(2, vec![Opened, Grew])]);
    assert_eq!(world.tell(1_000), []);
}

#[test]
fn without_a_wait_every_incident_is_told() {
    let mut settings = settings(&["oncall"]);
    settings.route.as_mut().expect("a root").group_wait = Span::ZERO;
    let mut world = World::new(settings);
    world.see(0, change(1, 1, &[Opened])).see(0, change(1, 2, &[Resolved]));
    assert_eq!(world.tell(0), [(2, vec![Opened, Resolved])]);
}

#[test]
fn what_is_over_before_its_first_notice_is_never_told() {
    let mut world = World::one();
    world.see(3_600, change(1, 1, &[Opened]));
    // We were down for an hour: what counts is when it happened, not when we read of it.
    world.see(3_600, on(change(1, 2, &[Resolved]), 9));
    assert_eq!(world.tell(3_600), []);
    assert!(world.notify.is_empty() && world.stored.is_empty());
}

#[test]
fn what_lasted_longer_while_we_were_down_is_told_once_as_it_is() {
    let mut world = World::one();
    world.see(3_600, change(1, 1, &[Opened]));
    world.see(3_600, on(change(1, 2, &[Resolved]), 10));
    assert_eq!(world.tell(3_600), [(2, vec![Opened, Resolved])]);
    assert_eq!(world.tell(9_999), []);
}

#[test]
fn a_first_notice_under_way_means_the_end_is_told_even_after_a_crash() {
    let mut world = World::one();
    world.see(0, change(1, 1, &[Opened]));
    let lost = world.only(10);
    world.crash(11);
    // Appended before the notice left, read after the crash: the receiver may know of the incident.
    world.see(11, on(change(1, 2, &[Resolved]), 9));
    assert_eq!(world.tell(11), [(2, vec![Opened, Resolved])]);
    assert_eq!(lost.id.revision, 1);
}

#[test]
fn worse_reopened_and_over_are_told_at_once() {
    let mut world = World::one();
    world.see(0, with(change(1, 1, &[Opened]), Status::Warning, 1));
    assert_eq!(world.tell(10).len(), 1);
    world.see(11, change(1, 2, &[Worsened]));
    assert_eq!(world.tell(11), [(2, vec![Worsened])]);
    world.see(12, change(1, 3, &[Resolved]));
    assert_eq!(world.tell(12), [(3, vec![Resolved])]);
    world.see(13, with(change(1, 4, &[Reopened]), Status::Warning, 1));
    assert_eq!(world.tell(13), [(4, vec![Reopened])]);
    world.see(14, change(1, 5, &[Resolved]));
    assert_eq!(world.tell(14), [(5, vec![Resolved])]);
}

#[test]
fn better_and_like_changes_are_not_told_alone_but_go_along() {
    let mut world = World::one();
    world.see(0, change(1, 1, &[Opened]));
    assert_eq!(world.tell(10).len(), 1);
    world.see(11, with(change(1, 2, &[Eased]), Status::Warning, 1));
    world.see(12, with(change(1, 3, &[Updated]), Status::Warning, 1));
    world.see(13, with(change(1, 4, &[Acknowledged]), Status::Warning, 1));
    world.see(14, change(1, 5, &[Worsened]));
    assert_eq!(world.tell(99_999), [], "no worse than what was last told");
    world.see(99_999, change(1, 6, &[Resolved]));
    let kinds = vec![Eased, Updated, Acknowledged, Worsened, Resolved];
    assert_eq!(world.tell(99_999), [(6, kinds)]);
}

#[test]
fn worse_than_told_is_told_however_short_it_was() {
    let mut world = World::one();
    world.see(0, with(change(1, 1, &[Opened]), Status::Warning, 1));
    assert_eq!(world.tell(10).len(), 1);
    world.see(11, change(1, 2, &[Worsened]));
    world.see(11, with(change(1, 3, &[Eased]), Status::Warning, 1));
    assert_eq!(world.tell(11), [(3, vec![Worsened, Eased])]);
}

#[test]
fn flapping_is_told_once_and_again_by_its_reminder() {
    let mut world = World::one();
    let flapping = |mut change: Change| {
        change.flapping = true;
        change
    };
    let warning = |change: Change| with(change, Status::Warning, 1);
    world.see(0, warning(change(1, 1, &[Opened])));
    assert_eq!(world.tell(10).len(), 1);
    world.see(20, flapping(warning(change(1, 2, &[Flapping]))));
    assert_eq!(world.tell(20), [(2, vec![Flapping])]);
    world.see(21, flapping(warning(change(1, 3, &[Updated]))));
    assert_eq!(world.tell(9_000), [], "quiet while it lasts");
    world.see(9_000, flapping(change(1, 4, &[Worsened])));
    assert_eq!(world.tell(9_000), [(4, vec![Updated, Worsened])], "a worse status always");
    world.see(86_420, flapping(change(1, 5, &[Flapping])));
    assert_eq!(world.tell(86_420), [(5, vec![Flapping])], "the reminder");
    world.see(86_421, warning(change(1, 6, &[Eased, Calmed])));
    assert_eq!(world.tell(99_999), [], "better is not told alone");
    world.see(99_999, change(1, 7, &[Resolved]));
    assert_eq!(world.tell(99_999), [(7, vec![Eased, Calmed, Resolved])]);
}

#[test]
fn who_was_not_reached_is_told_of_flapping_once() {
    let mut world = World::one();
    world.see(0, change(1, 1, &[Opened]));
    assert_eq!(world.tell(10).len(), 1);
    world.see(20, change(1, 2, &[Flapping]));
    let lost = world.only(20);
    world.answer(20, &lost, retry());
    world.see(21, change(1, 3, &[Flapping]));
    assert_eq!(world.tell(100), [(3, vec![Flapping])]);
    assert_eq!(world.tell(9_999), []);
}

#[test]
fn growth_is_told_at_twice_the_size_but_not_too_often() {
    let mut world = World::one();
    let grew = |revision, total| with(change(1, revision, &[Grew]), Status::Critical, total);
    world.see(0, with(change(1, 1, &[Opened]), Status::Critical, 3));
    assert_eq!(world.tell(10).len(), 1);
    world.see(11, grew(2, 5));
    assert_eq!(world.tell(11), [], "not twice the size");
    world.see(12, grew(3, 6));
    assert_eq!(world.tell(12), [(3, vec![Grew])]);
    world.see(13, grew(4, 12)).see(14, grew(5, 20));
    assert_eq!(world.tell(311), [], "five minutes are not over");
    assert_eq!(world.tell(312), [(5, vec![Grew])]);
    world.see(313, grew(6, 40)).see(314, change(1, 7, &[Resolved]));
    assert_eq!(world.tell(314), [(7, vec![Grew, Resolved])]);
    assert_eq!(world.tell(99_999), [], "no growth of what is over");
}

#[test]
fn info_opens_in_silence_until_it_is_worse() {
    let mut world = World::one();
    world.see(0, with(change(1, 1, &[Opened]), Status::Info, 1));
    world.see(0, with(change(2, 1, &[Opened]), Status::Info, 1));
    assert_eq!(world.tell(3_600), []);
    world.see(3_600, with(change(1, 2, &[Worsened]), Status::Warning, 1));
    assert_eq!(world.tell(3_600), [(2, vec![Opened, Worsened])]);
    world.see(3_601, on(change(2, 2, &[Resolved]), 3_601));
    assert_eq!(world.tell(3_601), [], "who was not told of it is not told of its end");
    assert_eq!(world.notify.len(), 1);
}

#[test]
fn repeats_of_old_revisions_change_nothing() {
    let mut world = World::one();
    world.see(0, change(1, 1, &[Opened])).see(1, change(1, 2, &[Grew]));
    assert_eq!(world.tell(10).len(), 1);
    world.see(11, change(1, 1, &[Opened])).see(11, change(1, 2, &[Resolved]));
    assert_eq!(world.tell(11), []);
}

#[test]
fn a_failed_attempt_waits_and_says_what_is_new_by_then() {
    let mut world = World::one();
    world.see(0, change(1, 1, &[Opened]));
    let first = world.only(10);
    world.answer(10, &first, retry());
    assert_eq!(world.due(10), [], "it waits at least half of retry_min");
    world.see(10, with(change(1, 2, &[Grew]), Status::Critical, 2));
    let second = world.only(12);
    assert_eq!((second.id.revision, second.failed), (2, 1));
    assert_eq!(second.change.kinds, [Opened, Grew]);
    assert_ne!(first.id.key(), second.id.key());
    world.answer(12, &second, Outcome::Retry { after: Some(Span::from_secs(60)), why: "".into() });
    assert_eq!(world.due(71), []);
    assert_eq!(world.only(72), Delivery { failed: 2, ..second }, "the same id, the same bytes");
}

#[test]
fn what_happens_during_an_attempt_is_told_after_it() {
    let mut world = World::one();
    world.see(0, with(change(1, 1, &[Opened]), Status::Warning, 1));
    let first = world.only(10);
    world.see(10, change(1, 2, &[Worsened]));
    assert_eq!(world.due(11), [], "one at a time");
    world.answer(11, &first, Outcome::Delivered);
    assert_eq!(world.tell(11), [(2, vec![Worsened])]);
}

#[test]
fn a_refused_revision_is_not_tried_again_but_the_next_one_is() {
    let mut world = World::one();
    world.see(0, with(change(1, 1, &[Opened]), Status::Warning, 1));
    let first = world.only(10);
    world.answer(10, &first, refuse());
    assert_eq!(world.due(9_999), []);
    world.crash(10_000);
    assert_eq!(world.due(10_000), [], "neither after a restart");
    world.see(10_000, change(1, 2, &[Worsened]));
    assert_eq!(world.tell(10_000), [(2, vec![Opened, Worsened])]);
}

#[test]
fn the_end_is_not_told_to_who_refused_the_beginning() {
    let mut world = World::one();
    world.see(0, change(1, 1, &[Opened]));
    let first = world.only(10);
    world.answer(10, &first, refuse());
    world.see(99, on(change(1, 2, &[Resolved]), 99));
    assert_eq!(world.tell(99), []);
    assert!(world.stored.is_empty());
}

#[test]
fn an_entry_goes_some_time_after_all_was_told() {
    let mut world = World::one();
    world.see(0, change(1, 1, &[Opened]));
    assert_eq!(world.tell(10).len(), 1);
    world.see(20, change(1, 2, &[Resolved]));
    assert_eq!(world.tell(30).len(), 1);
    assert_eq!(world.tell(86_429), []);
    assert_eq!((world.notify.len(), world.stored.len()), (1, 1));
    assert_eq!(world.tell(86_430), []);
    assert_eq!((world.notify.len(), world.stored.len()), (0, 0));
}

#[test]
fn rows_of_a_receiver_that_is_gone_are_dropped() {
    let mut world = World::one();
    world.see(0, change(1, 1, &[Opened]));
    assert_eq!(world.tell(10).len(), 1);
    world.settings = Arc::new(settings(&["other"]));
    world.crash(20);
    world.store();
    assert!(world.stored.is_empty() && world.notify.is_empty());
}

#[test]
fn a_row_that_is_none_stops_the_partition() {
    let mut notify = World::one().notify;
    let key = wire::ledger::key(incident(1), "oncall");
    let error = notify.restore(&key, br#"{"v":9}"#).expect_err("version 9");
    assert!(error.to_string().contains("version 9") && error.to_string().contains("/oncall"));
    assert!(notify.restore(b"nonsense", b"{}").is_err());
}

fn by_status() -> Settings {
    let mut settings = settings(&["team", "page"]);
    let root = settings.route.as_mut().expect("a root");
    root.routes.push(RouteSettings {
        matchers: Matchers::parse(["status=critical"]).expect("a matcher"),
        receiver: "page".into(),
        group_wait: Span::from_secs(10),
        cont: false,
        routes: vec![],
    });
    settings
}

fn told_to(world: &mut World, secs: i64) -> Vec<(String, u64)> {
    let due = world.due(secs);
    due.iter().for_each(|delivery| world.answer(secs, delivery, Outcome::Delivered));
    due.iter().map(|delivery| (delivery.id.receiver.to_string(), delivery.id.revision)).collect()
}

#[test]
fn a_receiver_that_matches_later_is_told_and_both_are_told_of_the_end() {
    let mut world = World::new(by_status());
    world.see(0, with(change(1, 1, &[Opened]), Status::Warning, 1));
    assert_eq!(told_to(&mut world, 10), [("team".to_owned(), 1)]);
    world.see(60, on(change(1, 2, &[Worsened]), 60));
    assert_eq!(told_to(&mut world, 60), [("page".to_owned(), 2)], "it has gathered long enough");
    world.see(70, change(1, 3, &[Resolved]));
    assert_eq!(told_to(&mut world, 70), [("team".to_owned(), 3), ("page".to_owned(), 3)]);
}

#[test]
fn a_route_that_no_longer_leads_there_before_the_first_notice_is_not_told() {
    let mut world = World::new(by_status());
    world.see(0, change(1, 1, &[Opened]));
    world.see(5, with(change(1, 2, &[Eased]), Status::Warning, 1));
    assert_eq!(told_to(&mut world, 60), [("team".to_owned(), 2)]);
}

#[test]
fn a_full_receiver_holds_up_no_other() {
    let mut settings = by_status();
    settings.route.as_mut().expect("a root").routes[0].cont = true;
    let mut world = World::new(settings);
    for n in 0..3 {
        world.see(0, change(n, 1, &[Opened]));
        world.see(0, with(change(n + 10, 1, &[Opened]), Status::Warning, 1));
    }
    let first: Vec<_> = world.due(10).iter().map(|due| due.id.receiver.to_string()).collect();
    assert_eq!(first, ["team", "page"], "one at a time each");
    assert_eq!(world.due(11), []);
    assert_eq!(world.notify.waiting(), 4);
}

#[test]
fn many_alerts_are_merged_and_cut_to_the_newest() {
    let mut world = World::one();
    for n in 0..60 {
        let kind = if n == 0 { Opened } else { Grew };
        let mut change = change(1, n + 1, &[kind]);
        change.alerts = vec![sample::member(n), sample::member(0)];
        change.joined = vec![sample::member(n).id];
        world.see(0, change);
    }
    let told = world.only(10).change;
    assert_eq!((told.alerts.len(), told.joined.len()), (50, 50));
    assert_eq!(told.alerts.iter().filter(|alert| alert.id == sample::member(0).id).count(), 1);
    assert_eq!(told.joined.last(), Some(&sample::member(59).id));
}

/// What may happen to one incident and its receiver.
#[derive(Debug, Clone)]
enum Step {
    Next(u8, u8),
    Wait(u16),
    Accept,
    Fail,
    Lose,
    Crash,
    Reread,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_u8..5, 0_u8..4).prop_map(|(kind, status)| Step::Next(kind, status)),
        3 => (0_u16..400).prop_map(Step::Wait),
        3 => Just(Step::Accept),
        2 => Just(Step::Fail),
        1 => Just(Step::Lose),
        1 => Just(Step::Crash),
        1 => Just(Step::Reread),
    ];
    prop::collection::vec(step, 1..60)
}

/// An incident's history as correlate would write it.
struct Script {
    log: Vec<Change>,
    open: bool,
    status: Status,
    total: u32,
}

impl Script {
    fn next(&mut self, secs: i64, kind: u8, status: u8) -> Change {
        let status = Status::ALL[usize::from(status) + 1];
        let kinds = match (self.log.is_empty(), self.open, kind) {
            (true, ..) => vec![Opened],
            (_, false, _) => vec![Reopened],
            (_, _, 0) => vec![Resolved],
            (_, _, 1) => vec![Grew],
            _ if status > self.status => vec![Worsened],
            _ if status < self.status => vec![Eased],
            _ => vec![Updated],
        };
        self.open = kinds != [Resolved];
        self.total += u32::from(kinds != [Resolved]);
        self.status = if self.open { status } else { Status::Ok };
        let revision = self.log.len() as u64 + 1;
        let change = on(with(change(1, revision, &kinds), self.status, self.total), secs);
        self.log.push(change.clone());
        change
    }
}

/// What a receiver saw, and what it said yes to.
#[derive(Default)]
struct Seen {
    bytes: BTreeMap<u64, (String, Vec<u8>)>,
    highest: u64,
    /// The newest of what was sent, whether or not we learned what became of it.
    heard: Option<Change>,
    accepted: Option<Change>,
}

impl Seen {
    fn saw(&mut self, delivery: &Delivery) {
        let revision = delivery.id.revision;
        assert!(revision >= self.highest, "{revision} after {}", self.highest);
        self.highest = revision;
        self.heard = Some(delivery.change.clone());
        let said = (delivery.id.key(), wire::change::encode(&delivery.change));
        let first = self.bytes.entry(revision).or_insert_with(|| said.clone());
        assert_eq!(*first, said, "revision {revision} was said in two ways");
    }
}

proptest! {
    /// Whatever happens in between, the receiver ends up knowing: the state that it last accepted
    /// differs from the present in nothing that must be told, no lower revision follows a higher
    /// one, and a revision is always the same bytes under the same id.
    #[test]
    fn any_course_of_events_ends_with_the_present_told(steps in steps()) {
        let mut world = World::one();
        let mut script = Script { log: vec![], open: false, status: Status::Ok, total: 0 };
        let (mut secs, mut seen) = (0_i64, Seen::default());
        let mut flying: Option<Delivery> = None;
        for step in steps {
            match step {
                Step::Next(kind, status) => {
                    let change = script.next(secs, kind, status);
                    world.see(secs, change);
                    world.store();
                }
                Step::Wait(more) => secs += i64::from(more),
                Step::Accept => if let Some(delivery) = flying.take() {
                    seen.saw(&delivery);
                    world.answer(secs, &delivery, Outcome::Delivered);
                    seen.accepted = Some(delivery.change);
                },
                Step::Fail => if let Some(delivery) = flying.take() {
                    seen.saw(&delivery);
                    world.answer(secs, &delivery, retry());
                },
                // Sent and taken, but we died before we could note it.
                Step::Lose => if let Some(delivery) = flying.take() {
                    seen.saw(&delivery);
                    seen.accepted = Some(delivery.change);
                    world.crash(secs);
                },
                Step::Crash => { flying = None; world.crash(secs); }
                Step::Reread => for change in script.log.clone() { world.see(secs, change); },
            }
            if flying.is_none() {
                flying = world.due(secs).pop();
            }
            if let Some(delivery) = &flying {
                seen.saw(delivery);
            }
        }
        for _ in 0..8 {
            if let Some(delivery) = flying.take() {
                seen.saw(&delivery);
                world.answer(secs, &delivery, Outcome::Delivered);
                seen.accepted = Some(delivery.change);
            }
            secs += 400;
            flying = world.due(secs).pop();
        }
        prop_assert!(flying.is_none(), "still talking: {flying:?}");
        let Some(now) = script.log.last() else { return Ok(()) };
        if let Some(heard) = &seen.heard {
            prop_assert!(now.is_open() || !heard.is_open(), "who may know of it misses its end");
        }
        match seen.accepted {
            Some(told) => {
                prop_assert_eq!(told.is_open() && !now.is_open(), false, "the end was not told");
                let reopened = !told.is_open() && now.is_open() && now.status > Status::Info;
                prop_assert!(!reopened, "the reopening was not told");
                prop_assert!(now.status <= told.status.max(Status::Info), "worse than told");
                let doubled = now.counts.total >= 2 * told.counts.total;
                prop_assert!(!(now.is_open() && told.is_open() && doubled), "growth was not told");
                let worse = script.log.iter().filter(|past| past.revision > told.revision);
                let worst = worse.map(|past| past.status).max().unwrap_or_default();
                prop_assert!(worst <= told.status.max(Status::Info), "it was worse meanwhile");
            }
            // Nothing told: it must be over, or never have been worse than info since it opened.
            None => prop_assert!(!now.is_open() || now.status <= Status::Info),
        }
    }
}

// ---- muting ----

use crate::model::silence::{Asked, Mute};

const SILENCED: Mute = Mute::Yes { inhibited: false };

impl World {
    /// What is sent at this time where muting answers so.
    fn due_if(&mut self, secs: i64, answer: Mute) -> Vec<Delivery> {
        self.notify.advance(at(secs));
        let mut ask = |_: &Asked| answer;
        let due = self.notify.take_due_unless(at(secs), &mut self.room, &mut ask);
        self.store();
        due
    }
}

#[test]
fn what_is_muted_as_it_opens_is_told_when_the_silence_ends() {
    let mut world = World::one();
    world.see(0, change(1, 1, &[Opened]));
    assert_eq!(world.due_if(10, SILENCED), []);
    assert_eq!(world.due_if(11, SILENCED), []);
    let due = world.due_if(12, Mute::No);
    assert_eq!(due.len(), 1, "the present state is told");
    let held = world.notify.take_held();
    assert_eq!((held.silenced, held.inhibited, held.unsure), (1, 0, 0), "counted once");
}

#[test]
fn what_was_muted_all_along_is_never_told_also_after_a_restart() {
    for restart in [false, true] {
        let mut world = World::one();
        world.see(0, change(1, 1, &[Opened]));
        assert_eq!(world.due_if(10, SILENCED), []);
        if restart {
            world.crash(15);
        }
        world.see(20, on(change(1, 2, &[Resolved]), 20));
        assert_eq!(world.due_if(30, Mute::No), [], "restart: {restart}");
        assert_eq!(world.stored.len(), 0, "and nothing is kept of it");
    }
}

#[test]
fn what_ended_before_anybody_asked_is_not_told_while_it_is_muted() {
    let mut world = World::one();
    world.see(0, change(1, 1, &[Opened]));
    world.see(60, on(change(1, 2, &[Resolved]), 60));
    assert_eq!(world.due_if(60, SILENCED), []);
    assert_eq!(world.due_if(90, Mute::No), []);
}

#[test]
fn who_was_told_before_it_was_muted_is_told_of_the_end() {
    let mut world = World::one();
    world.see(0, change(1, 1, &[Opened]));
    let first = world.due_if(10, Mute::No).remove(0);
    world.answer(10, &first, Outcome::Delivered);
    world.see(20, on(change(1, 2, &[Reopened]), 20));
    assert_eq!(world.due_if(20, SILENCED), []);
    world.see(30, on(change(1, 3, &[Resolved]), 30));
    assert_eq!(world.due_if(30, SILENCED).len(), 1, "an end is told all the same");
}

#[test]
fn what_joins_a_muted_incident_makes_it_asked_for_at_once() {
    let mut world = World::one();
    world.see(0, change(1, 1, &[Opened]));
    assert_eq!(world.due_if(10, SILENCED), []);
    world.see(10, on(change(1, 2, &[Grew]), 10));
    assert_eq!(world.due_if(10, Mute::No).len(), 1);
}

#[test]
fn what_joined_and_ended_at_once_is_not_taken_for_muted() {
    let mut world = World::one();
    world.see(0, change(1, 1, &[Opened]));
    assert_eq!(world.due_if(10, SILENCED), []);
    world.see(20, on(change(1, 2, &[Grew]), 20));
    world.see(20, on(change(1, 3, &[Resolved]), 20));
    assert_eq!(world.due_if(20, Mute::No).len(), 1);
}

#[test]
fn what_is_not_sure_in_time_is_told() {
    let mut world = World::one();
    let unsure = Mute::Unsure(Span::from_secs(5));
    world.see(0, change(1, 1, &[Opened]));
    assert_eq!(world.due_if(10, unsure), []);
    world.see(12, on(change(1, 2, &[Grew]), 12));
    assert_eq!(world.due_if(14, unsure), []);
    assert_eq!(world.due_if(15, unsure).len(), 1);
    assert_eq!(world.notify.take_held().unsure, 1);
}
