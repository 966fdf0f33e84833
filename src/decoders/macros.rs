//! Macros that a sender did not expand: `$HOSTNAME$`, `{EVENT.ID}`, `*UNKNOWN*`, `$ALERT_ID`.
//!
//! Such a text counts as absent; taken at its word, it would make one alert of all.

/// The text without blanks around it; none where it is empty or nothing but an unexpanded macro.
#[must_use]
pub fn present(text: &str) -> Option<&str> {
    let text = text.trim();
    (!text.is_empty() && !is_unexpanded(text)).then_some(text)
}

/// Whether a text is a macro of Nagios (`$NAME$`), Zabbix (`{NAME}`, `{$NAME}`, `{#NAME}`,
/// `*UNKNOWN*`), Datadog (`$NAME`, `$TAGS[key]`) or a template (`{{name}}`) as it stands in a
/// template.
#[must_use]
pub fn is_unexpanded(text: &str) -> bool {
    if text.eq_ignore_ascii_case("*UNKNOWN*") {
        return true;
    }
    if let Some(inner) = between(text, "{{", "}}") {
        return !inner.contains(['{', '}', '"']);
    }
    if let Some(inner) = between(text, "{", "}") {
        let name = inner.trim_start_matches(['$', '#', '?']);
        // A function may follow: `{ITEM.VALUE1}`, `{{HOST.NAME}.regsub(…)}`.
        return is_name(name, |c| c == '.' || c == ':' || c == ' ');
    }
    if let Some(inner) = between(text, "$", "$") {
        return is_name(inner, |c| c == ':' || c == '-' || c == '.');
    }
    match text.strip_prefix('$') {
        Some(name) => match name.split_once('[') {
            Some((name, rest)) => is_name(name, |_| false) && rest.ends_with(']'),
            None => is_name(name, |_| false),
        },
        None => false,
    }
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let inner = text.strip_prefix(open)?.strip_suffix(close)?;
    (!inner.is_empty()).then_some(inner)
}

/// Upper-case letters, digits and `_`, and what else is allowed; it begins with a letter.
fn is_name(name: &str, also: impl Fn(char) -> bool) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_' || also(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unexpanded_macros_are_absent() {
        for text in [
            "$HOSTNAME$",
            "$ARG1$",
            "$_HOSTRACK$",
            "{EVENT.ID}",
            "{$LIMIT}",
            "{#FSNAME}",
            "*UNKNOWN*",
            "*unknown*",
            "$ALERT_ID",
            "$TAGS[env]",
            "$HOSTNAME",
            "{{ alert.id }}",
            "{{alert.id}}",
            " $SERVICEDESC$ ",
            "",
            "  ",
            "{ITEM.VALUE1}",
            "{HOST.HOST}",
        ] {
            assert_eq!(present(text), None, "{text}");
        }
    }

    #[test]
    fn other_texts_stand() {
        for text in [
            "web-1",
            "$5 left",
            "costs 5$",
            "{}",
            "{a}",
            "{\"a\":1}",
            "$",
            "$$",
            "100 $ used $",
            "us$er",
            "*",
            "$HOME/bin",
            "C$ share",
            "{{\"a\":1}}",
            "$a",
            "disk C:",
            "a $HOSTNAME$ b",
        ] {
            assert_eq!(present(text), Some(text), "{text}");
        }
    }
}
