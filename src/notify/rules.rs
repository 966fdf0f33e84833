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
    self, Acknowledged as Acknowledged_, Assigned, Calmed, Commented, Eased, Flapping, Grew,
    Merged, Opened, Reopened, Resolved, Snoozed as Snoozed_, Unacknowledged, Undone, Unsnoozed,
    Updated, Worsened,
};
use crate::model::command::{Audience, Comment, SnoozeEnds, Snoozed};
use crate::model::incident::Acknowledged;
use crate::model::{AlertId, Change, Matchers, Span, Status};
use crate::stage::Output;
use crate::wire;

mod held;
mod muted;

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
    world.see(13, with(change(1, 4, &[Assigned]), Status::Warning, 1));
    world.see(14, change(1, 5, &[Worsened]));
    assert_eq!(world.tell(99_999), [], "no worse than what was last told");
    world.see(99_999, change(1, 6, &[Resolved]));
    let kinds = vec![Eased, Updated, Assigned, Worsened, Resolved];
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

fn planned(mut change: Change, total: u32, marked: u32) -> Change {
    change.status = Status::Ok;
    change.maintenance = true;
    (change.counts.total, change.counts.maintenance) = (total, marked);
    change
}

#[test]
fn what_is_all_in_maintenance_is_told_once_it_is_no_more() {
    let mut world = World::one();
    world.see(0, planned(change(1, 1, &[Opened]), 1, 1));
    assert_eq!(world.tell(3_600), []);
    world.see(3_600, planned(change(1, 2, &[ChangeKind::MaintenanceEnded]), 1, 1));
    assert_eq!(world.tell(7_200), [], "quiet after the window");
    let left = [Worsened, ChangeKind::MaintenanceLeft];
    world.see(7_200, with(change(1, 3, &left), Status::Warning, 1));
    let kinds = vec![Opened, ChangeKind::MaintenanceEnded, Worsened, ChangeKind::MaintenanceLeft];
    assert_eq!(world.tell(7_200), [(3, kinds)]);
}

#[test]
fn what_leaves_maintenance_is_told_though_it_is_no_worse_than_was_told() {
    let mut world = World::one();
    world.see(0, change(1, 1, &[Opened]));
    assert_eq!(world.tell(10).len(), 1);
    world.see(20, planned(change(1, 2, &[Eased, ChangeKind::MaintenanceBegan]), 1, 1));
    assert_eq!(world.tell(3_600), []);
    let left = [Worsened, ChangeKind::MaintenanceLeft];
    world.see(3_600, with(change(1, 3, &left), Status::Warning, 1));
    assert_eq!(world.tell(3_600).len(), 1);
    world.see(3_700, planned(change(1, 4, &[Eased, ChangeKind::MaintenanceBegan]), 1, 1));
    world.see(3_800, change(1, 5, &[Resolved]));
    assert_eq!(world.tell(3_800).len(), 1, "its end is told to who was told of it");
}

#[test]
fn the_end_of_what_was_all_in_maintenance_is_told_to_nobody() {
    let mut world = World::one();
    world.see(0, planned(change(1, 1, &[Opened]), 1, 1));
    world.see(3_600, on(change(1, 2, &[Resolved]), 3_600));
    assert_eq!(world.tell(9_999), []);
}

#[test]
fn a_notice_that_waits_as_maintenance_begins_waits_on() {
    let mut world = World::one();
    world.see(0, change(1, 1, &[Opened]));
    world.see(5, planned(change(1, 2, &[Eased, ChangeKind::MaintenanceBegan]), 1, 1));
    assert_eq!(world.tell(9_999), []);
}

#[test]
fn what_joins_in_maintenance_is_no_growth() {
    let mut world = World::one();
    world.see(0, with(change(1, 1, &[Opened]), Status::Critical, 2));
    assert_eq!(world.tell(10).len(), 1);
    let mut grown = with(change(1, 2, &[Grew]), Status::Critical, 9);
    grown.counts.maintenance = 6;
    world.see(20, grown);
    assert_eq!(world.tell(9_999), []);
    world.see(9_999, with(change(1, 3, &[Grew]), Status::Critical, 9));
    assert_eq!(world.tell(9_999).len(), 1, "they count by now");
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

fn acknowledged(mut change: Change) -> Change {
    change.acknowledged = Some(Acknowledged { by: "ann".into(), at: at(0), until: None });
    change
}

#[test]
fn who_takes_care_is_told_and_growth_is_not_until_nobody_does() {
    let mut world = World::one();
    let grew = |revision, total| with(change(1, revision, &[Grew]), Status::Warning, total);
    world.see(0, with(change(1, 1, &[Opened]), Status::Warning, 1));
    assert_eq!(world.tell(10).len(), 1);
    world.see(11, acknowledged(with(change(1, 2, &[Acknowledged_]), Status::Warning, 1)));
    assert_eq!(world.tell(11), [(2, vec![Acknowledged_])]);
    world.see(12, acknowledged(grew(3, 40)));
    assert_eq!(world.tell(9_000), [], "whoever takes care sees it grow");
    world.see(9_000, acknowledged(with(change(1, 4, &[Worsened]), Status::Critical, 40)));
    assert_eq!(world.tell(9_000), [(4, vec![Grew, Worsened])], "a worse status always");
    world.see(9_001, with(change(1, 5, &[Unacknowledged]), Status::Critical, 40));
    assert_eq!(world.tell(9_001), [(5, vec![Unacknowledged])]);
    world.see(9_002, with(change(1, 6, &[Grew]), Status::Critical, 90));
    assert_eq!(world.tell(9_002), [(6, vec![Grew])]);
}

fn snoozed(mut change: Change) -> Change {
    let (until, ends_on) = (at(3_600), SnoozeEnds::default());
    change.snoozed = Some(Snoozed { by: "ann".into(), until, ends_on, status: Status::Warning });
    change
}

#[test]
fn a_snooze_is_quiet_and_then_the_present_is_told() {
    let mut world = World::one();
    world.see(0, with(change(1, 1, &[Opened]), Status::Warning, 1));
    assert_eq!(world.tell(10).len(), 1);
    world.see(11, snoozed(with(change(1, 2, &[Snoozed_]), Status::Warning, 1)));
    world.see(12, snoozed(with(change(1, 3, &[Worsened]), Status::Critical, 9)));
    world.store();
    world.crash(13);
    assert_eq!(world.tell(3_000), []);
    world.see(3_600, with(change(1, 4, &[Unsnoozed]), Status::Critical, 9));
    assert_eq!(world.tell(3_600), [(4, vec![Snoozed_, Worsened, Unsnoozed])]);
    assert_eq!(world.tell(99_999), []);
}

#[test]
fn the_end_of_what_is_snoozed_is_told_to_whoever_was_told() {
    let mut world = World::one();
    world.see(0, change(1, 1, &[Opened]));
    world.see(0, change(2, 1, &[Opened]));
    world.see(5, snoozed(change(2, 2, &[Snoozed_])));
    assert_eq!(world.tell(10), [(1, vec![Opened])], "the other is quiet before it was told");
    world.see(11, snoozed(change(1, 2, &[Snoozed_])));
    world.see(99, snoozed(on(change(1, 3, &[Resolved]), 99)));
    world.see(99, on(change(2, 3, &[Resolved]), 99));
    assert_eq!(world.tell(99), [(3, vec![Snoozed_, Resolved])]);
    assert_eq!(world.notify.len(), 1, "nothing is left to tell of the other");
}

#[test]
fn public_remarks_are_told_and_internal_ones_to_nobody() {
    let mut world = World::one();
    let said = |revision, actor: &str, text: &str, audience| Change {
        actor: Some(actor.into()),
        comment: Some(Comment { text: text.into(), audience }),
        ..change(1, revision, &[Commented])
    };
    world.see(0, change(1, 1, &[Opened]));
    assert_eq!(world.tell(10).len(), 1);
    world.see(11, said(2, "ann", "who wrote this?", Audience::Internal));
    assert_eq!(world.tell(11), []);
    world.see(12, said(3, "bob", "on it", Audience::Public));
    world.see(12, said(4, "ann", "he is new here", Audience::Internal));
    world.see(12, change(1, 5, &[Eased]));
    let told = world.only(12);
    assert_eq!(told.change.kinds, [Commented, Eased]);
    assert_eq!(told.change.comment.as_ref().map(|made| &*made.text), Some("on it"));
    assert_eq!(told.change.actor.as_deref(), Some("bob"));
    world.answer(12, &told, Outcome::Delivered);
    world.see(13, said(6, "ann", "but quick", Audience::Internal));
    world.see(14, change(1, 7, &[Resolved]));
    let end = world.only(14).change;
    assert_eq!((end.kinds, end.comment), (vec![Resolved], None));
}

#[test]
fn who_was_told_is_told_of_the_end_by_a_merge_and_no_growth_by_it() {
    let mut world = World::one();
    world.see(0, with(change(1, 1, &[Opened]), Status::Critical, 1));
    world.see(0, with(change(2, 1, &[Opened]), Status::Critical, 3));
    let told = world.tell(10).len() + world.tell(10).len();
    assert_eq!(told, 2, "one after the other");
    let alerts = |from: i64, to: i64| -> Vec<AlertId> {
        let identity = crate::model::Identity::new("nagios", Some("moved"), None, None);
        (from..to).map(|nth| AlertId::derive(at(nth), &identity, 0)).collect()
    };
    let mut gone = with(change(2, 2, &[Merged, Resolved]), Status::Ok, 0);
    gone.left = alerts(0, 3);
    let mut target = with(change(1, 2, &[Grew, Merged]), Status::Critical, 4);
    target.joined = alerts(0, 3);
    world.see(11, gone).see(11, target);
    assert_eq!(world.tell(400), [(2, vec![Merged, Resolved])], "the end, and nothing twice");
    world.see(401, with(change(1, 3, &[Grew]), Status::Critical, 7));
    assert_eq!(world.tell(401), [], "not twice what is known of it");
    let mut smaller = with(change(1, 4, &[Eased, Undone]), Status::Critical, 4);
    smaller.left = alerts(0, 3);
    world.see(402, smaller).see(403, with(change(1, 5, &[Grew]), Status::Critical, 5));
    assert_eq!(world.tell(800).len(), 1, "five is more than twice the one that was told");
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
        4 => (0_u8..6, 0_u8..4).prop_map(|(kind, status)| Step::Next(kind, status)),
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
    quiet: bool,
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
            (_, _, 5) if self.quiet => vec![Unsnoozed],
            (_, _, 5) => vec![Snoozed_],
            _ if status > self.status => vec![Worsened],
            _ if status < self.status => vec![Eased],
            _ => vec![Updated],
        };
        self.open = kinds != [Resolved];
        self.total += u32::from(kinds != [Resolved]);
        self.status = if self.open { status } else { Status::Ok };
        self.quiet = kinds == [Snoozed_] || self.quiet && kinds != [Unsnoozed];
        let revision = self.log.len() as u64 + 1;
        let change = on(with(change(1, revision, &kinds), self.status, self.total), secs);
        let change = if self.quiet { snoozed(change) } else { change };
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
        let mut script = Script { log: vec![], open: false, quiet: false, status: Status::Ok, total: 0 };
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
        if script.open && script.quiet {
            // While it lasts nothing need be told, so that it must end first.
            let wakes = script.next(secs, 5, 2);
            world.see(secs, wakes);
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
