//! A glance against the full reading, over events that are edited at random.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::collect::hosts::{Domains, Hosts};
use crate::collect::{Collect, Duty, Limits, Origin, Room, Settings, SourceSettings};
use crate::model::Span;
use crate::stage::{EventOutcome, Kind, Offset, Output, Record, Slot, Stage};

const ARRIVAL: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// What publishers send; `@` stands for a time.
const EVENTS: [&str; 14] = [
    r#"{"source":"nagios","host":"web-1","check":"disk /","status":"critical","timestamp":@,"description":"3% free","tags":{"cluster":"web","az":["a","b"]},"links":{"graph":"https://x/1"},"key":null,"expires_at":null,"id":null}"#,
    r#"{"source":"nagios","host":"web-1","check":"disk /","status":"critical","timestamp":@,"tags":{"cluster":"web"},"cluster":"db"}"#,
    r#"{"source":"nagios","host":"web-1","check":"disk /","status":"ok","timestamp":@,"description":"a \"b\" \n c","tags":{"cluster":"web"}}"#,
    r#"{"source":"nagios","host":"web-1","check":"disk /","status":"ok","timestamp":@,"description":"\u0041","tags":{"cluster":"web"}}"#,
    r#" { "source" : "zabbix" , "host" : "b\u00fccher" , "status" : "WARNING " , "timestamp" : @ , "n" : 1.50 , "o" : { "p" : [ 1 , true ] } } "#,
    r#"{"source":"zabbix","host":"büro","status":"warning","timestamp":@,"expires_at":1767229200,"key":"k-1","tags":{"t":"ü"}}"#,
    r#"{"source":"zabbix","host":"other","status":"warning","timestamp":@,"key":"k-1","tags":{"t":"ü"}}"#,
    r#"{"source":"zabbix","host":"büro","check":"","status":"unknown","timestamp":@,"id":"e-7","arrival":5,"links":{}}"#,
    r#"{"source":"zabbix","host":"büro","check":"c","status":"acknowledged","timestamp":@}"#,
    r#"{"app_key":"zabbix","alerts":[{"host":"a","status":"critical","timestamp":@},{"host":"a"}]}"#,
    r#"{"source":"zabbix","service":"shop","status":"info","timestamp":"@","primary_property":"service"}"#,
    r#"[{"source":"nagios","host":"web-1","check":"disk /","status":"critical","timestamp":@}]"#,
    r#"{"source":"nagios","host":"longer than a value may be, one","status":"critical","timestamp":@}"#,
    r#"{"source":"nagios","host":"longer than a value may be, two","status":"critical","timestamp":@}"#,
];

#[derive(Debug, Clone)]
enum Edit {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, &'static str),
    /// Before a field.
    Field(prop::sample::Index, &'static str),
    Cut(prop::sample::Index, usize),
    Twice(prop::sample::Index, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<prop::sample::Index>;
    let piece = prop::sample::select(vec![
        "\"", "\\", "{", "}", "[", "]", ",", ":", "null", "0", "-", ".", "e9", " ", "\u{1}",
        "\u{7f}",
    ]);
    let field = prop::sample::select(vec![
        r#""source":"zabbix","#,
        r#""host":"x","#,
        r#""check":"x","#,
        r#""status":"ok","#,
        r#""timestamp":1767225000000,"#,
        r#""tags":{},"#,
        r#""links":{"a":1},"#,
        r#""links":{"a":nil},"#,
        r#""links":{"a":"b"},"#,
        r#""key":null,"#,
        r#""id":7,"#,
        r#""description":"x","#,
        r#""expires_at":1767229200,"#,
    ]);
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        (at(), piece).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        (at(), field).prop_map(|(at, field)| Edit::Field(at, field)),
        (at(), 1..9_usize).prop_map(|(at, count)| Edit::Cut(at, count)),
        (at(), 1..40_usize).prop_map(|(at, count)| Edit::Twice(at, count)),
    ]
}

fn record(event: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let edits = prop_oneof![3 => Just(Vec::new()), 2 => prop::collection::vec(edit(), 1..3)];
    // Times of arrival and around it, by the second and by the millisecond.
    let time = prop_oneof![
        4 => (0..5_i64).prop_map(|minute| ARRIVAL.as_millis() - minute * 60_000),
        1 => prop::sample::select(vec![0, -1, 1_767_225_600, i64::MAX, ARRIVAL.as_millis() * 2]),
    ];
    (time, edits).prop_map(move |(time, edits)| {
        let mut bytes = event.replace('@', &time.to_string()).into_bytes();
        for edit in edits {
            match edit {
                Edit::Set(at, byte) => {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
                Edit::Insert(at, piece) => {
                    let at = at.index(bytes.len());
                    bytes.splice(at..at, piece.bytes());
                }
                Edit::Field(at, field) => {
                    let starts = |(_, byte): &(usize, &u8)| matches!(byte, b'{' | b',');
                    let places = bytes.iter().enumerate().filter(starts).map(|(at, _)| at + 1);
                    let places: Vec<usize> = places.collect();
                    let at = if places.is_empty() { 0 } else { *at.get(&places) };
                    bytes.splice(at..at, field.bytes());
                }
                Edit::Cut(at, count) => {
                    let at = at.index(bytes.len());
                    bytes.drain(at..bytes.len().min(at + count).max(at));
                    bytes.push(b'}');
                }
                Edit::Twice(at, count) => {
                    let at = at.index(bytes.len());
                    let again = bytes[at..bytes.len().min(at + count)].to_vec();
                    bytes.splice(at..at, again);
                }
            }
        }
        bytes
    })
}

fn records() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let any = || prop::sample::select(EVENTS.to_vec());
    (any(), any()).prop_flat_map(|(one, other)| {
        prop::collection::vec(prop_oneof![3 => record(one), 1 => record(other)], 1..12)
    })
}

fn limits() -> Limits {
    Limits { value_bytes: 24, ..Limits::default() }
}

/// `WEB-1.corp` is `web-1`: by a glance and when read in full.
fn hosts() -> Hosts {
    Hosts { lower_case: true, domains: Domains::All, aliases: None }
}

fn collect() -> Collect {
    let settings = Settings {
        sources: vec![SourceSettings {
            expire_after: Span::from_secs(3_600),
            ..SourceSettings::new("defaults")
        }],
        hosts: hosts(),
        cache_max: 100,
        limits: limits(),
        ..Settings::default()
    };
    let room = Room::new(settings.cache_max);
    Collect::new(
        Arc::new(settings),
        Duty::Suppress,
        Arc::new([Origin::canonical("input")]),
        room,
        7,
    )
}

fn apply(stage: &mut Collect, kind: Kind, bytes: &[u8]) -> Output {
    let record = Record {
        offset: Offset(0),
        time: ARRIVAL,
        kind,
        key: None,
        value: Some(bytes),
        headers: None,
    };
    let mut out = Output::default();
    stage.apply(Slot::default(), &record, &mut out);
    stage.seal(&mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 20_000,
        failure_persistence: None,
        ..Default::default()
    })]

    /// A stage that glances says, counts and sends what one does that reads everything.
    #[test]
    fn a_glance_says_what_reading_says(records in records(), own in any::<bool>()) {
        let kind = if own { Kind::Event } else { Kind::Raw };
        let (mut glancing, mut reading) = (collect(), collect());
        for bytes in &records {
            reading.cache.forget_forms();
            let (mut glanced, mut read) =
                (apply(&mut glancing, kind, bytes), apply(&mut reading, kind, bytes));
            // The age of what is known at a glance is not measured.
            (glanced.tally.youngest, read.tally.youngest) = (Vec::new(), Vec::new());
            prop_assert_eq!(glanced.records, read.records, "{}", String::from_utf8_lossy(bytes));
            prop_assert_eq!(glanced.tally, read.tally, "{}", String::from_utf8_lossy(bytes));
        }
    }
}

#[test]
fn what_is_usual_gets_a_glance() {
    let settings = Settings { limits: limits(), ..Settings::default() };
    let at = |event: &str| {
        let event = event.replace('@', &ARRIVAL.as_millis().to_string());
        let (form, keys) = (Form::Published, [(1, 2), (3, 4)]);
        glance(event.as_bytes(), form, ARRIVAL, &settings, &keys).is_some()
    };
    for (number, event) in EVENTS.iter().enumerate() {
        assert_eq!(at(event), [0, 1, 2, 5, 6, 7].contains(&number), "{event}");
    }
}

#[test]
fn a_repeat_is_known_by_its_form() {
    let mut stage = collect();
    let event = |minute: i64| {
        let time = (ARRIVAL.as_millis() - minute * 1_000).to_string();
        EVENTS[0].replace('@', &time)
    };
    apply(&mut stage, Kind::Raw, event(9).as_bytes());
    let seen = |bytes: &str, stage: &Collect| {
        let settings = Settings { limits: limits(), ..Settings::default() };
        glance(bytes.as_bytes(), Form::Published, ARRIVAL, &settings, &stage.keys)
            .expect("usual")
            .form
    };
    assert_eq!(seen(&event(9), &stage), seen(&event(1), &stage), "time is no content");
    let glanced = seen(&event(8), &stage);
    let other = event(8).replace("\"web\"", "\"db\"");
    assert_ne!(seen(&other, &stage), glanced, "a tag is content");
    let out = apply(&mut stage, Kind::Raw, event(8).as_bytes());
    assert_eq!(out.tally.events[0][EventOutcome::Repeat.index()], 1);
    let out = apply(&mut stage, Kind::Raw, event(10).as_bytes());
    assert_eq!(out.tally.events[0][EventOutcome::Late.index()], 1);
    let out = apply(&mut stage, Kind::Raw, other.as_bytes());
    assert_eq!(out.records.len(), 1, "other tags are forwarded");
}
