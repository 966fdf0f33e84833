//! What decoders make of payloads that grow where formats have their hot spots: lists, what stands
//! around lists, names, texts full of what separates. Counted in bytes, so that no clock is asked: what
//! comes out stays within a multiple of what came in, never a product of two parts of it.

use muster::collect::SourceSettings;
use muster::decoders::{self, Decoder, Found, Payload};
use serde_json::{Map, Value};

use crate::decoders::{ARRIVAL, Case, cases, decoded, written};

/// How often what is repeated is repeated.
const TIMES: usize = 400;

/// Ends in which formats see something: ends of fields, macros, encodings, words of a list.
const BITS: [&str; 20] = [
    "\"",
    ";",
    "=",
    "$",
    "{",
    ",",
    "\n",
    "<",
    "%",
    "&",
    "|",
    "[",
    ":",
    "*",
    "\\",
    " ",
    "\t",
    "acknowledged, unacknowledged, ",
    "<checkresult>",
    "=?UTF-8?B?",
];

#[test]
fn what_comes_out_is_a_multiple_of_what_came_in() {
    let mut wrong = Vec::new();
    for decoder in decoders::ALL {
        for (nth, case) in cases(decoder).iter().enumerate() {
            for (shape, payload) in shapes(case, nth) {
                check(decoder, case, &shape, &payload, &case.headers, &mut wrong);
            }
            let headers = grown_headers(case, BITS[nth % BITS.len()]);
            check(decoder, case, "long headers", &case.payload, &headers, &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn check(
    decoder: &'static Decoder,
    case: &Case,
    shape: &str,
    payload: &[u8],
    headers: &[(String, Vec<u8>)],
    wrong: &mut Vec<String>,
) {
    let found = decoded(decoder, payload, headers);
    let count = found.events.len() + found.rejected.len() + found.silent.len();
    let long = payload.len() + headers.iter().map(|(_, value)| value.len()).sum::<usize>();
    let out = written(&found);
    // An event has a frame of its own; what a list's elements share may stand in many of them, up to
    // the room that decoders have for it (16 times the payload and 1 MiB).
    let most = 24 * long + 512 * count + (1 << 20) + (1 << 16);
    // Before anything is cut, too: that is what takes memory.
    let drafts = drafts(decoder, payload, headers);
    if out.max(drafts) > most || count > long + 1 {
        wrong.push(format!(
            "{}, {shape}: {long} bytes became {drafts}, then {out} in {count} finds; at most {most}",
            case.name
        ));
    }
}

/// How many bytes are in what a decoder makes of a payload, before limits.
fn drafts(decoder: &Decoder, bytes: &[u8], headers: &[(String, Vec<u8>)]) -> usize {
    let zone = SourceSettings::new("defaults").time_zone;
    let mut found = Vec::new();
    decoder.read(&Payload { bytes, headers, arrival: ARRIVAL, zone: &zone, depth: 32 }, &mut found);
    found.iter().map(Found::bytes).sum()
}

/// The payload of a case, grown in each way that its form allows.
fn shapes(case: &Case, nth: usize) -> Vec<(String, Vec<u8>)> {
    let mut shapes = Vec::new();
    let text = String::from_utf8_lossy(&case.payload).into_owned();
    let one = text.trim_end();
    // One after the other, as lines.
    let lines = format!("{one}\n").repeat((64 << 10) / one.len().max(64));
    shapes.push(("repeated".to_owned(), lines.into_bytes()));
    let documents: Vec<Value> =
        serde_json::Deserializer::from_str(&text).into_iter().map_while(Result::ok).collect();
    let Some(value) = documents.first().filter(|value| value.is_object() || value.is_array())
    else {
        for bits in [BITS[nth % BITS.len()], BITS[(nth + 7) % BITS.len()]] {
            let more = bits.repeat(TIMES);
            let long: String = text.lines().map(|line| format!("{line}{more}\n")).collect();
            shapes.push((format!("lines that end in many {bits:?}"), long.into_bytes()));
            let cut = text.char_indices().map(|(at, _)| at).nth(text.chars().count() / 2);
            let (head, tail) = text.split_at(cut.unwrap_or(0));
            shapes
                .push((format!("many {bits:?} amid"), format!("{head}{more}{tail}").into_bytes()));
        }
        return shapes;
    };
    for bits in [BITS[nth % BITS.len()], BITS[(nth + 7) % BITS.len()], BITS[17]] {
        let grown = texts(value, &bits.repeat(TIMES));
        shapes.push((format!("texts that end in many {bits:?}"), grown.to_string().into_bytes()));
    }
    shapes.push(("many fields".to_owned(), fields(value, TIMES).to_string().into_bytes()));
    let mut paths = Vec::new();
    lists(value, &mut Vec::new(), &mut paths);
    for path in &paths {
        let shown = path.join(".");
        let many = grow(value, path, &mut |list| {
            let all = list.iter().cycle().take(TIMES.max(list.len()));
            Value::Array(all.cloned().collect())
        });
        shapes.push((format!("many in `{shown}`"), many.to_string().into_bytes()));
        // Little in many elements, and much around them.
        for thin in [false, true] {
            let around = fields(&texts(value, &"x".repeat(2_000)), 40);
            let own = at(value, path);
            let fat = grow(&around, path, &mut |_| {
                let element = own.first().cloned().unwrap_or_default();
                Value::Array(vec![if thin { thinned(&element) } else { element }; TIMES])
            });
            let shape = format!("many in `{shown}` and much around them, thin: {thin}");
            shapes.push((shape, fat.to_string().into_bytes()));
        }
    }
    shapes
}

fn grown_headers(case: &Case, bits: &str) -> Vec<(String, Vec<u8>)> {
    let more = bits.repeat(TIMES).into_bytes();
    let grown =
        case.headers.iter().map(|(name, value)| (name.clone(), [value.as_slice(), &more].concat()));
    let others = (0..TIMES).map(|n| (format!("ce-x{n}"), b"x".to_vec()));
    grown.chain(others).collect()
}

fn texts(value: &Value, more: &str) -> Value {
    match value {
        Value::String(text) => Value::String(format!("{text}{more}")),
        Value::Array(list) => list.iter().map(|value| texts(value, more)).collect(),
        Value::Object(object) => {
            object.iter().map(|(name, value)| (name.clone(), texts(value, more))).collect()
        }
        other => other.clone(),
    }
}

fn fields(value: &Value, count: usize) -> Value {
    match value {
        Value::Array(list) => list.iter().map(|value| fields(value, count)).collect(),
        Value::Object(object) => {
            let mut all: Map<String, Value> =
                object.iter().map(|(name, value)| (name.clone(), fields(value, count))).collect();
            all.extend((0..count).map(|n| (format!("more_{n}"), format!("value {n}").into())));
            Value::Object(all)
        }
        other => other.clone(),
    }
}

/// An element with nothing in its objects.
fn thinned(value: &Value) -> Value {
    match value {
        Value::Object(object) => object
            .iter()
            .map(|(name, value)| match value {
                Value::Object(_) => (name.clone(), Value::Object(Map::new())),
                other => (name.clone(), other.clone()),
            })
            .collect(),
        other => other.clone(),
    }
}

/// The ways to every list.
fn lists(value: &Value, path: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
    let mut inner = |name: String, value: &Value| {
        path.push(name);
        lists(value, path, paths);
        path.pop();
    };
    match value {
        Value::Array(list) => {
            // The first element stands for all.
            if let Some(first) = list.first() {
                inner("0".to_owned(), first);
            }
            paths.push(path.clone());
        }
        Value::Object(object) => {
            object.iter().for_each(|(name, value)| inner(name.clone(), value));
        }
        _ => {}
    }
}

fn at(value: &Value, path: &[String]) -> Vec<Value> {
    let mut value = value;
    for name in path {
        value = match value {
            Value::Object(object) => &object[name],
            other => &other[0],
        };
    }
    value.as_array().cloned().unwrap_or_default()
}

/// The value with another list at a path.
fn grow(value: &Value, path: &[String], list: &mut impl FnMut(&[Value]) -> Value) -> Value {
    let Some((name, rest)) = path.split_first() else {
        return list(value.as_array().map_or(&[][..], Vec::as_slice));
    };
    match value {
        Value::Object(object) => {
            let mut object = object.clone();
            let inner = object.get(name).map(|inner| grow(inner, rest, list)).unwrap_or_default();
            object.insert(name.clone(), inner);
            Value::Object(object)
        }
        Value::Array(values) => {
            let mut values = values.clone();
            if let Some(first) = values.first_mut() {
                *first = grow(&first.clone(), rest, list);
            }
            Value::Array(values)
        }
        other => other.clone(),
    }
}
