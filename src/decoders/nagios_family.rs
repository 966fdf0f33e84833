//! What the systems that descend from Nagios share: the words of states and notifications, soft and
//! hard states, plugin output, and notifications as a map of macros, whatever carries them.
//!
//! Severity: `CRITICAL` and `DOWN` are critical, `WARNING` is warning, `UNKNOWN` and `UNREACHABLE`
//! are unknown, `OK` and `UP` are over. A number is a service's state (0 to 3) or a host's (0 up, 1
//! down, 2 unreachable).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::{Draft, Failure, Found, Grade, Payload, When, json, macros, times};
use crate::model::Status;

/// Whether a state is a host's or a service's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thing {
    /// A host's.
    Host,
    /// A service's.
    Service,
}

/// What a state means; none for one that is not known yet.
pub(super) fn grade(state: &str, thing: Thing) -> Option<Grade> {
    let state = state.trim();
    if let Some(number) = json::integer(&Value::from(state)) {
        let (word, usual) = match (thing, number) {
            (_, 0) => return Some(Grade::Recovered),
            (Thing::Service, 1) => ("WARNING", Status::Warning),
            (Thing::Service, 2) => ("CRITICAL", Status::Critical),
            (Thing::Host, 1) => ("DOWN", Status::Critical),
            (Thing::Host, 2) => ("UNREACHABLE", Status::Unknown),
            _ => ("UNKNOWN", Status::Unknown),
        };
        return Some(Grade::problem(word, usual));
    }
    let upper = state.to_ascii_uppercase();
    Some(match upper.as_str() {
        "OK" | "UP" | "RECOVERY" | "RECOVERED" | "RESOLVED" => Grade::Recovered,
        "PENDING" | "PEND" => return None,
        "WARNING" | "WARN" => Grade::problem("WARNING", Status::Warning),
        "CRITICAL" | "CRIT" => Grade::problem("CRITICAL", Status::Critical),
        "DOWN" => Grade::problem("DOWN", Status::Critical),
        "UNKNOWN" | "UNKN" => Grade::problem("UNKNOWN", Status::Unknown),
        "UNREACHABLE" | "UNREACH" | "UNR" => Grade::problem("UNREACHABLE", Status::Unknown),
        _ => Grade::word(state),
    })
}

/// What a notification says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// How bad it is.
    Grade(Grade),
    /// Nothing of an alert.
    Nothing(&'static str),
}

/// What a notification of a kind says of a state; none where there is neither that can be used.
///
/// Notices that flapping begins or ends carry the state, and while it flaps no other notification
/// comes: they count by their state. Downtimes change no state.
pub(super) fn told(kind: Option<&str>, state: Option<&str>, thing: Thing) -> Option<Told> {
    let kind: String = kind
        .unwrap_or_default()
        .chars()
        .take_while(|c| *c != '(')
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_uppercase())
        .collect();
    let known = state.map(|state| grade(state, thing));
    if kind.starts_with("DOWNTIME") {
        return Some(Told::Nothing("a notice of a downtime"));
    }
    if kind.starts_with("ALERTHANDLER") {
        return Some(Told::Nothing("a notice of an alert handler"));
    }
    if matches!(
        kind.as_str(),
        "ACKNOWLEDGEMENT" | "ACKNOWLEDGMENT" | "ACK" | "ACKNOWLEDGED" | "ACKNOWLEDGE"
    ) {
        return Some(match known {
            Some(Some(Grade::Recovered)) => Told::Nothing("an acknowledgement of what is well"),
            _ => Told::Grade(Grade::Acknowledged),
        });
    }
    match known {
        Some(Some(grade)) => return Some(Told::Grade(grade)),
        Some(None) => return Some(Told::Nothing("a state that is not known yet")),
        None => {}
    }
    match kind.as_str() {
        "RECOVERY" | "RECOVERED" | "RESOLVED" => Some(Told::Grade(Grade::Recovered)),
        "PROBLEM" => Some(Told::Grade(Grade::problem("PROBLEM", Status::Unknown))),
        "CUSTOM" => Some(Told::Nothing("a notice of a person's")),
        _ if kind.starts_with("FLAPPING") => Some(Told::Nothing("a notice of flapping")),
        _ => None,
    }
}

/// Plugin output for people: without performance data, `\n` as line ends.
pub(super) fn output(text: &str) -> String {
    let text = if text.contains("\\n") {
        Cow::Owned(text.replace("\\n", "\n"))
    } else {
        Cow::Borrowed(text)
    };
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.lines().enumerate() {
        let (shown, data) = match line.split_once('|') {
            Some((shown, _)) => (shown, true),
            None => (line, false),
        };
        if index > 0 {
            out.push('\n');
        }
        out += shown.trim_end();
        // After the second `|` there is nothing but data.
        if data && index > 0 {
            break;
        }
    }
    out.trim().to_owned()
}

/// A notification's macros, by their plain names: `NAGIOS_HOSTNAME`, `NOTIFY_HOSTNAME`, `host_name`
/// and `host: {name}` are all `hostname`.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    named: BTreeMap<String, Cow<'a, str>>,
    /// Tags under their own names: from `tags`, `labels`, `vars`, and custom variables.
    tags: Vec<(String, Vec<String>)>,
}

impl<'a> Fields<'a> {
    /// Those of a JSON object.
    pub(super) fn of(object: &'a json::Object) -> Self {
        let mut fields = Self::default();
        for (name, value) in object {
            match value {
                Value::Object(inner) if is_bag(name) => inner.iter().for_each(|(name, value)| {
                    fields.bag(name, value);
                }),
                Value::Object(inner) => {
                    for (below, value) in inner {
                        if let Some(text) = json::scalar(value) {
                            fields.add(&format!("{name}{below}"), text);
                        }
                    }
                }
                Value::Array(list) if is_bag(name) => fields.bag(name, &Value::Array(list.clone())),
                Value::Array(list) => {
                    let texts: Vec<Cow<'_, str>> = list.iter().filter_map(json::scalar).collect();
                    if !texts.is_empty() {
                        fields.add(name, Cow::Owned(texts.join(",")));
                    }
                }
                _ => {
                    if let Some(text) = json::scalar(value) {
                        fields.add(name, text);
                    }
                }
            }
        }
        fields
    }

    /// Adds a macro, unless it is empty or was not expanded; the first of a name counts.
    pub(super) fn add(&mut self, name: &str, value: Cow<'a, str>) {
        let Some(present) = macros::present(&value) else { return };
        if let Some(tag) = custom(name) {
            self.tags.push((tag, vec![present.to_owned()]));
            return;
        }
        let value =
            if present.len() == value.len() { value } else { Cow::Owned(present.to_owned()) };
        self.named.entry(plain(name)).or_insert(value);
    }

    fn bag(&mut self, name: &str, value: &Value) {
        let values: Vec<String> = match value {
            Value::Array(list) => {
                list.iter().filter_map(json::scalar).map(Cow::into_owned).collect()
            }
            value => json::scalar(value).map(Cow::into_owned).into_iter().collect(),
        };
        if !values.is_empty() {
            self.tags.push((name.to_owned(), values));
        }
    }

    /// The first of several names that is there.
    pub(super) fn first(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.named.get(*name)).map(AsRef::as_ref)
    }

    /// The first of several names that is a time; `Unread` where there are only others.
    pub(super) fn time(&self, names: &[&str], payload: &Payload<'_>) -> Option<When> {
        let mut unread = None;
        for name in names {
            match self.named.get(*name).and_then(|text| times::text(text, payload)) {
                Some(When::Unread) => unread = Some(When::Unread),
                Some(at) => return Some(at),
                None => {}
            }
        }
        unread
    }

    /// The tags under their own names.
    pub(super) fn tag(&self, draft: &mut Draft) {
        for (name, values) in &self.tags {
            draft.tag_list(name, values.iter().map(String::as_str));
        }
    }
}

/// Objects whose fields are tags.
fn is_bag(name: &str) -> bool {
    matches!(
        name.to_ascii_lowercase().as_str(),
        "tags"
            | "labels"
            | "vars"
            | "custom"
            | "custom_variables"
            | "host_labels"
            | "service_labels"
    )
}

fn plain(name: &str) -> String {
    let mut plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    for prefix in ["nagios", "naemon", "icinga", "notify"] {
        if let Some(rest) = plain.strip_prefix(prefix).filter(|rest| !rest.is_empty()) {
            plain = rest.to_owned();
            break;
        }
    }
    plain
}

/// The tag of a custom variable (`_HOSTRACK`, `_SERVICETEAM`) or a label (`HOSTLABEL_os`).
fn custom(name: &str) -> Option<String> {
    let mut name = name.trim_matches('$');
    for prefix in ["NOTIFY_", "NAGIOS_", "ICINGA_"] {
        name = name.strip_prefix(prefix).unwrap_or(name);
    }
    for prefix in ["HOSTLABEL_", "SERVICELABEL_", "HOSTTAG_", "_HOST", "_SERVICE"] {
        if let Some(rest) = name.strip_prefix(prefix).filter(|rest| !rest.is_empty()) {
            return Some(rest.trim_start_matches('_').to_ascii_lowercase());
        }
    }
    None
}

/// A notification as a map of macros: what a notification script knows.
///
/// # Errors
/// When it names neither host nor service, or neither a state nor a kind of notification.
pub(super) fn notification(fields: &Fields<'_>, payload: &Payload<'_>) -> Result<Found, Failure> {
    let mut what = fields.first(&["what", "objecttype", "object"]);
    let mut kind = fields.first(&["notificationtype", "type", "notification", "kind"]);
    if let Some(word) = kind.filter(|kind| is_thing(kind)) {
        what = what.or(Some(word));
        kind = None;
    }
    let check = fields.first(&[
        "servicedesc",
        "servicename",
        "servicedescription",
        "service",
        "check",
        "checkname",
        "servicedisplayname",
    ]);
    let thing = match what.filter(|what| is_thing(what)) {
        Some(what) if what.eq_ignore_ascii_case("host") => Thing::Host,
        Some(_) => Thing::Service,
        None if check.is_some() => Thing::Service,
        None => Thing::Host,
    };
    let check = check.filter(|_| thing == Thing::Service);
    let host = fields.first(&[
        "hostname",
        "host",
        "hostdisplayname",
        "hostalias",
        "hostaddress",
        "address",
    ]);
    if host.is_none() && check.is_none() {
        return Err(Failure::shape(
            "neither a host (`host`, `HOSTNAME`) nor a service (`check`, `SERVICEDESC`) is named",
        ));
    }
    // `CRIT -> OK`, as some scripts of Checkmk's users write it.
    let event = fields.first(&["event", "eventtxt"]).and_then(|event| event.split_once("->"));
    let state = match thing {
        Thing::Service => fields.first(&[
            "servicestate",
            "serviceshortstate",
            "state",
            "status",
            "servicestateid",
            "stateid",
        ]),
        Thing::Host => fields.first(&[
            "hoststate",
            "hostshortstate",
            "state",
            "status",
            "hoststateid",
            "stateid",
        ]),
    };
    let state = state.or_else(|| event.and_then(|(_, after)| macros::present(after)));
    let told = told(kind, state, thing).ok_or_else(|| {
        Failure::shape(
            "no state (`state`, `SERVICESTATE`, `HOSTSTATE`) and no kind of notification",
        )
    })?;
    let grade = match told {
        Told::Grade(grade) => grade,
        Told::Nothing(why) => return Ok(Found::Nothing(why.to_owned())),
    };
    let mut draft = Draft::new(grade);
    draft.host = host.map(str::to_owned);
    // Without its name it must not be taken for its host.
    let unnamed = (thing == Thing::Service).then_some("service");
    draft.check = check.or(unnamed).map(str::to_owned);
    draft.at = time(fields, thing, payload);
    draft.description = description(fields, thing, &draft.grade);
    let state_type = match thing {
        Thing::Service => fields.first(&["servicestatetype", "statetype"]),
        Thing::Host => fields.first(&["hoststatetype", "statetype"]),
    };
    draft.soft = state_type.is_some_and(is_soft);
    draft.id = fields
        .first(&["serviceproblemid", "hostproblemid", "problemid"])
        .filter(|id| *id != "0")
        .map(str::to_owned);
    describe(fields, thing, &mut draft);
    Ok(draft.into())
}

fn is_thing(word: &str) -> bool {
    ["host", "service", "svc"].iter().any(|thing| thing.eq_ignore_ascii_case(word.trim()))
}

/// Whether a word for a type of state says that it is soft.
pub(super) fn is_soft(word: &str) -> bool {
    matches!(word.trim(), "0" | "0.0") || word.trim().eq_ignore_ascii_case("soft")
}

fn time(fields: &Fields<'_>, thing: Thing, payload: &Payload<'_>) -> Option<When> {
    let changed = match thing {
        Thing::Service => "lastservicestatechange",
        Thing::Host => "lasthoststatechange",
    };
    let names = [
        "microtime",
        "timet",
        "timestamp",
        "time",
        "eventtime",
        "longdatetime",
        "datetime",
        "date",
        "shortdatetime",
        changed,
    ];
    fields.time(&names, payload)
}

fn description(fields: &Fields<'_>, thing: Thing, grade: &Grade) -> String {
    let comment =
        fields.first(&["notificationcomment", "comment", "servicecomment", "hostcomment"]);
    let author = fields.first(&[
        "notificationauthoralias",
        "notificationauthorname",
        "notificationauthor",
        "author",
        "serviceackauthor",
        "hostackauthor",
    ]);
    if *grade == Grade::Acknowledged {
        match (author, comment) {
            (Some(author), Some(comment)) => return format!("{author}: {comment}"),
            (None, Some(comment)) => return comment.to_owned(),
            _ => {}
        }
    }
    let (short, long): (&[&str], &[&str]) = match thing {
        Thing::Service => (
            &[
                "serviceoutput",
                "output",
                "pluginoutput",
                "info",
                "additionalinfo",
                "message",
                "text",
            ],
            &["longserviceoutput", "longoutput"],
        ),
        Thing::Host => (
            &["hostoutput", "output", "pluginoutput", "info", "additionalinfo", "message", "text"],
            &["longhostoutput", "longoutput"],
        ),
    };
    let mut text = fields.first(short).map(output).unwrap_or_default();
    if let Some(long) = fields.first(long).map(output).filter(|long| !long.is_empty())
        && !text.ends_with(long.as_str())
    {
        if !text.is_empty() {
            text.push('\n');
        }
        text += &long;
    }
    text
}

/// Tags and links: only what holds still while a problem lasts.
fn describe(fields: &Fields<'_>, thing: Thing, draft: &mut Draft) {
    let other = |name: Option<&str>, own: Option<&String>| -> Option<String> {
        name.filter(|name| Some(*name) != own.map(String::as_str)).map(str::to_owned)
    };
    let alias = other(fields.first(&["hostalias", "alias"]), draft.host.as_ref());
    let display = other(fields.first(&["hostdisplayname"]), draft.host.as_ref())
        .filter(|name| alias.as_ref() != Some(name));
    let service = other(fields.first(&["servicedisplayname"]), draft.check.as_ref());
    draft.tag("address", fields.first(&["hostaddress", "address", "hostaddress4", "hostaddress6"]));
    draft.tag("alias", alias.as_deref());
    draft.tag("host_display_name", display.as_deref());
    draft.tag("check_display_name", service.as_deref().filter(|_| thing == Thing::Service));
    draft.tag("site", fields.first(&["omdsite", "site"]));
    let name_list = |names: &[&str]| -> Vec<String> {
        let text = fields.first(names).unwrap_or_default();
        text.split(',').map(|name| name.trim().to_owned()).collect()
    };
    let groups = name_list(&["hostgroupnames", "hostgroups", "hostgroupname"]);
    draft.tag_list("hostgroups", groups.iter().map(String::as_str));
    if thing == Thing::Service {
        let groups = name_list(&["servicegroupnames", "servicegroups", "servicegroupname"]);
        draft.tag_list("servicegroups", groups.iter().map(String::as_str));
    }
    for name in ["cluster", "env", "environment", "team", "region", "location", "application"] {
        draft.tag(name, fields.first(&[name]));
    }
    fields.tag(draft);
    let of = |service: &[&str], host: &[&str], both: &[&str]| -> Option<String> {
        let own = if thing == Thing::Service { fields.first(service) } else { None };
        own.or_else(|| fields.first(host)).or_else(|| fields.first(both)).map(str::to_owned)
    };
    let notes = of(&["servicenotesurl"], &["hostnotesurl"], &["notesurl", "runbook", "runbookurl"]);
    draft.link("notes", notes.as_deref());
    let action = of(&["serviceactionurl"], &["hostactionurl"], &["actionurl"]);
    draft.link("action", action.as_deref());
    let page = of(&["serviceinfourl", "serviceurl"], &["hostinfourl", "hosturl"], &["url", "link"]);
    draft.link("page", page.as_deref());
}

/// The text of a notification mail, with its subject where there is one; none where it is no such
/// mail.
pub(super) fn mail<'a>(subject: Option<&str>, body: &'a str) -> Option<Fields<'a>> {
    let mut fields = Fields::default();
    let mut output = String::new();
    let mut in_output = false;
    for line in body.lines() {
        let line = line.trim();
        if in_output {
            output += line;
            output.push('\n');
            continue;
        }
        let Some((label, value)) = line.split_once(':') else { continue };
        let (value, label) = (value.trim(), label.trim().trim_matches('*').to_ascii_lowercase());
        let name = match label.as_str() {
            "notification type" => "notificationtype",
            "service" => "servicedesc",
            "host" => "hostname",
            "address" | "ipv4" | "ipv6" => "address",
            "host alias" | "alias" => "hostalias",
            "state" | "service state" | "host state" => "state",
            "date/time" | "when" | "date" | "event time" => "longdatetime",
            "info" | "output" => "output",
            "comment" | "comments" => "comment",
            "author" => "author",
            "additional info" | "additional information" => {
                in_output = true;
                if !value.is_empty() {
                    output += value;
                    output.push('\n');
                }
                continue;
            }
            _ => continue,
        };
        // Icinga writes the shown name behind the name.
        let value = value.split(" (Display Name:").next().unwrap_or(value).trim();
        fields.add(name, Cow::Borrowed(value));
    }
    if !output.trim().is_empty() {
        fields.add("output", Cow::Owned(output));
    }
    let headline = subject.into_iter().chain(body.lines().map(str::trim));
    for line in headline.take(20) {
        if fields.first(&["hostname"]).is_some() && fields.first(&["state"]).is_some() {
            break;
        }
        self::headline(line, &mut fields);
    }
    if let Some(kind) = subject.and_then(|subject| subject.strip_prefix('['))
        && let Some((kind, _)) = kind.split_once(']')
    {
        fields.add("notificationtype", Cow::Owned(kind.to_owned()));
    }
    let known = fields.first(&["hostname", "servicedesc"]).is_some()
        && fields.first(&["state", "notificationtype"]).is_some();
    known.then_some(fields)
}

/// Subjects: `** PROBLEM Service Alert: web-1/disk is CRITICAL **`, `** RECOVERY Host Alert: web-1 is
/// UP **`, and Icinga's `[PROBLEM] disk on web-1 is CRITICAL!`, `[PROBLEM] Host web-1 is DOWN!`.
fn headline(line: &str, fields: &mut Fields<'_>) {
    let line = line.trim().trim_matches('*').trim().trim_end_matches('!');
    let mut add = |name: &str, value: &str| fields.add(name, Cow::Owned(value.to_owned()));
    let Some((rest, state)) = line.rsplit_once(" is ") else { return };
    let state = state.trim().trim_end_matches('*').trim();
    if !state.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return;
    }
    if let Some((kind, what)) = rest.split_once(" Service Alert: ") {
        add("notificationtype", kind);
        if let Some((host, service)) = what.split_once('/') {
            add("hostname", host);
            add("servicedesc", service);
        }
    } else if let Some((kind, host)) = rest.split_once(" Host Alert: ") {
        add("notificationtype", kind);
        add("hostname", host);
    } else {
        let rest = match rest.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
            Some((kind, rest)) => {
                add("notificationtype", kind);
                rest
            }
            None => rest,
        };
        if let Some((service, host)) = rest.rsplit_once(" on ") {
            add("hostname", host);
            add("servicedesc", service);
        } else if let Some(host) = rest.strip_prefix("Host ") {
            add("hostname", host);
        } else {
            return;
        }
    }
    add("state", state);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(state: &str, thing: Thing) -> Option<String> {
        grade(state, thing).map(|grade| match grade {
            Grade::Recovered => "over".to_owned(),
            Grade::Acknowledged => "acknowledged".to_owned(),
            Grade::Problem { usual, .. } => usual.as_str().to_owned(),
        })
    }

    #[test]
    fn states_of_hosts_and_services_differ_in_their_numbers_only() {
        let say = |state, thing| word(state, thing).unwrap_or_default();
        assert_eq!(say("2", Thing::Service), "critical");
        assert_eq!(say("2", Thing::Host), "unknown");
        assert_eq!(say("1", Thing::Host), "critical");
        assert_eq!(say("1.0", Thing::Service), "warning");
        assert_eq!(say("0", Thing::Host), "over");
        assert_eq!(say("-1", Thing::Service), "unknown");
        for thing in [Thing::Host, Thing::Service] {
            assert_eq!(say("UP", thing), "over");
            assert_eq!(say("crit", thing), "critical");
            assert_eq!(say("UNREACHABLE", thing), "unknown");
            assert_eq!(say("odd", thing), "unknown");
            assert_eq!(word("PENDING", thing), None);
        }
    }

    #[test]
    fn output_loses_its_performance_data_and_no_more() {
        assert_eq!(output("DISK OK - 3% | /=5MB;1;2"), "DISK OK - 3%");
        assert_eq!(output("a | p=1\\nb\\nc | q=2\\nr=3"), "a\nb\nc");
        assert_eq!(output("a\nb"), "a\nb");
        assert_eq!(output("|x=1"), "");
    }

    #[test]
    fn the_state_counts_before_the_kind() {
        let is = |kind, state| told(Some(kind), state, Thing::Service);
        assert_eq!(is("RECOVERY", Some("OK")), Some(Told::Grade(Grade::Recovered)));
        assert!(matches!(
            is("RECOVERY", Some("CRITICAL")),
            Some(Told::Grade(Grade::Problem { .. }))
        ));
        assert!(matches!(
            is("FlappingStart", Some("WARNING")),
            Some(Told::Grade(Grade::Problem { .. }))
        ));
        assert_eq!(is("FLAPPINGSTOP (OK)", Some("OK")), Some(Told::Grade(Grade::Recovered)));
        assert_eq!(is("ACKNOWLEDGEMENT", Some("CRITICAL")), Some(Told::Grade(Grade::Acknowledged)));
        assert!(matches!(is("DOWNTIMESTART", Some("CRITICAL")), Some(Told::Nothing(_))));
        assert_eq!(is("RECOVERY", None), Some(Told::Grade(Grade::Recovered)));
        assert_eq!(is("whatever", None), None);
    }
}
