//! Correlate's rows in `muster.state`. Version 1 of each.
//!
//! The key's first letter is the row's kind and never changes its meaning: `a` alert, `i`
//! incident, `o` remembered ok, `s` settings in force, `t` the log's time. What follows it is the
//! row's id.

use serde::{Deserialize, Serialize};

use super::WireError;
use super::common::{
    WireAcknowledged, WireLinks, WirePair, WireWhy, alert_id, incident_id, resolution, status,
    unknown, unread,
};
use crate::model::event::Identity;
use crate::model::{Alert, AlertId, Incident, IncidentId, Resolution, Tags, Timestamp};

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
    /// The settings record in force, as it came.
    Settings(Vec<u8>),
    /// How far the log was read.
    Mark(Mark),
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

/// The key of the settings in force.
pub const SETTINGS_KEY: &[u8] = b"s/settings";

/// The key of the mark.
pub const MARK_KEY: &[u8] = b"t/mark";

#[derive(Serialize, Deserialize)]
struct WireIdentity {
    source: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<Box<str>>,
}

impl From<&Identity> for WireIdentity {
    fn from(identity: &Identity) -> Self {
        match identity {
            Identity::Check { source, host, check } => Self {
                source: source.clone(),
                key: None,
                host: Some(host.clone()),
                check: Some(check.clone()),
            },
            Identity::Key { source, key } => {
                Self { source: source.clone(), key: Some(key.clone()), host: None, check: None }
            }
        }
    }
}

impl From<WireIdentity> for Identity {
    fn from(wire: WireIdentity) -> Self {
        let (host, check, key) = (wire.host.as_deref(), wire.check.as_deref(), wire.key.as_deref());
        Self::new(&wire.source, host, check, key)
    }
}

#[derive(Serialize, Deserialize)]
struct WireAlert {
    v: u8,
    id: String,
    identity: WireIdentity,
    shard: Box<str>,
    incident: String,
    host: Box<str>,
    check: Box<str>,
    status: String,
    description: Box<str>,
    tags: Tags,
    links: WireLinks,
    started_at: i64,
    changed_at: i64,
    newest: i64,
    alive_until: i64,
    appended_at: i64,
    events: u64,
    acknowledged: bool,
    resolved: Option<(i64, String)>,
    why: WireWhy,
}

#[derive(Serialize, Deserialize)]
struct WireIncident {
    v: u8,
    id: String,
    revision: u64,
    shard: Box<str>,
    first: i64,
    latest: i64,
    opened_at: i64,
    changed_at: i64,
    resolved: Option<(i64, String)>,
    severity: String,
    pairs: Vec<WirePair>,
    tags: Tags,
    continues: Option<String>,
    continued_by: Option<String>,
    acknowledged: Option<WireAcknowledged>,
    updated_at: Option<i64>,
    updates: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct WireOk {
    v: u8,
    identity: WireIdentity,
    at: i64,
    appended_at: i64,
}

#[derive(Serialize, Deserialize)]
struct WireMark {
    v: u8,
    now: i64,
    commits: u64,
    offset: i64,
}

/// The bytes of an alert's row.
#[must_use]
pub fn encode_alert(alert: &Alert) -> Vec<u8> {
    to_vec(&WireAlert {
        v: VERSION,
        id: alert.id.to_string(),
        identity: WireIdentity::from(&alert.identity),
        shard: alert.shard.clone(),
        incident: alert.incident.to_string(),
        host: alert.host.clone(),
        check: alert.check.clone(),
        status: alert.status.as_str().to_owned(),
        description: alert.description.clone(),
        tags: alert.tags.clone(),
        links: alert.links.clone(),
        started_at: alert.started_at.as_millis(),
        changed_at: alert.changed_at.as_millis(),
        newest: alert.newest.as_millis(),
        alive_until: alert.alive_until.as_millis(),
        appended_at: alert.appended_at.as_millis(),
        events: alert.events,
        acknowledged: alert.acknowledged,
        resolved: end(alert.resolved),
        why: WireWhy::from(&alert.why),
    })
}

/// The bytes of an incident's row.
#[must_use]
pub fn encode_incident(incident: &Incident) -> Vec<u8> {
    to_vec(&WireIncident {
        v: VERSION,
        id: incident.id.to_string(),
        revision: incident.revision,
        shard: incident.shard.clone(),
        first: incident.first.as_millis(),
        latest: incident.latest.as_millis(),
        opened_at: incident.opened_at.as_millis(),
        changed_at: incident.changed_at.as_millis(),
        resolved: end(incident.resolved),
        severity: incident.severity.as_str().to_owned(),
        pairs: incident.pairs.iter().map(WirePair::from).collect(),
        tags: incident.tags.clone(),
        continues: incident.continues.map(|id| id.to_string()),
        continued_by: incident.continued_by.map(|id| id.to_string()),
        acknowledged: incident.acknowledged.as_ref().map(WireAcknowledged::from),
        updated_at: incident.updated_at.map(Timestamp::as_millis),
        updates: incident.updates.iter().map(ToString::to_string).collect(),
    })
}

/// The bytes of a remembered ok.
#[must_use]
pub fn encode_ok(ok: &RememberedOk) -> Vec<u8> {
    to_vec(&WireOk {
        v: VERSION,
        identity: WireIdentity::from(&ok.identity),
        at: ok.at.as_millis(),
        appended_at: ok.appended_at.as_millis(),
    })
}

/// The bytes of the mark.
#[must_use]
pub fn encode_mark(mark: Mark) -> Vec<u8> {
    to_vec(&WireMark {
        v: VERSION,
        now: mark.now.as_millis(),
        commits: mark.commits,
        offset: mark.offset,
    })
}

/// Any row from its key and bytes.
///
/// # Errors
/// When the kind or the version is not known, or the bytes are not as the row has them.
pub fn decode(key: &[u8], value: &[u8]) -> Result<CorrelateRow, WireError> {
    match key {
        SETTINGS_KEY => Ok(CorrelateRow::Settings(value.to_vec())),
        MARK_KEY => {
            let wire: WireMark = known(value, |wire: &WireMark| wire.v)?;
            let now = Timestamp::from_millis(wire.now);
            let mark = Mark { now, commits: wire.commits, offset: wire.offset };
            Ok(CorrelateRow::Mark(mark))
        }
        [b'a', b'/', ..] => {
            let wire = known(value, |wire: &WireAlert| wire.v)?;
            Ok(CorrelateRow::Alert(Box::new(wire.try_into()?)))
        }
        [b'i', b'/', ..] => {
            let wire = known(value, |wire: &WireIncident| wire.v)?;
            Ok(CorrelateRow::Incident(Box::new(wire.try_into()?)))
        }
        [b'o', b'/', ..] => {
            let wire = known(value, |wire: &WireOk| wire.v)?;
            Ok(CorrelateRow::Ok(RememberedOk {
                identity: wire.identity.into(),
                at: Timestamp::from_millis(wire.at),
                appended_at: Timestamp::from_millis(wire.appended_at),
            }))
        }
        _ => Err(WireError("its kind is not known here".to_owned())),
    }
}

impl TryFrom<WireAlert> for Alert {
    type Error = WireError;

    fn try_from(wire: WireAlert) -> Result<Self, WireError> {
        Ok(Self {
            id: alert_id(&wire.id)?,
            identity: wire.identity.into(),
            shard: wire.shard,
            incident: incident_id(&wire.incident)?,
            host: wire.host,
            check: wire.check,
            status: status(&wire.status)?,
            description: wire.description,
            tags: wire.tags,
            links: wire.links,
            started_at: Timestamp::from_millis(wire.started_at),
            changed_at: Timestamp::from_millis(wire.changed_at),
            newest: Timestamp::from_millis(wire.newest),
            alive_until: Timestamp::from_millis(wire.alive_until),
            appended_at: Timestamp::from_millis(wire.appended_at),
            events: wire.events,
            acknowledged: wire.acknowledged,
            resolved: read_end(wire.resolved)?,
            why: wire.why.try_into()?,
        })
    }
}

impl TryFrom<WireIncident> for Incident {
    type Error = WireError;

    fn try_from(wire: WireIncident) -> Result<Self, WireError> {
        Ok(Self {
            id: incident_id(&wire.id)?,
            revision: wire.revision,
            shard: wire.shard,
            first: Timestamp::from_millis(wire.first),
            latest: Timestamp::from_millis(wire.latest),
            opened_at: Timestamp::from_millis(wire.opened_at),
            changed_at: Timestamp::from_millis(wire.changed_at),
            resolved: read_end(wire.resolved)?,
            severity: status(&wire.severity)?,
            pairs: wire.pairs.into_iter().map(Into::into).collect(),
            tags: wire.tags,
            continues: wire.continues.as_deref().map(incident_id).transpose()?,
            continued_by: wire.continued_by.as_deref().map(incident_id).transpose()?,
            acknowledged: wire.acknowledged.map(Into::into),
            updated_at: wire.updated_at.map(Timestamp::from_millis),
            updates: wire.updates.iter().map(|id| alert_id(id)).collect::<Result<_, _>>()?,
        })
    }
}

fn to_vec(wire: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(wire).expect("a row has only text keys")
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

fn end(resolved: Option<(Timestamp, Resolution)>) -> Option<(i64, String)> {
    resolved.map(|(at, reason)| (at.as_millis(), reason.as_str().to_owned()))
}

fn read_end(end: Option<(i64, String)>) -> Result<Option<(Timestamp, Resolution)>, WireError> {
    end.map(|(at, reason)| Ok((Timestamp::from_millis(at), resolution(&reason)?))).transpose()
}
