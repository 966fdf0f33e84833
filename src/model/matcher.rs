//! Matchers, as Prometheus and Alertmanager have them: `=`, `!=`, `=~`, `!~`; a list is AND.
//!
//! The grammar is Alertmanager's (<https://prometheus.io/docs/alerting/latest/configuration/#matcher>):
//! a name or a quoted string, an operator, a value that is quoted or bare. A tag that is absent
//! counts as empty. A tag with a list of values matches `=` and `=~` when one of them does, and `!=`
//! and `!~` when none of them is what is ruled out. Regular expressions are anchored at both ends.

use std::fmt;

use regex::Regex;

/// The longest regular expression that is taken, in bytes; compiled size is bounded as well.
pub const REGEX_MAX: usize = 1_000;
const REGEX_COMPILED_MAX: usize = 1 << 20;

/// The values that something has under one name.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// There is no such tag.
    None,
    /// One value.
    One(&'a str),
    /// A list of values.
    Many(&'a [Box<str>]),
}

impl<'a> Values<'a> {
    /// One value; empty counts as none.
    #[must_use]
    pub fn one(value: &'a str) -> Self {
        if value.is_empty() { Self::None } else { Self::One(value) }
    }

    /// Every value, in order.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        let (one, many) = match self {
            Self::None => (None, &[][..]),
            Self::One(value) => (Some(value), &[][..]),
            Self::Many(values) => (None, values),
        };
        one.into_iter().chain(many.iter().map(AsRef::as_ref))
    }
}

/// Whatever matchers can be held against.
pub trait Labels {
    /// The values under a name.
    fn values(&self, name: &str) -> Values<'_>;
}

/// How a matcher compares.
#[derive(Debug, Clone)]
enum Test {
    Equal,
    NotEqual,
    Regex(Regex),
    NotRegex(Regex),
}

/// One condition on one tag.
#[derive(Debug, Clone)]
pub struct Matcher {
    name: Box<str>,
    value: Box<str>,
    test: Test,
}

/// The text is no matcher.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a matcher: {why}; write one like env=\"prod\", host=~\"web-.*\" or team!=\"db\""
)]
pub struct MatcherError {
    text: String,
    why: String,
}

impl Matcher {
    /// The name it looks at.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The one value that satisfies it, where it is `=`.
    #[must_use]
    pub fn wanted(&self) -> Option<&str> {
        matches!(self.test, Test::Equal).then_some(&self.value)
    }

    /// What it compares with: a value or a regular expression.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether it compares with a regular expression.
    #[must_use]
    pub fn is_regex(&self) -> bool {
        matches!(self.test, Test::Regex(_) | Test::NotRegex(_))
    }

    /// Whether it asks for what it compares with; otherwise it rules that out.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        matches!(self.test, Test::Equal | Test::Regex(_))
    }

    /// Whether something fulfils the condition.
    pub fn matches(&self, labels: &(impl Labels + ?Sized)) -> bool {
        let values = labels.values(&self.name);
        let any = |test: &dyn Fn(&str) -> bool| {
            let mut values = values.iter().peekable();
            if values.peek().is_none() { test("") } else { values.any(test) }
        };
        match &self.test {
            Test::Equal => any(&|value| *value == *self.value),
            Test::NotEqual => !any(&|value| *value == *self.value),
            Test::Regex(regex) => any(&|value| regex.is_match(value)),
            Test::NotRegex(regex) => !any(&|value| regex.is_match(value)),
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = match self.test {
            Test::Equal => "=",
            Test::NotEqual => "!=",
            Test::Regex(_) => "=~",
            Test::NotRegex(_) => "!~",
        };
        let bare = !self.name.is_empty() && self.name.chars().all(is_bare);
        if bare {
            f.write_str(&self.name)?;
        } else {
            write_quoted(f, &self.name)?;
        }
        f.write_str(operator)?;
        write_quoted(f, &self.value)
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.value == other.value
            && std::mem::discriminant(&self.test) == std::mem::discriminant(&other.test)
    }
}

impl Eq for Matcher {}

/// Conditions that must all hold; none at all matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Matchers(Vec<Matcher>);

impl Matchers {
    /// Reads texts of one matcher or several with commas between, in braces or not.
    ///
    /// # Errors
    /// Names the text and what is wrong in it.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, MatcherError> {
        let mut all = Vec::new();
        for text in texts {
            Parser { text, rest: text }.list(&mut all)?;
        }
        Ok(Self(all))
    }

    /// Whether something fulfils every condition.
    pub fn matches(&self, labels: &(impl Labels + ?Sized)) -> bool {
        self.0.iter().all(|matcher| matcher.matches(labels))
    }

    /// The conditions.
    pub fn iter(&self) -> impl Iterator<Item = &Matcher> {
        self.0.iter()
    }
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
}

impl Parser<'_> {
    fn list(&mut self, all: &mut Vec<Matcher>) -> Result<(), MatcherError> {
        self.blanks();
        let braced = self.take("{");
        self.blanks();
        while !(self.rest.is_empty() || braced && self.rest.starts_with('}')) {
            all.push(self.matcher()?);
            self.blanks();
            if !self.take(",") {
                break;
            }
            self.blanks();
        }
        if braced && !self.take("}") {
            return Err(self.error("the brace is not closed"));
        }
        self.blanks();
        if self.rest.is_empty() { Ok(()) } else { Err(self.error("something follows its end")) }
    }

    fn matcher(&mut self) -> Result<Matcher, MatcherError> {
        let name = self.word("a name is missing before the operator")?;
        self.blanks();
        let operator = ["=~", "!~", "!=", "="]
            .into_iter()
            .find(|operator| self.take(operator))
            .ok_or_else(|| self.error("an operator =, !=, =~ or !~ is missing"))?;
        self.blanks();
        let value = if self.rest.is_empty() { String::new() } else { self.value()? };
        let test = match operator {
            "=" => Test::Equal,
            "!=" => Test::NotEqual,
            "=~" => Test::Regex(self.regex(&value)?),
            _ => Test::NotRegex(self.regex(&value)?),
        };
        Ok(Matcher { name: name.into(), value: value.into(), test })
    }

    fn word(&mut self, missing: &str) -> Result<String, MatcherError> {
        if self.rest.starts_with('"') {
            return self.quoted();
        }
        let end = self.rest.find(|c| !is_bare(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        if word.is_empty() {
            return Err(self.error(missing));
        }
        self.rest = rest;
        Ok(word.to_owned())
    }

    fn value(&mut self) -> Result<String, MatcherError> {
        if self.rest.starts_with('"') {
            return self.quoted();
        }
        let end = self.rest.find([',', '}', '"', '{']).unwrap_or(self.rest.len());
        let (value, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(value.trim_end().to_owned())
    }

    fn quoted(&mut self) -> Result<String, MatcherError> {
        let mut value = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(value);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, c @ ('"' | '\\'))) => value.push(c),
                    // As in Alertmanager, an unknown escape stands for itself: `\.` in an expression.
                    Some((_, c)) => value.extend(['\\', c]),
                    None => break,
                },
                c => value.push(c),
            }
        }
        Err(self.error("a quote is not closed"))
    }

    fn regex(&self, value: &str) -> Result<Regex, MatcherError> {
        if value.len() > REGEX_MAX {
            return Err(self.error("the regular expression is longer than 1000 bytes"));
        }
        regex::RegexBuilder::new(&format!("^(?s:{value})$"))
            .size_limit(REGEX_COMPILED_MAX)
            .build()
            .map_err(|error| self.error(&error.to_string().replace('\n', " ")))
    }

    fn take(&mut self, text: &str) -> bool {
        self.rest.strip_prefix(text).map(|rest| self.rest = rest).is_some()
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn error(&self, why: &str) -> MatcherError {
        MatcherError { text: self.text.chars().take(200).collect(), why: why.to_owned() }
    }
}

fn is_bare(c: char) -> bool {
    !c.is_whitespace() && !matches!(c, '{' | '}' | '!' | '=' | '~' | ',' | '\\' | '"' | '\'' | '`')
}

fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tags::{TagValue, Tags};

    fn tags() -> Tags {
        [("env", TagValue::one("prod")), ("az", TagValue::List(["a".into(), "b".into()].into()))]
            .into_iter()
            .collect()
    }

    #[test]
    fn each_operator_on_present_absent_and_listed() {
        for (text, expected) in [
            (r#"env="prod""#, true),
            ("env=prod", true),
            (r#"env!="prod""#, false),
            (r#"env=~"pr.*""#, true),
            (r#"env=~"pr""#, false),
            (r#"env!~"st.*""#, true),
            (r#"team="""#, true),
            (r#"team!="x""#, true),
            (r#"team=~".+""#, false),
            (r#"az="b""#, true),
            (r#"az!="b""#, false),
            (r#"az!="c""#, true),
            (r#"{env="prod", az=~"a|c"}"#, true),
            (r#"env="prod",az="c""#, false),
            ("", true),
            ("{}", true),
        ] {
            let matchers = Matchers::parse([text]).expect(text);
            assert_eq!(matchers.matches(&tags()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_matcher_says_why() {
        for (text, why) in [
            ("env", "operator"),
            ("=x", "name"),
            (r#"env="x"#, "not closed"),
            ("{env=x", "brace"),
            (r#"env=~"(""#, "unclosed"),
            (r#"env="x" y"#, "follows"),
        ] {
            let error = Matchers::parse([text]).expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn the_text_of_a_matcher_reads_back() {
        for text in [r#"a="x\"y\\z""#, r#""a b"!="""#, r#"host=~"web-\\d+""#, "a!~b"] {
            let matchers = Matchers::parse([text]).expect(text);
            let written = matchers.iter().next().expect("one").to_string();
            assert_eq!(Matchers::parse([written.as_str()]), Ok(matchers), "{text} -> {written}");
        }
    }
}
