//! Elastic: alerts of Kibana's rules, Elasticsearch's Watcher, and ElastAlert 2.
//!
//! None has a fixed body. Those that come with Muster (`deploy/sources/elk/`) are read, and others with
//! the same variables under similar names: `rule.id`, `rule_id`, `{"rule":{"id":…}}`.
//! - **Kibana**, by a rule's webhook or index action: `rule`, `alert`, `context`, `date`; the whole list
//!   of a summary (`alerts.new.data`); and documents of `.alerts-*` (`kibana.alert.…`), also as a search
//!   finds them. Identity: rule and alert (`kibana.alert.instance.id`); `alert.uuid`, the episode, is the
//!   event's `id`. Recovery: the action group or the status `recovered`. How bad: `severity`, else the
//!   last word of the action group (`fired` and `alert` are critical, `warning` a warning); no data and
//!   a rule's error are `unknown`; what is left is a problem in the action group's word, `unknown`
//!   unless the settings say otherwise. Time: `date`; `kibana.alert.end`, `@timestamp`.
//! - **Watcher**: `watch_id`, `execution_time`, `metadata`. Identity: the watch, and its host where the
//!   metadata names one.
//! - **ElastAlert 2**, `http_post` and `http_post2`: the document that matched, with what
//!   `http_post_static_payload` adds; its status documents too. Identity: the rule's name and the host.
//!
//! Watcher and ElastAlert never say that a problem is over: it is taken for over after an hour without
//! a further event, or after `expire_after` seconds where the body has that.
//!
//! Host: `host.name`, `host`, `hostname`, a node or pod of Kubernetes; of Kibana else the service, else
//! the alert's id, which is mostly what the rule groups by.
//!
//! Traps: Kibana's recovery is a separate action, and without it none comes. Missing variables are empty
//! texts. An alert that Kibana does not track any more (its rule was disabled) has not recovered.

use std::borrow::Cow;

use serde_json::Value;

use super::loose::Loose;
use super::{Class, Decoder, Draft, Failure, Found, Grade, Payload, json, labels, times};
use crate::model::{Span, Status};

/// Elastic.
pub(super) const DECODER: Decoder = Decoder {
    name: "elk",
    aliases: &["elastic", "kibana", "elastalert", "watcher"],
    class: Class::Key,
    expire_after: None,
    decode,
};

const EXPECTED: &str = "expected a body of Kibana, Watcher or ElastAlert, best one of \
                        deploy/sources/elk";
const HOSTS: [&str; 9] = [
    "hostname",
    "host",
    "contexthostname",
    "contexthost",
    "agenthostname",
    "beathostname",
    "kubernetesnodename",
    "kubernetespodname",
    "metadatahost",
];
/// How long a problem lives of which nobody says that it is over.
const LIVES: i64 = 3_600;

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    json::objects(payload, found, |object, found| {
        if let Some(hits) = json::at(object, "hits.hits").and_then(Value::as_array) {
            if hits.is_empty() {
                found.push(Found::Nothing("a search that found nothing".to_owned()));
            }
            each(hits, None, payload, found);
            return Ok(());
        }
        let groups = ["new", "ongoing", "recovered"].map(|group| {
            let list = json::at(object, &format!("alerts.{group}.data")).and_then(Value::as_array);
            (group, list)
        });
        if groups.iter().any(|(_, list)| list.is_some()) {
            let before = found.len();
            for (group, list) in groups {
                each(list.map_or(&[], Vec::as_slice), Some(group == "recovered"), payload, found);
            }
            if found.len() == before {
                found.push(Found::Nothing("a summary without alerts".to_owned()));
            }
            return Ok(());
        }
        found.push(one(object, None, payload)?);
        Ok(())
    })
}

fn each(list: &[Value], over: Option<bool>, payload: &Payload<'_>, found: &mut Vec<Found>) {
    json::elements(list, payload, found, |value, found| {
        let object =
            value.as_object().ok_or_else(|| Failure::shape("the alert is not an object"))?;
        found.push(one(object, over, payload)?);
        Ok(())
    });
}

fn one(object: &json::Object, over: Option<bool>, payload: &Payload<'_>) -> Result<Found, Failure> {
    let inner = ["_source", "ctx"].iter().find_map(|name| object.get(*name)?.as_object());
    let object = inner.unwrap_or(object);
    let fields = Loose::of(object);
    let draft = if fields.has(&["kibanaalertstatus", "kibanaalertuuid", "kibanaalertinstanceid"]) {
        return document(object, &fields, over, payload);
    } else if fields.text(&["watchid"]).is_some() {
        watch(object, &fields, payload)
    } else if fields.has(&["alertid", "alertactiongroup", "actiongroup", "alertuuid"])
        && fields.text(&["ruleid", "rulename"]).is_some()
    {
        rule(object, &fields, over, payload)
    } else if fields.text(&["rulename", "elastalertrule"]).is_some()
        || fields.has(&["numhits", "nummatches", "timestamp"])
    {
        matched(object, &fields, payload)
    } else {
        let message = "no `rule` and `alert`, no `kibana.alert.…`, no `watch_id`, no `rule_name` and \
                       no `@timestamp`";
        return Err(Failure::shape(format!("{message}; {EXPECTED}")));
    };
    Ok(draft.into())
}

/// What an action of a rule was told to write.
fn rule(
    object: &json::Object,
    fields: &Loose<'_>,
    over: Option<bool>,
    payload: &Payload<'_>,
) -> Draft {
    let group = fields.text(&["alertactiongroup", "actiongroup", "alertactiongroupname"]);
    let state = fields.text(&["state", "status", "alertstate", "alertstatus"]);
    let group_says = group.as_deref().is_some_and(recovered);
    let over = over.unwrap_or(false) || group_says || state.as_deref().is_some_and(recovered);
    let severity = fields.text(&["severity", "contextseverity", "alertseverity"]);
    let mut draft = Draft::new(grade(over, severity.as_deref(), group.as_deref()));
    let rule = fields.text(&["ruleid"]);
    let name = fields.text(&["rulename"]);
    let alert = fields.text(&["alertid", "alertinstanceid"]);
    draft.at = times::value(fields.get(&["date", "timestamp"]), payload);
    draft.id = fields.text(&["alertuuid"]).map(Cow::into_owned);
    let text =
        fields.text(&["contextreason", "reason", "contextmessage", "message", "contexttitle"]);
    draft.description = text.or_else(|| name.clone()).map(Cow::into_owned).unwrap_or_default();
    identify(&mut draft, fields, rule.as_deref(), name.as_deref(), alert.as_deref());
    let listed = fields.texts(&["ruletags", "tags"]);
    common(&mut draft, object, fields, &listed);
    draft.tag("space", fields.text(&["rulespaceid", "spaceid", "space"]).as_deref());
    draft.tag("rule_type", fields.text(&["ruletype", "ruletypeid"]).as_deref());
    draft.link("alert", fields.text(&["contextalertdetailsurl", "alertdetailsurl"]).as_deref());
    draft.link("rule", fields.text(&["ruleurl"]).as_deref());
    draft.link("results", fields.text(&["contextlink", "contextviewinappurl", "link"]).as_deref());
    draft
}

/// A document of `.alerts-*`.
fn document(
    object: &json::Object,
    fields: &Loose<'_>,
    over: Option<bool>,
    payload: &Payload<'_>,
) -> Result<Found, Failure> {
    let status = fields.text(&["kibanaalertstatus", "eventaction"]);
    let rule = fields.text(&["kibanaalertruleuuid", "kibanaalertruleparentid"]);
    let name = fields.text(&["kibanaalertrulename", "kibanaalertrulecategory"]);
    let alert = fields.text(&["kibanaalertinstanceid"]);
    if rule.is_none() && name.is_none() && alert.is_none() {
        let message =
            format!("neither `kibana.alert.rule` nor `kibana.alert.instance`; {EXPECTED}");
        return Err(Failure::shape(message));
    }
    if status.as_deref() == Some("untracked") {
        return Ok(Found::Nothing("an alert that Kibana does not track any more".to_owned()));
    }
    let closed = fields.text(&["kibanaalertworkflowstatus"]).is_some_and(|word| word == "closed");
    let over = over.unwrap_or(false) || closed || status.as_deref().is_some_and(recovered);
    let group = fields.text(&["kibanaalertactiongroup"]);
    let severity = fields.text(&["kibanaalertseverity"]);
    let mut draft = Draft::new(grade(over, severity.as_deref(), group.as_deref()));
    let end = times::value(fields.get(&["kibanaalertend"]), payload).filter(|_| over);
    draft.at = end
        .or_else(|| times::value(fields.get(&["timestamp"]), payload))
        .or_else(|| times::value(fields.get(&["kibanaalertstart"]), payload));
    draft.id = fields.text(&["kibanaalertuuid"]).map(Cow::into_owned);
    let text = fields.text(&["kibanaalertreason", "message"]).or_else(|| name.clone());
    draft.description = text.map(Cow::into_owned).unwrap_or_default();
    identify(&mut draft, fields, rule.as_deref(), name.as_deref(), alert.as_deref());
    let listed = fields.texts(&["kibanaalertruletags", "tags"]);
    common(&mut draft, object, fields, &listed);
    draft.tag("space", fields.text(&["kibanaspaceids"]).as_deref());
    draft.tag("rule_type", fields.text(&["kibanaalertruleruletypeid"]).as_deref());
    draft.tag("consumer", fields.text(&["kibanaalertruleconsumer"]).as_deref());
    draft.link("alert", fields.text(&["kibanaalerturl"]).as_deref());
    Ok(draft.into())
}

fn watch(object: &json::Object, fields: &Loose<'_>, payload: &Payload<'_>) -> Draft {
    let watch = fields.text(&["watchid"]).unwrap_or_default();
    let severity = fields.text(&["severity", "metadataseverity", "metadatapriority"]);
    let mut draft = Draft::new(severity.map_or_else(
        || Grade::problem("fired", Status::Unknown),
        |severity| Grade::word(&severity),
    ));
    draft.host = fields.text(&HOSTS).map(Cow::into_owned);
    draft.key = Some(match &draft.host {
        Some(host) => format!("{watch}|{host}"),
        None => watch.clone().into_owned(),
    });
    let name = fields.text(&["metadataname", "name"]).unwrap_or(watch);
    draft.at = times::value(fields.get(&["executiontime"]), payload).or_else(|| {
        let names = ["triggertriggeredtime", "triggerscheduledtime", "scheduledtime", "date"];
        times::value(fields.get(&names), payload)
    });
    draft.id = fields.text(&["id"]).map(Cow::into_owned);
    let text =
        fields.text(&["message", "text", "subject", "metadatamessage", "metadatadescription"]);
    draft.description = text.as_deref().unwrap_or(&name).to_owned();
    if let Some(hits) = fields.text(&["payloadhitstotal", "payloadhitstotalvalue", "hits"]) {
        draft.description = format!("{} ({hits} hits)", draft.description);
    }
    draft.check = Some(name.into_owned());
    common(&mut draft, object, fields, &fields.texts(&["metadatatags", "tags"]));
    for (name, value) in json::object(object, "metadata").into_iter().flatten() {
        let text = json::scalar(value);
        let is_link = text.as_ref().is_some_and(|text| text.starts_with("http"));
        if is_link {
            draft.link(name, text.as_deref());
        } else if !value.is_number() && !matches!(name.as_str(), "name" | "host") {
            draft.tag(name, text.as_deref());
        }
    }
    lives(&mut draft, fields, payload);
    draft
}

fn matched(object: &json::Object, outer: &Loose<'_>, payload: &Payload<'_>) -> Draft {
    let body = json::object(object, "match_body");
    let inner = body.map(Loose::of);
    let fields = inner.as_ref().unwrap_or(outer);
    let both = |names: &[&str]| outer.text(names).or_else(|| fields.text(names));
    let severity = both(&["severity", "alertseverity", "priority"]);
    let mut draft = Draft::new(severity.map_or_else(
        || Grade::problem("match", Status::Unknown),
        |severity| Grade::word(&severity),
    ));
    let name = both(&["rulename", "elastalertrule", "alertname", "rule", "name"]);
    let name = name.unwrap_or(Cow::Borrowed("ElastAlert"));
    draft.host = fields.text(&HOSTS).or_else(|| outer.text(&HOSTS)).map(Cow::into_owned);
    draft.key = Some(match &draft.host {
        Some(host) => format!("{name}|{host}"),
        None => name.clone().into_owned(),
    });
    draft.check = Some(name.clone().into_owned());
    draft.at = times::value(fields.get(&["timestamp", "matchtime"]), payload)
        .or_else(|| times::value(outer.get(&["matchtime", "alerttime", "timestamp"]), payload));
    draft.id = fields.text(&["id"]).map(Cow::into_owned);
    let text = both(&["alerttext", "alertsubject", "message", "msg", "logoriginal", "text"]);
    draft.description = text.unwrap_or(name).into_owned();
    common(&mut draft, body.unwrap_or(object), fields, &outer.texts(&["ruletags"]));
    let listed = fields.texts(&["tags"]);
    draft.tag_list("tags", listed.iter().map(AsRef::as_ref));
    draft.link("kibana", both(&["kibanadiscoverurl", "kibanaurl", "kibanalink"]).as_deref());
    draft.link("runbook", both(&["runbook", "runbookurl"]).as_deref());
    lives(&mut draft, outer, payload);
    draft
}

fn recovered(word: &str) -> bool {
    matches!(word.trim().to_ascii_lowercase().as_str(), "recovered" | "resolved" | "ok" | "closed")
}

fn grade(over: bool, severity: Option<&str>, group: Option<&str>) -> Grade {
    if over {
        return Grade::Recovered;
    }
    let group = group.unwrap_or("active");
    let last = group.rsplit('.').next().unwrap_or(group).to_ascii_lowercase();
    match last.as_str() {
        "nodata" | "no data" | "no_data" | "error" | "missing data" => {
            return Grade::problem(group, Status::Unknown);
        }
        _ => {}
    }
    match (severity, last.as_str()) {
        (Some(word), _) => Grade::word(word),
        (None, "fired") => Grade::problem(group, Status::Critical),
        (None, last) => match Grade::word(last) {
            Grade::Problem { usual, .. } => Grade::problem(group, usual),
            other => other,
        },
    }
}

/// The identity, and what the alert is about.
fn identify(
    draft: &mut Draft,
    fields: &Loose<'_>,
    rule: Option<&str>,
    name: Option<&str>,
    alert: Option<&str>,
) {
    let of = rule.or(name).unwrap_or_default();
    draft.key = Some(match alert {
        Some(alert) => format!("{of}|{alert}"),
        None => of.to_owned(),
    });
    draft.check = name.or(rule).map(str::to_owned);
    draft.host = fields.text(&HOSTS).map(|host| labels::without_port(&host).to_owned());
    if draft.host.is_none() && fields.text(&["servicename", "contextservicename"]).is_none() {
        // A rule that does not group has an alert of a fixed name, or of its own.
        let says = |alert: &&str| {
            !matches!(*alert, "*" | "query matched" | "all documents" | "default")
                && Some(*alert) != rule
                && Some(*alert) != name
        };
        draft.host = alert.filter(says).map(str::to_owned);
    }
}

/// Tags that mean the same in all of them; of a document that matched by no means all of its fields.
fn common(draft: &mut Draft, object: &json::Object, fields: &Loose<'_>, listed: &[Cow<'_, str>]) {
    draft.tag_list("tags", listed.iter().map(AsRef::as_ref));
    for tag in listed {
        if let Some((name, value)) = tag.split_once(':')
            && !value.starts_with("//")
        {
            draft.tag(name.trim(), value);
        }
    }
    for (name, value) in json::object(object, "labels").into_iter().flatten() {
        draft.tag(name, json::scalar(value).as_deref());
    }
    for (name, value) in object {
        if let Some(name) = name.strip_prefix("labels.") {
            draft.tag(name, json::scalar(value).as_deref());
        }
    }
    for (name, names) in [
        ("service", &["servicename", "contextservicename", "service"][..]),
        ("env", &["serviceenvironment", "contextserviceenvironment", "env", "environment"]),
        ("team", &["team"]),
        ("cluster", &["cluster", "clustername", "orchestratorclustername", "kubernetescluster"]),
        ("namespace", &["kubernetesnamespace", "namespace"]),
        ("region", &["region", "cloudregion"]),
        ("datacenter", &["datacenter", "dc"]),
        ("application", &["application", "app"]),
        ("severity", &["severity", "kibanaalertseverity"]),
    ] {
        draft.tag(name, fields.text(names).as_deref());
    }
}

/// Until when a problem lives that nobody ends.
fn lives(draft: &mut Draft, fields: &Loose<'_>, payload: &Payload<'_>) {
    let own = fields.get(&["expireafter"]).and_then(json::integer);
    let seconds = own.filter(|seconds| (1..=31_536_000).contains(seconds)).unwrap_or(LIVES);
    draft.expires_at = Some(payload.arrival + Span::from_secs(seconds));
}
