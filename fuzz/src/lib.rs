//! What every target does with its input, and what must hold then.
//!
//! No panic; the same bytes, the same answer; no more out than in, but for a bounded frame an event;
//! and no more memory asked for, all in all, than a multiple of the input. That last one is how
//! quadratic work shows without a clock: whoever does it mostly copies. libFuzzer's own limits of time and
//! memory (see `tests/fuzz`) hold beside it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use muster::collect::decode::{Decoded, Incoming, decode};
use muster::collect::{Origin, Settings};
use muster::model::{Event, MaintenanceId, Matchers, Timestamp};
use muster::{config, decoders, wire};

/// 2026-11-24T12:00:00Z: when every payload arrives.
const ARRIVAL: Timestamp = Timestamp::from_millis(1_795_521_600_000);
/// What a decoder may ask for beside what it does with its input: tables and texts of its own.
const ASKED_ANYWAY: u64 = 1 << 20;
/// What it may ask for, for each byte of input: JSON as a tree of values takes up to about 100 a byte,
/// and a tree of a tree as much again.
const ASKED_A_BYTE: u64 = 1_500;

static ASKED: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, with a count of all bytes that were asked for.
pub struct Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.fetch_add(layout.size() as u64, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ASKED.fetch_add(size as u64, Relaxed);
        unsafe { System.realloc(place, layout, size) }
    }
}

/// Feeds an input to what a target's name names.
///
/// # Panics
/// Where something is wrong: that is what fuzzing looks for.
pub fn feed(target: &str, data: &[u8]) {
    match target {
        "canonical" => events(&Origin::canonical("fuzz"), data),
        "nrdp" => nrdp(data),
        "matchers" => matchers(data),
        "config" => configs(data),
        "topology" => file(data, &["csv", "jsonl", "yaml"], |path| {
            format!("correlate:\n  topology: {{file: {path}, nodes_max: 1000, edges_max: 1000}}\n")
        }),
        "table" => file(data, &["csv", "jsonl"], |path| {
            format!(
                "collect:\n  enrich:\n    - {{map: {{file: {path}, by: [name], tags: [team], take: union, rows_max: 1000}}}}\n"
            )
        }),
        "wire" => records(data),
        format => {
            let decoder = decoders::find(format).expect("a target is named like a format");
            let of_source = Origin::of_source("fuzz", decoder.name);
            events(&Origin { decoder: Some(decoder), ..of_source }, data);
        }
    }
}

/// Payloads. Where the input begins with a line `H`, headers follow (`name: value` a line) up to an
/// empty line, and then the payload.
fn events(origin: &Origin, data: &[u8]) {
    let (headers, bytes) = split(data);
    let settings = Settings::default();
    let incoming = Incoming { bytes, headers: &headers, arrival: ARRIVAL, origin };
    let before = ASKED.load(Relaxed);
    let first = decode(&incoming, &settings);
    let asked = ASKED.load(Relaxed) - before;
    let again = decode(&incoming, &settings);
    assert_eq!(first.events, again.events, "the same bytes, another answer");
    assert_eq!(first.rejected, again.rejected, "the same bytes, another answer");
    assert_eq!(first.silent, again.silent, "the same bytes, another answer");
    let count = first.events.len() + first.rejected.len() + first.silent.len();
    assert!(count <= data.len() + 1, "{count} finds in {} bytes", data.len());
    let (out, long) = (out(&first), data.len());
    assert!(out <= 64 * long + 4_096 * (count + 1), "{out} bytes out of {long}, in {count} finds");
    let most = ASKED_ANYWAY + ASKED_A_BYTE * long as u64;
    assert!(asked <= most, "{asked} bytes of memory were asked for to read {long}");
    // Times before March 1973 are read as seconds where a sender writes them.
    let is_late = |time: Timestamp| time.as_millis() >= 100_000_000_000;
    let is_clear =
        |event: &&Event| is_late(event.timestamp) && event.expires_at.is_none_or(is_late);
    for event in first.events.iter().filter(is_clear) {
        let canonical = wire::event::canonical(event);
        let origin = Origin::canonical("fuzz");
        let incoming =
            Incoming { bytes: &canonical, headers: &[], arrival: ARRIVAL, origin: &origin };
        let read = decode(&incoming, &settings);
        assert_eq!(
            read.events,
            [event.clone()],
            "an event in canonical form is read as another one"
        );
    }
}

fn split(data: &[u8]) -> (Vec<(String, Vec<u8>)>, &[u8]) {
    let Some(mut rest) = data.strip_prefix(b"H\n") else { return (Vec::new(), data) };
    let mut headers = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = (&rest[..end], &rest[end + 1..]);
        rest = after;
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { break };
        let name = String::from_utf8_lossy(line[..colon].trim_ascii()).to_lowercase();
        headers.push((name, line[colon + 1..].trim_ascii().to_vec()));
    }
    (headers, rest)
}

fn out(decoded: &Decoded) -> usize {
    let events = decoded.events.iter().map(|event| wire::event::canonical(event).len());
    let rejected = decoded.rejected.iter().map(|one| one.bytes.len() + one.message.len());
    let silent = decoded.silent.iter().map(|(_, _, why)| why.len());
    events.chain(rejected).chain(silent).sum()
}

/// What a client of NRDP posts: the input as it is, and as the field of a form.
fn nrdp(data: &[u8]) {
    let decoder = decoders::find("nagios").expect("there is one");
    let origin = Origin { decoder: Some(decoder), ..Origin::of_source("fuzz", "nagios") };
    events(&origin, data);
    let mut form = b"cmd=submitcheck&XMLDATA=".to_vec();
    for byte in data {
        form.extend(format!("%{byte:02X}").bytes());
    }
    events(&origin, &form);
}

fn matchers(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let before = ASKED.load(Relaxed);
    let read = Matchers::parse(text.lines());
    let asked = ASKED.load(Relaxed) - before;
    // Patterns are compiled; their size is bounded by the matcher, not by the text.
    let most = (text.lines().count() as u64 + 1) * (64 << 20);
    assert!(asked <= most, "{asked} bytes of memory were asked for to read {}", data.len());
    if let Ok(matchers) = read {
        for matcher in matchers.iter() {
            let shown = matcher.to_string();
            let again =
                Matchers::parse([shown.as_str()]).expect("a matcher is shown as it is read");
            assert_eq!(again.iter().next(), Some(matcher), "{shown}");
        }
    }
}

fn configs(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Files that a config names are not the fuzzer's to read or to wait for.
    if text.contains("file") || text.contains('/') {
        return;
    }
    if let Ok(read) = config::parse(text) {
        assert!(!read.summary().is_empty());
        assert_eq!(read.warnings(), read.warnings());
    }
}

/// A file that a config names; the first byte chooses its kind.
fn file(data: &[u8], ends: &[&str], text: impl Fn(&str) -> String) {
    let Some((kind, bytes)) = data.split_first() else { return };
    let end = ends[usize::from(*kind) % ends.len()];
    let folder = std::env::temp_dir();
    let path = folder.join(format!("muster-fuzz-{}.{end}", std::process::id()));
    std::fs::write(&path, bytes).expect("the folder of temporary files takes it");
    let text = text(&path.display().to_string());
    let read = config::parse(&text);
    if let Err(error) = &read {
        let error = error.to_string();
        assert!(error.len() < 16_384 + 8 * data.len(), "a long error: {}", error.len());
        assert!(!error.contains("is unknown"), "the target's own config is wrong: {error}");
    }
    std::fs::remove_file(&path).expect("it was written");
}

/// Records and rows of Muster's own, as another version or a bad disk might leave them; the first byte
/// chooses.
fn records(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    let text = || std::str::from_utf8(bytes).unwrap_or_default();
    match kind % 10 {
        0 => drop(wire::settings::decode(bytes).map(|read| wire::settings::encode(&read))),
        1 => drop(wire::update::decode(bytes).map(|read| wire::update::encode(&read))),
        2 => drop(wire::update::decode_touch(bytes)),
        3 => drop(wire::command::decode(bytes).map(|read| wire::command::encode(&read))),
        4 => drop(wire::change::decode(bytes).map(|read| wire::change::encode(&read))),
        5 => drop(wire::silence::decode(b"sil_", Some(bytes))),
        6 => drop(wire::dead_letter::read_headers(bytes)),
        7 => drop(wire::topology::decode(bytes)),
        8 => {
            let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
            drop(wire::row::decode(&bytes[..at], bytes.get(at + 1..).unwrap_or_default()));
        }
        _ => drop(wire::maintenance::read(text(), MaintenanceId::of("fuzz"), "fuzz")),
    }
}
