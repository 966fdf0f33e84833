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

#[cfg(test)]
mod tests {
    use super::super::tests::{board, change, member};
    use super::*;
    use crate::board::Settings;
    use crate::model::silence::InhibitRule;
    use crate::model::{Change, Matchers, Silence, SilenceId};

    const NOW: Timestamp = Timestamp::from_millis(1_763_913_600_000);

    fn silence(matcher: &str, secs: i64) -> Silence {
        Silence {
            id: SilenceId::of_request(matcher),
            matchers: Matchers::parse([matcher]).expect("a matcher"),
            starts_at: NOW,
            ends_at: NOW + Span::from_secs(secs),
            created_by: "ann".into(),
            created_at: NOW,
            updated_by: "ann".into(),
            updated_at: NOW,
            comment: "".into(),
            requests: Vec::new(),
        }
    }

    fn opened(nth: i64, revision: u64, alerts: Vec<Member>) -> Change {
        let mut change = change(nth, revision, true, alerts);
        change.counts.firing = u32::try_from(change.alerts.len()).expect("few");
        change
    }

    fn rig(rules: Vec<InhibitRule>, silences: Vec<Silence>) -> (Arc<Board>, Arc<Silences>, Mutes) {
        let board = Arc::new(board(Settings::default()).inhibiting(rules));
        let all = Silences::default();
        all.load(NOW, silences.into_iter().map(|silence| (silence.id, silence)).collect());
        all.current_as_of(NOW);
        let all = Arc::new(all);
        (Arc::clone(&board), Arc::clone(&all), Mutes::new(board, all))
    }

    fn asked(change: &Change) -> Asked {
        Asked { incident: change.id, revision: change.revision, seen_at: NOW }
    }

    #[test]
    fn an_incident_is_muted_while_every_firing_alert_is() {
        let (board, silences, mutes) = rig(vec![], vec![silence("host=web-1", 60)]);
        board.load(NOW, vec![]);
        let one = opened(1, 1, vec![member(1, true)]);
        board.apply(NOW, one.clone());
        assert_eq!(mutes.ask(NOW, &asked(&one)), Mute::Yes { inhibited: false });
        let ended = NOW + Span::from_secs(60);
        silences.advance(ended);
        assert_eq!(mutes.ask(ended, &asked(&one)), Mute::No, "the end is not included");
        silences.set(NOW, SilenceId::of_request("host=web-1"), Some(silence("host=web-1", 60)));
        let mut two = opened(1, 2, vec![member(2, true)]);
        two.counts.firing = 2;
        board.apply(NOW, two.clone());
        assert_eq!(mutes.ask(NOW, &asked(&two)), Mute::No, "one alert is not muted");
    }

    #[test]
    fn what_is_not_known_yet_is_not_sure_and_what_is_not_known_whole_is_not_muted() {
        let (board, _, mutes) = rig(vec![], vec![silence("host=web-1", 60)]);
        let mut one = opened(1, 1, vec![member(1, true)]);
        assert_eq!(mutes.ask(NOW, &asked(&one)), Mute::Unsure(PATIENCE_LOADING));
        board.load(NOW, vec![]);
        assert_eq!(mutes.ask(NOW, &asked(&one)), Mute::Unsure(PATIENCE), "the board is behind");
        let late = Asked { seen_at: NOW + Span::from_secs(1), ..asked(&one) };
        one.counts.firing = 2;
        board.apply(NOW, one.clone());
        assert_eq!(mutes.ask(NOW, &asked(&one)), Mute::No, "one alert of two is unknown");
        assert_eq!(mutes.ask(NOW, &late), Mute::Unsure(PATIENCE), "silences may be behind");
    }

    #[test]
    fn a_target_is_muted_while_a_source_with_the_same_values_fires_anywhere() {
        let parse = |text| Matchers::parse([text]).expect("a matcher");
        let rule = InhibitRule {
            source: parse("check=ping"),
            target: parse(r#"source=nagios"#),
            equal: vec!["host".into(), "site".into()],
        };
        let (board, _, mutes) = rig(vec![rule], vec![]);
        board.load(NOW, vec![]);
        let target = opened(1, 1, vec![member(1, true)]);
        board.apply(NOW, target.clone());
        let ping =
            |firing| Member { check: "ping".into(), host: "web-1".into(), ..member(2, firing) };
        let source = opened(2, 1, vec![ping(true)]);
        assert_eq!(mutes.ask(NOW, &asked(&target)), Mute::No);
        board.apply(NOW, source.clone());
        assert_eq!(mutes.ask(NOW, &asked(&target)), Mute::Yes { inhibited: true });
        assert_eq!(mutes.ask(NOW, &asked(&source)), Mute::No, "it does not mute itself");
        board.apply(NOW, change(2, 2, false, vec![ping(false)]));
        assert_eq!(mutes.ask(NOW, &asked(&target)), Mute::No, "the source is over");
    }

    #[test]
    fn other_rules_hold_at_once_over_what_is_shown_and_what_comes() {
        let parse = |text| Matchers::parse([text]).expect("a matcher");
        let rule = |source| InhibitRule {
            source: parse(source),
            target: parse("check!=ping"),
            equal: vec!["host".into()],
        };
        let (board, _, mutes) = rig(vec![], vec![]);
        board.load(NOW, vec![]);
        let ping = |nth, firing| Member {
            check: "ping".into(),
            host: "web-1".into(),
            ..member(nth, firing)
        };
        let target = opened(1, 1, vec![member(1, true)]);
        board.apply(NOW, target.clone());
        board.apply(NOW, opened(2, 1, vec![ping(2, true)]));
        // Moved and fires no more; and one of an incident that is over.
        board.apply(NOW, change(3, 1, true, vec![ping(3, true)]));
        board.apply(NOW, change(5, 1, true, vec![ping(3, false)]));
        board.apply(NOW, change(6, 1, false, vec![ping(6, true)]));
        let muted = || mutes.ask(NOW, &asked(&target));
        assert_eq!(muted(), Mute::No);
        board.inhibit_by(vec![rule("check=disk"), rule("check=ping")]);
        assert_eq!(muted(), Mute::Yes { inhibited: true });
        board.inhibit_by(vec![rule("check=disk")]);
        assert_eq!(muted(), Mute::No, "nothing fires that is a source now");
        board.inhibit_by(vec![rule("check=ping")]);
        board.apply(NOW, change(2, 2, false, vec![ping(2, false)]));
        assert_eq!(muted(), Mute::No, "the source is over, and the others do not count");
        board.inhibit_by(vec![rule("check=ping")]);
        assert_eq!(muted(), Mute::No, "nor over what is shown");
        board.apply(NOW, opened(4, 1, vec![ping(4, true)]));
        assert_eq!(muted(), Mute::Yes { inhibited: true });
        board.inhibit_by(vec![]);
        assert_eq!(muted(), Mute::No);
    }

    #[test]
    fn two_that_are_source_and_target_do_not_mute_each_other() {
        let all = Matchers::parse(["source=nagios"]).expect("a matcher");
        let rule = InhibitRule { source: all.clone(), target: all, equal: vec![] };
        let (board, _, mutes) = rig(vec![rule], vec![]);
        board.load(NOW, vec![]);
        let (one, two) = (opened(1, 1, vec![member(1, true)]), opened(2, 1, vec![member(2, true)]));
        board.apply(NOW, one.clone());
        board.apply(NOW, two);
        assert_eq!(mutes.ask(NOW, &asked(&one)), Mute::No);
    }
}
