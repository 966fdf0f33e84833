//! The follower against a journal that says what the test wants.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use super::super::tests::{board, change};
use super::super::{Query, Settings};
use super::*;
use crate::clock::ManualClock;
use crate::journal::{Appender, Feed, Follower, Group, OwnedRecord};
use crate::model::Timestamp;
use crate::stage::{Offset, Slot};

const NOW: Timestamp = Timestamp::from_millis(1_763_913_700_000);
const LONG: Duration = Duration::from_secs(30);

enum Step {
    Records(Vec<OwnedRecord>),
    CaughtUp,
    Fail(Class),
}

/// Hands out one script per follower that is opened, and remembers in which order they were.
#[derive(Default)]
struct Scripted {
    scripts: Mutex<BTreeMap<Topic, VecDeque<VecDeque<Step>>>>,
    opened: Mutex<Vec<Topic>>,
}

struct Script(VecDeque<Step>);

impl Follower for Script {
    fn poll(&mut self, wait: Duration) -> Result<Followed, JournalError> {
        match self.0.pop_front() {
            Some(Step::Records(records)) => Ok(Followed::Batch(Box::new(records))),
            Some(Step::CaughtUp) => Ok(Followed::CaughtUp),
            Some(Step::Fail(class)) => {
                Err(JournalError { class, doing: "poll".into(), why: "the broker is down".into() })
            }
            None => {
                std::thread::sleep(wait.min(Duration::from_millis(1)));
                Ok(Followed::Idle)
            }
        }
    }
}

impl Journal for Scripted {
    fn partitions(&self, _: Topic) -> u32 {
        2
    }

    fn feed(&self, _: Group) -> Result<Box<dyn Feed>, JournalError> {
        Err(JournalError::fatal("feed", "not in this test"))
    }

    fn appender(&self) -> Result<Box<dyn Appender>, JournalError> {
        Err(JournalError::fatal("appender", "not in this test"))
    }

    fn follow(&self, topic: Topic, _: From) -> Result<Box<dyn Follower>, JournalError> {
        self.opened.lock().expect("nobody panics").push(topic);
        let mut scripts = self.scripts.lock().expect("nobody panics");
        let script = scripts.entry(topic).or_default().pop_front().unwrap_or_default();
        Ok(Box::new(Script(script)))
    }
}

/// Rows that are changes, as a stand-in for correlate's.
#[derive(Default)]
struct ChangeRows(BTreeMap<Vec<u8>, Change>);

impl RowLoader for ChangeRows {
    fn begin(&mut self) {
        self.0.clear();
    }

    fn row(&mut self, _: u32, key: &[u8], value: Option<&[u8]>) -> Result<(), RowError> {
        match value {
            Some(value) => {
                let change = wire::change::decode(value)
                    .map_err(|error| RowError { key: "row".into(), why: error.to_string() })?;
                self.0.insert(key.to_vec(), change);
            }
            None => drop(self.0.remove(key)),
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Loaded, RowError> {
        let incidents = std::mem::take(&mut self.0).into_values().collect();
        Ok(Loaded { incidents, results: Vec::new() })
    }
}

fn record(kind: Kind, change: &Change, value: Option<Vec<u8>>) -> OwnedRecord {
    OwnedRecord {
        slot: Slot::default(),
        offset: Offset(0),
        time: change.at,
        kind,
        key: change.id.to_string().into_bytes(),
        value,
        headers: Vec::new(),
    }
}

fn told(change: &Change) -> OwnedRecord {
    record(Kind::Change, change, Some(wire::change::encode(change)))
}

fn row(change: &Change) -> OwnedRecord {
    record(Kind::Row, change, Some(wire::change::encode(change)))
}

struct Running {
    board: Arc<Board>,
    health: Health,
    metrics: Metrics,
    journal: Arc<Scripted>,
    stop: Shutdown,
    thread: std::thread::JoinHandle<Result<(), JournalError>>,
}

fn run(rows: Vec<Vec<Step>>, changes: Vec<Vec<Step>>) -> Running {
    let deques = |all: Vec<Vec<Step>>| all.into_iter().map(VecDeque::from).collect();
    let journal = Arc::new(Scripted {
        scripts: Mutex::new(BTreeMap::from([
            (Topic::State, deques(rows)),
            (Topic::Incidents, deques(changes)),
        ])),
        opened: Mutex::default(),
    });
    let board = Arc::new(board(Settings::default()));
    let (health, stop) = (Health::default(), Shutdown::new());
    let metrics = Metrics::new(prometheus::Registry::new(), &[]).expect("a new registry");
    let follow = Follow {
        journal: Arc::clone(&journal) as Arc<dyn Journal>,
        board: Arc::clone(&board),
        rows: Box::new(ChangeRows::default()),
        clock: ManualClock::at(NOW),
        health: health.clone(),
        metrics: metrics.clone(),
        stop: stop.clone(),
    };
    let thread = std::thread::spawn(move || follow.run());
    Running { board, health, metrics, journal, stop, thread }
}

impl Running {
    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let watch = Stopwatch::start();
        while !holds(self) {
            assert!(watch.elapsed() < LONG, "never: {what}; {:?}", self.health.troubles());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn end(self) -> Result<(), JournalError> {
        self.stop.begin();
        self.thread.join().expect("the follower does not panic")
    }
}

#[test]
fn rows_come_first_and_changes_of_the_meantime_are_not_missed() {
    let gone = change(3, 1, true, Vec::new());
    let running = run(
        vec![vec![
            Step::Records(vec![row(&change(1, 2, true, Vec::new())), row(&gone)]),
            Step::Records(vec![record(Kind::Row, &gone, None)]),
            Step::CaughtUp,
        ]],
        vec![vec![
            // Committed while the rows were read: one is in them already.
            Step::Records(vec![
                told(&change(1, 2, true, Vec::new())),
                told(&change(2, 1, true, Vec::new())),
            ]),
            Step::Records(vec![
                record(Kind::Raw, &gone, Some(b"{}".to_vec())),
                record(Kind::Change, &gone, Some(b"{\"id\":7}".to_vec())),
                told(&change(1, 3, false, Vec::new())),
            ]),
        ]],
    );
    running.until("both changes show", |running| {
        let page = running.board.list(&Query { limit: 9, ..Query::default() });
        page.incidents.len() == 1 && page.incidents[0].change.title == "web-2"
    });
    running.until("idle makes it current", |running| running.board.as_of() == NOW);
    assert!(running.board.get(gone.id).is_none(), "its row was deleted");
    assert!(running.health.troubles().is_empty());
    assert_eq!(running.metrics.board_dropped.with_label_values(&["change"]).get(), 1);
    let opened = running.journal.opened.lock().expect("nobody panics").clone();
    assert_eq!(opened, [Topic::Incidents, Topic::State]);
    running.end().expect("it was told to stop");
}

#[test]
fn after_a_failure_it_begins_anew_and_what_ended_meanwhile_goes() {
    let ended = change(1, 1, true, Vec::new());
    let running = run(
        vec![
            vec![Step::Records(vec![row(&ended)]), Step::Fail(Class::Retry)],
            vec![Step::Records(vec![row(&ended)]), Step::CaughtUp],
            vec![Step::Records(vec![row(&change(2, 1, true, Vec::new()))]), Step::CaughtUp],
        ],
        vec![vec![], vec![Step::CaughtUp, Step::Fail(Class::Retry)], vec![]],
    );
    running.until("the third load shows", |running| {
        running.board.get(change(2, 1, true, Vec::new()).id).is_some()
    });
    running.until("it is well again", |running| running.health.troubles().is_empty());
    assert!(running.board.get(ended.id).is_none(), "an incident that is over does not stay open");
    running.end().expect("it was told to stop");
}

#[test]
fn while_it_cannot_load_health_says_why_and_the_board_cannot_be_asked() {
    let mut broken = row(&change(1, 1, true, Vec::new()));
    broken.value = Some(b"\x09".to_vec());
    let running = run((0..50).map(|_| vec![Step::Records(vec![broken.clone()])]).collect(), vec![]);
    running.until("the reason shows", |running| {
        running.health.troubles().get("board").is_some_and(|why| why.contains("cannot be read"))
    });
    assert!(!running.board.is_loaded());
    running.end().expect("it was told to stop");
}

#[test]
fn what_is_beyond_repair_ends_it() {
    let running = run(vec![vec![Step::CaughtUp]], vec![vec![Step::Fail(Class::Fatal)]]);
    running.until("it gave up", |running| running.thread.is_finished());
    assert!(running.health.troubles().contains_key("board"));
    assert_eq!(running.end().expect_err("it is beyond repair").class, Class::Fatal);
}
