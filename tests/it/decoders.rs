//! Each format by its fixtures: `tests/fixtures/sources/<format>/<case>.<any>` is a payload as a
//! sender gives it, `<case>.headers` what comes beside it (`name: value` a line), and
//! `<case>.expected` what it must become: a canonical event a line, then `ignored: why`, then
//! `rejected: reason`. `BLESS=1` writes what is found; read it before you believe it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use muster::collect::decode::{Decoded, Incoming, decode};
use muster::collect::{Origin, Settings, SourceSettings};
use muster::decoders::{self, Decoder};
use muster::model::event::Report;
use muster::model::{CorrelateSettings, Event, Status, Timestamp};
use muster::testing::pipeline::{Pipeline, Way};
use muster::wire;
use proptest::prelude::*;

const FIXTURES: &str = "tests/fixtures/sources";
/// 2026-11-24T12:00:00Z: when every fixture arrives.
pub(crate) const ARRIVAL: Timestamp = Timestamp::from_millis(1_795_521_600_000);

pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    expected: PathBuf,
}

pub(crate) fn cases(decoder: &Decoder) -> Vec<Case> {
    let folder = Path::new(FIXTURES).join(decoder.name);
    let Ok(entries) = std::fs::read_dir(&folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    let side = |path: &Path| {
        path.extension().is_some_and(|extension| extension == "expected" || extension == "headers")
    };
    let payloads = paths.iter().filter(|path| !side(path));
    payloads
        .map(|path| Case {
            name: format!(
                "{}/{}",
                decoder.name,
                path.file_stem().unwrap_or_default().to_string_lossy()
            ),
            payload: std::fs::read(path).expect("a payload"),
            headers: headers(&path.with_extension("headers")),
            expected: path.with_extension("expected"),
        })
        .collect()
}

fn headers(path: &Path) -> Vec<(String, Vec<u8>)> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_lowercase(), value.trim().as_bytes().to_vec()))
        .collect()
}

fn settings() -> Settings {
    Settings::default()
}

pub(crate) fn decoded(
    decoder: &'static Decoder,
    payload: &[u8],
    headers: &[(String, Vec<u8>)],
) -> Decoded {
    let origin = Origin { decoder: Some(decoder), ..Origin::of_source("test", decoder.name) };
    let incoming = Incoming { bytes: payload, headers, arrival: ARRIVAL, origin: &origin };
    decode(&incoming, &settings())
}

fn shown(decoded: &Decoded) -> String {
    let mut text = String::new();
    for event in &decoded.events {
        text += &String::from_utf8(wire::event::canonical(event)).expect("JSON is text");
        text += "\n";
    }
    for (_, outcome, why) in &decoded.silent {
        writeln!(text, "{}: {why}", outcome.as_str()).expect("a string takes it");
    }
    for rejected in &decoded.rejected {
        writeln!(text, "rejected: {}", rejected.reason.as_str()).expect("a string takes it");
    }
    text
}

/// How many bytes were made of a payload.
pub(crate) fn written(decoded: &Decoded) -> usize {
    let events = decoded.events.iter().map(|event| wire::event::canonical(event).len());
    let rejected = decoded.rejected.iter().map(|one| one.bytes.len() + one.message.len());
    let silent = decoded.silent.iter().map(|(_, _, why)| why.len());
    events.chain(rejected).chain(silent).sum()
}

#[test]
fn every_payload_becomes_what_it_should() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = String::new();
    let mut all = 0;
    for decoder in decoders::ALL {
        for case in cases(decoder) {
            all += 1;
            let found = shown(&decoded(decoder, &case.payload, &case.headers));
            if bless {
                std::fs::write(&case.expected, &found).expect("writable");
            }
            let expected = std::fs::read_to_string(&case.expected).unwrap_or_default();
            if found != expected {
                writeln!(wrong, "{}:\n--- expected\n{expected}--- found\n{found}", case.name)
                    .expect("a string takes it");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(all > 0, "no fixtures in {FIXTURES}");
}

/// A problem, a recovery where the format has any, and something broken; and a page that says how to
/// set it up.
#[test]
fn every_format_is_shown_and_told() {
    let mut missing = Vec::new();
    for decoder in decoders::ALL {
        let name = decoder.name;
        let cases = cases(decoder);
        let events: Vec<_> = cases
            .iter()
            .flat_map(|case| decoded(decoder, &case.payload, &case.headers).events)
            .collect();
        let has = |ok: bool| {
            events.iter().any(|event| match event.report {
                Report::Status(status) => (status == Status::Ok) == ok,
                Report::Acknowledged => false,
            })
        };
        if !has(false) {
            missing.push(format!("{name}: no fixture of a problem"));
        }
        if decoder.expire_after.is_none() && !has(true) {
            missing
                .push(format!("{name}: no fixture of a recovery, though it says when one is over"));
        }
        let rejected = cases
            .iter()
            .any(|case| !decoded(decoder, &case.payload, &case.headers).rejected.is_empty());
        if !rejected {
            missing.push(format!("{name}: no fixture of what it cannot read"));
        }
        let page = format!("deploy/sources/{name}/README.md");
        if !Path::new(&page).is_file() {
            missing.push(format!("{name}: no {page}"));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// Whatever is posted twice changes nothing the second time, also where collect has forgotten the
/// first; and a recovery of what is not known opens nothing.
#[test]
fn every_payload_may_be_posted_twice() {
    for decoder in decoders::ALL {
        let settings = Settings {
            sources: vec![SourceSettings::new(decoder.name), SourceSettings::new("defaults")],
            ..Settings::default()
        };
        for case in cases(decoder) {
            let mut pipeline =
                Pipeline::new(settings.clone(), CorrelateSettings::default(), Way::Straight);
            let events = decoded(decoder, &case.payload, &case.headers).events;
            let post = |pipeline: &mut Pipeline| {
                for event in &events {
                    pipeline.arrive(ARRIVAL, Some(&wire::event::canonical(event)));
                }
                pipeline.changes().len()
            };
            let first = post(&mut pipeline);
            pipeline.forget_collected();
            assert_eq!(post(&mut pipeline), first, "{} changed something twice", case.name);
            assert!(pipeline.dead().is_empty(), "{}: {:?}", case.name, pipeline.dead());
            let problem = |event: &Event| event.status().is_some_and(|status| status != Status::Ok);
            if !events.iter().any(problem) {
                assert_eq!(first, 0, "{}: nothing is wrong, and something was told", case.name);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Damaged payloads end in events, in rejections or in nothing: never in a panic, never in two
    /// answers, and never in more than was there.
    #[test]
    fn damage_is_read_or_rejected(
        choice in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), edit()), 1..6),
        with_headers in any::<bool>(),
    ) {
        let all: Vec<(&'static Decoder, Case)> = decoders::ALL
            .iter()
            .flat_map(|decoder| cases(decoder).into_iter().map(|case| (*decoder, case)))
            .collect();
        let (decoder, case) = &all[choice.index(all.len())];
        let mut bytes = case.payload.clone();
        for (place, edit) in edits {
            edit.apply(place, &mut bytes);
        }
        let headers = if with_headers { case.headers.as_slice() } else { &[] };
        let first = decoded(decoder, &bytes, headers);
        let again = decoded(decoder, &bytes, headers);
        prop_assert_eq!(&first.events, &again.events, "{}: the same bytes, another answer", case.name);
        prop_assert_eq!(&first.rejected, &again.rejected);
        prop_assert!(first.events.len() + first.rejected.len() + first.silent.len() <= bytes.len().max(1) + 1);
        let out: usize = first.events.iter().map(|event| wire::event::canonical(event).len()).sum();
        let most = 64 * bytes.len() + 4_096 * (first.events.len() + 1);
        prop_assert!(out <= most, "{}: {} bytes of {}", case.name, out, bytes.len());
    }
}

#[derive(Debug, Clone)]
enum Edit {
    Set(u8),
    Insert(Vec<u8>),
    Remove(usize),
    Repeat(usize),
    Cut,
}

fn edit() -> impl Strategy<Value = Edit> {
    let bits: Vec<&[u8]> = vec![
        b"\"",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\\",
        b"null",
        b"-1",
        b"1e999",
        b"99999999999999999999",
        b"\n",
        b"\t",
        b";",
        b"\xff",
        b"\xf0\x9f\x94\xa5",
        b"\\u0000",
        b"\\ud800",
        b"$HOSTNAME$",
        b"{EVENT.ID}",
        b"true",
        b"0",
    ];
    prop_oneof![
        any::<u8>().prop_map(Edit::Set),
        prop::sample::select(bits).prop_map(|bits| Edit::Insert(bits.to_vec())),
        (1_usize..40).prop_map(Edit::Remove),
        (1_usize..200).prop_map(Edit::Repeat),
        Just(Edit::Cut),
    ]
}

impl Edit {
    fn apply(self, place: prop::sample::Index, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let at = place.index(bytes.len());
        match self {
            Self::Set(byte) => bytes[at] = byte,
            Self::Insert(bits) => drop(bytes.splice(at..at, bits)),
            Self::Remove(count) => drop(bytes.drain(at..(at + count).min(bytes.len()))),
            Self::Repeat(count) => {
                let part = bytes[at..(at + count).min(bytes.len())].to_vec();
                drop(bytes.splice(at..at, part));
            }
            Self::Cut => bytes.truncate(at),
        }
    }
}

/// The first problem and the first recovery of one identity in a format's fixtures; none where no fixture
/// of a recovery is of an identity that another one has a problem of.
fn pair(decoder: &'static Decoder) -> Option<(Event, Event)> {
    let events: Vec<Event> = cases(decoder)
        .iter()
        .flat_map(|case| decoded(decoder, &case.payload, &case.headers).events)
        .collect();
    let recovered = |event: &&Event| event.status() == Some(Status::Ok);
    events.iter().filter(recovered).find_map(|recovery| {
        let problem = events.iter().find(|event| {
            event.status().is_some_and(|status| status != Status::Ok)
                && event.identity() == recovery.identity()
        });
        Some((problem?.clone(), recovery.clone()))
    })
}

/// A recovery that comes late does not close a problem that began after it, and one of what is not
/// known opens nothing and tells nobody: for every format that says when a problem is over, on both
/// ways to collect, also where collect has forgotten what it knew.
#[test]
fn what_is_over_closes_what_was_before_it_and_nothing_else() {
    let at = |event: &Event, timestamp: Timestamp| {
        let event = Event { timestamp, expires_at: None, ..event.clone() };
        wire::event::canonical(&event)
    };
    let before = |seconds: i64| Timestamp::from_millis(ARRIVAL.as_millis() - 1_000 * seconds);
    let mut lacking = Vec::new();
    for decoder in decoders::ALL {
        let Some((problem, recovery)) = pair(decoder) else {
            if decoder.expire_after.is_none() {
                lacking.push(decoder.name);
            }
            continue;
        };
        for way in [Way::Straight, Way::SentOn] {
            for forgets in [false, true] {
                let new = || Pipeline::new(settings(), CorrelateSettings::default(), way);
                let mut alone = new();
                alone.arrive(ARRIVAL, Some(&at(&recovery, before(60))));
                assert!(
                    alone.changes().is_empty(),
                    "{}: a recovery opened something",
                    decoder.name
                );
                assert!(alone.dead().is_empty(), "{}: {:?}", decoder.name, alone.dead());

                let mut pipeline = new();
                let mut post = |event: &Event, seconds: i64| {
                    pipeline.arrive(ARRIVAL, Some(&at(event, before(seconds))));
                    if forgets {
                        pipeline.forget_collected();
                    }
                    let last = pipeline.changes().last().expect("the problem was told");
                    let last = wire::change::decode(last).expect("a change");
                    (pipeline.changes().len(), last.resolved.is_some())
                };
                let name = decoder.name;
                let opened = post(&problem, 60);
                assert!(!opened.1, "{name}: over at once");
                assert_eq!(post(&recovery, 120), opened, "{name}: an older recovery did something");
                assert!(post(&recovery, 30).1, "{name}: a newer recovery did not close it");
                assert!(post(&problem, 45).1, "{name}: an older problem opened it again");
            }
        }
    }
    assert!(lacking.is_empty(), "no fixtures of one identity's problem and recovery: {lacking:?}");
}

/// Whoever adds a format adds its fuzz target: a name in `fuzz/Cargo.toml`.
#[test]
fn every_format_has_a_fuzz_target() {
    let manifest = std::fs::read_to_string("fuzz/Cargo.toml").expect("the fuzz targets");
    for decoder in decoders::ALL {
        let target = format!("name = \"{}\"\npath = \"fuzz_targets/any.rs\"", decoder.name);
        assert!(manifest.contains(&target), "fuzz/Cargo.toml has no target `{}`", decoder.name);
    }
}
