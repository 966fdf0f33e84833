//! Alerts that are a set of labels, as Prometheus, Alertmanager and Grafana have them.

use std::borrow::Cow;

use super::{Draft, json};

/// Labels that tell two replicas of one Prometheus apart, and no two things that are watched. They
/// count for nothing: both replicas report the same problem.
pub(super) const REPLICA: [&str; 5] = [
    "prometheus_replica",
    "__replica__",
    "rule_replica",
    "receive_replica",
    "thanos_ruler_replica",
];

/// Where an exporter speaks for others, `instance` is the exporter; this is what it speaks of.
const SPOKEN_FOR: [&str; 10] = [
    "node",
    "pod",
    "deployment",
    "statefulset",
    "daemonset",
    "job_name",
    "cronjob",
    "horizontalpodautoscaler",
    "persistentvolumeclaim",
    "namespace",
];

/// The labels that count, by name.
pub(super) fn of<'a>(outer: &'a json::Object, name: &str) -> Option<Vec<(&'a str, Cow<'a, str>)>> {
    let labels = outer.get(name)?.as_object()?;
    let mut labels: Vec<(&str, Cow<'_, str>)> = labels
        .iter()
        .filter(|(name, _)| !REPLICA.contains(&name.as_str()))
        .filter_map(|(name, value)| Some((name.as_str(), text(value)?)))
        .collect();
    labels.sort_unstable();
    Some(labels)
}

/// As a label's value stands, blanks and all; an empty one is none.
fn text(value: &serde_json::Value) -> Option<Cow<'_, str>> {
    match value {
        serde_json::Value::String(text) => {
            (!text.is_empty()).then_some(Cow::Borrowed(text.as_str()))
        }
        other => json::scalar(other),
    }
}

/// The value of one, where it says something.
pub(super) fn get<'a>(labels: &'a [(&str, Cow<'_, str>)], name: &str) -> Option<&'a str> {
    let at = labels.binary_search_by(|(other, _)| (*other).cmp(name)).ok()?;
    super::macros::present(&labels[at].1)
}

/// The fingerprint of labels (sorted by name), as Prometheus computes it: where no replica's label
/// is among them it is the one that Alertmanager shows.
pub(super) fn fingerprint(labels: &[(&str, Cow<'_, str>)]) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    for (name, value) in labels {
        for text in [*name, value] {
            text.bytes().for_each(&mut add);
            add(0xff);
        }
    }
    format!("{hash:016x}")
}

/// What labels say the alert is about.
pub(super) fn host(labels: &[(&str, Cow<'_, str>)]) -> Option<String> {
    let named = ["host", "hostname", "nodename", "exported_instance"];
    if let Some(host) = named.iter().find_map(|name| get(labels, name)) {
        return Some(without_port(host).to_owned());
    }
    let exporter = get(labels, "job").is_some_and(|job| job.contains("kube-state-metrics"));
    let spoken_for = || SPOKEN_FOR.iter().find_map(|name| get(labels, name));
    let instance = || get(labels, "instance").map(without_port);
    let host = if exporter {
        spoken_for().or_else(instance)
    } else {
        instance().or_else(|| ["node", "pod"].iter().find_map(|name| get(labels, name)))
    };
    host.map(str::to_owned)
}

/// The host of an address: `web-1:9100`, `[2001:db8::1]:9100`, `https://shop.example.com/health`.
pub(super) fn without_port(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        authority.rsplit('@').next().unwrap_or(authority)
    });
    if let Some(inner) = rest.strip_prefix('[')
        && let Some((inner, _)) = inner.split_once(']')
        && !inner.is_empty()
    {
        return inner;
    }
    match rest.rsplit_once(':') {
        // More than one colon and no brackets: an address of IPv6.
        Some((host, port))
            if !host.is_empty()
                && !host.contains(':')
                && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            host
        }
        _ if rest.is_empty() => address,
        _ => rest,
    }
}

/// Labels as tags, annotations as text and links.
pub(super) fn describe(
    draft: &mut Draft,
    labels: &[(&str, Cow<'_, str>)],
    annotations: Option<&json::Object>,
) {
    for (name, value) in labels {
        draft.tag(name, value.as_ref());
    }
    let Some(annotations) = annotations else { return };
    let said = |names: &[&str]| {
        let mut texts = names.iter().filter_map(|name| json::scalar(annotations.get(*name)?));
        texts.next()
    };
    let short = said(&["summary", "title"]);
    let long = said(&["description", "message", "info"]);
    draft.description = match (short, long) {
        (Some(short), Some(long)) if !long.contains(short.as_ref()) => format!("{short}: {long}"),
        (Some(_), Some(text)) | (Some(text), None) | (None, Some(text)) => text.into_owned(),
        (None, None) => String::new(),
    };
    for (name, value) in annotations {
        let name = ["_url", "URL", "Url"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .filter(|name| !name.is_empty())
            .unwrap_or(name);
        draft.link(name, value.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gives_its_host() {
        for (address, host) in [
            ("web-1:9100", "web-1"),
            ("web-1", "web-1"),
            ("10.0.0.5:9100", "10.0.0.5"),
            ("[2001:db8::1]:9100", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("https://shop.example.com/health?x=1:2", "shop.example.com"),
            ("https://user@shop.example.com:8443/", "shop.example.com"),
            ("http://[::1]:80/", "::1"),
            ("db:prod", "db:prod"),
            (":9100", ":9100"),
            ("https://", "https://"),
        ] {
            assert_eq!(without_port(address), host, "{address}");
        }
    }

    #[test]
    fn a_replica_counts_for_nothing() {
        let parse = |text| -> json::Object { serde_json::from_str(text).expect("JSON") };
        let one = parse(r#"{"labels":{"b":"2","a":"1","prometheus_replica":"p-0","empty":""}}"#);
        let two = parse(r#"{"labels":{"a":"1","prometheus_replica":"p-1","b":"2"}}"#);
        let other = parse(r#"{"labels":{"a":"1","b":"3"}}"#);
        let key = |object| fingerprint(&of(object, "labels").expect("labels"));
        assert_eq!(key(&one), key(&two));
        assert_ne!(key(&one), key(&other));
        // FNV-1a of nothing, as every implementation has it.
        assert_eq!(fingerprint(&[]), "cbf29ce484222325");
    }
}
