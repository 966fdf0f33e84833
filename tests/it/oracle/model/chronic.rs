//! Checks that fire day after day: which alerts are chronic.

use super::*;

const DAY: i64 = 86_400_000;

/// An alert began, or fired again.
#[derive(Debug, Clone)]
pub(super) struct Episode {
    identity: Identity,
    at: Timestamp,
    appended_at: Timestamp,
}

impl Model {
    /// An alert begins or fires again; whether its identity fires steadily with it: at least so many
    /// times a day on so many of the last days, by event time.
    pub(super) fn count_episode(&mut self, identity: &Identity, at: Timestamp) -> bool {
        let (settings, appended_at) = (self.settings.chronic, self.now);
        if settings.episodes == 0 {
            return false;
        }
        self.episodes.push(Episode { identity: identity.clone(), at, appended_at });
        let its = self.episodes.iter().filter(|known| known.identity == *identity);
        let days: Vec<i64> = its.map(|known| known.at.as_millis().div_euclid(DAY)).collect();
        let newest = days.iter().max().expect("the one that was just counted");
        let on = |day: i64| days.iter().filter(|known| **known == day).count();
        let last = (0..i64::from(settings.of)).map(|back| newest - back);
        let busy = last.filter(|day| on(*day) >= settings.episodes as usize).count();
        self.make_room();
        busy >= settings.days as usize
    }

    /// Only so many identities are watched: the one that was heard of least recently goes.
    fn make_room(&mut self) {
        let last = self.last_heard();
        if last.len() > self.settings.chronic.identities_max {
            let (_, oldest) = last.first().expect("there are some").clone();
            self.episodes.retain(|known| known.identity != oldest);
        }
    }

    /// When each identity was heard of last, by log time; the oldest first.
    fn last_heard(&self) -> BTreeSet<(Timestamp, Identity)> {
        let last = |identity: &Identity| {
            let its = self.episodes.iter().filter(|known| known.identity == *identity);
            its.map(|known| known.appended_at).max().expect("it is one of them")
        };
        let all = self.episodes.iter().map(|known| &known.identity);
        all.map(|identity| (last(identity), identity.clone())).collect()
    }

    /// Who was silent, by log time, until no day of it counts is not watched any more.
    pub(super) fn forget_episodes(&mut self) {
        let silent = Span::from_millis((i64::from(self.settings.chronic.of) + 1) * DAY);
        for (last, identity) in self.last_heard() {
            if last + silent < self.now {
                self.episodes.retain(|known| known.identity != identity);
            }
        }
    }
}
