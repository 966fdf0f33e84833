//! What receivers for chats share: marks, Markdown in which event text is data, and addresses of
//! hooks, which are secrets as a whole.

use reqwest::Url;

use super::dialog::Context;
use crate::model::{Change, ChangeKind, Status};
use crate::notify::message::{Line, Message};
use crate::notify::{Address, Outcome};

/// How many alerts are named.
pub(super) const ALERTS_MAX: usize = 10;

/// A mark that shows how bad it is to who only glances.
pub(super) const fn mark(message: &Message) -> &'static str {
    match message.severity {
        _ if message.is_over() => "🟢",
        Status::Critical => "🔴",
        Status::Warning => "🟠",
        Status::Unknown => "🟣",
        Status::Info | Status::Ok => "🔵",
    }
}

/// An alert on one line, without markup.
pub(super) fn plain(alert: &Line) -> String {
    let text = if alert.text.is_empty() { String::new() } else { format!(": {}", alert.text) };
    format!("• {} {}{text}", alert.state, alert.name)
}

/// An alert on one line of a list in Markdown.
pub(super) fn listed(alert: &Line) -> String {
    let text = if alert.text.is_empty() { "" } else { ": " };
    let (name, text) = (markdown(&alert.name), format!("{text}{}", markdown(&alert.text)));
    format!("- **{}** {name}{text}", alert.state)
}

/// Whether people should look again: what is edited in place makes no sound.
pub(super) fn is_loud(change: &Change) -> bool {
    let loud = [ChangeKind::Worsened, ChangeKind::Reopened, ChangeKind::Released];
    change.is_open() && change.kinds.iter().any(|kind| loud.contains(kind))
}

/// Text of others within Markdown: shown as it is, calls nobody, links nowhere of its own.
pub(super) fn markdown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // No dialect lets an @ be escaped; an invisible blank after it makes it nobody's name.
            '@' => safe.push_str("@\u{200b}"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '<' | '>' | '#' | '+'
            | '-' | '!' | '|' | '~' => {
                safe.push('\\');
                safe.push(c);
            }
            _ => safe.push(c),
        }
    }
    safe
}

/// Links in Markdown, a dot between them; none where there are none.
pub(super) fn links(message: &Message) -> Option<String> {
    let links = message.links.iter().map(|(name, url)| {
        // What would end the address early is coded as addresses have it.
        let coded = |c: char| match c {
            '(' | ')' | '<' | '>' | '[' | ']' | '|' | '\\' | '`' | '*' | '"' => {
                format!("%{:02X}", u32::from(c))
            }
            c if c.is_whitespace() || c.is_control() => String::new(),
            c => c.to_string(),
        };
        format!("[{}]({})", markdown(name), url.chars().map(coded).collect::<String>())
    });
    let links: Vec<String> = links.collect();
    (!links.is_empty()).then(|| links.join(" · "))
}

/// A message in Markdown of at most so many characters: the list of alerts is cut first, then links
/// go, then the facts from their end.
pub(super) fn document(message: &Message, max: usize) -> String {
    let head = format!("{} **{}**", mark(message), markdown(&message.headline()));
    let facts: Vec<String> = message.facts().into_iter().map(markdown).collect();
    let foot = format!("`{}`", message.foot);
    let mut text = format!("{head}\n{}", facts.join("\n"));
    let room = |text: &str| max.saturating_sub(text.chars().count() + foot.chars().count() + 8);
    let links = links(message).filter(|links| links.chars().count() < room(&text));
    let for_links = links.as_ref().map_or(0, |links| links.chars().count() + 2);
    let alerts = message.listed(room(&text).saturating_sub(for_links), listed);
    if !alerts.is_empty() {
        text = format!("{text}\n\n{}", alerts.join("\n"));
    }
    if let Some(links) = links {
        text = format!("{text}\n\n{links}");
    }
    let text = crate::notify::message::cut(&text, max.saturating_sub(foot.chars().count() + 1));
    format!("{text}\n{foot}")
}

/// The address in the first secret. That it is none can be put right while we wait.
pub(super) fn hook(context: &Context<'_>) -> Result<Url, Outcome> {
    let text = context.secrets.first().map(crate::notify::Secret::expose).unwrap_or_default();
    Address::parse(text).map(|address| address.expose().clone()).map_err(|rule| Outcome::Retry {
        after: None,
        why: format!("the address of the hook {rule}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::sample;

    #[test]
    fn text_of_others_is_data_in_markdown() {
        let safe = markdown("@everyone `rm` *b* [x](http://e) <!channel> <@U1> ~town #tag a\\b");
        assert_eq!(
            safe,
            "@\u{200b}everyone \\`rm\\` \\*b\\* \\[x\\]\\(http://e\\) \\<\\!channel\\> \
             \\<@\u{200b}U1\\> \\~town \\#tag a\\\\b"
        );
    }

    #[test]
    fn an_address_cannot_end_its_link_early() {
        let mut message = Message::new(&sample::change(1, 1, &[]), 1);
        message.links = vec![("a](b".into(), "https://x/a) [b](javascript:c".into())];
        let links = links(&message).expect("one");
        assert_eq!(links, "[a\\]\\(b](https://x/a%29%5Bb%5D%28javascript:c)");
    }

    #[test]
    fn a_document_keeps_its_room_and_loses_alerts_first() {
        let mut change = sample::change(1, 1, &[]);
        change.alerts = (0..10).map(sample::member).collect();
        for alert in &mut change.alerts {
            alert.description = "x".repeat(300).into();
        }
        let message = Message::new(&change, ALERTS_MAX);
        for max in [400, 1_000, 2_000, 16_000] {
            let text = document(&message, max);
            assert!(text.chars().count() <= max, "{max}: {}", text.chars().count());
            assert!(text.contains("CRITICAL") && text.contains("inc") && text.contains("graph"));
            assert_eq!(text.contains("more"), max < 16_000, "{text}");
        }
        assert!(document(&message, 120).chars().count() <= 120);
    }
}
