//! The incident change: the value of `muster.incidents`, and what a webhook posts.
//!
//! This is the public contract. Fields are only ever added; a reader that keeps the highest
//! `revision` of each `id` never sees a repeat.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::common::{by_way_of, is_false, is_none, nothing};
use super::{WireError, to_vec};
use crate::model::change::{Counts, Member};
use crate::model::command::{Audience, Comment, Snoozed};
use crate::model::event::Links;
use crate::model::incident::Acknowledged;
use crate::model::{
    AlertId, Change, ChangeKind, Hold, IncidentId, Maintained, Pair, Resolution, Status, Tags,
    Timestamp, Why,
};

/// About how long a change is, in bytes.
const ABOUT: usize = 2_048;

by_way_of!(Change, WireChange);

#[derive(Serialize, Deserialize)]
struct WireChange<'a> {
    id: IncidentId,
    revision: u64,
    change: Cow<'a, [ChangeKind]>,
    at: Timestamp,
    state: Cow<'a, str>,
    status: Status,
    severity: Status,
    title: Cow<'a, str>,
    started_at: Timestamp,
    changed_at: Timestamp,
    ended_at: Option<Timestamp>,
    pattern: Option<Cow<'a, Pair>>,
    #[serde(default, skip_serializing_if = "nothing")]
    further_patterns: Cow<'a, [Pair]>,
    #[serde(default, skip_serializing_if = "is_none")]
    further_patterns_cut: u32,
    counts: WireCounts,
    hosts: Cow<'a, [Box<str>]>,
    checks: Cow<'a, [Box<str>]>,
    sources: Cow<'a, [Box<str>]>,
    tags: Cow<'a, Tags>,
    acknowledged: Option<Cow<'a, Acknowledged>>,
    assignee: Option<Cow<'a, Box<str>>>,
    snoozed_until: Option<Timestamp>,
    /// Who snoozed it, and what ends that before its time; left out where nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    snoozed: Option<Cow<'a, Snoozed>>,
    flapping: bool,
    maintenance: bool,
    held: bool,
    /// Why it is; left out where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hold: Option<Cow<'a, Hold>>,
    continues: Option<IncidentId>,
    continued_by: Option<IncidentId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    merged_into: Option<IncidentId>,
    #[serde(default, skip_serializing_if = "nothing")]
    merged_from: Cow<'a, [IncidentId]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    split_from: Option<IncidentId>,
    #[serde(default, skip_serializing_if = "nothing")]
    split_into: Cow<'a, [IncidentId]>,
    shard: Cow<'a, Box<str>>,
    joined: Cow<'a, [AlertId]>,
    #[serde(default, skip_serializing_if = "nothing")]
    left: Cow<'a, [AlertId]>,
    alerts: Cow<'a, [Member]>,
    reason: Option<Resolution>,
    actor: Option<Cow<'a, Box<str>>>,
    /// Left out where the change is no remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<WireComment<'a>>,
}

#[derive(Serialize, Deserialize)]
struct WireComment<'a> {
    text: Cow<'a, Box<str>>,
    public: bool,
}

#[derive(Serialize, Deserialize)]
struct WireCounts {
    firing: u32,
    total: u32,
    events: u64,
    hosts: u32,
    checks: u32,
    /// Left out where none is, as before there was maintenance.
    #[serde(default, skip_serializing_if = "none")]
    maintenance: u32,
}

by_way_of!(Member, WireMember);

#[derive(Serialize, Deserialize)]
struct WireMember<'a> {
    id: AlertId,
    source: Cow<'a, Box<str>>,
    host: Cow<'a, Box<str>>,
    check: Cow<'a, Box<str>>,
    status: Status,
    state: Cow<'a, str>,
    /// Changes that were written before there was flapping do not have it.
    #[serde(default)]
    flapping: bool,
    /// Left out where it is not.
    #[serde(default, skip_serializing_if = "is_false")]
    chronic: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    maintenance: Option<Cow<'a, Maintained>>,
    description: Cow<'a, Box<str>>,
    tags: Cow<'a, Tags>,
    links: Cow<'a, Links>,
    started_at: Timestamp,
    changed_at: Timestamp,
    why: Cow<'a, Why>,
}

fn none(count: &u32) -> bool {
    *count == 0
}

/// The bytes of a change.
#[must_use]
pub fn encode(change: &Change) -> Vec<u8> {
    to_vec(change, ABOUT)
}

/// A change from its bytes.
///
/// # Errors
/// Says what is not as a change has it.
pub fn decode(bytes: &[u8]) -> Result<Change, WireError> {
    Ok(serde_json::from_slice(bytes)?)
}

/// The incident as it is, for answers that show several: the change as JSON with all of `alerts`.
#[must_use]
pub fn to_json(change: &Change) -> serde_json::Value {
    serde_json::to_value(change).expect("a change has only text keys")
}

/// A remark as JSON, as a change shows it.
#[must_use]
pub fn comment_to_json(comment: &Comment) -> serde_json::Value {
    serde_json::to_value(WireComment::from(comment)).expect("a remark has only text keys")
}

impl<'a> From<&'a Change> for WireChange<'a> {
    fn from(change: &'a Change) -> Self {
        let Counts { firing, total, events, hosts, checks, maintenance } = change.counts;
        Self {
            id: change.id,
            revision: change.revision,
            change: Cow::Borrowed(&change.kinds),
            at: change.at,
            state: Cow::Borrowed(if change.is_open() { "open" } else { "resolved" }),
            status: change.status,
            severity: change.severity,
            title: Cow::Borrowed(&change.title),
            started_at: change.started_at,
            changed_at: change.changed_at,
            ended_at: change.resolved.map(|(at, _)| at),
            pattern: change.pair.as_ref().map(Cow::Borrowed),
            further_patterns: Cow::Borrowed(&change.further),
            further_patterns_cut: change.further_cut,
            counts: WireCounts { firing, total, events, hosts, checks, maintenance },
            hosts: Cow::Borrowed(&change.hosts),
            checks: Cow::Borrowed(&change.checks),
            sources: Cow::Borrowed(&change.sources),
            tags: Cow::Borrowed(&change.tags),
            acknowledged: change.acknowledged.as_ref().map(Cow::Borrowed),
            assignee: change.assignee.as_ref().map(Cow::Borrowed),
            snoozed_until: change.snoozed.as_ref().map(|snoozed| snoozed.until),
            snoozed: change.snoozed.as_ref().map(Cow::Borrowed),
            flapping: change.flapping,
            maintenance: change.maintenance,
            held: change.is_held(),
            hold: change.hold.as_deref().map(Cow::Borrowed),
            continues: change.continues,
            continued_by: change.continued_by,
            merged_into: change.merged_into,
            merged_from: Cow::Borrowed(&change.merged_from),
            split_from: change.split_from,
            split_into: Cow::Borrowed(&change.split_into),
            shard: Cow::Borrowed(&change.shard),
            joined: Cow::Borrowed(&change.joined),
            left: Cow::Borrowed(&change.left),
            alerts: Cow::Borrowed(&change.alerts),
            reason: change.resolved.map(|(_, reason)| reason),
            actor: change.actor.as_ref().map(Cow::Borrowed),
            comment: change.comment.as_ref().map(Into::into),
        }
    }
}

impl From<WireChange<'_>> for Change {
    fn from(wire: WireChange<'_>) -> Self {
        let WireCounts { firing, total, events, hosts, checks, maintenance } = wire.counts;
        Self {
            id: wire.id,
            revision: wire.revision,
            kinds: wire.change.into_owned(),
            at: wire.at,
            shard: wire.shard.into_owned(),
            status: wire.status,
            severity: wire.severity,
            title: wire.title.into_owned(),
            started_at: wire.started_at,
            changed_at: wire.changed_at,
            resolved: wire.ended_at.zip(wire.reason),
            pair: wire.pattern.map(Cow::into_owned),
            further: wire.further_patterns.into_owned(),
            further_cut: wire.further_patterns_cut,
            counts: Counts { firing, total, events, hosts, checks, maintenance },
            hosts: wire.hosts.into_owned(),
            checks: wire.checks.into_owned(),
            sources: wire.sources.into_owned(),
            tags: wire.tags.into_owned(),
            acknowledged: wire.acknowledged.map(Cow::into_owned),
            flapping: wire.flapping,
            maintenance: wire.maintenance,
            hold: hold(wire.held, wire.hold),
            continues: wire.continues,
            continued_by: wire.continued_by,
            merged_into: wire.merged_into,
            merged_from: wire.merged_from.into_owned(),
            split_from: wire.split_from,
            split_into: wire.split_into.into_owned(),
            joined: wire.joined.into_owned(),
            left: wire.left.into_owned(),
            alerts: wire.alerts.into_owned(),
            assignee: wire.assignee.map(Cow::into_owned),
            snoozed: wire.snoozed.map(Cow::into_owned),
            actor: wire.actor.map(Cow::into_owned),
            comment: wire.comment.map(Into::into),
        }
    }
}

/// What is held is so even where it does not say why.
fn hold(held: bool, hold: Option<Cow<'_, Hold>>) -> Option<Box<Hold>> {
    held.then(|| Box::new(hold.map(Cow::into_owned).unwrap_or_default()))
}

impl<'a> From<&'a Comment> for WireComment<'a> {
    fn from(comment: &'a Comment) -> Self {
        let public = comment.audience == Audience::Public;
        Self { text: Cow::Borrowed(&comment.text), public }
    }
}

impl From<WireComment<'_>> for Comment {
    fn from(wire: WireComment<'_>) -> Self {
        let audience = if wire.public { Audience::Public } else { Audience::Internal };
        Self { text: wire.text.into_owned(), audience }
    }
}

impl<'a> From<&'a Member> for WireMember<'a> {
    fn from(member: &'a Member) -> Self {
        Self {
            id: member.id,
            source: Cow::Borrowed(&member.source),
            host: Cow::Borrowed(&member.host),
            check: Cow::Borrowed(&member.check),
            status: member.status,
            state: Cow::Borrowed(if member.firing { "firing" } else { "resolved" }),
            flapping: member.flapping,
            chronic: member.chronic,
            maintenance: member.maintenance.as_ref().map(Cow::Borrowed),
            description: Cow::Borrowed(&member.description),
            tags: Cow::Borrowed(&member.tags),
            links: Cow::Borrowed(&member.links),
            started_at: member.started_at,
            changed_at: member.changed_at,
            why: Cow::Borrowed(&member.why),
        }
    }
}

impl From<WireMember<'_>> for Member {
    fn from(wire: WireMember<'_>) -> Self {
        Self {
            id: wire.id,
            source: wire.source.into_owned(),
            host: wire.host.into_owned(),
            check: wire.check.into_owned(),
            status: wire.status,
            firing: wire.state == "firing",
            flapping: wire.flapping,
            chronic: wire.chronic,
            maintenance: wire.maintenance.map(Cow::into_owned),
            description: wire.description.into_owned(),
            tags: wire.tags.into_owned(),
            links: wire.links.into_owned(),
            started_at: wire.started_at,
            changed_at: wire.changed_at,
            why: wire.why.into_owned(),
        }
    }
}
