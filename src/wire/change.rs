//! The incident change: the value of `muster.incidents`, and what a webhook posts.
//!
//! This is the public contract. Fields are only ever added; a reader that keeps the highest
//! `revision` of each `id` never sees a repeat.

use serde::{Deserialize, Serialize};

use super::WireError;
use super::common::{
    WireAcknowledged, WireLinks, WirePair, WireWhy, alert_id, incident_id, millis, resolution,
    status,
};
use crate::model::change::{Counts, Member};
use crate::model::{Change, ChangeKind, Tags, Timestamp};

#[derive(Serialize, Deserialize)]
struct WireChange {
    id: String,
    revision: u64,
    change: Vec<String>,
    at: i64,
    state: String,
    status: String,
    severity: String,
    title: String,
    started_at: i64,
    changed_at: i64,
    ended_at: Option<i64>,
    pattern: Option<WirePair>,
    counts: WireCounts,
    hosts: Vec<Box<str>>,
    checks: Vec<Box<str>>,
    sources: Vec<Box<str>>,
    tags: Tags,
    acknowledged: Option<WireAcknowledged>,
    assignee: Option<Box<str>>,
    snoozed_until: Option<i64>,
    flapping: bool,
    maintenance: bool,
    held: bool,
    continues: Option<String>,
    continued_by: Option<String>,
    shard: Box<str>,
    joined: Vec<String>,
    alerts: Vec<WireMember>,
    reason: Option<String>,
    actor: Option<Box<str>>,
}

#[derive(Serialize, Deserialize)]
struct WireCounts {
    firing: u32,
    total: u32,
    events: u64,
    hosts: u32,
    checks: u32,
}

#[derive(Serialize, Deserialize)]
struct WireMember {
    id: String,
    source: Box<str>,
    host: Box<str>,
    check: Box<str>,
    status: String,
    state: String,
    description: Box<str>,
    tags: Tags,
    links: WireLinks,
    started_at: i64,
    changed_at: i64,
    why: WireWhy,
}

/// The bytes of a change.
#[must_use]
pub fn encode(change: &Change) -> Vec<u8> {
    serde_json::to_vec(&WireChange::from(change)).expect("a change has only text keys")
}

/// A change from its bytes.
///
/// # Errors
/// Says what is not as a change has it.
pub fn decode(bytes: &[u8]) -> Result<Change, WireError> {
    serde_json::from_slice::<WireChange>(bytes)?.try_into()
}

/// The incident as it is, for answers that show several: the change as JSON with all of `alerts`.
#[must_use]
pub fn to_json(change: &Change) -> serde_json::Value {
    serde_json::to_value(WireChange::from(change)).expect("a change has only text keys")
}

impl From<&Change> for WireChange {
    fn from(change: &Change) -> Self {
        let Counts { firing, total, events, hosts, checks } = change.counts;
        Self {
            id: change.id.to_string(),
            revision: change.revision,
            change: change.kinds.iter().map(|kind| kind.as_str().to_owned()).collect(),
            at: millis(change.at),
            state: if change.is_open() { "open" } else { "resolved" }.to_owned(),
            status: change.status.as_str().to_owned(),
            severity: change.severity.as_str().to_owned(),
            title: change.title.clone(),
            started_at: millis(change.started_at),
            changed_at: millis(change.changed_at),
            ended_at: change.resolved.map(|(at, _)| millis(at)),
            pattern: change.pair.as_ref().map(WirePair::from),
            counts: WireCounts { firing, total, events, hosts, checks },
            hosts: change.hosts.clone(),
            checks: change.checks.clone(),
            sources: change.sources.clone(),
            tags: change.tags.clone(),
            acknowledged: change.acknowledged.as_ref().map(WireAcknowledged::from),
            assignee: None,
            snoozed_until: None,
            flapping: false,
            maintenance: false,
            held: false,
            continues: change.continues.map(|id| id.to_string()),
            continued_by: change.continued_by.map(|id| id.to_string()),
            shard: change.shard.clone(),
            joined: change.joined.iter().map(ToString::to_string).collect(),
            alerts: change.alerts.iter().map(WireMember::from).collect(),
            reason: change.resolved.map(|(_, reason)| reason.as_str().to_owned()),
            actor: None,
        }
    }
}

impl From<&Member> for WireMember {
    fn from(member: &Member) -> Self {
        Self {
            id: member.id.to_string(),
            source: member.source.clone(),
            host: member.host.clone(),
            check: member.check.clone(),
            status: member.status.as_str().to_owned(),
            state: if member.firing { "firing" } else { "resolved" }.to_owned(),
            description: member.description.clone(),
            tags: member.tags.clone(),
            links: member.links.clone(),
            started_at: millis(member.started_at),
            changed_at: millis(member.changed_at),
            why: WireWhy::from(&member.why),
        }
    }
}

impl TryFrom<WireChange> for Change {
    type Error = WireError;

    fn try_from(wire: WireChange) -> Result<Self, WireError> {
        let kind = |word: &String| {
            ChangeKind::parse(word).ok_or_else(|| WireError(format!("`{word}` is no change")))
        };
        let resolved = match (wire.ended_at, &wire.reason) {
            (Some(at), Some(reason)) => Some((Timestamp::from_millis(at), resolution(reason)?)),
            _ => None,
        };
        let WireCounts { firing, total, events, hosts, checks } = wire.counts;
        Ok(Self {
            id: incident_id(&wire.id)?,
            revision: wire.revision,
            kinds: wire.change.iter().map(kind).collect::<Result<_, _>>()?,
            at: Timestamp::from_millis(wire.at),
            shard: wire.shard,
            status: status(&wire.status)?,
            severity: status(&wire.severity)?,
            title: wire.title,
            started_at: Timestamp::from_millis(wire.started_at),
            changed_at: Timestamp::from_millis(wire.changed_at),
            resolved,
            pair: wire.pattern.map(Into::into),
            counts: Counts { firing, total, events, hosts, checks },
            hosts: wire.hosts,
            checks: wire.checks,
            sources: wire.sources,
            tags: wire.tags,
            acknowledged: wire.acknowledged.map(Into::into),
            continues: wire.continues.as_deref().map(incident_id).transpose()?,
            continued_by: wire.continued_by.as_deref().map(incident_id).transpose()?,
            joined: wire.joined.iter().map(|id| alert_id(id)).collect::<Result<_, _>>()?,
            alerts: wire.alerts.into_iter().map(Member::try_from).collect::<Result<_, _>>()?,
        })
    }
}

impl TryFrom<WireMember> for Member {
    type Error = WireError;

    fn try_from(wire: WireMember) -> Result<Self, WireError> {
        Ok(Self {
            id: alert_id(&wire.id)?,
            source: wire.source,
            host: wire.host,
            check: wire.check,
            status: status(&wire.status)?,
            firing: wire.state == "firing",
            description: wire.description,
            tags: wire.tags,
            links: wire.links,
            started_at: Timestamp::from_millis(wire.started_at),
            changed_at: Timestamp::from_millis(wire.changed_at),
            why: wire.why.try_into()?,
        })
    }
}
