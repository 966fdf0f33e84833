//! Moves alerts between incidents as people ask: merge, split, split-all, and the undo of each.
//!
//! An alert remembers each of its moves and by which request it was made, so that an undo needs
//! nothing else: what that request moved last goes back where it came from, and what came meanwhile
//! stays where it is. Neither a merge nor a split changes what an incident's own alerts shared: it
//! goes on taking what it took before, and each alert that was moved says by whom.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::commands::Answer;
use super::state::State;
use super::touched::Touched;
use super::{hold, pairs, report};
use crate::model::alert::{MOVES_MAX, MoveKind, Moved};
use crate::model::command::{Outcome, Refused};
use crate::model::incident::{Gone, LINKS_MAX};
use crate::model::{
    Alert, AlertId, ChangeKind, Command, Incident, IncidentId, Pair, Resolution, Status, Timestamp,
};

/// How many alerts one command moves at most.
pub(super) const MOVED_MAX: usize = 10_000;

/// A merge that moves more alerts than this wants their number confirmed.
const MERGED_FREELY: u64 = 100;

/// A split-all that opens more incidents than this wants their number confirmed.
const SPLIT_FREELY: u64 = 10;

/// Who moves alerts, when and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order<'a> {
    pub(super) now: Timestamp,
    pub(super) kind: MoveKind,
    pub(super) by: &'a str,
    pub(super) request: &'a str,
}

impl<'a> Order<'a> {
    /// As a command has it.
    pub(super) fn new(now: Timestamp, kind: MoveKind, command: &'a Command) -> Self {
        Self { now, kind, by: &command.actor, request: command.request.as_str() }
    }

    /// What a change calls it.
    fn told(self) -> ChangeKind {
        match self.kind {
            MoveKind::Merged => ChangeKind::Merged,
            MoveKind::Split => ChangeKind::Split,
            MoveKind::Recorrelated => ChangeKind::Recorrelated,
            MoveKind::Lapsed => ChangeKind::Lapsed,
        }
    }

    fn moved(self, from: IncidentId) -> Moved {
        let (kind, at) = (self.kind, self.now);
        Moved { kind, from, by: self.by.into(), at, request: self.request.into() }
    }
}

/// The alerts of some incidents become another one's; they end.
pub(super) fn merge(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    command: &Command,
    (into, from): (IncidentId, &[IncidentId]),
) -> Answer {
    let from: BTreeSet<IncidentId> = from.iter().copied().collect();
    if let Some(refused) = cannot_merge(state, into, &from) {
        return refused;
    }
    let moves: Vec<(IncidentId, Vec<AlertId>)> =
        from.iter().map(|id| (*id, members(state, *id))).collect();
    let count = moves.iter().map(|(_, alerts)| alerts.len()).sum::<usize>();
    if count > MOVED_MAX {
        return too_many(count);
    }
    if let Some(refused) = unconfirmed(command, count, MERGED_FREELY, "move", "alert") {
        return refused;
    }
    let order = Order::new(now, MoveKind::Merged, command);
    for (id, alerts) in &moves {
        let into_each: Vec<_> = alerts.iter().map(|alert| (*alert, into)).collect();
        hand_over(state, touched, order, *id, &into_each);
        state.change_incident(into, |row| link(&mut row.merged_from, *id));
    }
    settle(state, into);
    let message = format!("{} of {} merged into {into}", counted(count, "alert"), listed(&from));
    let incidents = std::iter::once(into).chain(from).collect();
    Answer { count: count as u64, ..Answer::done(incidents, message) }
}

/// Some alerts become an incident of their own.
pub(super) fn split(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    command: &Command,
    (id, alerts): (IncidentId, &[AlertId]),
) -> Answer {
    if let Some(refused) = not_there(state, id) {
        return refused;
    }
    let alerts: BTreeSet<AlertId> = alerts.iter().copied().collect();
    for alert in &alerts {
        let message = match state.alert(*alert) {
            Some(known) if known.incident == id => continue,
            Some(known) => format!("{alert} is in {}, not in {id}", known.incident),
            None => format!("no alert {alert} is known here, or none any more"),
        };
        return Answer::refused(Refused::UnknownAlert, message);
    }
    let all = state.incident(id).map_or(0, |held| held.members.len());
    let count = alerts.len();
    if count == all {
        let message = format!(
            "these are all {all} alerts of {id}, and none would be left; name some of them, or ask \
             for split_all"
        );
        return Answer::refused(Refused::NothingLeft, message);
    }
    if let Some(refused) = unconfirmed(command, count, u64::MAX, "move", "alert") {
        return refused;
    }
    let order = Order::new(now, MoveKind::Split, command);
    let alerts: Vec<AlertId> = alerts.into_iter().collect();
    let new = split_off(state, touched, order, id, &[alerts]);
    settle(state, id);
    let message = format!("{} of {id} split off into {}", counted(count, "alert"), listed(&new));
    let incidents = std::iter::once(id).chain(new).collect();
    Answer { count: count as u64, ..Answer::done(incidents, message) }
}

/// Each alert becomes an incident of its own; the one they were in ends.
pub(super) fn split_all(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    command: &Command,
    id: IncidentId,
) -> Answer {
    if let Some(refused) = not_there(state, id) {
        return refused;
    }
    let alerts = members(state, id);
    let count = alerts.len();
    if count < 2 {
        let message = format!("{id} has {count} alert; there is nothing to split");
        return Answer::refused(Refused::NothingLeft, message);
    }
    if count > MOVED_MAX {
        return too_many(count);
    }
    if let Some(refused) = unconfirmed(command, count, SPLIT_FREELY, "open", "incident") {
        return refused;
    }
    let order = Order::new(now, MoveKind::Split, command);
    let each: Vec<Vec<AlertId>> = alerts.into_iter().map(|alert| vec![alert]).collect();
    let new = split_off(state, touched, order, id, &each);
    let message = format!("{id} split into {count} incidents");
    let incidents = std::iter::once(id).chain(new).collect();
    Answer { count: count as u64, ..Answer::done(incidents, message) }
}

/// As if the merge or the split of a request had not been, for all that it moved last.
pub(super) fn undo(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    command: &Command,
    request: &str,
) -> Answer {
    let moves = match what_goes_back(state, now, request) {
        Ok(moves) => moves,
        Err(refused) => return refused,
    };
    let count = moves.values().map(Vec::len).sum::<usize>();
    if let Some(refused) = unconfirmed(command, count, u64::MAX, "move", "alert") {
        return refused;
    }
    let order = Order::new(now, MoveKind::Merged, command);
    let (mut left, mut filled) = (BTreeSet::new(), BTreeSet::new());
    for ((is_in, was_in), alerts) in &moves {
        tell(state, touched, order, *was_in, ChangeKind::Undone);
        let back: Vec<_> = alerts.iter().map(|alert| (*alert, *was_in)).collect();
        carry(state, touched, order, *is_in, &back, ChangeKind::Undone, |alert| {
            alert.why.moves.pop();
        });
        state.change_incident(*is_in, |row| row.merged_from.retain(|id| id != was_in));
        left.insert(*is_in);
        filled.insert(*was_in);
    }
    let empty = |state: &State| left.iter().copied().filter(|id| is_empty(state, *id)).collect();
    let empty: BTreeSet<IncidentId> = empty(state);
    for id in &filled {
        state.change_incident(*id, |row| {
            row.split_into.retain(|other| !empty.contains(other));
            row.resolved = row.gone.take().map_or(row.resolved, |gone| gone.resolved);
        });
    }
    left.iter().chain(&filled).for_each(|id| settle(state, *id));
    let message = format!("{} back in {}", counted(count, "alert"), listed(&filled));
    let incidents = filled.into_iter().chain(left).collect();
    Answer { count: count as u64, ..Answer::done(incidents, message) }
}

/// An alert that would join an incident that was merged joins the one it was merged into. What the
/// merged one shared goes on to narrow, so that an undo finds it as if the alert had joined it.
pub(super) fn follow(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    merged: IncidentId,
    pairs: &[Pair],
    mut alert: Alert,
) {
    let start = alert.started_at;
    state.change_incident(merged, |row| {
        row.pairs.retain(|pair| pairs.contains(pair));
        row.tags.keep_shared(&alert.tags);
    });
    let mut into = merged;
    while let Some(gone) = state.incident(into).and_then(|held| held.row.gone.clone()) {
        let Some(next) = gone.into else { break };
        let Gone { kind, at, by, request, .. } = *gone;
        remember(&mut alert, Moved { kind, from: into, by, at, request });
        state.change_incident(into, |row| {
            row.latest = row.latest.max(start);
            row.reshaped_at = Some(now);
        });
        into = next;
    }
    touched.alert(state, into, alert.id, start).joined.push(alert.id);
    state.change_incident(into, |row| {
        row.latest = row.latest.max(start);
        row.resolved = None;
    });
    alert.incident = into;
    state.add_alert(alert);
}

/// Where the alerts of an incident are: itself, or what it was merged into.
pub(super) fn where_now(state: &State, mut id: IncidentId) -> IncidentId {
    while let Some(into) =
        state.incident(id).and_then(|held| held.row.gone.as_ref()).and_then(|gone| gone.into)
    {
        id = into;
    }
    id
}

/// Moves alerts of one incident into others that are there already, and tells all of them.
pub(super) fn hand_over(
    state: &mut State,
    touched: &mut Touched,
    order: Order<'_>,
    from: IncidentId,
    alerts: &[(AlertId, IncidentId)],
) {
    carry(state, touched, order, from, alerts, order.told(), |alert| {
        remember(alert, order.moved(from));
    });
}

fn carry(
    state: &mut State,
    touched: &mut Touched,
    order: Order<'_>,
    from: IncidentId,
    alerts: &[(AlertId, IncidentId)],
    told: ChangeKind,
    change: impl FnMut(&mut Alert),
) {
    let touch = tell(state, touched, order, from, told);
    touch.left.extend(alerts.iter().map(|(alert, _)| *alert));
    let mut by_target: BTreeMap<IncidentId, Vec<AlertId>> = BTreeMap::new();
    for (alert, into) in alerts {
        by_target.entry(*into).or_default().push(*alert);
    }
    let all = state.incident(from).is_some_and(|held| held.members.len() == alerts.len());
    if all {
        let one = by_target.first_key_value().filter(|_| by_target.len() == 1);
        let into = one.map(|(into, _)| *into);
        if let Some(held) = state.incident(from) {
            let name = report::name(held, Status::Ok);
            leave_empty(state, order, from, into, name);
        }
    }
    let told_of = state.incident(from).is_some_and(|held| held.row.hold.is_none());
    let severity = state.incident(from).map_or(Status::Ok, |held| held.row.severity);
    for (into, alerts) in by_target {
        let known = alerts.iter().filter_map(|alert| state.alert(*alert));
        let (changed, latest) = known.fold((Timestamp::MIN, Timestamp::MIN), |sum, alert| {
            (sum.0.max(alert.changed_at), sum.1.max(alert.started_at))
        });
        let touch = tell(state, touched, order, into, told);
        touch.at = touch.at.max(changed);
        touch.joined.extend(&alerts);
        touch.concern(alerts.iter().copied());
        state.change_incident(into, |row| {
            row.latest = row.latest.max(latest);
            row.reshaped_at = Some(order.now);
            if all {
                row.severity = row.severity.max(severity);
            }
        });
        if told_of {
            // What was told once does not go silent because it is elsewhere.
            hold::release(state, into);
        }
    }
    state.change_incident(from, |row| row.reshaped_at = Some(order.now));
    state.move_alerts(from, alerts, change);
}

/// An incident ends because its alerts are elsewhere; it keeps what it was called by.
pub(super) fn leave_empty(
    state: &mut State,
    order: Order<'_>,
    id: IncidentId,
    into: Option<IncidentId>,
    called: report::Name,
) {
    let Some(held) = state.incident(id) else { return };
    let report::Name { title, hosts, checks, sources } = called;
    let gone = Gone {
        into,
        kind: order.kind,
        at: order.now,
        by: order.by.into(),
        request: order.request.into(),
        resolved: held.row.resolved,
        title,
        hosts,
        checks,
        sources,
    };
    let reason = if into.is_some() { Resolution::Merged } else { Resolution::Split };
    state.change_incident(id, |row| {
        row.resolved = Some((order.now, reason));
        row.gone = Some(Box::new(gone));
    });
}

/// Opens an incident for each group of alerts of another one.
fn split_off(
    state: &mut State,
    touched: &mut Touched,
    order: Order<'_>,
    from: IncidentId,
    groups: &[Vec<AlertId>],
) -> BTreeSet<IncidentId> {
    let mut moves = Vec::new();
    let mut new = BTreeSet::new();
    for alerts in groups {
        let Some(id) = open(state, touched, order, alerts, Some(from)) else { continue };
        state.change_incident(from, |row| link(&mut row.split_into, id));
        moves.extend(alerts.iter().map(|alert| (*alert, id)));
        new.insert(id);
    }
    hand_over(state, touched, order, from, &moves);
    new.iter().for_each(|id| settle(state, *id));
    new
}

/// Opens an incident for alerts that are about to be moved into it. It holds what they share beyond
/// what the one they leave holds: what belongs there goes on going there.
pub(super) fn open(
    state: &mut State,
    touched: &mut Touched,
    order: Order<'_>,
    alerts: &[AlertId],
    split_from: Option<IncidentId>,
) -> Option<IncidentId> {
    let settings = state.shared_settings();
    let known: Vec<&Alert> = alerts.iter().filter_map(|alert| state.alert(*alert)).collect();
    let opener = known.iter().min_by_key(|alert| (alert.started_at, alert.id))?;
    let (first, identity) = (opener.started_at, opener.identity.clone());
    let id = (0..)
        .map(|nth| IncidentId::derive(first, &identity, number(order.request).wrapping_add(nth)))
        .find(|id| state.incident(*id).is_none())
        .expect("there are only finitely many incidents");
    let mut tags = opener.tags.clone();
    known.iter().for_each(|alert| tags.keep_shared(&alert.tags));
    let held = split_from.and_then(|from| state.incident(from)).map(|held| &held.row);
    let left = held.map_or(&[][..], |row| &row.pairs);
    let of = |alert: &Alert| {
        pairs::of(&settings, state.patterns(), alert)
            .0
            .into_iter()
            .flat_map(|(_, pairs)| pairs)
            .collect::<Vec<_>>()
    };
    let mut pairs: Vec<Pair> = of(opener);
    pairs.retain(|pair| !left.contains(pair));
    for alert in &known {
        if pairs.is_empty() {
            break;
        }
        let shared = of(alert);
        pairs.retain(|pair| shared.contains(pair));
    }
    let worst = known.iter().map(|alert| alert.status).max().filter(|worst| *worst > Status::Ok);
    let severity = worst.or(held.map(|row| row.severity)).unwrap_or_default();
    let latest = known.iter().map(|alert| alert.started_at).max().unwrap_or(first);
    let changed_at = known.iter().map(|alert| alert.changed_at).max().unwrap_or(first);
    let shard = opener.shard.clone();
    let hold = match split_from {
        Some(_) => held
            .and_then(|row| row.hold.as_ref())
            .map(|from| hold::inherited(&settings, order.now, &pairs, from)),
        // Until it is known what it holds and where its alerts come from.
        None => Some(Box::default()),
    };
    touched.incident(state, id, changed_at);
    state.add_incident(Incident {
        id,
        revision: 0,
        shard,
        first,
        latest,
        opened_at: order.now,
        changed_at,
        resolved: None,
        severity,
        pairs,
        tags,
        continues: None,
        continued_by: None,
        acknowledged: None,
        assignee: None,
        snoozed: None,
        updated_at: None,
        remind_at: None,
        updates: Vec::new(),
        gone: None,
        merged_from: Vec::new(),
        split_from,
        split_into: Vec::new(),
        reshaped_at: Some(order.now),
        hold,
    });
    Some(id)
}

/// An incident is open while any of its alerts fires; one that was open until now ended when the
/// last of them did.
pub(super) fn settle(state: &mut State, id: IncidentId) {
    let Some(held) = state.incident(id).filter(|held| !held.members.is_empty()) else { return };
    let fires = !held.firing.is_empty();
    match (fires, held.row.resolved) {
        (true, Some(_)) => state.change_incident(id, |row| row.resolved = None),
        (false, None) => {
            let ends = held.members.iter().filter_map(|alert| state.alert(*alert)?.resolved);
            let last = ends.max();
            state.change_incident(id, |row| row.resolved = last);
        }
        (true, None) | (false, Some(_)) => {}
    }
}

/// What the request moved and nothing else since, by where it is and where it was.
type GoesBack = BTreeMap<(IncidentId, IncidentId), Vec<AlertId>>;

fn what_goes_back(state: &State, now: Timestamp, request: &str) -> Result<GoesBack, Answer> {
    let refused = |reason, message: String| Err(Answer::refused(reason, message));
    let Some(alerts) = state.moved_by(request) else {
        let message = format!(
            "nothing that the request {request} moved is still where it was put: it is undone \
             already, was moved on, or is forgotten"
        );
        return refused(Refused::NotUndoable, message);
    };
    let mut moves = GoesBack::new();
    for alert in alerts.iter().filter_map(|id| state.alert(*id)) {
        let Some(moved) = alert.why.moves.last() else { continue };
        if moved.kind == MoveKind::Recorrelated {
            let message = "what was correlated anew cannot be undone; split or merge it by hand";
            return refused(Refused::NotUndoable, message.to_owned());
        }
        let window = state.settings().reopen_window;
        if now > moved.at + window {
            let message =
                format!("the request {request} is longer ago than reopen_window ({window})");
            return refused(Refused::NotUndoable, message);
        }
        let Some(was_in) = state.incident(moved.from) else {
            let message = format!("{} is forgotten", moved.from);
            return refused(Refused::NotUndoable, message);
        };
        if let Some(gone) = was_in.row.gone.as_ref().filter(|gone| *gone.request != *request) {
            let message = format!(
                "{} was {} by the request {} since; undo that first",
                moved.from,
                gone.kind.as_str(),
                gone.request
            );
            return refused(Refused::NotUndoable, message);
        }
        moves.entry((alert.incident, moved.from)).or_default().push(alert.id);
    }
    Ok(moves)
}

fn cannot_merge(state: &State, into: IncidentId, from: &BTreeSet<IncidentId>) -> Option<Answer> {
    if from.contains(&into) {
        let message = format!("{into} cannot be merged into itself");
        return Some(Answer::refused(Refused::Itself, message));
    }
    if let Some(refused) = std::iter::once(&into).chain(from).find_map(|id| not_there(state, *id)) {
        return Some(refused);
    }
    let shard = |id: &IncidentId| state.incident(*id).map(|held| held.row.shard.clone());
    let other = from.iter().find(|id| shard(id) != shard(&into))?;
    let message = format!(
        "{other} is of the shard {}, {into} of {}; shards do not share incidents",
        shard(other).unwrap_or_default(),
        shard(&into).unwrap_or_default()
    );
    Some(Answer::refused(Refused::OtherShard, message))
}

/// Why nothing can be done with the alerts of an incident: it is not known, or has none.
fn not_there(state: &State, id: IncidentId) -> Option<Answer> {
    let Some(held) = state.incident(id) else {
        let message = format!("no incident {id} is known here, or none any more");
        return Some(Answer::refused(Refused::UnknownIncident, message));
    };
    let gone = held.row.gone.as_ref()?;
    let message = match gone.into {
        Some(into) => format!("{id} was merged into {into} by {}; name that one", gone.by),
        None => format!("{id} was split up by {}; it has no alerts any more", gone.by),
    };
    Some(Answer::refused(Refused::Gone, message))
}

pub(super) fn too_many(count: usize) -> Answer {
    let message = format!("it would move {count} alerts; one command moves at most {MOVED_MAX}");
    Answer { count: count as u64, ..Answer::refused(Refused::TooMany, message) }
}

/// A number that was given must be right, and where there are many one must be given.
pub(super) fn unconfirmed(
    command: &Command,
    count: usize,
    freely: u64,
    would: &str,
    what: &str,
) -> Option<Answer> {
    let what = counted(count, what);
    let count = count as u64;
    let fine = command.confirm.map_or(count <= freely, |confirmed| confirmed == count);
    let message = format!("it would {would} {what}; confirm that number");
    let outcome = Outcome::Refused(Refused::Confirm);
    (!fine).then(|| Answer { outcome, count, ..Answer::refused(Refused::Confirm, message) })
}

/// Notes that somebody does something with an incident. Must be asked for before it is changed.
pub(super) fn tell<'t>(
    state: &State,
    touched: &'t mut Touched,
    order: Order<'_>,
    id: IncidentId,
    told: ChangeKind,
) -> &'t mut super::touched::Touch {
    let touch = touched.by(state, id, order.by);
    touch.reshaped = Some(told);
    touch
}

fn remember(alert: &mut Alert, moved: Moved) {
    push(&mut alert.why.moves, moved);
}

/// The newest are kept.
pub(super) fn push(moves: &mut Vec<Moved>, moved: Moved) {
    if moves.len() == MOVES_MAX {
        moves.remove(0);
    }
    moves.push(moved);
}

fn members(state: &State, id: IncidentId) -> Vec<AlertId> {
    state.incident(id).map(|held| held.members.iter().copied().collect()).unwrap_or_default()
}

fn is_empty(state: &State, id: IncidentId) -> bool {
    state.incident(id).is_some_and(|held| held.members.is_empty())
}

/// The newest are kept.
fn link(links: &mut Vec<IncidentId>, id: IncidentId) {
    links.retain(|known| *known != id);
    if links.len() == LINKS_MAX {
        links.remove(0);
    }
    links.push(id);
}

/// A number that stands for a request, the same everywhere: an incident that was, and is forgotten,
/// must not come again as another one.
fn number(request: &str) -> u32 {
    let mut hasher = SipHasher13::new_with_keys(0x7265_7175, 0x6573_7421);
    hasher.write(request.as_bytes());
    let bytes = hasher.finish().to_le_bytes();
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// A number of things, in words.
pub(super) fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn listed(ids: &BTreeSet<IncidentId>) -> String {
    match ids.len() {
        0..=3 => ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        many => format!("{many} incidents"),
    }
}
