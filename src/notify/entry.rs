//! Decides, for one incident and one receiver, whether what the incident is now must be told.
//!
//! Level-triggered: it compares the incident with what the receiver last answered to. Timers, queues
//! and the room a receiver has are `stage`'s work. What must be told stays so until the receiver
//! answered; newer states only replace what is said.

use crate::model::change::{Member, count_fitting};
use crate::model::command::{Audience, Comment};
use crate::model::{AlertId, Change, ChangeKind, Span, Status, Timestamp};
use crate::wire::ledger::{LedgerRow, Said};

/// How many alerts a notice shows, the newest.
pub const ALERTS_MAX: usize = 50;

/// What is told of an open incident though its status is no worse than was told.
const ANEW: [ChangeKind; 6] = [
    ChangeKind::MaintenanceLeft,
    ChangeKind::Reopened,
    ChangeKind::Flapping,
    ChangeKind::Acknowledged,
    ChangeKind::Unacknowledged,
    ChangeKind::Unsnoozed,
];

/// What a command that moves alerts between incidents is told as.
const MOVED: [ChangeKind; 4] =
    [ChangeKind::Merged, ChangeKind::Split, ChangeKind::Undone, ChangeKind::Recorrelated];

/// One incident and one receiver.
#[derive(Debug)]
pub(super) struct Entry {
    /// What is stored.
    pub(super) row: LedgerRow,
    /// The attempt that is under way.
    pub(super) flight: Option<Flight>,
}

/// An attempt that is under way, and what happened since it left.
#[derive(Debug)]
pub(super) struct Flight {
    /// What it says.
    pub(super) said: Said,
    growth: Growth,
    since: Option<Change>,
    since_must: bool,
}

/// Whether a notice is about growth alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Growth {
    Merely,
    AndMore,
}

/// What an entry waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// An answer, or a change.
    Nothing,
    /// The time to say what is pending.
    Send(Timestamp),
    /// The time when it may be forgotten.
    Forget(Timestamp),
}

/// Whether an entry is still of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// It is.
    Yes,
    /// Nothing was told and nothing will be.
    No,
}

impl Entry {
    /// For a receiver that the routes lead to for the first time.
    pub(super) fn new(now: Timestamp, opened_at: Timestamp, wait: Span) -> Self {
        let row = LedgerRow {
            revision: 0,
            opened_at,
            wait,
            // A log whose clock runs ahead of ours must not hold the first notice back.
            due_at: opened_at.min(now) + wait,
            routed: true,
            tried: false,
            told: false,
            said: None,
            grown_at: None,
            must: false,
            attempts: 0,
            retry_at: None,
            ended_at: None,
            muted: false,
            pending: None,
        };
        Self::stored(row)
    }

    /// From its row.
    pub(super) fn stored(row: LedgerRow) -> Self {
        Self { row, flight: None }
    }

    /// Takes the next change; a revision that was seen must not get here.
    pub(super) fn take(&mut self, now: Timestamp, change: &Change, routed: bool) -> Keep {
        let row = &mut self.row;
        row.revision = change.revision;
        let was_quiet = row.pending.as_ref().is_some_and(is_quiet);
        // Held back as muted when it ended: nobody knows of it, and nobody needs to.
        let muted = std::mem::take(&mut row.muted);
        if change.is_open() {
            row.routed = routed;
            row.ended_at = None;
        }
        if let Some(said) = &mut row.said {
            reckon(said, change);
        }
        row.must |= worth_telling(change, row.said.as_ref(), row.told, row.routed);
        gather(&mut row.pending, change);
        if let Some(flight) = &mut self.flight {
            reckon(&mut flight.said, change);
            flight.since_must |= worth_telling(change, Some(&flight.said), true, row.routed);
            gather(&mut flight.since, change);
            return Keep::Yes;
        }
        if row.told || row.tried {
            self.settle_end(now);
            return Keep::Yes;
        }
        // From here on the receiver knows nothing of it.
        if change.is_open() {
            return if row.routed { Keep::Yes } else { Keep::No };
        }
        let transient = change.at < row.opened_at + row.wait;
        if row.must && !transient && !was_quiet && !muted { Keep::Yes } else { Keep::No }
    }

    /// Whether muting has a say: of what is over nobody is kept in the dark who knows of it.
    pub(super) fn can_be_muted(&self) -> bool {
        let knows = self.row.told || self.row.tried;
        self.row.pending.as_ref().is_some_and(|pending| pending.is_open() || !knows)
    }

    /// It is held back; of what is over and unknown to the receiver nothing is left to tell. Says
    /// whether the row is another now.
    pub(super) fn hold(&mut self) -> (Keep, bool) {
        if self.row.pending.as_ref().is_some_and(|pending| !pending.is_open()) {
            return (Keep::No, true);
        }
        let fresh = !self.row.told && !self.row.tried && !self.row.muted;
        self.row.muted |= fresh;
        (Keep::Yes, fresh)
    }

    /// Starts an attempt and hands out what it says.
    pub(super) fn depart(&mut self) -> Change {
        let change = self.row.pending.clone().expect("only what is pending becomes due");
        self.row.tried |= !self.row.told;
        self.row.muted = false;
        self.flight = Some(Flight {
            said: Said {
                revision: change.revision,
                status: change.status,
                total: size(&change),
                resolved: !change.is_open(),
            },
            growth: if self.row.must { Growth::AndMore } else { Growth::Merely },
            since: None,
            since_must: false,
        });
        change
    }

    /// The receiver took what was said.
    pub(super) fn accepted(&mut self, now: Timestamp) {
        let Some(flight) = self.flight.take() else { return };
        self.row.told = true;
        self.row.pending = flight.since;
        self.answered(now, flight.said, flight.growth, flight.since_must);
    }

    /// The receiver refused it for good. What it does not know goes with the next notice.
    pub(super) fn refused(&mut self, now: Timestamp) -> Keep {
        let Some(flight) = self.flight.take() else { return Keep::Yes };
        self.row.tried &= self.row.told;
        self.answered(now, flight.said, flight.growth, flight.since_must);
        let over = self.row.pending.as_ref().is_some_and(|pending| !pending.is_open());
        if over && !self.row.told && !self.row.must { Keep::No } else { Keep::Yes }
    }

    /// The attempt failed; the next one is not before `retry_at`.
    pub(super) fn failed(&mut self, retry_at: Timestamp) {
        self.flight = None;
        self.row.attempts = self.row.attempts.saturating_add(1);
        self.row.retry_at = Some(retry_at);
    }

    /// What it waits for.
    pub(super) fn next(&self, growth_every: Span, keep: Span) -> Next {
        let row = &self.row;
        if self.flight.is_some() {
            return Next::Nothing;
        }
        let due = match (&row.pending, row.must) {
            // Told once it is quiet no more, as it is by then.
            (Some(pending), _) if is_quiet(pending) => None,
            (Some(pending), true) if row.said.is_none() && pending.is_open() => Some(row.due_at),
            (Some(_), true) => Some(Timestamp::MIN),
            (Some(pending), false) if self.grown(pending) => {
                Some(row.grown_at.map_or(Timestamp::MIN, |at| at + growth_every))
            }
            _ => None,
        };
        match (due, row.ended_at) {
            (Some(due), _) => Next::Send(row.retry_at.map_or(due, |at| at.max(due))),
            (None, Some(ended)) => Next::Forget(ended + keep),
            (None, None) => Next::Nothing,
        }
    }

    fn grown(&self, pending: &Change) -> bool {
        let twice = |said: Said| size(pending) >= said.total.saturating_mul(2).max(1);
        // Whoever takes care of it sees it grow.
        let unattended = pending.acknowledged.is_none();
        self.row.routed && pending.is_open() && unattended && self.row.said.is_some_and(twice)
    }

    fn answered(&mut self, now: Timestamp, said: Said, growth: Growth, must: bool) {
        self.row.said = Some(said);
        self.row.must = must;
        self.row.attempts = 0;
        self.row.retry_at = None;
        if growth == Growth::Merely {
            self.row.grown_at = Some(now);
        }
        self.settle_end(now);
    }

    /// Notes since when it is over with nothing left to tell.
    fn settle_end(&mut self, now: Timestamp) {
        let open = match (&self.row.pending, &self.row.said) {
            (Some(pending), _) => pending.is_open(),
            (None, said) => said.is_none_or(|said| !said.resolved),
        };
        if open || self.row.must {
            self.row.ended_at = None;
        } else {
            self.row.ended_at.get_or_insert(now);
        }
    }
}

/// What commands moved from one incident to another was told before: it is no growth, and what was
/// taken out is none that was told.
fn reckon(said: &mut Said, change: &Change) {
    let moved = change.kinds.iter().any(|kind| MOVED.contains(kind));
    if moved {
        let count = |alerts: &[AlertId]| u32::try_from(alerts.len()).unwrap_or(u32::MAX);
        said.total = said.total.saturating_add(count(&change.joined));
        said.total = said.total.saturating_sub(count(&change.left));
    }
}

/// Whether a change must be told to a receiver that last answered to `said`. An end is told to
/// those who were told of the incident; the rest to those whom the routes lead to.
fn worth_telling(change: &Change, said: Option<&Said>, told: bool, routed: bool) -> bool {
    if !change.is_open() {
        return told && said.is_some_and(|said| !said.resolved);
    }
    // That it flaps is told as it begins, and again with each reminder; then it is quiet.
    let remark = change.comment.as_ref().is_some_and(|made| made.audience == Audience::Public);
    let anew = remark || change.kinds.iter().any(|kind| ANEW.contains(kind));
    let news = said.is_none_or(|said| anew || said.resolved || change.status > said.status);
    routed && change.status > Status::Info && news
}

/// Whether nothing is told of it for now: somebody wants it so, it is all in maintenance, or its
/// patterns ask for more alerts than it has.
fn is_quiet(change: &Change) -> bool {
    change.is_open() && (change.snoozed.is_some() || change.maintenance || change.is_held())
}

/// How large an incident is for those who are told of its growth: what joined in maintenance, or is
/// quiet after it, is no growth.
fn size(change: &Change) -> u32 {
    change.counts.total.saturating_sub(change.counts.maintenance)
}

/// Adds a change to what is pending: its state, with the kinds and alerts since the last notice, and
/// the last remark that is for everybody, with who made it.
fn gather(pending: &mut Option<Change>, change: &Change) {
    let mut merged = change.clone();
    let internal = |made: &mut Comment| made.audience == Audience::Internal;
    if merged.comment.take_if(internal).is_some() {
        merged.kinds.retain(|kind| *kind != ChangeKind::Commented);
        merged.actor = None;
    }
    if let Some(before) = pending.take() {
        merged.kinds = last_of_each(before.kinds, &merged.kinds, |kind: &ChangeKind| *kind);
        if merged.comment.is_none() && before.comment.is_some() {
            (merged.comment, merged.actor) = (before.comment, before.actor);
        }
        merged.joined = last_of_each(before.joined, &change.joined, |id: &AlertId| *id);
        merged.alerts = last_of_each(before.alerts, &change.alerts, |alert: &Member| alert.id);
        merged.left = last_of_each(before.left, &change.left, |id: &AlertId| *id);
        merged.left.retain(|alert| !change.joined.contains(alert));
        merged.joined.retain(|alert| !change.left.contains(alert));
        merged.alerts.retain(|alert| !change.left.contains(&alert.id));
    } else {
        merged.kinds = last_of_each(Vec::new(), &merged.kinds, |kind: &ChangeKind| *kind);
    }
    keep_newest(&mut merged.joined);
    keep_newest(&mut merged.left);
    keep_newest(&mut merged.alerts);
    let fit = count_fitting(merged.alerts.iter().rev());
    merged.alerts.drain(..merged.alerts.len() - fit);
    *pending = Some(merged);
}

/// Both lists in order, each key once: where it came last, so that a list of kinds ends with what
/// happened last.
fn last_of_each<T: Clone, K: PartialEq>(old: Vec<T>, new: &[T], key: impl Fn(&T) -> K) -> Vec<T> {
    let mut all: Vec<T> = old;
    for item in new {
        all.retain(|known| key(known) != key(item));
        all.push(item.clone());
    }
    all
}

fn keep_newest<T>(list: &mut Vec<T>) {
    let excess = list.len().saturating_sub(ALERTS_MAX);
    list.drain(..excess);
}
