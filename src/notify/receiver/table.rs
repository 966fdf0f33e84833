//! For the tests of receivers: the changes of an incident's life, the exact requests that come of them
//! kept as text, and text that would do harm were it not taken as data.

use std::fmt::Write as _;
use std::path::Path;

use reqwest::StatusCode;
use serde_json::Value;

use super::dialog::{Answer, Ask, Body, Context, Dialog, Step};
use crate::model::command::{Audience, Comment};
use crate::model::event::Links;
use crate::model::incident::Acknowledged;
use crate::model::{Change, ChangeKind, Status, TagValue, Tags};
use crate::notify::{Delivery, DeliveryId, Outcome, Secret, SecretSource, sample};

/// An incident's life, notice by notice.
pub(crate) fn life() -> Vec<(&'static str, Change)> {
    use ChangeKind as Kind;
    let at = |revision, secs, kinds: &[Kind]| {
        let mut change = sample::change(1, revision, kinds);
        change.at = sample::at(secs);
        let runbook = ("Runbook".into(), "https://wiki.example/disk?a=1&b=2".into());
        change.alerts[0].links.extend(Links::from([runbook]));
        change
    };
    let acknowledged =
        Acknowledged { by: "ann".into(), at: sample::at(400), until: Some(sample::at(9_000)) };
    let mut life = vec![("opened", at(1, 0, &[Kind::Opened]))];
    life[0].1.status = Status::Warning;
    life[0].1.severity = Status::Warning;
    life[0].1.alerts[0].status = Status::Warning;
    let mut grew = at(3, 120, &[Kind::Grew]);
    grew.alerts.extend((2..15).map(sample::member));
    (grew.counts.firing, grew.counts.total, grew.counts.hosts) = (14, 14, 14);
    life.push(("grew", grew));
    life.push(("worsened", at(4, 300, &[Kind::Worsened])));
    let mut taken = at(5, 400, &[Kind::Acknowledged]);
    (taken.acknowledged, taken.actor) = (Some(acknowledged), Some("ann".into()));
    life.push(("acknowledged", taken));
    life.push(("unacknowledged", at(6, 500, &[Kind::Unacknowledged])));
    let mut remark = at(7, 600, &[Kind::Commented]);
    let text = "Disk is being grown".into();
    remark.comment = Some(Comment { text, audience: Audience::Public });
    remark.actor = Some("ben".into());
    life.push(("commented", remark));
    let mut over = at(8, 700, &[Kind::Resolved]);
    over.resolved = over.resolved.map(|(_, why)| (sample::at(700), why));
    over.alerts[0].firing = false;
    life.push(("resolved", over));
    life.push(("reopened", at(9, 900, &[Kind::Reopened])));
    life
}

/// An incident whose every text tries something.
pub(crate) fn hostile() -> Change {
    let bad = "<!channel> <@U1> @everyone @here <b onload=x>\"'&amp; `rm` ```c``` *b* _i_ ~s~ \
               [x](javascript:y) {{z}} %s\r\nBcc: a@b\r\n.\r\n\u{1b}[31m\u{202e}\u{0}";
    let mut change = sample::change(1, 1, &[ChangeKind::Opened]);
    change.title = format!("{bad}{}", bad.repeat(20));
    change.alerts = (0..30).map(sample::member).collect();
    for alert in &mut change.alerts {
        alert.host = bad.into();
        alert.check = bad.into();
        alert.description = bad.repeat(10).into();
        let long = |n: u32| {
            (format!("{n}{bad}").into(), format!("https://x/{n}{}", "y".repeat(2_000)).into())
        };
        alert.links = (0..12).map(long).collect::<Vec<_>>().into_iter().collect();
        alert.links.extend(Links::from([("quote".into(), "https://x/\"><script>".into())]));
    }
    change.counts.total = 30;
    change.assignee = Some(bad.into());
    change.actor = Some(bad.into());
    change.comment = Some(Comment { text: bad.repeat(10).into(), audience: Audience::Public });
    change.tags = Tags::from_iter([("cluster", TagValue::one(bad))]);
    if let Some(pair) = &mut change.pair {
        pair.by = vec![("cluster".into(), bad.into())];
    }
    change
}

pub(crate) fn secret(text: &str) -> SecretSource {
    SecretSource::Inline(Secret::new(text))
}

pub(crate) fn answer(status: u16, body: &str) -> Answer {
    let status = StatusCode::from_u16(status).expect("a status");
    Answer { status, after: None, body: body.as_bytes().to_vec() }
}

pub(crate) fn delivery(change: &Change, handle: Option<&str>) -> Delivery {
    let id =
        DeliveryId { incident: change.id, receiver: "oncall".into(), revision: change.revision };
    Delivery { id, change: change.clone(), failed: 0, handle: handle.map(Into::into) }
}

/// One step of a dialog.
pub(crate) fn step(
    dialog: &dyn Dialog,
    change: &Change,
    handle: Option<&str>,
    answers: &[Answer],
) -> Step {
    let delivery = delivery(change, handle);
    let secrets: Vec<Secret> = dialog.secrets().into_iter().map(open).collect();
    let now = change.at;
    dialog.next(&Context { delivery: &delivery, now, secrets: &secrets, answers })
}

fn open(source: &SecretSource) -> Secret {
    match source {
        SecretSource::Inline(secret) => secret.clone(),
        SecretSource::File(path) => panic!("{} is not read in a table", path.display()),
    }
}

/// The end that a step is.
pub(crate) fn outcome(step: Step) -> Outcome {
    match step {
        Step::Done(report) => report.outcome,
        Step::Ask { ask, .. } => panic!("asks on: {}", ask.shown()),
    }
}

/// The address and the JSON of the request that a step is.
pub(crate) fn asked(step: Step) -> (String, Value) {
    match step {
        Step::Ask { ask, .. } => match ask.body {
            Some(Body::Json(body)) => (ask.url.to_string(), body),
            other => panic!("no JSON: {other:?}"),
        },
        Step::Done(report) => panic!("is over: {report:?}"),
    }
}

/// Every request of an incident's life, where each is answered so; what is remembered goes along.
pub(crate) fn told(dialog: &dyn Dialog, answer: impl Fn(&Ask) -> Answer) -> String {
    let mut text = String::new();
    let mut handle: Option<Box<str>> = None;
    for (what, change) in life() {
        writeln!(text, "==== {what}").expect("a string takes all");
        let mut answers = Vec::new();
        loop {
            match step(dialog, &change, handle.as_deref(), &answers) {
                Step::Ask { ask, .. } => {
                    text += &ask.shown();
                    answers.push(answer(&ask));
                }
                Step::Done(report) => {
                    assert_eq!(report.outcome, Outcome::Delivered, "{what}");
                    if let Some(new) = report.handle {
                        writeln!(text, "-> remembers {new}").expect("a string takes all");
                        handle = Some(new);
                    }
                    break;
                }
            }
        }
    }
    text
}

/// Holds a text against the one that is kept; `BLESS=1` writes it.
pub(crate) fn compare(path: &str, seen: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        std::fs::write(&file, seen).expect("written");
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"));
    let line = kept.lines().zip(seen.lines()).position(|(kept, seen)| kept != seen);
    assert!(
        kept == seen,
        "{path} differs, first in line {:?}; BLESS=1 writes it anew:\n{seen}",
        line.map(|line| line + 1)
    );
}
