//! What `amtool` and other clients of Alertmanager ask beside sending: which alerts there are, and
//! silences.
//!
//! The alerts are those of the board's open incidents, with `source`, `host`, `check` and `status` as
//! labels beside their tags, so that whatever is shown can also be matched. Silences are Muster's own,
//! under their own ids. One that would mute more alerts than `notify.silences.confirm_above` is refused:
//! there is no way to confirm it here.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query as UrlQuery, Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::failure::Failure;
use super::super::incidents::loaded;
use super::super::silences::{apart, desk};
use super::super::{Parts, body, silences as ours};
use super::alertmanager::{RECEIVER, error_v2};
use super::{made_up, rfc3339};
use crate::board::desk::{Draft, Ends, Refusal};
use crate::board::{Desk, Query, Shown, Wanted};
use crate::model::matcher::{Labels, Values};
use crate::model::silence::SilenceState;
use crate::model::{Matcher, Matchers, Member, Silence, SilenceId, Span, Timestamp};

/// How many alerts an answer shows; Alertmanager's API knows no pages.
const ALERTS_MAX: usize = 10_000;
/// How many incidents are looked at between two looks at the board's index.
const PAGE: usize = 1_000;
/// How many filters a question may have; each is held against every alert.
const FILTERS_MAX: usize = 50;
/// While an alert fires its end is said to lie so far ahead, as with Alertmanager's `resolve_timeout`.
const AHEAD: Span = Span::from_secs(300);
/// Says how many alerts did not fit into an answer.
const LEFT_OUT: &str = "muster-left-out";

type Pairs = Result<UrlQuery<Vec<(String, String)>>, QueryRejection>;
type Id = Result<Path<String>, PathRejection>;

/// Answers `GET /api/v2/alerts`.
pub(super) async fn alerts(State(parts): State<Arc<Parts>>, pairs: Pairs) -> Response {
    listed(&parts, pairs, |groups| {
        let alerts: Vec<Value> = groups.into_iter().flat_map(|(_, alerts)| alerts).collect();
        alerts.into()
    })
    .await
}

/// Answers `GET /api/v2/alerts/groups`: an incident is a group.
pub(super) async fn groups(State(parts): State<Arc<Parts>>, pairs: Pairs) -> Response {
    listed(&parts, pairs, |groups| {
        let groups = groups.into_iter().map(|(labels, alerts)| {
            json!({"labels": labels, "receiver": {"name": RECEIVER}, "alerts": alerts})
        });
        groups.collect()
    })
    .await
}

type Groups = Vec<(Map<String, Value>, Vec<Value>)>;

async fn listed(
    parts: &Parts,
    pairs: Pairs,
    shape: impl FnOnce(Groups) -> Value + Send + 'static,
) -> Response {
    let outcome = async {
        let asked = Asked::of(pairs)?;
        let board = loaded(parts)?;
        let (desk, now) = (parts.desk.clone(), parts.clock.now());
        // A regular expression held against every alert takes milliseconds: not on a thread that
        // others wait for.
        apart(move || {
            let mut found = Found::default();
            let mut query = Query { wanted: Wanted::Open, limit: PAGE, ..Query::default() };
            loop {
                let page = board.list(&query);
                for shown in &page.incidents {
                    found.take(shown, &asked, desk.as_deref(), now);
                }
                match page.next {
                    Some(next) => query.after = Some(next),
                    None => return (shape(found.groups), found.left_out),
                }
            }
        })
        .await
    };
    match outcome.await {
        Err(failure) => error_v2(failure),
        Ok((value, left_out)) => {
            let mut response = Json(value).into_response();
            if left_out > 0 {
                parts.metrics.board_dropped.with_label_values(&["listed"]).inc_by(left_out);
                response.headers_mut().insert(LEFT_OUT, HeaderValue::from(left_out));
            }
            response
        }
    }
}

#[derive(Default)]
struct Found {
    groups: Groups,
    count: usize,
    left_out: u64,
}

impl Found {
    fn take(&mut self, shown: &Shown, asked: &Asked, desk: Option<&Desk>, now: Timestamp) {
        let mut alerts = Vec::new();
        for alert in shown.alerts().filter(|alert| alert.firing) {
            if !asked.matchers.matches(alert) {
                continue;
            }
            let muted = desk.and_then(|desk| desk.mutes().alert(now, alert)).unwrap_or_default();
            let is_muted = !(muted.by.is_empty() && muted.inhibited_by.is_empty());
            let wanted = (asked.active || is_muted)
                && (asked.silenced || muted.by.is_empty())
                && (asked.inhibited || muted.inhibited_by.is_empty());
            if !wanted {
                continue;
            }
            if self.count == ALERTS_MAX {
                self.left_out += 1;
                continue;
            }
            self.count += 1;
            let status = json!({
                "state": if is_muted { "suppressed" } else { "active" },
                "silencedBy": muted.by.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "inhibitedBy": muted.inhibited_by.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "mutedBy": [],
            });
            alerts.push(gettable(alert, status, now));
        }
        if !alerts.is_empty() {
            let change = &shown.change;
            let mut labels = labels(change.tags.iter());
            labels.insert("incident".to_owned(), change.id.to_string().into());
            self.groups.push((labels, alerts));
        }
    }
}

fn gettable(alert: &Member, status: Value, now: Timestamp) -> Value {
    let mut all = labels(alert.tags.iter());
    let own = [
        ("source", &*alert.source),
        ("host", &alert.host),
        ("check", &alert.check),
        ("status", alert.status.as_str()),
    ];
    for (name, value) in own.into_iter().filter(|(_, value)| !value.is_empty()) {
        all.insert(name.to_owned(), value.into());
    }
    let mut annotations = Map::new();
    if !alert.description.is_empty() {
        annotations.insert("description".to_owned(), (*alert.description).into());
        let summary = alert.description.lines().next().unwrap_or_default();
        annotations.insert("summary".to_owned(), summary.into());
    }
    for (name, url) in &alert.links {
        annotations.insert(name.to_string(), (**url).into());
    }
    json!({
        "labels": all,
        "annotations": annotations,
        "status": status,
        "receivers": [{"name": RECEIVER}],
        "fingerprint": format!("{:016x}", alert.id.spread()),
        "startsAt": rfc3339(alert.started_at),
        "updatedAt": rfc3339(alert.changed_at),
        "endsAt": rfc3339(now + AHEAD),
        "generatorURL": alert.links.get("source").map_or("", |url| &**url),
    })
}

/// Tags as labels, which have one value: of a list all of them.
fn labels<'a>(
    tags: impl Iterator<Item = (&'a str, &'a crate::model::TagValue)>,
) -> Map<String, Value> {
    let joined = |value: &crate::model::TagValue| value.values().collect::<Vec<_>>().join(",");
    tags.map(|(name, value)| (name.to_owned(), joined(value).into())).collect()
}

/// Which alerts are asked for.
struct Asked {
    matchers: Matchers,
    active: bool,
    silenced: bool,
    inhibited: bool,
}

impl Asked {
    fn of(pairs: Pairs) -> Result<Self, Failure> {
        let bad = |message: String| Failure::bad_request("bad_query", message);
        let UrlQuery(pairs) = pairs.map_err(|error| bad(error.body_text()))?;
        let mut asked =
            Self { matchers: filters(&pairs)?, active: true, silenced: true, inhibited: true };
        for (name, value) in &pairs {
            let flag = match name.as_str() {
                "active" => &mut asked.active,
                "silenced" => &mut asked.silenced,
                "inhibited" => &mut asked.inhibited,
                // There is one receiver, and nothing waits to be processed.
                _ => continue,
            };
            *flag = value.parse().map_err(|_| bad(format!("`{name}` is true or false")))?;
        }
        Ok(asked)
    }
}

fn filters(pairs: &[(String, String)]) -> Result<Matchers, Failure> {
    let texts = pairs.iter().filter(|(name, _)| name == "filter");
    let matchers = Matchers::parse(texts.map(|(_, text)| text.as_str()))
        .map_err(|error| Failure::bad_request("bad_matcher", error.to_string()))?;
    if matchers.iter().count() > FILTERS_MAX {
        let message = format!("more than {FILTERS_MAX} filters in one question");
        return Err(Failure::bad_request("bad_matcher", message));
    }
    Ok(matchers)
}

/// Answers `GET /api/v2/silences`.
pub(super) async fn silences(State(parts): State<Arc<Parts>>, pairs: Pairs) -> Response {
    let listed = || {
        let UrlQuery(pairs) =
            pairs.map_err(|error| Failure::bad_request("bad_query", error.body_text()))?;
        let matchers = filters(&pairs)?;
        let now = parts.clock.now();
        let mut all = desk(&parts)?.silences().all();
        all.retain(|silence| matchers.matches(&Asks::of(silence)));
        // As Alertmanager has them: what mutes first, and of those what ends first.
        all.sort_by_key(|silence| {
            let place = match silence.state(now) {
                SilenceState::Active => 0,
                SilenceState::Pending => 1,
                SilenceState::Expired => 2,
            };
            (place, silence.ends_at, silence.id)
        });
        let all: Vec<Value> = all.iter().map(|silence| shown(silence, now)).collect();
        Ok(Json(all).into_response())
    };
    listed().unwrap_or_else(error_v2)
}

/// Answers `GET /api/v2/silence/{id}`.
pub(super) async fn silence(State(parts): State<Arc<Parts>>, id: Id) -> Response {
    let found = || {
        let id = named(id)?;
        let found = desk(&parts)?.silences().get(id);
        let silence = found.ok_or_else(|| ours::failure(&Refusal::Unknown(id)))?;
        Ok(Json(shown(&silence, parts.clock.now())).into_response())
    };
    found().unwrap_or_else(error_v2)
}

/// Answers `DELETE /api/v2/silence/{id}`: ends it now.
pub(super) async fn expire(State(parts): State<Arc<Parts>>, id: Id) -> Response {
    let done = async {
        let (id, desk) = (named(id)?, desk(&parts)?);
        let over = apart(move || desk.expire(id, "alertmanager-api", &request_id())).await?;
        over.map(|_| StatusCode::OK.into_response()).map_err(|refusal| ours::failure(&refusal))
    };
    done.await.unwrap_or_else(error_v2)
}

/// A silence as Alertmanager's clients want it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Postable {
    id: Option<String>,
    matchers: Vec<PostableMatcher>,
    starts_at: Option<String>,
    ends_at: String,
    created_by: String,
    comment: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostableMatcher {
    name: String,
    value: String,
    #[serde(default)]
    is_regex: bool,
    /// Not there in older versions: then it is.
    is_equal: Option<bool>,
}

/// Answers `POST /api/v2/silences`: makes one, or edits the one that `id` names.
pub(super) async fn submit(State(parts): State<Arc<Parts>>, request: Request) -> Response {
    let done = async {
        let wanted: Postable = body::json(&parts, request.into_body(), 2).await?;
        let desk = desk(&parts)?;
        let now = parts.clock.now();
        let edit = wanted.id.filter(|id| !id.is_empty()).map(|id| named(Ok(Path(id)))).transpose();
        let starts = wanted.starts_at.as_deref().map(time).transpose()?;
        let draft = Draft {
            actor: wanted.created_by.into(),
            request: request_id().into(),
            edit: edit?,
            matchers: Some(matchers(&wanted.matchers)?),
            // What began before now begins now; of one that is edited it stays as it is.
            starts_at: starts.filter(|at| *at > now),
            ends: Some(Ends::At(time(&wanted.ends_at)?)),
            comment: wanted.comment.map(Into::into),
            confirm: None,
        };
        match apart(move || desk.submit(&draft)).await? {
            Ok(silence) => Ok(Json(json!({"silenceID": silence.id.to_string()})).into_response()),
            Err(Refusal::Confirm(count)) => {
                let message = format!(
                    "it would mute {count} alerts now; if that is meant, make it with `muster \
                     silences`, where it can be confirmed"
                );
                Err(Failure::bad_request("confirm", message))
            }
            Err(refusal) => Err(ours::failure(&refusal)),
        }
    };
    done.await.unwrap_or_else(error_v2)
}

/// An id of ours; any other text names no silence.
fn named(id: Id) -> Result<SilenceId, Failure> {
    let none = |message: String| Failure::new(StatusCode::NOT_FOUND, "no_such_silence", message);
    let Path(text) = id.map_err(|error| none(error.body_text()))?;
    SilenceId::parse(&text).map_err(|error| none(error.to_string()))
}

fn request_id() -> String {
    format!("alertmanager-{:032x}", made_up())
}

fn time(text: &str) -> Result<Timestamp, Failure> {
    let time: Result<jiff::Timestamp, _> = text.parse();
    time.map(|time| Timestamp::from_millis(time.as_millisecond())).map_err(|_| {
        let text: String = text.chars().take(40).collect();
        Failure::bad_request("bad_silence", format!("`{text}` is no time of RFC 3339"))
    })
}

fn matchers(all: &[PostableMatcher]) -> Result<Matchers, Failure> {
    let texts: Vec<String> = all
        .iter()
        .map(|one| {
            let operator = match (one.is_equal.unwrap_or(true), one.is_regex) {
                (true, false) => "=",
                (false, false) => "!=",
                (true, true) => "=~",
                (false, true) => "!~",
            };
            format!("{}{operator}{}", quoted(&one.name), quoted(&one.value))
        })
        .collect();
    Matchers::parse(texts.iter().map(String::as_str))
        .map_err(|error| Failure::bad_request("bad_matcher", error.to_string()))
}

fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

/// What a silence asks for, so that filters can be held against it as Alertmanager does.
struct Asks<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Asks<'a> {
    fn of(silence: &'a Silence) -> Self {
        Self(silence.matchers.iter().map(|one| (one.name(), one.value())).collect())
    }
}

impl Labels for Asks<'_> {
    fn values(&self, name: &str) -> Values<'_> {
        self.0.get(name).map_or(Values::None, |value| Values::one(value))
    }
}

fn shown(silence: &Silence, now: Timestamp) -> Value {
    let matcher = |one: &Matcher| {
        json!({
            "name": one.name(), "value": one.value(), "isRegex": one.is_regex(),
            "isEqual": one.is_equal(),
        })
    };
    json!({
        "id": silence.id.to_string(),
        "status": {"state": silence.state(now).as_str()},
        "matchers": silence.matchers.iter().map(matcher).collect::<Vec<_>>(),
        "startsAt": rfc3339(silence.starts_at),
        "endsAt": rfc3339(silence.ends_at),
        "updatedAt": rfc3339(silence.updated_at),
        "createdBy": silence.created_by,
        "comment": silence.comment,
    })
}
