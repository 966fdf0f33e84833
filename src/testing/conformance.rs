//! What every journal must do, checked through the trait alone.
//!
//! Each check starts from an empty journal that a [`Rig`] makes; what only one back can do, such as
//! retention, is that back's own test. A check that fails panics and says what it expected.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Stopwatch;
use crate::journal::{
    Batch, Class, Commit, Feed, Followed, Follower, From, Group, Journal, JournalError,
    OwnedRecord, Polled,
};
use crate::model::Timestamp;
use crate::stage::{Kind, Offset, Outgoing, Route, Row, Slot, Topic};

/// How long anything may take before a check gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);
/// One wait for records.
const WAIT: Duration = Duration::from_millis(100);

/// A journal under test.
pub trait Rig {
    /// The journal as it is now.
    fn journal(&self) -> Arc<dyn Journal>;

    /// Closes it and opens it again; `false` where a back forgets what it held. Everything that was
    /// handed out is gone by then.
    fn reopen(&mut self) -> bool;

    /// Makes the next `times` commits of feeds fail with class `Retry`; `false` where a back cannot
    /// be made to.
    fn fail_next_commits(&self, times: u32) -> bool;

    /// The same for appenders.
    fn fail_next_appends(&self, times: u32) -> bool;
}

/// Runs every check, each on a rig of its own.
pub fn check(fresh: &mut dyn FnMut() -> Box<dyn Rig>) {
    for check in [
        order_within_a_partition,
        a_commit_is_all_or_nothing,
        restore_gives_the_last_rows,
        positions_outlive_reopening,
        append_times_never_go_back,
        only_one_feed_of_a_group_holds_a_partition,
        a_follower_of_records_catches_up_once,
        a_follower_from_the_end_sees_what_comes,
        a_follower_of_rows_sees_changes_and_deletions,
        an_append_is_there_once_settled,
        an_append_that_fails_says_so,
        hashes_choose_the_same_partition_each_time,
        large_batches_come_whole,
    ] {
        check(&mut *fresh());
    }
}

fn order_within_a_partition(rig: &mut dyn Rig) {
    let journal = rig.journal();
    let partitions = journal.partitions(Topic::Alerts);
    for round in 0..5u64 {
        let records = (0..40u64).map(|n| hashed(Topic::Alerts, n, &(round * 40 + n).to_be_bytes()));
        append(&*journal, records.collect());
    }
    let mut feed = open(&*journal, Group::Correlate);
    let slots = assigned(&mut *feed);
    assert_eq!(slots.len(), usize::try_from(partitions).expect("few"), "all partitions are ours");
    let read = read(&mut *feed, 200);
    for slot in slots {
        let of_slot: Vec<&OwnedRecord> = read.iter().filter(|record| record.slot == slot).collect();
        assert!(
            of_slot.is_sorted_by(|a, b| a.offset < b.offset && number(a) < number(b)),
            "records of {slot:?} are out of order"
        );
        assert!(
            of_slot
                .iter()
                .all(|record| number(record) % u64::from(partitions)
                    == u64::from(record.slot.partition)),
            "a record went to another partition than its route says"
        );
    }
}

fn a_commit_is_all_or_nothing(rig: &mut dyn Rig) {
    let journal = rig.journal();
    append(&*journal, (0..10).map(|n: u64| pinned(Topic::Alerts, &n.to_be_bytes())).collect());
    let mut feed = open(&*journal, Group::Correlate);
    assigned(&mut *feed);
    let first = read(&mut *feed, 10);
    let mut incidents = journal.follow(Topic::Incidents, From::Beginning).expect("a follower");
    caught_up(&mut *incidents);
    if !rig.fail_next_commits(1) {
        return;
    }
    let error = feed.commit(whole(&first[..5], 1)).expect_err("it was made to fail");
    assert_eq!(error.class, Class::Retry, "{error}");
    let slots = assigned(&mut *feed);
    assert!(slots.contains(&first[0].slot), "partitions are announced anew: {slots:?}");
    assert_eq!(restored(&mut *feed, first[0].slot), BTreeMap::new(), "no row of it is there");
    assert_eq!(read(&mut *feed, 10), first, "reading starts at the committed position");
    assert!(idle(&mut *incidents), "no record of it is there");

    feed.commit(whole(&first[..5], 2)).expect("the second try commits");
    let shown = follow(&mut *incidents, 1);
    assert_eq!(shown[0].value.as_deref(), Some(&b"change 2"[..]));
    assert_eq!(restored(&mut *feed, first[0].slot), rows(&[("row", "2")]));

    rig.fail_next_commits(1);
    feed.commit(whole(&first[5..], 3)).expect_err("it was made to fail");
    assigned(&mut *feed);
    assert_eq!(restored(&mut *feed, first[0].slot), rows(&[("row", "2")]));
    assert_eq!(read(&mut *feed, 5), first[5..], "what was committed is not read again");
    assert!(idle(&mut *incidents), "the failed commit shows nothing");
}

fn restore_gives_the_last_rows(rig: &mut dyn Rig) {
    let journal = rig.journal();
    append(&*journal, vec![pinned(Topic::Alerts, b"x")]);
    let mut feed = open(&*journal, Group::Correlate);
    let slot = assigned(&mut *feed)[0];
    let set = |key: &str, value: Option<&str>| {
        (slot, Row { key: key.into(), value: value.map(Into::into) })
    };
    let commit = |rows| Commit { rows, ..Commit::default() };
    feed.commit(commit(vec![set("a", Some("1")), set("b", Some("1")), set("c", Some("1"))]))
        .expect("a commit");
    feed.commit(commit(vec![
        set("a", Some("2")),
        set("a", Some("3")),
        set("b", None),
        set("never there", None),
        set("c", None),
        set("c", Some("again")),
    ]))
    .expect("a commit");
    let expected = rows(&[("a", "3"), ("c", "again")]);
    assert_eq!(restored(&mut *feed, slot), expected);
    close(feed);
    drop(journal);
    if rig.reopen() {
        let journal = rig.journal();
        let mut feed = open(&*journal, Group::Correlate);
        assigned(&mut *feed);
        assert_eq!(restored(&mut *feed, slot), expected, "rows outlive reopening");
    }
    let mut notify = open(&*rig.journal(), Group::Notify);
    let slot = assigned(&mut *notify)[0];
    assert_eq!(restored(&mut *notify, slot), BTreeMap::new(), "rows belong to one group");
}

fn positions_outlive_reopening(rig: &mut dyn Rig) {
    let journal = rig.journal();
    append(&*journal, (0..10).map(|n: u64| pinned(Topic::Alerts, &n.to_be_bytes())).collect());
    let mut feed = open(&*journal, Group::Correlate);
    assigned(&mut *feed);
    let all = read(&mut *feed, 10);
    feed.commit(whole(&all[..4], 1)).expect("a commit");
    assert_eq!(feed.lag().iter().map(|(_, behind)| behind).sum::<u64>(), 6);
    close(feed);
    drop(journal);
    if rig.reopen() {
        let journal = rig.journal();
        append(&*journal, vec![pinned(Topic::Alerts, &10u64.to_be_bytes())]);
        let mut feed = open(&*journal, Group::Correlate);
        assigned(&mut *feed);
        let rest = read(&mut *feed, 7);
        assert_eq!(rest[..6], all[4..], "reading resumes at the committed position");
        assert_eq!(number(&rest[6]), 10);
        assert!(rest[6].offset > rest[5].offset && rest[6].time >= rest[5].time);
    } else {
        let mut feed = open(&*rig.journal(), Group::Correlate);
        assigned(&mut *feed);
        assert_eq!(read(&mut *feed, 6), all[4..], "another feed resumes at the position");
    }
}

fn append_times_never_go_back(rig: &mut dyn Rig) {
    let journal = rig.journal();
    for n in 0..20u64 {
        append(&*journal, vec![pinned(Topic::Alerts, &n.to_be_bytes())]);
    }
    let mut follower = journal.follow(Topic::Alerts, From::Beginning).expect("a follower");
    let times: Vec<Timestamp> = follow(&mut *follower, 20).iter().map(|r| r.time).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert!(times[0] > Timestamp::from_millis(0), "times are times of day");
}

fn only_one_feed_of_a_group_holds_a_partition(rig: &mut dyn Rig) {
    let journal = rig.journal();
    append(&*journal, vec![pinned(Topic::Alerts, b"00000000")]);
    let mut first = open(&*journal, Group::Correlate);
    let slots = assigned(&mut *first);
    let mut notify = open(&*journal, Group::Notify);
    assert!(!assigned(&mut *notify).is_empty(), "another group has its own partitions");
    close(first);
    let mut second = open(&*journal, Group::Correlate);
    assert_eq!(assigned(&mut *second), slots, "what was given up goes to the next feed");
    assert_eq!(read(&mut *second, 1).len(), 1, "what was not committed is read again");
}

fn a_follower_of_records_catches_up_once(rig: &mut dyn Rig) {
    let journal = rig.journal();
    append(&*journal, (0..50).map(|n: u64| hashed(Topic::Incidents, n, b"00000000")).collect());
    let mut follower = journal.follow(Topic::Incidents, From::Beginning).expect("a follower");
    append(&*journal, vec![pinned(Topic::Incidents, b"late"), pinned(Topic::Alerts, b"other")]);
    let (mut records, mut caught_up_after) = (Vec::new(), None);
    let patience = Stopwatch::start();
    while records.len() < 51 || caught_up_after.is_none() {
        assert!(patience.elapsed() < PATIENCE, "{} records, {caught_up_after:?}", records.len());
        match poll(&mut *follower) {
            Followed::Batch(batch) => records.extend(owned(&batch)),
            Followed::CaughtUp => {
                assert_eq!(caught_up_after.replace(records.len()), None, "said twice");
            }
            Followed::Idle => {}
        }
    }
    assert!(caught_up_after >= Some(50), "it is behind: {caught_up_after:?}");
    assert!(records.iter().all(|record| record.slot.input == 0));
    assert!(idle(&mut *follower), "nothing comes twice");
    let mut empty = journal.follow(Topic::DeadLetters, From::Beginning).expect("a follower");
    caught_up(&mut *empty);
}

fn a_follower_from_the_end_sees_what_comes(rig: &mut dyn Rig) {
    let journal = rig.journal();
    append(&*journal, vec![pinned(Topic::Incidents, b"before")]);
    let mut follower = journal.follow(Topic::Incidents, From::End).expect("a follower");
    caught_up(&mut *follower);
    let mut after = pinned(Topic::Incidents, b"after");
    after.kind = Kind::Change;
    after.key = b"inc_1".to_vec();
    after.headers = vec![("reason", b"none".to_vec())];
    append(&*journal, vec![after.clone()]);
    let record = follow(&mut *follower, 1).remove(0);
    assert_eq!(record.value, Some(after.value));
    assert_eq!(record.key, after.key);
    assert_eq!(record.kind, after.kind);
}

fn a_follower_of_rows_sees_changes_and_deletions(rig: &mut dyn Rig) {
    let journal = rig.journal();
    append(&*journal, vec![pinned(Topic::Alerts, b"x")]);
    let mut feed = open(&*journal, Group::Correlate);
    let slot = assigned(&mut *feed)[0];
    let set = |feed: &mut dyn Feed, key: &str, value: Option<&str>| {
        let row = Row { key: key.into(), value: value.map(Into::into) };
        feed.commit(Commit { rows: vec![(slot, row)], ..Commit::default() }).expect("a commit");
    };
    set(&mut *feed, "a", Some("1"));
    set(&mut *feed, "b", Some("1"));
    set(&mut *feed, "a", Some("2"));
    set(&mut *feed, "b", None);
    let mut follower = journal.follow(Topic::State, From::Beginning).expect("a follower");
    let mut seen: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    until(&mut *follower, &mut seen, &rows(&[("a", "2")]));
    caught_up(&mut *follower);
    set(&mut *feed, "c", Some("1"));
    set(&mut *feed, "a", None);
    until(&mut *follower, &mut seen, &rows(&[("c", "1")]));
    set(&mut *feed, "c", None);
    until(&mut *follower, &mut seen, &BTreeMap::new());
}

fn an_append_is_there_once_settled(rig: &mut dyn Rig) {
    let journal = rig.journal();
    let mut appender = journal.appender().expect("an appender");
    for n in 0..30u64 {
        appender.begin(vec![pinned(Topic::Events, &n.to_be_bytes())]).expect("taken");
    }
    appender.settle().expect("durable");
    appender.settle().expect("nothing is under way");
    drop(appender);
    drop(journal);
    if rig.reopen() {
        let mut follower = rig.journal().follow(Topic::Events, From::Beginning).expect("one");
        let read = follow(&mut *follower, 30);
        assert!(read.iter().map(number).eq(0..30), "in the order they were begun");
    }
}

fn an_append_that_fails_says_so(rig: &mut dyn Rig) {
    let journal = rig.journal();
    let mut follower = journal.follow(Topic::Events, From::Beginning).expect("a follower");
    caught_up(&mut *follower);
    let mut appender = journal.appender().expect("an appender");
    if !rig.fail_next_appends(1) {
        return;
    }
    let failed = appender.append(vec![pinned(Topic::Events, b"lost")]);
    assert_eq!(failed.expect_err("it was made to fail").class, Class::Retry);
    appender.append(vec![pinned(Topic::Events, b"kept")]).expect("the next one is taken");
    assert_eq!(follow(&mut *follower, 1)[0].value.as_deref(), Some(&b"kept"[..]));
}

fn hashes_choose_the_same_partition_each_time(rig: &mut dyn Rig) {
    let journal = rig.journal();
    let count = u64::from(journal.partitions(Topic::Events));
    let hashes = [0, 1, 7, u64::MAX, 1 << 40];
    for _ in 0..2 {
        let record = |hash: u64| hashed(Topic::Events, hash, &hash.to_be_bytes());
        append(&*journal, hashes.into_iter().map(record).collect());
    }
    let mut follower = journal.follow(Topic::Events, From::Beginning).expect("a follower");
    for record in follow(&mut *follower, 2 * hashes.len()) {
        assert_eq!(u64::from(record.slot.partition), number(&record) % count);
    }
}

fn large_batches_come_whole(rig: &mut dyn Rig) {
    let journal = rig.journal();
    let value = |n: u64| [&n.to_be_bytes()[..], &[b'x'; 400]].concat();
    for start in (0..20_000).step_by(5_000) {
        append(
            &*journal,
            (start..start + 5_000).map(|n| pinned(Topic::Alerts, &value(n))).collect(),
        );
    }
    append(&*journal, vec![pinned(Topic::Alerts, &[7; 900_000])]);
    let mut feed = open(&*journal, Group::Correlate);
    assigned(&mut *feed);
    let all = read(&mut *feed, 20_001);
    assert!(all[..20_000].iter().map(number).eq(0..20_000), "each once and in order");
    assert_eq!(all[20_000].value.as_ref().map(Vec::len), Some(900_000));
    feed.commit(whole(&all, 1)).expect("a commit");
    assert_eq!(feed.lag().iter().map(|(_, behind)| behind).sum::<u64>(), 0);
}

/// A commit with a row, a change and the position after `read`.
fn whole(read: &[OwnedRecord], number: u32) -> Commit {
    let last = read.last().expect("a commit stands for records");
    let row = Row { key: b"row".to_vec(), value: Some(number.to_string().into_bytes()) };
    let change = pinned(Topic::Incidents, format!("change {number}").as_bytes());
    Commit {
        rows: vec![(last.slot, row)],
        records: vec![change],
        positions: vec![(last.slot, last.offset.next())],
    }
}

fn pinned(topic: Topic, value: &[u8]) -> Outgoing {
    outgoing(topic, Route::Partition(0), value)
}

fn hashed(topic: Topic, hash: u64, value: &[u8]) -> Outgoing {
    outgoing(topic, Route::Hash(hash), value)
}

fn outgoing(topic: Topic, route: Route, value: &[u8]) -> Outgoing {
    let (key, value, headers) = (Vec::new(), value.to_vec(), Vec::new());
    Outgoing { topic, route, kind: Kind::Update, key, value, headers }
}

/// The number that a record's value begins with.
fn number(record: &OwnedRecord) -> u64 {
    let value = record.value.as_deref().and_then(<[u8]>::first_chunk);
    u64::from_be_bytes(*value.expect("the check wrote eight bytes at least"))
}

fn rows(rows: &[(&str, &str)]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    rows.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

fn append(journal: &dyn Journal, records: Vec<Outgoing>) {
    let mut appender = journal.appender().expect("an appender");
    appender.append(records).expect("an append");
}

fn open(journal: &dyn Journal, group: Group) -> Box<dyn Feed> {
    journal.feed(group).expect("a feed")
}

fn close(feed: Box<dyn Feed>) {
    feed.close().expect("nothing is under way");
}

/// Polls until partitions are announced; records before that would be a fault.
pub fn assigned(feed: &mut dyn Feed) -> Vec<Slot> {
    let patience = Stopwatch::start();
    loop {
        assert!(patience.elapsed() < PATIENCE, "no partition was announced");
        match feed.poll(WAIT).expect("a poll") {
            Polled::Assigned(slots) => return slots,
            Polled::Idle | Polled::Revoked(_) => {}
            Polled::Batch(_) => unreachable!("records came before their partition"),
        }
    }
}

/// Reads until there are `count` records, and makes sure there are no more.
pub fn read(feed: &mut dyn Feed, count: usize) -> Vec<OwnedRecord> {
    let mut records = Vec::new();
    let patience = Stopwatch::start();
    while records.len() < count {
        assert!(patience.elapsed() < PATIENCE, "{} of {count} records", records.len());
        match feed.poll(WAIT).expect("a poll") {
            Polled::Batch(batch) => records.extend(owned(&batch)),
            Polled::Idle => {}
            Polled::Assigned(slots) => unreachable!("{slots:?} were announced while reading"),
            Polled::Revoked(slots) => unreachable!("{slots:?} were revoked while reading"),
        }
    }
    assert_eq!(records.len(), count, "more records than were written");
    records
}

/// Every row of a partition.
pub fn restored(feed: &mut dyn Feed, slot: Slot) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut rows = BTreeMap::new();
    feed.restore(slot, &mut |key, value| {
        let twice = rows.insert(key.to_vec(), value.to_vec());
        assert_eq!(twice, None, "a row came twice");
    })
    .expect("a restore");
    rows
}

/// Follows until there are `count` records, and makes sure there are no more.
pub fn follow(follower: &mut dyn Follower, count: usize) -> Vec<OwnedRecord> {
    let mut records = Vec::new();
    let patience = Stopwatch::start();
    while records.len() < count {
        assert!(patience.elapsed() < PATIENCE, "{} of {count} records", records.len());
        if let Followed::Batch(batch) = poll(follower) {
            records.extend(owned(&batch));
        }
    }
    assert_eq!(records.len(), count, "more records than were written");
    records
}

/// Polls until the follower says that it has caught up; records before that are skipped.
pub fn caught_up(follower: &mut dyn Follower) {
    let patience = Stopwatch::start();
    while !matches!(poll(follower), Followed::CaughtUp) {
        assert!(patience.elapsed() < PATIENCE, "it never caught up");
    }
}

/// Folds rows into `seen` until they are as expected.
fn until(
    follower: &mut dyn Follower,
    seen: &mut BTreeMap<Vec<u8>, Vec<u8>>,
    expected: &BTreeMap<Vec<u8>, Vec<u8>>,
) {
    let patience = Stopwatch::start();
    while seen != expected {
        assert!(patience.elapsed() < PATIENCE, "{seen:?} instead of {expected:?}");
        let Followed::Batch(batch) = poll(follower) else { continue };
        for record in owned(&batch) {
            match record.value {
                Some(value) => seen.insert(record.key, value),
                None => seen.remove(&record.key),
            };
        }
    }
}

/// Whether nothing comes for a while.
fn idle(follower: &mut dyn Follower) -> bool {
    (0..3).all(|_| matches!(poll(follower), Followed::Idle))
}

fn poll(follower: &mut dyn Follower) -> Followed {
    let followed: Result<Followed, JournalError> = follower.poll(WAIT);
    followed.expect("a poll")
}

fn owned(batch: &Batch) -> Vec<OwnedRecord> {
    let of = |index| {
        let (slot, record) = batch.get(index);
        OwnedRecord::of(slot, &record)
    };
    (0..batch.len()).map(of).collect()
}

/// The position after a record, for commits.
#[must_use]
pub fn after(record: &OwnedRecord) -> (Slot, Offset) {
    (record.slot, record.offset.next())
}
