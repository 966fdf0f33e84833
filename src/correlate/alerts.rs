//! What an update means for the alert of its identity: rules 1 to 6.
//!
//! The newest event decides; at equal times the worse status, then the greater content. Which
//! incident a new alert belongs to is `join`'s work.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::flapping::Word;
use super::state::State;
use super::touched::Touched;
use super::{hold, join, lifecycle, maintenance};
use crate::model::alert::MoveKind;
use crate::model::event::{Links, Report};
use crate::model::update::{Touch, refresh_every};
use crate::model::{
    Alert, AlertId, Event, Identity, Resolution, Status, TagValue, Tags, Timestamp, Update, Why,
};

/// Whether an update was in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrived {
    InTime,
    Late,
}

/// Takes an update.
pub(super) fn update(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    update: Update,
) -> Arrived {
    let identity = update.event.identity();
    let Report::Status(status) = update.event.report else {
        return acknowledge(state, touched, &identity, &update.event);
    };
    let Some(id) = state.current(&identity).map(|alert| alert.id) else {
        return first(state, touched, now, identity, status, update);
    };
    state.change_alert(id, |alert| {
        saw(alert, update.seen.newest, update.seen.repeats.saturating_add(1))
    });
    let at = update.event.timestamp;
    if state.alert(id).is_some_and(|alert| alert.is_firing() && alert.alive_until < at) {
        lifecycle::expire(state, touched, id);
    }
    let alert = state.alert(id).expect("an expired alert is kept with its incident");
    if !is_newer(&update.event, status, alert) {
        if !says_again(&update.event, status, alert) {
            return Arrived::Late;
        }
        if let Some((since, Resolution::ByHand)) = alert.resolved
            && now.since(since) > state.settings().dismiss_for
        {
            begin(state, touched, now, identity, status, update);
        } else if restates(alert, now) {
            state.change_alert(id, |alert| {
                lives_on(alert, now, &update);
                alert.appended_at = now;
            });
        }
        return Arrived::InTime;
    }
    // Only a change of status: a repeat may have been suppressed, and must not make a difference.
    let calm = alert.flapping.is_some_and(|flaps| flaps.calm_at <= at && flaps.said != status);
    if calm {
        lifecycle::calm(state, touched, id);
    }
    let alert = state.alert(id).expect("an alert that is calm is kept with its incident");
    let incident = alert.incident;
    let word = Word::heard(state.settings().flapping, now, alert, (at, status));
    match (status, alert.resolved) {
        (_, Some((since, Resolution::ByHand))) => {
            dismissed(state, touched, now, (id, since), (status, word), update);
        }
        (Status::Ok, Some(_)) => {
            // Nothing is wrong, as before; only an older problem that comes later is older still.
            // It is kept for as long as such a one may come.
            state.change_alert(id, |alert| {
                alert.status = Status::Ok;
                alert.newest = at;
                alert.restated_at = None;
                alert.appended_at = now;
            });
        }
        (Status::Ok, None) if alert.said() == Status::Ok => {
            // It flaps, and this is a repeat. Its content is not taken: it may be suppressed.
            state.change_alert(id, |alert| {
                alert.newest = at;
                alert.alive_until = update.alive_until();
                alert.restated_at = None;
                alert.appended_at = now;
            });
        }
        (Status::Ok, None) if word.flapping.is_none() => {
            resolve(state, touched, now, id, word, update);
        }
        (_, None) => follow(state, touched, now, id, (status, word), update),
        (_, Some((ended_at, Resolution::AllOk)))
            if at.since(ended_at) <= state.settings().reopen_window
                && !hold::is_in_vain(state, now, incident) =>
        {
            again(state, touched, now, id, (status, word), update);
        }
        (_, Some(_)) => begin(state, touched, now, identity, status, update),
    }
    Arrived::InTime
}

/// Takes the last word on an identity that collect forgot.
pub(super) fn touch(state: &mut State, now: Timestamp, touch: &Touch) {
    let Some(alert) = state.current(&touch.identity) else { return };
    let (id, lives) = (alert.id, alert.is_firing() || alert.is_dismissed());
    state.change_alert(id, |alert| {
        saw(alert, touch.seen.newest, touch.seen.repeats);
        if lives {
            alert.appended_at = now;
        }
    });
}

/// Counts events, and moves on the time of the newest that was only seen by collect.
fn saw(alert: &mut Alert, newest: Option<(Timestamp, Timestamp)>, events: u64) {
    alert.events = alert.events.saturating_add(events);
    if let Some((newest, alive_until)) = newest.filter(|(newest, _)| *newest > alert.newest) {
        alert.newest = newest;
        alert.restated_at = None;
        if alert.is_firing() || alert.is_dismissed() {
            alert.alive_until = alive_until;
        }
    }
}

/// An event of an identity that has no alert.
fn first(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    identity: Identity,
    status: Status,
    update: Update,
) -> Arrived {
    let at = update.event.timestamp;
    if status == Status::Ok {
        state.remember_ok(identity, at);
        return Arrived::InTime;
    }
    if state.ok(&identity).is_some_and(|ok| at < ok.at) {
        return Arrived::Late;
    }
    state.forget_ok(&identity);
    begin(state, touched, now, identity, status, update);
    Arrived::InTime
}

fn begin(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    identity: Identity,
    status: Status,
    update: Update,
) {
    let alert = newborn(state, now, identity, status, update);
    join::place(state, touched, now, alert);
}

/// The alert that begins with an event.
fn newborn(
    state: &mut State,
    now: Timestamp,
    identity: Identity,
    status: Status,
    update: Update,
) -> Alert {
    let alive_until = update.alive_until();
    let Update { shard, seen, event, .. } = update;
    let started_at = event.timestamp;
    // Ids of an identity sort as its alerts begin, also of two that start at one time.
    let before = state.current(&identity).map(|alert| alert.id);
    let id = (lifecycle::first_nth(started_at, now)..=u32::MAX)
        .map(|nth| AlertId::derive(started_at, &identity, nth))
        .find(|id| state.alert(*id).is_none() && before.is_none_or(|before| before < *id))
        .expect("there are only finitely many alerts");
    let chronic = state.counts_episode(&identity, started_at);
    let maintenance = maintenance::fires(state, now, &event, status);
    Alert {
        id,
        identity,
        shard,
        // `join` sets it.
        incident: crate::model::IncidentId::MIN,
        host: event.host,
        check: event.check,
        status,
        status_changes: Vec::new(),
        flapping: None,
        maintenance,
        description: event.description,
        tags: event.tags,
        links: event.links,
        started_at,
        changed_at: started_at,
        newest: started_at,
        alive_until,
        restated_at: None,
        appended_at: now,
        events: seen.repeats.saturating_add(1),
        acknowledged: false,
        resolved: None,
        why: Why::default(),
        chronic,
    }
}

fn resolve(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    id: AlertId,
    word: Word,
    update: Update,
) {
    let at = update.event.timestamp;
    lifecycle::end(state, touched, id, (at, Resolution::AllOk), |alert| {
        word.put(alert);
        alert.changed_at = at;
        alert.newest = at;
        alert.restated_at = None;
        alert.appended_at = now;
        take_content(alert, update.event);
    });
}

/// What is heard of an alert that was resolved by hand at `since`: its `ok` ends it as any other, a
/// repeat of what it said changes nothing, another status reopens it, and after `dismiss_for` or a
/// silence longer than it lives it begins anew.
fn dismissed(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    (id, since): (AlertId, Timestamp),
    (status, word): (Status, Word),
    update: Update,
) {
    let alert = state.alert(id).expect("the caller looked it up");
    let at = update.event.timestamp;
    let over = alert.alive_until < at || at.since(since) > state.settings().dismiss_for;
    if status == Status::Ok {
        // As with any alert that is over, its content stays as it was told.
        state.change_alert(id, |alert| {
            alert.newest = at;
            alert.restated_at = None;
            alert.appended_at = now;
            alert.status = Status::Ok;
            alert.flapping = None;
            alert.acknowledged = false;
            alert.changed_at = at;
            alert.resolved = Some((at, Resolution::AllOk));
        });
    } else if over {
        let identity = alert.identity.clone();
        begin(state, touched, now, identity, status, update);
    } else if status == alert.said() {
        let mut mark = alert.maintenance.clone();
        if differs(alert, &update.event) {
            // It may come back as it is, and must then be as quiet as it would have become.
            mark = maintenance::heard(state, now, alert, &update.event, (word.status, status));
            touched.alert(state, alert.incident, id, at).updated = true;
        }
        state.change_alert(id, |alert| {
            alert.maintenance = mark;
            hear(alert, now, word, update);
        });
    } else {
        reopen(state, touched, now, id, word, update);
    }
}

/// The alert fires on, with what the newest event says. While it flaps that may be `ok`, and its
/// changes of status are quiet unless it is worse than it was.
fn follow(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    id: AlertId,
    (status, word): (Status, Word),
    update: Update,
) {
    let alert = state.alert(id).expect("the caller looked it up");
    let event = &update.event;
    let tags_differ = differs(alert, event);
    let changed = tags_differ || alert.said() != status;
    let mark = if changed {
        maintenance::heard(state, now, alert, event, (word.status, status))
    } else {
        alert.maintenance.clone()
    };
    let differs = tags_differ
        || alert.status != word.status
        || alert.is_flapping() != word.flapping.is_some()
        || alert.maintenance != mark;
    // Description and links alone are volatile: a refresh brings them along in silence.
    if differs {
        touched.alert(state, alert.incident, id, event.timestamp).updated = true;
    }
    state.change_alert(id, |alert| {
        if changed {
            alert.changed_at = update.event.timestamp;
        }
        alert.maintenance = mark;
        hear(alert, now, word, update);
    });
}

/// An alert fires again within `reopen_window`. It is asked for first as if it were new: where
/// another incident takes it, and its own would not, it begins anew there, since what it told of
/// before is over and what breaks now is known; otherwise it reopens, and its own with it.
///
/// What flaps tells of nothing new, and what somebody moved stays where it was put.
fn again(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    id: AlertId,
    (status, word): (Status, Word),
    update: Update,
) {
    let alert = state.alert(id).expect("the caller looked it up");
    let by_hand = alert.why.moves.iter().any(|moved| moved.kind != MoveKind::Lapsed);
    if word.flapping.is_some() || by_hand {
        return reopen(state, touched, now, id, word, update);
    }
    let (home, identity) = (alert.incident, alert.identity.clone());
    let mut as_new = newborn(state, now, identity, status, update.clone());
    // Its changes of status count on, so that what flaps is known wherever it goes.
    word.clone().put(&mut as_new);
    if !join::elsewhere(state, touched, now, home, as_new) {
        back(state, touched, now, id, word, update);
    }
}

fn reopen(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    id: AlertId,
    word: Word,
    update: Update,
) {
    state.counts_episode(&update.event.identity(), update.event.timestamp);
    back(state, touched, now, id, word, update);
}

/// Reopens an alert whose episode is counted.
fn back(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    id: AlertId,
    word: Word,
    update: Update,
) {
    let at = update.event.timestamp;
    let mark = maintenance::fires(state, now, &update.event, word.status);
    lifecycle::reopen(state, touched, id, at, |alert| {
        alert.changed_at = at;
        alert.maintenance = mark;
        hear(alert, now, word, update);
    });
}

fn acknowledge(
    state: &mut State,
    touched: &mut Touched,
    identity: &Identity,
    event: &Event,
) -> Arrived {
    let Some(alert) = state.current(identity).filter(|alert| alert.is_firing()) else {
        return Arrived::Late;
    };
    if event.timestamp < alert.changed_at {
        // Somebody acknowledged what it said before; a batch that is read again says so again.
        return Arrived::Late;
    }
    if !alert.acknowledged {
        let (id, incident) = (alert.id, alert.incident);
        touched.alert(state, incident, id, event.timestamp).acknowledged = true;
        state.change_alert(id, |alert| alert.acknowledged = true);
        lifecycle::acknowledge(state, incident, &event.source, event.timestamp);
    }
    Arrived::InTime
}

/// Whether an event says anything of an alert that is told, beside its status.
fn differs(alert: &Alert, event: &Event) -> bool {
    alert.tags != event.tags || alert.host != event.host || alert.check != event.check
}

/// Takes what the newest event of an alert that fires says.
fn hear(alert: &mut Alert, now: Timestamp, word: Word, update: Update) {
    word.put(alert);
    if update.event.timestamp > alert.newest || restates(alert, now) {
        lives_on(alert, now, &update);
    } else if alert.restated_at.is_none() {
        alert.alive_until = update.alive_until();
    }
    alert.appended_at = now;
    take_content(alert, update.event);
}

/// Whether an event says once more, at the same time of its own, what an alert says that is not over
/// for its source.
fn says_again(event: &Event, status: Status, alert: &Alert) -> bool {
    (alert.is_firing() || alert.is_dismissed())
        && (event.timestamp, status) == (alert.newest, alert.said())
        && content(&event.host, &event.check, &event.tags)
            == content(&alert.host, &alert.check, &alert.tags)
}

/// Whether what is said once more is more than the same word on another way: half of a refresh has
/// passed since the last one.
fn restates(alert: &Alert, now: Timestamp) -> bool {
    let said_at = alert.restated_at.map_or(alert.newest, |at| at.max(alert.newest));
    let every = refresh_every(alert.alive_until.since(said_at));
    now >= alert.appended_at + every.part(2)
}

/// It is alive as of an event: by that event's time, or, where that did not move, by the log's.
fn lives_on(alert: &mut Alert, now: Timestamp, update: &Update) {
    if update.event.timestamp > alert.newest {
        alert.newest = update.event.timestamp;
        alert.alive_until = update.alive_until();
        alert.restated_at = None;
        return;
    }
    let until = update.event.expires_at.unwrap_or(now + update.expire_after);
    alert.alive_until = until.max(alert.alive_until);
    alert.restated_at = Some(now);
}

fn take_content(alert: &mut Alert, event: Event) {
    if is_bare(&event) {
        return;
    }
    alert.host = event.host;
    alert.check = event.check;
    alert.description = event.description;
    alert.tags = event.tags;
    alert.links = event.links;
}

/// Whether an event says no more than which problem of the sender's is over.
fn is_bare(event: &Event) -> bool {
    event.host.is_empty()
}

/// Rule 1: by time, then by status, then by content, so that the order of arrival does not matter.
fn is_newer(event: &Event, status: Status, alert: &Alert) -> bool {
    let known = (alert.newest, alert.said());
    let new = (event.timestamp, status);
    if new != known {
        // An expired alert keeps its last status; whatever is newer than it decides.
        return new > known;
    }
    if is_bare(event) {
        return false;
    }
    // Only what collect counts as a change comes first: text and links it may have kept to itself,
    // so that they must not decide which tags stand.
    let lasting = content(&event.host, &event.check, &event.tags).cmp(&content(
        &alert.host,
        &alert.check,
        &alert.tags,
    ));
    let volatile =
        || text(&event.description, &event.links).cmp(&text(&alert.description, &alert.links));
    lasting.then_with(volatile).is_gt()
}

/// A number that stands for what an event says of itself beside its status, the same everywhere.
fn content(host: &str, check: &str, tags: &Tags) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0x636f_6e74, 0x656e_7421);
    [host, check].into_iter().for_each(|text| write(&mut hasher, text));
    for (name, value) in tags.iter() {
        write(&mut hasher, name);
        // A list is not its values as names and values of other tags.
        let list = match value {
            TagValue::One(_) => 0,
            TagValue::List(values) => 1 + values.len(),
        };
        hasher.write_u64(list as u64);
        value.values().for_each(|text| write(&mut hasher, text));
    }
    hasher.finish()
}

/// A number that stands for text and links, the same everywhere.
fn text(description: &str, links: &Links) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0x636f_6e74, 0x7465_7874);
    write(&mut hasher, description);
    for (name, url) in links {
        write(&mut hasher, name);
        write(&mut hasher, url);
    }
    hasher.finish()
}

fn write(hasher: &mut SipHasher13, text: &str) {
    hasher.write(text.as_bytes());
    hasher.write_u8(0xff);
}
