//! A topology's edges as a compacted Kafka topic holds them: one a record, under a key of the
//! publisher's.
//!
//! The newest record of a key in its partition counts; one without a value takes the edge away. A
//! record that is no edge stands for none, as if it had never had another under its key: so it is
//! whether the topic is followed or read anew after compaction. Who reads the topic is `cli`'s work.

use std::collections::BTreeMap;
use std::fmt;

use super::topology_file;
use crate::model::topology::Builder;
use crate::model::{Span, Topology};

/// The longest key, in bytes.
const KEY_BYTES: usize = 2 << 10;

/// Where the topic is, and the bounds on what it holds.
#[derive(Clone, PartialEq, Eq)]
pub struct TopologyTopic {
    /// Its name.
    pub topic: String,
    /// The cluster it is on, `host:port`, comma separated.
    pub brokers: String,
    /// Further librdkafka settings for that cluster.
    pub extra: BTreeMap<String, String>,
    /// Whether it is on the journal's cluster.
    pub is_shared: bool,
    /// How long no edge changes before the graph that they make comes into force.
    pub settle: Span,
    /// How long the first reading may take.
    pub read_within: Span,
    pub(super) nodes_max: usize,
    pub(super) edges_max: usize,
    pub(super) edges_looked_at: u32,
}

impl fmt::Debug for TopologyTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopologyTopic")
            .field("topic", &self.topic)
            .field("brokers", &self.brokers)
            .field("extra", &super::journal_section::mask(&self.extra))
            .field("settle", &self.settle)
            .field("read_within", &self.read_within)
            .field("nodes_max", &self.nodes_max)
            .field("edges_max", &self.edges_max)
            .field("edges_looked_at", &self.edges_looked_at)
            .finish_non_exhaustive()
    }
}

impl TopologyTopic {
    /// No edges yet, and how many there may be.
    #[must_use]
    pub fn edges(&self) -> Edges {
        let Self { nodes_max, edges_max, edges_looked_at, .. } = *self;
        let held = BTreeMap::new();
        Edges { nodes_max, edges_max, edges_looked_at, held, unreadable: 0 }
    }
}

/// A partition, and a key in it.
type Place = (u32, Box<[u8]>);

/// What the topic holds.
#[derive(Debug)]
pub struct Edges {
    nodes_max: usize,
    edges_max: usize,
    edges_looked_at: u32,
    /// By partition and key, as JSON; none for what is no edge, which is counted.
    held: BTreeMap<Place, Option<Box<str>>>,
    unreadable: usize,
}

/// Why a record is not held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotHeld {
    /// It is no edge; the rest stands.
    NoEdge(String),
    /// There are as many as there may be; what is held is not all there is from here on.
    Full(String),
}

impl Edges {
    /// Takes a record; without a value it takes an edge away.
    ///
    /// # Errors
    /// Says why it is no edge, or that there is no room for it.
    pub fn take(
        &mut self,
        partition: u32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), NotHeld> {
        let key = match key {
            None => {
                let why = "it has no key, so that it could not be taken away; give each edge one";
                return Err(NotHeld::NoEdge(why.to_owned()));
            }
            Some(key) if key.len() > KEY_BYTES => {
                let why = format!("its key has more than {KEY_BYTES} bytes; give it a shorter one");
                return Err(NotHeld::NoEdge(why));
            }
            Some(key) => (partition, Box::from(key)),
        };
        let Some(value) = value else {
            let gone = self.held.remove(&key);
            self.unreadable -= usize::from(gone == Some(None));
            return Ok(());
        };
        // A change of a key that is there needs no more room.
        if self.held.len() >= self.edges_max && !self.held.contains_key(&key) {
            let most = self.edges_max;
            return Err(NotHeld::Full(format!(
                "there are more than {most} keys; raise correlate.topology.edges_max"
            )));
        }
        let (edge, why) = match topology_file::record(value) {
            Ok(edge) => (Some(edge), None),
            Err(why) => (None, Some(why)),
        };
        self.unreadable += usize::from(edge.is_none());
        let before = self.held.insert(key, edge);
        self.unreadable -= usize::from(before == Some(None));
        why.map_or(Ok(()), |why| Err(NotHeld::NoEdge(why)))
    }

    /// How many edges are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len() - self.unreadable
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Under how many keys there is something that is no edge.
    #[must_use]
    pub fn unreadable(&self) -> usize {
        self.unreadable
    }

    /// The graph that they make.
    ///
    /// # Errors
    /// Says which bound is passed.
    pub fn build(&self) -> Result<Topology, String> {
        let mut builder = Builder::new(self.nodes_max, self.edges_max);
        for edge in self.held.values().flatten() {
            topology_file::add_record(edge, &mut builder)?;
        }
        Ok(Topology::new(builder.build()?, self.edges_looked_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(nodes_max: usize, edges_max: usize) -> Edges {
        let (held, unreadable) = (BTreeMap::new(), 0);
        Edges { nodes_max, edges_max, edges_looked_at: 100, held, unreadable }
    }

    fn edge(from: &str, to: &str) -> String {
        format!(
            r#"{{"from":{{"tag":"host","value":"{from}"}},"to":{{"tag":"host","value":"{to}"}},"kind":"next"}}"#
        )
    }

    fn put(edges: &mut Edges, partition: u32, key: &str, value: &str) -> Result<(), NotHeld> {
        edges.take(partition, Some(key.as_bytes()), Some(value.as_bytes()))
    }

    #[test]
    fn the_newest_record_of_a_key_counts_and_order_does_not() {
        let mut one = edges(10, 10);
        for (partition, key, value) in
            [(0, "x", edge("a", "b")), (1, "x", edge("b", "c")), (0, "x", edge("c", "d"))]
        {
            put(&mut one, partition, key, &value).expect("an edge");
        }
        assert_eq!(one.len(), 2);
        let graph = one.build().expect("a graph");
        let known = graph.graph.as_ref().expect("it is there");
        assert!(known.node("host", "a").is_none() && known.node("host", "d").is_some());
        let mut other = edges(10, 10);
        put(&mut other, 3, "p", &edge("c", "d")).expect("an edge");
        put(&mut other, 2, "q", &edge("b", "c")).expect("an edge");
        assert_eq!(other.build().expect("a graph").digest, graph.digest);

        other.take(2, Some(b"q"), None).expect("taken away");
        other.take(2, Some(b"never"), None).expect("nothing to take away");
        assert_eq!(other.len(), 1);
        assert_ne!(other.build().expect("a graph").digest, graph.digest);
        other.take(3, Some(b"p"), None).expect("taken away");
        assert!(other.is_empty());
        assert_eq!(other.build().expect("a graph").graph.expect("it is there").nodes(), 0);
    }

    #[test]
    fn what_is_no_edge_is_said_counted_and_stands_for_none() {
        let mut edges = edges(10, 10);
        let long = "k".repeat(KEY_BYTES + 1);
        let name = edge(&"n".repeat(513), "b");
        for (key, value, words) in [
            (Some("a"), "{", "EOF while parsing"),
            (Some("b"), r#"{"from":1}"#, "write {\"from\""),
            (Some("c"), &edge("", "b"), "`from.value` is empty"),
            (Some("d"), &name, "more than 512 bytes"),
            (Some("e"), "\u{0}", "expected value"),
            (None, &edge("a", "b"), "no key"),
            (Some(&*long), &edge("a", "b"), "its key has more than"),
        ] {
            let taken = edges.take(0, key.map(str::as_bytes), Some(value.as_bytes()));
            let Err(NotHeld::NoEdge(why)) = taken else { unreachable!("{value}: {taken:?}") };
            assert!(why.contains(words), "{why:?} lacks {words:?}");
        }
        let Err(NotHeld::NoEdge(why)) = edges.take(0, Some(b"f"), Some(b"\xff")) else {
            unreachable!("no UTF-8")
        };
        assert!(why.contains("UTF-8"), "{why}");
        assert_eq!((edges.len(), edges.unreadable()), (0, 6));
        put(&mut edges, 0, "a", &edge("a", "b")).expect("an edge");
        assert_eq!((edges.len(), edges.unreadable()), (1, 5));
        put(&mut edges, 0, "a", "{").expect_err("no edge");
        assert_eq!((edges.len(), edges.unreadable()), (0, 6));
        for key in [b"a", b"b"] {
            edges.take(0, Some(key), None).expect("taken away");
        }
        assert_eq!((edges.len(), edges.unreadable()), (0, 4));
    }

    #[test]
    fn there_is_room_for_so_many_and_a_known_key_always_fits() {
        let mut full = edges(10, 2);
        put(&mut full, 0, "a", &edge("a", "b")).expect("room");
        put(&mut full, 0, "b", &edge("b", "c")).expect("room");
        let Err(NotHeld::Full(why)) = put(&mut full, 0, "c", &edge("c", "d")) else {
            unreachable!("there is no room")
        };
        assert!(why.contains("edges_max"), "{why}");
        put(&mut full, 0, "b", &edge("x", "y")).expect("the key is known");
        let mut nodes = edges(3, 10);
        put(&mut nodes, 0, "a", &edge("a", "b")).expect("an edge");
        put(&mut nodes, 0, "b", &edge("c", "d")).expect("an edge");
        let why = nodes.build().expect_err("four nodes");
        assert!(why.contains("nodes_max"), "{why}");
    }
}
