//! Readable lines on the terminal, for a person at three in the morning.
//!
//! The first line says how bad, what happened and to what; the lines below since when, how much, why
//! it is one incident, and what the checks said. No text of others reaches the terminal unescaped.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use super::printable;
use crate::model::{Change, ChangeKind, Member, Status};
use crate::notify::message::{self, clock_text};
use crate::notify::{Delivery, Outcome};

/// How many alerts are shown of one notice.
const ALERTS_SHOWN: usize = 5;
const TITLE_MAX: usize = 200;
const TEXT_MAX: usize = 160;
const NAME_MAX: usize = 80;

/// Whether lines may carry colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// For a terminal.
    Ansi,
    /// For files and pipes.
    Plain,
}

/// Where the lines go; shared by all receivers of this kind.
#[derive(Clone)]
pub struct Lines {
    to: Arc<Mutex<dyn Write + Send>>,
    colour: Colour,
}

impl Lines {
    /// To standard output, in colour where that is a terminal.
    #[must_use]
    pub fn stdout() -> Self {
        let stdout = std::io::stdout();
        let colour = if stdout.is_terminal() { Colour::Ansi } else { Colour::Plain };
        Self::to(stdout, colour)
    }

    /// To this writer.
    #[must_use]
    pub fn to(writer: impl Write + Send + 'static, colour: Colour) -> Self {
        Self { to: Arc::new(Mutex::new(writer)), colour }
    }

    fn write(&self, text: &str) -> std::io::Result<()> {
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        to.write_all(text.as_bytes())?;
        to.flush()
    }
}

/// Writes notices as lines.
#[derive(Clone)]
pub struct Log {
    lines: Lines,
}

impl Log {
    /// Writes to these lines.
    #[must_use]
    pub fn new(lines: Lines) -> Self {
        Self { lines }
    }

    /// Writes one notice, all its lines together.
    pub async fn deliver(&self, delivery: &Delivery) -> Outcome {
        let text = render(&delivery.change, self.lines.colour);
        let lines = self.lines.clone();
        // A terminal that is held with ^S blocks its writer; that must not hold up other receivers.
        match tokio::task::spawn_blocking(move || lines.write(&text)).await {
            Ok(Ok(())) => Outcome::Delivered,
            Ok(Err(error)) => {
                Outcome::Retry { after: None, why: format!("writing lines: {error}") }
            }
            Err(error) => Outcome::Retry { after: None, why: format!("writing lines: {error}") },
        }
    }
}

/// A notice as lines, the last one ended.
#[must_use]
pub fn render(change: &Change, colour: Colour) -> String {
    let mut text = headline(change, colour);
    text.push_str(&extent(change));
    text.push_str(&grouping(change));
    text.push_str(&remark(change));
    for alert in change.alerts.iter().rev().take(ALERTS_SHOWN) {
        text.push_str(&alert_line(alert));
    }
    let more = change.alerts.len().saturating_sub(ALERTS_SHOWN);
    if more > 0 {
        writeln!(text, "    … and {more} more").expect(STRING);
    }
    text
}

const STRING: &str = "a string takes all";

fn headline(change: &Change, colour: Colour) -> String {
    let word = if change.is_open() { change.status.as_str() } else { "resolved" };
    let word = format!("{:<8}", word.to_uppercase());
    let word = match colour {
        Colour::Plain => word,
        Colour::Ansi => format!("\x1b[1;{}m{word}\x1b[0m", paint(change)),
    };
    let kinds: Vec<_> = change.kinds.iter().map(|kind| ChangeKind::as_str(*kind)).collect();
    let title = printable(&change.title, TITLE_MAX);
    format!("{}  {word}  {title}  [{}]\n", clock_text(change.at), kinds.join(", "))
}

fn paint(change: &Change) -> u8 {
    match change.status {
        _ if !change.is_open() => 32,
        Status::Critical => 31,
        Status::Warning => 33,
        Status::Unknown => 35,
        Status::Info | Status::Ok => 36,
    }
}

fn extent(change: &Change) -> String {
    format!("    {} · {}\n", message::extent(change), message::time(change))
}

fn grouping(change: &Change) -> String {
    let by = change.acknowledged.as_ref().map(|acknowledged| {
        format!(" · acknowledged by {}", printable(&acknowledged.by, NAME_MAX))
    });
    let to = change.assignee.as_ref().map(|to| format!(" · {}'s", printable(to, NAME_MAX)));
    let (by, to) = (by.unwrap_or_default(), to.unwrap_or_default());
    format!("    {}{by}{to} · {} r{}\n", message::grouping(change), change.id, change.revision)
}

fn remark(change: &Change) -> String {
    message::remark(change).map(|remark| format!("    {remark}\n")).unwrap_or_default()
}

fn alert_line(alert: &Member) -> String {
    let status = if alert.firing { alert.status.as_str() } else { "resolved" };
    let name = |name: &str| printable(name, NAME_MAX);
    let check = match &*alert.check {
        "" => String::new(),
        check => format!(" / {}", name(check)),
    };
    let text = match &*alert.description {
        "" => String::new(),
        text => format!(": {}", printable(text, TEXT_MAX)),
    };
    format!("    {status:<8}  {}{check}{text}\n", name(&alert.host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Resolution;
    use crate::notify::sample;

    #[test]
    fn a_notice_reads_as_it_should_at_three_in_the_morning() {
        let mut change = sample::change(1, 7, &[ChangeKind::Grew, ChangeKind::Worsened]);
        change.at = sample::at(5_415);
        let expected = format!(
            "2025-11-23T17:30:15Z  CRITICAL  web: web-1 · disk / · critical  [grew, worsened]\n    \
             1 firing of 1 alert · 1 host, 1 check · since 2025-11-23T16:00:00Z (1h30m)\n    \
             grouped by pattern cluster: cluster=web · {} r7\n    \
             critical  web-1 / disk /: 512 MB free (3%)\n",
            change.id
        );
        assert_eq!(render(&change, Colour::Plain), expected);
    }

    #[test]
    fn an_end_says_how_long_it_lasted_and_why_it_is_over() {
        let text = render(&sample::change(1, 8, &[ChangeKind::Resolved]), Colour::Plain);
        assert!(text.contains("RESOLVED") && text.contains("lasted 0s"), "{text}");
        assert!(text.contains("reason all_ok"), "{text}");
    }

    #[test]
    fn an_end_by_a_merge_says_into_what() {
        let mut change = sample::change(1, 8, &[ChangeKind::Merged, ChangeKind::Resolved]);
        change.resolved = Some((change.at, Resolution::Merged));
        change.merged_into = Some(sample::incident(2));
        let text = render(&change, Colour::Plain);
        assert!(text.contains(&format!("reason merged into {}", sample::incident(2))), "{text}");
    }

    #[test]
    fn event_text_cannot_write_lines_of_its_own() {
        let mut change = sample::change(1, 1, &[ChangeKind::Opened]);
        change.title = "x\n2025 CRITICAL fake\x1b[31m".into();
        change.alerts[0].description = "a\r\nb".into();
        change.alerts[0].host = "h\x07".into();
        let text = render(&change, Colour::Plain);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(!text.contains('\x1b') && !text.contains('\r') && !text.contains('\x07'), "{text}");
    }

    #[test]
    fn colour_is_for_terminals_only() {
        let change = sample::change(1, 1, &[ChangeKind::Opened]);
        assert!(render(&change, Colour::Ansi).contains("\x1b[1;31mCRITICAL\x1b[0m"));
        assert!(!render(&change, Colour::Plain).contains('\x1b'));
    }

    #[test]
    fn many_alerts_are_counted_not_listed() {
        let mut change = sample::change(1, 1, &[ChangeKind::Opened]);
        change.alerts = (0..9).map(sample::member).collect();
        let text = render(&change, Colour::Plain);
        assert!(text.contains("… and 4 more") && text.contains("web-8"), "{text}");
    }
}
