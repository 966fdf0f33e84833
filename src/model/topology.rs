//! What is near what: a graph of names, as compact arrays.
//!
//! A node is a tag and a value, such as host `web-1`; an edge has a kind and is followed both ways,
//! since a fault shows on either side. The same edges are the same bytes and the same digest, in
//! whatever order they came. A walk goes by distance, then by the order of nodes, and is bounded.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::index::Index;

/// How many bytes a tag, a value or a kind may have.
pub const NAME_BYTES: usize = 512;
/// How many different tags, and how many kinds, a graph may have.
pub const WORDS_MAX: usize = 256;
/// What the bytes of a graph begin with.
const MAGIC: &[u8] = b"muster-topology 1\n";

/// A graph that settings name; two are equal where their digests are.
#[derive(Debug, Clone)]
pub struct Topology {
    /// The SHA-256 of the graph's bytes, in hexadecimal.
    pub digest: Box<str>,
    /// The graph, where it is at hand; a record of settings has the digest alone.
    pub graph: Option<Arc<Graph>>,
    /// How many edges the search of one alert by one pattern looks at, nearest first.
    pub edges_looked_at: u32,
}

impl Topology {
    /// Of a graph.
    #[must_use]
    pub fn new(graph: Graph, edges_looked_at: u32) -> Self {
        Self { digest: digest(&graph.to_bytes()), graph: Some(Arc::new(graph)), edges_looked_at }
    }
}

impl PartialEq for Topology {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && self.edges_looked_at == other.edges_looked_at
    }
}

impl Eq for Topology {}

/// The digest of a graph's bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> Box<str> {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").expect("a text takes whatever is written");
    }
    text.into()
}

/// A node: the number of a tag and value in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(u32);

/// An edge as it is stored: from the lower node to the higher one, and its kind.
type Edge = (u32, u32, u16);

/// Names and what joins them.
#[derive(Clone, PartialEq, Eq)]
pub struct Graph {
    tags: Vec<Box<str>>,
    kinds: Vec<Box<str>>,
    /// The tag of each node; nodes are sorted by tag and value.
    tag_of: Vec<u16>,
    /// All values one after the other, and where each begins.
    values: String,
    value_at: Vec<u32>,
    /// Where the neighbours of each node begin; both directions of each edge.
    first: Vec<u32>,
    to: Vec<u32>,
    kind: Vec<u16>,
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Graph of {} nodes and {} edges", self.nodes(), self.edges())
    }
}

impl Graph {
    /// How many nodes there are.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.tag_of.len()
    }

    /// How many different edges there are.
    #[must_use]
    pub fn edges(&self) -> usize {
        self.to.len() / 2
    }

    /// How many bytes it takes in memory, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.tag_of.len() * 2
            + self.values.len()
            + (self.value_at.len() + self.first.len() + self.to.len()) * 4
            + self.kind.len() * 2
    }

    /// The node of a tag's value.
    #[must_use]
    pub fn node(&self, tag: &str, value: &str) -> Option<Node> {
        let tag = u16::try_from(self.tags.binary_search_by(|known| (**known).cmp(tag)).ok()?);
        let tag = tag.ok()?;
        let (mut low, mut high) = (0, self.nodes());
        while low < high {
            let middle = usize::midpoint(low, high);
            match (self.tag_of[middle], self.value(middle)).cmp(&(tag, value)) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return u32::try_from(middle).ok().map(Node),
            }
        }
        None
    }

    /// A node's tag and value.
    #[must_use]
    pub fn name(&self, node: Node) -> (&str, &str) {
        let index = node.0 as usize;
        (&self.tags[usize::from(self.tag_of[index])], self.value(index))
    }

    /// Whether any edge is of this kind.
    #[must_use]
    pub fn has_kind(&self, kind: &str) -> bool {
        self.kinds.binary_search_by(|known| (**known).cmp(kind)).is_ok()
    }

    /// Every tag that is in it.
    #[must_use]
    pub fn tags(&self) -> &[Box<str>] {
        &self.tags
    }

    /// Every node within `hops` of one of `starts`, nearest first; by edges of these kinds alone,
    /// where any is named. At most `edges_max` edges are looked at.
    #[must_use]
    pub fn walk(&self, starts: &[Node], hops: u32, kinds: &[Box<str>], edges_max: u32) -> Walk {
        let allowed: Vec<bool> =
            self.kinds.iter().map(|kind| kinds.is_empty() || kinds.contains(kind)).collect();
        let mut walk = Walk { steps: Vec::new(), place: Index::default(), cut: false };
        for start in starts {
            walk.reach(start.0, None, 0);
        }
        let (mut next, mut left) = (0, edges_max);
        while let Some(Step { node, distance, .. }) = walk.steps.get(next).copied() {
            if distance >= hops {
                break;
            }
            for at in self.first[node as usize]..self.first[node as usize + 1] {
                if left == 0 {
                    walk.cut = true;
                    return walk;
                }
                left -= 1;
                let kind = self.kind[at as usize];
                if allowed[usize::from(kind)] {
                    walk.reach(self.to[at as usize], Some((next, kind)), distance + 1);
                }
            }
            next += 1;
        }
        walk
    }

    /// The way from where a walk began to a node that it reached: each node, and the kind of the
    /// edge that leads to it from the one before.
    #[must_use]
    pub fn path(&self, walk: &Walk, node: Node) -> Vec<(Node, Option<&str>)> {
        let mut path = Vec::new();
        let mut at = walk.place.get(&node.0).copied();
        while let Some(step) = at.and_then(|at| walk.steps.get(at)) {
            let kind = step.from.map(|(_, kind)| &*self.kinds[usize::from(kind)]);
            path.push((Node(step.node), kind));
            at = step.from.map(|(before, _)| before);
        }
        path.reverse();
        path
    }

    /// Its bytes: the same graph is the same bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for words in [&self.tags, &self.kinds] {
            put(&mut bytes, words.len());
            words.iter().for_each(|word| put_text(&mut bytes, word));
        }
        put(&mut bytes, self.nodes());
        for node in 0..self.nodes() {
            put(&mut bytes, usize::from(self.tag_of[node]));
            put_text(&mut bytes, self.value(node));
        }
        put(&mut bytes, self.edges());
        for node in 0..self.nodes() {
            let (from, to) = (self.first[node] as usize, self.first[node + 1] as usize);
            let higher = (from..to).filter(|at| self.to[*at] as usize > node);
            put(&mut bytes, higher.clone().count());
            let mut before = node;
            for at in higher {
                put(&mut bytes, self.to[at] as usize - before);
                put(&mut bytes, usize::from(self.kind[at]));
                before = self.to[at] as usize;
            }
        }
        bytes
    }

    /// A graph from its bytes.
    ///
    /// # Errors
    /// Says what is not as a graph has it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let rest = bytes.strip_prefix(MAGIC).ok_or("it is no topology of version 1")?;
        let mut reader = Reader(rest);
        let tags = reader.words("tags")?;
        let kinds = reader.words("kinds")?;
        let nodes = reader.count("nodes")?;
        let mut tag_of = Vec::with_capacity(nodes);
        let mut values = String::new();
        let mut value_at = vec![0];
        for _ in 0..nodes {
            let tag = reader.number()?;
            if tag >= tags.len() {
                return Err(format!("there is no tag {tag}"));
            }
            tag_of.push(u16::try_from(tag).map_err(|error| error.to_string())?);
            values.push_str(reader.text()?);
            value_at.push(u32::try_from(values.len()).map_err(|error| error.to_string())?);
        }
        let count = reader.count("edges")?;
        let mut edges: Vec<Edge> = Vec::with_capacity(count);
        for node in 0..nodes {
            let mut before = node;
            for _ in 0..reader.count("neighbours")? {
                before = before.saturating_add(reader.number()?);
                let kind = reader.number()?;
                if before <= node || before >= nodes || kind >= kinds.len() {
                    return Err(format!("node {node} has no neighbour {before} of kind {kind}"));
                }
                let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
                edges.push((number(node), number(before), u16::try_from(kind).unwrap_or(u16::MAX)));
            }
        }
        if edges.len() != count || !reader.0.is_empty() {
            return Err("it is not as long as it says".to_owned());
        }
        let graph = Self::laid_out(tags, kinds, tag_of, values, value_at, edges)?;
        let sorted = (1..nodes).all(|node| {
            let key = |node: usize| (graph.tag_of[node], graph.value(node));
            key(node - 1) < key(node)
        });
        if sorted { Ok(graph) } else { Err("its nodes are not in their order".to_owned()) }
    }

    fn laid_out(
        tags: Vec<Box<str>>,
        kinds: Vec<Box<str>>,
        tag_of: Vec<u16>,
        values: String,
        value_at: Vec<u32>,
        edges: Vec<Edge>,
    ) -> Result<Self, String> {
        let nodes = tag_of.len();
        if edges.len() > (u32::MAX / 2) as usize {
            return Err("it has more edges than can be numbered".to_owned());
        }
        let mut first = vec![0_u32; nodes + 1];
        for (a, b, _) in &edges {
            first[*a as usize + 1] += 1;
            first[*b as usize + 1] += 1;
        }
        for node in 0..nodes {
            first[node + 1] += first[node];
        }
        // Edges are sorted by their lower node and then by the higher one. So the neighbours of a
        // node fill up in order: those below it as their turn comes, before its own turn does.
        let mut free = first.clone();
        let mut to = vec![0_u32; edges.len() * 2];
        let mut kind = vec![0_u16; edges.len() * 2];
        for (a, b, of) in edges {
            for (from, other) in [(a, b), (b, a)] {
                let at = free[from as usize];
                free[from as usize] += 1;
                to[at as usize] = other;
                kind[at as usize] = of;
            }
        }
        Ok(Self { tags, kinds, tag_of, values, value_at, first, to, kind })
    }

    fn value(&self, node: usize) -> &str {
        &self.values[self.value_at[node] as usize..self.value_at[node + 1] as usize]
    }
}

#[derive(Debug, Clone, Copy)]
struct Step {
    node: u32,
    distance: u32,
    /// Where the walk came from, and by an edge of which kind.
    from: Option<(usize, u16)>,
}

/// What a walk reached.
#[derive(Debug)]
pub struct Walk {
    steps: Vec<Step>,
    place: Index<u32, usize>,
    cut: bool,
}

impl Walk {
    /// Whether there was more within reach than it looked at.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Whether it came to a node.
    #[must_use]
    pub fn reached(&self, node: Node) -> bool {
        self.place.contains(&node.0)
    }

    /// The nodes it reached with their distances, nearest first.
    pub fn nodes(&self) -> impl Iterator<Item = (Node, u32)> + '_ {
        self.steps.iter().map(|step| (Node(step.node), step.distance))
    }

    fn reach(&mut self, node: u32, from: Option<(usize, u16)>, distance: u32) {
        if !self.place.contains(&node) {
            self.place.insert(node, self.steps.len());
            self.steps.push(Step { node, distance, from });
        }
    }
}

/// Gathers edges in any order.
#[derive(Debug)]
pub struct Builder {
    nodes_max: usize,
    edges_max: usize,
    tags: BTreeMap<Box<str>, u16>,
    kinds: BTreeMap<Box<str>, u16>,
    /// By the number of the tag.
    nodes: Vec<BTreeMap<Box<str>, u32>>,
    count: u32,
    edges: Vec<Edge>,
}

impl Builder {
    /// No edges yet, and how much there may be.
    #[must_use]
    pub fn new(nodes_max: usize, edges_max: usize) -> Self {
        Self {
            nodes_max,
            edges_max,
            tags: BTreeMap::new(),
            kinds: BTreeMap::new(),
            nodes: Vec::new(),
            count: 0,
            edges: Vec::new(),
        }
    }

    /// Adds an edge; one that is there already, or leads from a node to itself, is fine.
    ///
    /// # Errors
    /// Says which field is wrong or which bound is passed, and what to do.
    pub fn edge(&mut self, from: (&str, &str), to: (&str, &str), kind: &str) -> Result<(), String> {
        let named = [
            ("from.tag", from.0),
            ("from.value", from.1),
            ("to.tag", to.0),
            ("to.value", to.1),
            ("kind", kind),
        ];
        for (field, text) in named {
            if text.is_empty() && field != "kind" {
                return Err(format!("`{field}` is empty; name a tag and its value"));
            }
            if text.len() > NAME_BYTES {
                return Err(format!("`{field}` has more than {NAME_BYTES} bytes"));
            }
        }
        let (a, b) = (self.node(from)?, self.node(to)?);
        let kind = word(&mut self.kinds, kind, "kinds")?;
        if a == b {
            return Ok(());
        }
        // Twice the same does not count. Looked at only now and then, so that a file of nothing but
        // duplicates costs no more than others.
        if self.edges.len() > self.edges_max.saturating_mul(2) {
            self.edges.sort_unstable();
            self.edges.dedup();
            self.edges_fit()?;
        }
        self.edges.push((a.min(b), a.max(b), kind));
        Ok(())
    }

    /// The graph.
    ///
    /// # Errors
    /// When it has more edges than it may have, or than can be numbered.
    pub fn build(mut self) -> Result<Graph, String> {
        self.edges.sort_unstable();
        self.edges.dedup();
        self.edges_fit()?;
        let Self { tags, kinds, nodes, count, mut edges, .. } = self;
        let mut new_node = vec![0_u32; count as usize];
        let mut tag_of = Vec::with_capacity(count as usize);
        let mut values = String::new();
        let mut value_at = vec![0];
        let mut new_kind = vec![0_u16; kinds.len()];
        for (place, old) in kinds.values().enumerate() {
            new_kind[usize::from(*old)] = u16::try_from(place).unwrap_or(u16::MAX);
        }
        for (place, old) in tags.values().enumerate() {
            for (value, node) in &nodes[usize::from(*old)] {
                new_node[*node as usize] = u32::try_from(tag_of.len()).unwrap_or(u32::MAX);
                tag_of.push(u16::try_from(place).unwrap_or(u16::MAX));
                values.push_str(value);
                let end = u32::try_from(values.len()).map_err(|_| "its names are over 4 GiB")?;
                value_at.push(end);
            }
        }
        drop(nodes);
        for (a, b, kind) in &mut edges {
            let (from, to) = (new_node[*a as usize], new_node[*b as usize]);
            (*a, *b, *kind) = (from.min(to), from.max(to), new_kind[usize::from(*kind)]);
        }
        edges.sort_unstable();
        let (tags, kinds) = (tags.into_keys().collect(), kinds.into_keys().collect());
        Graph::laid_out(tags, kinds, tag_of, values, value_at, edges)
    }

    fn edges_fit(&self) -> Result<(), String> {
        let max = self.edges_max;
        if self.edges.len() <= max {
            return Ok(());
        }
        Err(format!("holds more than {max} edges; raise correlate.topology.edges_max"))
    }

    fn node(&mut self, (tag, value): (&str, &str)) -> Result<u32, String> {
        let tag = usize::from(word(&mut self.tags, tag, "tags")?);
        if tag == self.nodes.len() {
            self.nodes.push(BTreeMap::new());
        }
        if let Some(node) = self.nodes[tag].get(value) {
            return Ok(*node);
        }
        if self.count as usize >= self.nodes_max {
            let max = self.nodes_max;
            return Err(format!("holds more than {max} nodes; raise correlate.topology.nodes_max"));
        }
        let node = self.count;
        self.count += 1;
        self.nodes[tag].insert(value.into(), node);
        Ok(node)
    }
}

fn word(words: &mut BTreeMap<Box<str>, u16>, word: &str, what: &str) -> Result<u16, String> {
    if let Some(number) = words.get(word) {
        return Ok(*number);
    }
    if words.len() >= WORDS_MAX {
        return Err(format!("is beyond the {WORDS_MAX} different {what} that a graph may have"));
    }
    let number = u16::try_from(words.len()).unwrap_or(u16::MAX);
    words.insert(word.into(), number);
    Ok(number)
}

fn put(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap_or_default());
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put(bytes, text.len());
    bytes.extend_from_slice(text.as_bytes());
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Result<usize, String> {
        let mut number = 0_usize;
        for shift in (0..35).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or("it ends early")?;
            self.0 = rest;
            number |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("a number is too large".to_owned())
    }

    /// A number of things of which each takes a byte at least, so that nothing that is not there
    /// takes memory.
    fn count(&mut self, what: &str) -> Result<usize, String> {
        let count = self.number()?;
        if count <= self.0.len() { Ok(count) } else { Err(format!("it has no {count} {what}")) }
    }

    fn text(&mut self) -> Result<&'a str, String> {
        let long = self.count("bytes of text")?;
        let (text, rest) = self.0.split_at(long);
        self.0 = rest;
        std::str::from_utf8(text).map_err(|error| error.to_string())
    }

    fn words(&mut self, what: &str) -> Result<Vec<Box<str>>, String> {
        let count = self.count(what)?;
        if count > WORDS_MAX {
            return Err(format!("{count} are more than {WORDS_MAX} {what}"));
        }
        let words: Vec<Box<str>> =
            (0..count).map(|_| self.text().map(Box::from)).collect::<Result<_, _>>()?;
        let sorted = words.is_sorted_by(|a, b| a < b);
        if sorted { Ok(words) } else { Err(format!("its {what} are not in their order")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str, &str)]) -> Graph {
        let mut builder = Builder::new(1_000, 10_000);
        for (from, to, kind) in edges {
            builder.edge(("host", from), ("host", to), kind).expect("an edge");
        }
        builder.build().expect("a graph")
    }

    #[test]
    fn the_order_of_edges_duplicates_and_loops_change_nothing() {
        let one = graph(&[("a", "b", "x"), ("b", "c", "y"), ("c", "c", "x"), ("a", "b", "x")]);
        let other = graph(&[("c", "b", "y"), ("b", "a", "x")]);
        assert_eq!(digest(&one.to_bytes()), digest(&other.to_bytes()));
        assert_eq!((one.nodes(), one.edges()), (3, 2));
        assert_ne!(digest(&one.to_bytes()), digest(&graph(&[("a", "b", "x")]).to_bytes()));
        assert_eq!(Graph::from_bytes(&one.to_bytes()), Ok(one));
    }

    #[test]
    fn damaged_bytes_are_refused_and_never_a_panic() {
        let bytes = graph(&[("a", "b", "x"), ("b", "c", "y"), ("a", "d", "x")]).to_bytes();
        for at in 0..bytes.len() {
            assert!(Graph::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
            for change in [1, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= change;
                // It may be another graph; it must not be taken for one that it is not.
                if let Ok(read) = Graph::from_bytes(&damaged) {
                    assert_eq!(Graph::from_bytes(&read.to_bytes()), Ok(read));
                }
            }
        }
    }

    #[test]
    fn a_walk_agrees_with_all_pairs_distances() {
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..200 {
            let nodes = random.usize(2..14);
            let names: Vec<String> = (0..nodes).map(|node| format!("n{node:02}")).collect();
            let mut builder = Builder::new(100, 1_000);
            let mut apart = vec![vec![u32::MAX; nodes]; nodes];
            for _ in 0..random.usize(1..30) {
                let (a, b) = (random.usize(..nodes), random.usize(..nodes));
                let kind = if random.bool() { "good" } else { "bad" };
                builder.edge(("host", &names[a]), ("host", &names[b]), kind).expect("an edge");
                if kind == "good" {
                    (apart[a][b], apart[b][a]) = (1, 1);
                }
            }
            for (node, row) in apart.iter_mut().enumerate() {
                row[node] = 0;
            }
            for via in 0..nodes {
                for a in 0..nodes {
                    for b in 0..nodes {
                        let through = apart[a][via].saturating_add(apart[via][b]);
                        apart[a][b] = apart[a][b].min(through);
                    }
                }
            }
            let graph = builder.build().expect("a graph");
            let hops = random.u32(0..4);
            for (a, name) in names.iter().enumerate() {
                let Some(start) = graph.node("host", name) else { continue };
                let walk = graph.walk(&[start], hops, &["good".into()], u32::MAX);
                for (b, other) in names.iter().enumerate() {
                    let Some(node) = graph.node("host", other) else { continue };
                    let found = walk.nodes().find(|(reached, _)| *reached == node);
                    let within = Some(apart[a][b]).filter(|apart| *apart <= hops);
                    assert_eq!(found.map(|(_, distance)| distance), within, "{name} to {other}");
                    if let Some(distance) = within {
                        assert_eq!(graph.path(&walk, node).len(), distance as usize + 1);
                    }
                }
            }
        }
    }

    #[test]
    fn a_walk_stops_at_its_bound_and_says_so() {
        let names: Vec<String> = (0..50).map(|node| format!("n{node:02}")).collect();
        let edges: Vec<(&str, &str, &str)> =
            names.iter().map(|name| ("hub", name.as_str(), "x")).collect();
        let graph = graph(&edges);
        let hub = graph.node("host", "hub").expect("it is there");
        let walk = graph.walk(&[hub], 2, &[], 10);
        assert!(walk.is_cut() && walk.nodes().count() == 11);
        assert!(!graph.walk(&[hub], 1, &[], 50).is_cut());
    }

    #[test]
    fn bounds_are_named() {
        let mut builder = Builder::new(2, 1);
        builder.edge(("host", "a"), ("host", "b"), "").expect("within");
        builder.edge(("host", "b"), ("host", "a"), "").expect("the same");
        let error = builder.edge(("host", "b"), ("host", "c"), "").expect_err("a third node");
        assert!(error.contains("nodes_max"), "{error}");
        let error = builder.edge(("host", ""), ("host", "a"), "k").expect_err("no value");
        assert!(error.contains("from.value"), "{error}");
        for _ in 0..10 {
            builder.edge(("host", "b"), ("host", "a"), "").expect("the same");
        }
        builder.edge(("host", "b"), ("host", "a"), "k").expect("not looked at yet");
        let error = builder.build().expect_err("a second edge");
        assert!(error.contains("edges_max"), "{error}");
        let mut builder = Builder::new(2, 1);
        let kinds = ["k", "l", "m", "n"].map(|kind| builder.edge(("h", "b"), ("h", "a"), kind));
        assert!(kinds[3].is_err(), "memory is bounded while it reads");
    }
}
