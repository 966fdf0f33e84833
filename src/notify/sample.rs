//! Small incidents and settings for the tests of notify.

use super::{ReceiverKind, ReceiverSettings, RouteSettings, Settings};
use crate::model::alert::Why;
use crate::model::event::Links;
use crate::model::{
    AlertId, Change, ChangeKind, Counts, Identity, IncidentId, Matchers, Member, Pair, Resolution,
    Span, Status, TagValue, Tags, Timestamp,
};

/// When every sample begins.
pub(super) const START: Timestamp = Timestamp::from_millis(1_763_913_600_000);

/// Seconds after the begin.
pub(crate) fn at(secs: i64) -> Timestamp {
    START + Span::from_secs(secs)
}

fn identity(n: u64) -> Identity {
    Identity::new("nagios", Some(&format!("web-{n}")), Some("disk /"), None)
}

pub(crate) fn incident(n: u64) -> IncidentId {
    IncidentId::derive(START, &identity(n), 0)
}

pub(crate) fn member(n: u64) -> Member {
    Member {
        id: AlertId::derive(START, &identity(n), 0),
        source: "nagios".into(),
        host: format!("web-{n}").into(),
        check: "disk /".into(),
        status: Status::Critical,
        firing: true,
        flapping: false,
        chronic: false,
        maintenance: None,
        description: "512 MB free (3%)".into(),
        tags: Tags::from_iter([("cluster", TagValue::one("web"))]),
        links: Links::from([("graph".into(), "https://graphs.example/web".into())]),
        started_at: START,
        changed_at: START,
        why: Why::default(),
    }
}

/// A critical incident of one alert, at the begin; resolved where `kinds` ends with that.
pub(crate) fn change(n: u64, revision: u64, kinds: &[ChangeKind]) -> Change {
    let over = kinds.last() == Some(&ChangeKind::Resolved);
    let status = if over { Status::Ok } else { Status::Critical };
    Change {
        id: incident(n),
        revision,
        kinds: kinds.to_vec(),
        at: START,
        shard: "main".into(),
        status,
        severity: Status::Critical,
        title: format!("web: web-{n} · disk / · {status}"),
        started_at: START,
        changed_at: START,
        resolved: over.then_some((START, Resolution::AllOk)),
        pair: Some(Pair {
            pattern: "cluster".into(),
            by: vec![("cluster".into(), "web".into())],
            source: None,
            chronic: false,
            near: None,
        }),
        further: Vec::new(),
        further_cut: 0,
        counts: Counts {
            firing: u32::from(!over),
            total: 1,
            events: 4,
            hosts: 1,
            checks: 1,
            maintenance: 0,
        },
        hosts: vec![format!("web-{n}").into()],
        checks: vec!["disk /".into()],
        sources: vec!["nagios".into()],
        tags: Tags::from_iter([("cluster", TagValue::one("web"))]),
        acknowledged: None,
        flapping: false,
        maintenance: false,
        hold: None,
        continues: None,
        continued_by: None,
        merged_into: None,
        merged_from: Vec::new(),
        split_from: None,
        split_into: Vec::new(),
        joined: vec![],
        left: Vec::new(),
        alerts: vec![member(n)],
        assignee: None,
        snoozed: None,
        actor: None,
        comment: None,
    }
}

/// Receivers of one attempt at a time; all goes to the first, after ten seconds.
pub(crate) fn settings(names: &[&str]) -> Settings {
    let receiver = |name: &&str| ReceiverSettings {
        name: (*name).into(),
        kind: ReceiverKind::Log,
        concurrency: 1,
    };
    Settings {
        receivers: names.iter().map(receiver).collect(),
        route: names.first().map(|name| RouteSettings {
            matchers: Matchers::default(),
            receiver: (*name).into(),
            group_wait: Span::from_secs(10),
            cont: false,
            routes: vec![],
        }),
        retry_min: Span::from_secs(1),
        retry_max: Span::from_secs(300),
        growth_every: Span::from_secs(300),
        keep: Span::from_secs(86_400),
        seed: 7,
    }
}
