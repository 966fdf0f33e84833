//! Lines: of `nagios.log`, of the external command file, and what `send_nsca` reads.

use std::collections::BTreeMap;

use super::super::nagios_family::{self, Thing, Told};
use super::super::{Draft, Failure, Found, Grade, Payload, When, macros, times};

/// A line's kind in the log and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `host;service;STATE;SOFT|HARD;attempt;output`, without the service for hosts.
    Alert(Thing),
    /// `contact;host;service;STATE;command;output`.
    Notification(Thing),
    /// `host;service;code;output`.
    Passive(Thing),
    /// An external command.
    Command,
    /// What says nothing of a state.
    Nothing(&'static str),
}

const KINDS: [(&str, Kind); 25] = [
    ("SERVICE ALERT", Kind::Alert(Thing::Service)),
    ("HOST ALERT", Kind::Alert(Thing::Host)),
    ("CURRENT SERVICE STATE", Kind::Alert(Thing::Service)),
    ("CURRENT HOST STATE", Kind::Alert(Thing::Host)),
    ("INITIAL SERVICE STATE", Kind::Alert(Thing::Service)),
    ("INITIAL HOST STATE", Kind::Alert(Thing::Host)),
    ("SERVICE NOTIFICATION", Kind::Notification(Thing::Service)),
    ("HOST NOTIFICATION", Kind::Notification(Thing::Host)),
    ("PASSIVE SERVICE CHECK", Kind::Passive(Thing::Service)),
    ("PASSIVE HOST CHECK", Kind::Passive(Thing::Host)),
    ("EXTERNAL COMMAND", Kind::Command),
    ("SERVICE FLAPPING ALERT", Kind::Nothing("a notice of flapping")),
    ("HOST FLAPPING ALERT", Kind::Nothing("a notice of flapping")),
    ("SERVICE DOWNTIME ALERT", Kind::Nothing("a notice of a downtime")),
    ("HOST DOWNTIME ALERT", Kind::Nothing("a notice of a downtime")),
    ("SERVICE ACKNOWLEDGE ALERT", Kind::Nothing("a notice of an acknowledgement's state")),
    ("HOST ACKNOWLEDGE ALERT", Kind::Nothing("a notice of an acknowledgement's state")),
    ("ACKNOWLEDGE_SVC_PROBLEM", Kind::Nothing("a notice of an acknowledgement")),
    ("SERVICE EVENT HANDLER", Kind::Nothing("a notice of an event handler")),
    ("HOST EVENT HANDLER", Kind::Nothing("a notice of an event handler")),
    ("GLOBAL SERVICE EVENT HANDLER", Kind::Nothing("a notice of an event handler")),
    ("GLOBAL HOST EVENT HANDLER", Kind::Nothing("a notice of an event handler")),
    ("TIMEPERIOD TRANSITION", Kind::Nothing("a notice of a time period")),
    ("LOG ROTATION", Kind::Nothing("a notice of the log's rotation")),
    ("LOG VERSION", Kind::Nothing("a notice of the log's version")),
];

/// A line's parts: when, and what follows.
struct Line<'a> {
    /// Seconds since 1970 in brackets, or the time of syslog.
    at: Option<&'a str>,
    /// Whether the time is in brackets.
    bracketed: bool,
    rest: &'a str,
}

fn parts(line: &str) -> Line<'_> {
    let line = line.trim();
    if let Some((time, rest)) = line.strip_prefix('[').and_then(|line| line.split_once(']'))
        && time.len() >= 9
        && time.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return Line { at: Some(time), bracketed: true, rest: rest.trim_start() };
    }
    // `Nov 24 10:15:07 mon nagios[812]: …`, with or without a priority.
    let (head, rest) = line.split_once(": ").unwrap_or(("", line));
    let program = head.rsplit(' ').next().unwrap_or_default().split('[').next().unwrap_or_default();
    if matches!(program, "nagios" | "naemon" | "icinga" | "shinken" | "nagios4") {
        let head = match head.strip_prefix('<').and_then(|head| head.split_once('>')) {
            Some((_, head)) => head,
            None => head,
        };
        let stamp = head.split(' ').next().filter(|word| word.contains('T'));
        return Line { at: stamp.or_else(|| head.get(..15)), bracketed: false, rest };
    }
    Line { at: None, bracketed: false, rest: line }
}

fn kind(rest: &str) -> Option<(Kind, &str)> {
    let (word, fields) = rest.split_once(':')?;
    let (_, kind) = KINDS.iter().find(|(name, _)| *name == word.trim())?;
    Some((*kind, fields.trim_start()))
}

/// A command's name, where the text begins with one.
fn command(rest: &str) -> Option<&str> {
    let name = rest.split(';').next().unwrap_or_default();
    let known = name.len() > 5
        && name.contains('_')
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    (known && rest.contains(';')).then_some(name)
}

/// The fields of `send_nsca`: host, service where it is none of a host, code, output.
fn tabs(line: &str) -> Option<(Thing, Vec<&str>)> {
    let fields: Vec<&str> = line.split('\t').take(5).collect();
    let code = |at: usize| {
        fields.get(at).is_some_and(|code| code.trim().parse::<u8>().is_ok_and(|code| code < 10))
    };
    match fields.len() {
        3 if code(1) => Some((Thing::Host, fields)),
        4.. if code(2) => Some((Thing::Service, line.splitn(4, '\t').collect())),
        _ => None,
    }
}

/// Whether a line is one of those that are read here.
pub(super) fn is_line(line: &str) -> bool {
    let line = line.lines().next().unwrap_or_default();
    let parts = parts(line);
    (parts.bracketed && !parts.rest.is_empty())
        || kind(parts.rest).is_some()
        || command(parts.rest).is_some()
        || tabs(line).is_some()
}

/// What lines told last: of host, service and whether it is an acknowledgement the state's word.
pub(super) type Seen = BTreeMap<(String, Option<String>, bool), String>;

/// Reads a line.
pub(super) fn line(line: &str, payload: &Payload<'_>, seen: &mut Seen) -> Result<Found, Failure> {
    if let Some((thing, fields)) = tabs(line) {
        return passive(thing, &fields, None);
    }
    let parts = parts(line);
    let at = parts.at.and_then(|time| times::text(time, payload));
    let found = match kind(parts.rest) {
        Some((Kind::Alert(thing), fields)) => alert(thing, fields, at)?,
        Some((Kind::Notification(thing), fields)) => {
            let found = notification(thing, fields, at)?;
            // An alert is told once more to each contact.
            if let Found::Event(draft) = &found
                && seen.get(&identity(draft)).is_some_and(|word| word == state(&draft.grade))
            {
                return Ok(Found::Nothing("a notification of what another line says".to_owned()));
            }
            found
        }
        Some((Kind::Passive(thing), fields)) => {
            let count = if thing == Thing::Service { 4 } else { 3 };
            passive(thing, &fields.splitn(count, ';').collect::<Vec<_>>(), at)?
        }
        Some((Kind::Command, fields)) => external(fields, at)?,
        Some((Kind::Nothing(why), _)) => Found::Nothing(why.to_owned()),
        None if command(parts.rest).is_some() => external(parts.rest, at)?,
        None if parts.bracketed && !parts.rest.is_empty() => {
            Found::Nothing("a line of the log that is no alert".to_owned())
        }
        None => {
            return Err(Failure::shape(
                "no line of nagios.log (`[time] SERVICE ALERT: …`) and no external command",
            ));
        }
    };
    if let Found::Event(draft) = &found
        && !draft.soft
    {
        seen.insert(identity(draft), state(&draft.grade).to_owned());
    }
    Ok(found)
}

fn identity(draft: &Draft) -> (String, Option<String>, bool) {
    let acknowledged = draft.grade == Grade::Acknowledged;
    (draft.host.clone().unwrap_or_default(), draft.check.clone(), acknowledged)
}

fn state(grade: &Grade) -> &str {
    match grade {
        Grade::Recovered => "",
        Grade::Acknowledged => "acknowledged",
        Grade::Problem { word, .. } => word,
    }
}

fn alert(thing: Thing, fields: &str, at: Option<When>) -> Result<Found, Failure> {
    let mut fields = fields.splitn(if thing == Thing::Service { 6 } else { 5 }, ';');
    let (host, check) = names(thing, &mut fields)?;
    let state = fields.next().and_then(macros::present).ok_or_else(|| {
        Failure::shape(
            "an alert's line without a state; expected `host;service;STATE;HARD;1;output`",
        )
    })?;
    let soft = fields.next().is_some_and(nagios_family::is_soft);
    let output = fields.nth(1).unwrap_or_default();
    Ok(event(thing, (host, check), (None, Some(state)), output, at, soft))
}

fn notification(thing: Thing, fields: &str, at: Option<When>) -> Result<Found, Failure> {
    let mut fields = fields.splitn(if thing == Thing::Service { 6 } else { 5 }, ';');
    // Whom it went to.
    fields.next();
    let (host, check) = names(thing, &mut fields)?;
    let state = fields.next().and_then(macros::present).ok_or_else(|| {
        Failure::shape(
            "a notification's line without a state; expected `contact;host;service;STATE;command;output`",
        )
    })?;
    // `CRITICAL`, or `ACKNOWLEDGEMENT (CRITICAL)`.
    let (kind, state) = match state.split_once('(') {
        Some((kind, state)) => (Some(kind.trim()), state.trim_end_matches(')').trim()),
        None => (None, state),
    };
    let output = fields.nth(1).unwrap_or_default();
    Ok(event(thing, (host, check), (kind, Some(state)), output, at, false))
}

fn names<'a>(
    thing: Thing,
    fields: &mut impl Iterator<Item = &'a str>,
) -> Result<(&'a str, Option<&'a str>), Failure> {
    let host = fields.next().and_then(macros::present);
    let host = host.ok_or_else(|| Failure::shape("a line without the name of a host"))?;
    if thing == Thing::Host {
        return Ok((host, None));
    }
    let check = fields.next().and_then(macros::present);
    let check = check.ok_or_else(|| Failure::shape("a line without the name of a service"))?;
    Ok((host, Some(check)))
}

/// The result of a passive check: host, service where it is none of a host, code, output.
pub(super) fn passive(thing: Thing, fields: &[&str], at: Option<When>) -> Result<Found, Failure> {
    let mut fields = fields.iter().copied();
    let (host, mut check) = names(thing, &mut fields)?;
    let state = fields.next().and_then(macros::present).ok_or_else(|| {
        Failure::shape("a check's result without a code; expected `host;service;code;output`")
    })?;
    let mut thing = thing;
    if check.is_some_and(|check| check.eq_ignore_ascii_case("__HOST__")) {
        (check, thing) = (None, Thing::Host);
    }
    Ok(event(
        thing,
        (host, check),
        (None, Some(state)),
        fields.next().unwrap_or_default(),
        at,
        false,
    ))
}

fn external(text: &str, at: Option<When>) -> Result<Found, Failure> {
    let (name, rest) = text.split_once(';').unwrap_or((text, ""));
    let counted = |count: usize| rest.splitn(count, ';').collect::<Vec<_>>();
    match name.trim() {
        "PROCESS_SERVICE_CHECK_RESULT" => passive(Thing::Service, &counted(4), at),
        "PROCESS_HOST_CHECK_RESULT" => passive(Thing::Host, &counted(3), at),
        name @ ("ACKNOWLEDGE_SVC_PROBLEM"
        | "ACKNOWLEDGE_HOST_PROBLEM"
        | "ACKNOWLEDGE_SVC_PROBLEM_EXPIRE"
        | "ACKNOWLEDGE_HOST_PROBLEM_EXPIRE") => {
            let thing = if name.contains("_SVC_") { Thing::Service } else { Thing::Host };
            let expires = usize::from(name.ends_with("_EXPIRE"));
            let mut fields =
                rest.splitn(if thing == Thing::Service { 7 } else { 6 } + expires, ';');
            let names = names(thing, &mut fields)?;
            // Sticky, notify, persistent and the end; then who and why.
            let author = fields.nth(3 + expires).unwrap_or_default();
            let text = match fields.next() {
                Some(comment) => format!("{author}: {comment}"),
                None => author.to_owned(),
            };
            Ok(event(thing, names, (Some("ACKNOWLEDGEMENT"), None), &text, at, false))
        }
        _ => Ok(Found::Nothing("a command that is no check's result".to_owned())),
    }
}

fn event(
    thing: Thing,
    (host, check): (&str, Option<&str>),
    (kind, state): (Option<&str>, Option<&str>),
    output: &str,
    at: Option<When>,
    soft: bool,
) -> Found {
    let grade = match nagios_family::told(kind, state, thing) {
        Some(Told::Grade(grade)) => grade,
        Some(Told::Nothing(why)) => return Found::Nothing(why.to_owned()),
        None => return Found::Nothing("a line without a state".to_owned()),
    };
    let mut draft = Draft::new(grade);
    draft.host = Some(host.to_owned());
    draft.check = check.map(str::to_owned);
    draft.at = at;
    draft.soft = soft;
    draft.description = nagios_family::output(output);
    draft.into()
}
