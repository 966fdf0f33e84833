//! Correlate's rows in `muster.state`. Version 1 of each.
//!
//! The key's first letter is the row's kind and never changes its meaning: `a` alert, `b` how often
//! an identity fires, `c` a command's result, `g` part of a topology, `i` incident, `m` maintenance
//! plan, or, alone, how far a sweep is, `h` heartbeat, or, alone, how collect is, `o` remembered ok, `s` settings in force, `t` the log's time, `u` how to undo a command.
//! What follows it is the row's id.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::common::{by_way_of, is_false, nothing, unknown, unread};
use super::heartbeat::{self, Watched};
use super::maintenance::{self, StoredPlan, Sweep};
use super::topology::{self, Part};
use super::{WireError, command, request, to_vec};
use crate::model::alert::MoveKind;
use crate::model::command::{Snoozed, Undoable};
use crate::model::event::{Identity, Links};
use crate::model::incident::{Acknowledged, Gone};
use crate::model::{
    Alert, AlertId, Beating, CommandResult, Flaps, Hold, Incident, IncidentId, Maintained, Pair,
    Rate, Resolution, Status, Tags, Timestamp, Why,
};

const VERSION: u8 = 1;

/// The time of an `ok` for an identity that had no alert, kept so that an older problem that
/// arrives after it stays closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RememberedOk {
    /// Whose.
    pub identity: Identity,
    /// By event time.
    pub at: Timestamp,
    /// The append time of its record.
    pub appended_at: Timestamp,
}

/// How far a partition's log was read; one a partition, written with every commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// The largest append time seen.
    pub now: Timestamp,
    /// How many commits there were: a gap or a repeat shows a torn transaction.
    pub commits: u64,
    /// The offset of the last record applied.
    pub offset: i64,
}

/// Any row of correlate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorrelateRow {
    /// An alert.
    Alert(Box<Alert>),
    /// An incident.
    Incident(Box<Incident>),
    /// A remembered ok.
    Ok(RememberedOk),
    /// A maintenance plan that somebody asked for.
    Plan(Box<StoredPlan>),
    /// How far the alerts were held against changed plans.
    Sweep(Sweep),
    /// A heartbeat, or one value of it.
    Heartbeat(Box<Beating>),
    /// Whether collect reads what is sent.
    Watched(Watched),
    /// What became of a command.
    Result(Box<CommandResult>),
    /// How to undo a command.
    Undoable(Box<Undoable>),
    /// The settings record in force, as it came.
    Settings(Vec<u8>),
    /// How often an identity fires.
    Rate(Rate),
    /// How far the log was read.
    Mark(Mark),
    /// A part of a topology, as it came.
    Topology(Part),
}

/// The key of an alert's row.
#[must_use]
pub fn alert_key(id: AlertId) -> Vec<u8> {
    format!("a/{id}").into_bytes()
}

/// The key of an incident's row.
#[must_use]
pub fn incident_key(id: IncidentId) -> Vec<u8> {
    format!("i/{id}").into_bytes()
}

/// The key of a remembered ok.
#[must_use]
pub fn ok_key(identity: &Identity) -> Vec<u8> {
    let mut key = b"o/".to_vec();
    // Lengths keep parts with odd characters apart.
    for part in identity.parts() {
        key.extend_from_slice(part.len().to_string().as_bytes());
        key.push(b':');
        key.extend_from_slice(part.as_bytes());
    }
    key
}

/// The key of how often an identity fires.
#[must_use]
pub fn rate_key(identity: &Identity) -> Vec<u8> {
    let mut key = ok_key(identity);
    key[0] = b'b';
    key
}

/// The key of the settings in force.
pub const SETTINGS_KEY: &[u8] = b"s/settings";

/// The key of the mark.
pub const MARK_KEY: &[u8] = b"t/mark";

by_way_of!(Identity, WireIdentity);

#[derive(Serialize, Deserialize)]
struct WireIdentity<'a> {
    source: Cow<'a, Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Cow<'a, Box<str>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<Cow<'a, Box<str>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<Cow<'a, Box<str>>>,
}

impl<'a> From<&'a Identity> for WireIdentity<'a> {
    fn from(identity: &'a Identity) -> Self {
        let some = |text| Some(Cow::Borrowed(text));
        match identity {
            Identity::Check { source, host, check } => Self {
                source: Cow::Borrowed(source),
                key: None,
                host: some(host),
                check: some(check),
            },
            Identity::Key { source, key } => {
                Self { source: Cow::Borrowed(source), key: some(key), host: None, check: None }
            }
        }
    }
}

impl From<WireIdentity<'_>> for Identity {
    fn from(wire: WireIdentity<'_>) -> Self {
        let source = wire.source.into_owned();
        let own = |text: Option<Cow<'_, Box<str>>>| text.map(Cow::into_owned).unwrap_or_default();
        match wire.key {
            Some(key) => Self::Key { source, key: key.into_owned() },
            None => Self::Check { source, host: own(wire.host), check: own(wire.check) },
        }
    }
}

#[derive(Serialize, Deserialize)]
struct WireAlert<'a> {
    v: u8,
    id: AlertId,
    identity: Cow<'a, Identity>,
    shard: Cow<'a, Box<str>>,
    incident: IncidentId,
    host: Cow<'a, Box<str>>,
    check: Cow<'a, Box<str>>,
    status: Status,
    /// Rows from before there was flapping have neither this nor `flapping`.
    #[serde(default, skip_serializing_if = "nothing")]
    status_changes: Cow<'a, [Timestamp]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flapping: Option<WireFlaps>,
    /// Rows from before there was maintenance do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    maintenance: Option<Cow<'a, Maintained>>,
    description: Cow<'a, Box<str>>,
    tags: Cow<'a, Tags>,
    links: Cow<'a, Links>,
    started_at: Timestamp,
    changed_at: Timestamp,
    newest: Timestamp,
    alive_until: Timestamp,
    /// Left out where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restated_at: Option<Timestamp>,
    appended_at: Timestamp,
    events: u64,
    acknowledged: bool,
    resolved: Option<(Timestamp, Resolution)>,
    why: Cow<'a, Why>,
    /// Left out where it is not.
    #[serde(default, skip_serializing_if = "is_false")]
    chronic: bool,
}

#[derive(Serialize, Deserialize)]
struct WireFlaps {
    since: Timestamp,
    said: Status,
    calm_at: Timestamp,
    calm_due: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct WireIncident<'a> {
    v: u8,
    id: IncidentId,
    revision: u64,
    shard: Cow<'a, Box<str>>,
    first: Timestamp,
    latest: Timestamp,
    opened_at: Timestamp,
    changed_at: Timestamp,
    resolved: Option<(Timestamp, Resolution)>,
    severity: Status,
    pairs: Cow<'a, [Pair]>,
    tags: Cow<'a, Tags>,
    continues: Option<IncidentId>,
    continued_by: Option<IncidentId>,
    acknowledged: Option<Cow<'a, Acknowledged>>,
    /// Rows from before there were commands have neither this nor `snoozed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    assignee: Option<Cow<'a, Box<str>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    snoozed: Option<Cow<'a, Snoozed>>,
    updated_at: Option<Timestamp>,
    /// Rows from before there was flapping do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    remind_at: Option<Timestamp>,
    updates: Cow<'a, [AlertId]>,
    /// Rows of what no command reshaped have none of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gone: Option<Cow<'a, Gone>>,
    #[serde(default, skip_serializing_if = "nothing")]
    merged_from: Cow<'a, [IncidentId]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    split_from: Option<IncidentId>,
    #[serde(default, skip_serializing_if = "nothing")]
    split_into: Cow<'a, [IncidentId]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reshaped_at: Option<Timestamp>,
    /// Left out where it is told, as all was before there was `min_alerts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hold: Option<Cow<'a, Hold>>,
}

by_way_of!(Gone, WireGone);

#[derive(Serialize, Deserialize)]
struct WireGone<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    into: Option<IncidentId>,
    kind: MoveKind,
    at: Timestamp,
    by: Cow<'a, Box<str>>,
    request: Cow<'a, Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resolved: Option<(Timestamp, Resolution)>,
    title: Cow<'a, Box<str>>,
    hosts: Cow<'a, [Box<str>]>,
    checks: Cow<'a, [Box<str>]>,
    sources: Cow<'a, [Box<str>]>,
}

impl<'a> From<&'a Gone> for WireGone<'a> {
    fn from(gone: &'a Gone) -> Self {
        Self {
            into: gone.into,
            kind: gone.kind,
            at: gone.at,
            by: Cow::Borrowed(&gone.by),
            request: Cow::Borrowed(&gone.request),
            resolved: gone.resolved,
            title: Cow::Borrowed(&gone.title),
            hosts: Cow::Borrowed(&gone.hosts),
            checks: Cow::Borrowed(&gone.checks),
            sources: Cow::Borrowed(&gone.sources),
        }
    }
}

impl From<WireGone<'_>> for Gone {
    fn from(wire: WireGone<'_>) -> Self {
        Self {
            into: wire.into,
            kind: wire.kind,
            at: wire.at,
            by: wire.by.into_owned(),
            request: wire.request.into_owned(),
            resolved: wire.resolved,
            title: wire.title.into_owned(),
            hosts: wire.hosts.into_owned(),
            checks: wire.checks.into_owned(),
            sources: wire.sources.into_owned(),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct WireOk<'a> {
    v: u8,
    identity: Cow<'a, Identity>,
    at: Timestamp,
    appended_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct WireMark {
    v: u8,
    now: Timestamp,
    commits: u64,
    offset: i64,
}

/// The bytes of an alert's row.
#[must_use]
pub fn encode_alert(alert: &Alert) -> Vec<u8> {
    let wire = WireAlert {
        v: VERSION,
        id: alert.id,
        identity: Cow::Borrowed(&alert.identity),
        shard: Cow::Borrowed(&alert.shard),
        incident: alert.incident,
        host: Cow::Borrowed(&alert.host),
        check: Cow::Borrowed(&alert.check),
        status: alert.status,
        status_changes: Cow::Borrowed(&alert.status_changes),
        flapping: alert.flapping.map(|Flaps { since, said, calm_at, calm_due }| WireFlaps {
            since,
            said,
            calm_at,
            calm_due,
        }),
        maintenance: alert.maintenance.as_ref().map(Cow::Borrowed),
        description: Cow::Borrowed(&alert.description),
        tags: Cow::Borrowed(&alert.tags),
        links: Cow::Borrowed(&alert.links),
        started_at: alert.started_at,
        changed_at: alert.changed_at,
        newest: alert.newest,
        alive_until: alert.alive_until,
        restated_at: alert.restated_at,
        appended_at: alert.appended_at,
        events: alert.events,
        acknowledged: alert.acknowledged,
        resolved: alert.resolved,
        why: Cow::Borrowed(&alert.why),
        chronic: alert.chronic,
    };
    to_vec(&wire, 1_280)
}

/// The bytes of an incident's row.
#[must_use]
pub fn encode_incident(incident: &Incident) -> Vec<u8> {
    let wire = WireIncident {
        v: VERSION,
        id: incident.id,
        revision: incident.revision,
        shard: Cow::Borrowed(&incident.shard),
        first: incident.first,
        latest: incident.latest,
        opened_at: incident.opened_at,
        changed_at: incident.changed_at,
        resolved: incident.resolved,
        severity: incident.severity,
        pairs: Cow::Borrowed(&incident.pairs),
        tags: Cow::Borrowed(&incident.tags),
        continues: incident.continues,
        continued_by: incident.continued_by,
        acknowledged: incident.acknowledged.as_ref().map(Cow::Borrowed),
        assignee: incident.assignee.as_ref().map(Cow::Borrowed),
        snoozed: incident.snoozed.as_ref().map(Cow::Borrowed),
        updated_at: incident.updated_at,
        remind_at: incident.remind_at,
        updates: Cow::Borrowed(&incident.updates),
        gone: incident.gone.as_deref().map(Cow::Borrowed),
        merged_from: Cow::Borrowed(&incident.merged_from),
        split_from: incident.split_from,
        split_into: Cow::Borrowed(&incident.split_into),
        reshaped_at: incident.reshaped_at,
        hold: incident.hold.as_deref().map(Cow::Borrowed),
    };
    to_vec(&wire, 1_024)
}

/// The bytes of a remembered ok.
#[must_use]
pub fn encode_ok(ok: &RememberedOk) -> Vec<u8> {
    let identity = Cow::Borrowed(&ok.identity);
    to_vec(&WireOk { v: VERSION, identity, at: ok.at, appended_at: ok.appended_at }, 256)
}

/// The bytes of the mark.
#[must_use]
pub fn encode_mark(mark: Mark) -> Vec<u8> {
    let Mark { now, commits, offset } = mark;
    to_vec(&WireMark { v: VERSION, now, commits, offset }, 96)
}

/// Any row from its key and bytes.
///
/// # Errors
/// When the kind or the version is not known, or the bytes are not as the row has them.
pub fn decode(key: &[u8], value: &[u8]) -> Result<CorrelateRow, WireError> {
    match key {
        SETTINGS_KEY => Ok(CorrelateRow::Settings(value.to_vec())),
        MARK_KEY => {
            let WireMark { now, commits, offset, .. } = known(value, |wire: &WireMark| wire.v)?;
            Ok(CorrelateRow::Mark(Mark { now, commits, offset }))
        }
        maintenance::SWEEP_KEY => Ok(CorrelateRow::Sweep(maintenance::decode_sweep(value)?)),
        heartbeat::WATCH_KEY => heartbeat::decode_watched(value).map(CorrelateRow::Watched),
        [b'h', b'/', ..] => Ok(CorrelateRow::Heartbeat(Box::new(heartbeat::decode_row(value)?))),
        [b'm', b'/', ..] => Ok(CorrelateRow::Plan(Box::new(maintenance::decode_plan(value)?))),
        [b'g', b'/', ..] => topology::decode(value).map(CorrelateRow::Topology),
        [b'a', b'/', ..] => {
            let wire = known(value, |wire: &WireAlert<'_>| wire.v)?;
            Ok(CorrelateRow::Alert(Box::new(wire.into())))
        }
        [b'i', b'/', ..] => {
            let wire = known(value, |wire: &WireIncident<'_>| wire.v)?;
            Ok(CorrelateRow::Incident(Box::new(wire.into())))
        }
        [b'c', b'/', ..] => Ok(CorrelateRow::Result(Box::new(command::decode_result(value)?))),
        [b'u', b'/', ..] => Ok(CorrelateRow::Undoable(Box::new(request::decode_undo(value)?))),
        [b'b', b'/', ..] => super::rate::decode(value).map(CorrelateRow::Rate),
        [b'o', b'/', ..] => {
            let WireOk { identity, at, appended_at, .. } =
                known(value, |wire: &WireOk<'_>| wire.v)?;
            let identity = identity.into_owned();
            Ok(CorrelateRow::Ok(RememberedOk { identity, at, appended_at }))
        }
        _ => Err(WireError("its kind is not known here".to_owned())),
    }
}

impl From<WireAlert<'_>> for Alert {
    fn from(wire: WireAlert<'_>) -> Self {
        Self {
            id: wire.id,
            identity: wire.identity.into_owned(),
            shard: wire.shard.into_owned(),
            incident: wire.incident,
            host: wire.host.into_owned(),
            check: wire.check.into_owned(),
            status: wire.status,
            status_changes: wire.status_changes.into_owned(),
            flapping: wire.flapping.map(|WireFlaps { since, said, calm_at, calm_due }| Flaps {
                since,
                said,
                calm_at,
                calm_due,
            }),
            maintenance: wire.maintenance.map(Cow::into_owned),
            description: wire.description.into_owned(),
            tags: wire.tags.into_owned(),
            links: wire.links.into_owned(),
            started_at: wire.started_at,
            changed_at: wire.changed_at,
            newest: wire.newest,
            alive_until: wire.alive_until,
            restated_at: wire.restated_at,
            appended_at: wire.appended_at,
            events: wire.events,
            acknowledged: wire.acknowledged,
            resolved: wire.resolved,
            why: wire.why.into_owned(),
            chronic: wire.chronic,
        }
    }
}

impl From<WireIncident<'_>> for Incident {
    fn from(wire: WireIncident<'_>) -> Self {
        Self {
            id: wire.id,
            revision: wire.revision,
            shard: wire.shard.into_owned(),
            first: wire.first,
            latest: wire.latest,
            opened_at: wire.opened_at,
            changed_at: wire.changed_at,
            resolved: wire.resolved,
            severity: wire.severity,
            pairs: wire.pairs.into_owned(),
            tags: wire.tags.into_owned(),
            continues: wire.continues,
            continued_by: wire.continued_by,
            acknowledged: wire.acknowledged.map(Cow::into_owned),
            assignee: wire.assignee.map(Cow::into_owned),
            snoozed: wire.snoozed.map(Cow::into_owned),
            updated_at: wire.updated_at,
            remind_at: wire.remind_at,
            updates: wire.updates.into_owned(),
            gone: wire.gone.map(|gone| Box::new(gone.into_owned())),
            merged_from: wire.merged_from.into_owned(),
            split_from: wire.split_from,
            split_into: wire.split_into.into_owned(),
            reshaped_at: wire.reshaped_at,
            hold: wire.hold.map(|hold| Box::new(hold.into_owned())),
        }
    }
}

fn known<T: for<'a> Deserialize<'a>>(
    value: &[u8],
    version: impl Fn(&T) -> u8,
) -> Result<T, WireError> {
    let unread = |error| unread(value, VERSION, "a row", error);
    let wire = serde_json::from_slice(value).map_err(unread)?;
    match version(&wire) {
        VERSION => Ok(wire),
        other => Err(unknown(other.into(), VERSION, "a row")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALERT: &[u8] = include_bytes!("../../tests/fixtures/rows/alert.v1.json");
    const INCIDENT: &[u8] = include_bytes!("../../tests/fixtures/rows/incident.v1.json");

    fn alert(bytes: &[u8]) -> Alert {
        match decode(b"a/x", bytes) {
            Ok(CorrelateRow::Alert(alert)) => *alert,
            other => unreachable!("{other:?}"),
        }
    }

    fn incident(bytes: &[u8]) -> Incident {
        match decode(b"i/x", bytes) {
            Ok(CorrelateRow::Incident(incident)) => *incident,
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn rows_from_before_flapping_are_still_read() {
        let old = alert(ALERT.trim_ascii());
        assert_eq!((old.status, old.said(), old.events), (Status::Critical, Status::Critical, 3));
        assert_eq!((old.status_changes.len(), old.flapping), (0, None));
        assert_eq!(encode_alert(&old), ALERT.trim_ascii(), "what is not there is not written");
        let old = incident(INCIDENT.trim_ascii());
        assert_eq!((old.revision, old.remind_at), (2, None));
        assert_eq!(encode_incident(&old), INCIDENT.trim_ascii());
    }

    #[test]
    fn what_flaps_reads_back_as_it_was() {
        let at = Timestamp::from_millis(1_763_913_600_000);
        let old = alert(ALERT);
        let counting = Alert { status_changes: vec![at, at], ..old.clone() };
        assert_eq!(alert(&encode_alert(&counting)), counting);
        let flaps = Flaps { since: at, said: Status::Ok, calm_at: at, calm_due: at };
        let flapping = Alert { flapping: Some(flaps), ..old };
        assert_eq!(alert(&encode_alert(&flapping)), flapping);
        let reminded = Incident { remind_at: Some(at), ..incident(INCIDENT) };
        assert_eq!(incident(&encode_incident(&reminded)), reminded);
    }

    #[test]
    fn an_unknown_version_is_refused_by_name() {
        let text = std::str::from_utf8(ALERT).expect("text").replacen("\"v\":1", "\"v\":9", 1);
        let error = decode(b"a/x", text.as_bytes()).expect_err("version 9");
        assert!(error.to_string().contains("version 9"), "{error}");
    }
}
