//! What is stored or sent reads back as it was, in the same bytes, and what this version does not
//! know is refused by name.
//!
//! A fixture of each past version stands for the bytes that running systems hold. A fixture that
//! has to be edited for a test to pass is a format that changed its meaning.

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use muster::collect::{self, Collect, Duty, Room};
use muster::model::alert::{Hop, Lack, MUSTER, MoveKind, Moved, Refusal, Side, TurnedDown};
use muster::model::command::{
    Audience, Comment, Mode, Outcome, Refused, ResolvedByHand, SnoozeEnds, Snoozed, Undo, Undoable,
    Which,
};
use muster::model::event::{Links, Report};
use muster::model::incident::{Acknowledged, Gone};
use muster::model::maintenance::PlanText;
use muster::model::settings::Near;
use muster::model::update::{Seen, Touch};
use muster::model::{
    Action, Alert, AlertId, Ask, Change, ChangeKind, Chronic, ChronicSettings, Command,
    CommandResult, CorrelateSettings, Counts, Event, FlappingSettings, Flaps, Heartbeat, Hold,
    Identity, Incident, IncidentId, Maintained, MaintenanceId, Matchers, Member, Pair, Pattern,
    RequestId, Resolution, Span, Status, TagValue, Tags, Timestamp, Topology, Update, Why,
};
use muster::stage::{Kind, Offset, Output, Record, Slot, Stage};
use muster::wire::row::{CorrelateRow, MARK_KEY, Mark, RememberedOk, SETTINGS_KEY};
use muster::wire::{
    WireError, change, command, event, request as wire_request, row, settings, update,
};
use proptest::prelude::*;

/// The bytes of a fixture; the line end that editors like is not part of it.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wire");
    let mut bytes = std::fs::read(folder.join(name)).expect("the fixture");
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    bytes
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("JSON is text")
}

/// The fixture reads as the value, and the value is written as the fixture.
fn holds<T: PartialEq + Debug>(
    name: &str,
    value: &T,
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<T, WireError>,
) {
    let stored = fixture(name);
    let written = encode(value);
    assert_eq!(text(&written), text(&stored), "{name} is written otherwise");
    let read = decode(&stored).unwrap_or_else(|error| panic!("{name} is not read: {error}"));
    assert_eq!(&read, value, "{name} reads otherwise");
}

/// The same value comes back, and it is the same bytes again.
fn round<T: PartialEq + Debug>(
    value: &T,
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<T, WireError>,
) -> Result<(), TestCaseError> {
    let bytes = encode(value);
    let read = decode(&bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(&read, value);
    let again = encode(&read);
    prop_assert_eq!(text(&again), text(&bytes), "the same value, other bytes");
    Ok(())
}

fn as_alert(key: &[u8], bytes: &[u8]) -> Result<Alert, WireError> {
    match row::decode(key, bytes)? {
        CorrelateRow::Alert(alert) => Ok(*alert),
        other => panic!("{other:?} is no alert"),
    }
}

fn as_incident(key: &[u8], bytes: &[u8]) -> Result<Incident, WireError> {
    match row::decode(key, bytes)? {
        CorrelateRow::Incident(incident) => Ok(*incident),
        other => panic!("{other:?} is no incident"),
    }
}

fn as_ok(key: &[u8], bytes: &[u8]) -> Result<RememberedOk, WireError> {
    match row::decode(key, bytes)? {
        CorrelateRow::Ok(ok) => Ok(ok),
        other => panic!("{other:?} is no ok"),
    }
}

fn as_mark(bytes: &[u8]) -> Result<Mark, WireError> {
    match row::decode(MARK_KEY, bytes)? {
        CorrelateRow::Mark(mark) => Ok(mark),
        other => panic!("{other:?} is no mark"),
    }
}

// ---- values written out -------------------------------------------------------------------------

const START: Timestamp = Timestamp::from_millis(1_763_913_600_123);

fn later(millis: i64) -> Timestamp {
    START + Span::from_millis(millis)
}

fn alert_id() -> AlertId {
    AlertId::parse("alr_1kas3zjhv0123456789abc").expect("an id")
}

fn incident_id(last: char) -> IncidentId {
    IncidentId::parse(&format!("inc_1kas3zjhv0123456789ab{last}")).expect("an id")
}

fn odd_text() -> &'static str {
    "„512 MB“ free\n\t\"3%\" \\ é 🦀 \u{1}\u{7f}/"
}

fn pair() -> Pair {
    Pair {
        pattern: "cluster and env".into(),
        by: vec![("env".into(), "prod".into()), ("cluster".into(), "web \"a\"".into())],
        source: Some("nagios".into()),
        chronic: false,
        near: None,
    }
}

fn why() -> Why {
    let turned_down = Refusal::ALL.into_iter().zip("wxyz".chars()).map(|(reason, last)| {
        let apart = Span::from_millis(1_000);
        TurnedDown {
            incident: incident_id(last),
            pattern: "host".into(),
            reason,
            apart,
            missed: None,
            besides: Vec::new(),
        }
    });
    Why {
        pair: Some(pair()),
        path: Vec::new(),
        apart: Span::from_millis(61_001),
        turned_down: turned_down.collect(),
        more: 7,
        lacks: Vec::new(),
        moves: Vec::new(),
    }
}

fn tags() -> Tags {
    Tags::from_iter([
        ("cluster", TagValue::one("web \"a\"")),
        ("az", TagValue::List(["b".into(), "a".into(), "".into()].into())),
        ("none", TagValue::List([].into())),
        ("", TagValue::one("")),
        ("ключ\n", TagValue::one("значение")),
    ])
}

fn links() -> Links {
    Links::from([
        ("runbook".into(), "https://wiki.example/disk?a=1&b=\"2\"".into()),
        ("graph".into(), "https://graphs.example/1".into()),
    ])
}

fn an_event() -> Event {
    Event {
        source: "nagios".into(),
        host: "web-1".into(),
        check: "disk /".into(),
        key: Some("job/17".into()),
        report: Report::Status(Status::Critical),
        timestamp: START,
        description: odd_text().into(),
        tags: tags(),
        links: links(),
        expires_at: Some(later(86_400_000)),
        id: Some("e-1".into()),
    }
}

fn an_alert() -> Alert {
    Alert {
        id: alert_id(),
        identity: Identity::new("nagios", None, None, Some("job/17")),
        shard: "tenant-a".into(),
        incident: incident_id('c'),
        host: "web-1".into(),
        check: "disk /".into(),
        status: Status::Unknown,
        status_changes: Vec::new(),
        flapping: None,
        maintenance: None,
        description: odd_text().into(),
        tags: tags(),
        links: links(),
        started_at: START,
        changed_at: later(1),
        newest: later(2),
        alive_until: later(3),
        restated_at: None,
        appended_at: later(4),
        events: 812,
        acknowledged: true,
        resolved: Some((later(5), Resolution::Expired)),
        why: why(),
        chronic: false,
    }
}

fn an_incident() -> Incident {
    Incident {
        id: incident_id('c'),
        revision: 7,
        shard: "tenant-a".into(),
        first: START,
        latest: later(1),
        opened_at: later(2),
        changed_at: later(3),
        resolved: Some((later(4), Resolution::AllOk)),
        severity: Status::Warning,
        pairs: vec![
            pair(),
            Pair {
                source: None,
                chronic: false,
                by: Vec::new(),
                pattern: "all".into(),
                near: None,
            },
        ],
        tags: tags(),
        continues: Some(incident_id('a')),
        continued_by: Some(incident_id('b')),
        acknowledged: Some(Acknowledged { by: "zabbix".into(), at: later(5), until: None }),
        assignee: None,
        snoozed: None,
        updated_at: Some(later(6)),
        remind_at: None,
        updates: vec![alert_id()],
        gone: None,
        merged_from: Vec::new(),
        split_from: None,
        split_into: Vec::new(),
        reshaped_at: None,
        hold: None,
    }
}

/// What came with merge and split.
fn a_move(kind: MoveKind) -> Moved {
    let (from, by) = (incident_id('d'), "anna".into());
    Moved { kind, from, by, at: later(7), request: "r-1".into() }
}

fn by_hand_moves() -> Vec<Moved> {
    [MoveKind::Merged, MoveKind::Split, MoveKind::Recorrelated].map(a_move).to_vec()
}

/// What came with `min_alerts`.
fn a_hold() -> Option<Box<Hold>> {
    let ask = Ask { pattern: "site".into(), min_alerts: 3, until: later(9) };
    Some(Box::new(Hold { asks: vec![ask], lapsed: vec!["rack".into()] }))
}

fn a_held_change() -> Change {
    let kinds = vec![ChangeKind::Lapsed, ChangeKind::Released, ChangeKind::Resolved];
    let mut change = Change { kinds, hold: a_hold(), ..a_reshaped_change() };
    let moved = Moved { by: MUSTER.into(), request: "".into(), ..a_move(MoveKind::Lapsed) };
    change.alerts[0].why.moves = vec![moved];
    change
}

fn a_moved_alert() -> Alert {
    let why = Why { moves: by_hand_moves(), ..why() };
    Alert { why, ..an_alert() }
}

fn a_merged_incident() -> Incident {
    let gone = Gone {
        into: Some(incident_id('d')),
        kind: MoveKind::Merged,
        at: later(7),
        by: "anna".into(),
        request: "r-1".into(),
        resolved: Some((later(6), Resolution::Expired)),
        title: "web: 12 hosts · ok".into(),
        hosts: vec!["web-1".into()],
        checks: vec!["disk /".into()],
        sources: vec!["nagios".into()],
    };
    Incident {
        resolved: Some((later(7), Resolution::Merged)),
        gone: Some(Box::new(gone)),
        merged_from: vec![incident_id('e')],
        split_from: Some(incident_id('f')),
        split_into: vec![incident_id('g')],
        reshaped_at: Some(later(7)),
        hold: None,
        ..an_incident()
    }
}

fn a_change() -> Change {
    let member = Member {
        id: alert_id(),
        source: "nagios".into(),
        host: "web-1".into(),
        check: "disk /".into(),
        status: Status::Info,
        firing: false,
        flapping: false,
        chronic: false,
        maintenance: None,
        description: odd_text().into(),
        tags: tags(),
        links: links(),
        started_at: START,
        changed_at: later(1),
        why: why(),
    };
    let plain = Member {
        check: "".into(),
        status: Status::Critical,
        firing: true,
        description: "".into(),
        tags: Tags::default(),
        links: Links::new(),
        why: Why::default(),
        ..member.clone()
    };
    Change {
        id: incident_id('c'),
        revision: 7,
        kinds: vec![
            ChangeKind::Opened,
            ChangeKind::Reopened,
            ChangeKind::Grew,
            ChangeKind::Worsened,
            ChangeKind::Eased,
            ChangeKind::Updated,
            ChangeKind::Acknowledged,
            ChangeKind::Continued,
            ChangeKind::Resolved,
        ],
        at: later(456),
        shard: "main".into(),
        status: Status::Critical,
        severity: Status::Critical,
        title: "web: 12 hosts · disk / · critical".into(),
        started_at: START,
        changed_at: later(2),
        resolved: Some((later(3), Resolution::Expired)),
        pair: Some(pair()),
        further: Vec::new(),
        further_cut: 0,
        counts: Counts { firing: 3, total: 5, events: 812, hosts: 3, checks: 2, maintenance: 0 },
        hosts: vec!["web-1".into(), "web-2".into()],
        checks: vec!["disk /".into()],
        sources: vec!["nagios".into()],
        tags: tags(),
        acknowledged: Some(Acknowledged { by: "zabbix".into(), at: later(4), until: None }),
        flapping: false,
        maintenance: false,
        hold: None,
        continues: Some(incident_id('a')),
        continued_by: Some(incident_id('b')),
        merged_into: None,
        merged_from: Vec::new(),
        split_from: None,
        split_into: Vec::new(),
        joined: vec![alert_id()],
        left: Vec::new(),
        alerts: vec![member, plain],
        assignee: None,
        snoozed: None,
        actor: None,
        comment: None,
    }
}

/// With what an explanation rests on: it was not kept before.
fn an_explained_change() -> Change {
    let mut change = a_change();
    change.further = vec![pair()];
    change.further_cut = 2;
    let why = &mut change.alerts[0].why;
    let missed =
        [(40_000, Side::Late), (1, Side::Early)].map(|(by, side)| (Span::from_millis(by), side));
    for (turned_down, missed) in why.turned_down.iter_mut().zip(missed) {
        turned_down.missed = Some(missed);
        turned_down.besides = vec![Refusal::Resolved, Refusal::Full];
    }
    why.lacks = vec![Lack { pattern: "rack".into(), tag: "rack \"r\"".into() }];
    change
}

/// What came with flapping.
fn a_flapping_change() -> Change {
    let kinds = [
        "opened",
        "reopened",
        "grew",
        "worsened",
        "eased",
        "updated",
        "acknowledged",
        "continued",
        "flapping",
        "calmed",
        "resolved",
    ];
    let kinds = kinds.map(|word| ChangeKind::parse(word).expect("a kind"));
    let mut change = Change { kinds: kinds.to_vec(), flapping: true, ..a_change() };
    change.alerts[1].flapping = true;
    change
}

/// What came with merge and split.
fn a_reshaped_change() -> Change {
    let mut change = Change {
        kinds: vec![
            ChangeKind::Merged,
            ChangeKind::Split,
            ChangeKind::Undone,
            ChangeKind::Recorrelated,
            ChangeKind::Resolved,
        ],
        resolved: Some((later(3), Resolution::Merged)),
        merged_into: Some(incident_id('d')),
        merged_from: vec![incident_id('e'), incident_id('f')],
        split_from: Some(incident_id('g')),
        split_into: vec![incident_id('h')],
        left: vec![alert_id()],
        actor: Some("anna".into()),
        ..a_change()
    };
    change.alerts[0].why.moves = by_hand_moves();
    change
}

/// What came with commands.
fn a_commanded_change() -> Change {
    let kinds = ["unacknowledged", "acknowledged", "assigned", "unsnoozed", "snoozed", "commented"];
    let kinds = kinds.map(|word| ChangeKind::parse(word).expect("a kind"));
    Change {
        kinds: kinds.to_vec(),
        resolved: Some((later(3), Resolution::ByHand)),
        acknowledged: Some(Acknowledged { by: "ann".into(), at: START, until: Some(later(9)) }),
        assignee: Some("bob".into()),
        snoozed: Some(a_snooze()),
        actor: Some("ann".into()),
        comment: Some(Comment { text: odd_text().into(), audience: Audience::Internal }),
        ..a_change()
    }
}

fn a_snooze() -> Snoozed {
    let ends_on = SnoozeEnds { new_alert: true, worse: false, reopened: true };
    Snoozed { by: "ann".into(), until: later(8), ends_on, status: Status::Warning }
}

fn request(text: &str) -> RequestId {
    RequestId::parse(text).expect("a request id")
}

/// One command of every kind, in the order of their words.
fn the_commands() -> Vec<Command> {
    let (incident, from) = (incident_id('c'), vec![incident_id('a'), incident_id('b')]);
    let matchers = Matchers::parse(["host=~\"web-.*\"", "env!=\"dev\""]).expect("matchers");
    let ends_on = a_snooze().ends_on;
    let actions = [
        Action::Acknowledge { incident, until: Some(later(9)) },
        Action::Unacknowledge { incident },
        Action::Assign { incident, to: Some("bob".into()) },
        Action::Snooze { incident, until: later(9), ends_on },
        Action::Unsnooze { incident },
        Action::Resolve(Which::Matching(matchers)),
        Action::Resolve(Which::Incidents(from.clone())),
        Action::Comment { incident, text: "on it".into(), audience: Audience::Public },
        Action::Merge { into: incident, from },
        Action::Split { incident, alerts: vec![alert_id()] },
        Action::SplitAll { incident },
        Action::Undo { request: request("r-1") },
        Action::Recorrelate { shard: Some("tenant-a".into()), mode: Mode::Apply },
        Action::MaintenancePut { plan: "{}".into(), mode: Mode::Apply },
        Action::MaintenanceEnd { id: "mnt_1".into() },
        Action::MaintenancePut { plan: "{}".into(), mode: Mode::DryRun },
    ];
    let command = |(nth, action)| Command {
        request: request(&format!("r-{nth}")),
        actor: "ann@example.com".into(),
        confirm: (nth % 2 == 1).then_some(3),
        action,
    };
    actions.into_iter().enumerate().map(command).collect()
}

fn a_result() -> CommandResult {
    CommandResult {
        request: request("r-1"),
        partition: 3,
        at: START,
        action: "resolve".into(),
        confirm: None,
        outcome: Outcome::Refused(Refused::Confirm),
        count: 4_812,
        message: "4812 open incidents match".into(),
        incidents: vec![(incident_id('c'), 7)],
        lines: Vec::new(),
    }
}

fn an_undo() -> Undoable {
    let resolved = ResolvedByHand {
        incident: incident_id('c'),
        acknowledged: Some(Acknowledged { by: "ann".into(), at: START, until: None }),
        snoozed: Some(a_snooze()),
    };
    Undoable { request: request("r-1"), at: START, what: Undo::Resolve(vec![resolved]) }
}

fn an_update() -> Update {
    Update {
        shard: "tenant-a".into(),
        expire_after: Span::from_millis(604_800_000),
        seen: Seen { repeats: 19, newest: Some((later(-5), later(600_000))) },
        event: an_event(),
    }
}

fn a_touch() -> Touch {
    Touch {
        identity: Identity::new("nagios", Some("web-1"), Some(""), None),
        seen: Seen { repeats: 3, newest: Some((START, later(9))) },
    }
}

fn a_settings() -> CorrelateSettings {
    let matchers = |texts: &[&str]| Matchers::parse(texts.iter().copied()).expect("matchers");
    CorrelateSettings {
        reopen_window: Span::from_secs(1_800),
        maintenance: Vec::new(),
        flapping: FlappingSettings::default(),
        dismiss_for: CorrelateSettings::DISMISS_FOR,
        ok_memory_max: 200_000,
        patterns: vec![
            Pattern {
                name: "cluster".into(),
                matchers: matchers(&["env=\"prod\"", "host=~\"web-.*\"", "az!=\"a \\\"b\\\"\""]),
                by: vec!["cluster".into(), "az".into()],
                window: Span::from_secs(3_600),
                gap: Some(Span::from_secs(300)),
                cross_source: true,
                max_alerts: 1_000,
                min_alerts: 1,
                chronic: Chronic::default(),
                near: None,
            },
            Pattern {
                name: "host".into(),
                matchers: matchers(&[]),
                by: vec!["host".into()],
                window: Span::from_millis(1),
                gap: None,
                cross_source: false,
                max_alerts: 2,
                min_alerts: 1,
                chronic: Chronic::default(),
                near: None,
            },
        ],
        ..CorrelateSettings::default()
    }
}

fn a_settings_with_heartbeats() -> CorrelateSettings {
    let schedule = PlanText {
        every: Some("week".into()),
        on: vec!["mon".into(), "fri".into()],
        at: Some("02:00".into()),
        lasts: Some("2h".into()),
        time_zone: Some("Europe/Berlin".into()),
        ..PlanText::default()
    };
    let matchers = Matchers::parse(["source=\"agent\""]).expect("a matcher");
    let mut tags = Tags::default();
    tags.set("team", TagValue::one("storage"));
    let each = Heartbeat {
        name: "agents".into(),
        every: Span::from_secs(300),
        grace: Span::from_secs(60),
        matchers,
        each: Some("host".into()),
        each_max: 1_000,
        schedule: None,
        status: Status::Critical,
        shard: "default".into(),
        tags,
        forget_after: Span::from_secs(604_800),
    };
    let nightly = Heartbeat {
        name: "nightly".into(),
        each: None,
        schedule: Some(schedule.read_schedule().expect("a schedule")),
        tags: Tags::default(),
        status: Status::Warning,
        ..each.clone()
    };
    CorrelateSettings { heartbeats: vec![each, nightly], ..CorrelateSettings::default() }
}

// ---- fixtures -----------------------------------------------------------------------------------

#[test]
fn rows_of_version_1_are_what_they_were() {
    let (alert, incident) = (row::alert_key(alert_id()), row::incident_key(incident_id('c')));
    holds("alert.v1.json", &an_alert(), row::encode_alert, |bytes| as_alert(&alert, bytes));
    holds("incident.v1.json", &an_incident(), row::encode_incident, |bytes| {
        as_incident(&incident, bytes)
    });
    let identity = Identity::new("nagios", Some("web-1"), Some("disk /"), None);
    let key = row::ok_key(&identity);
    let ok = RememberedOk { identity, at: START, appended_at: later(1) };
    holds("ok.v1.json", &ok, row::encode_ok, |bytes| as_ok(&key, bytes));
    let commanded = Incident {
        assignee: Some("bob".into()),
        snoozed: Some(a_snooze()),
        resolved: Some((later(4), Resolution::ByHand)),
        ..an_incident()
    };
    holds("incident.v1.commands.json", &commanded, row::encode_incident, |bytes| {
        as_incident(&incident, bytes)
    });
    let held = Incident { hold: a_hold(), ..an_incident() };
    holds("incident.v1.held.json", &held, row::encode_incident, |bytes| {
        as_incident(&incident, bytes)
    });
    holds("undo.v1.json", &an_undo(), wire_request::encode_undo, wire_request::decode_undo);
    let mark = Mark { now: START, commits: 41, offset: 1_234_567 };
    holds("mark.v1.json", &mark, |mark| row::encode_mark(*mark), as_mark);
}

#[test]
fn keys_of_rows_are_what_they_were() {
    let keys = [
        row::alert_key(alert_id()),
        row::incident_key(incident_id('c')),
        row::ok_key(&Identity::new("nagios", Some("wéb"), Some(""), None)),
        row::ok_key(&Identity::new("nagios", None, None, Some("a:1"))),
        wire_request::result_key(&request("a/1")),
        wire_request::undo_key(&request("a/1")),
        SETTINGS_KEY.to_vec(),
        MARK_KEY.to_vec(),
    ];
    let wanted = [
        "a/alr_1kas3zjhv0123456789abc",
        "i/inc_1kas3zjhv0123456789abc",
        "o/5:check6:nagios4:wéb0:",
        "o/3:key6:nagios3:a:10:",
        "c/a/1",
        "u/a/1",
        "s/settings",
        "t/mark",
    ];
    assert_eq!(keys.each_ref().map(|key| text(key)), wanted);
}

#[test]
fn records_of_version_1_are_what_they_were() {
    holds("update.v1.json", &an_update(), update::encode, update::decode);
    holds("touch.v1.json", &a_touch(), update::encode_touch, update::decode_touch);
    holds("settings.v1.json", &a_settings(), settings::encode, settings::decode);
    let awaited = a_settings_with_heartbeats();
    holds("settings.v1.heartbeats.json", &awaited, settings::encode, settings::decode);
    let before = change::decode(&fixture("change.v1.json")).expect("a change");
    assert_eq!(before, a_change(), "from before there was flapping");
    let mut asking = a_settings();
    asking.patterns[1].min_alerts = 2;
    holds("settings.v1.min_alerts.json", &asking, settings::encode, settings::decode);
    holds("change.v1.held.json", &a_held_change(), change::encode, change::decode);
    holds("change.v1.flapping.json", &a_flapping_change(), change::encode, change::decode);
    holds("change.v1.reshaped.json", &a_reshaped_change(), change::encode, change::decode);
    let moved = row::alert_key(alert_id());
    holds("alert.v1.moved.json", &a_moved_alert(), row::encode_alert, |bytes| {
        as_alert(&moved, bytes)
    });
    let merged = row::incident_key(incident_id('c'));
    holds("incident.v1.merged.json", &a_merged_incident(), row::encode_incident, |bytes| {
        as_incident(&merged, bytes)
    });
    holds("change.v1.commands.json", &a_commanded_change(), change::encode, change::decode);
    holds("result.v1.json", &a_result(), command::encode_result, command::decode_result);
    let stored = fixture("commands.v1.jsonl");
    let mut lines = text(&stored).lines();
    for known in the_commands() {
        let line = lines.next().expect("a line for each");
        assert_eq!(text(&command::encode(&known)), line);
        assert_eq!(command::decode(line.as_bytes()), Ok(known));
    }
    assert_eq!(lines.next(), None);
    holds("change.v1.explained.json", &an_explained_change(), change::encode, change::decode);
    holds(
        "event.v1.json",
        &(an_event(), later(456)),
        |(event, arrival)| event::encode(event, *arrival),
        |bytes| Ok((read_event(bytes), later(456))),
    );
}

/// The settings row is the settings record.
#[test]
fn settings_are_stored_as_they_came() {
    let stored = fixture("settings.v1.json");
    assert_eq!(row::decode(SETTINGS_KEY, &stored), Ok(CorrelateRow::Settings(stored.clone())));
}

/// An event of `muster.events` as the owner of its identity takes it.
fn read_event(bytes: &[u8]) -> Event {
    let source = collect::SourceSettings {
        shard: "main".into(),
        expire_after: Span::from_secs(3_600),
        ..collect::SourceSettings::new("defaults")
    };
    let settings = collect::Settings {
        sources: vec![source],
        cache_max: 10,
        limits: collect::Limits::default(),
        ..collect::Settings::default()
    };
    let origins = Arc::new([collect::Origin::canonical("events")]);
    let mut stage = Collect::new(Arc::new(settings), Duty::Suppress, origins, Room::new(10), 7);
    let record = Record {
        offset: Offset(0),
        // Not the arrival: that stands in the event.
        time: Timestamp::from_millis(5),
        kind: Kind::Event,
        key: None,
        value: Some(bytes),
        headers: None,
    };
    let mut out = Output::default();
    stage.apply(Slot::default(), &record, &mut out);
    let [forwarded] = out.records.as_slice() else { panic!("{:?}", out.records) };
    assert_eq!(forwarded.kind, Kind::Update, "{}", text(&forwarded.value));
    update::decode(&forwarded.value).expect("an update").event
}

#[test]
fn an_unknown_version_is_refused_by_name() {
    fn refused<T: Debug>(name: &str, decode: impl Fn(&[u8]) -> Result<T, WireError>) {
        let error = decode(&fixture(name)).expect_err("a version from the future");
        assert!(error.to_string().contains("version 9"), "{name}: {error}");
    }
    refused("alert.v9.json", |bytes| row::decode(&row::alert_key(alert_id()), bytes));
    refused("incident.v9.json", |bytes| row::decode(&row::incident_key(incident_id('c')), bytes));
    refused("maintenance.v9.json", |bytes| row::decode(b"m/", bytes));
    refused("sweep.v9.json", |bytes| row::decode(b"m", bytes));
    refused("ok.v9.json", |bytes| row::decode(b"o/5:check6:nagios5:web-10:", bytes));
    refused("mark.v9.json", |bytes| row::decode(MARK_KEY, bytes));
    refused("update.v9.json", update::decode);
    refused("touch.v9.json", update::decode_touch);
    refused("settings.v9.json", settings::decode);
    refused("command.v9.json", command::decode);
    refused("result.v9.json", command::decode_result);
    refused("undo.v9.json", wire_request::decode_undo);
}

#[test]
fn an_unknown_word_or_kind_is_refused_by_name() {
    let altered = |name: &str, from: &str, to: &str| {
        let stored = fixture(name);
        assert!(text(&stored).contains(from), "{name} has no {from}");
        text(&stored).replace(from, to).into_bytes()
    };
    let key = row::alert_key(alert_id());
    for (from, to) in [
        ("\"unknown\"", "\"purple\""),
        ("\"expired\"", "\"by_magic\""),
        ("\"outside_gap\"", "\"too_shy\""),
        ("\"alr_1kas3zjhv0123456789abc\"", "\"inc_1kas3zjhv0123456789abc\""),
    ] {
        let error = as_alert(&key, &altered("alert.v1.json", from, to)).expect_err(to);
        assert!(error.to_string().contains(to.trim_matches('"')), "{error}");
    }
    let worse = altered("change.v1.json", "\"grew\"", "\"exploded\"");
    assert!(change::decode(&worse).expect_err("no kind").to_string().contains("exploded"));
    let purple = altered("update.v1.json", "\"critical\"", "\"purple\"");
    assert!(update::decode(&purple).expect_err("no status").to_string().contains("purple"));
    for key in [&b"x/1"[..], b"", b"a", b"alerts/1", b"s/other"] {
        let error = row::decode(key, &fixture("alert.v1.json")).expect_err("no such kind");
        assert!(error.to_string().contains("kind"), "{error}");
    }
}

// ---- round trips --------------------------------------------------------------------------------

fn any_text() -> BoxedStrategy<Box<str>> {
    let text = prop_oneof![
        1 => Just(String::new()),
        1 => Just(odd_text().to_owned()),
        3 => "[a-z0-9/ .-]{1,12}",
        2 => any::<String>(),
        1 => "[\\x00-\\x1f\"\\\\]{1,6}",
    ];
    text.prop_map(Into::into).boxed()
}

pub(crate) fn any_time() -> BoxedStrategy<Timestamp> {
    let millis = prop_oneof![
        4 => 1_700_000_000_000_i64..1_800_000_000_000,
        2 => any::<i64>(),
        1 => prop_oneof![Just(i64::MIN), Just(-1), Just(0), Just(1), Just(i64::MAX)],
    ];
    millis.prop_map(Timestamp::from_millis).boxed()
}

pub(crate) fn any_span() -> impl Strategy<Value = Span> {
    prop_oneof![0_i64..100_000_000, Just(i64::MAX), Just(0)].prop_map(Span::from_millis)
}

fn any_of<T: Copy + Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    prop::sample::select(all)
}

fn any_status() -> impl Strategy<Value = Status> {
    any_of(&Status::ALL)
}

fn maybe<S: Strategy>(of: S) -> impl Strategy<Value = Option<S::Value>> {
    prop::option::of(of)
}

fn some<S: Strategy>(of: S, max: usize) -> impl Strategy<Value = Vec<S::Value>> {
    prop::collection::vec(of, 0..=max)
}

pub(crate) fn any_identity() -> impl Strategy<Value = Identity> {
    (any_text(), any_text(), any_text(), maybe(any_text())).prop_map(
        |(source, host, check, key)| {
            Identity::new(&source, Some(&host), Some(&check), key.as_deref())
        },
    )
}

fn any_alert_id() -> impl Strategy<Value = AlertId> {
    (any_time(), any_identity(), any::<u32>())
        .prop_map(|(time, identity, nth)| AlertId::derive(time, &identity, nth))
}

fn any_incident_id() -> impl Strategy<Value = IncidentId> {
    (any_time(), any_identity(), any::<u32>())
        .prop_map(|(time, identity, nth)| IncidentId::derive(time, &identity, nth))
}

fn any_tags() -> impl Strategy<Value = Tags> {
    let list = some(any_text(), 3).prop_map(|list| TagValue::List(list.into()));
    let value = prop_oneof![any_text().prop_map(TagValue::One), list];
    prop::collection::btree_map(any_text(), value, 0..5).prop_map(Tags::from_map)
}

fn any_links() -> impl Strategy<Value = Links> {
    prop::collection::btree_map(any_text(), any_text(), 0..3)
}

fn any_pair() -> impl Strategy<Value = Pair> {
    let by = prop::collection::btree_map(any_text(), any_text(), 0..5);
    let by = by.prop_map(|by| by.into_iter().collect::<Vec<_>>()).prop_shuffle();
    let near = maybe((any_text(), any_text()));
    (any_text(), by, maybe(any_text()), any::<bool>(), near).prop_map(
        |(pattern, by, source, chronic, near)| Pair { pattern, by, source, chronic, near },
    )
}

fn any_why() -> impl Strategy<Value = Why> {
    let missed = maybe((any_span(), any_of(&[Side::Early, Side::Late])));
    let besides = some(any_of(&Refusal::ALL), 2);
    let turned_down =
        (any_incident_id(), any_text(), any_of(&Refusal::ALL), any_span(), missed, besides)
            .prop_map(|(incident, pattern, reason, apart, missed, besides)| TurnedDown {
                incident,
                pattern,
                reason,
                apart,
                missed,
                besides,
            });
    let lack = (any_text(), any_text()).prop_map(|(pattern, tag)| Lack { pattern, tag });
    let hop = (any_text(), any_text(), maybe(any_text())).prop_map(|(tag, value, via)| Hop {
        tag,
        value,
        via,
    });
    (
        (maybe(any_pair()), some(hop, 3), any_span(), some(turned_down, 3), any::<u32>()),
        (some(lack, 2), some(any_move(), 2)),
    )
        .prop_map(|((pair, path, apart, turned_down, more), (lacks, moves))| Why {
            pair,
            path,
            apart,
            turned_down,
            more,
            lacks,
            moves,
        })
}

fn any_move() -> impl Strategy<Value = Moved> {
    (any_of(&MoveKind::ALL), any_incident_id(), any_text(), any_time(), any_text())
        .prop_map(|(kind, from, by, at, request)| Moved { kind, from, by, at, request })
}

fn any_gone() -> impl Strategy<Value = Gone> {
    let names = || some(any_text(), 2);
    ((maybe(any_incident_id()), any_move(), any_end()), (any_text(), names(), names(), names()))
        .prop_map(|((into, moved, resolved), (title, hosts, checks, sources))| {
            let Moved { kind, by, at, request, .. } = moved;
            Gone { into, kind, at, by, request, resolved, title, hosts, checks, sources }
        })
}

fn any_end() -> impl Strategy<Value = Option<(Timestamp, Resolution)>> {
    maybe((any_time(), any_of(&Resolution::ALL)))
}

fn any_acknowledged() -> impl Strategy<Value = Option<Acknowledged>> {
    maybe((any_text(), any_time(), maybe(any_time())).prop_map(|(by, at, until)| Acknowledged {
        by,
        at,
        until,
    }))
}

pub(crate) fn any_event() -> impl Strategy<Value = Event> {
    let report = prop_oneof![
        5 => any_status().prop_map(Report::Status),
        1 => Just(Report::Acknowledged),
    ];
    (
        (any_text(), any_text(), any_text(), maybe(any_text()), report),
        (any_time(), any_text(), any_tags(), any_links(), maybe(any_time()), maybe(any_text())),
    )
        .prop_map(|((source, host, check, key, report), rest)| {
            let (timestamp, description, tags, links, expires_at, id) = rest;
            Event {
                source,
                host,
                check,
                key,
                report,
                timestamp,
                description,
                tags,
                links,
                expires_at,
                id,
            }
        })
}

pub(crate) fn any_seen() -> impl Strategy<Value = Seen> {
    (any::<u64>(), maybe((any_time(), any_time())))
        .prop_map(|(repeats, newest)| Seen { repeats, newest })
}

fn any_flaps() -> impl Strategy<Value = Flaps> {
    (any_time(), any_status(), any_time(), any_time())
        .prop_map(|(since, said, calm_at, calm_due)| Flaps { since, said, calm_at, calm_due })
}

fn any_flapping() -> impl Strategy<Value = FlappingSettings> {
    (any::<u32>(), any_span(), any_span(), any_span()).prop_map(
        |(changes, within, quiet_for, reminder)| FlappingSettings {
            changes,
            within,
            quiet_for,
            reminder,
        },
    )
}

fn any_maintained() -> impl Strategy<Value = Maintained> {
    (any_text(), any_text(), maybe(any_time())).prop_map(|(origin, name, ended_at)| Maintained {
        plan: MaintenanceId::of(&origin),
        name,
        ended_at,
    })
}

fn any_quiet() -> impl Strategy<Value = (Option<Flaps>, Option<Maintained>)> {
    (maybe(any_flaps()), maybe(any_maintained()))
}

pub(crate) fn any_alert() -> impl Strategy<Value = Alert> {
    (
        (any_alert_id(), any_identity(), any_incident_id(), any_status(), any::<bool>()),
        (any_text(), any_text(), any_text(), any_text(), any_tags(), any_links()),
        (any_time(), any_time(), any_time(), any_time(), any_time()),
        ((any::<u64>(), any::<bool>()), any_end(), any_why(), some(any_time(), 5), any_quiet()),
    )
        .prop_map(|((id, identity, incident, status, acknowledged), texts, times, rest)| {
            let (shard, host, check, description, tags, links) = texts;
            let (started_at, changed_at, newest, alive_until, appended_at) = times;
            let ((events, chronic), resolved, why, status_changes, (flapping, maintenance)) = rest;
            Alert {
                id,
                identity,
                shard,
                incident,
                host,
                check,
                status,
                status_changes,
                flapping,
                maintenance,
                description,
                tags,
                links,
                started_at,
                changed_at,
                newest,
                alive_until,
                restated_at: (events % 3 == 0).then_some(appended_at),
                appended_at,
                events,
                acknowledged,
                resolved,
                why,
                chronic,
            }
        })
}

pub(crate) fn any_incident() -> impl Strategy<Value = Incident> {
    (
        (any_incident_id(), any::<u64>(), any_text(), any_status()),
        (any_time(), any_time(), any_time(), any_time(), any_end()),
        (some(any_pair(), 3), any_tags(), maybe(any_incident_id()), maybe(any_incident_id())),
        (
            (any_acknowledged(), maybe(any_text()), maybe(any_snooze())),
            maybe(any_time()),
            maybe(any_time()),
            some(any_alert_id(), 3),
        ),
        (
            maybe(any_gone().prop_map(Box::new)),
            some(any_incident_id(), 2),
            maybe(any_incident_id()),
            some(any_incident_id(), 2),
            (maybe(any_time()), any_hold()),
        ),
    )
        .prop_map(|((id, revision, shard, severity), times, shared, rest, reshaped)| {
            let (gone, merged_from, split_from, split_into, (reshaped_at, hold)) = reshaped;
            let (first, latest, opened_at, changed_at, resolved) = times;
            let (pairs, tags, continues, continued_by) = shared;
            let ((acknowledged, assignee, snoozed), updated_at, remind_at, updates) = rest;
            Incident {
                id,
                revision,
                shard,
                first,
                latest,
                opened_at,
                changed_at,
                resolved,
                severity,
                pairs,
                tags,
                continues,
                continued_by,
                acknowledged,
                assignee,
                snoozed,
                updated_at,
                remind_at,
                updates,
                gone,
                merged_from,
                split_from,
                split_into,
                reshaped_at,
                hold,
            }
        })
}

fn any_hold() -> impl Strategy<Value = Option<Box<Hold>>> {
    let ask = (any_text(), any::<u32>(), any_time()).prop_map(|(pattern, min_alerts, until)| Ask {
        pattern,
        min_alerts,
        until,
    });
    let hold = (some(ask, 2), some(any_text(), 2));
    maybe(hold.prop_map(|(asks, lapsed)| Box::new(Hold { asks, lapsed })))
}

fn any_state() -> impl Strategy<Value = (bool, bool, bool, Option<Maintained>)> {
    (any::<bool>(), any::<bool>(), any::<bool>(), maybe(any_maintained()))
}

fn any_member() -> impl Strategy<Value = Member> {
    (
        (any_alert_id(), any_status(), any_state(), any_time(), any_time(), any_why()),
        (any_text(), any_text(), any_text(), any_text(), any_tags(), any_links()),
    )
        .prop_map(
            |(
                (id, status, (firing, flapping, chronic, maintenance), started_at, changed_at, why),
                texts,
            )| {
                let (source, host, check, description, tags, links) = texts;
                Member {
                    id,
                    source,
                    host,
                    check,
                    status,
                    firing,
                    flapping,
                    chronic,
                    maintenance,
                    description,
                    tags,
                    links,
                    started_at,
                    changed_at,
                    why,
                }
            },
        )
}

type People = (Option<Box<str>>, Option<Snoozed>, Option<Box<str>>, Option<Comment>);

fn any_people() -> impl Strategy<Value = People> {
    let audience = any_of(&[Audience::Internal, Audience::Public]);
    let comment = (any_text(), audience).prop_map(|(text, audience)| Comment { text, audience });
    (maybe(any_text()), maybe(any_snooze()), maybe(any_text()), maybe(comment))
}

fn any_snooze() -> impl Strategy<Value = Snoozed> {
    (any_text(), any_time(), any::<[bool; 3]>(), any_status()).prop_map(
        |(by, until, [new_alert, worse, reopened], status)| {
            let ends_on = SnoozeEnds { new_alert, worse, reopened };
            Snoozed { by, until, ends_on, status }
        },
    )
}

pub(crate) fn any_change() -> impl Strategy<Value = Change> {
    let counts = any::<(u32, u32, u64, u32, u32, u32)>().prop_map(
        |(firing, total, events, hosts, checks, maintenance)| Counts {
            firing,
            total,
            events,
            hosts,
            checks,
            maintenance,
        },
    );
    let names = || some(any_text(), 3);
    (
        (any_incident_id(), any::<u64>(), some(any_of(&ChangeKind::ALL), 4), any_text(), counts),
        (any_status(), any_status(), any_text(), any_time(), any_time(), any_time(), any_end()),
        (maybe(any_pair()), names(), names(), names(), any_tags(), any_acknowledged()),
        (some(any_pair(), 2), any::<u32>()),
        (maybe(any_incident_id()), maybe(any_incident_id()), any::<bool>(), any_hold()),
        (some(any_alert_id(), 2), some(any_member(), 2), any_people(), some(any_alert_id(), 2)),
        (
            maybe(any_incident_id()),
            some(any_incident_id(), 2),
            maybe(any_incident_id()),
            some(any_incident_id(), 2),
        ),
    )
        .prop_map(
            |(
                (id, revision, kinds, shard, counts),
                state,
                shared,
                further,
                chain,
                of,
                reshaped,
            )| {
                let (status, severity, title, at, started_at, changed_at, resolved) = state;
                let (pair, hosts, checks, sources, tags, acknowledged) = shared;
                let people = of.2;
                Change {
                    id,
                    revision,
                    kinds,
                    at,
                    shard,
                    status,
                    severity,
                    title: title.into(),
                    started_at,
                    changed_at,
                    resolved,
                    pair,
                    further: further.0,
                    further_cut: further.1,
                    counts,
                    hosts,
                    checks,
                    sources,
                    tags,
                    acknowledged,
                    flapping: chain.2,
                    maintenance: chain.2,
                    hold: chain.3,
                    continues: chain.0,
                    continued_by: chain.1,
                    merged_into: reshaped.0,
                    merged_from: reshaped.1,
                    split_from: reshaped.2,
                    split_into: reshaped.3,
                    joined: of.0,
                    left: of.3,
                    alerts: of.1,
                    assignee: people.0,
                    snoozed: people.1,
                    actor: people.2,
                    comment: people.3,
                }
            },
        )
}

fn any_near() -> impl Strategy<Value = Near> {
    (any_text(), any::<u32>(), some(any_text(), 3)).prop_map(|(tag, hops, kinds)| Near {
        tag,
        hops,
        kinds,
    })
}

pub(crate) fn any_settings() -> impl Strategy<Value = CorrelateSettings> {
    let matcher = (
        prop_oneof![Just("host".to_owned()), "[a-z]{1,6}"],
        any_of(&["=", "!=", "=~", "!~"]),
        "[a-z0-9 .*|é-]{0,8}",
    )
        .prop_map(|(tag, operator, value)| format!("{tag}{operator}\"{value}\""));
    let matchers = some(matcher, 3).prop_filter_map("an expression that is none", |texts| {
        Matchers::parse(texts.iter().map(String::as_str)).ok()
    });
    let pattern = (
        (any_text(), matchers, some(any_text(), 3)),
        (
            any_span(),
            maybe(any_span()),
            any::<(bool, bool)>(),
            any::<(u32, u32)>(),
            maybe(any_near()),
        ),
    )
        .prop_map(
            |(
                (name, matchers, by),
                (window, gap, (cross_source, join), (max_alerts, min_alerts), near),
            )| {
                let chronic = if join { Chronic::Join } else { Chronic::Separate };
                Pattern {
                    name,
                    matchers,
                    by,
                    window,
                    gap,
                    cross_source,
                    max_alerts,
                    min_alerts,
                    chronic,
                    near,
                }
            },
        );
    let chronic = (any::<(u32, u32, u32)>(), any::<usize>()).prop_map(
        |((episodes, days, of), identities_max)| ChronicSettings {
            episodes,
            days,
            of,
            identities_max,
        },
    );
    let topology = maybe((any_text(), any::<u32>()));
    let limits = (any_flapping(), chronic, any::<usize>());
    (any_span(), any_span(), limits, some(pattern, 3), topology).prop_map(
        |(reopen_window, dismiss_for, (flapping, chronic, ok_memory_max), patterns, topology)| {
            CorrelateSettings {
                reopen_window,
                dismiss_for,
                flapping,
                chronic,
                ok_memory_max,
                patterns,
                maintenance: Vec::new(),
                heartbeats: Vec::new(),
                topology: topology.map(|(digest, edges_looked_at)| Topology {
                    digest,
                    graph: None,
                    edges_looked_at,
                }),
            }
        },
    )
}

proptest! {
    #[test]
    fn alerts_read_back(alert in any_alert()) {
        let key = row::alert_key(alert.id);
        round(&alert, row::encode_alert, |bytes| as_alert(&key, bytes))?;
    }

    #[test]
    fn incidents_read_back(incident in any_incident()) {
        let key = row::incident_key(incident.id);
        round(&incident, row::encode_incident, |bytes| as_incident(&key, bytes))?;
    }

    #[test]
    fn oks_and_marks_read_back(
        identity in any_identity(),
        (at, appended_at) in (any_time(), any_time()),
        (commits, offset) in any::<(u64, i64)>(),
    ) {
        let key = row::ok_key(&identity);
        let ok = RememberedOk { identity, at, appended_at };
        round(&ok, row::encode_ok, |bytes| as_ok(&key, bytes))?;
        let mark = Mark { now: at, commits, offset };
        round(&mark, |mark| row::encode_mark(*mark), as_mark)?;
    }

    #[test]
    fn updates_read_back(
        (shard, expire_after) in (any_text(), any_span()),
        seen in any_seen(),
        event in any_event(),
    ) {
        let update = Update { shard, expire_after, seen, event };
        round(&update, update::encode, update::decode)?;
    }

    #[test]
    fn touches_read_back(identity in any_identity(), seen in any_seen()) {
        round(&Touch { identity, seen }, update::encode_touch, update::decode_touch)?;
    }

    #[test]
    fn settings_read_back(wanted in any_settings()) {
        round(&wanted, settings::encode, settings::decode)?;
    }

    #[test]
    fn changes_read_back(wanted in any_change()) {
        round(&wanted, change::encode, change::decode)?;
    }

    /// What `muster.events` carries is what its reader forwards, wherever it is canonical: named,
    /// within the limits, and not ahead of its arrival.
    #[test]
    fn events_read_back(
        event in any_event(),
        names in ("[a-zé\"\\\\]{1,9}", "[a-z🦀]{1,9}", "[a-z/]{1,9}"),
        (millis, id, url) in (1_i64..2_000_000_000_000, "[a-z]{1,5}", "[a-z:/]{1,9}"),
    ) {
        let named = |text: Box<str>| if text.trim().is_empty() { "x".into() } else { text };
        let mut event = event;
        event.source = names.0.into();
        event.host = names.1.into();
        event.check = names.2.into();
        event.key = event.key.map(named);
        event.id = event.id.map(|_| id.into());
        event.description = named(event.description);
        event.timestamp = Timestamp::from_millis(millis);
        event.expires_at = event.expires_at.map(|_| Timestamp::from_millis(millis));
        event.links = event.links.into_keys().map(|name| (name, url.clone().into())).collect();
        let arrival = event.timestamp;
        prop_assert_eq!(read_event(&event::encode(&event, arrival)), event);
    }
}
