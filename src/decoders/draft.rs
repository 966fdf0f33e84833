//! What a decoder makes of one observation, before a source's settings and limits.

use crate::model::{Status, Timestamp};

/// How bad a payload says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grade {
    /// The problem is over; no setting makes anything else of it.
    Recovered,
    /// Somebody acknowledged the problem at the source.
    Acknowledged,
    /// A problem, in the sender's word; a source's settings may say what the word means.
    Problem {
        /// The sender's word, such as `Average`.
        word: String,
        /// What it means where the settings say nothing.
        usual: Status,
    },
}

impl Grade {
    /// A problem in the sender's word.
    pub fn problem(word: impl Into<String>, usual: Status) -> Self {
        Self::Problem { word: word.into(), usual }
    }

    /// Whether it says only that something known is over, or acknowledged.
    #[must_use]
    pub const fn is_bare(&self) -> bool {
        matches!(self, Self::Recovered | Self::Acknowledged)
    }

    /// The usual meaning of words for how bad a problem is that most systems share; `unknown` for
    /// others. Words for "all is well" are not among them: recovery comes from a state.
    #[must_use]
    pub fn word(word: &str) -> Self {
        let usual = match word.trim().to_ascii_lowercase().as_str() {
            "critical" | "crit" | "fatal" | "error" | "err" | "emergency" | "emerg" | "alert"
            | "page" | "high" | "disaster" | "severe" | "down" | "p1" | "p2" | "sev0" | "sev1" => {
                Status::Critical
            }
            "warning" | "warn" | "medium" | "average" | "minor" | "major" | "p3" | "sev2" => {
                Status::Warning
            }
            "info" | "informational" | "information" | "notice" | "low" | "debug" | "none"
            | "p4" | "p5" | "sev3" | "sev4" => Status::Info,
            _ => Status::Unknown,
        };
        Self::problem(word.trim(), usual)
    }
}

/// When it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Then.
    At(Timestamp),
    /// The payload has a time that cannot be read; the arrival counts.
    Unread,
}

/// The value of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tag {
    /// One text.
    One(String),
    /// Several.
    List(Vec<String>),
}

/// One observation. Texts that are empty, or hold nothing but a macro that was not expanded, are
/// left out by the methods that set them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// How bad it is.
    pub grade: Grade,
    /// The sender where the payload names it; the configured source otherwise.
    pub source: Option<String>,
    /// What it is about. Where there is none the tags `service`, `application` and `device` stand in,
    /// and else the check.
    pub host: Option<String>,
    /// What was looked at.
    pub check: Option<String>,
    /// The sender's own identity of it. A recovery that has one needs neither host nor check.
    pub key: Option<String>,
    /// When it was seen; none where the payload does not say.
    pub at: Option<When>,
    /// One or a few sentences for people.
    pub description: String,
    /// Everything else that can be matched; of two of one name the later one counts.
    pub tags: Vec<(String, Tag)>,
    /// Where to look.
    pub links: Vec<(String, String)>,
    /// When it loses its force without a further event, where the sender says so.
    pub expires_at: Option<Timestamp>,
    /// The sender's id of this very event; for tracing only.
    pub id: Option<String>,
    /// A state that the source itself still checks again before it believes it (Nagios' soft states).
    pub soft: bool,
}

impl Draft {
    /// Nothing but how bad it is.
    #[must_use]
    pub fn new(grade: Grade) -> Self {
        Self {
            grade,
            source: None,
            host: None,
            check: None,
            key: None,
            at: None,
            description: String::new(),
            tags: Vec::new(),
            links: Vec::new(),
            expires_at: None,
            id: None,
            soft: false,
        }
    }

    /// Adds a tag, unless its value is absent, empty or an unexpanded macro.
    pub fn tag<'a>(&mut self, name: &str, value: impl Into<Option<&'a str>>) {
        if let Some(value) = value.into().and_then(super::macros::present) {
            self.tags.push((name.to_owned(), Tag::One(value.to_owned())));
        }
    }

    /// Adds a tag of several values; those that are empty or unexpanded are left out.
    pub fn tag_list<'a>(&mut self, name: &str, values: impl IntoIterator<Item = &'a str>) {
        let values: Vec<String> =
            values.into_iter().filter_map(super::macros::present).map(str::to_owned).collect();
        match values.len() {
            0 => {}
            1 => self.tags.extend(values.into_iter().map(|one| (name.to_owned(), Tag::One(one)))),
            _ => self.tags.push((name.to_owned(), Tag::List(values))),
        }
    }

    /// Adds a web address under a name, where it is one.
    pub fn link<'a>(&mut self, name: &str, url: impl Into<Option<&'a str>>) {
        let url = url.into().and_then(super::macros::present);
        if let Some(url) =
            url.filter(|url| url.starts_with("http://") || url.starts_with("https://"))
        {
            self.links.push((name.to_owned(), url.to_owned()));
        }
    }

    /// Adds the first web address in a text as a link, such as that of a runbook in a description.
    pub fn link_within(&mut self, name: &str, text: &str) {
        let Some(begin) = text.find("https://").or_else(|| text.find("http://")) else { return };
        let rest = &text[begin..];
        let ends = |c: char| c.is_whitespace() || "<>\"'|)]}`\\".contains(c);
        let url = rest.find(ends).map_or(rest, |end| &rest[..end]);
        self.link(name, url.trim_end_matches(['.', ',', ';', ':', '!', '?']));
    }

    /// How many bytes its texts have.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let tags = self.tags.iter().map(|(name, tag)| match tag {
            Tag::One(value) => name.len() + value.len(),
            Tag::List(values) => name.len() + values.iter().map(String::len).sum::<usize>(),
        });
        let links = self.links.iter().map(|(name, url)| name.len() + url.len());
        let fields = [&self.source, &self.host, &self.check, &self.key, &self.id];
        let fields = fields.into_iter().flatten().map(String::len);
        tags.chain(links).chain(fields).sum::<usize>() + self.description.len()
    }

    /// The value of a tag that has one.
    #[must_use]
    pub fn tagged(&self, name: &str) -> Option<&str> {
        self.tags.iter().rev().find(|(other, _)| other == name).and_then(|(_, tag)| match tag {
            Tag::One(value) => Some(value.as_str()),
            Tag::List(_) => None,
        })
    }
}

/// A title without the count that Alertmanager puts before it (`[FIRING:3] `), which differs from one
/// notice to the next.
#[must_use]
pub fn plain_title(title: &str) -> &str {
    let rest = title.strip_prefix("[FIRING").or_else(|| title.strip_prefix("[RESOLVED"));
    match rest.and_then(|rest| rest.split_once(']')) {
        Some((count, plain))
            if count.bytes().all(|byte| byte.is_ascii_digit() || byte == b':')
                && !plain.trim().is_empty() =>
        {
            plain.trim()
        }
        _ => title,
    }
}

/// A key of several parts. One that would be cut short ends in a digest of all of it instead, so
/// that what is cut off still tells apart.
#[must_use]
pub fn key<T: AsRef<str>>(parts: impl IntoIterator<Item = T>) -> String {
    let mut key = String::new();
    for (place, part) in parts.into_iter().enumerate() {
        if place > 0 {
            key.push('|');
        }
        key.push_str(&part.as_ref().replace('|', "||"));
    }
    if key.len() <= KEY_BYTES {
        return key;
    }
    let digest = digest(&key);
    let end = (0..=KEY_BYTES).rev().find(|end| key.is_char_boundary(*end)).unwrap_or_default();
    key.truncate(end);
    key + "#" + &digest
}

/// The longest key that stands as it is, in bytes.
const KEY_BYTES: usize = 400;

/// Sixteen hexadecimal digits that stand for a text.
#[must_use]
pub fn digest(text: &str) -> String {
    use std::fmt::Write as _;

    use sha2::Digest as _;
    let mut hex = String::with_capacity(16);
    for byte in sha2::Sha256::digest(text.as_bytes()).iter().take(8) {
        // A string takes whatever is written.
        let _written = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_keys_tell_apart_beyond_their_end() {
        assert_eq!(key(["a", "b|c"]), "a|b||c");
        assert_ne!(key(["a|b"]), key(["a", "b"]));
        let long = "é".repeat(400);
        let (one, other) = (key([&long, "1"]), key([&long, "2"]));
        assert_ne!(one, other);
        assert!(one.len() < 512, "{}", one.len());
        assert_eq!(one, key([&long, "1"]));
    }

    #[test]
    fn counts_before_titles_go() {
        assert_eq!(plain_title("[FIRING:12] HighLatency (prod)"), "HighLatency (prod)");
        assert_eq!(plain_title("[RESOLVED] HighLatency"), "HighLatency");
        for title in ["[FIRING:1]", "[FIRE] x", "[FIRING x] y", "x [FIRING:1]"] {
            assert_eq!(plain_title(title), title);
        }
    }

    #[test]
    fn the_first_address_in_a_text_is_a_link() {
        let mut draft = Draft::new(Grade::Recovered);
        draft.link_within("a", "see <https://wiki.example.com/x?y=1>, or http://other");
        draft.link_within("b", "Runbook: https://wiki.example.com/x.");
        draft.link_within("c", "none here");
        let links: Vec<&str> = draft.links.iter().map(|(_, url)| url.as_str()).collect();
        assert_eq!(links, ["https://wiki.example.com/x?y=1", "https://wiki.example.com/x"]);
    }
}
