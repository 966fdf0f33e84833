//! Each kind of step, and what it must not do.

use super::super::table::Builder;
use super::*;
use crate::model::Timestamp;
use crate::model::event::{Links, Report};
use crate::model::tags::Tags;

fn event(host: &str, status: Status) -> Event {
    Event {
        source: "nagios".into(),
        host: host.into(),
        check: "disk /var".into(),
        key: None,
        report: Report::Status(status),
        timestamp: Timestamp::from_millis(1),
        description: "512 MB free (3%)".into(),
        tags: [("env", TagValue::one("prod"))].into_iter().collect::<Tags>(),
        links: Links::new(),
        expires_at: None,
        id: None,
    }
}

fn step(matchers: &[&str], action: Action) -> Step {
    let matchers = Matchers::parse(matchers.iter().copied()).expect("good matchers");
    Step { matchers, action, text: String::new() }
}

fn run(steps: &[Step], event: &mut Event) -> (bool, Counts) {
    let mut limited = [0; Limit::ALL.len()];
    let counts = apply(
        steps,
        event,
        &Limits { tags: 6, value_bytes: 16, ..Limits::default() },
        &mut limited,
    );
    (counts, limited)
}

fn extract(from: &str, regex: &str) -> Action {
    Action::Extract { from: from.into(), regex: expression(regex).expect("good") }
}

fn set(texts: &[(&str, &str)]) -> Action {
    let read = |(name, text): &(&str, &str)| {
        (Box::from(*name), Template::parse(text).expect("a template"))
    };
    Action::Set(texts.iter().map(read).collect())
}

#[test]
fn steps_build_on_those_before() {
    let mut table = Builder::new(2, 10);
    for (site, env, team, page) in
        [("fra", "prod", "ops", "shop"), ("fra", "prod", "night", "shop")]
    {
        table.row(&[site, env], &[team, page]).expect("there is room");
    }
    let table = Arc::new(table.build());
    let map = |take| Action::Map {
        table: Arc::clone(&table),
        by: vec!["site".into(), "env".into()],
        tags: vec!["team".into(), "service".into()],
        take,
    };
    let first = [
        step(&[], extract("host", "^(?P<site>[a-z]{3})-")),
        step(&["site=\"fra\""], map(Take::First)),
        step(
            &[],
            set(&[
                ("where", "{{ host }}-{{ tags.env }}"),
                ("description", "{{ tags.team }}: {{ description }}"),
            ]),
        ),
    ];
    let mut one = event("fra-7", Status::Critical);
    assert_eq!(run(&first, &mut one), (true, [0; Limit::ALL.len()]));
    assert_eq!(one.tags.get("where"), Some(&TagValue::one("fra-7-prod")));
    assert_eq!(one.tags.get("team"), Some(&TagValue::one("ops")));
    assert_eq!(one.description.as_ref(), "ops: 512 MB free (3%)");
    let all = [step(&[], extract("host", "^(?P<site>[a-z]{3})-")), step(&[], map(Take::Union))];
    let mut other = event("fra-7", Status::Critical);
    assert!(run(&all, &mut other).0);
    let both: Box<[Box<str>]> = ["ops".into(), "night".into()].into();
    assert_eq!(other.tags.get("team"), Some(&TagValue::List(both)));
    assert_eq!(other.tags.get("service"), Some(&TagValue::one("shop")), "one value stands once");
    let mut elsewhere = event("web-1.lon", Status::Critical);
    assert!(run(&first, &mut elsewhere).0);
    assert_eq!(elsewhere.tags.get("team"), None, "no such site");
}

#[test]
fn what_is_dropped_still_resolves() {
    let drop = [step(&["env=\"prod\"", "check=~\"disk.*\""], Action::Drop)];
    assert!(!run(&drop, &mut event("a", Status::Warning)).0);
    assert!(run(&drop, &mut event("a", Status::Ok)).0);
    let mut acknowledged = event("a", Status::Warning);
    acknowledged.report = Report::Acknowledged;
    assert!(run(&drop, &mut acknowledged).0);
    let mut test = event("a", Status::Warning);
    test.tags.set("env", TagValue::one("test"));
    assert!(run(&drop, &mut test).0);
}

#[test]
fn templates_are_bounded() {
    let endless = [step(
        &[],
        set(&[(
            "x",
            "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
        )]),
    )];
    let mut one = event("a", Status::Warning);
    let (kept, limited) = run(&endless, &mut one);
    assert!(kept, "an event is never lost for a template");
    assert_eq!((one.tags.get("x"), limited[Limit::EnrichFailed as usize]), (None, 1));
    let long = [step(&[], set(&[("x", "{% for a in range(99) %}ä{{ a }}{% endfor %}")]))];
    let (_, limited) = run(&long, &mut one);
    let Some(TagValue::One(text)) = one.tags.get("x") else { panic!("it is cut, not left out") };
    assert!(text.len() <= 16 && text.starts_with("ä0ä1"), "{text}");
    assert_eq!(limited[Limit::ValueCut as usize], 1);
    let absent = [step(&[], set(&[("x", "{{ tags.no.such.thing }}"), ("y", " ")]))];
    let mut two = event("a", Status::Warning);
    assert_eq!(run(&absent, &mut two), (true, [0; Limit::ALL.len()]));
    assert_eq!(two.tags.len(), 1, "what is empty is no tag");
    assert!(Template::parse("{{ host").is_err());
}

#[test]
fn tags_have_a_bound_and_expressions_a_name() {
    let many: Vec<Step> =
        (0..9).map(|n| step(&[], set(&[(format!("t{n}").as_str(), "x")]))).collect();
    let mut one = event("a", Status::Warning);
    let (_, limited) = run(&many, &mut one);
    assert_eq!((one.tags.len(), limited[Limit::EnrichFailed as usize]), (6, 4));
    assert!(expression("[a-z]+").is_err_and(|why| why.contains("named group")));
    assert!(expression("(").is_err());
}
