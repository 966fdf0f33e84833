//! A lookup table in memory: keys of one or more columns to rows of cells.
//!
//! Built for a million rows: a cell that stands in many rows is kept once, and a row is six bytes a
//! cell beside its key.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::model::Index;

/// The longest key or cell, in bytes.
pub const CELL_BYTES: usize = 512;
/// The most bytes of different cells.
const TEXT_BYTES: usize = 1 << 30;
/// Between the parts of a key; in no text that people write.
const SEPARATOR: char = '\u{1f}';
const NONE: u32 = u32::MAX;

/// Where a cell's text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    begin: u32,
    len: u16,
}

/// The table.
#[derive(Debug)]
pub struct Table {
    columns: usize,
    text: String,
    cells: Vec<Cell>,
    /// By key, its first row.
    first: Index<Box<str>, u32>,
    /// Stands for all keys, in order.
    keys: SipHasher13,
    /// By row, the next one of the same key.
    next: Vec<u32>,
}

impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        let plain = |table: &Self| (table.columns, table.next.len(), table.keys.finish());
        plain(self) == plain(other) && self.cells == other.cells && self.text == other.text
    }
}

impl Eq for Table {}

/// A row that was found.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    table: &'a Table,
    row: usize,
}

impl<'a> Row<'a> {
    /// The text of a cell; empty where the table has nothing there.
    #[must_use]
    pub fn cell(&self, column: usize) -> &'a str {
        let cell = self.table.cells.get(self.row * self.table.columns + column);
        let cell = cell.filter(|_| column < self.table.columns);
        cell.map_or("", |cell| {
            let begin = cell.begin as usize;
            &self.table.text[begin..begin + usize::from(cell.len)]
        })
    }
}

impl Table {
    /// The rows of a key, in the order of the file.
    pub fn rows(&self, key: &str) -> impl Iterator<Item = Row<'_>> {
        let mut at = self.first.get(key).copied().unwrap_or(NONE);
        std::iter::from_fn(move || {
            let row = (at != NONE).then_some(at as usize)?;
            at = self.next[row];
            Some(Row { table: self, row })
        })
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.next.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.next.is_empty()
    }
}

/// The key of several texts; one text is its own key.
#[must_use]
pub fn key<T: AsRef<str>>(parts: &[T]) -> String {
    let mut key = String::new();
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            key.push(SEPARATOR);
        }
        key.push_str(part.as_ref());
    }
    key
}

/// Puts a table together.
pub struct Builder {
    table: Table,
    rows_max: usize,
    known: Index<Box<str>, Cell>,
    last: Index<u32, u32>,
}

impl Builder {
    /// A table with so many cells a row, and at most so many rows.
    #[must_use]
    pub fn new(columns: usize, rows_max: usize) -> Self {
        let table = Table {
            columns,
            text: String::new(),
            cells: Vec::new(),
            first: Index::default(),
            keys: SipHasher13::new(),
            next: Vec::new(),
        };
        Self { table, rows_max, known: Index::default(), last: Index::default() }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// When a bound is reached; says which.
    pub fn row<T: AsRef<str>>(&mut self, key_parts: &[T], cells: &[T]) -> Result<(), String> {
        let table = &mut self.table;
        let row = table.next.len();
        if row >= self.rows_max.min(NONE as usize) {
            return Err(format!("more than {} rows; see rows_max", self.rows_max));
        }
        let texts = key_parts.iter().chain(cells).map(AsRef::as_ref);
        let long = texts.into_iter().find(|text: &&str| text.len() > CELL_BYTES);
        if let Some(long) = long {
            let start: String = long.chars().take(40).collect();
            return Err(format!("`{start}…` has more than {CELL_BYTES} bytes"));
        }
        for column in 0..table.columns {
            let text = cells.get(column).map(AsRef::as_ref).unwrap_or_default();
            let cell = match self.known.get(text) {
                Some(cell) => *cell,
                None => {
                    let cell = Cell {
                        begin: u32::try_from(table.text.len()).unwrap_or(NONE),
                        len: u16::try_from(text.len()).unwrap_or_default(),
                    };
                    if table.text.len() + text.len() > TEXT_BYTES {
                        return Err(format!("more than {TEXT_BYTES} bytes of different values"));
                    }
                    table.text.push_str(text);
                    self.known.insert(text.into(), cell);
                    cell
                }
            };
            table.cells.push(cell);
        }
        let row = u32::try_from(row).unwrap_or(NONE);
        table.next.push(NONE);
        let key = key(key_parts);
        table.keys.write(key.as_bytes());
        table.keys.write_u8(0xff);
        let first = *table.first.entry_or(key.into(), || row);
        if first != row {
            let last = self.last.insert(first, row).unwrap_or(first);
            table.next[last as usize] = row;
        }
        Ok(())
    }

    /// The table.
    #[must_use]
    pub fn build(self) -> Table {
        let mut table = self.table;
        table.text.shrink_to_fit();
        table.cells.shrink_to_fit();
        table.next.shrink_to_fit();
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_key_come_in_order() {
        let mut builder = Builder::new(2, 10);
        for (host, app, team, service) in [
            ("a", "1", "ops", "shop"),
            ("b", "1", "ops", "pay"),
            ("a", "1", "dev", "shop"),
            ("a", "1", "ops", ""),
        ] {
            builder.row(&[host, app], &[team, service]).expect("there is room");
        }
        let table = builder.build();
        let found = |host: &str| -> Vec<(String, String)> {
            let key = key(&[host, "1"]);
            table.rows(&key).map(|row| (row.cell(0).to_owned(), row.cell(1).to_owned())).collect()
        };
        let pair = |team: &str, service: &str| (team.to_owned(), service.to_owned());
        assert_eq!(found("a"), [pair("ops", "shop"), pair("dev", "shop"), pair("ops", "")]);
        assert_eq!(found("b"), [pair("ops", "pay")]);
        assert!(found("c").is_empty());
        assert_eq!(table.len(), 4);
        assert_eq!(table.text, "opsshoppaydev", "what is the same is kept once");
    }

    #[test]
    fn bounds_are_told() {
        let mut builder = Builder::new(1, 1);
        assert!(builder.row(&["a"], &[&"x".repeat(513)]).is_err());
        builder.row(&["a"], &["b"]).expect("there is room");
        assert_eq!(builder.row(&["c"], &["d"]), Err("more than 1 rows; see rows_max".to_owned()));
    }
}
