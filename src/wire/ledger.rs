//! The row of notify's ledger: what one receiver was told of one incident, and what it was not.
//!
//! Its key is `incident/receiver`. Deciding what is told is `notify`'s work. Version 1 is decoded for
//! ever; an unknown version is refused by name, so that a downgrade stops instead of telling twice.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::common::incident_id;
use super::{WireError, to_vec};
use crate::model::{Change, IncidentId, Span, Status, Timestamp};

/// The version that is written.
pub const VERSION: u32 = 1;

/// The state of an incident as a receiver last answered to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// The revision that was said.
    pub revision: u64,
    /// The status it showed.
    pub status: Status,
    /// How many alerts had ever joined.
    pub total: u32,
    /// Whether the incident was over.
    pub resolved: bool,
}

/// What one receiver was told of one incident, and what waits to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRow {
    /// The highest revision seen.
    pub revision: u64,
    /// By log time, when the incident was first seen.
    pub opened_at: Timestamp,
    /// How long it may gather before the first notice.
    pub wait: Span,
    /// By the worker's clock, when the first notice is due.
    pub due_at: Timestamp,
    /// Whether the routes lead to this receiver, as of the last change while it was open.
    pub routed: bool,
    /// Whether a first notice was attempted whose fate may be unknown.
    pub tried: bool,
    /// Whether the receiver accepted any notice.
    pub told: bool,
    /// What the receiver last accepted or refused for good.
    pub said: Option<Said>,
    /// By the worker's clock, when it was last told of mere growth.
    pub grown_at: Option<Timestamp>,
    /// Whether what is pending must be told, whatever comes after it.
    pub must: bool,
    /// Failed attempts since the last answer.
    pub attempts: u32,
    /// By the worker's clock, before when no attempt is made.
    pub retry_at: Option<Timestamp>,
    /// By the worker's clock, since when it is over with nothing left to tell.
    pub ended_at: Option<Timestamp>,
    /// Whether it was never told, is held back as muted, and nothing happened since but its end.
    pub muted: bool,
    /// The incident as it is, with the kinds and alerts since it was last told; none where nothing
    /// happened since.
    pub pending: Option<Change>,
}

#[derive(Deserialize)]
struct WireVersion {
    v: u32,
}

#[derive(Serialize, Deserialize)]
struct WireSaid {
    revision: u64,
    status: Status,
    total: u32,
    resolved: bool,
}

#[derive(Serialize, Deserialize)]
struct WireRow<'a> {
    v: u32,
    revision: u64,
    opened_at: Timestamp,
    wait_ms: Span,
    due_at: Timestamp,
    routed: bool,
    tried: bool,
    told: bool,
    said: Option<WireSaid>,
    grown_at: Option<Timestamp>,
    must: bool,
    attempts: u32,
    retry_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    muted: bool,
    pending: Option<Cow<'a, Change>>,
}

/// The key of a row.
#[must_use]
pub fn key(incident: IncidentId, receiver: &str) -> Vec<u8> {
    format!("{incident}/{receiver}").into_bytes()
}

/// The incident and the receiver of a key.
///
/// # Errors
/// When it is not the key of a row.
pub fn parse_key(key: &[u8]) -> Result<(IncidentId, &str), WireError> {
    let text = std::str::from_utf8(key).map_err(|error| WireError(error.to_string()))?;
    let (incident, receiver) = text
        .split_once('/')
        .ok_or_else(|| WireError("the key is not `incident/receiver`".into()))?;
    Ok((incident_id(incident)?, receiver))
}

/// The bytes of a row.
#[must_use]
pub fn encode(row: &LedgerRow) -> Vec<u8> {
    let said =
        |Said { revision, status, total, resolved }| WireSaid { revision, status, total, resolved };
    let wire = WireRow {
        v: VERSION,
        revision: row.revision,
        opened_at: row.opened_at,
        wait_ms: row.wait,
        due_at: row.due_at,
        routed: row.routed,
        tried: row.tried,
        told: row.told,
        said: row.said.map(said),
        grown_at: row.grown_at,
        must: row.must,
        attempts: row.attempts,
        retry_at: row.retry_at,
        ended_at: row.ended_at,
        muted: row.muted,
        pending: row.pending.as_ref().map(Cow::Borrowed),
    };
    to_vec(&wire, 512)
}

/// A row from its bytes.
///
/// # Errors
/// When its version is unknown, or says what is not as a row has it.
pub fn decode(bytes: &[u8]) -> Result<LedgerRow, WireError> {
    let WireVersion { v } = serde_json::from_slice(bytes)?;
    if v != VERSION {
        return Err(WireError(format!(
            "version {v} of the delivery ledger is unknown; this program knows {VERSION}: run the \
             program that wrote it, or a newer one"
        )));
    }
    let wire: WireRow<'_> = serde_json::from_slice(bytes)?;
    let said =
        |WireSaid { revision, status, total, resolved }| Said { revision, status, total, resolved };
    if wire.must && wire.pending.is_none() {
        return Err(WireError("something must be told, but `pending` is missing".into()));
    }
    Ok(LedgerRow {
        revision: wire.revision,
        opened_at: wire.opened_at,
        wait: wire.wait_ms,
        due_at: wire.due_at,
        routed: wire.routed,
        tried: wire.tried,
        told: wire.told,
        said: wire.said.map(said),
        grown_at: wire.grown_at,
        must: wire.must,
        attempts: wire.attempts,
        retry_at: wire.retry_at,
        ended_at: wire.ended_at,
        muted: wire.muted,
        pending: wire.pending.map(Cow::into_owned),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::alert::Why;
    use crate::model::event::Links;
    use crate::model::{
        AlertId, ChangeKind, Counts, Identity, Member, Pair, Resolution, TagValue, Tags,
    };

    const FIXTURE: &[u8] = include_bytes!("../../tests/fixtures/notify/ledger.v1.json");
    const UNKNOWN: &[u8] = include_bytes!("../../tests/fixtures/notify/ledger.v9.json");

    fn time() -> impl Strategy<Value = Timestamp> {
        (0_i64..2_000_000_000_000).prop_map(Timestamp::from_millis)
    }

    fn any_status() -> impl Strategy<Value = Status> {
        (0..Status::ALL.len()).prop_map(|index| Status::ALL[index])
    }

    fn member() -> impl Strategy<Value = Member> {
        (time(), any_status(), any::<bool>(), "\\PC{0,8}", ".{0,12}").prop_map(
            |(at, status, firing, host, description)| {
                let identity = Identity::new("nagios", Some(&host), Some("cpu"), None);
                Member {
                    id: AlertId::derive(at, &identity, 0),
                    source: "nagios".into(),
                    host: host.into(),
                    check: "cpu".into(),
                    status,
                    firing,
                    flapping: false,
                    chronic: false,
                    maintenance: None,
                    description: description.into(),
                    tags: Tags::from_iter([
                        ("az", TagValue::List(["a".into(), "b".into()].into())),
                        ("env", TagValue::one("prod")),
                    ]),
                    links: Links::from([("graph".into(), "https://graphs.example/1".into())]),
                    started_at: at,
                    changed_at: at,
                    why: Why::default(),
                }
            },
        )
    }

    fn any_change() -> impl Strategy<Value = Change> {
        let kinds = prop::collection::vec(
            (0..ChangeKind::ALL.len()).prop_map(|k| ChangeKind::ALL[k]),
            0..4,
        );
        let parts = (time(), any::<u64>(), kinds, any_status(), ".{0,20}");
        let more = (prop::collection::vec(member(), 0..3), any::<bool>(), any::<u32>());
        (parts, more).prop_map(|((at, revision, kinds, status, title), (alerts, open, total))| {
            let identity = Identity::new("nagios", Some("web-1"), Some("cpu"), None);
            Change {
                id: IncidentId::derive(at, &identity, 0),
                revision,
                kinds,
                at,
                shard: "main".into(),
                status,
                severity: status,
                title,
                started_at: at,
                changed_at: at,
                resolved: (!open).then_some((at, Resolution::Expired)),
                pair: Some(Pair {
                    pattern: "cluster".into(),
                    by: vec![("env".into(), "prod".into()), ("cluster".into(), "web".into())],
                    source: None,
                    chronic: false,
                    near: None,
                }),
                further: Vec::new(),
                further_cut: 0,
                counts: Counts { firing: 1, total, events: 9, hosts: 1, checks: 1, maintenance: 0 },
                hosts: vec!["web-1".into()],
                checks: vec!["cpu".into()],
                sources: vec!["nagios".into()],
                tags: Tags::from_iter([("cluster", TagValue::one("web"))]),
                acknowledged: None,
                flapping: false,
                maintenance: false,
                hold: None,
                continues: None,
                continued_by: Some(IncidentId::derive(at, &identity, 1)),
                merged_into: None,
                merged_from: Vec::new(),
                split_from: None,
                split_into: Vec::new(),
                joined: alerts.iter().map(|alert| alert.id).collect(),
                left: Vec::new(),
                alerts,
                assignee: None,
                snoozed: None,
                actor: None,
                comment: None,
            }
        })
    }

    fn any_said() -> impl Strategy<Value = Said> {
        (any::<u64>(), any_status(), any::<u32>(), any::<bool>()).prop_map(
            |(revision, status, total, resolved)| Said { revision, status, total, resolved },
        )
    }

    fn any_row() -> impl Strategy<Value = LedgerRow> {
        let maybe = || prop::option::of(time());
        (
            (any::<u64>(), time(), 0_i64..1_000_000, time()),
            (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
            (prop::option::of(any_said()), maybe(), any::<u32>(), maybe(), maybe()),
            prop::option::of(any_change()),
        )
            .prop_map(|((revision, opened_at, wait, due_at), flags, rest, pending)| {
                LedgerRow {
                    revision,
                    opened_at,
                    wait: Span::from_millis(wait),
                    due_at,
                    routed: flags.0,
                    tried: flags.1,
                    told: flags.2,
                    said: rest.0,
                    grown_at: rest.1,
                    must: flags.3 && pending.is_some(),
                    attempts: rest.2,
                    retry_at: rest.3,
                    muted: false,
                    ended_at: rest.4,
                    pending,
                }
            })
    }

    proptest! {
        #[test]
        fn a_row_reads_back_as_it_was(row in any_row()) {
            let bytes = encode(&row);
            let read = decode(&bytes).expect("our own bytes");
            prop_assert_eq!(&read, &row);
            prop_assert_eq!(encode(&read), bytes, "the same row must be the same bytes");
        }
    }

    #[test]
    fn the_stored_row_of_version_1_is_still_read() {
        let row = decode(FIXTURE).expect("version 1");
        assert_eq!((row.revision, row.attempts, row.must), (4, 2, true));
        assert_eq!(row.said.map(|said| (said.revision, said.total)), Some((1, 1)));
        let pending = row.pending.as_ref().expect("something pending");
        assert_eq!(pending.kinds, [ChangeKind::Grew, ChangeKind::Worsened]);
        assert_eq!(decode(&encode(&row)), Ok(row));
    }

    #[test]
    fn an_unknown_version_is_refused_by_name() {
        let error = decode(UNKNOWN).expect_err("version 9");
        assert!(error.to_string().contains("version 9"), "{error}");
    }

    #[test]
    fn a_row_that_owes_what_it_does_not_hold_is_refused() {
        let text = std::str::from_utf8(FIXTURE).expect("text");
        let at = text.find("\"pending\":").expect("the field");
        let broken = format!("{}\"pending\":null}}", &text[..at]);
        assert!(decode(broken.as_bytes()).is_err());
    }

    #[test]
    fn a_key_names_incident_and_receiver_even_with_a_slash() {
        let identity = Identity::new("nagios", Some("web-1"), Some("cpu"), None);
        let id = IncidentId::derive(Timestamp::from_millis(5), &identity, 0);
        assert_eq!(parse_key(&key(id, "team/a")), Ok((id, "team/a")));
        assert!(parse_key(b"inc_nonsense/a").is_err() && parse_key(b"noslash").is_err());
    }
}
