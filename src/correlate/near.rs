//! Finds what is near an alert: the nodes within a pattern's hops, nearest first.
//!
//! An incident is at the node of the alert that opened it and stays there, so that it does not
//! drift: an alert shares its pair while that node, not any other alert's, is within the hops. A
//! value that is no node is near nothing but itself.

use super::state::State;
use crate::model::alert::Hop;
use crate::model::settings::Near;
use crate::model::topology::{Graph, Node, Walk};
use crate::model::{Pair, Pattern};

/// A pattern that applies to an alert.
pub(super) struct Applying<'s> {
    pub(super) pattern: &'s Pattern,
    /// The pairs of an incident that the alert opens.
    pub(super) own: Vec<Pair>,
    /// The pairs that it shares with incidents; of those near it only such as one holds.
    pub(super) shared: Vec<Pair>,
    walk: Option<Walk>,
}

/// What an alert shares by a pattern that gives it these pairs.
pub(super) fn applying<'s>(
    state: &mut State,
    pattern: &'s Pattern,
    own: Vec<Pair>,
) -> Applying<'s> {
    let Some(near) = &pattern.near else {
        return Applying { pattern, shared: own.clone(), own, walk: None };
    };
    let mut applying = Applying { pattern, shared: Vec::new(), own, walk: None };
    // The alert's own values first: they are nearest, and need not be nodes.
    let mut values: Vec<Box<str>> = Vec::new();
    for (_, value) in applying.own.iter().filter_map(|pair| pair.near.as_ref()) {
        if !values.contains(value) {
            values.push(value.clone());
        }
    }
    if state.is_centre_of_none(&pattern.name) {
        return applying;
    }
    let settings = state.shared_settings();
    let topology = settings.topology.as_ref();
    if let Some((topology, graph)) = topology.and_then(|all| Some((all, all.graph.as_deref()?))) {
        let starts: Vec<Node> =
            values.iter().filter_map(|value| graph.node(&near.tag, value)).collect();
        let walk = graph.walk(&starts, near.hops, &near.kinds, topology.edges_looked_at);
        if walk.is_cut() {
            state.count_near_cut();
        }
        let reached = walk.nodes().skip(starts.len()).map(|(node, _)| graph.name(node));
        let centres = reached
            .filter(|(tag, value)| *tag == &*near.tag && state.is_centre(&pattern.name, value));
        values.extend(centres.map(|(_, value)| Box::from(value)));
        applying.walk = Some(walk);
    }
    for value in values.iter().filter(|value| state.is_centre(&pattern.name, value)) {
        let centre = (near.tag.clone(), value.clone());
        for pair in &applying.own {
            let pair = Pair { near: Some(centre.clone()), ..pair.clone() };
            if !is_in_last(&applying.shared, &pair) {
                applying.shared.push(pair);
            }
        }
    }
    applying
}

impl Applying<'_> {
    /// The way from the alert to the node of a pair that it shares.
    pub(super) fn path(&self, graph: Option<&Graph>, pair: &Pair) -> Vec<Hop> {
        let (Some(Near { tag, .. }), Some((_, value))) = (&self.pattern.near, &pair.near) else {
            return Vec::new();
        };
        let found = graph.and_then(|graph| {
            let node = graph.node(tag, value)?;
            let walk = self.walk.as_ref().filter(|walk| walk.reached(node))?;
            Some(graph.path(walk, node).into_iter().map(|(node, via)| {
                let (tag, value) = graph.name(node);
                Hop { tag: tag.into(), value: value.into(), via: via.map(Box::from) }
            }))
        });
        match found {
            Some(path) => path.collect(),
            None => vec![Hop { tag: tag.clone(), value: value.clone(), via: None }],
        }
    }
}

/// Whether a pair is among the last ones, which have the same centre.
fn is_in_last(shared: &[Pair], pair: &Pair) -> bool {
    shared.iter().rev().take_while(|other| other.near == pair.near).any(|other| other == pair)
}
