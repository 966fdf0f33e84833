//! The keys of a schedule, wherever one stands: in planned work and in heartbeats.

use super::read::Node;
use crate::model::maintenance::PlanText;

/// When something is, or is expected; the rest of a plan is empty.
pub(super) fn text(table: &mut Node<'_>) -> PlanText {
    PlanText {
        from: table.text("from"),
        to: table.text("to"),
        until: table.text("until"),
        every: table.text("every"),
        on: table.texts("on"),
        at: table.text("at"),
        lasts: table.text("for"),
        time_zone: table.text("time_zone"),
        ..PlanText::default()
    }
}
