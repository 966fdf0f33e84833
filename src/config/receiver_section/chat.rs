//! `slack`, `teams`, `mattermost`: receivers for chats. The address of a hook is a secret as a whole.

use super::{address, reach, secret};
use crate::config::read::Node;
use crate::notify::receiver::slack;
use crate::notify::{Address, ReceiverKind, SecretSource};

const HOOK_RULE: &str = "is no http or https address, as that of a hook is";

/// What is wrong with the address of a hook.
pub(super) fn hook_rule(text: &str) -> Option<&'static str> {
    Address::parse(text.trim()).is_err().then_some(HOOK_RULE)
}

/// The address of a hook, in the config or in a file.
fn hook(table: &mut Node<'_>, rule: fn(&str) -> Option<&'static str>) -> Option<SecretSource> {
    let hook = secret(table, "webhook_url", "webhook_url_file");
    if let Some(SecretSource::Inline(held)) = &hook
        && let Some(rule) = rule(held.expose())
    {
        table.broken("webhook_url", Some("***"), rule);
    }
    hook
}

/// Whether a receiver is a bot: it has a token or a hook, not both. None where that is broken.
fn either(
    table: &mut Node<'_>,
    token: Option<SecretSource>,
    hook: Option<SecretSource>,
) -> Option<Result<SecretSource, SecretSource>> {
    match (token, hook) {
        (Some(token), None) => Some(Ok(token)),
        (None, Some(hook)) => Some(Err(hook)),
        (Some(_), Some(_)) => {
            table.broken("", None, "has a token and the address of a hook; keep one of them");
            None
        }
        (None, None) => {
            table.broken("", None, "needs token_file (a bot) or webhook_url_file");
            None
        }
    }
}

/// Keys that only a bot has use for.
fn for_bots(table: &Node<'_>, keys: &[&str]) {
    for key in keys.iter().filter(|key| table.has(key)) {
        table.broken(key, None, "is for bots; where a hook posts was chosen when it was made");
    }
}

pub(super) fn read_slack(mut table: Node<'_>) -> Option<ReceiverKind> {
    let token = secret(&mut table, "token", "token_file");
    let hook = hook(&mut table, hook_rule);
    let given = either(&mut table, token, hook);
    let way = match given {
        Some(Err(hook)) => {
            for_bots(&table, &["channel", "api_url"]);
            let (_none, _none_either) = (table.text("channel"), table.text("api_url"));
            Some(slack::Way::Webhook(hook))
        }
        Some(Ok(token)) => {
            let channel = table.required("channel", "a bot must be told where to post");
            let api = address(&mut table, "api_url", Some("https://slack.com/api"), "");
            channel.zip(api).map(|(channel, api)| slack::Way::Bot {
                token,
                channel: channel.into(),
                api,
            })
        }
        None => {
            let (_unread, _unread_either) = (table.text("channel"), table.text("api_url"));
            None
        }
    };
    let reach = reach(&mut table);
    table.finish();
    Some(ReceiverKind::Slack(Box::new(slack::Settings { way: way?, reach })))
}
