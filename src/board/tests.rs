//! What the board shows, keeps and lets go.

use super::*;
use crate::model::change::Counts;
use crate::model::{ChangeKind, Identity, Resolution, Status, Tags, Why};

const NOW: Timestamp = Timestamp::from_millis(1_763_913_600_000);

pub(super) fn board(settings: Settings) -> Board {
    let metrics = Metrics::new(prometheus::Registry::new(), &[]).expect("a new registry");
    Board::new(settings, metrics)
}

fn start(nth: i64) -> Timestamp {
    NOW + Span::from_secs(nth)
}

pub(super) fn member(nth: i64, firing: bool) -> Member {
    let host = format!("web-{nth}");
    let identity = Identity::new("nagios", Some(&host), Some("cpu"), None);
    Member {
        id: AlertId::derive(start(nth), &identity, 0),
        source: "nagios".into(),
        host: host.into(),
        check: "cpu".into(),
        status: if firing { Status::Critical } else { Status::Ok },
        firing,
        flapping: false,
        chronic: false,
        maintenance: None,
        description: "busy".into(),
        tags: Tags::default(),
        links: Default::default(),
        started_at: start(nth),
        changed_at: start(nth),
        why: Why::default(),
    }
}

/// The `revision`th change of the `nth` incident.
pub(super) fn change(nth: i64, revision: u64, open: bool, alerts: Vec<Member>) -> Change {
    let host = format!("web-{nth}");
    let identity = Identity::new("nagios", Some(&host), None, None);
    let kind = if open { ChangeKind::Grew } else { ChangeKind::Resolved };
    Change {
        id: IncidentId::derive(start(nth), &identity, 0),
        revision,
        kinds: vec![kind],
        at: start(nth),
        shard: "default".into(),
        status: if open { Status::Critical } else { Status::Ok },
        severity: Status::Critical,
        title: host.clone(),
        started_at: start(nth),
        changed_at: start(nth),
        resolved: (!open).then_some((start(nth), Resolution::AllOk)),
        pair: None,
        further: Vec::new(),
        further_cut: 0,
        counts: Counts::default(),
        hosts: vec![host.into()],
        checks: vec!["cpu".into()],
        sources: vec!["nagios".into()],
        tags: Tags::default(),
        acknowledged: None,
        flapping: false,
        maintenance: false,
        hold: None,
        continues: None,
        continued_by: None,
        merged_into: None,
        merged_from: Vec::new(),
        split_from: None,
        split_into: Vec::new(),
        joined: Vec::new(),
        left: Vec::new(),
        alerts,
        assignee: None,
        snoozed: None,
        actor: None,
        comment: None,
    }
}

fn listed(board: &Board, wanted: Wanted) -> Vec<String> {
    let page = board.list(&Query { wanted, limit: 1_000, ..Query::default() });
    page.incidents.iter().map(|shown| shown.change.title.clone()).collect()
}

fn dropped(board: &Board, what: &str) -> u64 {
    board.metrics.board_dropped.with_label_values(&[what]).get()
}

#[test]
fn the_newest_revision_shows_with_all_alerts_and_repeats_change_nothing() {
    let board = board(Settings::default());
    assert!(board.apply(NOW, change(1, 1, true, vec![member(1, true)])));
    assert!(board.apply(NOW, change(1, 2, true, vec![member(2, true)])));
    assert!(board.apply(NOW, change(1, 4, true, vec![member(1, false)])));
    for old in [1, 3, 4] {
        assert!(!board.apply(NOW, change(1, old, false, vec![member(3, true)])), "{old}");
    }
    let id = change(1, 1, true, Vec::new()).id;
    let whole = board.get(id).expect("it is shown").whole();
    assert_eq!(whole.revision, 4);
    assert_eq!(whole.alerts, [member(1, false), member(2, true)]);
    assert_eq!(board.get(id).expect("it is shown").change.alerts, []);
}

#[test]
fn alerts_that_went_to_another_incident_are_not_shown() {
    let board = board(Settings::default());
    let three = vec![member(1, true), member(2, true), member(3, true)];
    board.apply(NOW, change(1, 1, true, three));
    let left = vec![member(1, true).id];
    board.apply(NOW, Change { left, ..change(1, 2, true, Vec::new()) });
    let id = change(1, 1, true, Vec::new()).id;
    let shown = |board: &Board| board.get(id).expect("it is shown").whole().alerts;
    assert_eq!(shown(&board), [member(2, true), member(3, true)]);
    // More of them may have left than one change names.
    let resolved = Some((NOW, Resolution::Merged));
    board.apply(NOW, Change { resolved, ..change(1, 3, false, Vec::new()) });
    assert_eq!(shown(&board), []);
    assert_eq!(listed(&board, Wanted::Open), Vec::<String>::new(), "what was merged is not open");
    // And what a load does not have any more is gone, too.
    board.apply(NOW, change(1, 4, true, vec![member(1, true), member(2, true)]));
    board.load(NOW, vec![change(1, 5, true, vec![member(2, true)])]);
    assert_eq!(shown(&board), [member(2, true)]);
}

#[test]
fn alerts_have_a_bound_and_those_that_are_over_go_first() {
    let board = board(Settings { alerts_max: 2, ..Settings::default() });
    let alerts = vec![member(1, true), member(2, false), member(3, true)];
    board.apply(NOW, change(1, 1, true, alerts));
    let id = change(1, 1, true, Vec::new()).id;
    let hosts = |board: &Board| -> Vec<String> {
        let whole = board.get(id).expect("it is shown").whole();
        whole.alerts.iter().map(|member| member.host.to_string()).collect()
    };
    assert_eq!(hosts(&board), ["web-1", "web-3"]);
    board.apply(NOW, change(1, 2, true, vec![member(4, true)]));
    assert_eq!(hosts(&board), ["web-3", "web-4"]);
    assert_eq!(dropped(&board, "alert"), 2);
}

#[test]
fn an_alert_is_found_for_as_long_as_it_is_shown() {
    let board = board(Settings { alerts_max: 2, ..Settings::default() });
    let [one, two, three] = [member(1, false), member(2, true), member(3, true)];
    let ids = [one.id, two.id, three.id];
    let found = |board: &Board| ids.map(|id| board.of_alert(id).is_some());
    board.apply(NOW, change(1, 1, true, vec![one, two]));
    assert_eq!(found(&board), [true, true, false]);
    board.apply(NOW, change(1, 2, true, vec![three]));
    assert_eq!(found(&board), [false, true, true], "the one that is over went for room");
    board.load(NOW, Vec::new());
    assert_eq!(found(&board), [false; 3]);
    assert!(board.homes.is_empty(), "nothing is left behind");
}

#[test]
fn alerts_have_a_bound_in_all_and_the_incident_resolved_longest_goes() {
    let board = board(Settings { alerts_in_all_max: 3, ..Settings::default() });
    board.apply(NOW, change(1, 1, true, vec![member(1, true)]));
    board.apply(NOW, change(2, 1, false, vec![member(2, false), member(3, false)]));
    assert_eq!(listed(&board, Wanted::All), ["web-2", "web-1"]);
    board.apply(NOW, change(3, 1, true, vec![member(4, true)]));
    assert_eq!(listed(&board, Wanted::All), ["web-3", "web-1"]);
    assert_eq!(dropped(&board, "resolved_incident"), 1);
    board.apply(NOW, change(3, 2, true, vec![member(4, false), member(5, true)]));
    assert_eq!(listed(&board, Wanted::All), ["web-3", "web-1"], "what is told again counts once");
}

#[test]
fn a_page_of_alerts_goes_on_where_the_last_one_ended() {
    let board = board(Settings::default());
    let mut alerts: Vec<Member> = (0..5).map(|nth| member(nth, true)).collect();
    board.apply(NOW, change(1, 1, true, alerts.clone()));
    alerts.sort_by_key(|alert| alert.id);
    let shown = board.get(change(1, 1, true, Vec::new()).id).expect("it is shown");
    assert_eq!(shown.page(None, 2), (alerts[..2].to_vec(), 0, 3));
    assert_eq!(shown.page(Some(alerts[1].id), 2), (alerts[2..4].to_vec(), 2, 1));
    assert_eq!(shown.page(Some(alerts[3].id), 2), (alerts[4..].to_vec(), 4, 0));
    assert_eq!(shown.page(Some(alerts[4].id), 2), (Vec::new(), 5, 0));
}

#[test]
fn the_one_resolved_longest_goes_first_and_an_open_one_is_counted() {
    let board = board(Settings { max: 2, ..Settings::default() });
    board.apply(NOW, change(1, 1, true, Vec::new()));
    board.apply(NOW, change(2, 1, false, Vec::new()));
    board.apply(NOW, change(3, 1, false, Vec::new()));
    assert_eq!(listed(&board, Wanted::All), ["web-3", "web-1"]);
    assert_eq!(dropped(&board, "resolved_incident"), 1);
    board.apply(NOW, change(4, 1, true, Vec::new()));
    assert_eq!(listed(&board, Wanted::All), ["web-4", "web-1"]);
    assert_eq!(dropped(&board, "open_incident"), 0);
    board.apply(NOW, change(5, 1, true, Vec::new()));
    assert_eq!(listed(&board, Wanted::Open), ["web-5", "web-4"]);
    assert_eq!(dropped(&board, "open_incident"), 1);
    assert_eq!(board.metrics.board_incidents.with_label_values(&["open"]).get(), 2);
}

#[test]
fn what_is_over_is_kept_for_a_while_and_what_reopens_stays() {
    let board = board(Settings::default());
    board.apply(NOW, change(1, 1, false, Vec::new()));
    board.apply(NOW, change(2, 1, false, Vec::new()));
    board.apply(NOW, change(2, 2, true, Vec::new()));
    let keep = Settings::default().keep;
    board.sweep(start(1) + keep);
    assert_eq!(listed(&board, Wanted::All), ["web-2", "web-1"]);
    board.sweep(start(1) + keep + Span::from_millis(1));
    assert_eq!(listed(&board, Wanted::All), ["web-2"]);
    board.sweep(start(9) + keep);
    assert_eq!(listed(&board, Wanted::Open), ["web-2"]);
    assert!(board.index.read().expect("nobody panics").over.is_empty());
}

#[test]
fn a_load_replaces_what_ended_unseen_and_never_goes_back() {
    let board = board(Settings::default());
    board.apply(NOW, change(1, 7, true, vec![member(1, true)]));
    board.apply(NOW, change(2, 1, true, vec![member(2, true)]));
    board.apply(NOW, change(3, 1, false, Vec::new()));
    assert!(!board.is_loaded());
    board.load(
        NOW,
        vec![
            change(1, 6, true, vec![member(8, true)]),
            change(4, 3, true, vec![member(4, true), member(5, false)]),
        ],
    );
    assert!(board.is_loaded());
    // 2 is not among correlate's any more; 3 is over and stays for its time.
    assert_eq!(listed(&board, Wanted::All), ["web-4", "web-3", "web-1"]);
    let id = change(1, 1, true, Vec::new()).id;
    assert_eq!(board.get(id).expect("it is shown").change.revision, 7);
    // Of the same revision, correlate's rows know all alerts.
    board.load(NOW, vec![change(1, 7, true, vec![member(1, true), member(9, true)])]);
    assert_eq!(board.get(id).expect("it is shown").whole().alerts.len(), 2);
}

#[test]
fn pages_follow_each_other_without_gap_or_repeat() {
    let board = board(Settings::default());
    let count = 3 * IDS_AT_ONCE as i64 + 5;
    for nth in 0..count {
        board.apply(NOW, change(nth, 1, nth % 3 != 0, Vec::new()));
    }
    for (wanted, expected) in [
        (Wanted::All, count),
        (Wanted::Open, count - (count + 2) / 3),
        (Wanted::Resolved, (count + 2) / 3),
    ] {
        let mut query = Query { wanted, limit: 100, ..Query::default() };
        let mut seen = Vec::new();
        loop {
            let page = board.list(&query);
            assert!(page.incidents.len() <= 100);
            seen.extend(page.incidents.iter().map(|shown| shown.change.id));
            query.after = page.next;
            if page.next.is_none() {
                break;
            }
        }
        assert_eq!(seen.len() as i64, expected, "{wanted:?}");
        assert!(seen.is_sorted_by(|a, b| a > b), "newest first, none twice");
    }
    // A page that is just full has no next.
    let query = Query { limit: expected_all(count), wanted: Wanted::All, ..Query::default() };
    assert_eq!(board.list(&query).next, None);
    let matchers = Matchers::parse(["host=web-7"]).expect("a matcher");
    let page = board.list(&Query { matchers, limit: 10, ..Query::default() });
    assert_eq!(page.incidents.len(), 1);
}

fn expected_all(count: i64) -> usize {
    usize::try_from(count).expect("not negative")
}

#[test]
fn timelines_keep_the_newest_each_and_together() {
    let board = board(Settings { timeline_max: 3, timelines_max: 4, ..Settings::default() });
    let revisions = |nth: i64| -> Vec<u64> {
        let id = change(nth, 1, true, Vec::new()).id;
        board.get(id).expect("shown").timeline.iter().map(|change| change.revision).collect()
    };
    // What was loaded is the state, and nothing that happened.
    let loaded = Change { kinds: Vec::new(), ..change(1, 1, true, Vec::new()) };
    board.load(NOW, vec![loaded]);
    assert!(revisions(1).is_empty());
    for revision in 2..7 {
        board.apply(NOW, change(1, revision, true, Vec::new()));
    }
    assert_eq!(revisions(1), [4, 5, 6], "three at most");
    board.apply(NOW, change(2, 1, true, Vec::new()));
    board.apply(NOW, change(2, 2, true, Vec::new()));
    assert_eq!((revisions(1), revisions(2)), (vec![4, 5, 6], vec![2]), "four together");
    board.apply(NOW, change(3, 1, true, Vec::new()));
    assert_eq!(revisions(3), [1], "one each at least");
    assert_eq!(dropped(&board, "timeline"), 3);
    board.load(NOW, vec![change(2, 9, true, Vec::new())]);
    board.apply(NOW, change(2, 10, true, Vec::new()));
    board.apply(NOW, change(2, 11, true, Vec::new()));
    assert_eq!(revisions(2).last(), Some(&11), "those that went have left their room");
    assert_eq!(revisions(2).len(), 3);
}
