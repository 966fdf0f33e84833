//! The journals in memory and on SQLite: what all must do, and what only SQLite has to.
//!
//! The Kafka journal runs the same conformance suite in its own module.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use muster::clock::{ManualClock, SharedClock, Stopwatch, SystemClock};
use muster::journal::memory::Memory;
use muster::journal::sqlite::{Drill, Settings, Sqlite};
use muster::journal::{
    Class, Commit, Feed, Followed, From, Group, Journal, JournalError, OwnedRecord,
};
use muster::model::{Span, Timestamp};
use muster::stage::{Kind, Outgoing, Route, Row, Topic};
use muster::testing::conformance::{self, Rig, after, assigned, caught_up, follow, read, restored};
use tempfile::TempDir;

/// Where a child process finds the data directory it is to be killed over.
const VICTIM: &str = "MUSTER_TEST_JOURNAL_VICTIM";
const DAY: Span = Span::from_secs(86_400);

struct MemoryRig(Arc<Memory>);

impl Rig for MemoryRig {
    fn journal(&self) -> Arc<dyn Journal> {
        Arc::clone(&self.0) as Arc<dyn Journal>
    }

    fn reopen(&mut self) -> bool {
        false
    }

    fn fail_next_commits(&self, times: u32) -> bool {
        self.0.fail_next_commits(times);
        true
    }

    fn fail_next_appends(&self, times: u32) -> bool {
        self.0.fail_next_appends(times);
        true
    }
}

struct SqliteRig {
    directory: TempDir,
    open: Option<Arc<Sqlite>>,
}

impl SqliteRig {
    fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        let open = Some(open(directory.path(), Arc::new(SystemClock)).expect("a new journal"));
        Self { directory, open }
    }

    fn sqlite(&self) -> &Arc<Sqlite> {
        self.open.as_ref().expect("it is open between the calls of the rig")
    }
}

impl Rig for SqliteRig {
    fn journal(&self) -> Arc<dyn Journal> {
        Arc::clone(self.sqlite()) as Arc<dyn Journal>
    }

    fn reopen(&mut self) -> bool {
        drop(self.open.take());
        let opened = open(self.directory.path(), Arc::new(SystemClock));
        self.open = Some(opened.expect("all that was handed out is gone, and the lock with it"));
        true
    }

    fn fail_next_commits(&self, times: u32) -> bool {
        self.sqlite().drill(Drill::Sync(times)).expect("a drill");
        true
    }

    fn fail_next_appends(&self, times: u32) -> bool {
        self.fail_next_commits(times)
    }
}

#[test]
fn memory_does_what_every_journal_must() {
    let clock: SharedClock = Arc::new(SystemClock);
    for count in [1, 4] {
        conformance::check(&mut || {
            let partitions = Topic::ALL.into_iter().map(|topic| (topic, count)).collect();
            Box::new(MemoryRig(Memory::new(Arc::clone(&clock), partitions)))
        });
    }
}

#[test]
fn sqlite_does_what_every_journal_must() {
    conformance::check(&mut || Box::new(SqliteRig::new()));
}

#[test]
fn a_second_process_is_refused_by_the_name_of_the_directory() {
    let directory = TempDir::new().expect("a directory");
    let first = open(directory.path(), Arc::new(SystemClock)).expect("a new journal");
    let error = refused(directory.path());
    assert_eq!(error.class, Class::Fatal);
    let text = error.to_string();
    assert!(text.contains(&directory.path().display().to_string()), "{text}");
    assert!(text.contains("another process"), "{text}");
    // A feed alone keeps the directory: it still reads and writes there.
    let feed = first.feed(Group::Correlate).expect("a feed");
    drop(first);
    refused(directory.path());
    drop(feed);
    open(directory.path(), Arc::new(SystemClock)).expect("the directory is free again");
}

#[test]
fn another_schema_version_and_a_foreign_database_are_refused() {
    let directory = TempDir::new().expect("a directory");
    drop(open(directory.path(), Arc::new(SystemClock)).expect("a new journal"));
    let file = directory.path().join("muster.db");
    raw(&file).pragma_update(None, "user_version", 7).expect("a pragma");
    let text = refused(directory.path()).to_string();
    assert!(text.contains("schema version 7") && text.contains("muster.db"), "{text}");

    std::fs::remove_file(&file).expect("it is there");
    raw(&file).execute_batch("CREATE TABLE mine (x)").expect("a table");
    let text = refused(directory.path()).to_string();
    assert!(text.contains("not a database of muster"), "{text}");
    let tables: i64 = raw(&file)
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .expect("a count");
    assert_eq!(tables, 1, "what is not ours stays as it was");
}

#[test]
fn a_damaged_database_is_refused() {
    let directory = TempDir::new().expect("a directory");
    std::fs::write(directory.path().join("muster.db"), [7; 8_192]).expect("a file");
    let error = refused(directory.path());
    assert_eq!(error.class, Class::Fatal);
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[test]
fn append_times_do_not_go_back_over_a_restart() {
    let directory = TempDir::new().expect("a directory");
    let clock = ManualClock::at(Timestamp::from_millis(1_000_000));
    let journal = open(directory.path(), Arc::clone(&clock) as SharedClock).expect("a journal");
    append(&*journal, &[b"first"]).expect("an append");
    drop(journal);
    clock.set(Timestamp::from_millis(5));
    let journal = open(directory.path(), Arc::clone(&clock) as SharedClock).expect("a journal");
    append(&*journal, &[b"second"]).expect("an append");
    clock.set(Timestamp::from_millis(2_000_000));
    append(&*journal, &[b"third"]).expect("an append");
    let mut follower = journal.follow(Topic::Alerts, From::Beginning).expect("a follower");
    let times: Vec<i64> =
        follow(&mut *follower, 3).iter().map(|record| record.time.as_millis()).collect();
    assert_eq!(times, [1_000_000, 1_000_000, 2_000_000]);
}

#[test]
fn retention_takes_what_is_old_and_read_and_no_more() {
    let directory = TempDir::new().expect("a directory");
    let clock = ManualClock::at(Timestamp::from_millis(0) + DAY);
    let journal = open(directory.path(), Arc::clone(&clock) as SharedClock).expect("a journal");
    let mut feed = journal.feed(Group::Correlate).expect("a feed");
    append(&*journal, &[b"0", b"1", b"2", b"3", b"4", b"5"]).expect("an append");
    assigned(&mut *feed);
    let all = read(&mut *feed, 6);
    commit_to(&mut *feed, &all[3]);

    journal.tidy().expect("a tidy");
    assert_eq!(values(&*journal), all, "all of it is young");
    for _ in 0..8 {
        clock.advance(DAY);
    }
    append(&*journal, &[b"young"]).expect("an append");
    journal.tidy().expect("a tidy");
    let left = values(&*journal);
    assert_eq!(left[..2], all[4..], "what was not read stays, however old");
    assert_eq!(left[2].value.as_deref(), Some(&b"young"[..]));

    // A feed that comes back goes on where it was, over the gap.
    drop(feed);
    let mut feed = journal.feed(Group::Correlate).expect("a feed");
    assigned(&mut *feed);
    assert_eq!(read(&mut *feed, 3), left);
    commit_to(&mut *feed, &left[2]);
    for _ in 0..8 {
        clock.advance(DAY);
    }
    journal.tidy().expect("a tidy");
    assert_eq!(values(&*journal), []);

    // Offsets go on although no record is left, also in a new process.
    drop(feed);
    drop(journal);
    let journal = open(directory.path(), clock as SharedClock).expect("a journal");
    append(&*journal, &[b"next"]).expect("an append");
    assert_eq!(values(&*journal)[0].offset, left[2].offset.next());
}

#[test]
fn retention_by_size_takes_the_oldest_read_records_first() {
    let directory = TempDir::new().expect("a directory");
    let settings = Settings { max_bytes: 4 << 20, ..settings(directory.path()) };
    let journal = Sqlite::open(&settings, Arc::new(SystemClock)).expect("a journal");
    let mut feed = journal.feed(Group::Correlate).expect("a feed");
    let big = [b'x'; 1_000];
    for _ in 0..10 {
        append(&*journal, &vec![&big[..]; 1_000]).expect("an append");
    }
    journal.tidy().expect("a tidy");
    assert_eq!(values(&*journal).len(), 10_000, "nothing was read yet, so nothing goes");
    assigned(&mut *feed);
    let all = read(&mut *feed, 10_000);
    commit_to(&mut *feed, &all[8_999]);
    journal.tidy().expect("a tidy");
    let left = values(&*journal);
    assert!(left.len() < 6_000, "{} records are left", left.len());
    assert_eq!(left[..], all[10_000 - left.len()..], "the oldest went");
    assert!(left.len() >= 1_000, "what was not read stays");
}

#[test]
fn a_follower_is_told_when_retention_was_faster() {
    let directory = TempDir::new().expect("a directory");
    let clock = ManualClock::at(Timestamp::from_millis(0));
    let journal = open(directory.path(), Arc::clone(&clock) as SharedClock).expect("a journal");
    append(&*journal, &[b"0"]).expect("an append");
    let mut follower = journal.follow(Topic::Alerts, From::Beginning).expect("a follower");
    follow(&mut *follower, 1);
    append(&*journal, &[b"1"]).expect("an append");
    for _ in 0..8 {
        clock.advance(DAY);
    }
    journal.tidy().expect("a tidy");
    append(&*journal, &[b"2"]).expect("an append");
    caught_up(&mut *follower);
    let wait = Duration::from_secs(10);
    let Err(error) = follower.poll(wait) else { panic!("the gap was passed over in silence") };
    assert!(error.class == Class::Retry && error.to_string().contains("retention"), "{error}");
    assert_eq!(follow(&mut *follower, 1)[0].value.as_deref(), Some(&b"2"[..]));
}

#[test]
fn a_deleted_row_leaves_nothing_once_followers_have_seen_it() {
    let directory = TempDir::new().expect("a directory");
    let journal = open(directory.path(), Arc::new(SystemClock)).expect("a journal");
    let mut feed = journal.feed(Group::Correlate).expect("a feed");
    let slot = assigned(&mut *feed)[0];
    let mut set = |value: Option<&[u8]>| {
        let row = Row { key: b"k".to_vec(), value: value.map(<[u8]>::to_vec) };
        feed.commit(Commit { rows: vec![(slot, row)], ..Commit::default() }).expect("a commit");
    };
    let marks = || -> i64 {
        raw(&directory.path().join("muster.db"))
            .query_row("SELECT count(*) FROM rows_state", [], |row| row.get(0))
            .expect("a count")
    };
    let mut follower = journal.follow(Topic::State, From::Beginning).expect("a follower");
    set(Some(b"v"));
    set(None);
    journal.tidy().expect("a tidy");
    assert_eq!(marks(), 1, "the follower has not seen the deletion");
    caught_up(&mut *follower);
    while !matches!(follower.poll(Duration::ZERO).expect("a poll"), Followed::Idle) {}
    journal.tidy().expect("a tidy");
    assert_eq!(marks(), 0);
    drop(follower);
    set(Some(b"v"));
    set(None);
    assert_eq!(marks(), 0, "without followers there is no mark at all");
}

#[test]
fn a_full_disk_fails_commits_whole_and_is_recovered_from() {
    let rig = SqliteRig::new();
    let journal = rig.sqlite();
    append(&**journal, &[b"0", b"1"]).expect("an append");
    let mut feed = journal.feed(Group::Correlate).expect("a feed");
    let slot = assigned(&mut *feed)[0];
    let both = read(&mut *feed, 2);
    journal.drill(Drill::Pages(Some(1))).expect("a drill");
    let large = || Commit {
        rows: vec![(slot, Row { key: b"row".to_vec(), value: Some(vec![7; 100_000]) })],
        records: vec![outgoing(Topic::Incidents, &[8; 100_000])],
        positions: vec![after(&both[1])],
    };
    let error = feed.commit(large()).expect_err("there is no room");
    assert!(error.class == Class::Retry && error.to_string().contains("make room"), "{error}");
    let error = append(&**journal, &[&[9; 100_000]]).expect_err("there is no room");
    assert_eq!(error.class, Class::Retry);
    assigned(&mut *feed);
    assert!(restored(&mut *feed, slot).is_empty());
    assert_eq!(read(&mut *feed, 2), both);

    journal.drill(Drill::Pages(None)).expect("a drill");
    feed.commit(large()).expect("there is room again");
    assert_eq!(restored(&mut *feed, slot).len(), 1);
    append(&**journal, &[b"2"]).expect("there is room again");
    assert_eq!(read(&mut *feed, 1)[0].offset, both[1].offset.next(), "no offset was used up");
}

#[test]
fn commits_of_many_threads_share_a_transaction_and_all_are_kept() {
    let rig = SqliteRig::new();
    let journal = rig.sqlite();
    std::thread::scope(|scope| {
        for thread in 0..8u8 {
            scope.spawn(move || {
                let mut appender = journal.appender().expect("an appender");
                for n in 0..50u8 {
                    appender
                        .append(vec![outgoing(Topic::Alerts, &[thread, n])])
                        .expect("an append");
                }
            });
        }
    });
    let mut next = [0; 8];
    for record in values(&**journal) {
        let value = record.value.expect("each has one");
        let (thread, n) = (usize::from(value[0]), value[1]);
        assert_eq!(n, next[thread], "a thread's appends keep their order");
        next[thread] += 1;
    }
    assert_eq!(next, [50; 8]);
}

#[test]
fn a_directory_that_is_let_go_soon_is_waited_for() {
    let directory = TempDir::new().expect("a directory");
    let before = open(directory.path(), Arc::new(SystemClock)).expect("a journal");
    let leaving = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        drop(before);
    });
    open(directory.path(), Arc::new(SystemClock)).expect("it is let go in time");
    leaving.join().expect("it leaves");
}

/// Not a test of its own: what the next one starts as a process and kills. Each commit holds a
/// record, a row and a position that stand for the same number.
#[test]
fn victim() {
    let Some(path) = std::env::var_os(VICTIM) else { return };
    let journal = open(Path::new(&path), Arc::new(SystemClock)).expect("a journal");
    let mut feed = journal.feed(Group::Correlate).expect("a feed");
    let slot = assigned(&mut *feed)[0];
    let mut appender = journal.appender().expect("an appender");
    for _ in 0..1_000_000 {
        appender.append(vec![outgoing(Topic::Alerts, &[b'x'; 300])]).expect("an append");
        let record = read(&mut *feed, 1).remove(0);
        let number = record.offset.0.to_be_bytes().to_vec();
        let row = |name: &str| Row { key: name.into(), value: Some(number.clone()) };
        feed.commit(Commit {
            rows: vec![(slot, row("a")), (slot, row("b"))],
            records: vec![outgoing(Topic::Incidents, &number), outgoing(Topic::Incidents, &number)],
            positions: vec![after(&record)],
        })
        .expect("a commit");
    }
}

#[test]
fn a_kill_leaves_each_commit_whole_or_absent() {
    let directory = TempDir::new().expect("a directory");
    let mut committed = 0;
    for round in 0..8u64 {
        let program = std::env::current_exe().expect("this test binary");
        let child = Command::new(program)
            .args(["--exact", "--nocapture", "journal::victim"])
            .env(VICTIM, directory.path())
            .stdout(Stdio::null())
            .spawn();
        let mut child = Killed(child.expect("a child"));
        wait_for_growth(&mut child, directory.path(), committed, 20 + round * 7);
        drop(child);

        let journal = open(directory.path(), Arc::new(SystemClock)).expect("a clean restart");
        let mut feed = journal.feed(Group::Correlate).expect("a feed");
        let slot = assigned(&mut *feed)[0];
        let state = restored(&mut *feed, slot);
        let mut follower = journal.follow(Topic::Incidents, From::Beginning).expect("a follower");
        let shown = numbers(&mut *follower);
        let position = i64::try_from(shown.len() / 2).expect("few");
        assert!(shown.iter().copied().eq((0..position).flat_map(|n| [n, n])), "{shown:?}");
        for row in [b"a", b"b"] {
            assert_eq!(state.get(&row[..]), Some(&(position - 1).to_be_bytes().to_vec()));
        }
        // At most the one append that no commit stood for yet is left, at the position.
        let waiting: u64 = feed.lag().iter().map(|(_, behind)| behind).sum();
        assert!(waiting <= 1, "{waiting} records wait");
        if waiting == 1 {
            let record = read(&mut *feed, 1).remove(0);
            assert_eq!(record.offset.0, position);
            let number = position.to_be_bytes().to_vec();
            let row = |name: &str| Row { key: name.into(), value: Some(number.clone()) };
            feed.commit(Commit {
                rows: vec![(slot, row("a")), (slot, row("b"))],
                records: vec![
                    outgoing(Topic::Incidents, &number),
                    outgoing(Topic::Incidents, &number),
                ],
                positions: vec![after(&record)],
            })
            .expect("a commit");
        }
        assert!(position > committed, "the child did nothing");
        committed = position;
    }
}

/// A child that does not outlive the test, however that ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself; the test says so then.
        drop(self.0.kill());
        self.0.wait().expect("it was started here");
    }
}

/// Waits until the child has committed some more, looking on from outside as an operator may.
fn wait_for_growth(child: &mut Killed, path: &Path, committed: i64, by: u64) {
    let patience = Stopwatch::start();
    loop {
        let ended = child.0.try_wait().expect("its state can be asked");
        assert!(ended.is_none(), "the child ended by itself: {ended:?}");
        assert!(patience.elapsed() < Duration::from_secs(120), "the child commits nothing");
        let file = path.join("muster.db");
        let position = rusqlite::Connection::open_with_flags(
            &file,
            rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
        )
        .and_then(|reader| {
            reader.query_row("SELECT coalesce(max(next), 0) FROM positions", [], |row| row.get(0))
        });
        // Until the child has made the tables there is nothing to read.
        let position: i64 = position.unwrap_or_default();
        if position >= committed + i64::try_from(by).expect("few") {
            return;
        }
        std::thread::yield_now();
    }
}

fn numbers(follower: &mut dyn muster::journal::Follower) -> Vec<i64> {
    let mut numbers = Vec::new();
    loop {
        match follower.poll(Duration::from_secs(10)).expect("a poll") {
            Followed::CaughtUp => return numbers,
            Followed::Idle => {}
            Followed::Batch(batch) => numbers.extend((0..batch.len()).map(|index| {
                let value = batch.get(index).1.value.and_then(<[u8]>::first_chunk);
                i64::from_be_bytes(*value.expect("eight bytes"))
            })),
        }
    }
}

fn settings(path: &Path) -> Settings {
    Settings {
        path: path.to_owned(),
        keep_alerts: Span::from_secs(7 * 86_400),
        keep_incidents: Span::from_secs(30 * 86_400),
        max_bytes: 4 << 30,
    }
}

fn open(path: &Path, clock: SharedClock) -> Result<Arc<Sqlite>, JournalError> {
    Sqlite::open(&settings(path), clock)
}

fn refused(path: &Path) -> JournalError {
    match open(path, Arc::new(SystemClock)) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error,
    }
}

fn raw(file: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(file).expect("a connection")
}

fn outgoing(topic: Topic, value: &[u8]) -> Outgoing {
    let (route, kind) = (Route::Partition(0), Kind::Update);
    Outgoing { topic, route, kind, key: Vec::new(), value: value.to_vec(), headers: Vec::new() }
}

fn append(journal: &dyn Journal, values: &[&[u8]]) -> Result<(), JournalError> {
    let records = values.iter().map(|value| outgoing(Topic::Alerts, value)).collect();
    journal.appender()?.append(records)
}

fn commit_to(feed: &mut dyn Feed, last: &OwnedRecord) {
    feed.commit(Commit { positions: vec![after(last)], ..Commit::default() }).expect("a commit");
}

/// What is left of `muster.alerts`.
fn values(journal: &dyn Journal) -> Vec<OwnedRecord> {
    let mut records = Vec::new();
    let mut follower = journal.follow(Topic::Alerts, From::Beginning).expect("a follower");
    loop {
        match follower.poll(Duration::from_secs(10)).expect("a poll") {
            Followed::CaughtUp => return records,
            Followed::Idle => {}
            Followed::Batch(batch) => records.extend((0..batch.len()).map(|index| {
                let (slot, record) = batch.get(index);
                OwnedRecord::of(slot, &record)
            })),
        }
    }
}

/// A topic that nobody named has one partition.
#[test]
fn memory_has_one_partition_by_default() {
    let journal = Memory::new(Arc::new(SystemClock), BTreeMap::from([(Topic::Alerts, 3)]));
    assert_eq!((journal.partitions(Topic::Alerts), journal.partitions(Topic::State)), (3, 1));
}
