//! The rules of telling what is held, by example: its patterns ask for more alerts than it has.

use super::*;
use crate::model::ChangeKind::{Lapsed, Released};
use crate::model::{Ask, Hold};

fn held(mut change: Change) -> Change {
    let ask = Ask { pattern: "site".into(), min_alerts: 3, until: at(600) };
    change.hold = Some(Box::new(Hold { asks: vec![ask], lapsed: Vec::new() }));
    change
}

#[test]
fn what_is_held_is_told_as_opened_once_it_has_enough_also_after_a_restart() {
    for restart in [false, true] {
        let mut world = World::one();
        world.see(0, held(change(1, 1, &[Opened])));
        assert_eq!(world.tell(100), []);
        world.see(100, held(on(with(change(1, 2, &[Grew]), Status::Critical, 2), 100)));
        if restart {
            world.store();
            world.crash(110);
        }
        assert_eq!(world.tell(200), []);
        world.see(200, on(with(change(1, 3, &[Grew, Released]), Status::Critical, 3), 200));
        assert_eq!(world.tell(200), [(3, vec![Opened, Grew, Released])], "restarted: {restart}");
        world.see(300, on(change(1, 4, &[Resolved]), 300));
        assert_eq!(world.tell(300), [(4, vec![Resolved])]);
    }
}

#[test]
fn the_end_of_what_was_held_is_told_to_nobody() {
    let mut world = World::one();
    world.see(0, held(change(1, 1, &[Opened])));
    world.see(700, held(on(change(1, 2, &[Lapsed]), 700)));
    assert_eq!(world.tell(1_000), []);
    world.see(1_000, held(on(change(1, 3, &[Resolved]), 1_000)));
    assert_eq!(world.tell(9_999), []);
    assert!(world.notify.is_empty() && world.stored.is_empty());
    world.see(9_999, held(on(change(1, 4, &[Reopened]), 9_999)));
    assert_eq!(world.tell(19_999), []);
}
