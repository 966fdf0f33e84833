//! Reads a topology's file: CSV, JSON lines or YAML, by its name's end.
//!
//! An edge is two nodes, each a tag and a value, and a kind. Whatever is wrong is named with its
//! line (in YAML the number of the edge), its field and what to do; nothing is left out in silence.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use ::config::{FileFormat, Value, ValueKind};
use serde::Deserialize;

use crate::model::topology::{Builder, Graph};

/// The longest line, in bytes: five names of 512 bytes, each byte escaped, and what is around them.
const LINE_BYTES: u64 = 32 << 10;
/// The largest YAML file: unlike the others it is held in memory as a tree.
const YAML_BYTES: u64 = 64 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edge {
    from: Node,
    to: Node,
    #[serde(default)]
    kind: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    tag: String,
    value: String,
}

/// Reads a graph.
///
/// # Errors
/// Names the line, the field and what to do.
pub(super) fn read(path: &Path, nodes_max: usize, edges_max: usize) -> Result<Graph, String> {
    let mut builder = Builder::new(nodes_max, edges_max);
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    match path.extension().and_then(|end| end.to_str()) {
        Some("csv") => {
            let mut columns = None;
            each_line(file, LINE_BYTES, "edge", |line| csv(line, &mut columns, &mut builder))?;
        }
        Some("jsonl" | "ndjson" | "json") => {
            each_line(file, LINE_BYTES, "edge", |line| json(line, &mut builder))?
        }
        Some("yaml" | "yml") => yaml(&file, path, &mut builder)?,
        _ => return Err("is of no known kind; name it .csv, .jsonl, .ndjson or .yaml".to_owned()),
    }
    builder.build()
}

/// Hands over each line that is not blank, without its end; `what` is what stands on one.
///
/// # Errors
/// Names the line.
pub(super) fn each_line(
    file: File,
    most: u64,
    what: &str,
    mut line: impl FnMut(&str) -> Result<(), String>,
) -> Result<(), String> {
    use std::io::Read as _;
    let mut file = BufReader::new(file);
    let mut bytes = Vec::new();
    for number in 1_u64.. {
        bytes.clear();
        let read = file.by_ref().take(most + 1).read_until(b'\n', &mut bytes);
        let at = |why: String| format!("line {number}: {why}");
        if read.map_err(|error| at(error.to_string()))? == 0 {
            break;
        }
        if bytes.len() as u64 > most {
            return Err(at(format!("is longer than {most} bytes; one {what} a line")));
        }
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| at(format!("is no UTF-8 ({error}); save the file as UTF-8")))?;
        let text = if number == 1 { text.trim_start_matches('\u{feff}') } else { text };
        let text = text.trim_end_matches(['\n', '\r']);
        if !text.trim().is_empty() {
            line(text).map_err(at)?;
        }
    }
    Ok(())
}

fn add(builder: &mut Builder, edge: &Edge) -> Result<(), String> {
    let Edge { from, to, kind } = edge;
    builder.edge((&from.tag, &from.value), (&to.tag, &to.value), kind)
}

fn json(line: &str, builder: &mut Builder) -> Result<(), String> {
    let edge = serde_json::from_str::<Edge>(line).map_err(|error| {
        format!(
            "{error}; write {{\"from\":{{\"tag\":…,\"value\":…}},\"to\":{{…}},\"kind\":…}}, one object a line"
        )
    })?;
    add(builder, &edge)
}

/// The text of a record that is an edge, once that it is one is known.
///
/// # Errors
/// Names the field and what to do.
pub(super) fn record(bytes: &[u8]) -> Result<Box<str>, String> {
    if bytes.len() as u64 > LINE_BYTES {
        return Err(format!("it is longer than {LINE_BYTES} bytes"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| format!("it is no UTF-8 ({error})"))?;
    // Alone: what is wrong with it is known, whatever else there is.
    add_record(text, &mut Builder::new(2, 1))?;
    Ok(text.into())
}

/// Adds the edge of a record.
///
/// # Errors
/// Names the field, or the bound that is passed.
pub(super) fn add_record(text: &str, builder: &mut Builder) -> Result<(), String> {
    json(text, builder)
}

/// Where each of the five columns is; `kind` may be missing.
type Columns = [Option<usize>; 5];

fn csv(line: &str, columns: &mut Option<Columns>, builder: &mut Builder) -> Result<(), String> {
    const NAMES: [&str; 5] = ["from_tag", "from", "to_tag", "to", "kind"];
    let fields = fields(line)?;
    let Some(columns) = columns else {
        let known = |field: &String| NAMES.contains(&field.trim());
        if let Some(other) = fields.iter().find(|field| !known(field)) {
            return Err(format!("`{other}` is no column; there are {}", NAMES.join(", ")));
        }
        let place = |name: &str| fields.iter().position(|field| field.trim() == name);
        let found = NAMES.map(place);
        if let Some(missing) = (0..4).find(|column| found[*column].is_none()) {
            let missing = NAMES[missing];
            return Err(format!(
                "column `{missing}` is missing; begin with a line `{}`",
                NAMES.join(",")
            ));
        }
        *columns = Some(found);
        return Ok(());
    };
    let field = |column: usize| match columns[column] {
        None => Ok(""),
        Some(place) => fields
            .get(place)
            .map(String::as_str)
            .ok_or_else(|| format!("column `{}` is missing in this line", NAMES[column])),
    };
    let width = columns.iter().flatten().count();
    if fields.len() > width {
        let many = fields.len();
        return Err(format!("{many} fields in {width} columns; quote a field that holds a comma"));
    }
    builder.edge((field(0)?, field(1)?), (field(2)?, field(3)?), field(4)?)
}

/// The fields of a line; `"` around a field keeps its commas, and `""` within is one `"`.
fn fields(line: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let field = fields.last_mut().expect("there is always a field");
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => field.push(c),
        }
    }
    if quoted { Err("a `\"` is not closed; a field is one line".to_owned()) } else { Ok(fields) }
}

fn yaml(file: &File, path: &Path, builder: &mut Builder) -> Result<(), String> {
    let long = file.metadata().map_err(|error| error.to_string())?.len();
    if long > YAML_BYTES {
        return Err(format!("has more than {YAML_BYTES} bytes; write it as CSV or JSON lines"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let file = ::config::File::from_str(&text, FileFormat::Yaml);
    let built = ::config::Config::builder().add_source(file).build();
    let tree = built.and_then(|built| built.cache.into_table()).map_err(|e| e.to_string())?;
    let mut tree: Vec<(String, Value)> = tree.into_iter().collect();
    let edges = match (tree.pop(), tree.is_empty()) {
        (Some((key, value)), true) if key == "edges" => value.into_array(),
        _ => return Err("holds something else than one key, `edges`, with a list".to_owned()),
    };
    let edges = edges.map_err(|_| "`edges` is no list".to_owned())?;
    for (number, edge) in edges.into_iter().enumerate() {
        if !matches!(edge.kind, ValueKind::Table(_)) {
            return Err(format!("edges[{number}]: is no edge; write {{from: …, to: …, kind: …}}"));
        }
        let edge: Edge =
            edge.try_deserialize().map_err(|error| format!("edges[{number}]: {error}"))?;
        add(builder, &edge).map_err(|why| format!("edges[{number}]: {why}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::topology::digest;

    fn graph(name: &str, text: &str) -> Result<Graph, String> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("it can be written");
        read(&path, 10, 10)
    }

    const JSON: &str = r#"{"from":{"tag":"host","value":"web, 1"},"to":{"tag":"service","value":"shop"},"kind":"runs_on"}
{"from":{"tag":"host","value":"db"},"to":{"tag":"service","value":"shop"}}
"#;
    const CSV: &str = "\u{feff}from_tag,from,to_tag,to,kind\r\nhost,\"web, 1\",service,shop,runs_on\r\n\r\nhost,db,service,shop,\r\n";
    const YAML: &str = "edges:
  - {from: {tag: host, value: 'web, 1'}, to: {tag: service, value: shop}, kind: runs_on}
  - {from: {tag: host, value: db}, to: {tag: service, value: shop}}
";

    #[test]
    fn every_form_gives_the_same_graph() {
        let [json, csv, yaml] = [("a.jsonl", JSON), ("a.csv", CSV), ("a.yaml", YAML)]
            .map(|(name, text)| graph(name, text).expect(name));
        assert_eq!((json.nodes(), json.edges()), (3, 2));
        assert!(json.node("host", "web, 1").is_some());
        assert_eq!(digest(&json.to_bytes()), digest(&csv.to_bytes()));
        assert_eq!(digest(&json.to_bytes()), digest(&yaml.to_bytes()));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_field() {
        let long = format!("from_tag,from,to_tag,to\nhost,{},host,b\n", "x".repeat(40_000));
        let many: String = (0..11).map(|n| format!("host,a{n},host,b\n")).collect();
        let many = format!("from_tag,from,to_tag,to\n{many}");
        for (name, text, words) in [
            ("a.txt", "", "name it .csv"),
            ("a.csv", "from_tag,from,to_tag\n", "line 1: column `to`"),
            ("a.csv", "from_tag,from,to_tag,to,colour\n", "line 1: `colour`"),
            ("a.csv", "from_tag,from,to_tag,to\nhost,a,host\n", "line 2: column `to` is missing"),
            ("a.csv", "from_tag,from,to_tag,to\nhost,a,host,b,c\n", "line 2: 5 fields"),
            ("a.csv", "from_tag,from,to_tag,to\nhost,,host,b\n", "line 2: `from.value` is empty"),
            ("a.csv", "from_tag,from,to_tag,to\nhost,\"a,host,b\n", "line 2: a `\"`"),
            ("a.csv", &long, "line 2: is longer"),
            ("a.csv", &many, "nodes_max"),
            ("a.jsonl", "{\"from\":1}\n", "line 1: "),
            ("a.jsonl", &JSON.replace("kind", "kid"), "line 1: unknown field `kid`"),
            ("a.yaml", "edges: 1\n", "`edges` is no list"),
            ("a.yaml", "other: []\n", "`edges`"),
            ("a.yaml", "edges: [{from: {tag: a}}]\n", "edges[0]: "),
        ] {
            let error = graph(name, text).expect_err(words);
            assert!(error.contains(words), "{error:?} lacks {words:?}");
        }
    }
}
