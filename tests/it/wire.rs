//! What is stored or sent reads back as it was, in the same bytes, and what this version does not
//! know is refused by name.
//!
//! A fixture of each past version stands for the bytes that running systems hold. A fixture that
//! has to be edited for a test to pass is a format that changed its meaning.

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use muster::collect::{self, Collect, Duty, Room};
use muster::model::alert::{Hop, Refusal, TurnedDown};
use muster::model::event::{Links, Report};
use muster::model::incident::Acknowledged;
use muster::model::settings::Near;
use muster::model::update::{Seen, Touch};
use muster::model::{
    Alert, AlertId, Change, ChangeKind, CorrelateSettings, Counts, Event, FlappingSettings, Flaps,
    Identity, Incident, IncidentId, Matchers, Member, Pair, Pattern, Resolution, Span, Status,
    TagValue, Tags, Timestamp, Topology, Update, Why,
};
use muster::stage::{Kind, Offset, Output, Record, Slot, Stage};
use muster::wire::row::{CorrelateRow, MARK_KEY, Mark, RememberedOk, SETTINGS_KEY};
use muster::wire::{WireError, change, event, row, settings, update};
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
        near: None,
    }
}

fn why() -> Why {
    let turned_down = Refusal::ALL.into_iter().zip("wxyz".chars()).map(|(reason, last)| {
        let apart = Span::from_millis(1_000);
        TurnedDown { incident: incident_id(last), pattern: "host".into(), reason, apart }
    });
    Why {
        pair: Some(pair()),
        path: Vec::new(),
        apart: Span::from_millis(61_001),
        turned_down: turned_down.collect(),
        more: 7,
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
        description: odd_text().into(),
        tags: tags(),
        links: links(),
        started_at: START,
        changed_at: later(1),
        newest: later(2),
        alive_until: later(3),
        appended_at: later(4),
        events: 812,
        acknowledged: true,
        resolved: Some((later(5), Resolution::Expired)),
        why: why(),
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
            Pair { source: None, by: Vec::new(), pattern: "all".into(), near: None },
        ],
        tags: tags(),
        continues: Some(incident_id('a')),
        continued_by: Some(incident_id('b')),
        acknowledged: Some(Acknowledged { by: "zabbix".into(), at: later(5) }),
        updated_at: Some(later(6)),
        remind_at: None,
        updates: vec![alert_id()],
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
        counts: Counts { firing: 3, total: 5, events: 812, hosts: 3, checks: 2 },
        hosts: vec!["web-1".into(), "web-2".into()],
        checks: vec!["disk /".into()],
        sources: vec!["nagios".into()],
        tags: tags(),
        acknowledged: Some(Acknowledged { by: "zabbix".into(), at: later(4) }),
        flapping: false,
        continues: Some(incident_id('a')),
        continued_by: Some(incident_id('b')),
        joined: vec![alert_id()],
        alerts: vec![member, plain],
    }
}

/// What came with flapping.
fn a_flapping_change() -> Change {
    let mut change = Change { kinds: ChangeKind::ALL.to_vec(), flapping: true, ..a_change() };
    change.alerts[1].flapping = true;
    change
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
        flapping: FlappingSettings::default(),
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
                near: None,
            },
        ],
        topology: None,
    }
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
        SETTINGS_KEY.to_vec(),
        MARK_KEY.to_vec(),
    ];
    let wanted = [
        "a/alr_1kas3zjhv0123456789abc",
        "i/inc_1kas3zjhv0123456789abc",
        "o/5:check6:nagios4:wéb0:",
        "o/3:key6:nagios3:a:10:",
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
    let before = change::decode(&fixture("change.v1.json")).expect("a change");
    assert_eq!(before, a_change(), "from before there was flapping");
    holds("change.v1.flapping.json", &a_flapping_change(), change::encode, change::decode);
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
        name: "defaults".into(),
        shard: "main".into(),
        expire_after: Span::from_secs(3_600),
    };
    let settings = collect::Settings {
        sources: vec![source],
        cache_max: 10,
        limits: collect::Limits::default(),
    };
    let origins = Arc::new(["events".into()]);
    let mut stage = Collect::new(Arc::new(settings), Duty::Suppress, origins, Room::new(10), 7);
    let record = Record {
        offset: Offset(0),
        // Not the arrival: that stands in the event.
        time: Timestamp::from_millis(5),
        kind: Kind::Event,
        key: None,
        value: Some(bytes),
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
    refused("ok.v9.json", |bytes| row::decode(b"o/5:check6:nagios5:web-10:", bytes));
    refused("mark.v9.json", |bytes| row::decode(MARK_KEY, bytes));
    refused("update.v9.json", update::decode);
    refused("touch.v9.json", update::decode_touch);
    refused("settings.v9.json", settings::decode);
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
    (any_text(), by, maybe(any_text()), near).prop_map(|(pattern, by, source, near)| Pair {
        pattern,
        by,
        source,
        near,
    })
}

fn any_why() -> impl Strategy<Value = Why> {
    let turned_down = (any_incident_id(), any_text(), any_of(&Refusal::ALL), any_span()).prop_map(
        |(incident, pattern, reason, apart)| TurnedDown { incident, pattern, reason, apart },
    );
    let hop = (any_text(), any_text(), maybe(any_text())).prop_map(|(tag, value, via)| Hop {
        tag,
        value,
        via,
    });
    (maybe(any_pair()), some(hop, 3), any_span(), some(turned_down, 3), any::<u32>()).prop_map(
        |(pair, path, apart, turned_down, more)| Why { pair, path, apart, turned_down, more },
    )
}

fn any_end() -> impl Strategy<Value = Option<(Timestamp, Resolution)>> {
    maybe((any_time(), any_of(&[Resolution::AllOk, Resolution::Expired])))
}

fn any_acknowledged() -> impl Strategy<Value = Option<Acknowledged>> {
    maybe((any_text(), any_time()).prop_map(|(by, at)| Acknowledged { by, at }))
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

pub(crate) fn any_alert() -> impl Strategy<Value = Alert> {
    (
        (any_alert_id(), any_identity(), any_incident_id(), any_status(), any::<bool>()),
        (any_text(), any_text(), any_text(), any_text(), any_tags(), any_links()),
        (any_time(), any_time(), any_time(), any_time(), any_time()),
        (any::<u64>(), any_end(), any_why(), some(any_time(), 5), maybe(any_flaps())),
    )
        .prop_map(|((id, identity, incident, status, acknowledged), texts, times, rest)| {
            let (shard, host, check, description, tags, links) = texts;
            let (started_at, changed_at, newest, alive_until, appended_at) = times;
            let (events, resolved, why, status_changes, flapping) = rest;
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
                description,
                tags,
                links,
                started_at,
                changed_at,
                newest,
                alive_until,
                appended_at,
                events,
                acknowledged,
                resolved,
                why,
            }
        })
}

pub(crate) fn any_incident() -> impl Strategy<Value = Incident> {
    (
        (any_incident_id(), any::<u64>(), any_text(), any_status()),
        (any_time(), any_time(), any_time(), any_time(), any_end()),
        (some(any_pair(), 3), any_tags(), maybe(any_incident_id()), maybe(any_incident_id())),
        (any_acknowledged(), maybe(any_time()), maybe(any_time()), some(any_alert_id(), 3)),
    )
        .prop_map(|((id, revision, shard, severity), times, shared, rest)| {
            let (first, latest, opened_at, changed_at, resolved) = times;
            let (pairs, tags, continues, continued_by) = shared;
            let (acknowledged, updated_at, remind_at, updates) = rest;
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
                updated_at,
                remind_at,
                updates,
            }
        })
}

fn any_member() -> impl Strategy<Value = Member> {
    (
        (any_alert_id(), any_status(), any::<(bool, bool)>(), any_time(), any_time(), any_why()),
        (any_text(), any_text(), any_text(), any_text(), any_tags(), any_links()),
    )
        .prop_map(|((id, status, (firing, flapping), started_at, changed_at, why), texts)| {
            let (source, host, check, description, tags, links) = texts;
            Member {
                id,
                source,
                host,
                check,
                status,
                firing,
                flapping,
                description,
                tags,
                links,
                started_at,
                changed_at,
                why,
            }
        })
}

pub(crate) fn any_change() -> impl Strategy<Value = Change> {
    let counts =
        any::<(u32, u32, u64, u32, u32)>().prop_map(|(firing, total, events, hosts, checks)| {
            Counts { firing, total, events, hosts, checks }
        });
    let names = || some(any_text(), 3);
    (
        (any_incident_id(), any::<u64>(), some(any_of(&ChangeKind::ALL), 4), any_text(), counts),
        (any_status(), any_status(), any_text(), any_time(), any_time(), any_time(), any_end()),
        (maybe(any_pair()), names(), names(), names(), any_tags(), any_acknowledged()),
        (maybe(any_incident_id()), maybe(any_incident_id()), any::<bool>()),
        (some(any_alert_id(), 2), some(any_member(), 2)),
    )
        .prop_map(|((id, revision, kinds, shard, counts), state, shared, chain, of)| {
            let (status, severity, title, at, started_at, changed_at, resolved) = state;
            let (pair, hosts, checks, sources, tags, acknowledged) = shared;
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
                counts,
                hosts,
                checks,
                sources,
                tags,
                acknowledged,
                flapping: chain.2,
                continues: chain.0,
                continued_by: chain.1,
                joined: of.0,
                alerts: of.1,
            }
        })
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
        (any_span(), maybe(any_span()), any::<bool>(), any::<u32>(), maybe(any_near())),
    )
        .prop_map(|((name, matchers, by), (window, gap, cross_source, max_alerts, near))| {
            Pattern { name, matchers, by, window, gap, cross_source, max_alerts, near }
        });
    let topology = maybe((any_text(), any::<u32>()));
    (any_span(), any_flapping(), any::<usize>(), some(pattern, 3), topology).prop_map(
        |(reopen_window, flapping, ok_memory_max, patterns, topology)| CorrelateSettings {
            reopen_window,
            flapping,
            ok_memory_max,
            patterns,
            topology: topology.map(|(digest, edges_looked_at)| Topology {
                digest,
                graph: None,
                edges_looked_at,
            }),
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
