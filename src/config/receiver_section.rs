//! `notify.receivers[]`: what each kind of receiver needs.
//!
//! Secrets are given as a text or, better, as a file (`_file`) that is read anew at each use; here they
//! are only checked.

mod chat;

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::read::Node;
use crate::model::Span;
use crate::notify::receiver::exchange::Reach;
use crate::notify::receiver::{slack, webhook};
use crate::notify::{Address, ReceiverKind, Secret, SecretSource};

mod paging;

/// Reads the keys of one kind.
type Read = fn(Node<'_>) -> Option<ReceiverKind>;

/// The keys of which a receiver has exactly one.
const KINDS: &[(&str, Read)] = &[
    ("jsm_ops", paging::read_jsm_ops),
    ("log", read_log),
    ("opsgenie", paging::read_opsgenie),
    ("pagerduty", paging::read_pagerduty),
    ("slack", chat::read_slack),
    ("webhook", read_webhook),
];

/// The kind of a receiver; none where it is broken, which is said.
pub(super) fn kind(table: &mut Node<'_>) -> Option<ReceiverKind> {
    let mut given = 0;
    let mut kind = None;
    for (name, read) in KINDS {
        if let Some(inner) = table.optional_table(name) {
            given += 1;
            kind = read(inner).or(kind);
        }
    }
    if given != 1 {
        let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
        let rule = format!("needs exactly one of the keys {}, it has {given}", names.join(", "));
        table.broken("", None, rule);
    }
    kind
}

fn read_log(table: Node<'_>) -> Option<ReceiverKind> {
    table.finish();
    Some(ReceiverKind::Log)
}

fn read_webhook(mut table: Node<'_>) -> Option<ReceiverKind> {
    let url = address(&mut table, "url", None, "it says where to post to");
    let secret = secret(&mut table, "secret", "secret_file");
    if let Some(SecretSource::Inline(held)) = &secret
        && !is_key(held.expose())
    {
        table.broken("secret", Some("***"), KEY_RULE);
    }
    let reach = reach(&mut table);
    table.finish();
    Some(ReceiverKind::Webhook(Box::new(webhook::Settings { url: url?, secret, reach })))
}

/// An address; the default where there is one and the key is not there.
fn address(
    table: &mut Node<'_>,
    key: &'static str,
    default: Option<&str>,
    what: &str,
) -> Option<Address> {
    let text = match (table.has(key), default) {
        (false, Some(default)) => {
            let _absent = table.text(key);
            default.to_owned()
        }
        _ => table.required(key, what)?,
    };
    match Address::parse(&text) {
        Ok(address) => Some(address),
        Err(rule) => {
            // Paths and queries of webhooks often hold a token, so problems show only where it leads.
            table.broken(key, Some(&Address::shown(&text)), rule);
            None
        }
    }
}

/// A secret, in the config or in a file.
fn secret(table: &mut Node<'_>, key: &'static str, file_key: &'static str) -> Option<SecretSource> {
    let inline = table.secret(key);
    let file = table.text(file_key);
    if inline.is_some() && file.is_some() {
        table.broken(file_key, None, format!("is given beside `{key}`; keep one of them"));
    }
    let file = file.map(|path| SecretSource::File(PathBuf::from(path)));
    file.or(inline.map(|text| SecretSource::Inline(Secret::new(text))))
}

/// How it is reached.
fn reach(table: &mut Node<'_>) -> Reach {
    let (least, usual) = (Span::from_millis(10), Reach::default());
    let connect_timeout =
        table.span("connect_timeout", usual.connect_timeout, least, Span::from_secs(60));
    let timeout = table.span("timeout", usual.timeout, least, Span::from_secs(300));
    if connect_timeout > timeout {
        let rule = format!("is more than timeout, {timeout}, which covers the whole exchange");
        table.broken("connect_timeout", Some(&connect_timeout.to_string()), rule);
    }
    let proxy = table.text("proxy");
    let ca_file = table.text("ca_file").map(PathBuf::from);
    let client_cert_file = table.text("client_cert_file").map(PathBuf::from);
    Reach { connect_timeout, timeout, proxy, ca_file, client_cert_file }
}

const KEY_RULE: &str = "begins with whsec_ but what follows is not base64";

/// What is wrong with a secret of a receiver of this kind.
pub(super) fn secret_rule(kind: &ReceiverKind, secret: &str) -> Option<&'static str> {
    let lines = secret.lines().map(str::trim).filter(|line| !line.is_empty());
    match kind {
        ReceiverKind::Webhook(_) => lines.map(is_key).any(|good| !good).then_some(KEY_RULE),
        ReceiverKind::PagerDuty(_) => paging::routing_key_rule(secret),
        ReceiverKind::Opsgenie(_) => paging::api_key_rule(secret),
        ReceiverKind::Log => None,
        ReceiverKind::Slack(it) => match it.way {
            slack::Way::Bot { .. } => None,
            slack::Way::Webhook(_) => chat::hook_rule(secret),
        },
    }
}

/// Whether a text can be the key of a signature: anything, but after `whsec_` base64.
fn is_key(text: &str) -> bool {
    text.strip_prefix("whsec_").is_none_or(|key| STANDARD.decode(key).is_ok_and(|k| !k.is_empty()))
}
