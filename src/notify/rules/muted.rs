//! The rules of telling what is silenced or inhibited, by example.

use super::*;
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
