//! Maintenance plans as JSON: what people send, what settings and rows hold. Version 1 of each row.
//!
//! One set of keys everywhere, the config's: whoever can write a plan there can send one.

use serde::{Deserialize, Serialize};

use super::common::{by_way_of, unknown, unread};
use super::{WireError, to_vec};
use crate::model::maintenance::{Maintained, Plan, PlanProblem, PlanText};
use crate::model::{AlertId, MaintenanceId, Schedule, Timestamp};

const VERSION: u8 = 1;

/// The key of the row that says how far a sweep over the alerts is.
pub const SWEEP_KEY: &[u8] = b"m";

/// A plan that somebody asked for, as its row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPlan {
    /// The plan.
    pub plan: Plan,
    /// By log time, when somebody ended it.
    pub ended_at: Option<Timestamp>,
}

/// How far the alerts were held against the plans since these, or the time, changed. It goes on with
/// each record: from `next` to the last alert, or to `until`; then, where there is an `again`, from
/// the first one to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sweep {
    /// By log time, since when it is due.
    pub since: Timestamp,
    /// The first alert that was not looked at.
    pub next: AlertId,
    /// Where it ends; none: with the last alert.
    pub until: Option<AlertId>,
    /// Up to where it goes on from the first alert.
    pub again: Option<AlertId>,
}

/// A plan and whose it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WirePlan {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<MaintenanceId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, rename = "match", skip_serializing_if = "Texts::is_empty")]
    matchers: Texts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    every: Option<String>,
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    on: Texts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    lasts: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time_zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
}

/// Texts: a list, or one alone.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
struct Texts(Vec<String>);

impl Texts {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            One(String),
            Number(u8),
            Many(Vec<String>),
        }
        let form = Form::deserialize(deserializer).map_err(|_| {
            serde::de::Error::custom("`match` and `on` are a text, or a list of texts")
        })?;
        Ok(Self(match form {
            Form::One(text) => vec![text],
            Form::Number(number) => vec![number.to_string()],
            Form::Many(texts) => texts,
        }))
    }
}

impl From<&Plan> for WirePlan {
    fn from(plan: &Plan) -> Self {
        let actor = Some(plan.actor.to_string());
        Self { id: Some(plan.id), actor, ..PlanText::from(plan).into() }
    }
}

impl From<PlanText> for WirePlan {
    fn from(text: PlanText) -> Self {
        Self {
            id: None,
            name: text.name,
            matchers: Texts(text.matchers),
            comment: text.comment,
            from: text.from,
            to: text.to,
            until: text.until,
            every: text.every,
            on: Texts(text.on),
            at: text.at,
            lasts: text.lasts,
            time_zone: text.time_zone,
            actor: None,
        }
    }
}

impl WirePlan {
    fn text(self) -> PlanText {
        PlanText {
            name: self.name,
            matchers: self.matchers.0,
            comment: self.comment,
            from: self.from,
            to: self.to,
            until: self.until,
            every: self.every,
            on: self.on.0,
            at: self.at,
            lasts: self.lasts,
            time_zone: self.time_zone,
        }
    }

    /// When, where nothing else is said.
    pub(super) fn schedule(self) -> Result<Schedule, WireError> {
        self.text().read_schedule().map_err(|problems| WireError(said(&problems)))
    }

    /// The plan that was written so.
    pub(super) fn plan(self) -> Result<Plan, WireError> {
        let id = self.id.ok_or_else(|| WireError("a stored plan has no id".to_owned()))?;
        let actor = self.actor.clone().unwrap_or_default();
        self.text().read(id, &actor).map_err(|problems| WireError(said(&problems)))
    }
}

fn said(problems: &[PlanProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A plan that somebody sends: with an `id` it is an edit. Without one it gets `id`; the actor is who
/// sends it, whatever is written in it.
///
/// # Errors
/// Everything that is wrong with it: key, value, rule.
pub fn read(json: &str, id: MaintenanceId, actor: &str) -> Result<Plan, WireError> {
    let wire: WirePlan = serde_json::from_str(json)?;
    let id = wire.id.unwrap_or(id);
    wire.text().read(id, actor).map_err(|problems| WireError(said(&problems)))
}

/// A plan as [`to_json`] writes it.
///
/// # Errors
/// When it is none.
pub fn read_stored(json: &str) -> Result<Plan, WireError> {
    serde_json::from_str::<WirePlan>(json)?.plan()
}

/// What somebody sends as JSON; with an `id` it is an edit.
#[must_use]
pub fn text_to_json(text: &PlanText, id: Option<MaintenanceId>) -> serde_json::Value {
    let wire = WirePlan { id, ..text.clone().into() };
    serde_json::to_value(wire).expect("a plan has only text keys")
}

/// A plan as JSON.
#[must_use]
pub fn to_json(plan: &Plan) -> serde_json::Value {
    serde_json::to_value(WirePlan::from(plan)).expect("a plan has only text keys")
}

by_way_of!(Maintained, WireMaintained);

#[derive(Serialize, Deserialize)]
struct WireMaintained {
    plan: MaintenanceId,
    name: Box<str>,
    ended_at: Option<Timestamp>,
}

impl From<&Maintained> for WireMaintained {
    fn from(Maintained { plan, name, ended_at }: &Maintained) -> Self {
        Self { plan: *plan, name: name.clone(), ended_at: *ended_at }
    }
}

impl From<WireMaintained> for Maintained {
    fn from(WireMaintained { plan, name, ended_at }: WireMaintained) -> Self {
        Self { plan, name, ended_at }
    }
}

#[derive(Serialize, Deserialize)]
struct WireRow {
    v: u8,
    plan: WirePlan,
    ended_at: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct WireSweep {
    v: u8,
    since: Timestamp,
    next: AlertId,
    until: Option<AlertId>,
    again: Option<AlertId>,
}

/// The key of a plan's row.
#[must_use]
pub fn plan_key(id: MaintenanceId) -> Vec<u8> {
    format!("m/{id}").into_bytes()
}

/// The bytes of a plan's row.
#[must_use]
pub fn encode_plan(stored: &StoredPlan) -> Vec<u8> {
    let plan = WirePlan::from(&stored.plan);
    to_vec(&WireRow { v: VERSION, plan, ended_at: stored.ended_at }, 512)
}

/// A plan's row from its bytes.
///
/// # Errors
/// When the version is not known, or the bytes are not as the row has them.
pub fn decode_plan(bytes: &[u8]) -> Result<StoredPlan, WireError> {
    let unread = |error| unread(bytes, VERSION, "a maintenance row", error);
    let wire: WireRow = serde_json::from_slice(bytes).map_err(unread)?;
    if wire.v != VERSION {
        return Err(unknown(wire.v.into(), VERSION, "a maintenance row"));
    }
    Ok(StoredPlan { plan: wire.plan.plan()?, ended_at: wire.ended_at })
}

/// The bytes of a sweep's row.
#[must_use]
pub fn encode_sweep(Sweep { since, next, until, again }: Sweep) -> Vec<u8> {
    to_vec(&WireSweep { v: VERSION, since, next, until, again }, 192)
}

/// A sweep's row from its bytes.
///
/// # Errors
/// When the version is not known, or the bytes are not as the row has them.
pub fn decode_sweep(bytes: &[u8]) -> Result<Sweep, WireError> {
    let unread = |error| unread(bytes, VERSION, "a sweep", error);
    let wire: WireSweep = serde_json::from_slice(bytes).map_err(unread)?;
    match wire {
        WireSweep { v: VERSION, since, next, until, again } => {
            Ok(Sweep { since, next, until, again })
        }
        WireSweep { v, .. } => Err(unknown(v.into(), VERSION, "a sweep")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &[u8] = include_bytes!("../../tests/fixtures/wire/maintenance.v1.json");
    const SWEEP: &[u8] = include_bytes!("../../tests/fixtures/wire/sweep.v1.json");

    #[test]
    fn stored_rows_are_read_and_written_as_they_were() {
        let plan = decode_plan(PLAN.trim_ascii()).expect("version 1");
        assert_eq!(encode_plan(&plan), PLAN.trim_ascii());
        assert_eq!((&*plan.plan.name, &*plan.plan.actor), ("backup", "anna"));
        let sweep = decode_sweep(SWEEP.trim_ascii()).expect("version 1");
        assert_eq!(encode_sweep(sweep), SWEEP.trim_ascii());
    }

    #[test]
    fn an_unknown_version_is_refused_by_name() {
        let other = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes).replacen("\"v\":1", "\"v\":9", 1).into_bytes()
        };
        let error = decode_plan(&other(PLAN)).expect_err("version 9").to_string();
        assert!(error.contains("version 9 of a maintenance row"), "{error}");
        let error = decode_sweep(&other(SWEEP)).expect_err("version 9").to_string();
        assert!(error.contains("version 9 of a sweep"), "{error}");
    }

    #[test]
    fn what_people_send_is_read_or_refused_with_the_key() {
        let id = MaintenanceId::of("request");
        let json = r#"{"name":"backup","match":"env=prod","every":"month","on":31,"at":"02:00",
            "for":"2h","time_zone":"UTC"}"#;
        let plan = read(json, id, "anna").expect("a plan");
        assert_eq!((plan.id, &*plan.actor), (id, "anna"));
        let other = MaintenanceId::of("other");
        let edit = json.replacen('{', &format!("{{\"id\":\"{other}\","), 1);
        assert_eq!(read(&edit, id, "anna").expect("an edit").id, other);
        for (json, says) in [
            (r#"{"name":"a","every":"day","match":"x=y","att":"1"}"#, "unknown field `att`"),
            (r#"{"name":"a","every":"day","match":7.5}"#, "a text, or a list of texts"),
            (r#"{"id":"inc_0sqp3w7k00123456789abc","name":"a"}"#, "is the id of an incident"),
            (r#"{"name":"a","match":"x=y","from":"now","to":"later"}"#, "`from`: `now` is no time"),
        ] {
            let error = read(json, id, "anna").expect_err(json).to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
