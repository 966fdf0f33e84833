//! Alarms of Amazon CloudWatch, whichever way they come, and events of AWS Health.
//!
//! Shapes: the SNS envelope with the alarm as text in `Message`; the bare alarm (raw delivery); what
//! a Lambda or a queue gets (`Records[]` with `Sns` or `body`); EventBridge's `CloudWatch Alarm State
//! Change` and `AWS Health Event`; what an alarm gives a Lambda it calls itself (`alarmData`).
//!
//! Identity: the alarm's ARN, which all but old SNS messages carry; else account, region and name.
//! An AWS Health event has an ARN of its own. Severity: `ALARM` is critical (CloudWatch has none; the
//! settings may say what the word means), `INSUFFICIENT_DATA` is unknown and no recovery, `OK`
//! resolves. The time is that of the change of state.
//!
//! Host: the dimension that names the thing (`InstanceId`, `DBInstanceIdentifier`, …), the alarm's
//! name where there is none. Every dimension is a tag.
//!
//! Traps: `Region` is a name for people in SNS (`EU (Ireland)`), so the ARN's is taken; without OK
//! actions no recovery ever comes; confirmations of subscriptions share the address of alarms
//! ([`confirmation`]). What else AWS publishes (Auto Scaling, RDS, mere text) names no state and is
//! nothing.

use serde_json::Value;

use super::{Class, Decoder, Draft, Failure, Found, Grade, Payload, draft, json, times};
use crate::model::Status;

/// Amazon CloudWatch.
pub(super) const DECODER: Decoder = Decoder {
    name: "cloudwatch",
    aliases: &["aws", "sns", "eventbridge", "aws_cloudwatch", "amazon_sns"],
    class: Class::Key,
    expire_after: None,
    decode,
};

/// A request of SNS to confirm a subscription; nothing is delivered until somebody gets the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// Which topic wants to deliver.
    pub topic_arn: String,
    /// What is to be got to say yes: always `https` at a host of SNS, whoever wrote the request.
    pub subscribe_url: String,
    /// What says yes through the API.
    pub token: String,
}

/// The request to confirm a subscription in a body, where it is one. A request with an address that
/// is not one of SNS is none, so that nobody can make Muster get what they like.
#[must_use]
pub fn confirmation(body: &[u8]) -> Option<Confirmation> {
    let object = json::within(std::str::from_utf8(body).ok()?, 4)?;
    if json::text(&object, "Type").as_deref() != Some("SubscriptionConfirmation") {
        return None;
    }
    let text = |name: &str| json::text(&object, name).map(std::borrow::Cow::into_owned);
    let subscribe_url = text("SubscribeURL").or_else(|| text("SubscribeUrl"))?;
    is_of_sns(&subscribe_url).then_some(Confirmation {
        topic_arn: text("TopicArn")?,
        subscribe_url,
        token: text("Token").unwrap_or_default(),
    })
}

/// Whether an address is `https://sns.REGION.amazonaws.com/…` (or `.com.cn`).
#[must_use]
pub fn is_of_sns(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://") else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let inner = host.strip_prefix("sns.").and_then(|rest| {
        rest.strip_suffix(".amazonaws.com").or_else(|| rest.strip_suffix(".amazonaws.com.cn"))
    });
    let region = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    inner.is_some_and(|name| !name.is_empty() && name.chars().all(region))
}

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    let each = |object: &json::Object, found: &mut Vec<Found>| {
        let records = json::list(object, "Records");
        if records.is_empty() {
            return one(object, None, payload, found);
        }
        json::elements(records, payload, found, |record, found| record_of(record, payload, found));
        Ok(())
    };
    json::objects(payload, found, each)
}

/// An element of what a Lambda gets from a topic or from a queue.
fn record_of(record: &Value, payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    let expected = || Failure::shape("a record without `Sns` or `body`; expected those of AWS");
    let record = record.as_object().ok_or_else(expected)?;
    if let Some(envelope) = json::object(record, "Sns") {
        return one(envelope, None, payload, found);
    }
    let body = json::text(record, "body").ok_or_else(expected)?;
    match json::within(&body, payload.depth) {
        Some(object) => one(&object, None, payload, found),
        None => {
            found.push(Found::Nothing("a message of a queue that is no alarm".to_owned()));
            Ok(())
        }
    }
}

/// One message; `envelope` is what it came in.
fn one(
    object: &json::Object,
    envelope: Option<&json::Object>,
    payload: &Payload<'_>,
    found: &mut Vec<Found>,
) -> Result<(), Failure> {
    if object.contains_key("AlarmName") {
        found.push(alarm(object, envelope, payload)?.into());
    } else if object.contains_key("alarmData") || object.contains_key("detail-type") {
        return bridged(object, payload, found);
    } else if envelope.is_none()
        && object.contains_key("Message")
        && (object.contains_key("TopicArn") || object.contains_key("Type"))
    {
        return enveloped(object, payload, found);
    } else if envelope.is_some() {
        found.push(Found::Nothing("an SNS message that is no CloudWatch alarm".to_owned()));
    } else {
        return Err(Failure::shape(
            "expected an SNS message, a CloudWatch alarm (`AlarmName`, `NewStateValue`) or an \
             EventBridge event (`detail-type`)",
        ));
    }
    Ok(())
}

fn enveloped(
    envelope: &json::Object,
    payload: &Payload<'_>,
    found: &mut Vec<Found>,
) -> Result<(), Failure> {
    let kind = json::text(envelope, "Type");
    let topic = json::text(envelope, "TopicArn").unwrap_or_default();
    if let Some(kind @ ("SubscriptionConfirmation" | "UnsubscribeConfirmation")) = kind.as_deref() {
        found.push(Found::Nothing(format!("SNS's {kind} of {topic}")));
        return Ok(());
    }
    let message = json::text(envelope, "Message").unwrap_or_default();
    match json::within(&message, payload.depth) {
        Some(message) => one(&message, Some(envelope), payload, found),
        None => {
            let what = "an SNS message that is no CloudWatch alarm, but text".to_owned();
            found.push(Found::Nothing(what));
            Ok(())
        }
    }
}

/// The alarm as SNS carries it.
fn alarm(
    alarm: &json::Object,
    envelope: Option<&json::Object>,
    payload: &Payload<'_>,
) -> Result<Draft, Failure> {
    let state = json::text(alarm, "NewStateValue").ok_or_else(|| {
        Failure::shape("`NewStateValue` is missing; expected OK, ALARM or INSUFFICIENT_DATA")
    })?;
    let mut draft = Draft::new(grade(&state));
    let name = json::text(alarm, "AlarmName").unwrap_or_default();
    let arn = json::text(alarm, "AlarmArn");
    let region = json::text(alarm, "Region");
    name_it(
        &mut draft,
        &name,
        arn.as_deref(),
        json::text(alarm, "AWSAccountId").as_deref(),
        region.as_deref(),
    );
    draft.at = times::value(alarm.get("StateChangeTime"), payload)
        .or_else(|| times::value(envelope.and_then(|outer| outer.get("Timestamp")), payload));
    draft.id = envelope.and_then(|outer| json::text(outer, "MessageId")).map(Into::into);
    let about = json::text(alarm, "AlarmDescription");
    describe(&mut draft, json::text(alarm, "NewStateReason").as_deref(), about.as_deref());
    if let Some(rule) = json::text(alarm, "AlarmRule") {
        draft.tag("alarm_type", "composite");
        draft.tag("alarm_rule", rule.as_ref());
    }
    if let Some(trigger) = json::object(alarm, "Trigger") {
        metric(&mut draft, trigger);
        for query in json::list(trigger, "Metrics").iter().filter_map(Value::as_object) {
            if let Some(inner) = json::object(query, "MetricStat.Metric") {
                metric(&mut draft, inner);
            }
        }
    }
    Ok(draft)
}

fn grade(state: &str) -> Grade {
    match state.to_ascii_uppercase().as_str() {
        "OK" => Grade::Recovered,
        "ALARM" => Grade::problem(state, Status::Critical),
        _ => Grade::problem(state, Status::Unknown),
    }
}

/// Identity, place and the console's page.
fn name_it(
    draft: &mut Draft,
    name: &str,
    arn: Option<&str>,
    account: Option<&str>,
    region: Option<&str>,
) {
    // arn:aws:cloudwatch:eu-west-1:123456789012:alarm:NAME
    let mut parts = arn.unwrap_or_default().splitn(7, ':').skip(1);
    let partition = parts.next();
    let region = parts.nth(1).filter(|code| !code.is_empty()).or(region);
    let account = parts.next().filter(|id| !id.is_empty()).or(account);
    draft.key = Some(match arn {
        Some(arn) => arn.to_owned(),
        None => draft::key([account.unwrap_or_default(), region.unwrap_or_default(), name]),
    });
    draft.check = Some(name.to_owned()).filter(|name| !name.is_empty());
    draft.tag("account", account);
    draft.tag("region", region);
    if partition == Some("aws")
        && let Some(region) = region
    {
        let name = percent_encoded(name);
        draft.link(
            "alarm",
            format!(
                "https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#alarmsV2:alarm/{name}"
            )
            .as_str(),
        );
    }
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn describe(draft: &mut Draft, reason: Option<&str>, about: Option<&str>) {
    if let Some(about) = about {
        draft.link_within("runbook", about);
    }
    let parts: Vec<&str> = [reason, about].into_iter().flatten().collect();
    draft.description = parts.join("\n");
}

/// Metric and dimensions of SNS (`MetricName`, a list of names and values) or of EventBridge (`name`,
/// an object); the first metric that can names the host.
fn metric(draft: &mut Draft, metric: &json::Object) {
    // It is among the first tags, if at all: an alarm may have many metrics.
    if !draft.tags.iter().take(8).any(|(name, _)| name == "metric") {
        draft.tag("metric", json::first(metric, &["MetricName", "name"]).as_deref());
        draft.tag("namespace", json::first(metric, &["Namespace", "namespace"]).as_deref());
    }
    let mut best = None;
    let mut dimension = |name: &str, value: &Value| {
        json::tag(draft, name, value);
        let rank = HOSTS.iter().position(|other| *other == name);
        if let (Some(rank), Some(value)) = (rank, json::scalar(value))
            && best.as_ref().is_none_or(|(other, _)| rank < *other)
        {
            best = Some((rank, plain_name(&value)));
        }
    };
    match metric.get("Dimensions").or_else(|| metric.get("dimensions")) {
        Some(Value::Array(list)) => {
            for pair in list.iter().filter_map(Value::as_object) {
                let name = json::first(pair, &["name", "Name"]);
                let value = pair.get("value").or_else(|| pair.get("Value"));
                if let (Some(name), Some(value)) = (name, value) {
                    dimension(&name, value);
                }
            }
        }
        Some(Value::Object(object)) => {
            object.iter().for_each(|(name, value)| dimension(name, value));
        }
        _ => {}
    }
    if draft.host.is_none() {
        draft.host = best.map(|(_, name)| name);
    }
}

/// Dimensions that name the thing that is watched, the most telling first.
const HOSTS: [&str; 38] = [
    "host",
    "Host",
    "HostName",
    "hostname",
    "InstanceId",
    "InstanceName",
    "DBInstanceIdentifier",
    "DBClusterIdentifier",
    "CacheClusterId",
    "ReplicationGroupId",
    "FunctionName",
    "QueueName",
    "TableName",
    "StreamName",
    "DeliveryStreamName",
    "TopicName",
    "StateMachineArn",
    "ServiceName",
    "Broker",
    "Broker ID",
    "DomainName",
    "ClusterIdentifier",
    "PodName",
    "NodeName",
    "LoadBalancer",
    "LoadBalancerName",
    "TargetGroup",
    "AutoScalingGroupName",
    "ApiName",
    "ApiId",
    "BucketName",
    "FileSystemId",
    "VolumeId",
    "NatGatewayId",
    "VpnId",
    "DistributionId",
    "HealthCheckId",
    "ClusterName",
];

/// The name in `app/my-lb/50dc6c495c0c9188` and `targetgroup/my-tg/73e2d6bc24d8a067`.
fn plain_name(value: &str) -> String {
    let mut parts = value.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("app" | "net" | "gwy"), Some(name), Some(_), None)
        | (Some("targetgroup"), Some(name), _, None) => name.to_owned(),
        _ => value.to_owned(),
    }
}

/// An event of EventBridge, or what an alarm gives a Lambda that it calls.
fn bridged(
    event: &json::Object,
    payload: &Payload<'_>,
    found: &mut Vec<Found>,
) -> Result<(), Failure> {
    let detail = json::object(event, "detail").or_else(|| json::object(event, "alarmData"));
    let detail = detail.ok_or_else(|| Failure::shape("an EventBridge event without `detail`"))?;
    let kind = json::text(event, "detail-type").unwrap_or_default();
    if kind.starts_with("AWS Health") {
        found.push(health(event, detail, payload).into());
        return Ok(());
    }
    let Some(name) = json::text(detail, "alarmName") else {
        let source = json::text(event, "source").unwrap_or_default();
        found.push(Found::Nothing(format!("an event of {source} that is no alarm: {kind}")));
        return Ok(());
    };
    let Some(state) = json::text(detail, "state.value") else {
        if kind.contains("State Change") || kind.is_empty() {
            return Err(Failure::shape("`detail.state.value` of the alarm is missing"));
        }
        found.push(Found::Nothing(format!("{kind}: no change of a state")));
        return Ok(());
    };
    if kind.contains("Configuration") {
        // It carries the state that the alarm has, and says nothing of it.
        found.push(Found::Nothing(format!("{kind}: no change of a state")));
        return Ok(());
    }
    let mut draft = Draft::new(grade(&state));
    let arn = json::first(event, &["resources.0", "alarmArn"]);
    name_it(
        &mut draft,
        &name,
        arn.as_deref(),
        json::first(event, &["account", "accountId"]).as_deref(),
        json::text(event, "region").as_deref(),
    );
    draft.at = times::value(json::at(detail, "state.timestamp"), payload)
        .or_else(|| times::value(event.get("time"), payload));
    draft.id = json::text(event, "id").map(Into::into);
    let about = json::text(detail, "configuration.description");
    describe(&mut draft, json::text(detail, "state.reason").as_deref(), about.as_deref());
    if let Some(rule) = json::text(detail, "configuration.alarmRule") {
        draft.tag("alarm_type", "composite");
        draft.tag("alarm_rule", rule.as_ref());
    }
    for query in json::list(detail, "configuration.metrics").iter().filter_map(Value::as_object) {
        if let Some(inner) = json::object(query, "metricStat.metric") {
            metric(&mut draft, inner);
        }
    }
    found.push(draft.into());
    Ok(())
}

/// What AWS says of its own state: closed is over; a plan or a notice is information.
fn health(event: &json::Object, detail: &json::Object, payload: &Payload<'_>) -> Draft {
    let category = json::text(detail, "eventTypeCategory").unwrap_or_default();
    let status = json::text(detail, "statusCode").unwrap_or_default();
    let grade = match (status.as_ref(), category.as_ref()) {
        ("closed", _) => Grade::Recovered,
        (_, "issue") => Grade::problem(category.as_ref(), Status::Warning),
        _ => Grade::problem(category.as_ref(), Status::Info),
    };
    let mut draft = Draft::new(grade);
    let service = json::text(detail, "service");
    draft.key = json::text(detail, "eventArn").map(Into::into);
    draft.check = json::first(detail, &["eventTypeCode", "service"]).map(Into::into);
    draft.host = json::list(detail, "affectedEntities")
        .iter()
        .filter_map(Value::as_object)
        .find_map(|entity| json::text(entity, "entityValue"))
        .or_else(|| service.clone())
        .map(Into::into);
    // Each further word on it is an event of its own.
    draft.at = times::value(detail.get("lastUpdatedTime"), payload)
        .or_else(|| times::value(event.get("time"), payload));
    draft.id = json::text(event, "id").map(Into::into);
    let text = json::first(detail, &["eventDescription.0.latestDescription"]);
    draft.description = text.map(Into::into).unwrap_or_default();
    draft.tag("service", service.as_deref());
    draft.tag("category", Some(category.as_ref()));
    draft.tag("account", json::first(detail, &["affectedAccount"]).as_deref());
    if draft.tagged("account").is_none() {
        draft.tag("account", json::text(event, "account").as_deref());
    }
    draft.tag("region", json::first(detail, &["eventRegion"]).as_deref());
    if draft.tagged("region").is_none() {
        draft.tag("region", json::text(event, "region").as_deref());
    }
    draft
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sns_can_ask_for_a_confirmation() {
        let body = |url: &str| {
            serde_json::json!({"Type": "SubscriptionConfirmation", "Token": "t", "SubscribeURL": url,
                "TopicArn": "arn:aws:sns:eu-west-1:123456789012:alarms"})
            .to_string()
        };
        let real = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=t";
        let read = confirmation(body(real).as_bytes()).expect("a confirmation");
        assert_eq!(read.subscribe_url, real);
        assert_eq!(read.topic_arn, "arn:aws:sns:eu-west-1:123456789012:alarms");
        assert_eq!(read.token, "t");
        for url in [
            "http://sns.eu-west-1.amazonaws.com/",
            "https://sns.eu-west-1.amazonaws.com.evil.example/",
            "https://evil.example/sns.eu-west-1.amazonaws.com",
            "https://user@sns.eu-west-1.amazonaws.com/",
            "https://sns.amazonaws.com/",
            "https://169.254.169.254/",
        ] {
            assert_eq!(confirmation(body(url).as_bytes()), None, "{url}");
        }
        assert_eq!(confirmation(br#"{"Type":"Notification"}"#), None);
        assert_eq!(confirmation(b"no json"), None);
    }
}
