//! Reads a lookup table's file: CSV with a line of column names, or JSON lines, by its name's end.
//!
//! Whatever is wrong is named with its line and what to do; nothing is left out in silence.

use std::borrow::Cow;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde_json::{Map, Value};

use super::topology_file::each_line;
use crate::collect::table::{Builder, Table};

/// The longest line of JSON, in bytes.
const LINE_BYTES: u64 = 64 << 10;

/// Reads the columns that make the key and those that are wanted of a row.
///
/// # Errors
/// Names the line, the column and what to do.
pub(super) fn read(
    path: &Path,
    keys: &[&str],
    cells: &[&str],
    rows_max: usize,
) -> Result<Table, String> {
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut builder = Builder::new(cells.len(), rows_max);
    match path.extension().and_then(|end| end.to_str()) {
        Some("csv") => csv(file, keys, cells, &mut builder)?,
        Some("jsonl" | "ndjson" | "json") => {
            each_line(file, LINE_BYTES, "object", |line| json(line, keys, cells, &mut builder))?;
        }
        _ => return Err("is of no known kind; name it .csv, .jsonl or .ndjson".to_owned()),
    }
    Ok(builder.build())
}

fn csv(file: File, keys: &[&str], cells: &[&str], builder: &mut Builder) -> Result<(), String> {
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(BufReader::new(file));
    let head = reader.headers().map_err(|error| error.to_string())?.clone();
    let place = |name: &&str| {
        let place = head.iter().position(|column| column.trim_start_matches('\u{feff}') == *name);
        let columns: Vec<&str> = head.iter().collect();
        place.ok_or_else(|| format!("has no column `{name}`; it has {}", columns.join(", ")))
    };
    let keys: Vec<usize> = keys.iter().map(place).collect::<Result<_, _>>()?;
    let cells: Vec<usize> = cells.iter().map(place).collect::<Result<_, _>>()?;
    let mut row = csv::StringRecord::new();
    loop {
        if !reader.read_record(&mut row).map_err(|error| error.to_string())? {
            return Ok(());
        }
        let line = row.position().map_or(0, csv::Position::line);
        let texts = |places: &[usize]| -> Vec<&str> {
            places.iter().map(|place| row.get(*place).unwrap_or_default()).collect()
        };
        builder.row(&texts(&keys), &texts(&cells)).map_err(|why| format!("line {line}: {why}"))?;
    }
}

fn json(line: &str, keys: &[&str], cells: &[&str], builder: &mut Builder) -> Result<(), String> {
    let object: Map<String, Value> = serde_json::from_str(line)
        .map_err(|error| format!("{error}; write one JSON object a line"))?;
    let text = |name: &&str| match object.get(*name) {
        None | Some(Value::Null) => Ok(Cow::Borrowed("")),
        Some(Value::String(text)) => Ok(Cow::Borrowed(text.as_str())),
        Some(scalar @ (Value::Number(_) | Value::Bool(_))) => Ok(Cow::Owned(scalar.to_string())),
        Some(_) => Err(format!("`{name}` is a list or an object; write a text")),
    };
    if let Some(missing) = keys.iter().find(|name| !object.contains_key(**name)) {
        return Err(format!("`{missing}` is missing; it is part of the key"));
    }
    let keys: Vec<Cow<'_, str>> = keys.iter().map(text).collect::<Result<_, _>>()?;
    let cells: Vec<Cow<'_, str>> = cells.iter().map(text).collect::<Result<_, _>>()?;
    builder.row(&keys, &cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(name: &str, text: &str) -> Result<Table, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        read(&path, &["host"], &["team", "service"], 3)
    }

    #[test]
    fn both_kinds_say_the_same() {
        let csv = "\u{feff}service,host,other,team\nshop, web-1 ,x,\"ops, night\"\n,web-2,,dev\n";
        let json = "{\"host\":\"web-1\",\"team\":\"ops, night\",\"service\":\"shop\"}\n\n\
                    {\"host\":\"web-2\",\"team\":\"dev\",\"service\":null}\n";
        assert_eq!(read_text("a.csv", csv), read_text("a.jsonl", json));
        let table = read_text("a.csv", csv).expect("it is good");
        let row = table.rows("web-1").next().expect("it is there");
        assert_eq!((row.cell(0), row.cell(1)), ("ops, night", "shop"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (name, text, told) in [
            ("a.csv", "host,team\n", "has no column `service`; it has host, team"),
            ("a.csv", "host,team,service\na,b\n", "line"),
            ("a.jsonl", "{\"host\":\"a\"}\n[1]\n", "line 2: "),
            ("a.jsonl", "{\"team\":\"a\"}\n", "line 1: `host` is missing"),
            ("a.jsonl", "{\"host\":\"a\",\"team\":[1]}\n", "line 1: `team` is a list"),
            ("a.csv", "host,team,service\na,,\nb,,\nc,,\nd,,\n", "line 5: more than 3 rows"),
            ("a.txt", "", "is of no known kind"),
        ] {
            let error = read_text(name, text).expect_err("it is bad");
            assert!(error.contains(told), "{text:?}: {error}");
        }
    }
}
