//! What people do with silences: preview, create, edit, expire; answered once durable.
//!
//! One at a time in a process, so that a bound holds and a repeated request is seen as one. Two
//! instances that change one silence at once: the last row wins.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Board, Mutes, Query, Silences, Wanted};
use crate::clock::{SharedClock, Stopwatch};
use crate::journal::{Appender, JournalError};
use crate::model::silence::{REQUESTS_MAX, SilenceSettings, SilenceState};
use crate::model::{IncidentId, Matchers, Silence, SilenceId, Span, Timestamp};
use crate::stage::Topic;
use crate::wire;

/// How many incidents a preview names.
pub const SAMPLE_MAX: usize = 10;
/// How long a change waits for the silences to be current, and for itself to be shown.
const WAIT: Duration = Duration::from_secs(2);
const MOMENT: Duration = Duration::from_millis(5);
/// How many incidents are looked at between two looks at the board's index.
const PAGE: usize = 1_000;
/// The longest name of a person and id of a request, in bytes.
const NAME_MAX: usize = 200;
/// The longest that a silence may last; beyond it somebody mistyped.
const LENGTH_MAX: Span = Span::from_secs(3_650 * 86_400);

/// Where silences are made and changed.
pub struct Desk {
    board: Arc<Board>,
    silences: Arc<Silences>,
    mutes: Mutes,
    settings: SilenceSettings,
    clock: SharedClock,
    appender: Mutex<Box<dyn Appender>>,
}

/// A silence as somebody wants it.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Who wants it.
    pub actor: Box<str>,
    /// The request; a repeat of it changes nothing.
    pub request: Box<str>,
    /// Which one is edited; none makes a new one.
    pub edit: Option<SilenceId>,
    /// Which alerts; of an edit, none leaves them as they are.
    pub matchers: Option<Matchers>,
    /// From when on; none: from now on, or as it is.
    pub starts_at: Option<Timestamp>,
    /// Until when; of an edit, none leaves it as it is.
    pub ends: Option<Ends>,
    /// Why; of an edit, none leaves it as it is.
    pub comment: Option<Box<str>>,
    /// How many alerts it is known to mute.
    pub confirm: Option<u64>,
}

/// When a silence ends.
#[derive(Debug, Clone, Copy)]
pub enum Ends {
    /// At a time.
    At(Timestamp),
    /// So long after its start, or after now where that is later.
    After(Span),
}

/// What a silence would mute now.
#[derive(Debug, Clone, Default)]
pub struct Preview {
    /// Firing alerts that match.
    pub alerts: u64,
    /// Incidents with such alerts.
    pub incidents: u64,
    /// Those of them that would be muted, or are already.
    pub muted_incidents: u64,
    /// Some of them, at most [`SAMPLE_MAX`]: id and title.
    pub sample: Vec<(IncidentId, String)>,
    /// As of when this is.
    pub as_of: Timestamp,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Something that was said cannot be.
    #[error("{0}")]
    Bad(String),
    /// There is no such silence.
    #[error("there is no silence {0}, or it expired so long ago that it was forgotten")]
    Unknown(SilenceId),
    /// It mutes more than was confirmed.
    #[error("it would mute {0} alerts now; if that is meant, send it again with `confirm` as {0}")]
    Confirm(u64),
    /// There are too many.
    #[error(
        "there are {0} silences, as many as notify.silences.max allows; expired ones are kept for \
         notify.silences.keep"
    )]
    Full(usize),
    /// The silences or incidents that it takes are not known yet.
    #[error("silences or incidents are still being read here; try again in a moment")]
    NotCurrent,
    /// It could not be made durable, or that is not known.
    #[error("{0}; whether it took effect is not known, sending it again is safe")]
    Journal(JournalError),
}

impl Desk {
    /// A desk that writes by an appender of its own.
    #[must_use]
    pub fn new(
        board: Arc<Board>,
        silences: Arc<Silences>,
        settings: SilenceSettings,
        clock: SharedClock,
        appender: Box<dyn Appender>,
    ) -> Self {
        let mutes = Mutes::new(Arc::clone(&board), Arc::clone(&silences));
        Self { board, silences, mutes, settings, clock, appender: Mutex::new(appender) }
    }

    /// What is muted.
    #[must_use]
    pub fn mutes(&self) -> &Mutes {
        &self.mutes
    }

    /// The silences as they stand.
    #[must_use]
    pub fn silences(&self) -> &Silences {
        &self.silences
    }

    /// What matchers would mute now, of what the board shows.
    ///
    /// # Errors
    /// When the board is not loaded, or the matchers break a bound.
    pub fn preview(&self, matchers: &Matchers) -> Result<Preview, Refusal> {
        self.check(matchers)?;
        if !self.board.is_loaded() {
            return Err(Refusal::NotCurrent);
        }
        let now = self.clock.now();
        let mut preview = Preview { as_of: self.board.as_of(), ..Preview::default() };
        let mut query = Query { wanted: Wanted::Open, limit: PAGE, ..Query::default() };
        loop {
            let page = self.board.list(&query);
            for shown in &page.incidents {
                let firing = || shown.alerts().filter(|alert| alert.firing);
                let matching = firing().filter(|alert| matchers.matches(*alert)).count();
                if matching == 0 {
                    continue;
                }
                preview.alerts += matching as u64;
                preview.incidents += 1;
                let known = firing().count();
                let whole = u32::try_from(known) == Ok(shown.change.counts.firing);
                let muted = whole
                    && firing().all(|alert| {
                        matchers.matches(alert) || self.mutes.alert(now, alert).is_some()
                    });
                preview.muted_incidents += u64::from(muted);
                if preview.sample.len() < SAMPLE_MAX {
                    preview.sample.push((shown.change.id, shown.change.title.clone()));
                }
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(preview),
            }
        }
    }

    /// Makes a silence or changes one; comes back once that is durable, with what it is now.
    ///
    /// # Errors
    /// Says what is wrong, or what must be confirmed.
    pub fn submit(&self, draft: &Draft) -> Result<Arc<Silence>, Refusal> {
        names(&draft.actor, &draft.request)?;
        let mut appender = self.appender.lock().unwrap_or_else(PoisonError::into_inner);
        self.current()?;
        let now = self.clock.now();
        let id = draft.edit.unwrap_or_else(|| SilenceId::of_request(&draft.request));
        let before = self.kept(now, id);
        if let Some(before) = &before
            && before.requests.contains(&draft.request)
        {
            return Ok(Arc::clone(before));
        }
        let next = match (&before, draft.edit) {
            (Some(before), _) => self.edited(now, before, draft)?,
            (None, Some(id)) => return Err(Refusal::Unknown(id)),
            (None, None) => self.created(now, id, draft)?,
        };
        self.hold(now, before.as_deref(), &next, draft.confirm)?;
        self.write(appender.as_mut(), next)
    }

    /// Ends a silence now; one that has ended already stays as it is.
    ///
    /// # Errors
    /// When there is none, or it cannot be made durable.
    pub fn expire(
        &self,
        id: SilenceId,
        actor: &str,
        request: &str,
    ) -> Result<Arc<Silence>, Refusal> {
        names(actor, request)?;
        let mut appender = self.appender.lock().unwrap_or_else(PoisonError::into_inner);
        self.current()?;
        let now = self.clock.now();
        let before = self.kept(now, id).ok_or(Refusal::Unknown(id))?;
        let repeat = before.requests.iter().any(|known| **known == *request);
        if repeat || before.state(now) == SilenceState::Expired {
            return Ok(before);
        }
        let mut next = touched(now, &before, actor, request);
        next.starts_at = next.starts_at.min(now);
        next.ends_at = now;
        self.write(appender.as_mut(), next)
    }

    /// One that is not yet forgotten.
    fn kept(&self, now: Timestamp, id: SilenceId) -> Option<Arc<Silence>> {
        let kept = |silence: &Arc<Silence>| silence.ends_at + self.settings.keep >= now;
        self.silences.get(id).filter(kept)
    }

    fn created(&self, now: Timestamp, id: SilenceId, draft: &Draft) -> Result<Silence, Refusal> {
        let bad = |text: &str| Refusal::Bad(text.to_owned());
        let matchers = draft.matchers.clone().ok_or_else(|| bad("`matchers` are missing"))?;
        let ends = draft.ends.ok_or_else(|| bad("`ends_at` or `duration` is missing"))?;
        if self.silences.len() >= self.settings.max {
            return Err(Refusal::Full(self.settings.max));
        }
        let starts_at = draft.starts_at.unwrap_or(now);
        Ok(Silence {
            id,
            matchers,
            starts_at,
            ends_at: ends_at(now, starts_at, ends),
            created_by: draft.actor.clone(),
            created_at: now,
            updated_by: draft.actor.clone(),
            updated_at: now,
            comment: draft.comment.clone().unwrap_or_default(),
            requests: vec![draft.request.clone()],
        })
    }

    fn edited(&self, now: Timestamp, before: &Silence, draft: &Draft) -> Result<Silence, Refusal> {
        let mut next = touched(now, before, &draft.actor, &draft.request);
        if let Some(matchers) = &draft.matchers {
            next.matchers = matchers.clone();
        }
        if before.state(now) == SilenceState::Expired {
            // It mutes anew, not in what was.
            next.starts_at = now;
        }
        next.starts_at = draft.starts_at.unwrap_or(next.starts_at);
        if let Some(ends) = draft.ends {
            next.ends_at = ends_at(now, next.starts_at, ends);
        }
        if let Some(comment) = &draft.comment {
            next.comment = comment.clone();
        }
        Ok(next)
    }

    /// Holds a silence to its bounds, and to what was confirmed of it.
    fn hold(
        &self,
        now: Timestamp,
        before: Option<&Silence>,
        next: &Silence,
        confirm: Option<u64>,
    ) -> Result<(), Refusal> {
        self.check(&next.matchers)?;
        if next.comment.len() > self.settings.comment_bytes {
            let max = self.settings.comment_bytes;
            return Err(Refusal::Bad(format!("`comment` is longer than {max} bytes")));
        }
        if next.ends_at <= now || next.ends_at <= next.starts_at {
            return Err(Refusal::Bad("it would end before it starts, or before now".to_owned()));
        }
        if next.ends_at.since(next.starts_at) > LENGTH_MAX {
            return Err(Refusal::Bad(format!("it would last longer than {LENGTH_MAX}")));
        }
        // Who only writes another comment or ends it sooner mutes nothing more.
        let more = before.is_none_or(|before| {
            before.matchers != next.matchers
                || next.ends_at > before.ends_at
                || next.starts_at < before.starts_at
        });
        if !more {
            return Ok(());
        }
        let count = self.preview(&next.matchers)?.alerts;
        if count > self.settings.confirm_above as u64 && confirm != Some(count) {
            return Err(Refusal::Confirm(count));
        }
        Ok(())
    }

    fn check(&self, matchers: &Matchers) -> Result<(), Refusal> {
        let (count, max) = (matchers.iter().count(), self.settings.matchers_max);
        if count > max {
            return Err(Refusal::Bad(format!("{count} matchers, {max} are the most")));
        }
        if matchers.matches(&Nothing) {
            return Err(Refusal::Bad(
                "the matchers hold for an alert without any tag, and so for nearly every one; at \
                 least one must ask for a value"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// Waits until every silence that was durable by now is known.
    fn current(&self) -> Result<(), Refusal> {
        let (asked_at, since) = (self.clock.now(), Stopwatch::start());
        while !(self.silences.is_loaded() && self.silences.as_of() >= asked_at) {
            if since.elapsed() > WAIT {
                return Err(Refusal::NotCurrent);
            }
            std::thread::sleep(MOMENT);
        }
        Ok(())
    }

    fn write(&self, appender: &mut dyn Appender, next: Silence) -> Result<Arc<Silence>, Refusal> {
        let row = super::silences::row(next.id, Some(wire::silence::encode(&next)));
        let rows = vec![(super::silences::route(next.id), row)];
        appender.put(Topic::Silences, rows).map_err(Refusal::Journal)?;
        // Durable: who looks next should see it, but need not.
        let (next, since) = (Arc::new(next), Stopwatch::start());
        let shown = || self.silences.get(next.id).is_some_and(|shown| *shown == *next);
        while !shown() && since.elapsed() < WAIT {
            std::thread::sleep(MOMENT);
        }
        Ok(next)
    }
}

/// An alert that says nothing.
struct Nothing;

impl crate::model::matcher::Labels for Nothing {
    fn values(&self, _: &str) -> crate::model::matcher::Values<'_> {
        crate::model::matcher::Values::None
    }
}

fn names(actor: &str, request: &str) -> Result<(), Refusal> {
    for (what, text) in [("actor", actor), ("request_id", request)] {
        if text.is_empty() || text.len() > NAME_MAX {
            let rule = format!("`{what}` must be a text of 1 to {NAME_MAX} bytes");
            return Err(Refusal::Bad(rule));
        }
    }
    Ok(())
}

fn ends_at(now: Timestamp, starts_at: Timestamp, ends: Ends) -> Timestamp {
    match ends {
        Ends::At(at) => at,
        Ends::After(length) => starts_at.max(now) + length,
    }
}

fn touched(now: Timestamp, before: &Silence, actor: &str, request: &str) -> Silence {
    let mut next = before.clone();
    next.updated_by = actor.into();
    next.updated_at = now;
    next.requests.push(request.into());
    let excess = next.requests.len().saturating_sub(REQUESTS_MAX);
    next.requests.drain(..excess);
    next
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::silences::Watch;
    use super::super::tests::{board, change, member};
    use super::*;
    use crate::board::Settings;
    use crate::clock::SystemClock;
    use crate::journal::Journal;
    use crate::journal::memory::Memory;
    use crate::shutdown::Shutdown;
    use crate::telemetry::{Health, Metrics};

    fn draft(request: &str, matcher: &str) -> Draft {
        Draft {
            actor: "ann".into(),
            request: request.into(),
            edit: None,
            matchers: Some(Matchers::parse([matcher]).expect("a matcher")),
            starts_at: None,
            ends: Some(Ends::After(Span::from_secs(3_600))),
            comment: Some("works".into()),
            confirm: None,
        }
    }

    /// A desk over a journal, as a process has it; it ends with the signal.
    fn desk(journal: &Arc<dyn Journal>, settings: &SilenceSettings) -> (Desk, Shutdown) {
        let (silences, stop) = (Arc::new(Silences::default()), Shutdown::new());
        let clock: SharedClock = Arc::new(SystemClock);
        let watch = Watch {
            journal: Arc::clone(journal),
            silences: Arc::clone(&silences),
            settings: settings.clone(),
            clock: Arc::clone(&clock),
            health: Health::default(),
            metrics: Metrics::new(prometheus::Registry::new(), &[]).expect("a new registry"),
            stop: stop.clone(),
        };
        std::thread::spawn(move || watch.run());
        let board = Arc::new(board(Settings::default()));
        let mut incident = change(1, 1, true, (0..3).map(|nth| member(nth, true)).collect());
        incident.counts.firing = 3;
        board.load(clock.now(), vec![incident]);
        let appender = journal.appender().expect("an appender");
        (Desk::new(board, silences, settings.clone(), clock, appender), stop)
    }

    #[test]
    fn a_silence_is_made_edited_and_expired_and_outlives_a_restart() {
        let clock: SharedClock = Arc::new(SystemClock);
        let directory = tempfile::tempdir().expect("a directory");
        let sqlite = crate::journal::sqlite::Settings {
            path: directory.path().to_owned(),
            keep_alerts: Span::from_secs(86_400),
            keep_incidents: Span::from_secs(86_400),
            max_bytes: 1 << 30,
        };
        let journals: [Arc<dyn Journal>; 2] = [
            Memory::new(Arc::clone(&clock), BTreeMap::new()),
            crate::journal::sqlite::Sqlite::open(&sqlite, clock).expect("a journal"),
        ];
        for journal in journals {
            let settings = SilenceSettings { confirm_above: 2, max: 2, ..Default::default() };
            let (first, stop) = desk(&journal, &settings);
            let wide = draft("r1", "source=nagios");
            let refused = first.submit(&wide).expect_err("three alerts");
            assert!(matches!(refused, Refusal::Confirm(3)), "{refused}");
            let wide = Draft { confirm: Some(3), ..wide };
            let made = first.submit(&wide).expect("confirmed");
            assert_eq!(first.submit(&wide).expect("a repeat"), made, "a repeat changes nothing");
            let id = made.id;
            let comment = Draft {
                edit: Some(id),
                matchers: None,
                ends: None,
                comment: Some("more works".into()),
                ..draft("r2", "a=b")
            };
            let edited = first.submit(&comment).expect("an edit");
            assert_eq!(
                (edited.id, edited.ends_at, &*edited.comment),
                (id, made.ends_at, "more works")
            );
            first.submit(&draft("r3", "host=web-9")).expect("room for two");
            let refused = first.submit(&draft("r4", "host=web-8")).expect_err("no room");
            assert!(matches!(refused, Refusal::Full(2)), "{refused}");
            let over = first.expire(id, "bob", "r5").expect("an end");
            assert_eq!(
                (over.state(first.clock.now()), &*over.updated_by),
                (SilenceState::Expired, "bob")
            );
            stop.begin();
            let (second, stop) = desk(&journal, &settings);
            assert_eq!(second.submit(&comment).expect("a late repeat").ends_at, over.ends_at);
            assert_eq!(second.silences.get(id), Some(over));
            stop.begin();
        }
    }

    #[test]
    fn what_would_mute_everything_or_ends_before_it_starts_is_refused() {
        let clock: SharedClock = Arc::new(SystemClock);
        let journal: Arc<dyn Journal> = Memory::new(clock, BTreeMap::new());
        let (desk, stop) = desk(&journal, &SilenceSettings::default());
        for bad in [
            draft("r1", "team!=web"),
            Draft { ends: Some(Ends::At(Timestamp::from_millis(1))), ..draft("r2", "host=a") },
            Draft { ends: None, ..draft("r3", "host=a") },
            Draft { actor: "".into(), ..draft("r4", "host=a") },
        ] {
            let refused = desk.submit(&bad).expect_err("it is bad");
            assert!(matches!(refused, Refusal::Bad(_)), "{refused}");
        }
        let unknown = desk.expire(SilenceId::of_request("nobody"), "ann", "r5").expect_err("none");
        assert!(matches!(unknown, Refusal::Unknown(_)), "{unknown}");
        let preview = desk.preview(&Matchers::parse(["host=web-1"]).expect("one")).expect("loaded");
        assert_eq!((preview.alerts, preview.incidents, preview.muted_incidents), (1, 1, 0));
        stop.begin();
    }
}
