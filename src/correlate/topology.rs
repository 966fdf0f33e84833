//! The graphs whose parts are in the log: put together, checked, and kept as rows while they count.
//!
//! A graph comes into force with the settings that name its digest, never before all of it is here
//! and its bytes have that digest. So the log alone, or the rows alone, tell which graph a stage
//! goes by; no file is asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::Topology;
use crate::model::topology::{Graph, digest};
use crate::wire::topology::Part;

/// How many graphs are kept: the one in force and those that are on their way.
const GRAPHS_MAX: usize = 3;

/// Parts of graphs, by digest and number.
#[derive(Debug, Default)]
pub(super) struct Graphs {
    parts: BTreeMap<Box<str>, BTreeMap<u32, Part>>,
    /// A graph that is at hand: not decoded again where it is the one that comes into force.
    at_hand: Option<Topology>,
}

/// A part's place: digest and number.
pub(super) type Place = (Box<str>, u32);

impl Graphs {
    /// Has a graph at hand, which saves decoding it.
    pub(super) fn have(&mut self, topology: Option<Topology>) {
        self.at_hand = topology;
    }

    /// Takes a part; the places whose rows change: its own, and those of a graph that gives way.
    pub(super) fn add(&mut self, part: Part, in_force: Option<&str>) -> Result<Vec<Place>, String> {
        let known = self.parts.get(&part.digest);
        if let Some(other) = known.and_then(|parts| parts.values().next())
            && other.of != part.of
        {
            return Err(format!("a topology of {} parts has none of {}", other.of, part.of));
        }
        if known.is_some_and(|parts| parts.contains_key(&part.part)) {
            return Ok(Vec::new());
        }
        let mut changed = vec![(part.digest.clone(), part.part)];
        let new = part.digest.clone();
        self.restore(part);
        while self.parts.len() > GRAPHS_MAX {
            // Never the one in force; of the others it matters only that rows alone tell which.
            let mut digests = self.parts.keys().map(|digest| &**digest);
            let may_go = |digest: &&str| *digest != &*new && Some(*digest) != in_force;
            let Some(first) = digests.find(may_go).map(Box::<str>::from) else { break };
            changed.extend(self.forget(&first));
        }
        Ok(changed)
    }

    /// Takes a part back from its row.
    pub(super) fn restore(&mut self, part: Part) {
        self.parts.entry(part.digest.clone()).or_default().insert(part.part, part);
    }

    /// The graph of settings that come into force.
    pub(super) fn whole(&self, topology: &Topology) -> Result<Arc<Graph>, String> {
        let name = &topology.digest;
        let parts = self.parts.get(name).ok_or_else(|| {
            format!("no part of topology {name}, by which the settings go, comes before them")
        })?;
        let of = parts.values().next().map_or(0, |part| part.of as usize);
        if parts.len() != of {
            let here = parts.len();
            return Err(format!("of topology {name} only {here} of {of} parts are here"));
        }
        let bytes: Vec<u8> = parts.values().flat_map(|part| part.bytes.iter().copied()).collect();
        if digest(&bytes) != *name {
            return Err(format!("the parts of topology {name} are damaged"));
        }
        let at_hand = self.at_hand.as_ref().filter(|at_hand| at_hand.digest == *name);
        match at_hand.and_then(|at_hand| at_hand.graph.as_ref()) {
            Some(graph) => Ok(Arc::clone(graph)),
            None => Graph::from_bytes(&bytes)
                .map(Arc::new)
                .map_err(|why| format!("topology {name} cannot be read: {why}")),
        }
    }

    /// Lets a graph go; the places whose rows do.
    pub(super) fn forget(&mut self, digest: &str) -> Vec<Place> {
        let parts = self.parts.remove(digest).unwrap_or_default();
        parts.into_keys().map(|part| (digest.into(), part)).collect()
    }

    /// The rows of the graph in force are written: its bytes are in the graph itself.
    pub(super) fn settle(&mut self, in_force: &str) {
        for part in self.parts.get_mut(in_force).into_iter().flat_map(BTreeMap::values_mut) {
            part.bytes = Vec::new();
        }
    }

    /// A part, where it is still kept.
    pub(super) fn part(&self, digest: &str, part: u32) -> Option<&Part> {
        self.parts.get(digest)?.get(&part)
    }
}
