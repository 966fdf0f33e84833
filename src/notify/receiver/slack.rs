//! Slack: as a bot one message an incident, which is edited, with each notice in its thread; by a plain
//! incoming webhook a new message each.
//!
//! API: `chat.postMessage`, `chat.update`; incoming webhooks. Slack knows no idempotency key: what was
//! posted when the answer got lost is posted again, so at least once; edits repeat without a trace.
//! Limits (docs.slack.dev, block kit): 50 blocks, header 150 and section 3,000 characters, 25 buttons
//! of 75, addresses of 3,000; about 13,200 characters in all, found by others. The list of alerts is cut
//! first, then links. Event text stands in `plain_text` only, or with `& < >` escaped. Should Slack not
//! take the blocks all the same, the text goes out without them.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::chat::{self, ALERTS_MAX, mark, plain};
use super::dialog::{Answer, Ask, Context, Dialog, Step};
use super::exchange::Reach;
use crate::notify::message::{Message, cut};
use crate::notify::{Address, Outcome, SecretSource};

const HEADER_MAX: usize = 150;
const SECTION_MAX: usize = 3_000;
const TEXT_MAX: usize = 3_900;
const BUTTON_MAX: usize = 75;
/// All addresses together: there is an undocumented limit for all blocks.
const ADDRESSES_MAX: usize = 3_000;

/// Errors that pass; all others last until somebody does something about them.
const PASSING: [&str; 8] = [
    "fatal_error",
    "internal_error",
    "message_limit_exceeded",
    "ratelimited",
    "rate_limited",
    "request_timeout",
    "service_unavailable",
    "team_added_to_org",
];
/// Errors after which the message can be edited, or answered, no more.
const GONE: [&str; 7] = [
    "cannot_reply_to_message",
    "cant_update_message",
    "edit_window_closed",
    "is_inactive",
    "message_not_found",
    "thread_not_found",
    "update_failed",
];
/// Errors about the blocks.
const BLOCKS: [&str; 3] = ["invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long"];

/// What a receiver of this kind goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// As who.
    pub way: Way,
    /// How it is reached.
    pub reach: Reach,
}

/// As who it posts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// As a bot.
    Bot {
        /// Its token, `xoxb-…`.
        token: SecretSource,
        /// The channel's id or name.
        channel: Box<str>,
        /// Where the API is (default `https://slack.com/api`).
        api: Address,
    },
    /// By an incoming webhook, whose address is the secret.
    Webhook(SecretSource),
}

impl Settings {
    /// Where it posts, for people.
    #[must_use]
    pub fn place(&self) -> Option<String> {
        match &self.way {
            Way::Bot { channel, .. } => Some(channel.to_string()),
            Way::Webhook(_) => None,
        }
    }

    /// Its secret by the name of its key.
    #[must_use]
    pub fn secret_keys(&self) -> Vec<(&'static str, &SecretSource)> {
        match &self.way {
            Way::Bot { token, .. } => vec![("token", token)],
            Way::Webhook(url) => vec![("webhook_url", url)],
        }
    }
}

/// What stands for the incident: its message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Handle {
    v: u32,
    channel: String,
    ts: String,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Post,
    Update,
    Reply,
}

impl Dialog for Settings {
    fn secrets(&self) -> Vec<&SecretSource> {
        match &self.way {
            Way::Bot { token, .. } => vec![token],
            Way::Webhook(url) => vec![url],
        }
    }

    fn next(&self, context: &Context<'_>) -> Step {
        match &self.way {
            Way::Bot { channel, api, .. } => bot(context, channel, api),
            Way::Webhook(_) => webhook(context),
        }
    }
}

fn webhook(context: &Context<'_>) -> Step {
    let plainly = match context.answers {
        [] => false,
        // Only the first is asked with blocks, and answered with an error word as its whole body.
        [answer] if BLOCKS.contains(&&*String::from_utf8_lossy(&answer.body)) => true,
        [.., answer] => return answer.failure().map_or_else(Step::told, Step::from),
    };
    let url = match chat::hook(context) {
        Ok(url) => url,
        Err(outcome) => return outcome.into(),
    };
    let message = Message::new(&context.delivery.change, ALERTS_MAX);
    Step::ask(Ask::json(Method::POST, url, content(&message, Act::Post, plainly)))
}

fn bot(context: &Context<'_>, channel: &str, api: &Address) -> Step {
    let known = context.delivery.handle.as_deref();
    let mut handle = known.and_then(|text| serde_json::from_str::<Handle>(text).ok());
    handle = handle.filter(|handle| handle.v == 1);
    let mut act = if handle.is_some() { Act::Update } else { Act::Post };
    let mut plainly = false;
    for answer in context.answers {
        let body = answer.json();
        match (verdict(answer, &body), act) {
            (Verdict::Blocks, _) if !plainly => plainly = true,
            (Verdict::Gone(_), Act::Update | Act::Reply) => (act, handle) = (Act::Post, None),
            (Verdict::Took, Act::Update) => (act, plainly) = (Act::Reply, false),
            (Verdict::Took, Act::Reply) => return Step::told(),
            (Verdict::Took, Act::Post) => return posted(answer, &body),
            (Verdict::Failed(outcome) | Verdict::Gone(outcome), _) => return outcome.into(),
            (Verdict::Blocks, _) => {
                let why = format!("answered {}", answer.shown());
                return Outcome::SetAside { why }.into();
            }
        }
    }
    let message = Message::new(&context.delivery.change, ALERTS_MAX);
    let mut body = content(&message, act, plainly);
    body["channel"] = handle.as_ref().map_or(channel, |handle| &handle.channel).into();
    let method = if act == Act::Update { "chat.update" } else { "chat.postMessage" };
    if let (Act::Update, Some(handle)) = (act, &handle) {
        body["ts"] = handle.ts.as_str().into();
    }
    if let (Act::Reply, Some(handle)) = (act, &handle) {
        body["thread_ts"] = handle.ts.as_str().into();
        body["reply_broadcast"] = chat::is_loud(&context.delivery.change).into();
    }
    let token = context.secrets.first().map(crate::notify::Secret::expose).unwrap_or_default();
    let ask = Ask::json(Method::POST, api.below([method]), body);
    Step::ask(
        ask.with("authorization", format!("Bearer {token}"))
            .with("content-type", "application/json; charset=utf-8"),
    )
}

fn posted(answer: &Answer, body: &Value) -> Step {
    let text = |key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
    let (Some(channel), Some(ts)) = (text("channel"), text("ts")) else {
        return answer.unreadable("`channel` and `ts`").into();
    };
    let handle = serde_json::to_string(&Handle { v: 1, channel, ts });
    Step::told_with(handle.expect("three texts"))
}

/// What Slack says to a request.
enum Verdict {
    Took,
    Gone(Outcome),
    Blocks,
    Failed(Outcome),
}

fn verdict(answer: &Answer, body: &Value) -> Verdict {
    if let Some(outcome) = answer.failure() {
        return Verdict::Failed(outcome);
    }
    let Some(ok) = body.get("ok").and_then(Value::as_bool) else {
        return Verdict::Failed(answer.unreadable("`ok`"));
    };
    if ok {
        return Verdict::Took;
    }
    let word = body.get("error").and_then(Value::as_str).unwrap_or_default();
    let why = format!("answered {}", answer.shown());
    if BLOCKS.contains(&word) {
        Verdict::Blocks
    } else if GONE.contains(&word) {
        Verdict::Gone(Outcome::SetAside { why })
    } else if PASSING.contains(&word) {
        Verdict::Failed(Outcome::Retry { after: answer.after, why })
    } else {
        Verdict::Failed(Outcome::SetAside { why })
    }
}

/// Text and blocks. In a thread the title above says what is broken; there the news comes first.
fn content(message: &Message, act: Act, plainly: bool) -> Value {
    let head = if act == Act::Reply {
        format!("{} {}: {}", mark(message), message.news, message.state)
    } else {
        format!("{} {}", mark(message), message.headline())
    };
    // The text is what notifications show; with blocks nothing else shows it.
    let facts = message.facts().join("\n");
    let text = if plainly { format!("{head}\n{facts}\n{}", message.foot) } else { head.clone() };
    let mut content = json!({
        "text": escaped(&text, TEXT_MAX),
        "mrkdwn": false,
        "unfurl_links": false,
        "unfurl_media": false,
    });
    if act == Act::Update
        && let Some(content) = content.as_object_mut()
    {
        // Those that `chat.update` does not have.
        content.retain(|key, _| key == "text");
    }
    content["blocks"] = if plainly { json!([]) } else { blocks(message, act, &head) };
    content
}

fn blocks(message: &Message, act: Act, head: &str) -> Value {
    let words =
        |text: &str, max| json!({"type": "plain_text", "text": cut(text, max), "emoji": false});
    let mut blocks = Vec::new();
    if act == Act::Reply {
        blocks.push(json!({"type": "section", "text": words(head, SECTION_MAX)}));
    } else {
        blocks.push(json!({"type": "header", "text": words(head, HEADER_MAX)}));
    }
    // These two hold no text of others.
    let first = format!("*{}*\n{}", escaped(&message.extent, 500), escaped(&message.time, 500));
    blocks.push(
        json!({"type": "section", "text": {"type": "mrkdwn", "text": first, "verbatim": true}}),
    );
    let rest = message.facts().split_off(2).join("\n");
    blocks.push(json!({"type": "section", "text": words(&rest, SECTION_MAX)}));
    let alerts = message.listed(SECTION_MAX, plain).join("\n");
    if !alerts.is_empty() {
        blocks.push(json!({"type": "section", "text": words(&alerts, SECTION_MAX)}));
    }
    let buttons = buttons(message);
    if !buttons.is_empty() {
        blocks.push(json!({"type": "actions", "elements": buttons}));
    }
    blocks.push(json!({"type": "context", "elements": [words(&message.foot, SECTION_MAX)]}));
    blocks.into()
}

/// Buttons that lead somewhere.
fn buttons(message: &Message) -> Vec<Value> {
    let mut room = ADDRESSES_MAX;
    let mut buttons = Vec::new();
    for (number, (name, url)) in message.links.iter().enumerate() {
        let Some(left) = room.checked_sub(url.chars().count()) else { continue };
        room = left;
        let name = if name.is_empty() { "link" } else { name };
        buttons.push(json!({
            "type": "button",
            "action_id": format!("link_{number}"),
            "text": {"type": "plain_text", "text": cut(name, BUTTON_MAX), "emoji": false},
            "url": url,
        }));
    }
    buttons
}

/// Text of others where Slack looks for its own marks, of at most so many characters.
fn escaped(text: &str, max: usize) -> String {
    let mut safe = String::new();
    let mut used = 0;
    for c in text.chars() {
        let one = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            _ => "",
        };
        used += if one.is_empty() { 1 } else { one.len() };
        if used >= max {
            safe.push('…');
            break;
        }
        if one.is_empty() { safe.push(c) } else { safe.push_str(one) }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::receiver::table;
    use crate::notify::sample;

    fn bot() -> Settings {
        let token = table::secret("xoxb-1");
        let api = Address::parse("https://slack.com/api").expect("good");
        Settings { way: Way::Bot { token, channel: "#ops".into(), api }, reach: Reach::default() }
    }

    fn webhook() -> Settings {
        let url = table::secret("https://hooks.slack.com/services/T0/B0/x");
        Settings { way: Way::Webhook(url), reach: Reach::default() }
    }

    const POSTED: &str = r#"{"ok":true,"channel":"C1","ts":"1763913600.000100"}"#;

    #[test]
    fn what_is_said_of_each_change_is_kept() {
        let seen = table::told(&bot(), |_| table::answer(200, POSTED));
        table::compare("tests/fixtures/receivers/slack/bot.txt", &seen);
        let seen = table::told(&webhook(), |_| table::answer(200, "ok"));
        table::compare("tests/fixtures/receivers/slack/webhook.txt", &seen);
    }

    #[test]
    fn nothing_exceeds_slacks_limits_and_nobody_is_called() {
        let message = Message::new(&table::hostile(), ALERTS_MAX);
        for act in [Act::Post, Act::Update, Act::Reply] {
            for plainly in [false, true] {
                let content = content(&message, act, plainly);
                let text = content["text"].as_str().expect("text");
                assert!(text.chars().count() <= 4_000 && !text.contains('<'), "{text}");
                let blocks = content["blocks"].as_array().expect("blocks");
                assert!(blocks.len() <= 50 && content.to_string().chars().count() < 13_000);
                for block in blocks {
                    let kind = block["text"]["type"].as_str().unwrap_or("plain_text");
                    let text = block["text"]["text"].as_str().unwrap_or_default();
                    let max = if block["type"] == "header" { 150 } else { 3_000 };
                    assert!(text.chars().count() <= max, "{block}");
                    assert!(kind == "plain_text" || !text.contains('<'), "{block}");
                    assert!(!text.contains('\u{202e}') && !text.contains('\r'), "{block}");
                    assert!(text.is_empty() || !text.trim().is_empty(), "{block}");
                }
            }
        }
        assert_eq!(escaped("<!channel> & <@U1>", 99), "&lt;!channel&gt; &amp; &lt;@U1&gt;");
        assert_eq!(escaped("a<<<", 9), "a&lt;…", "no half of an escape is left");
    }

    #[test]
    fn errors_within_200_are_told_apart() {
        let told = |error: &str| {
            let answer = table::answer(200, &format!(r#"{{"ok":false,"error":"{error}"}}"#));
            table::step(&bot(), &sample::change(1, 1, &[]), None, &[answer])
        };
        for error in PASSING {
            assert!(matches!(table::outcome(told(error)), Outcome::Retry { .. }), "{error}");
        }
        let lasting = ["channel_not_found", "not_in_channel", "invalid_auth", "is_archived", "new"];
        for error in lasting {
            assert!(matches!(table::outcome(told(error)), Outcome::SetAside { .. }), "{error}");
        }
        for body in ["<html>", "{}", r#"{"ok":true,"ts":"1"}"#] {
            let answers = [table::answer(200, body)];
            let step = table::step(&bot(), &sample::change(1, 1, &[]), None, &answers);
            assert!(matches!(table::outcome(step), Outcome::Retry { .. }), "{body}");
        }
    }

    #[test]
    fn a_message_that_is_gone_is_posted_anew_and_blocks_that_are_refused_left_out() {
        let handle = r#"{"v":1,"channel":"C1","ts":"1.2"}"#;
        let change = sample::change(1, 2, &[]);
        let failed =
            |error: &str| table::answer(200, &format!(r#"{{"ok":false,"error":"{error}"}}"#));
        for error in GONE {
            let step = table::step(&bot(), &change, Some(handle), &[failed(error)]);
            let (url, body) = table::asked(step);
            assert!(url.ends_with("/chat.postMessage"), "{error}");
            assert_eq!((&body["channel"], body.get("ts")), (&json!("#ops"), None), "{error}");
        }
        let step = table::step(&bot(), &change, Some(handle), &[failed("invalid_blocks")]);
        let (url, body) = table::asked(step);
        assert!(url.ends_with("/chat.update") && body["blocks"] == json!([]), "{body}");
        assert!(body["text"].as_str().expect("text").contains("1 firing"), "{body}");
        let twice = [failed("invalid_blocks"), failed("invalid_blocks")];
        let step = table::step(&bot(), &change, Some(handle), &twice);
        assert!(matches!(table::outcome(step), Outcome::SetAside { .. }));
        let newer = table::step(&bot(), &change, Some(r#"{"v":2,"ts":"1"}"#), &[]);
        assert!(table::asked(newer).0.ends_with("/chat.postMessage"), "a form that is not known");
    }
}
