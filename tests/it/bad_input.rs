//! Bad input ends in dead letters or is clamped, counted by reason, and the good around it is
//! handled: on the pure stages, through the real program, and under random damage.
//!
//! Every record that comes in leaves at least one trace, an event or a dead letter, but for an
//! empty list, which says nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster::collect::decode::{Decoded, Incoming, decode};
use muster::collect::{self, Limits};
use muster::model::{
    Chronic, CorrelateSettings, Matchers, Pattern, Span, TagValue, Timestamp, Update,
};
use muster::stage::{EventOutcome, Kind, Limit, Outgoing, Reason, Tally};
use muster::telemetry::Metrics;
use muster::testing::pipeline::{Pipeline, Way};
use muster::wire::{
    change, command, heartbeat, ledger, maintenance, rate, request, row, settings, topology, update,
};
use prometheus::Registry;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::wire::{any_event, any_seen, any_settings, any_span, any_time, fixture};

pub(crate) mod program;

/// When everything arrives.
const NOW: Timestamp = Timestamp::from_millis(1_763_913_600_000);

fn decoded(bytes: &[u8], limits: Limits) -> Decoded {
    let origin = collect::Origin::canonical("test");
    let settings = collect::Settings { limits, ..collect::Settings::default() };
    decode(&Incoming { bytes, headers: &[], arrival: NOW, origin: &origin }, &settings)
}

fn pipeline(way: Way) -> Pipeline {
    let source = collect::SourceSettings {
        shard: "main".into(),
        expire_after: Span::from_secs(7 * 86_400),
        ..collect::SourceSettings::new("defaults")
    };
    let collect = collect::Settings {
        sources: vec![source],
        cache_max: 10_000,
        ..collect::Settings::default()
    };
    let pattern = Pattern {
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
    };
    let correlate = CorrelateSettings {
        ok_memory_max: 100,
        patterns: vec![pattern],
        ..CorrelateSettings::default()
    };
    Pipeline::new(collect, correlate, way)
}

/// An event that opens an incident of its own.
fn good(host: &str) -> Vec<u8> {
    json!({"source": "nagios", "host": host, "check": "disk", "status": "critical"})
        .to_string()
        .into_bytes()
}

/// An event with further fields, or other ones.
fn with(fields: &Value) -> Vec<u8> {
    let mut event = json!({"source": "nagios", "host": "odd", "check": "c", "status": "critical"});
    for (name, value) in fields.as_object().expect("fields") {
        event[name] = value.clone();
    }
    event.to_string().into_bytes()
}

/// An event with a field whose value is no JSON that `json!` would write.
fn with_raw(field: &str) -> Vec<u8> {
    format!(r#"{{"source":"nagios","host":"odd","check":"c","status":"critical",{field}}}"#)
        .into_bytes()
}

fn without(name: &str) -> Vec<u8> {
    let mut event = json!({"source": "nagios", "host": "odd", "status": "critical"});
    event.as_object_mut().expect("an object").remove(name);
    event.to_string().into_bytes()
}

fn updates(pipeline: &Pipeline) -> Vec<Update> {
    let updates = pipeline.log().iter().filter(|logged| logged.kind == Kind::Update);
    updates.map(|logged| update::decode(&logged.value).expect("an update")).collect()
}

fn header<'a>(letter: &'a Outgoing, name: &str) -> &'a str {
    let found = letter.headers.iter().find(|(header, _)| *header == name);
    let (_, value) = found.unwrap_or_else(|| panic!("no header `{name}`"));
    std::str::from_utf8(value).expect("a header is text")
}

/// In = forwarded + repeats + late + rejected, and a dead letter each for the rejected.
fn adds_up(pipeline: &Pipeline, sent: u64) {
    assert_eq!(pipeline.counted(), sent, "in = forwarded + repeats + late + rejected");
    let rejected = EventOutcome::all().filter(|of| matches!(of, EventOutcome::Rejected(_)));
    let rejected: u64 = rejected.map(|outcome| pipeline.count(outcome)).sum();
    assert_eq!(pipeline.dead().len() as u64, rejected, "a dead letter each");
}

/// A record between two good events; what came of it.
fn between(way: Way, value: Option<&[u8]>) -> Pipeline {
    let mut pipeline = pipeline(way);
    pipeline.arrive(NOW, Some(&good("before")));
    pipeline.arrive(NOW, value);
    pipeline.arrive(NOW, Some(&good("after")));
    let updates = updates(&pipeline);
    assert_eq!(&*updates.first().expect("forwarded").event.host, "before");
    assert_eq!(&*updates.last().expect("forwarded").event.host, "after");
    let opened = |host: &str| {
        pipeline.changes().iter().any(|bytes| {
            let change = change::decode(bytes).expect("a change");
            change.hosts.iter().any(|known| **known == *host)
        })
    };
    assert!(opened("before") && opened("after"), "the good events opened incidents");
    pipeline
}

const WAYS: [Way; 2] = [Way::Straight, Way::SentOn];

/// Runs with the stack of a small thread: what recurses by the sender's will ends the process.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(run);
    thread.expect("a thread").join().expect("no panic");
}

// ---- dead letters -------------------------------------------------------------------------------

/// Records that hold no event at all, by name, with the reason they are set aside for.
fn unreadable() -> Vec<(&'static str, Option<Vec<u8>>, Reason)> {
    let long = "n".repeat(513);
    let many = |count: usize| {
        let tags = (0..count).map(|n| (format!("t{n}"), json!("v")));
        Value::Object(tags.collect())
    };
    let deep = |open: &str, close: &str, levels: usize| {
        [open.repeat(levels), close.repeat(levels)].concat().into_bytes()
    };
    let in_tag = |inner: Vec<u8>| {
        with_raw(&format!("\"tags\":{{\"t\":{}}}", String::from_utf8(inner).expect("text")))
    };
    let half = good("odd")[..40].to_vec();
    let mut invalid = good("odd");
    invalid[12] = 0xff;
    let mut table: Vec<(&'static str, Option<Vec<u8>>, Reason)> =
        vec![("tombstone", None, Reason::Empty)];
    let rows: Vec<(&'static str, Vec<u8>, Reason)> = vec![
        ("no bytes", Vec::new(), Reason::Empty),
        ("blanks", b" \n\t ".to_vec(), Reason::Empty),
        ("half an event", half, Reason::NotJson),
        ("an open brace", b"{".to_vec(), Reason::NotJson),
        ("two events in a row", [good("a"), good("b")].concat(), Reason::NotJson),
        ("rubbish behind", [good("odd"), b" x".to_vec()].concat(), Reason::NotJson),
        ("half a list", [b"[".to_vec(), good("odd")].concat(), Reason::NotJson),
        ("other quotes", b"{'source':'nagios'}".to_vec(), Reason::NotJson),
        ("text", b"disk is full".to_vec(), Reason::NotJson),
        ("syslog", b"<34>Oct 11 22:14:15 web-1 su: failed".to_vec(), Reason::NotJson),
        ("not a number", with_raw("\"load\":NaN"), Reason::NotJson),
        ("infinity", with_raw("\"load\":-Infinity"), Reason::NotJson),
        ("a raw line end in a text", with_raw("\"t\":\"a\nb\""), Reason::NotJson),
        ("a raw NUL in a text", with_raw("\"t\":\"a\0b\""), Reason::NotJson),
        ("a byte order mark", [b"\xef\xbb\xbf".to_vec(), good("odd")].concat(), Reason::NotJson),
        ("a lone surrogate", with_raw(r#""t":"\ud800""#), Reason::NotAnEvent),
        ("a surrogate in a name", with_raw(r#""\udfff":"t""#), Reason::NotAnEvent),
        ("a number beyond all bounds", with_raw("\"load\":1e400"), Reason::NotAnEvent),
        ("bytes", vec![0xff, 0xfe, 0x00], Reason::NotUtf8),
        ("bytes in an event", invalid, Reason::NotUtf8),
        ("a cut character", [good("odd"), b"\xc3".to_vec()].concat(), Reason::NotUtf8),
        ("a number", b"5".to_vec(), Reason::NotAnEvent),
        ("a quoted text", b"\"nagios\"".to_vec(), Reason::NotAnEvent),
        ("null", b"null".to_vec(), Reason::NotAnEvent),
        ("no fields", b"{}".to_vec(), Reason::NoSource),
        ("no source", without("source"), Reason::NoSource),
        ("a blank source", with(&json!({"source": " "})), Reason::NoSource),
        ("no status", without("status"), Reason::NoStatus),
        ("a null status", with(&json!({"status": null})), Reason::NoStatus),
        ("no host", without("host"), Reason::NoPrimary),
        ("an empty host", with(&json!({"host": ""})), Reason::NoPrimary),
        (
            "a missing primary",
            with(&json!({"host": "", "primary_property": "x"})),
            Reason::NoPrimary,
        ),
        ("an unknown status", with(&json!({"status": "purple"})), Reason::BadStatus),
        ("a status by number", with(&json!({"status": 2})), Reason::BadStatus),
        ("a list of statuses", with(&json!({"status": ["ok"]})), Reason::BadField),
        ("a source that is an object", with(&json!({"source": {}})), Reason::BadField),
        ("a host that is a list", with(&json!({"host": ["a"]})), Reason::BadField),
        ("a check that is an object", with(&json!({"check": {"a": 1}})), Reason::BadField),
        ("a key that is a list", with(&json!({"key": []})), Reason::BadField),
        ("an id that is a list", with(&json!({"id": [1]})), Reason::BadField),
        ("a description in parts", with(&json!({"description": ["a", "b"]})), Reason::BadField),
        ("links in a list", with(&json!({"links": ["https://a"]})), Reason::BadField),
        ("tags in a list", with(&json!({"tags": ["a=b"]})), Reason::BadField),
        ("tags in a text", with(&json!({"tags": "a=b"})), Reason::BadField),
        ("a list within a list", with(&json!({"tags": {"t": [["a"]]}})), Reason::BadField),
        ("an object within a list", with(&json!({"tags": {"t": [{}]}})), Reason::BadField),
        ("null within a list", with(&json!({"tags": {"t": [null]}})), Reason::BadField),
        ("a time that is a list", with(&json!({"timestamp": [1]})), Reason::BadTime),
        ("a time that is an object", with(&json!({"timestamp": {"s": 1}})), Reason::BadTime),
        ("a time that is true", with(&json!({"timestamp": true})), Reason::BadTime),
        ("an end that is a list", with(&json!({"expires_at": [1]})), Reason::BadTime),
        ("2,001 tags", with(&json!({"tags": many(2_001)})), Reason::TooManyTags),
        (
            "2,001 tags in an object",
            with(&json!({"tags": {"o": many(2_001)}})),
            Reason::TooManyTags,
        ),
        ("a long name", with(&json!({"tags": {&long: "v"}})), Reason::BadField),
        ("a long name outside tags", with(&json!({&long: "v"})), Reason::BadField),
        (
            "a long name of parts",
            with(&json!({"n".repeat(300): {"m".repeat(300): 1}})),
            Reason::BadField,
        ),
        (
            "a long name of a bad list",
            with(&json!({"n".repeat(100_000): [["a"]]})),
            Reason::BadField,
        ),
        (
            // 150 MB if each part were written out with the name in front.
            "a name that multiplies",
            with(&json!({"n".repeat(100_000): many(1_500)})),
            Reason::BadField,
        ),
        (
            // 600 kB as they stand, 100 times that written out.
            "numbers that grow",
            with_raw(&format!("\"t\":[{}1]", "1e9,".repeat(150_000))),
            Reason::TooLarge,
        ),
        ("100,000 open brackets", b"[".repeat(100_000), Reason::TooDeep),
        ("100,000 open braces", b"{\"a\":".repeat(100_000), Reason::TooDeep),
        ("a bomb in a tag", in_tag(deep("[", "]", 100_000)), Reason::TooDeep),
        (
            "an open bomb in a tag",
            with_raw(&format!("\"tags\":{{\"t\":{}", "[".repeat(100_000))),
            Reason::TooDeep,
        ),
        (
            "braces in a tag",
            with_raw(&format!("\"tags\":{{\"t\":{}", "{\"a\":".repeat(100_000))),
            Reason::TooDeep,
        ),
        ("31 lists in a tag", in_tag(deep("[", "]", 31)), Reason::TooDeep),
    ];
    table.extend(rows.into_iter().map(|(name, bytes, reason)| (name, Some(bytes), reason)));
    table
}

#[test]
fn what_cannot_be_read_is_a_dead_letter_with_its_reason() {
    on_a_small_stack(|| {
        for (name, value, reason) in unreadable() {
            for (way, offset) in [(Way::Straight, "1"), (Way::SentOn, "2")] {
                let pipeline = between(way, value.as_deref());
                let [letter] = pipeline.dead() else {
                    panic!("{name}: {} dead letters", pipeline.dead().len());
                };
                let said = header(letter, "message");
                assert_eq!(header(letter, "reason"), reason.as_str(), "{name}: {said}");
                assert!(
                    letter.value == value.as_deref().unwrap_or_default(),
                    "{name}: the original bytes are kept"
                );
                assert_eq!(letter.kind, Kind::DeadLetter);
                assert_eq!(header(letter, "topic"), "input", "{name}");
                assert_eq!(header(letter, "partition"), "0", "{name}");
                assert_eq!(header(letter, "offset"), offset, "{name}");
                assert!(!said.is_empty() && said.len() < 1_024, "{name}: {} bytes", said.len());
                assert_eq!(pipeline.count(EventOutcome::Rejected(reason)), 1, "{name}");
                assert_eq!(updates(&pipeline).len(), 2, "{name}");
                adds_up(&pipeline, 3);
            }
        }
    });
}

/// All of it would not fit where dead letters go; its start tells who sent it.
#[test]
fn of_a_record_that_is_too_large_the_start_is_kept() {
    let large = with(&json!({"description": "x".repeat(2_000_000)}));
    for way in WAYS {
        let pipeline = between(way, Some(&large));
        let [letter] = pipeline.dead() else { panic!("one dead letter") };
        assert_eq!(header(letter, "reason"), "too_large");
        assert!(header(letter, "message").contains("at most 1048576"));
        assert_eq!(letter.value, large[..4_096]);
        assert_eq!(pipeline.count(EventOutcome::Rejected(Reason::TooLarge)), 1);
        adds_up(&pipeline, 3);
    }
}

#[test]
fn a_bad_event_among_good_ones_is_set_aside_alone() {
    let (one, three) = (good("one"), good("three"));
    let [one, three] = [one, three].map(|bytes| String::from_utf8(bytes).expect("text"));
    let bad = r#"{"source":"nagios","host":"two","status":  "purple"}"#;
    for text in [
        format!("[{one}, {bad} ,{three}]"),
        format!("{{\"app_key\":\"x\",\"alerts\":[{one},{bad},{three}]}}"),
    ] {
        for way in WAYS {
            let pipeline = between(way, Some(text.as_bytes()));
            let [letter] = pipeline.dead() else { panic!("one dead letter") };
            assert_eq!(letter.value, bad.as_bytes());
            assert_eq!(header(letter, "reason"), "bad_status");
            assert!(header(letter, "message").starts_with("event 1 of the list: "));
            let updates = updates(&pipeline);
            let hosts: Vec<&str> = updates.iter().map(|update| &*update.event.host).collect();
            assert_eq!(hosts, ["before", "one", "three", "after"]);
            adds_up(&pipeline, 5);
        }
    }
}

#[test]
fn a_list_within_a_list_or_of_no_events_is_set_aside_by_element() {
    let bomb = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (text, elements, reason) in [
        (bomb.as_str(), 1, "too_deep"),
        ("[5,null,\"x\"]", 3, "not_an_event"),
        (r#"[{"alerts":[]}]"#, 1, "not_an_event"),
        (r#"{"alerts":[[],{"alerts":[{}]}]}"#, 2, "not_an_event"),
        ("[{},{}]", 2, "no_source"),
    ] {
        for way in WAYS {
            let pipeline = between(way, Some(text.as_bytes()));
            let reasons: Vec<&str> =
                pipeline.dead().iter().map(|letter| header(letter, "reason")).collect();
            assert_eq!(reasons, vec![reason; elements], "{text}");
            adds_up(&pipeline, 2 + elements as u64);
        }
    }
}

/// JSON is UTF-8 as a whole: one bad byte, and nothing in the list can be trusted to be what it
/// seems.
#[test]
fn a_list_with_invalid_utf8_is_set_aside_whole() {
    let list = [b"[".to_vec(), good("one"), b",\"\xff\"]".to_vec()].concat();
    for way in WAYS {
        let pipeline = between(way, Some(&list));
        let [letter] = pipeline.dead() else { panic!("one dead letter") };
        assert_eq!((header(letter, "reason"), &letter.value), ("not_utf8", &list));
        adds_up(&pipeline, 3);
    }
}

/// The only input without a trace: it says nothing. What claims a status says something.
#[test]
fn an_empty_list_says_nothing() {
    for text in ["[]", " [ ] ", r#"{"alerts":[]}"#, r#"{"app_key":"x","alerts":[ ]}"#] {
        for way in WAYS {
            let pipeline = between(way, Some(text.as_bytes()));
            assert!(pipeline.dead().is_empty(), "{text}");
            adds_up(&pipeline, 2);
        }
    }
    for way in WAYS {
        let pipeline = between(way, Some(&with(&json!({"alerts": []}))));
        assert_eq!(updates(&pipeline).len(), 3, "an event with a field `alerts` is an event");
        adds_up(&pipeline, 3);
    }
}

// ---- clamped and cut ----------------------------------------------------------------------------

/// The one update that a record became, the same on every way, with what was limited.
fn taken(value: &[u8]) -> (Update, BTreeMap<Limit, u64>) {
    let mut found = WAYS.map(|way| {
        let pipeline = between(way, Some(value));
        let shown = String::from_utf8_lossy(&value[..value.len().min(200)]);
        let letters: Vec<&str> = pipeline.dead().iter().map(|l| header(l, "message")).collect();
        assert!(letters.is_empty(), "{shown}: {letters:?}");
        let [_, update, _] = <[Update; 3]>::try_from(updates(&pipeline)).expect("three updates");
        adds_up(&pipeline, 3);
        let limited = Limit::ALL.into_iter().map(|limit| (limit, pipeline.limited(limit)));
        (update, limited.filter(|(_, count)| *count > 0).collect())
    });
    let [straight, sent_on] = &mut found;
    assert_eq!(straight, sent_on, "the ways differ");
    std::mem::take(&mut found[0].1);
    let [(update, _), (_, limited)] = found;
    (update, limited)
}

fn limits<const N: usize>(limits: [(Limit, u64); N]) -> BTreeMap<Limit, u64> {
    BTreeMap::from(limits)
}

#[test]
fn times_are_read_clamped_or_counted() {
    let arrival = NOW.as_millis();
    let (read, clamped, unread) =
        (limits([]), limits([(Limit::TimeClamped, 1)]), limits([(Limit::TimeUnread, 1)]));
    let edge = arrival + 300_000;
    let table: Vec<(String, i64, &BTreeMap<Limit, u64>)> = vec![
        ("null".into(), arrival, &read),
        ("1763913500".into(), 1_763_913_500_000, &read),
        ("1763913500123".into(), 1_763_913_500_123, &read),
        ("1763913500.25".into(), 1_763_913_500_250, &read),
        ("1.7639135e9".into(), 1_763_913_500_000, &read),
        ("1763913500123.9".into(), 1_763_913_500_123, &read),
        ("\"1763913500\"".into(), 1_763_913_500_000, &read),
        ("\" 1763913500123 \"".into(), 1_763_913_500_123, &read),
        ("\"1763913500.25\"".into(), 1_763_913_500_250, &read),
        ("\"2025-11-23T15:58:20Z\"".into(), 1_763_913_500_000, &read),
        ("\"2025-11-23T16:58:20.5+01:00\"".into(), 1_763_913_500_500, &read),
        ("1".into(), 1_000, &read),
        ("0.5".into(), 500, &read),
        ("1000".into(), 1_000_000, &read),
        // The last second, and the first millisecond.
        ("99999999999".into(), arrival, &clamped),
        ("100000000000".into(), 100_000_000_000, &read),
        (edge.to_string(), edge, &read),
        ((edge + 1).to_string(), arrival, &clamped),
        ("4102444800".into(), arrival, &clamped),
        ("4102444800000".into(), arrival, &clamped),
        ("\"2100-01-01T00:00:00Z\"".into(), arrival, &clamped),
        (i64::MAX.to_string(), arrival, &clamped),
        (u64::MAX.to_string(), arrival, &clamped),
        ("99999999999999999999".into(), arrival, &clamped),
        ("\"99999999999999999999\"".into(), arrival, &clamped),
        ("1e308".into(), arrival, &clamped),
        ("0".into(), arrival, &unread),
        ("-1".into(), arrival, &unread),
        ("-0.5".into(), arrival, &unread),
        ("-1e308".into(), arrival, &unread),
        (i64::MIN.to_string(), arrival, &unread),
        ("\"0\"".into(), arrival, &unread),
        ("\"\"".into(), arrival, &unread),
        ("\"yesterday\"".into(), arrival, &unread),
        ("\"nan\"".into(), arrival, &unread),
        ("\"inf\"".into(), arrival, &unread),
        ("\"1969-12-31T23:59:59Z\"".into(), arrival, &unread),
    ];
    for (text, millis, expected) in table {
        let (update, limited) = taken(&with_raw(&format!("\"timestamp\":{text}")));
        assert_eq!(update.event.timestamp.as_millis(), millis, "timestamp {text}");
        assert_eq!(&limited, expected, "timestamp {text}");
    }
    let (update, limited) = taken(&with(&json!({})));
    assert_eq!((update.event.timestamp, limited), (NOW, read));
}

#[test]
fn a_clock_that_is_off_shows_also_where_times_are_clamped() {
    let arrival = NOW.as_millis();
    let events = [-40_000_i64, 7_000, 3_600_000].map(|off| {
        format!(
            r#"{{"source":"nagios","host":"h{off}","check":"c","status":"ok","timestamp":{}}}"#,
            arrival + off
        )
    });
    let silent = r#"{"source":"nagios","host":"h","check":"c","status":"ok"}"#;
    for way in WAYS {
        let [mut pipeline, mut other] = [way, way].map(pipeline);
        pipeline.arrive(NOW, Some(silent.as_bytes()));
        assert!(pipeline.youngest().is_empty(), "it stated no time");
        for event in &events {
            pipeline.arrive(NOW, Some(event.as_bytes()));
        }
        // Measured once, whatever its way.
        assert_eq!(pipeline.youngest(), [(0, 40_000), (0, -7_000), (0, -3_600_000)], "{way:?}");
        // Of several in one batch the youngest.
        let batch = format!("[{}]", events[..2].join(","));
        other.arrive(NOW, Some(batch.as_bytes()));
        assert_eq!(other.youngest(), [(0, -7_000)], "{way:?}");
        assert_eq!(decoded(batch.as_bytes(), Limits::default()).youngest, other.youngest());
    }
    let names: Vec<Arc<str>> = vec!["nagios".into(), "defaults".into()];
    let metrics = Metrics::new(Registry::new(), &names).expect("metrics");
    let youngest = vec![(0, -40_000), (0, 1_000), (1, 90_000)];
    metrics.add(&Tally { youngest, ..Tally::default() });
    let text = metrics.render().expect("text");
    for line in [
        r#"muster_event_age_seconds_bucket{source="nagios",le="-30"} 1"#,
        r#"muster_event_age_seconds_bucket{source="nagios",le="-60"} 0"#,
        r#"muster_event_age_seconds_bucket{source="nagios",le="2"} 2"#,
        r#"muster_event_age_seconds_bucket{source="other",le="60"} 0"#,
        r#"muster_event_age_seconds_bucket{source="other",le="300"} 1"#,
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn ends_are_read_or_counted() {
    let (read, unread) = (limits([]), limits([(Limit::TimeUnread, 1)]));
    let table: Vec<(String, Option<i64>, &BTreeMap<Limit, u64>)> = vec![
        ("null".into(), None, &read),
        ("1763913700".into(), Some(1_763_913_700_000), &read),
        ("1763913700123".into(), Some(1_763_913_700_123), &read),
        ("\"2025-11-23T16:01:40Z\"".into(), Some(1_763_913_700_000), &read),
        ("5".into(), Some(5_000), &read),
        ("4102444800".into(), Some(4_102_444_800_000), &read),
        (i64::MAX.to_string(), Some(i64::MAX), &read),
        (u64::MAX.to_string(), Some(i64::MAX), &read),
        ("1e308".into(), Some(i64::MAX), &read),
        ("0".into(), None, &unread),
        ("-1".into(), None, &unread),
        (i64::MIN.to_string(), None, &unread),
        ("\"\"".into(), None, &unread),
        ("\"yesterday\"".into(), None, &unread),
    ];
    for (text, millis, expected) in table {
        let (update, limited) = taken(&with_raw(&format!("\"expires_at\":{text}")));
        let found = update.event.expires_at.map(Timestamp::as_millis);
        assert_eq!(found, millis, "expires_at {text}");
        assert_eq!(&limited, expected, "expires_at {text}");
    }
}

#[test]
fn values_that_are_too_long_are_cut_between_characters() {
    let (long, cut) = ("é".repeat(257), "é".repeat(256));
    let (update, limited) = taken(&with(&json!({
        "check": long, "tags": {"t": long, "list": ["a", long]}, "links": {"l": "u".repeat(2_049)},
    })));
    assert_eq!(&*update.event.check, cut);
    assert_eq!(update.event.tags.get("t"), Some(&TagValue::one(&cut)));
    let list = TagValue::List(["a".into(), cut.as_str().into()].into());
    assert_eq!(update.event.tags.get("list"), Some(&list));
    assert_eq!(update.event.links["l"].len(), 2_048);
    assert_eq!(limited, limits([(Limit::ValueCut, 4)]));
    // 511 bytes and a character of two: it does not fit.
    let (update, _) = taken(&with(&json!({"tags": {"t": format!("{}é", "x".repeat(511))}})));
    assert_eq!(update.event.tags.get("t"), Some(&TagValue::one(&"x".repeat(511))));
    let (update, limited) = taken(&with(&json!({"description": "x".repeat(2_049)})));
    assert_eq!(update.event.description.len(), 2_048);
    assert_eq!(limited, limits([(Limit::DescriptionCut, 1)]));
    let (update, limited) = taken(&with(&json!({"tags": {"t": "x".repeat(512)}})));
    assert_eq!(update.event.tags.get("t"), Some(&TagValue::one(&"x".repeat(512))));
    assert_eq!(limited, limits([]));
}

/// What is cut off tells nobody apart: collect must not take for two what correlate takes for one.
#[test]
fn identities_that_are_the_same_once_cut_are_one() {
    let sent = |end: &str, status: &str| {
        with(&json!({"host": format!("{}{end}", "h".repeat(512)), "status": status}))
    };
    for way in WAYS {
        let mut pipeline = pipeline(way);
        for (end, status) in [("a", "critical"), ("b", "warning"), ("a", "critical")] {
            pipeline.arrive(NOW, Some(&sent(end, status)));
        }
        // The second is older than it seems: at one time the worse status wins; the third repeats.
        assert_eq!(pipeline.count(EventOutcome::Forwarded), 1);
        assert_eq!(pipeline.count(EventOutcome::Late), 1);
        assert_eq!(pipeline.count(EventOutcome::Repeat), 1);
        adds_up(&pipeline, 3);
        assert_eq!(pipeline.correlate().alerts().count(), 1);
    }
}

#[test]
fn odd_but_readable_input_is_taken_as_it_is() {
    let one = |event: &muster::model::Event, name: &str| match event.tags.get(name) {
        Some(TagValue::One(value)) => value.to_string(),
        other => panic!("`{name}` is {other:?}"),
    };
    let (update, limited) = taken(&with(&json!({
        "key": null, "id": null, "tags": {"": "empty name", "a\u{0}\u{1}\n": "\u{0}\u{7f}", "n": null},
    })));
    assert_eq!(update.event.key, None);
    assert_eq!(one(&update.event, ""), "empty name");
    assert_eq!(one(&update.event, "a\u{0}\u{1}\n"), "\u{0}\u{7f}");
    assert_eq!((update.event.tags.len(), limited), (2, limits([])));

    let (update, _) = taken(&with_raw(
        r#""host":"later","tags":{"a":"1","a":"2"},"a":3,"alerts":"x","big":99999999999999999999,
        "tiny":1e-300,"yes":true,"half":0.5,"pair":"🦀""#,
    ));
    assert_eq!(&*update.event.host, "later", "of two fields of one name the later one counts");
    assert_eq!(one(&update.event, "a"), "3");
    assert_eq!(one(&update.event, "alerts"), "x", "no list of events is a tag like any other");
    assert_eq!(one(&update.event, "big"), "1e20");
    assert_eq!(one(&update.event, "tiny"), "1e-300");
    assert_eq!(one(&update.event, "yes"), "true");
    assert_eq!(one(&update.event, "half"), "0.5");
    assert_eq!(one(&update.event, "pair"), "🦀");

    let list = vec!["e"; 100_000];
    let (update, _) = taken(&with(&json!({"tags": {"cluster": list}})));
    assert_eq!(update.event.tags.get("cluster").expect("a tag").values().count(), 100_000);

    let tags: serde_json::Map<_, _> = (0..2_000).map(|n| (format!("t{n}"), json!(n))).collect();
    let (update, _) = taken(&with(&json!({"tags": tags})));
    assert_eq!(update.event.tags.len(), 2_000);

    // 1 MiB less the room that the rest of the event takes in canonical form.
    let (update, limited) = taken(&with(&json!({"tags": {"t": "x".repeat(1_048_300)}})));
    assert_eq!(one(&update.event, "t").len(), 512);
    assert_eq!(limited, limits([(Limit::ValueCut, 1)]));
}

/// As deep as the limit allows, and as deep as the config may set it, on the stack of a worker.
#[test]
fn nesting_up_to_the_limit_is_read() {
    let nested = |levels: usize| {
        let (open, close) = ("{\"a\":".repeat(levels), "}".repeat(levels));
        with_raw(&format!("\"t\":{open}1{close}"))
    };
    on_a_small_stack(move || {
        let (update, _) = taken(&nested(31));
        assert_eq!(
            update.event.tags.get(&format!("t{}", ".a".repeat(31))),
            Some(&TagValue::one("1"))
        );
        for (levels, events) in [(119, 1), (120, 0)] {
            let limits = Limits { depth: 120, ..Limits::default() };
            let decoded = decoded(&nested(levels), limits);
            assert_eq!(decoded.events.len(), events, "{:?}", decoded.rejected);
        }
    });
}

/// Muster's own form of an event is deeper and longer than the publisher's; limits on what is sent
/// hold for what is sent.
#[test]
fn limits_on_publishers_do_not_hit_muster_itself() {
    let limits = Limits { depth: 2, record_bytes: 1_024, ..Limits::default() };
    let source = collect::SourceSettings {
        shard: "main".into(),
        expire_after: Span::from_secs(3_600),
        ..collect::SourceSettings::new("defaults")
    };
    let settings = collect::Settings {
        sources: vec![source],
        cache_max: 10,
        limits,
        ..collect::Settings::default()
    };
    let correlate = CorrelateSettings {
        reopen_window: Span::ZERO,
        ok_memory_max: 1,
        ..CorrelateSettings::default()
    };
    let mut pipeline = Pipeline::new(settings, correlate, Way::SentOn);
    let sent = json!({
        "source": "n", "host": "h", "status": "critical", "az": ["a", "b"],
        "description": "x".repeat(940),
    });
    let sent = sent.to_string();
    assert!(sent.len() <= 1_024);
    pipeline.arrive(NOW, Some(sent.as_bytes()));
    assert_eq!(updates(&pipeline).len(), 1);
    adds_up(&pipeline, 1);
}

// ---- random damage ------------------------------------------------------------------------------

/// What damage likes to put in: where JSON, times and counts have their edges.
const SHARDS: [&str; 22] = [
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "-1",
    "0",
    "1e400",
    "\\ud800",
    "\u{feff}",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "\"a\":",
    "[[]]",
    "\"alerts\":[],",
    "\"status\":\"ok\",",
    "\"timestamp\":5,",
];

#[derive(Debug, Clone)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index, prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    /// From one place of it to another.
    Splice(prop::sample::Index, prop::sample::Index, prop::sample::Index),
    Number(prop::sample::Index, i64),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), 1_u8..).prop_map(|(place, bits)| Damage::Flip(place, bits)),
        (at(), at()).prop_map(|(from, to)| Damage::Cut(from, to)),
        (at(), prop::sample::select(&SHARDS[..]))
            .prop_map(|(place, shard)| Damage::Insert(place, shard.into())),
        (at(), prop::collection::vec(any::<u8>(), 1..4))
            .prop_map(|(place, bytes)| Damage::Insert(place, bytes)),
        (at(), at(), at()).prop_map(|(from, to, place)| Damage::Splice(from, to, place)),
        (at(), prop_oneof![any::<i64>(), Just(i64::MAX), Just(0)])
            .prop_map(|(place, number)| Damage::Number(place, number)),
    ]
}

impl Damage {
    fn strike(&self, bytes: &mut Vec<u8>) {
        let place = |index: &prop::sample::Index, bytes: &[u8]| index.index(bytes.len() + 1);
        match self {
            Self::Flip(at, bits) => {
                let at = place(at, bytes);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= bits;
                }
            }
            Self::Cut(from, to) => {
                let (from, to) = (place(from, bytes), place(to, bytes));
                bytes.drain(from.min(to)..from.max(to));
            }
            Self::Insert(at, more) => {
                let at = place(at, bytes);
                bytes.splice(at..at, more.iter().copied());
            }
            Self::Splice(from, to, at) => {
                let (from, to, at) = (place(from, bytes), place(to, bytes), place(at, bytes));
                let part = bytes[from.min(to)..from.max(to)].to_vec();
                bytes.splice(at..at, part);
            }
            Self::Number(nth, number) => {
                // Another number where one stands.
                let starts: Vec<usize> = (1..bytes.len())
                    .filter(|at| bytes[*at].is_ascii_digit() && bytes[at - 1] == b':')
                    .collect();
                if !starts.is_empty() {
                    let at = starts[nth.index(starts.len())];
                    let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit());
                    let end = at + digits.count();
                    bytes.splice(at..end, number.to_string().into_bytes());
                }
            }
        }
    }
}

fn damaged(whole: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (whole, prop::collection::vec(damage(), 0..4)).prop_map(|(mut bytes, damages)| {
        damages.iter().for_each(|damage| damage.strike(&mut bytes));
        bytes
    })
}

fn sent() -> impl Strategy<Value = Vec<u8>> {
    let event = any_event().prop_map(|event| muster::wire::event::encode(&event, NOW));
    let event = prop_oneof![event, Just(good("odd")), Just(fixture("event.v1.json"))].boxed();
    let list = |events: Vec<Vec<u8>>| [b"[".to_vec(), events.join(&b','), b"]".to_vec()].concat();
    let events = prop::collection::vec(event.clone(), 0..4).prop_map(list).boxed();
    let wrapper = events.clone().prop_map(|events| {
        [br#"{"app_key":"x","alerts":"#.to_vec(), events, b"}".to_vec()].concat()
    });
    let noise = prop::collection::vec(any::<u8>(), 0..64);
    prop_oneof![1 => noise, 5 => damaged(event), 2 => damaged(events), 2 => damaged(wrapper)]
}

/// Whether JSON is a list of no events.
fn says_nothing(bytes: &[u8]) -> bool {
    let nothing = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    serde_json::from_slice::<Value>(bytes)
        .is_ok_and(|value| nothing(&value) || value.get("alerts").is_some_and(nothing))
}

/// Bytes for correlate with the kind they claim to be.
fn logged() -> impl Strategy<Value = (Kind, Vec<u8>)> {
    let few = prop::sample::select(&["a", "b", "c"][..]);
    let extreme =
        (any_event(), few, any_seen(), any_span()).prop_map(|(event, host, seen, span)| {
            let event = muster::model::Event {
                source: "s".into(),
                host: host.into(),
                check: "".into(),
                key: None,
                ..event
            };
            update::encode(&Update { shard: "main".into(), expire_after: span, seen, event })
        });
    let touch =
        (prop::sample::select(&["a", "b", "c"][..]), any_seen()).prop_map(|(host, seen)| {
            let identity = muster::model::Identity::new("s", Some(host), None, None);
            update::encode_touch(&muster::model::update::Touch { identity, seen })
        });
    let extreme = extreme.boxed();
    let settings = any_settings().prop_map(|wanted| settings::encode(&wanted)).boxed();
    let noise = || prop::collection::vec(any::<u8>(), 0..40);
    let kind = |kind: Kind| move |bytes: Vec<u8>| (kind, bytes);
    prop_oneof![
        6 => extreme.clone().prop_map(kind(Kind::Update)),
        3 => damaged(extreme.clone()).prop_map(kind(Kind::Update)),
        1 => damaged(Just(fixture("update.v1.json"))).prop_map(kind(Kind::Update)),
        2 => damaged(touch).prop_map(kind(Kind::Touch)),
        1 => settings.clone().prop_map(kind(Kind::Settings)),
        1 => damaged(settings).prop_map(kind(Kind::Settings)),
        2 => damaged(Just(fixture("command.v1.json"))).prop_map(kind(Kind::Command)),
        1 => noise().prop_map(kind(Kind::Tick)),
        2 => (prop::sample::select(&Kind::ALL[..]), prop_oneof![noise().boxed(), extreme]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn damage_ends_in_events_or_dead_letters(bytes in sent()) {
        let first = decoded(&bytes, Limits::default());
        let again = decoded(&bytes, Limits::default());
        let Decoded { events, rejected, limited, silent, youngest } = &first;
        prop_assert!(silent.is_empty(), "events in canonical form always say something");
        prop_assert_eq!(events, &again.events, "the same bytes, another answer");
        prop_assert_eq!(rejected, &again.rejected);
        prop_assert_eq!(limited, &again.limited);
        prop_assert_eq!(youngest, &again.youngest);
        let outcomes = events.len() + rejected.len();
        prop_assert!(outcomes > 0 || says_nothing(&bytes), "no trace of it");
        let [straight, sent_on] = WAYS.map(|way| {
            let mut pipeline = pipeline(way);
            pipeline.arrive(NOW, Some(&bytes));
            pipeline.arrive(NOW, Some(&good("after")));
            adds_up(&pipeline, outcomes as u64 + 1);
            pipeline.restart_correlate().expect("rows that read back");
            pipeline
        });
        prop_assert_eq!(straight.dead().len(), rejected.len());
        prop_assert_eq!(updates(&straight), updates(&sent_on), "the ways differ");
        let sent = updates(&straight);
        prop_assert_eq!(&*sent.last().expect("the good one").event.host, "after");
    }

    #[test]
    fn damage_in_its_log_cannot_stop_correlate(
        records in prop::collection::vec((logged(), any_time(), any::<bool>()), 1..12),
    ) {
        let run = |restarts: bool| {
            let mut pipeline = pipeline(Way::Straight);
            for ((kind, bytes), time, here) in &records {
                let before = pipeline.dead().len();
                pipeline.append(*time, *kind, bytes.clone());
                let readable = match kind {
                    Kind::Update => update::decode(bytes).is_ok(),
                    Kind::Touch => update::decode_touch(bytes).is_ok(),
                    Kind::Command => command::decode(bytes).is_ok(),
                    // Of none of these topologies any part is in the log.
                    Kind::Settings => {
                        settings::decode(bytes).is_ok_and(|settings| settings.topology.is_none())
                    }
                    other => *other == Kind::Tick,
                };
                let letters = &pipeline.dead()[before..];
                assert_eq!(letters.len(), usize::from(!readable), "{kind:?}");
                for letter in letters {
                    assert_eq!(header(letter, "reason"), "bad_record");
                    assert_eq!(&letter.value, bytes);
                }
                if restarts && *here {
                    pipeline.restart_correlate().expect("rows that read back");
                }
            }
            // Whatever it was, what is good and comes next opens an incident.
            let event = good("after");
            let changes = pipeline.changes().len();
            pipeline.arrive(NOW, Some(&event));
            assert!(pipeline.changes().len() > changes, "a good event changed nothing");
            let kept: Vec<_> = pipeline.correlate().alerts().cloned().collect();
            pipeline.restart_correlate().expect("rows that read back");
            assert!(pipeline.correlate().alerts().eq(&kept), "the rows are not the state");
            pipeline
        };
        let (first, again) = (run(false), run(true));
        prop_assert!(first.log() == again.log());
        prop_assert_eq!(first.changes().len(), again.changes().len());
    }

    /// What is taken reads back as it was taken; the rest is refused with a word.
    #[test]
    fn damage_is_refused_or_read_whole(
        (which, bytes) in (0..FORMATS.len()).prop_flat_map(|which| {
            let (name, _) = FORMATS[which];
            let stored = if name == "ledger.v1.json" {
                include_bytes!("../fixtures/notify/ledger.v1.json").to_vec()
            } else {
                fixture(name)
            };
            let noise = prop::collection::vec(any::<u8>(), 0..64);
            (Just(which), prop_oneof![1 => noise.boxed(), 9 => damaged(Just(stored)).boxed()])
        }),
    ) {
        let (name, check) = FORMATS[which];
        if let Some(read) = check(&bytes) {
            let again = check(&read);
            prop_assert!(again.as_ref() == Some(&read), "{}", name);
        }
        drop(ledger::parse_key(&bytes));
        drop(row::decode(&bytes, &bytes));
    }
}

/// Writes again what it reads; none for what is refused.
type Rewrite = fn(&[u8]) -> Option<Vec<u8>>;

const FORMATS: &[(&str, Rewrite)] = &[
    ("update.v1.json", |bytes| said(update::decode(bytes)).map(|read| update::encode(&read))),
    ("touch.v1.json", |bytes| {
        said(update::decode_touch(bytes)).map(|read| update::encode_touch(&read))
    }),
    ("settings.v1.json", |bytes| said(settings::decode(bytes)).map(|read| settings::encode(&read))),
    ("change.v1.flapping.json", |bytes| {
        said(change::decode(bytes)).map(|read| change::encode(&read))
    }),
    ("ledger.v1.json", |bytes| said(ledger::decode(bytes)).map(|read| ledger::encode(&read))),
    ("alert.v1.json", |bytes| rewrite_row(b"a/", bytes)),
    ("maintenance.v1.json", |bytes| rewrite_row(b"m/", bytes)),
    ("sweep.v1.json", |bytes| rewrite_row(b"m", bytes)),
    ("incident.v1.json", |bytes| rewrite_row(b"i/", bytes)),
    ("ok.v1.json", |bytes| rewrite_row(b"o/", bytes)),
    ("rate.v1.json", |bytes| rewrite_row(b"b/", bytes)),
    ("mark.v1.json", |bytes| rewrite_row(row::MARK_KEY, bytes)),
    ("incident.v1.commands.json", |bytes| rewrite_row(b"i/", bytes)),
    ("result.v1.json", |bytes| rewrite_row(b"c/", bytes)),
    ("undo.v1.json", |bytes| rewrite_row(b"u/", bytes)),
    ("command.v1.json", |bytes| said(command::decode(bytes)).map(|read| command::encode(&read))),
    ("change.v1.commands.json", |bytes| {
        said(change::decode(bytes)).map(|read| change::encode(&read))
    }),
];

fn said<T>(read: Result<T, muster::wire::WireError>) -> Option<T> {
    if let Err(error) = &read {
        assert!(!error.to_string().is_empty(), "refused without a word");
    }
    read.ok()
}

fn rewrite_row(key: &[u8], bytes: &[u8]) -> Option<Vec<u8>> {
    said(row::decode(key, bytes)).map(|read| match read {
        row::CorrelateRow::Alert(alert) => row::encode_alert(&alert),
        row::CorrelateRow::Incident(incident) => row::encode_incident(&incident),
        row::CorrelateRow::Ok(ok) => row::encode_ok(&ok),
        row::CorrelateRow::Rate(rate) => rate::encode(&rate),
        row::CorrelateRow::Mark(mark) => row::encode_mark(mark),
        row::CorrelateRow::Settings(bytes) => bytes,
        row::CorrelateRow::Result(result) => command::encode_result(&result),
        row::CorrelateRow::Plan(plan) => maintenance::encode_plan(&plan),
        row::CorrelateRow::Sweep(sweep) => maintenance::encode_sweep(sweep),
        row::CorrelateRow::Heartbeat(beating) => heartbeat::encode_row(&beating),
        row::CorrelateRow::Watched(watched) => heartbeat::encode_watched(watched),
        row::CorrelateRow::Undoable(undoable) => request::encode_undo(&undoable),
        row::CorrelateRow::Topology(part) => topology::encode(&part),
    })
}

/// Counts at the end of their range neither overflow nor wrap into nonsense.
#[test]
fn counts_stop_at_their_end() {
    let mut pipeline = pipeline(Way::Straight);
    let stored = String::from_utf8(fixture("update.v1.json")).expect("text");
    assert!(stored.contains("\"repeats\":19"));
    let most = stored.replace("\"repeats\":19", &format!("\"repeats\":{}", u64::MAX));
    for key in ["job/17", "job/18"] {
        for _ in 0..2 {
            let bytes = most.replace("job/17", key).into_bytes();
            pipeline.append(NOW, Kind::Update, bytes);
        }
        pipeline.restart_correlate().expect("rows that read back");
    }
    assert!(pipeline.dead().is_empty());
    assert!(pipeline.correlate().alerts().all(|alert| alert.events == u64::MAX));
    let incidents = pipeline.correlate().incidents();
    assert!(incidents.iter().all(|incident| incident.counts.events == u64::MAX), "{incidents:?}");
}

/// A change of many large alerts fits where it goes; what is left out is counted.
#[test]
fn a_change_of_large_alerts_is_bounded() {
    let mut pipeline = pipeline(Way::Straight);
    let event = |host: u8, minute: i64, value: &str| {
        let mut tags = serde_json::Map::new();
        tags.insert("cluster".into(), json!("large"));
        tags.insert("version".into(), json!(value));
        for number in 0..1_900 {
            // Quotes take twice their length in JSON.
            tags.insert(format!("{host}-{number:04}"), json!("\"".repeat(120)));
        }
        let at = NOW + Span::from_secs(minute * 60);
        let event = json!({
            "source": "nagios", "host": format!("h{host}"), "check": "c", "status": "critical",
            "timestamp": at.as_millis(), "tags": tags,
        });
        event.to_string().into_bytes()
    };
    for (minute, value) in [(0, "a"), (5, "b"), (5, "c")] {
        let now = NOW + Span::from_secs(minute * 60);
        for host in 0..6 {
            pipeline.arrive(now, Some(&event(host, minute, value)));
        }
    }
    pipeline.tick(NOW + Span::from_secs(600));
    pipeline.commit();
    assert!(pipeline.dead().is_empty());
    let sizes: Vec<usize> = pipeline.changes().iter().map(Vec::len).collect();
    let last = change::decode(pipeline.changes().last().expect("changes")).expect("a change");
    assert_eq!(last.counts.total, 6);
    assert_eq!(last.alerts.len(), 2, "as many as fit");
    assert!(sizes.iter().all(|size| *size < 2 << 20), "{sizes:?}");
    assert!(sizes.iter().any(|size| *size > 512 << 10), "the alerts are large: {sizes:?}");
    assert!(pipeline.limited(Limit::AlertsCut) >= 4);
}
