//! What must be heard of, and what its silence leads to.
//!
//! A missed heartbeat is an event of Muster's own for the identity of its alert, and the next beat
//! another one that says ok: both go the way of every event. Deadlines are by log time, but looked at
//! only where a process of collect says that it reads what is sent ([`Watch`]): while none says so,
//! beats may be waiting unread, and nothing is missed. After a silence of theirs, or a start, every
//! deadline is put off as if the wait for it had begun then.

use std::collections::{BTreeMap, BTreeSet};

use super::alerts;
use super::state::State;
use super::touched::Touched;
use crate::model::event::Report;
use crate::model::heartbeat::{CHECK, KEPT_MAX, OWN_SOURCE, TAG};
use crate::model::update::Seen;
use crate::model::{
    Beating, CorrelateSettings, Event, Heartbeat, Span, Status, TagValue, Timestamp, Update, Watch,
};
use crate::stage::Row;
use crate::wire::heartbeat::{self, Watched};

/// How long collect may say nothing of itself before deadlines are put off.
const SILENCE_MAX: Span = Span::from_secs(30);
/// How long after a process of collect was behind nothing counts as missed.
const HOLD: Span = Span::from_secs(60);
/// How many deadlines are looked at with one record, and how many rows are forgotten with one: what
/// they lead to fits into one commit.
const AT_ONCE: usize = 500;
/// How often what is missed is told again, so that its alert lives on.
const AGAIN: Span = Span::from_secs(600);
/// How long the alert of one lives without being told again.
const LIVES: Span = Span::from_secs(30 * 86_400);

/// The name of a heartbeat, and the value it is about; that is empty where there is none.
pub(super) type Key = (Box<str>, Box<str>);

/// Every heartbeat that is watched.
#[derive(Debug, Default)]
pub(super) struct Heartbeats {
    rows: BTreeMap<Key, Beating>,
    due: BTreeSet<(Timestamp, Key)>,
    /// Those that no settings name any more.
    gone: BTreeSet<Key>,
    /// How many rows each heartbeat has.
    counts: BTreeMap<Box<str>, u32>,
    missed: u64,
    watched: Watched,
    /// Beats for which there was no room, and such of no heartbeat that is known.
    dropped: (u64, u64),
    /// What this record changed, as it is now.
    told: BTreeMap<Key, Beating>,
    /// Rows that changed since they were handed out.
    changed: BTreeSet<Key>,
    watched_changed: bool,
}

impl Heartbeats {
    /// Takes a row back.
    pub(super) fn restore(&mut self, row: Beating) {
        self.index(&row);
        self.rows.insert((row.name.clone(), row.value.clone()), row);
    }

    /// Takes back what is known of collect.
    pub(super) fn restore_watched(&mut self, watched: Watched) {
        self.watched = watched;
    }

    /// The rows that changed since the last call.
    pub(super) fn take_rows(&mut self) -> Vec<Row> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        let mut rows: Vec<Row> = changed
            .map(|key| Row {
                key: heartbeat::key(&key.0, &key.1),
                value: self.rows.get(&key).map(heartbeat::encode_row),
            })
            .collect();
        if std::mem::take(&mut self.watched_changed) {
            let value = Some(heartbeat::encode_watched(self.watched));
            rows.push(Row { key: heartbeat::WATCH_KEY.to_vec(), value });
        }
        rows
    }

    /// Whether some are still to be forgotten.
    pub(super) fn has_gone(&self) -> bool {
        !self.gone.is_empty()
    }

    /// How many are watched, and how many of them are missed.
    pub(super) fn counted(&self) -> (u64, u64) {
        (self.rows.len() as u64, self.missed)
    }

    /// All of them, by name and value.
    pub(super) fn all(&self) -> impl Iterator<Item = &Beating> {
        self.rows.values()
    }

    /// Takes how many beats found no room, and how many are of no heartbeat that is known.
    pub(super) fn take_dropped(&mut self) -> (u64, u64) {
        std::mem::take(&mut self.dropped)
    }

    /// Takes what is to be told.
    pub(super) fn take_told(&mut self) -> impl Iterator<Item = Beating> + use<> {
        std::mem::take(&mut self.told).into_values()
    }

    fn index(&mut self, row: &Beating) {
        let key = (row.name.clone(), row.value.clone());
        *self.counts.entry(row.name.clone()).or_default() += 1;
        self.missed += u64::from(row.missed.is_some());
        if row.gone {
            self.gone.insert(key);
        } else if let Some(due) = row.due {
            self.due.insert((due, key));
        }
    }

    fn unindex(&mut self, row: &Beating) {
        let key = (row.name.clone(), row.value.clone());
        if let Some(count) = self.counts.get_mut(&row.name) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&row.name);
            }
        }
        self.missed -= u64::from(row.missed.is_some());
        self.gone.remove(&key);
        if let Some(due) = row.due {
            self.due.remove(&(due, key));
        }
    }

    /// Puts a row in the place of the one there is.
    fn put(&mut self, row: Beating) {
        let key = (row.name.clone(), row.value.clone());
        if let Some(before) = self.rows.remove(&key) {
            self.unindex(&before);
        }
        self.index(&row);
        self.told.insert(key.clone(), row.clone());
        self.changed.insert(key.clone());
        self.rows.insert(key, row);
    }

    fn take(&mut self, key: &Key) -> Option<Beating> {
        let row = self.rows.remove(key)?;
        self.unindex(&row);
        self.changed.insert(key.clone());
        self.told.insert(key.clone(), Beating { gone: true, due: None, ..row.clone() });
        Some(row)
    }

    fn has_room(&self, rule: &Heartbeat) -> bool {
        let of = self.counts.get(&rule.name).copied().unwrap_or_default();
        of < rule.each_max && self.rows.len() < KEPT_MAX
    }
}

/// A rule of the settings in force.
fn rule<'s>(settings: &'s CorrelateSettings, name: &str) -> Option<&'s Heartbeat> {
    settings.heartbeats.iter().find(|rule| *rule.name == *name)
}

/// Goes by the heartbeats of the settings that are now in force; `before` were those until then.
pub(super) fn configured(state: &mut State, now: Timestamp, before: &CorrelateSettings) {
    let settings = state.shared_settings();
    if before.heartbeats == settings.heartbeats {
        return;
    }
    let by_name = |settings: &CorrelateSettings| -> BTreeMap<Box<str>, Heartbeat> {
        settings.heartbeats.iter().map(|rule| (rule.name.clone(), rule.clone())).collect()
    };
    let (old, new) = (by_name(before), by_name(&settings));
    let rows: Vec<Beating> = state.heartbeats.rows.values().cloned().collect();
    for row in rows {
        let (was, is) = (old.get(&row.name), new.get(&row.name));
        let Some(is) = is.filter(|is| was.is_none_or(|was| was.each == is.each)) else {
            state.heartbeats.put(Beating { gone: true, ..row });
            continue;
        };
        let same = was.is_some_and(|was| {
            (was.every, was.grace, &was.schedule) == (is.every, is.grace, &is.schedule)
        });
        if !same && row.missed.is_none() && !row.gone {
            // By a rule that it does not know yet it cannot be late.
            state.heartbeats.put(Beating { due: is.due_from(now), ..row });
        }
    }
    for rule in new.values().filter(|rule| rule.each.is_none()) {
        begin(state, now, rule);
    }
}

/// Begins to watch a heartbeat that has one value only.
fn begin(state: &mut State, now: Timestamp, rule: &Heartbeat) {
    let key = (rule.name.clone(), Box::default());
    if state.heartbeats.rows.contains_key(&key) {
        return;
    }
    if !state.heartbeats.has_room(rule) {
        state.heartbeats.dropped.0 += 1;
        return;
    }
    let due = rule.due_from(now);
    let (name, value) = key;
    state.heartbeats.put(Beating {
        name,
        value,
        since: now,
        beaten_at: None,
        due,
        missed: None,
        gone: false,
    });
}

/// A heartbeat beats.
pub(super) fn beat(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    (name, value): Key,
    kept_back: Span,
) {
    let settings = state.shared_settings();
    let rule = rule(&settings, &name).filter(|rule| rule.each.is_some() != value.is_empty());
    let Some(rule) = rule else {
        state.heartbeats.dropped.1 += 1;
        return;
    };
    let key = (name, value);
    let known = state.heartbeats.rows.get(&key).cloned();
    if known.as_ref().is_some_and(|row| row.gone) {
        // It comes back as another one: that one is done with first.
        forget(state, touched, now, &key, "is configured otherwise now");
    }
    let known = known.filter(|row| !row.gone);
    if known.is_none() && !state.heartbeats.has_room(rule) {
        state.heartbeats.dropped.0 += 1;
        return;
    }
    if let Some(since) = known.as_ref().and_then(|row| row.missed) {
        let text = format!("heartbeat `{}` is back; it was missed for {}", key.0, now.since(since));
        say(state, touched, now, (rule, &key), (Status::Ok, now), text);
    }
    let due = rule.due_after(now + kept_back);
    let (name, value) = key;
    let since = known.map_or(now, |row| row.since);
    state.heartbeats.put(Beating {
        name,
        value,
        since,
        beaten_at: Some(now),
        due,
        missed: None,
        gone: false,
    });
}

/// A process of collect says how it is.
pub(super) fn watch(state: &mut State, touched: &mut Touched, now: Timestamp, watch: Watch) {
    let Watched { at, held_until } = state.heartbeats.watched;
    let blind = watch == Watch::Began || at.is_none_or(|at| now.since(at) > SILENCE_MAX);
    if blind {
        put_off(state, now);
    }
    let held_until = match watch {
        Watch::Behind => Some(now + HOLD),
        Watch::Began | Watch::CaughtUp => held_until.filter(|until| now < *until),
    };
    state.heartbeats.watched = Watched { at: Some(now), held_until };
    state.heartbeats.watched_changed = true;
    if held_until.is_none() {
        judge(state, touched, now);
    }
}

/// Waits for every heartbeat at least as long as if the wait began now.
fn put_off(state: &mut State, now: Timestamp) {
    let settings = state.shared_settings();
    let from_now: BTreeMap<&str, Option<Timestamp>> =
        settings.heartbeats.iter().map(|rule| (&*rule.name, rule.due_from(now))).collect();
    let rows: Vec<Beating> = state.heartbeats.rows.values().cloned().collect();
    for row in rows.into_iter().filter(|row| row.missed.is_none() && !row.gone) {
        let from_now = from_now.get(&*row.name).copied().flatten();
        if let (Some(due), Some(from_now)) = (row.due, from_now)
            && due < from_now
        {
            state.heartbeats.put(Beating { due: Some(from_now), ..row });
        }
    }
}

/// Looks at what is due.
fn judge(state: &mut State, touched: &mut Touched, now: Timestamp) {
    let settings = state.shared_settings();
    for _ in 0..AT_ONCE {
        let first = state.heartbeats.due.first().filter(|(due, _)| *due <= now).cloned();
        let Some((due, key)) = first else { return };
        let row = state.heartbeats.rows.get(&key).cloned();
        let row = row.expect("what is due has a row");
        let rule = rule(&settings, &key.0).expect("a row that is not gone has its rule");
        match row.missed {
            None => {
                let text = missed_text(rule, &row);
                say(state, touched, now, (rule, &key), (rule.status, due), text);
                state.heartbeats.put(Beating { missed: Some(due), due: Some(now + AGAIN), ..row });
            }
            Some(since) if rule.each.is_some() && now.since(since) >= rule.forget_after => {
                let why = format!("was not heard of for {}, and is forgotten", rule.forget_after);
                forget(state, touched, now, &key, &why);
            }
            Some(_) => {
                let text = missed_text(rule, &row);
                say(state, touched, now, (rule, &key), (rule.status, now), text);
                state.heartbeats.put(Beating { due: Some(now + AGAIN), ..row });
            }
        }
    }
}

/// Forgets some of those that are in no settings any more; with the next record it goes on.
pub(super) fn tidy(state: &mut State, touched: &mut Touched, now: Timestamp) {
    if !state.heartbeats.has_gone() {
        return;
    }
    let settings = state.shared_settings();
    for _ in 0..AT_ONCE {
        let Some(key) = state.heartbeats.gone.first().cloned() else { return };
        forget(state, touched, now, &key, "is not in the config any more");
        // One of this name may be there again, and be another one.
        let anew = rule(&settings, &key.0).filter(|rule| rule.each.is_none() && key.1.is_empty());
        if let Some(rule) = anew {
            begin(state, now, rule);
        }
    }
}

/// Watches one no longer; where it is missed, that is over.
fn forget(state: &mut State, touched: &mut Touched, now: Timestamp, key: &Key, why: &str) {
    let Some(row) = state.heartbeats.take(key).filter(|row| row.missed.is_some()) else { return };
    let text = format!("heartbeat `{}` {why}", row.name);
    let known = state
        .current(&identity(key))
        .map(|alert| (alert.host.clone(), alert.tags.clone(), alert.shard.clone(), alert.newest));
    let Some((host, tags, shard, newest)) = known else { return };
    let at = now.max(newest + Span::from_millis(1));
    let event = event(key, (host, tags), (Status::Ok, at), text);
    let update = Update { shard, expire_after: LIVES, seen: Seen::default(), event };
    alerts::update(state, touched, now, update);
}

/// Says of a heartbeat's alert what an event would.
fn say(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    (rule, key): (&Heartbeat, &Key),
    (status, at): (Status, Timestamp),
    text: String,
) {
    // Somebody else may have sent events of this identity; what is said here is the newest.
    let newest = state.current(&identity(key)).map(|alert| alert.newest);
    let at = newest.map_or(at, |newest| at.max(newest + Span::from_millis(1)));
    let (name, value) = key;
    let mut tags = rule.tags.clone();
    tags.set(TAG, TagValue::one(name));
    if let Some(each) = rule.each.as_deref().filter(|each| *each != "host") {
        tags.set(each, TagValue::one(value));
    }
    let host = if value.is_empty() { name } else { value };
    let event = event(key, (host.clone(), tags), (status, at), text);
    let shard = rule.shard.clone();
    let update = Update { shard, expire_after: LIVES, seen: Seen::default(), event };
    alerts::update(state, touched, now, update);
}

fn event(
    key: &Key,
    (host, tags): (Box<str>, crate::model::Tags),
    (status, timestamp): (Status, Timestamp),
    text: String,
) -> Event {
    Event {
        source: OWN_SOURCE.into(),
        host,
        check: CHECK.into(),
        key: Some(alert_key(key)),
        report: Report::Status(status),
        timestamp,
        description: text.into(),
        tags,
        links: Default::default(),
        expires_at: None,
        id: None,
    }
}

fn identity(key: &Key) -> crate::model::Identity {
    crate::model::Identity::new(OWN_SOURCE, None, None, Some(&alert_key(key)))
}

/// Tells the alerts of two heartbeats apart that are about the same host.
fn alert_key((name, value): &Key) -> Box<str> {
    format!("{CHECK} {}:{name} {value}", name.len()).into()
}

fn missed_text(rule: &Heartbeat, row: &Beating) -> String {
    let Heartbeat { name, every, grace, .. } = rule;
    let last = match row.beaten_at {
        Some(at) => format!("the last beat was at {}", shown(at)),
        None => format!("none since it is watched, {}", shown(row.since)),
    };
    format!("heartbeat `{name}` is missed: expected every {every}, {grace} of grace; {last}")
}

fn shown(at: Timestamp) -> String {
    let instant = jiff::Timestamp::from_millisecond(at.as_millis());
    instant.map_or_else(|_| at.as_millis().to_string(), |instant| format!("{instant:.0}"))
}
