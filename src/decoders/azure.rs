//! Alerts of Azure Monitor, as action groups post them.
//!
//! Shapes: the common alert schema (whatever the service), and those of before it, which are still
//! the default of an action group: metric (`AzureMonitorMetricAlert`), log search
//! (`Microsoft.Insights/LogAlert`), activity log (`Microsoft.Insights/activityLogs`), classic metric
//! (no `schemaId`) and budgets (`AIP Budget Notification`).
//!
//! Identity: the rule, its targets and the dimensions that split it, which stay from one episode to
//! the next (`alertId` names one episode and is the event's id; it is the identity only where there is
//! nothing else). Service Health: its tracking id. ARM ids compare without regard to case.
//! Severity: Sev0 and Sev1 critical, Sev2 warning, Sev3 and Sev4 info; activity-log alerts all have
//! Sev4, so the level counts, and of Resource Health the health (Unavailable critical, Degraded
//! warning). `Resolved` and `Deactivated`
//! resolve, and so does what Resource Health and Service Health say of themselves: their alerts are
//! always `Fired`.
//!
//! Times: when it was resolved, else what the alert says of itself, else when it fired; those of the
//! older shapes without a zone are UTC.
//!
//! Host: the first configuration item, else a dimension that names a computer, else the target (of
//! Service Health the service); of an ARM id its last part; in lower case.
//!
//! Traps: activity-log alerts, log alerts of the old schema and budgets never resolve: they expire an
//! hour (budgets: a day) after they came. Stateless log alerts of the common schema cannot be told
//! from stateful ones: give the rule *automatically resolve*, or the source an `expire_after`.

use std::borrow::Cow;

use serde_json::Value;

use super::{Class, Decoder, Draft, Failure, Found, Grade, Payload, draft, json, times};
use crate::model::{Span, Status};

/// Azure Monitor.
pub(super) const DECODER: Decoder = Decoder {
    name: "azure",
    aliases: &["azure_monitor", "microsoft_azure"],
    class: Class::Key,
    expire_after: None,
    decode,
};

/// How long what never resolves lives: activity logs and log searches come again while there is more.
const STATELESS: Span = Span::from_secs(3_600);
/// How long a budget's notice lives.
const BUDGET: Span = Span::from_secs(86_400);

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    json::each(payload, found, |object| one(object, payload))
}

fn one(object: &json::Object, payload: &Payload<'_>) -> Result<Draft, Failure> {
    let data = json::object(object, "data");
    if let Some(essentials) = json::object(object, "data.essentials") {
        return common(essentials, object, payload);
    }
    if let Some(activity) = json::object(object, "data.context.activityLog") {
        let mut draft = activity_log(activity, payload);
        if let Some(properties) = json::object(object, "data.properties") {
            json::tags(&mut draft, properties, &[]);
        }
        return Ok(draft);
    }
    if let Some(data) = data {
        if data.contains_key("AlertRuleName") {
            return Ok(log_search(data, payload));
        }
        if data.contains_key("BudgetName") {
            return Ok(budget(data, payload));
        }
        if data.contains_key("context") {
            return metric(data, payload);
        }
    }
    if object.contains_key("AlertRuleName") {
        return Ok(log_search(object, payload));
    }
    if object.contains_key("context") {
        return metric(object, payload);
    }
    Err(Failure::shape(
        "expected Azure Monitor's common alert schema (`data.essentials`) or one of before it \
         (`data.context`, `context`)",
    ))
}

/// The last part of an ARM id, or another name of a thing, in lower case: the same machine comes as
/// `WEB-1` and in an id as `web-1`.
fn plain(id: &str) -> String {
    let name = id.trim_end_matches('/').rsplit('/').next().filter(|_| id.starts_with('/'));
    name.unwrap_or(id).to_ascii_lowercase()
}

/// Subscription, group and type of an ARM id as tags, unless they are there.
fn place(draft: &mut Draft, id: &str) {
    let mut parts = id.split('/');
    while let Some(part) = parts.next() {
        let name = match part.to_ascii_lowercase().as_str() {
            "subscriptions" => "subscription",
            "resourcegroups" => "resource_group",
            "providers" => {
                if let (Some(provider), Some(kind)) = (parts.next(), parts.next()) {
                    let kind = format!("{provider}/{kind}").to_ascii_lowercase();
                    draft.tag("resource_type", kind.as_str());
                }
                return;
            }
            _ => continue,
        };
        draft.tag(name, parts.next().map(str::to_ascii_lowercase).as_deref());
    }
}

fn severity(word: &str) -> Grade {
    let word = match word.trim() {
        number if number.len() == 1 && number.starts_with(|c: char| c.is_ascii_digit()) => {
            format!("Sev{number}")
        }
        word => word.to_owned(),
    };
    let Grade::Problem { usual, .. } = Grade::word(&word) else { return Grade::word(&word) };
    Grade::problem(word, usual)
}

/// The sorted names and values that split a rule into alerts.
fn dimensions(condition: Option<&json::Object>, outer: &json::Object) -> Vec<(String, String)> {
    let criteria = condition.map_or(&[][..], |condition| json::list(condition, "allOf"));
    let of_criteria = criteria
        .iter()
        .filter_map(Value::as_object)
        .flat_map(|criterion| json::list(criterion, "dimensions").iter());
    let own = json::list(outer, "dimensions").iter().chain(json::list(outer, "Dimensions"));
    let mut pairs: Vec<(String, String)> = of_criteria
        .chain(own)
        .filter_map(Value::as_object)
        .filter_map(|pair| {
            let name = json::first(pair, &["name", "Name"])?;
            let value = json::first(pair, &["value", "Value"])?;
            Some((name.into_owned(), value.into_owned()))
        })
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    pairs
}

/// Rule, targets, dimensions and operation; none where there is no rule.
fn identity(
    rule: Option<&str>,
    targets: &[Cow<'_, str>],
    split: &[(String, String)],
    operation: Option<&str>,
) -> Option<String> {
    let mut targets: Vec<String> = targets.iter().map(|id| id.to_ascii_lowercase()).collect();
    targets.sort_unstable();
    targets.dedup();
    let rule = rule?.to_ascii_lowercase();
    let split = split.iter().map(|(name, value)| format!("{name}={value}"));
    let parts = std::iter::once(rule).chain(targets).chain(split);
    Some(draft::key(parts.chain(operation.map(str::to_owned))))
}

fn common(
    essentials: &json::Object,
    object: &json::Object,
    payload: &Payload<'_>,
) -> Result<Draft, Failure> {
    let condition = json::text(essentials, "monitorCondition").ok_or_else(|| {
        Failure::shape("`data.essentials.monitorCondition` is missing; expected Fired or Resolved")
    })?;
    let service = json::text(essentials, "monitoringService").unwrap_or_default();
    let empty = json::Object::new();
    let context = json::object(object, "data.alertContext").unwrap_or(&empty);
    let is_log = |name: &str| service.replace(' ', "").eq_ignore_ascii_case(name);
    let about_health = is_log("ServiceHealth")
        || is_log("ResourceHealth")
        || is_log("ActivityLog-ServiceHealth")
        || is_log("ActivityLog-ResourceHealth");
    let of_activity_log = json::text(essentials, "signalType")
        .is_some_and(|signal| signal.eq_ignore_ascii_case("activity log"));
    let resolved = !condition.eq_ignore_ascii_case("fired") && {
        condition.eq_ignore_ascii_case("resolved") || condition.eq_ignore_ascii_case("deactivated")
    };
    let over = resolved || (about_health && is_over(context));
    let word = json::text(essentials, "severity");
    let mut draft = Draft::new(if over {
        Grade::Recovered
    } else if of_activity_log {
        // Each of these has Sev4, whatever happened.
        of_activity(context).unwrap_or_else(|| severity(word.as_deref().unwrap_or_default()))
    } else {
        severity(word.as_deref().unwrap_or("no severity"))
    });
    let rule = json::text(essentials, "alertRule");
    let rule_id = json::text(essentials, "alertRuleID")
        .or_else(|| json::text(essentials, "alertRuleId"))
        .or_else(|| rule.clone());
    let targets: Vec<Cow<'_, str>> =
        json::list(essentials, "alertTargetIDs").iter().filter_map(json::scalar).collect();
    let split = dimensions(json::object(context, "condition"), context);
    let tracking = json::text(context, "properties.trackingId");
    let operation = json::text(context, "operationName").filter(|_| !about_health);
    let items = json::list(essentials, "configurationItems").iter().filter_map(json::scalar);
    let computer = split.iter().find(|(name, _)| is_computer(name)).map(|(_, value)| plain(value));
    // Service Health is of a service; its target is the whole subscription.
    let service_of = tracking.as_ref().and_then(|_| json::text(context, "properties.service"));
    draft.host = items
        .map(|item| plain(&item))
        .next()
        .or_else(|| service_of.map(Into::into))
        .or(computer)
        .or_else(|| targets.first().map(|id| plain(id)));
    draft.check = rule.clone().map(Into::into);
    draft.id = json::text(essentials, "alertId").map(Into::into);
    draft.key = match tracking {
        Some(tracking) => Some(draft::key(["service_health", tracking.as_ref()])),
        None => identity(rule_id.as_deref(), &targets, &split, operation.as_deref())
            .or_else(|| draft.id.clone()),
    };
    let fired = essentials.get("firedDateTime");
    let ended = essentials.get("resolvedDateTime").filter(|_| resolved);
    // A further word on something's health has a time of its own.
    let said = context.get("eventTimestamp").filter(|_| of_activity_log);
    draft.at = times::value(ended, payload)
        .or_else(|| times::value(said, payload))
        .or_else(|| times::value(fired, payload));
    if of_activity_log && !over {
        let lives = if about_health { BUDGET } else { STATELESS };
        draft.expires_at = Some(payload.arrival + lives);
    }
    describe_common(&mut draft, essentials, context);
    if let Some(first) = targets.first() {
        place(&mut draft, first);
    }
    draft.tag("monitoring_service", Some(service.as_ref()));
    draft.tag("signal_type", json::text(essentials, "signalType").as_deref());
    let criterion = json::object(context, "condition.allOf.0");
    for name in ["metricName", "metricNamespace"] {
        let value = criterion.and_then(|criterion| json::text(criterion, name));
        draft.tag(snake(name), value.as_deref());
    }
    draft.tag("service", json::text(context, "properties.service").as_deref());
    // Of something's health it says what changed (`…/Activated/action`), and does not hold still.
    draft.tag("operation", operation.as_deref());
    for (name, value) in &split {
        draft.tag(name, value.as_str());
    }
    for properties in ["data.customProperties", "data.alertContext.properties"] {
        // Those of an activity log are its text; those of a rule are what its owner added.
        if let Some(properties) = json::object(object, properties).filter(|_| !of_activity_log) {
            json::tags(&mut draft, properties, &[]);
        }
    }
    draft.link("investigate", json::text(essentials, "investigationLink").as_deref());
    if let Some(criterion) = criterion {
        draft.link(
            "results",
            json::first(criterion, &["linkToSearchResultsUI", "linkToFilteredSearchResultsUI"])
                .as_deref(),
        );
    }
    draft.link("results", json::text(context, "LinkToSearchResults").as_deref());
    Ok(draft)
}

/// How bad an event of an activity log is: the health that it tells of, else its level.
fn of_activity(activity: &json::Object) -> Option<Grade> {
    let Some(health) = json::text(activity, "properties.currentHealthStatus") else {
        return json::text(activity, "level").map(|level| Grade::word(&level));
    };
    let usual = match health.to_ascii_lowercase().as_str() {
        "unavailable" => Status::Critical,
        "degraded" => Status::Warning,
        _ => Status::Unknown,
    };
    Some(Grade::problem(health, usual))
}

fn snake(name: &str) -> &str {
    match name {
        "metricName" => "metric",
        _ => "namespace",
    }
}

fn is_computer(name: &str) -> bool {
    ["computer", "host", "hostname", "_resourceid", "microsoft.resourceid", "resourceid"]
        .iter()
        .any(|other| name.eq_ignore_ascii_case(other))
}

/// Whether Resource Health or Service Health says that it is over.
fn is_over(context: &json::Object) -> bool {
    let said = |path: &str, words: &[&str]| {
        json::text(context, path)
            .is_some_and(|word| words.iter().any(|other| word.eq_ignore_ascii_case(other)))
    };
    said("status", &["Resolved"])
        || said("properties.stage", &["Resolved", "Complete", "Canceled", "RCA"])
        || said("properties.currentHealthStatus", &["Available"])
}

fn describe_common(draft: &mut Draft, essentials: &json::Object, context: &json::Object) {
    let mut parts: Vec<String> = Vec::new();
    let text = [
        json::text(essentials, "description"),
        json::text(context, "properties.title"),
        json::text(context, "properties.communication"),
        json::text(context, "properties.cause"),
        json::text(context, "description"),
    ];
    parts.extend(text.into_iter().flatten().map(Cow::into_owned));
    parts.dedup();
    if let Some(health) = json::text(context, "properties.currentHealthStatus") {
        parts.push(format!("now {health}"));
    }
    if let Some(criterion) = json::object(context, "condition.allOf.0") {
        parts.push(measured(criterion));
    }
    parts.retain(|part| !part.is_empty());
    if let Some(text) = parts.first() {
        draft.link_within("runbook", text);
    }
    draft.description = parts.join("\n");
}

/// `Percentage CPU 97.5 (Average GreaterThan 80)`.
fn measured(criterion: &json::Object) -> String {
    let text = |name: &str| json::text(criterion, name).unwrap_or_default();
    let name = json::first(criterion, &["metricName", "metricMeasureColumn"]).unwrap_or_default();
    let limit = [text("timeAggregation"), text("operator"), text("threshold")];
    let limit: Vec<&str> =
        limit.iter().map(AsRef::as_ref).filter(|part| !part.is_empty()).collect();
    let mut words = vec![name.into_owned(), text("metricValue").into_owned()];
    if !limit.is_empty() {
        words.push(format!("({})", limit.join(" ")));
    }
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

/// Metric alerts of before the common schema: `data` of `AzureMonitorMetricAlert`, or all of a classic
/// one.
fn metric(data: &json::Object, payload: &Payload<'_>) -> Result<Draft, Failure> {
    let context = json::object(data, "context")
        .ok_or_else(|| Failure::shape("`context` of the metric alert is not an object"))?;
    let status = json::text(data, "status").ok_or_else(|| {
        Failure::shape("`status` of the metric alert is missing; expected Activated or Deactivated")
    })?;
    let grade = match status.to_ascii_lowercase().as_str() {
        "deactivated" | "resolved" => Grade::Recovered,
        // A classic alert has no severity.
        _ => json::text(context, "severity").map_or_else(
            || Grade::problem(status.as_ref(), Status::Warning),
            |word| severity(&word),
        ),
    };
    let mut draft = Draft::new(grade);
    let condition = json::object(context, "condition");
    let split = dimensions(condition, context);
    let name = json::text(context, "name");
    let target = json::text(context, "resourceId");
    let rule = json::text(context, "id").or_else(|| name.clone());
    let targets: Vec<Cow<'_, str>> = target.iter().cloned().collect();
    draft.key = identity(rule.as_deref(), &targets, &split, None);
    draft.check = name.map(Into::into);
    draft.host = target
        .as_deref()
        .map(plain)
        .or_else(|| json::text(context, "resourceName").map(|name| plain(&name)));
    draft.at = times::value(context.get("timestamp"), payload);
    let mut parts = vec![json::text(context, "description").unwrap_or_default().into_owned()];
    let criterion =
        condition.map(|condition| json::object(condition, "allOf.0").unwrap_or(condition));
    parts.extend(criterion.map(measured));
    parts.retain(|part| !part.is_empty());
    draft.description = parts.join("\n");
    if let Some(target) = &target {
        place(&mut draft, target);
    }
    draft.tag("region", json::text(context, "resourceRegion").as_deref());
    draft.tag(
        "metric",
        criterion.and_then(|criterion| json::text(criterion, "metricName")).as_deref(),
    );
    for (name, value) in &split {
        draft.tag(name, value.as_str());
    }
    if let Some(properties) = json::object(data, "properties") {
        json::tags(&mut draft, properties, &[]);
    }
    draft.link("portal", json::text(context, "portalLink").as_deref());
    Ok(draft)
}

/// Log search alerts of before the common schema: they never resolve.
fn log_search(data: &json::Object, payload: &Payload<'_>) -> Draft {
    let word = json::text(data, "Severity");
    let mut draft = Draft::new(severity(word.as_deref().unwrap_or("no severity")));
    let rule = json::text(data, "AlertRuleName");
    let split = dimensions(None, data);
    let scope = json::first(data, &["WorkspaceId", "ApplicationId"]);
    let targets: Vec<Cow<'_, str>> = scope.clone().into_iter().collect();
    draft.key = identity(rule.as_deref(), &targets, &split, None);
    let items = json::list(data, "AffectedConfigurationItems").iter().filter_map(json::scalar);
    let computer = split.iter().find(|(name, _)| is_computer(name)).map(|(_, value)| plain(value));
    draft.host =
        items.map(|item| plain(&item)).next().or(computer).or_else(|| rule.clone().map(Into::into));
    draft.check = rule.map(Into::into);
    draft.at = json::first(data, &["SearchIntervalEndtimeUtc", "SearchIntervalEndTimeUtc"])
        // Its name says where it is meant, whatever the source's zone.
        .and_then(|text| {
            times::text(&text, &Payload { zone: &jiff::tz::TimeZone::UTC, ..*payload })
        });
    draft.expires_at = Some(payload.arrival + STATELESS);
    let text = json::text(data, "Description").unwrap_or_default();
    let count = json::text(data, "ResultCount");
    draft.link_within("runbook", &text);
    draft.description = match count {
        Some(count) => format!("{text}\n{count} results").trim_start().to_owned(),
        None => text.into_owned(),
    };
    draft.tag("subscription", json::text(data, "SubscriptionId").as_deref());
    draft.tag("workspace", scope.as_deref());
    draft.tag("monitoring_service", "Log Analytics");
    for (name, value) in &split {
        draft.tag(name, value.as_str());
    }
    draft.link(
        "results",
        json::first(data, &["LinkToSearchResults", "LinkToFilteredSearchResultsUI"]).as_deref(),
    );
    draft
}

/// An activity log alert of before the common schema.
fn activity_log(activity: &json::Object, payload: &Payload<'_>) -> Draft {
    let source = json::text(activity, "eventSource").unwrap_or_default();
    let about_health = ["servicehealth", "resourcehealth"]
        .contains(&source.replace(' ', "").to_ascii_lowercase().as_str());
    let over = about_health && is_over(activity);
    let level = json::text(activity, "level").unwrap_or_default();
    let mut draft = Draft::new(if over {
        Grade::Recovered
    } else {
        of_activity(activity).unwrap_or_else(|| Grade::word(&level))
    });
    let target = json::first(activity, &["resourceId", "subscriptionId"]).unwrap_or_default();
    let operation = json::text(activity, "operationName");
    draft.key = Some(match json::text(activity, "properties.trackingId") {
        Some(tracking) => draft::key(["service_health", tracking.as_ref()]),
        None if about_health => draft::key([source.as_ref(), &target.to_ascii_lowercase()]),
        None => draft::key([
            source.as_ref(),
            &target.to_ascii_lowercase(),
            operation.as_deref().unwrap_or_default(),
        ]),
    });
    let service_of = json::text(activity, "properties.trackingId")
        .and_then(|_| json::text(activity, "properties.service"));
    draft.host =
        service_of.map(Into::into).or_else(|| Some(plain(&target)).filter(|host| !host.is_empty()));
    draft.check = operation.or_else(|| json::text(activity, "eventSource")).map(Into::into);
    draft.at = times::value(activity.get("eventTimestamp"), payload);
    draft.id = json::text(activity, "eventDataId").map(Into::into);
    if !over {
        let lives = if about_health { BUDGET } else { STATELESS };
        draft.expires_at = Some(payload.arrival + lives);
    }
    describe_common(&mut draft, &json::Object::new(), activity);
    if draft.description.is_empty() {
        let status = json::text(activity, "status");
        draft.description = status.map(Into::into).unwrap_or_default();
    }
    place(&mut draft, &target);
    draft.tag("subscription", json::text(activity, "subscriptionId").as_deref());
    draft.tag("monitoring_service", Some(source.as_ref()));
    draft.tag("service", json::text(activity, "properties.service").as_deref());
    draft.tag("region", json::text(activity, "properties.region").as_deref());
    draft.tag("caller", json::text(activity, "caller").as_deref());
    draft
}

fn budget(data: &json::Object, payload: &Payload<'_>) -> Draft {
    let text = |name: &str| json::text(data, name).unwrap_or_default();
    let mut draft = Draft::new(Grade::problem("budget", Status::Warning));
    draft.key = Some(draft::key(["budget".into(), text("SubscriptionId"), text("BudgetName")]));
    draft.host = json::first(data, &["SubscriptionName", "SubscriptionId"]).map(Into::into);
    draft.check = Some(format!("budget {}", text("BudgetName")));
    draft.expires_at = Some(payload.arrival + BUDGET);
    draft.description = format!(
        "spent {} of {} {} (notice at {})",
        text("SpendingAmount"),
        text("Budget"),
        text("Unit"),
        text("NotificationThresholdAmount")
    );
    draft.tag("subscription", json::text(data, "SubscriptionId").as_deref());
    draft.tag("resource_group", json::text(data, "ResourceGroup").as_deref());
    draft
}
