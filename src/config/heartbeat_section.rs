//! What must be heard of: `correlate.heartbeats`, and Muster's own heartbeat, `heartbeat`.

use std::collections::BTreeMap;

use super::read::Node;
use super::{Problem, schedule_section};
use crate::absence::{Method, Outwards, Target};
use crate::collect::LagLimit;
use crate::model::heartbeat::{HEARTBEATS_MAX, KEPT_MAX, NAME_BYTES_MAX, TAG};
use crate::model::{Heartbeat, Matchers, Schedule, Span, Status, TagValue, Tags};

const SECOND: Span = Span::from_secs(1);
const DAY: Span = Span::from_secs(86_400);
/// Longer, and nobody would remember what was awaited.
const EVERY_MAX: Span = Span::from_secs(366 * 86_400);
const GRACE: (Span, Span, Span) = (Span::MINUTE, Span::ZERO, DAY);
/// Longer, and the alert of one that nobody hears of would be over before.
const FORGET: (Span, Span, Span) =
    (Span::from_secs(7 * 86_400), SECOND, Span::from_secs(365 * 86_400));
const EACH_MAX: (u64, u64, u64) = (1_000, 1, KEPT_MAX as u64);
const STATUSES: [(&str, Status); 4] = [
    ("critical", Status::Critical),
    ("warning", Status::Warning),
    ("unknown", Status::Unknown),
    ("info", Status::Info),
];
const LAG_RECORDS_MAX: u64 = 1_000_000_000_000;
const EVERY_OUTWARDS: (Span, Span, Span) = (Span::MINUTE, SECOND, DAY);
const TIMEOUT: (Span, Span, Span) =
    (Span::from_secs(5), Span::from_millis(100), Span::from_secs(60));
const METHODS: [(&str, Method); 3] =
    [("GET", Method::Get), ("POST", Method::Post), ("HEAD", Method::Head)];

/// Reads `correlate.heartbeats`.
pub(super) fn heartbeats(node: &mut Node<'_>) -> Vec<Heartbeat> {
    let mut heartbeats: Vec<Heartbeat> = Vec::new();
    let tables = node.tables("heartbeats").unwrap_or_default();
    if tables.len() > HEARTBEATS_MAX {
        let rule = format!("has more than {HEARTBEATS_MAX} heartbeats");
        node.broken("heartbeats", Some(&tables.len().to_string()), rule);
    }
    for mut table in tables {
        let heartbeat = heartbeat(&mut table);
        if heartbeats.iter().any(|other| other.name == heartbeat.name) {
            table.broken("name", Some(&heartbeat.name), "is the name of two heartbeats");
        }
        table.finish();
        heartbeats.push(heartbeat);
    }
    heartbeats
}

fn heartbeat(table: &mut Node<'_>) -> Heartbeat {
    let name = table.required("name", "its alert and its address have it").unwrap_or_default();
    if name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        let rule = format!("has more than {NAME_BYTES_MAX} bytes, or a control character in it");
        table.broken("name", Some(&name), rule);
    }
    if !table.has("every") {
        table.missing("every", "say how long a silence may last, such as 5m");
    }
    let every = table.span("every", Span::MINUTE, SECOND, EVERY_MAX);
    let grace = table.span("grace", GRACE.0, GRACE.1, GRACE.2);
    let source = table.text("source");
    let matchers = matchers(table, &name, source.as_deref());
    let each = table.text("each");
    if let Some(each) =
        each.as_deref().filter(|each| ["source", "check", "status", TAG].contains(each))
    {
        table.broken("each", Some(each), "is no tag; name `host` or a tag such as cluster");
    }
    let each_max = table.count("each_max", EACH_MAX.0, EACH_MAX.1, EACH_MAX.2);
    let tags = table.map("tags").into_iter();
    let tags: BTreeMap<Box<str>, TagValue> =
        tags.map(|(name, value)| (name.into(), TagValue::one(&value))).collect();
    let schedule = table.optional_table("schedule").and_then(schedule);
    Heartbeat {
        name: name.into(),
        every,
        grace,
        matchers,
        each: each.map(Into::into),
        each_max: u32::try_from(each_max).unwrap_or(u32::MAX),
        schedule,
        status: table.word("status", Status::Critical, &STATUSES),
        shard: table.text("shard").unwrap_or_else(|| "default".to_owned()).into(),
        tags: Tags::from_map(tags),
        forget_after: table.span("forget_after", FORGET.0, FORGET.1, FORGET.2),
    }
}

/// Which events are beats: of a source, or by matchers, or those that name it.
fn matchers(table: &mut Node<'_>, name: &str, source: Option<&str>) -> Matchers {
    let given = table.has("match");
    let own = table.matchers("match");
    if own.iter().any(|matcher| matcher.name() == "status") {
        let rule = "asks for `status`; an event of any status is a beat, an `ok` above all";
        table.broken("match", None, rule);
    }
    let one = |name: &str, value: &str| {
        let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
        format!("{name}=\"{quoted}\"")
    };
    let mut texts: Vec<String> = own.iter().map(ToString::to_string).collect();
    texts.extend(source.map(|source| one("source", source)));
    if !given && source.is_none() {
        texts.push(one(TAG, name));
    }
    // What was parsed, and what is quoted, parses.
    Matchers::parse(texts.iter().map(String::as_str)).unwrap_or_default()
}

fn schedule(mut table: Node<'_>) -> Option<Schedule> {
    let read = schedule_section::text(&mut table).read_schedule();
    if let Err(problems) = &read {
        for problem in problems {
            table.broken(problem.key, problem.value.as_deref(), problem.rule.clone());
        }
    }
    table.finish();
    read.ok()
}

/// Reads `collect.lag`.
pub(super) fn lag(mut table: Node<'_>) -> LagLimit {
    let default = LagLimit::default();
    let lag = LagLimit {
        records: table.count("records", default.records, 0, LAG_RECORDS_MAX),
        age: table.span("age", default.age, Span::ZERO, DAY),
        status: table.word("status", default.status, &STATUSES),
    };
    table.finish();
    lag
}

/// Reads `heartbeat`: what Muster tells an outside monitor.
pub(super) fn outwards(mut table: Node<'_>) -> Option<Outwards> {
    let url = table.secret("url");
    let file = table.text("url_file");
    let every = table.span("every", EVERY_OUTWARDS.0, EVERY_OUTWARDS.1, EVERY_OUTWARDS.2);
    let timeout = table.span("timeout", TIMEOUT.0, TIMEOUT.1, TIMEOUT.2);
    let method = table.word("method", Method::Get, &METHODS);
    let target = match (url, file) {
        (Some(_), Some(file)) => {
            table.broken("url_file", Some(&file), "is given beside `url`; only one of them may be");
            None
        }
        (Some(url), None) => match Target::check(&url) {
            Ok(()) => Some(Target::Url(url.into())),
            Err(why) => {
                table.broken("url", Some("***"), why);
                None
            }
        },
        (None, Some(file)) => Some(Target::File(file.into())),
        (None, None) => None,
    };
    if timeout > every {
        let rule = format!("is more than `every`, {every}; one would run into the next");
        table.broken("timeout", Some(&timeout.to_string()), rule);
    }
    table.finish();
    Some(Outwards { target: target?, every, timeout, method })
}

/// How many are awaited, for an account of the config.
pub(super) fn summary(heartbeats: &[Heartbeat]) -> String {
    match heartbeats.len() {
        0 => String::new(),
        count => format!("; {count} heartbeats"),
    }
}

/// Whether the file that the address is in can be read.
pub(super) fn unreadable(outwards: Option<&Outwards>) -> Vec<Problem> {
    let Some(Outwards { target: target @ Target::File(path), .. }) = outwards else {
        return Vec::new();
    };
    let Err(why) = target.read() else { return Vec::new() };
    let (key, value) = ("heartbeat.url_file".to_owned(), Some(path.display().to_string()));
    vec![Problem { key, value, rule: why }]
}
