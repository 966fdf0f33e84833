//! `collect.sources`: the keys that say who may send for a source.

use super::Problem;
use super::read::Node;
use crate::api::{Scheme, Sender, Senders, Signature, TokenHash, readable_secret};

/// How many tokens a source may have; each is held against every request.
const TOKENS_MAX: usize = 100;
/// The longest file of tokens, in bytes.
const FILE_MAX: u64 = 64 << 10;
/// How many topics of SNS a source may have.
const TOPICS_MAX: usize = 100;
const HASH: &str = "is no hash of a token; `muster token` makes a token and prints its hash, \
                    sha256: and 64 digits";

/// What an entry asks of whoever sends for it.
pub(super) fn read(table: &mut Node<'_>, source: &str) -> Sender {
    let mut tokens = Vec::new();
    for (number, text) in table.texts("tokens").into_iter().enumerate() {
        match TokenHash::parse(&text) {
            Some(hash) => tokens.push(hash),
            // Somebody may have written the token itself: it is not shown.
            None => table.broken(&format!("tokens[{number}]"), Some("***"), HASH),
        }
    }
    if let Some(path) = table.text("tokens_file") {
        match in_file(&path) {
            Ok(more) => tokens.extend(more),
            Err(why) => table.broken("tokens_file", Some(&path), why),
        }
    }
    if tokens.len() > TOKENS_MAX {
        let count = tokens.len().to_string();
        table.broken("tokens", Some(&count), format!("tokens, {TOKENS_MAX} are the most"));
    }
    let signature = signature(table);
    let topics = table.texts("sns_topics");
    for (number, topic) in topics.iter().enumerate() {
        if !topic.starts_with("arn:") {
            let rule = "is no ARN of a topic, such as arn:aws:sns:eu-west-1:123456789012:alarms";
            table.broken(&format!("sns_topics[{number}]"), Some(topic), rule);
        }
    }
    if topics.len() > TOPICS_MAX {
        let count = topics.len().to_string();
        table.broken("sns_topics", Some(&count), format!("topics, {TOPICS_MAX} are the most"));
    }
    if source == super::collect_section::DEFAULTS {
        let rule = "belongs to a source with a name of its own, not to `defaults`";
        for (key, is_there) in
            [("signature", signature.is_some()), ("sns_topics", !topics.is_empty())]
        {
            if is_there {
                table.broken(key, None, rule);
            }
        }
    }
    let topics = topics.into_iter().map(Into::into).collect();
    Sender { source: source.into(), tokens, signature, topics }
}

/// Files of secrets that cannot be read.
pub(super) fn unreadable(senders: &Senders) -> Vec<Problem> {
    let problem = |(source, path): (&str, &std::path::Path)| {
        let why = readable_secret(path).err()?;
        Some(Problem {
            key: format!("collect.sources ({source}).signature.secret_file"),
            value: Some(path.display().to_string()),
            rule: why,
        })
    };
    senders.secret_files().filter_map(problem).collect()
}

fn in_file(path: &str) -> Result<Vec<TokenHash>, String> {
    let unread = |error: std::io::Error| format!("cannot be read: {error}");
    if std::fs::metadata(path).map_err(unread)?.len() > FILE_MAX {
        return Err(format!("is longer than {FILE_MAX} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(unread)?;
    let lines = text.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_, line)| !(line.is_empty() || line.starts_with('#')));
    let hashes = lines.map(|(number, line)| {
        TokenHash::parse(line).ok_or_else(|| format!("line {} {HASH}", number + 1))
    });
    let hashes: Vec<TokenHash> = hashes.collect::<Result<_, _>>()?;
    // A file that lost its lines must not let everybody in.
    if hashes.is_empty() { Err("holds no hash of a token".to_owned()) } else { Ok(hashes) }
}

fn signature(table: &mut Node<'_>) -> Option<Signature> {
    let mut node = table.optional_table("signature")?;
    let file = node.required("secret_file", "the key of the signature is in it");
    let has_scheme = node.has("scheme");
    let scheme = node.word("scheme", Scheme::Hub, &Scheme::ALL);
    if !has_scheme {
        node.missing("scheme", "who signs, and how");
    }
    let timestamp_header = node.text("timestamp_header");
    if let Some(header) = timestamp_header.as_deref().filter(|_| scheme != Scheme::Grafana) {
        node.broken("timestamp_header", Some(header), "belongs to the scheme grafana only");
    }
    node.finish();
    Some(Signature {
        scheme,
        secret_file: file?.into(),
        timestamp_header: timestamp_header.map(|header| header.to_ascii_lowercase().into()),
    })
}
