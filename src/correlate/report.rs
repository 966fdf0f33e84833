//! Tells what became of an incident: the kinds of a change, and the incident as it is.
//!
//! Kinds are the difference between before and after the record. `updated` alone is told at most
//! once an incident and minute of log time; one that comes earlier waits for the minute to pass.

use super::held::{Held, Names};
use super::hold;
use super::people;
use super::state::State;
use super::touched::Touch;
use crate::model::change::{Counts, FURTHER_MAX, Member, NAMES_MAX, count_fitting};
use crate::model::{Alert, AlertId, Change, ChangeKind, Incident, IncidentId, Span, Status};

/// How many alerts an `updated` that waits names.
const WAITING_MAX: usize = 50;

/// The longest name in a title, in characters.
const TITLE_NAME_MAX: usize = 80;

/// The next revision of an incident, where there is something to tell.
pub(super) fn change(state: &mut State, id: IncidentId, mut touch: Touch) -> Option<Change> {
    if touch.lapsed {
        touch.net();
    }
    if people::wakes(state.incident(id)?, &touch) {
        people::wake(state, id);
        touch.unsnoozed = true;
    }
    hold::release_what_has_enough(state, id);
    let held = state.incident(id)?;
    let now = state.now();
    let mut kinds = kinds(held, &touch);
    let early = held.row.updated_at.is_some_and(|last| now < last + Span::MINUTE);
    if kinds.is_empty() {
        if !touch.updated && !touch.overdue {
            return None;
        }
        if early {
            state.change_incident(id, |incident| wait(incident, touch.concerned()));
            return None;
        }
        kinds.push(ChangeKind::Updated);
    }
    let only_updated = kinds == [ChangeKind::Updated];
    let severity = held.row.severity.max(held.status());
    let mut concerned = touch.take_concerned();
    for waiting in &held.row.updates {
        if !concerned.contains(waiting) {
            concerned.push(*waiting);
        }
    }
    // What was moved away by command is shown where it is now.
    concerned.retain(|alert| held.members.contains(alert));
    let remind_at = if kinds.contains(&ChangeKind::Flapping) {
        Some(now + state.settings().flapping.reminder)
    } else {
        held.row.remind_at.filter(|_| held.is_flapping())
    };
    state.change_incident(id, |incident| {
        incident.revision += 1;
        incident.remind_at = remind_at;
        incident.changed_at = touch.at;
        incident.severity = severity;
        incident.updates.clear();
        if only_updated {
            incident.updated_at = Some(now);
        }
    });
    let mut shown = show(state, id, &concerned)?;
    // What is left out is shown by the alert's next change.
    let fit = count_fitting(shown.alerts.iter());
    state.count_alerts_cut((shown.alerts.len() - fit) as u64);
    shown.alerts.truncate(fit);
    let Touch { joined, left, actor, comment, .. } = touch;
    Some(Change { kinds, joined, left, actor, comment, ..shown })
}

/// An incident with all its alerts, and no kinds: it as it is.
pub(super) fn whole(state: &State, id: IncidentId) -> Change {
    let held = state.incident(id).expect("the caller has the id from the state");
    let members: Vec<AlertId> = held.members.iter().copied().collect();
    show(state, id, &members).expect("the caller has the id from the state")
}

/// What matchers of a command are held against: the incident as the board shows it.
pub(super) fn labels(state: &State, id: IncidentId) -> Option<Change> {
    show(state, id, &[])
}

fn kinds(held: &Held, touch: &Touch) -> Vec<ChangeKind> {
    let open = held.row.resolved.is_none();
    let Some(before) = touch.before else {
        // Over within the record that opens it is only what commands split off, or what was put there
        // at the end of a wait and ends at once.
        let over = (!open).then_some(ChangeKind::Resolved);
        let flaps = held.is_flapping().then_some(ChangeKind::Flapping);
        // Where nothing arrived for long, its own wait may be over as well.
        let lapsed = touch.lapsed.then_some(ChangeKind::Lapsed);
        let kinds = [Some(ChangeKind::Opened), flaps, lapsed, touch.reshaped, over];
        return kinds.into_iter().flatten().collect();
    };
    let status = held.status();
    let quiet = held.has_quiet();
    let grew = !touch.joined.is_empty() || before.open && held.firing.len() > before.firing;
    // What was put there at the end of a wait may be over by the end of the record.
    let given = !touch.joined.is_empty() && touch.reshaped.is_none();
    let eased = held.firing.len() < before.firing || status < before.status;
    let worsened = before.open && status > before.status;
    let mut kinds: Vec<ChangeKind> = [
        (ChangeKind::Reopened, open && !before.open),
        (ChangeKind::Grew, grew && (open || given)),
        (ChangeKind::Worsened, open && worsened),
        (ChangeKind::Eased, open && before.open && eased && !grew && !worsened),
        (ChangeKind::Unacknowledged, touch.unacknowledged),
        (ChangeKind::Acknowledged, touch.acknowledged),
        (ChangeKind::Assigned, touch.assigned),
        (ChangeKind::Unsnoozed, touch.unsnoozed),
        (ChangeKind::Snoozed, touch.snoozed),
        (ChangeKind::Commented, touch.comment.is_some()),
        (ChangeKind::Continued, touch.continued),
        (ChangeKind::Flapping, held.is_flapping() && (!before.flapping || touch.reminded)),
        (ChangeKind::Calmed, before.flapping && !held.is_flapping()),
        (ChangeKind::MaintenanceBegan, held.is_maintained() && !before.maintained),
        (ChangeKind::MaintenanceEnded, open && before.window && !held.has_window() && quiet),
        (ChangeKind::MaintenanceLeft, open && before.maintained && !held.is_maintained()),
        (ChangeKind::Lapsed, touch.lapsed),
        (ChangeKind::Released, before.held && held.row.hold.is_none()),
    ]
    .into_iter()
    .filter_map(|(kind, happened)| happened.then_some(kind))
    .collect();
    kinds.extend(touch.reshaped);
    kinds.extend((!open && before.open).then_some(ChangeKind::Resolved));
    kinds
}

fn wait(incident: &mut Incident, concerned: &[AlertId]) {
    for alert in concerned {
        if incident.updates.len() < WAITING_MAX && !incident.updates.contains(alert) {
            incident.updates.push(*alert);
        }
    }
}

fn show(state: &State, id: IncidentId, concerned: &[AlertId]) -> Option<Change> {
    let held = state.incident(id)?;
    let row = &held.row;
    let alerts = concerned.iter().filter_map(|id| state.alert(*id)).map(member).collect();
    let mut tags = row.tags.clone();
    for (tag, value) in row.pairs.iter().flat_map(|pair| &pair.by) {
        if !matches!(tag.as_ref(), "source" | "host" | "check") && tags.get(tag).is_none() {
            tags.set(tag, crate::model::TagValue::One(value.clone()));
        }
    }
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let Name { title, hosts, checks, sources } = match &row.gone {
        Some(gone) => Name {
            title: gone.title.clone(),
            hosts: gone.hosts.clone(),
            checks: gone.checks.clone(),
            sources: gone.sources.clone(),
        },
        None => name(held, held.status()),
    };
    Some(Change {
        id,
        revision: row.revision,
        kinds: Vec::new(),
        at: state.now(),
        shard: row.shard.clone(),
        status: held.status(),
        severity: row.severity,
        title: title.into(),
        started_at: row.first,
        changed_at: row.changed_at,
        resolved: row.resolved,
        pair: row.pairs.first().cloned(),
        further: row.pairs.iter().skip(1).take(FURTHER_MAX).cloned().collect(),
        further_cut: count(row.pairs.len().saturating_sub(1 + FURTHER_MAX)),
        counts: Counts {
            firing: count(held.firing.len()),
            total: count(held.members.len()),
            events: u64::try_from(held.events).unwrap_or(u64::MAX),
            hosts: count(held.hosts.len()),
            checks: count(held.checks.len()),
            maintenance: held.marked,
        },
        hosts,
        checks,
        sources,
        tags,
        acknowledged: row.acknowledged.clone(),
        flapping: held.is_flapping(),
        maintenance: held.is_maintained(),
        hold: hold::shown(row),
        continues: row.continues,
        continued_by: row.continued_by,
        merged_into: row.gone.as_ref().and_then(|gone| gone.into),
        merged_from: row.merged_from.clone(),
        split_from: row.split_from,
        split_into: row.split_into.clone(),
        joined: Vec::new(),
        left: Vec::new(),
        alerts,
        assignee: row.assignee.clone(),
        snoozed: row.snoozed.clone(),
        actor: None,
        comment: None,
    })
}

/// What an incident is called by.
pub(super) struct Name {
    pub(super) title: Box<str>,
    pub(super) hosts: Vec<Box<str>>,
    pub(super) checks: Vec<Box<str>>,
    pub(super) sources: Vec<Box<str>>,
}

/// What an incident is called by, its title at this status.
pub(super) fn name(held: &Held, status: Status) -> Name {
    Name {
        title: title(held, status).into(),
        hosts: held.hosts.keys().take(NAMES_MAX).cloned().collect(),
        checks: held.checks.keys().take(NAMES_MAX).cloned().collect(),
        sources: held.sources.iter().take(NAMES_MAX).cloned().collect(),
    }
}

fn member(alert: &Alert) -> Member {
    Member {
        id: alert.id,
        source: alert.identity.source().into(),
        host: alert.host.clone(),
        check: alert.check.clone(),
        status: alert.status,
        firing: alert.is_firing(),
        flapping: alert.is_flapping(),
        chronic: alert.chronic,
        maintenance: alert.maintenance.clone(),
        description: alert.description.clone(),
        tags: alert.tags.clone(),
        links: alert.links.clone(),
        started_at: alert.started_at,
        changed_at: alert.changed_at,
        why: alert.why.clone(),
    }
}

/// Rule 16: what they share, what varies, how bad: "web: 12 hosts · disk / · critical".
fn title(held: &Held, status: Status) -> String {
    let status = if held.is_maintained() { "maintenance" } else { status.as_str() };
    let shared = held.row.pairs.first().filter(|_| held.members.len() > 1);
    let fixed = |tag: &str| shared.is_some_and(|pair| pair.by.iter().any(|(by, _)| **by == *tag));
    let mut varying = Vec::new();
    if !fixed("host") {
        varying.extend(names(&held.hosts, "hosts"));
    }
    if !fixed("check") {
        varying.extend(names(&held.checks, "checks"));
    }
    varying.push(status.to_owned());
    let varying = varying.join(" · ");
    let Some(pair) = shared else { return varying };
    let near = pair.near.iter().map(|(_, value)| format!("near {}", short(value)));
    let values: Vec<String> = near.chain(pair.by.iter().map(|(_, value)| short(value))).collect();
    format!("{}: {varying}", values.join(", "))
}

fn names(names: &Names, word: &str) -> Option<String> {
    match names.len() {
        0 => None,
        1 => names.keys().next().map(|name| short(name)),
        many => Some(format!("{many} {word}")),
    }
}

fn short(name: &str) -> String {
    name.chars().take(TITLE_NAME_MAX).collect()
}
