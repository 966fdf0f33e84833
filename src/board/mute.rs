//! What is muted, and why: silences and inhibition over everything the board shows.
//!
//! An alert is muted by a silence that matches it, or by inhibition; an incident while every firing
//! alert of it is. Where not all of an incident's firing alerts are known, it is not muted: better
//! told than lost.

use std::sync::{Arc, PoisonError};

use super::{Board, Shown, Silences};
use crate::model::silence::{Asked, Mute, Muted, REASONS_MAX};
use crate::model::{Member, Span, Timestamp};

/// How long a notice waits for the silences, or for the board to show what notify has read.
pub const PATIENCE: Span = Span::from_secs(5);
/// The same while they are loaded for the first time.
pub const PATIENCE_LOADING: Span = Span::from_secs(30);

/// Tells what is muted.
#[derive(Clone)]
pub struct Mutes {
    board: Arc<Board>,
    silences: Arc<Silences>,
}

impl Mutes {
    /// Over what a board shows, by silences and the board's rules of inhibition.
    #[must_use]
    pub fn new(board: Arc<Board>, silences: Arc<Silences>) -> Self {
        Self { board, silences }
    }

    /// Whether an incident may be told. A silence that was durable before `seen_at` counts.
    #[must_use]
    pub fn ask(&self, now: Timestamp, asked: &Asked) -> Mute {
        if !self.silences.is_loaded() {
            return Mute::Unsure(PATIENCE_LOADING);
        }
        if self.silences.as_of() < asked.seen_at {
            return Mute::Unsure(PATIENCE);
        }
        if self.silences.none_live() && !self.board.has_rules() {
            return Mute::No;
        }
        if !self.board.is_loaded() {
            return Mute::Unsure(PATIENCE_LOADING);
        }
        match self.board.get(asked.incident) {
            Some(shown) if shown.change.revision >= asked.revision => {
                match self.incident(now, &shown) {
                    Some(muted) => Mute::Yes { inhibited: !muted.inhibited_by.is_empty() },
                    None => Mute::No,
                }
            }
            _ => Mute::Unsure(PATIENCE),
        }
    }

    /// Why an alert is muted, if it is.
    #[must_use]
    pub fn alert(&self, now: Timestamp, alert: &Member) -> Option<Muted> {
        let by = self.silences.muting(alert, now);
        let inhibitor = self.board.inhibitor.read().unwrap_or_else(PoisonError::into_inner);
        let inhibited_by = inhibitor.inhibiting(alert);
        let until = by.iter().map(|(_, until)| *until).max();
        let by: Vec<_> = by.into_iter().map(|(id, _)| id).take(REASONS_MAX).collect();
        (!by.is_empty() || !inhibited_by.is_empty()).then(|| Muted {
            // Silenced as well as inhibited: it lasts at least as long as the silence.
            until: until.filter(|_| inhibited_by.is_empty()),
            by,
            inhibited_by,
        })
    }

    /// Why an incident is muted, if it is. Of one that is over, all alerts count.
    #[must_use]
    pub fn incident(&self, now: Timestamp, shown: &Shown) -> Option<Muted> {
        let open = shown.change.is_open();
        let alerts: Vec<&Member> = shown.alerts().filter(|alert| !open || alert.firing).collect();
        let wanted = if open { shown.change.counts.firing } else { shown.change.counts.total };
        if alerts.is_empty() || u32::try_from(alerts.len()) != Ok(wanted) {
            return None;
        }
        let mut all = Muted::default();
        let mut until: Option<Timestamp> = None;
        for alert in alerts {
            let muted = self.alert(now, alert)?;
            // It ends with the first alert that is muted no more.
            until = until.into_iter().chain(muted.until).min();
            all.by.extend(muted.by);
            all.inhibited_by.extend(muted.inhibited_by);
        }
        all.by.sort_unstable();
        all.by.dedup();
        all.by.truncate(REASONS_MAX);
        all.inhibited_by.sort_unstable();
        all.inhibited_by.dedup();
        all.inhibited_by.truncate(REASONS_MAX);
        all.until = until.filter(|_| all.inhibited_by.is_empty());
        Some(all)
    }
}
