//! One thing that happened to an incident, with the incident as it is from then on.

use super::alert::{Resolution, Why};
use super::command::{Comment, Snoozed};
use super::event::Links;
use super::hold::Hold;
use super::id::{AlertId, IncidentId};
use super::incident::{Acknowledged, Pair};
use super::maintenance::Maintained;
use super::matcher::{Labels, Values};
use super::status::Status;
use super::tags::Tags;
use super::time::Timestamp;

/// How many host or check names a change names at most.
pub const NAMES_MAX: usize = 50;

/// How many pairs a change names at most, beside the first.
pub const FURTHER_MAX: usize = 19;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// The incident is new.
    Opened,
    /// It was over and is not any more.
    Reopened,
    /// More alerts fire.
    Grew,
    /// Its status is worse.
    Worsened,
    /// Fewer alerts fire, or its status is less bad.
    Eased,
    /// Tags or text of its alerts changed.
    Updated,
    /// Nobody takes care of it any more.
    Unacknowledged,
    /// Somebody acknowledged it.
    Acknowledged,
    /// It is somebody's, or nobody's.
    Assigned,
    /// It is quiet no more.
    Unsnoozed,
    /// It is quiet for a time.
    Snoozed,
    /// Somebody made a remark.
    Commented,
    /// It is full; another one takes what comes.
    Continued,
    /// An alert of it begins to flap and none did before, or some flap on and that is said again.
    Flapping,
    /// No alert of it flaps any more.
    Calmed,
    /// It was merged into another one, or others were merged into it.
    Merged,
    /// Alerts of it were split off, or it is made of such.
    Split,
    /// A merge or a split was taken back.
    Undone,
    /// The present patterns were asked anew which alerts it has.
    Recorrelated,
    /// Every alert of it that fires is in maintenance, and some were not: it is quiet.
    MaintenanceBegan,
    /// The windows are over; those of its alerts that were in one are quiet until they change.
    MaintenanceEnded,
    /// An alert of it fires outside of maintenance, and none did: it is quiet no more.
    MaintenanceLeft,
    /// The window of patterns that asked for more alerts than it has is over: it holds their pairs no
    /// more, and its alerts may be another incident's now.
    Lapsed,
    /// It was held, and is told from now on.
    Released,
    /// No alert of it fires any more.
    Resolved,
}

impl ChangeKind {
    /// Every kind.
    pub const ALL: [Self; 25] = [
        Self::Opened,
        Self::Reopened,
        Self::Grew,
        Self::Worsened,
        Self::Eased,
        Self::Updated,
        Self::Unacknowledged,
        Self::Acknowledged,
        Self::Assigned,
        Self::Unsnoozed,
        Self::Snoozed,
        Self::Commented,
        Self::Continued,
        Self::Flapping,
        Self::Calmed,
        Self::Merged,
        Self::Split,
        Self::Undone,
        Self::Recorrelated,
        Self::MaintenanceBegan,
        Self::MaintenanceEnded,
        Self::MaintenanceLeft,
        Self::Lapsed,
        Self::Released,
        Self::Resolved,
    ];

    /// The word used in every format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Reopened => "reopened",
            Self::Grew => "grew",
            Self::Worsened => "worsened",
            Self::Eased => "eased",
            Self::Updated => "updated",
            Self::Unacknowledged => "unacknowledged",
            Self::Acknowledged => "acknowledged",
            Self::Assigned => "assigned",
            Self::Unsnoozed => "unsnoozed",
            Self::Snoozed => "snoozed",
            Self::Commented => "commented",
            Self::Continued => "continued",
            Self::Flapping => "flapping",
            Self::Calmed => "calmed",
            Self::Merged => "merged",
            Self::Split => "split",
            Self::Undone => "undone",
            Self::Recorrelated => "recorrelated",
            Self::MaintenanceBegan => "maintenance_began",
            Self::MaintenanceEnded => "maintenance_ended",
            Self::MaintenanceLeft => "maintenance_left",
            Self::Lapsed => "lapsed",
            Self::Released => "released",
            Self::Resolved => "resolved",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// How much an incident holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Alerts that fire now.
    pub firing: u32,
    /// Alerts that joined and were not moved away by command.
    pub total: u32,
    /// Events they stand for, repeats included.
    pub events: u64,
    /// Different hosts.
    pub hosts: u32,
    /// Different checks.
    pub checks: u32,
    /// Alerts, of all that ever joined, that are in maintenance or quiet after it, or ended so.
    pub maintenance: u32,
}

/// An alert as a change shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: AlertId,
    /// The monitoring system.
    pub source: Box<str>,
    /// The primary property.
    pub host: Box<str>,
    /// The secondary property.
    pub check: Box<str>,
    /// What its newest event said; while it flaps, the worst since just before that began.
    pub status: Status,
    /// Whether it still fires.
    pub firing: bool,
    /// Whether it changes its status too often to be told each time; then it fires, whatever it says.
    pub flapping: bool,
    /// Whether its identity fired steadily by the time it began.
    pub chronic: bool,
    /// The planned work it is part of, or was until it ended or is quiet since.
    pub maintenance: Option<Maintained>,
    /// Its newest text.
    pub description: Box<str>,
    /// Its tags.
    pub tags: Tags,
    /// Its links.
    pub links: Links,
    /// By event time.
    pub started_at: Timestamp,
    /// By event time.
    pub changed_at: Timestamp,
    /// Why it is in the incident.
    pub why: Why,
}

/// How many bytes the alerts that a change shows may have together, about; the first is always
/// shown. It is what one event may have, so that a change takes no more than twice that and a half.
pub const ALERTS_BYTES_MAX: usize = 1 << 20;

/// How many of the alerts, from the first on, fit into one change.
pub fn count_fitting<'a>(alerts: impl ExactSizeIterator<Item = &'a Member>) -> usize {
    let all = alerts.len();
    if all < 2 {
        return all;
    }
    let mut room = ALERTS_BYTES_MAX;
    let fits = |(nth, member): &(usize, &Member)| {
        let bytes = member.json_bytes();
        let fits = *nth == 0 || bytes <= room;
        room = room.saturating_sub(bytes);
        fits
    };
    alerts.enumerate().take_while(fits).count()
}

impl Member {
    /// About how long it is as JSON, in bytes; rather too long.
    fn json_bytes(&self) -> usize {
        // Names of fields, ids, times and the reasons of `why`, which are few and short.
        const REST: usize = 2_048;
        let tags = self.tags.iter().map(|(name, value)| {
            json_bytes(name) + value.values().map(json_bytes).sum::<usize>() + 8
        });
        let links = self.links.iter().map(|(name, url)| json_bytes(name) + json_bytes(url) + 8);
        let plan = self.maintenance.as_ref().map(|maintained| &maintained.name);
        let texts = [&self.source, &self.host, &self.check, &self.description];
        let texts = texts.into_iter().chain(plan).map(|text| json_bytes(text));
        REST + tags.chain(links).chain(texts).sum::<usize>()
    }
}

fn json_bytes(text: &str) -> usize {
    let more = |byte: u8| match byte {
        b'"' | b'\\' => 1,
        ..0x20 => 5,
        _ => 0,
    };
    // A comma and quotes, for what is an element of a list.
    text.len() + text.bytes().map(more).sum::<usize>() + 3
}

/// One thing that happened to an incident, with the incident as it is from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The incident.
    pub id: IncidentId,
    /// One more than the change before.
    pub revision: u64,
    /// What happened, in order.
    pub kinds: Vec<ChangeKind>,
    /// By log time.
    pub at: Timestamp,
    /// The set of alerts it draws from.
    pub shard: Box<str>,
    /// The worst status that fires outside of maintenance; `ok` where none does.
    pub status: Status,
    /// The worst status ever.
    pub severity: Status,
    /// One line for people.
    pub title: String,
    /// By event time.
    pub started_at: Timestamp,
    /// By event time.
    pub changed_at: Timestamp,
    /// By event time, and why; none while it is open.
    pub resolved: Option<(Timestamp, Resolution)>,
    /// The first pair that all its alerts shared.
    pub pair: Option<Pair>,
    /// The pairs after the first that they shared as well; at most [`FURTHER_MAX`].
    pub further: Vec<Pair>,
    /// How many more there are.
    pub further_cut: u32,
    /// How much it holds.
    pub counts: Counts,
    /// At most [`NAMES_MAX`] names.
    pub hosts: Vec<Box<str>>,
    /// At most [`NAMES_MAX`] names.
    pub checks: Vec<Box<str>>,
    /// Every source.
    pub sources: Vec<Box<str>>,
    /// The tags all its alerts had in common when they joined.
    pub tags: Tags,
    /// Who acknowledged it.
    pub acknowledged: Option<Acknowledged>,
    /// Whether any of its alerts flaps.
    pub flapping: bool,
    /// Whether it is open and all of its alerts that fire are in maintenance, or quiet after it.
    pub maintenance: bool,
    /// Why nobody is told of it; none where somebody is. At most [`ASKS_MAX`](super::hold::ASKS_MAX)
    /// patterns that ask, those whose pairs it still holds, and as many that asked.
    pub hold: Option<Box<Hold>>,
    /// The incident that was full before this one.
    pub continues: Option<IncidentId>,
    /// The incident that took over when this one was full.
    pub continued_by: Option<IncidentId>,
    /// The incident it was merged into.
    pub merged_into: Option<IncidentId>,
    /// The incidents that were merged into it; at most 50, the newest.
    pub merged_from: Vec<IncidentId>,
    /// The incident it was split off from.
    pub split_from: Option<IncidentId>,
    /// The incidents that were split off from it; at most 50, the newest.
    pub split_into: Vec<IncidentId>,
    /// The alerts that joined now.
    pub joined: Vec<AlertId>,
    /// The alerts that went to another incident now.
    pub left: Vec<AlertId>,
    /// The alerts that this change concerns.
    pub alerts: Vec<Member>,
    /// Whose it is.
    pub assignee: Option<Box<str>>,
    /// By whom and until when it is kept quiet.
    pub snoozed: Option<Snoozed>,
    /// Who asked for this change, where somebody did.
    pub actor: Option<Box<str>>,
    /// The remark that this change is.
    pub comment: Option<Comment>,
}

impl Change {
    /// Whether the incident is open after it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.resolved.is_none()
    }

    /// Whether nobody is told of it, since its patterns ask for more alerts than it has.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.hold.is_some()
    }
}

impl Labels for Member {
    fn values(&self, name: &str) -> Values<'_> {
        match name {
            "source" => Values::one(&self.source),
            "host" => Values::one(&self.host),
            "check" => Values::one(&self.check),
            "status" => Values::one(self.status.as_str()),
            _ => self.tags.values(name),
        }
    }
}

impl Labels for Change {
    fn values(&self, name: &str) -> Values<'_> {
        match name {
            "source" => Values::Many(&self.sources),
            "host" => Values::Many(&self.hosts),
            "check" => Values::Many(&self.checks),
            "status" => Values::one(self.status.as_str()),
            "severity" => Values::one(self.severity.as_str()),
            _ => self.tags.values(name),
        }
    }
}
