//! What people ask of correlate, and what becomes of it.
//!
//! A command is a record in correlate's log, so that a replay does what people did. Its request id
//! makes it safe to send again; its actor stands in the timeline of whatever it changes.

use std::fmt;

use super::id::{AlertId, IncidentId};
use super::incident::Acknowledged;
use super::matcher::Matchers;
use super::status::Status;
use super::time::Timestamp;

/// The longest request id, in bytes.
pub const REQUEST_BYTES_MAX: usize = 128;
/// The longest name of an actor or an assignee, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// The longest comment, in bytes.
pub const COMMENT_BYTES_MAX: usize = 4_096;
/// How many ids one command names at most.
pub const IDS_MAX: usize = 1_000;
/// How many matchers one command has at most.
pub const MATCHERS_MAX: usize = 50;
/// The longest maintenance plan, in bytes.
pub const PLAN_BYTES_MAX: usize = 16_384;
/// How many incidents, and how many lines, a result names at most; more are only counted.
pub const NAMED_MAX: usize = 50;

/// The text is no request id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no request id: it has 1 to {REQUEST_BYTES_MAX} characters, letters, digits and any of \
     `-_.:/@+=#`"
)]
pub struct RequestIdError(String);

/// What makes a command safe to send again: chosen by whoever sends it, remembered for a day.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(Box<str>);

impl RequestId {
    /// Reads a request id.
    ///
    /// # Errors
    /// Says what one looks like.
    pub fn parse(text: &str) -> Result<Self, RequestIdError> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/@+=#".contains(&byte);
        if (1..=REQUEST_BYTES_MAX).contains(&text.len()) && text.bytes().all(known) {
            return Ok(Self(text.into()));
        }
        Err(RequestIdError(text.chars().take(40).collect()))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Something that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Its id; a repeat within a day gets the first result and changes nothing.
    pub request: RequestId,
    /// Who asks.
    pub actor: Box<str>,
    /// How many things it may touch, where it would touch several.
    pub confirm: Option<u64>,
    /// What is asked for.
    pub action: Action,
}

/// What ends a snooze before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SnoozeEnds {
    /// A new alert joins.
    pub new_alert: bool,
    /// The status gets worse than it was when the snooze began.
    pub worse: bool,
    /// The incident is resolved and reopened.
    pub reopened: bool,
}

/// Who may see a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Only those who work on the incident; no receiver gets it.
    Internal,
    /// Everybody, receivers too.
    Public,
}

/// Incidents, by id or by what they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// Just these; at most [`IDS_MAX`].
    Incidents(Vec<IncidentId>),
    /// Every open one that fulfils the conditions.
    Matching(Matchers),
}

/// Whether a command does what it says or only shows what it would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only shows it.
    DryRun,
    /// Does it.
    Apply,
}

/// What can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Somebody takes care; ends with the resolve.
    Acknowledge {
        /// Of what.
        incident: IncidentId,
        /// By log time, when it ends by itself.
        until: Option<Timestamp>,
    },
    /// Nobody takes care any more.
    Unacknowledge {
        /// Of what.
        incident: IncidentId,
    },
    /// It is somebody's.
    Assign {
        /// What.
        incident: IncidentId,
        /// Whose; none: nobody's.
        to: Option<Box<str>>,
    },
    /// Quiet for a time.
    Snooze {
        /// What.
        incident: IncidentId,
        /// By log time, when it ends by itself.
        until: Timestamp,
        /// What ends it before.
        ends_on: SnoozeEnds,
    },
    /// Quiet no more.
    Unsnooze {
        /// What.
        incident: IncidentId,
    },
    /// It is over, whatever its alerts say.
    Resolve(Which),
    /// A remark in the timeline.
    Comment {
        /// On what.
        incident: IncidentId,
        /// At most [`COMMENT_BYTES_MAX`] bytes.
        text: Box<str>,
        /// Who may see it.
        audience: Audience,
    },
    /// The alerts of some incidents become another one's.
    Merge {
        /// The one that stays.
        into: IncidentId,
        /// Those that end.
        from: Vec<IncidentId>,
    },
    /// Some alerts become an incident of their own.
    Split {
        /// From where.
        incident: IncidentId,
        /// Which.
        alerts: Vec<AlertId>,
    },
    /// Each alert becomes an incident of its own.
    SplitAll {
        /// From where.
        incident: IncidentId,
    },
    /// As if a merge, a split or a resolve by hand had not been.
    Undo {
        /// The request id of what is taken back.
        request: RequestId,
    },
    /// Open incidents go through the present patterns once more.
    Recorrelate {
        /// Only those of this shard; none: of every shard in the partition.
        shard: Option<Box<str>>,
        /// Whether it is done or only shown.
        mode: Mode,
    },
    /// A maintenance plan is new, or is now another one.
    MaintenancePut {
        /// The plan, as JSON.
        plan: Box<str>,
        /// Whether it is done, or only said how many alerts it would mark.
        mode: Mode,
    },
    /// A maintenance plan is over.
    MaintenanceEnd {
        /// Which.
        id: Box<str>,
    },
}

impl Action {
    /// The word for each, in the order of the enum.
    pub const WORDS: [&'static str; 14] = [
        "acknowledge",
        "unacknowledge",
        "assign",
        "snooze",
        "unsnooze",
        "resolve",
        "comment",
        "merge",
        "split",
        "split_all",
        "undo",
        "recorrelate",
        "maintenance_put",
        "maintenance_end",
    ];

    /// Whether it is refused, and says how many things it would touch, until that count is
    /// confirmed.
    #[must_use]
    pub const fn is_counted(&self) -> bool {
        match self {
            Self::Resolve(Which::Matching(_)) => true,
            Self::Recorrelate { mode, .. } => matches!(mode, Mode::Apply),
            _ => false,
        }
    }

    /// The same, only to hear how much it would touch: of a maintenance plan, which a partition with
    /// few of its alerts would put in force unasked.
    #[must_use]
    pub fn dry_run(&self) -> Self {
        match self {
            Self::MaintenancePut { plan, .. } => {
                Self::MaintenancePut { plan: plan.clone(), mode: Mode::DryRun }
            }
            other => other.clone(),
        }
    }

    /// Whether it only asks how many alerts a maintenance plan would mark: its answer is of no use
    /// to a later one.
    #[must_use]
    pub const fn only_counts(&self) -> bool {
        matches!(self, Self::MaintenancePut { mode: Mode::DryRun, .. })
    }

    /// The word for it in every format.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Acknowledge { .. } => "acknowledge",
            Self::Unacknowledge { .. } => "unacknowledge",
            Self::Assign { .. } => "assign",
            Self::Snooze { .. } => "snooze",
            Self::Unsnooze { .. } => "unsnooze",
            Self::Resolve(_) => "resolve",
            Self::Comment { .. } => "comment",
            Self::Merge { .. } => "merge",
            Self::Split { .. } => "split",
            Self::SplitAll { .. } => "split_all",
            Self::Undo { .. } => "undo",
            Self::Recorrelate { .. } => "recorrelate",
            Self::MaintenancePut { .. } => "maintenance_put",
            Self::MaintenanceEnd { .. } => "maintenance_end",
        }
    }
}

/// Why a command was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refused {
    /// This version cannot do it.
    NotSupported,
    /// No such incident is known, or none any more.
    UnknownIncident,
    /// No such alert is known, or it is not where the command looks for it.
    UnknownAlert,
    /// No such request is known, or it is too long ago.
    UnknownRequest,
    /// The incident is over.
    Resolved,
    /// It is not acknowledged.
    NotAcknowledged,
    /// It is not snoozed.
    NotSnoozed,
    /// A time that should lie ahead has passed.
    InThePast,
    /// It would touch so many things that their count must be confirmed.
    Confirm,
    /// It would touch more things than one command may, or there are as many as there may be.
    TooMany,
    /// It cannot be taken back, as things are now.
    NotUndoable,
    /// The alerts of the incident are in another one, or in several.
    Gone,
    /// An incident cannot be merged into itself.
    Itself,
    /// Incidents of different shards do not share alerts.
    OtherShard,
    /// The incident would have no alert any more.
    NothingLeft,
    /// The maintenance plan breaks a rule.
    InvalidPlan,
    /// No such maintenance plan is known, or none any more.
    UnknownPlan,
    /// The maintenance plan stands in the config, which alone can change it.
    InConfig,
}

impl Refused {
    /// Every reason.
    pub const ALL: [Self; 18] = [
        Self::NotSupported,
        Self::UnknownIncident,
        Self::UnknownAlert,
        Self::UnknownRequest,
        Self::Resolved,
        Self::NotAcknowledged,
        Self::NotSnoozed,
        Self::InThePast,
        Self::Confirm,
        Self::TooMany,
        Self::NotUndoable,
        Self::Gone,
        Self::Itself,
        Self::OtherShard,
        Self::NothingLeft,
        Self::InvalidPlan,
        Self::UnknownPlan,
        Self::InConfig,
    ];

    /// The word used in every format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSupported => "not_supported",
            Self::UnknownIncident => "unknown_incident",
            Self::UnknownAlert => "unknown_alert",
            Self::UnknownRequest => "unknown_request",
            Self::Resolved => "resolved",
            Self::NotAcknowledged => "not_acknowledged",
            Self::NotSnoozed => "not_snoozed",
            Self::InThePast => "in_the_past",
            Self::Confirm => "confirm",
            Self::TooMany => "too_many",
            Self::NotUndoable => "not_undoable",
            Self::Gone => "gone",
            Self::Itself => "itself",
            Self::OtherShard => "other_shard",
            Self::NothingLeft => "nothing_left",
            Self::InvalidPlan => "invalid_plan",
            Self::UnknownPlan => "unknown_plan",
            Self::InConfig => "in_config",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// Whether a command was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As asked.
    Done,
    /// Nothing was changed.
    Refused(Refused),
}

/// What became of a command in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandResult {
    /// Whose result it is.
    pub request: RequestId,
    /// The partition of `muster.alerts` that answers.
    pub partition: u32,
    /// By log time.
    pub at: Timestamp,
    /// What was asked for, as [`Action::as_str`] has it.
    pub action: Box<str>,
    /// The count that the command confirmed.
    pub confirm: Option<u64>,
    /// Whether it was done.
    pub outcome: Outcome,
    /// How many things it touched, or would touch.
    pub count: u64,
    /// One sentence for people.
    pub message: Box<str>,
    /// The incidents it concerns with their revisions from then on; at most [`NAMED_MAX`].
    pub incidents: Vec<(IncidentId, u64)>,
    /// What there is to say beyond that, such as what a dry run found; at most [`NAMED_MAX`] lines.
    pub lines: Vec<Box<str>>,
}

#[cfg(test)]
impl CommandResult {
    /// A comment that was done, under a request id with this number.
    pub(crate) fn sample(nth: usize) -> Self {
        Self {
            request: RequestId::parse(&format!("r{nth}")).expect("an id"),
            partition: 0,
            at: Timestamp::default(),
            action: "comment".into(),
            confirm: None,
            outcome: Outcome::Done,
            count: 1,
            message: "".into(),
            incidents: Vec::new(),
            lines: Vec::new(),
        }
    }
}

/// When and why an incident is quiet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snoozed {
    /// Who asked for it.
    pub by: Box<str>,
    /// By log time.
    pub until: Timestamp,
    /// What ends it before.
    pub ends_on: SnoozeEnds,
    /// The status when it began, which a worse one is measured against.
    pub status: Status,
}

/// A remark on an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// At most [`COMMENT_BYTES_MAX`] bytes.
    pub text: Box<str>,
    /// Who may see it.
    pub audience: Audience,
}

/// What it takes to undo a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undoable {
    /// The command's.
    pub request: RequestId,
    /// By log time, when it was done.
    pub at: Timestamp,
    /// What was done.
    pub what: Undo,
}

/// What was done, with what of the state before cannot be told from the state since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undo {
    /// Incidents were resolved by hand; at most [`IDS_MAX`].
    Resolve(Vec<ResolvedByHand>),
}

/// What ended with an incident when it was resolved by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedByHand {
    /// Which.
    pub incident: IncidentId,
    /// Who had acknowledged it.
    pub acknowledged: Option<Acknowledged>,
    /// Who had snoozed it.
    pub snoozed: Option<Snoozed>,
}
