//! What receivers that page are asked, from incident changes to the exact requests.
//!
//! Kept as text in `tests/fixtures/receivers/<name>/`; `BLESS=1` writes what is found: read it before
//! you believe it.

use reqwest::StatusCode;

use super::dialog::{Answer, Context, Dialog, Step};
use super::exchange::Reach;
use super::{opsgenie, pagerduty};
use crate::model::event::Links;
use crate::model::incident::Acknowledged;
use crate::model::{Change, ChangeKind, Status, TagValue, Tags};
use crate::notify::{Address, Delivery, DeliveryId, Outcome, Report, Secret, SecretSource, sample};

const KEY: &str = "0123456789abcdef0123456789ABCDEF";

fn pagerduty() -> pagerduty::Settings {
    pagerduty::Settings {
        url: Address::parse(pagerduty::US).expect("an address"),
        routing_key: SecretSource::Inline(Secret::new(KEY)),
        severity: pagerduty::SEVERITY,
        reach: Reach::default(),
    }
}

fn opsgenie(product: opsgenie::Product, url: &str) -> opsgenie::Settings {
    opsgenie::Settings {
        product,
        url: Address::parse(url).expect("an address"),
        api_key: SecretSource::Inline(Secret::new(KEY)),
        priority: opsgenie::PRIORITY,
        responders: vec![("team", "web".into()), ("user", "jo@example.com".into())],
        tags: vec!["muster".into()],
        reach: Reach::default(),
    }
}

/// Led to its end: answers by status, 202 where they are used up.
fn lead(
    dialog: &dyn Dialog,
    change: &Change,
    handle: Option<Box<str>>,
    statuses: &[u16],
) -> (String, Report) {
    let id =
        DeliveryId { incident: change.id, receiver: "oncall".into(), revision: change.revision };
    let delivery = Delivery { id, change: change.clone(), failed: 0, handle };
    let secrets = [Secret::new(KEY)];
    let (mut answers, mut shown, mut remembered) = (Vec::new(), String::new(), None);
    for turn in 0.. {
        let now = sample::at(60);
        let step = dialog.next(&Context {
            delivery: &delivery,
            now,
            secrets: &secrets,
            answers: &answers,
        });
        match step {
            Step::Ask { ask, handle } => {
                shown += &ask.shown();
                shown.push('\n');
                remembered = handle.or(remembered);
                let status = statuses.get(turn).copied().unwrap_or(202);
                let status = StatusCode::from_u16(status).expect("a status");
                answers.push(Answer { status, after: None, body: b"{}".to_vec() });
            }
            Step::Done(report) => {
                return (shown, Report { handle: report.handle.or(remembered), ..report });
            }
        }
    }
    unreachable!("every turn returns or goes on")
}

/// The life of an incident, by name of the notice.
fn life() -> Vec<(&'static str, Change)> {
    let by = Acknowledged { by: "jo".into(), at: sample::at(120), until: None };
    let mut opened = sample::change(1, 1, &[ChangeKind::Opened]);
    opened.status = Status::Warning;
    let mut grew = sample::change(1, 2, &[ChangeKind::Grew]);
    grew.status = Status::Warning;
    let worse = sample::change(1, 3, &[ChangeKind::Worsened]);
    let mut taken = sample::change(1, 4, &[ChangeKind::Acknowledged]);
    taken.acknowledged = Some(by);
    let left = sample::change(1, 5, &[ChangeKind::Unacknowledged]);
    let over = sample::change(1, 6, &[ChangeKind::Resolved]);
    let again = sample::change(1, 7, &[ChangeKind::Reopened]);
    vec![
        ("1-opened", opened),
        ("2-grew", grew),
        ("3-worsened", worse),
        ("4-acknowledged", taken),
        ("5-unacknowledged", left),
        ("6-resolved", over),
        ("7-reopened", again),
    ]
}

fn check(name: &str, dialog: &dyn Dialog) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/receivers")
        .join(name);
    let mut handle = None;
    for (notice, change) in life() {
        let (found, report) = lead(dialog, &change, handle, &[]);
        assert_eq!(report.outcome, Outcome::Delivered, "{name} {notice}");
        assert!(!found.contains(KEY), "a secret is shown: {found}");
        handle = report.handle;
        let path = folder.join(format!("{notice}.txt"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(&path, &found).expect("written");
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(found, kept, "{}; BLESS=1 writes it", path.display());
    }
}

#[test]
fn the_life_of_an_incident_as_each_is_asked() {
    check("pagerduty", &pagerduty());
    check("opsgenie", &opsgenie(opsgenie::Product::Opsgenie, opsgenie::EU));
    check("jsm_ops", &opsgenie(opsgenie::Product::JsmOps, opsgenie::JSM));
}

fn acts(shown: &str) -> Vec<&str> {
    let marks = ["\"event_action\": \"", "POST ", "PUT "];
    let lines = shown.lines().map(str::trim);
    lines
        .filter_map(|line| {
            let rest = marks.iter().find_map(|mark| line.strip_prefix(mark))?;
            let rest = rest.split(['"', '?', ',']).next()?;
            rest.rsplit('/').next()
        })
        .filter(|word| *word != "enqueue")
        .collect()
}

#[test]
fn an_attempt_that_broke_off_goes_on_where_it_was() {
    let mut change = sample::change(1, 3, &[ChangeKind::Opened, ChangeKind::Acknowledged]);
    change.acknowledged = Some(Acknowledged { by: "jo".into(), at: sample::at(1), until: None });
    let pages: [(&dyn Dialog, [&str; 2]); 2] = [
        (&pagerduty(), ["trigger", "acknowledge"]),
        (&opsgenie(opsgenie::Product::JsmOps, opsgenie::JSM), ["alerts", "acknowledge"]),
    ];
    for (dialog, [first, second]) in pages {
        let (shown, report) = lead(dialog, &change, None, &[202, 503]);
        assert_eq!(acts(&shown), [first, second]);
        assert!(matches!(report.outcome, Outcome::Retry { .. }), "{report:?}");
        let (shown, report) = lead(dialog, &change, report.handle, &[]);
        assert_eq!((acts(&shown), report.outcome), (vec![second], Outcome::Delivered));
        // A first request without an answer may or may not have been taken: it is repeated.
        let (_, report) = lead(dialog, &change, None, &[503]);
        let (shown, _) = lead(dialog, &change, report.handle, &[]);
        assert_eq!(acts(&shown), [first, second]);
    }
}

#[test]
fn what_never_will_be_taken_is_set_aside_and_the_rest_repeated() {
    let change = sample::change(1, 1, &[ChangeKind::Opened]);
    let opsgenie = opsgenie(opsgenie::Product::Opsgenie, opsgenie::US);
    let dialogs: [&dyn Dialog; 2] = [&pagerduty(), &opsgenie];
    for dialog in dialogs {
        for status in [400, 401, 403, 404, 413, 422] {
            let (_, report) = lead(dialog, &change, None, &[status]);
            assert!(matches!(report.outcome, Outcome::SetAside { .. }), "{status} {report:?}");
        }
        for status in [408, 429, 500, 503] {
            let (_, report) = lead(dialog, &change, None, &[status]);
            assert!(matches!(report.outcome, Outcome::Retry { .. }), "{status} {report:?}");
        }
    }
    let (_, report) = lead(&pagerduty(), &change, None, &[429]);
    let Outcome::Retry { after, .. } = report.outcome else { unreachable!("as above") };
    assert_eq!(after, Some(crate::model::Span::from_secs(30)));
    let over = sample::change(1, 2, &[ChangeKind::Resolved]);
    let (_, report) = lead(&opsgenie, &over, None, &[404]);
    assert_eq!(report.outcome, Outcome::Delivered, "what is not there needs no close");
}

#[test]
fn the_worst_event_keeps_the_limits_and_stays_data() {
    let hostile = "\u{1b}[2J\u{202e}<!channel> <@U1> @everyone <b>\"`\\\n".repeat(200);
    let mut change = sample::change(1, 1, &[ChangeKind::Opened]);
    change.title.clone_from(&hostile);
    change.hosts = vec![hostile.as_str().into(); 50];
    let tag = |n: u32| (format!("{n}{hostile}"), TagValue::one(&hostile));
    let tags: Vec<(String, TagValue)> = (0..500).map(tag).collect();
    change.tags = tags.iter().map(|(name, value)| (name.as_str(), value.clone())).collect::<Tags>();
    change.counts.total = 5_000;
    change.alerts = (0..50).map(sample::member).collect();
    for (n, alert) in change.alerts.iter_mut().enumerate() {
        alert.host = hostile.as_str().into();
        alert.check = hostile.as_str().into();
        alert.description = hostile.as_str().into();
        let long = format!("https://x.example/{}", "a".repeat(5_000));
        let fits = format!("https://x.example/{n}{}", "a".repeat(2_000));
        alert.links = Links::from([
            ("long".into(), long.as_str().into()),
            (hostile.as_str().into(), fits.as_str().into()),
        ]);
    }
    let asked = |dialog: &dyn Dialog| {
        let id = DeliveryId { incident: change.id, receiver: "oncall".into(), revision: 1 };
        let delivery = Delivery { id, change: change.clone(), failed: 0, handle: None };
        let secrets = [Secret::new(KEY)];
        let (now, answers) = (sample::at(0), &[]);
        let step = dialog.next(&Context { delivery: &delivery, now, secrets: &secrets, answers });
        let Step::Ask { ask, .. } = step else { unreachable!("something is asked") };
        let Some(super::dialog::Body::Json(body)) = ask.body else { unreachable!("JSON is said") };
        body
    };
    let length = |value: &serde_json::Value| value.as_str().map_or(0, |text| text.chars().count());
    let page = asked(&pagerduty());
    let text = page.to_string();
    assert!(text.len() < 512_000, "{}", text.len());
    assert!(length(&page["payload"]["summary"]) <= 1_024);
    assert!(!text.contains("\\u001b") && !text.contains('\u{202e}') && !text.contains("\\n"));
    let links = page["links"].as_array().expect("a list");
    assert_eq!(links.len(), 8);
    assert!(links.iter().all(|link| length(&link["href"]) <= 2_048), "long links are left out");
    let alert = asked(&opsgenie(opsgenie::Product::Opsgenie, opsgenie::US));
    assert_eq!(length(&alert["message"]), 130);
    assert!(length(&alert["description"]) <= 15_000 && length(&alert["entity"]) <= 512);
    let details = alert["details"].as_object().expect("an object");
    let chars = |(name, value): (&String, &serde_json::Value)| name.chars().count() + length(value);
    let chars: usize = details.iter().map(chars).sum();
    assert!((1..=8_000).contains(&chars), "{chars}");
}

#[test]
fn a_key_that_is_none_is_not_sent() {
    let change = sample::change(1, 1, &[ChangeKind::Opened]);
    let id = DeliveryId { incident: change.id, receiver: "oncall".into(), revision: 1 };
    let delivery = Delivery { id, change, failed: 0, handle: None };
    let secrets = [Secret::new("two words")];
    let context =
        Context { delivery: &delivery, now: sample::at(0), secrets: &secrets, answers: &[] };
    let opsgenie = opsgenie(opsgenie::Product::Opsgenie, opsgenie::US);
    let dialogs: [&dyn Dialog; 2] = [&pagerduty(), &opsgenie];
    for dialog in dialogs {
        let Step::Done(report) = dialog.next(&context) else { unreachable!("nothing is sent") };
        assert!(matches!(report.outcome, Outcome::Retry { .. }), "{report:?}");
        assert!(!format!("{report:?}").contains("two words"), "{report:?}");
    }
}
