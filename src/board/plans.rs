//! Maintenance plans that people asked for: first those of correlate's rows, then what became of
//! commands. Plans of the config are not here.
//!
//! Every partition of correlate has its own word on a plan; what is shown is the newest of those for
//! which it goes on, else the newest. As in correlate a plan goes some time after it is over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::command::Outcome;
use crate::model::maintenance::{KEPT, PLANS_MAX};
use crate::model::{CommandResult, MaintenanceId, Timestamp};
use crate::wire::maintenance::{StoredPlan, read_stored};

/// A plan as a partition has it, and since when; of its rows that is not known.
#[derive(Debug)]
struct Known {
    plan: Arc<StoredPlan>,
    at: Timestamp,
}

/// What became of a plan for which there may be no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is shown, or nothing is new.
    Yes,
    /// There are [`PLANS_MAX`] already.
    NoRoom,
    /// The result cannot be read.
    Unreadable,
}

/// Plans by id and partition.
#[derive(Debug, Default)]
pub struct Plans(Mutex<BTreeMap<MaintenanceId, BTreeMap<u32, Known>>>);

impl Plans {
    /// Takes those of correlate's rows in place of all others; how many there was no room for.
    pub(super) fn load(&self, plans: Vec<(u32, StoredPlan)>) -> u64 {
        self.with(|known| {
            known.clear();
            let mut dropped = 0;
            for (partition, plan) in plans {
                let fits = put(known, partition, plan, Timestamp::MIN);
                dropped += u64::from(fits == Kept::NoRoom);
            }
            dropped
        })
    }

    /// Learns from the result of a command, if it put a plan in force or ended one.
    pub(super) fn learn(&self, result: &CommandResult) -> Kept {
        let ended_at = match &*result.action {
            "maintenance_put" => None,
            "maintenance_end" => Some(result.at),
            _ => return Kept::Yes,
        };
        let Some(line) = result.lines.first().filter(|_| result.outcome == Outcome::Done) else {
            return Kept::Yes;
        };
        match read_stored(line) {
            Ok(plan) => self.with(|known| {
                put(known, result.partition, StoredPlan { plan, ended_at }, result.at)
            }),
            Err(_) => Kept::Unreadable,
        }
    }

    /// Forgets what correlate has forgotten by then.
    pub(super) fn sweep(&self, now: Timestamp) {
        let over = |known: &Known| {
            let StoredPlan { plan, ended_at } = &*known.plan;
            let over = ended_at.iter().copied().chain(plan.schedule.over_at()).min();
            over.is_some_and(|over| over + KEPT <= now)
        };
        self.with(|known| {
            known.retain(|_, of| {
                of.retain(|_, known| !over(known));
                !of.is_empty()
            });
        });
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: MaintenanceId) -> Option<Arc<StoredPlan>> {
        self.with(|known| known.get(&id).and_then(shown))
    }

    /// All of them, by id.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<StoredPlan>> {
        self.with(|known| known.values().filter_map(shown).collect())
    }

    fn with<T>(
        &self,
        with: impl FnOnce(&mut BTreeMap<MaintenanceId, BTreeMap<u32, Known>>) -> T,
    ) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Takes what a partition has of a plan, unless something newer of it is known.
fn put(
    known: &mut BTreeMap<MaintenanceId, BTreeMap<u32, Known>>,
    partition: u32,
    plan: StoredPlan,
    at: Timestamp,
) -> Kept {
    let id = plan.plan.id;
    if known.len() >= PLANS_MAX && !known.contains_key(&id) {
        return Kept::NoRoom;
    }
    let of = known.entry(id).or_default();
    // Results of different commands may come in another order than they were done in.
    if of.get(&partition).is_none_or(|before| before.at <= at) {
        of.insert(partition, Known { plan: Arc::new(plan), at });
    }
    Kept::Yes
}

fn shown(of: &BTreeMap<u32, Known>) -> Option<Arc<StoredPlan>> {
    let newest = of.values().max_by_key(|known| (known.plan.ended_at.is_none(), known.at));
    newest.map(|known| Arc::clone(&known.plan))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::maintenance::PlanText;
    use crate::model::{Plan, Span};
    use crate::wire::maintenance::to_json;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    fn plan(name: &str, hours: i64) -> Plan {
        let end =
            jiff::Timestamp::from_millisecond((NOW + Span::from_secs(hours * 3_600)).as_millis());
        let text = PlanText {
            name: Some(name.to_owned()),
            matchers: vec!["env=prod".to_owned()],
            from: Some("2026-09-01T00:00:00Z".to_owned()),
            to: Some(end.expect("in the calendar").to_string()),
            ..PlanText::default()
        };
        text.read(MaintenanceId::of("one"), "ann").expect("a plan")
    }

    fn result(action: &str, partition: u32, at: i64, plan: &Plan) -> CommandResult {
        CommandResult {
            action: action.into(),
            partition,
            at: NOW + Span::from_secs(at),
            lines: vec![to_json(plan).to_string().into()],
            ..CommandResult::sample(1)
        }
    }

    fn name(plans: &Plans) -> Option<(String, bool)> {
        let one = plans.get(MaintenanceId::of("one"))?;
        Some((one.plan.name.to_string(), one.ended_at.is_some()))
    }

    #[test]
    fn the_newest_word_of_a_partition_counts_whatever_comes_first() {
        let plans = Plans::default();
        plans.load(vec![(0, StoredPlan { plan: plan("rows", 1), ended_at: None })]);
        assert_eq!(name(&plans), Some(("rows".to_owned(), false)));
        plans.learn(&result("maintenance_put", 0, 3, &plan("new", 1)));
        plans.learn(&result("maintenance_put", 0, 2, &plan("old", 1)));
        assert_eq!(name(&plans), Some(("new".to_owned(), false)));
        plans.learn(&result("maintenance_end", 0, 4, &plan("new", 1)));
        assert_eq!(name(&plans), Some(("new".to_owned(), true)));
        // In another partition it goes on.
        plans.learn(&result("maintenance_put", 1, 1, &plan("there", 1)));
        assert_eq!(name(&plans), Some(("there".to_owned(), false)));
        let refused = Outcome::Refused(crate::model::command::Refused::InConfig);
        let refused =
            CommandResult { outcome: refused, ..result("maintenance_end", 1, 9, &plan("x", 1)) };
        plans.learn(&refused);
        assert_eq!(name(&plans), Some(("there".to_owned(), false)));
        plans.load(Vec::new());
        assert_eq!(name(&plans), None, "a load is all there is");
    }

    #[test]
    fn a_plan_goes_some_time_after_it_is_over() {
        let plans = Plans::default();
        plans.learn(&result("maintenance_put", 0, 0, &plan("one", 1)));
        let gone = NOW + Span::from_secs(3_600) + KEPT;
        plans.sweep(gone - Span::from_millis(1));
        assert!(name(&plans).is_some());
        plans.sweep(gone);
        assert_eq!(name(&plans), None);
        plans.learn(&result("maintenance_end", 0, 60, &plan("one", 1)));
        plans.sweep(NOW + Span::from_secs(60) + KEPT);
        assert!(plans.all().is_empty());
    }

    #[test]
    fn there_is_room_for_so_many_and_a_known_one_always_fits() {
        let plans = Plans::default();
        let nth = |nth: usize| {
            let id = MaintenanceId::of(&nth.to_string());
            (0, StoredPlan { plan: Plan { id, ..plan("many", 1) }, ended_at: None })
        };
        assert_eq!(plans.load((0..PLANS_MAX).map(nth).collect()), 0);
        let learn = |plan: &Plan| plans.learn(&result("maintenance_put", 0, 0, plan));
        assert_eq!(learn(&nth(PLANS_MAX).1.plan), Kept::NoRoom);
        assert_eq!(learn(&nth(1).1.plan), Kept::Yes);
        assert_eq!(plans.all().len(), PLANS_MAX);
        let broken = CommandResult {
            lines: vec!["{}".into()],
            ..result("maintenance_put", 0, 0, &plan("a", 1))
        };
        assert_eq!(plans.learn(&broken), Kept::Unreadable);
    }
}
