//! The queue against an appender that does as the test says.

use std::future::Future;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::collect::Origin;
use crate::journal::Class;
use crate::stage::{Route, Topic};

const NOW: Timestamp = Timestamp::from_millis(1_763_913_600_000);

/// What was appended, and how the next append fails.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<(Vec<Outgoing>, Option<Class>)>>);

impl Log {
    fn fail_next(&self, class: Class) {
        self.0.lock().expect("nobody panics").1 = Some(class);
    }

    fn values(&self) -> Vec<String> {
        let log = self.0.lock().expect("nobody panics");
        log.0.iter().map(|record| String::from_utf8_lossy(&record.value).into_owned()).collect()
    }
}

impl Appender for Log {
    fn begin(&mut self, records: Vec<Outgoing>) -> Result<(), JournalError> {
        let mut log = self.0.lock().expect("nobody panics");
        match log.1.take() {
            Some(class) => {
                Err(JournalError { class, doing: "append".into(), why: "disk full".into() })
            }
            None => {
                log.0.extend(records);
                Ok(())
            }
        }
    }

    fn settle(&mut self) -> Result<(), JournalError> {
        Ok(())
    }
}

fn outgoing(topic: Topic, value: &[u8]) -> Outgoing {
    Outgoing {
        topic,
        route: Route::Partition(0),
        kind: Kind::Raw,
        key: Vec::new(),
        value: value.to_vec(),
        headers: Vec::new(),
    }
}

/// One event a word; words that begin with `!` are bad.
fn decode(incoming: &Incoming<'_>) -> Decoded {
    let mut decoded = Decoded::default();
    let text = String::from_utf8_lossy(incoming.bytes);
    for (index, word) in text.split_whitespace().enumerate() {
        if word.starts_with('!') {
            decoded.dead_letters.push(outgoing(Topic::DeadLetters, word.as_bytes()));
            let (reason, message) = (Reason::NoSource, word.to_owned());
            decoded.rejected.push(Rejected { index: Some(index), reason, message });
            decoded.tally.late += 1;
        } else {
            decoded.events.push(word.as_bytes().to_vec());
        }
    }
    decoded
}

struct Rig {
    intake: Intake,
    feed: IntakeFeed,
    log: Log,
    metrics: Metrics,
}

fn rig(settings: &Settings) -> Rig {
    let metrics = Metrics::new(prometheus::Registry::new(), &[]).expect("a new registry");
    let log = Log::default();
    let appender = Box::new(log.clone());
    let (intake, mut feed) = queue(settings, Arc::new(decode), appender, metrics.clone());
    assert!(matches!(feed.poll(Duration::ZERO), Ok(Polled::Assigned(slots)) if slots == [SLOT]));
    Rig { intake, feed, log, metrics }
}

type Pending<'a> = std::pin::Pin<Box<dyn Future<Output = Result<Answer, Refused>> + 'a>>;

async fn submit(intake: &Intake, body: &str, hold: Hold) -> Result<Answer, Refused> {
    let origin = Origin::canonical("test");
    let incoming = Incoming { bytes: body.as_bytes(), headers: &[], arrival: NOW, origin: &origin };
    intake.submit(&incoming, hold).await
}

fn ask<'a>(rig: &Rig, body: &'a str) -> Pending<'a> {
    let intake = rig.intake.clone();
    let mut pending: Pending<'a> = Box::pin(async move {
        let mut hold = intake.hold();
        assert!(hold.grow(body.len()));
        submit(&intake, body, hold).await
    });
    assert!(peek(&mut pending).is_none(), "{body} was answered before it was durable");
    pending
}

fn peek(pending: &mut Pending<'_>) -> Option<Result<Answer, Refused>> {
    match pending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

/// Polls a batch: the events, and the position behind them.
fn batch(feed: &mut IntakeFeed) -> (Vec<String>, Offset) {
    let Ok(Polled::Batch(batch)) = feed.poll(Duration::ZERO) else { panic!("no batch") };
    let mut position = Offset(0);
    let mut events = Vec::new();
    for index in 0..batch.len() {
        let (slot, record) = batch.get(index);
        assert_eq!((slot, record.kind, record.time), (SLOT, Kind::Event, NOW));
        position = record.offset.next();
        events.push(String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned());
    }
    (events, position)
}

fn commit(feed: &mut IntakeFeed, position: Offset, values: &[&str]) -> Result<(), JournalError> {
    let records = values.iter().map(|value| outgoing(Topic::Alerts, value.as_bytes())).collect();
    feed.commit(Commit { records, positions: vec![(SLOT, position)], ..Commit::default() })
}

fn depth(rig: &Rig) -> i64 {
    rig.metrics.queue_depth.with_label_values(&[QUEUE]).get()
}

#[test]
fn what_waits_shares_one_commit_and_is_answered_after_it() {
    let mut rig = rig(&Settings::default());
    let mut one = ask(&rig, "a !b c");
    let mut two = ask(&rig, "d");
    assert_eq!(depth(&rig), 2);
    let (events, position) = batch(&mut rig.feed);
    assert_eq!(events, ["a", "c", "d"]);
    assert!(peek(&mut one).is_none() && peek(&mut two).is_none());
    commit(&mut rig.feed, position, &["A"]).expect("it is taken");
    let one = peek(&mut one).expect("answered").expect("taken");
    assert_eq!((one.accepted, one.rejected.len()), (2, 1));
    assert_eq!(peek(&mut two).expect("answered").expect("taken").accepted, 1);
    assert_eq!(rig.log.values(), ["A", "!b"]);
    assert_eq!(depth(&rig), 0);
    assert_eq!(rig.intake.room.held.load(Ordering::Relaxed), 0);
}

#[test]
fn a_commit_answers_only_those_it_covers() {
    let mut rig = rig(&Settings::default());
    let mut one = ask(&rig, "a b");
    let mut two = ask(&rig, "c d");
    batch(&mut rig.feed);
    commit(&mut rig.feed, Offset(3), &[]).expect("it is taken");
    assert!(peek(&mut one).is_some() && peek(&mut two).is_none());
    commit(&mut rig.feed, Offset(4), &[]).expect("it is taken");
    assert!(peek(&mut two).is_some());
}

#[test]
fn a_request_of_bad_events_only_is_answered_after_its_dead_letters() {
    let mut rig = rig(&Settings::default());
    let mut bad = ask(&rig, "!a !b");
    assert!(matches!(rig.feed.poll(Duration::ZERO), Ok(Polled::Idle)));
    let answer = peek(&mut bad).expect("answered").expect("taken");
    assert_eq!((answer.accepted, answer.rejected.len()), (0, 2));
    assert_eq!(rig.log.values(), ["!a", "!b"]);

    let mut bad = ask(&rig, "!c");
    rig.log.fail_next(Class::Retry);
    assert!(rig.feed.poll(Duration::ZERO).is_err());
    assert!(matches!(peek(&mut bad), Some(Err(Refused::Journal(_)))));
}

#[test]
fn dead_letters_do_not_answer_for_a_batch_that_is_still_under_way() {
    let mut rig = rig(&Settings::default());
    let mut good = ask(&rig, "a");
    let (_, position) = batch(&mut rig.feed);
    let mut bad = ask(&rig, "!b");
    assert!(matches!(rig.feed.poll(Duration::ZERO), Ok(Polled::Idle)));
    assert!(peek(&mut good).is_none() && peek(&mut bad).is_none());
    commit(&mut rig.feed, position, &["A"]).expect("it is taken");
    assert!(peek(&mut good).is_some() && peek(&mut bad).is_some());
    assert_eq!(rig.log.values(), ["A", "!b"]);
}

#[test]
fn a_failed_commit_refuses_all_that_was_handed_out_and_assigns_anew() {
    let mut rig = rig(&Settings::default());
    let mut one = ask(&rig, "a !b");
    let mut two = ask(&rig, "c d");
    batch(&mut rig.feed);
    let mut later = ask(&rig, "e");
    rig.log.fail_next(Class::Retry);
    let error = commit(&mut rig.feed, Offset(1), &["A"]).expect_err("the disk is full");
    assert_eq!(error.class, Class::Retry);
    for pending in [&mut one, &mut two] {
        let refused = peek(pending).expect("answered").expect_err("not taken");
        assert!(refused.to_string().contains("disk full"), "{refused}");
    }
    assert!(peek(&mut later).is_none(), "it was not handed out yet");
    assert!(matches!(rig.feed.poll(Duration::ZERO), Ok(Polled::Assigned(_))));
    let (events, position) = batch(&mut rig.feed);
    assert_eq!(events, ["e"]);
    commit(&mut rig.feed, position, &[]).expect("it is taken");
    assert!(matches!(peek(&mut later), Some(Ok(_))));
    assert!(rig.log.values().is_empty(), "nothing of the failed commit counts");
}

#[test]
fn batches_are_bounded_but_a_request_is_never_split() {
    let mut rig = rig(&Settings { batch_events: 3, ..Settings::default() });
    let mut pending = [ask(&rig, "a b"), ask(&rig, "c d"), ask(&rig, "e"), ask(&rig, "f g h i j")];
    for expected in [&["a", "b"][..], &["c", "d", "e"], &["f", "g", "h", "i", "j"]] {
        let (events, position) = batch(&mut rig.feed);
        assert_eq!(events, expected);
        commit(&mut rig.feed, position, &[]).expect("it is taken");
    }
    assert!(pending.iter_mut().all(|pending| matches!(peek(pending), Some(Ok(_)))));
}

#[test]
fn requests_and_bytes_have_a_bound() {
    let mut rig = rig(&Settings { requests: 1, bytes: 10, ..Settings::default() });
    let mut first = ask(&rig, "a b c");
    let try_it = |body: &'static str| -> Option<Result<Answer, Refused>> {
        let intake = rig.intake.clone();
        let mut pending: Pending<'_> =
            Box::pin(async move { submit(&intake, body, intake.hold()).await });
        peek(&mut pending)
    };
    assert_eq!(try_it("a"), Some(Err(Refused::Full)), "one request waits already");
    assert_eq!(try_it("12345678"), Some(Err(Refused::Full)), "three bytes are held already");
    assert!(!rig.intake.hold().grow(8));
    assert_eq!(rig.intake.room.held.load(Ordering::Relaxed), 3);
    assert_eq!(depth(&rig), 1);
    let (_, position) = batch(&mut rig.feed);
    commit(&mut rig.feed, position, &[]).expect("it is taken");
    assert!(matches!(peek(&mut first), Some(Ok(_))));
    assert!(rig.intake.hold().grow(10), "all of it is free again");
}

#[test]
fn what_is_left_at_the_end_learns_that_it_was_not_taken() {
    let mut rig = rig(&Settings { batch_events: 1, ..Settings::default() });
    let mut pending = [ask(&rig, "a"), ask(&rig, "b"), ask(&rig, "c")];
    batch(&mut rig.feed);
    let Rig { intake, feed, .. } = rig;
    Box::new(feed).close().expect("nothing is under way");
    for pending in &mut pending {
        assert_eq!(peek(pending), Some(Err(Refused::Closing)));
    }
    let mut late: Pending<'_> = Box::pin(async { submit(&intake, "d", intake.hold()).await });
    assert_eq!(peek(&mut late), Some(Err(Refused::Closing)));
}

#[test]
fn what_was_rejected_is_counted_once_it_is_durable() {
    let mut rig = rig(&Settings::default());
    let late = |rig: &Rig| {
        let text = rig.metrics.render().expect("metrics render");
        text.lines().find_map(|line| line.strip_prefix("muster_late_updates_total ")?.parse().ok())
    };
    let mut first = ask(&rig, "a !b");
    batch(&mut rig.feed);
    rig.log.fail_next(Class::Retry);
    assert!(commit(&mut rig.feed, Offset(1), &[]).is_err());
    assert!(peek(&mut first).is_some());
    assert_eq!(late(&rig), Some(0));
    assert!(rig.feed.poll(Duration::ZERO).is_ok());
    let mut again = ask(&rig, "a !b");
    let (_, position) = batch(&mut rig.feed);
    commit(&mut rig.feed, position, &[]).expect("it is taken");
    assert!(peek(&mut again).is_some());
    assert_eq!(late(&rig), Some(1));
}
