//! Dead letters: which there are, and the way back in for those that can be read by now.
//!
//! The topic is read from its oldest record at each question; nothing is kept in between. A letter
//! whose payload was taken whole is named by a record of kind `Retried` behind it in its partition,
//! so that it is remembered for as long as it is kept itself. What fails again stays as it is: no
//! new letter is written, so that no retry can make more of them. A crash between the two offers a
//! letter once more, and collect takes the second one for a repeat.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::intake::{Decoded, Intake, Refused};
use crate::clock::Stopwatch;
use crate::collect::decode::Incoming;
use crate::collect::{Origin, Settings};
use crate::journal::{Appender, Followed, Follower, From, Journal, JournalError};
use crate::model::Timestamp;
use crate::stage::{EventOutcome, Kind, Offset, Outgoing, Reason, Record, Route, Slot, Topic};
use crate::wire::dead_letter::{Retried, read_headers, within};

/// The most letters that are told apart at once; of more, those behind in their partitions.
pub const LETTERS_MAX: usize = 1_000_000;
/// The most letters that one retry takes; it says how many are left.
pub const RETRY_MAX: usize = 10_000;
/// The most bytes of letters that one retry takes, beside the first.
const RETRY_BYTES: usize = 32 << 20;
/// How many events, or bytes of them, are handed over together.
const BATCH_EVENTS: usize = 1_000;
const BATCH_BYTES: usize = 4 << 20;
/// How long a poll may wait, and how long nothing may come before the end was reached.
const POLL: Duration = Duration::from_millis(200);
const SILENCE: Duration = Duration::from_secs(30);

/// Where a letter stands: `partition:offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LetterId {
    /// The partition of the dead letters' topic; 0 in the embedded journal.
    pub partition: u32,
    /// Its offset there.
    pub offset: Offset,
}

impl LetterId {
    /// Reads `partition:offset`.
    ///
    /// # Errors
    /// When it is something else; says what one looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = text.trim().split_once(':');
        let read = parts.and_then(|(partition, offset)| {
            let offset = offset.parse().ok().filter(|offset| *offset >= 0)?;
            Some(Self { partition: partition.parse().ok()?, offset: Offset(offset) })
        });
        read.ok_or_else(|| {
            format!("`{text}` is no id of a dead letter; one looks like 0:17 (partition:offset)")
        })
    }
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset.0)
    }
}

/// Which letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Just these.
    pub ids: Option<BTreeSet<LetterId>>,
    /// Of this reason.
    pub reason: Option<String>,
    /// Of this source; `-` for those of no source of their own.
    pub source: Option<String>,
    /// Set aside at this time or later.
    pub since: Option<Timestamp>,
}

impl Filter {
    fn takes(&self, id: LetterId, head: &Head, at: Timestamp) -> bool {
        self.ids.as_ref().is_none_or(|ids| ids.contains(&id))
            && self.reason.as_ref().is_none_or(|reason| *reason == head.reason)
            && self.source.as_deref().is_none_or(|source| source == head.source_word())
            && self.since.is_none_or(|since| at >= since)
    }
}

/// What a letter says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// Where it came in: a topic, or `http`.
    pub topic: String,
    /// Where in that topic.
    pub partition: String,
    /// Where in that partition.
    pub offset: String,
    /// The source it came in for; none for events that name their own.
    pub source: Option<String>,
    /// Why it was set aside.
    pub reason: String,
    /// The same for people.
    pub message: String,
    /// When it came in; none in letters of older versions.
    pub arrival: Option<Timestamp>,
    /// The source that the list around it named for all of its events.
    pub app_key: Option<String>,
    /// The headers that came with it.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Head {
    fn read(record: &Record<'_>) -> Self {
        let mut head = Self::default();
        let Some(headed) = record.headers else { return head };
        headed.each(&mut |name, value| {
            let text = || String::from_utf8_lossy(value).into_owned();
            match name {
                "topic" => head.topic = text(),
                "partition" => head.partition = text(),
                "offset" => head.offset = text(),
                "source" => head.source = Some(text()),
                "reason" => head.reason = text(),
                "message" => head.message = text(),
                "arrival" => head.arrival = text().parse().ok().map(Timestamp::from_millis),
                "app_key" => head.app_key = Some(text()),
                "headers" => head.headers = read_headers(value),
                _ => {}
            }
        });
        head
    }

    /// The source, or `-`.
    #[must_use]
    pub fn source_word(&self) -> &str {
        self.source.as_deref().unwrap_or("-")
    }
}

/// A letter without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brief {
    /// When it was set aside.
    pub at: Timestamp,
    /// When it came in, or else when it was set aside.
    pub arrival: Timestamp,
    /// Why it was set aside.
    pub reason: Arc<str>,
    /// The source it came in for, or `-`.
    pub source: Arc<str>,
    /// How many bytes it has.
    pub bytes: usize,
}

/// A letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Where it stands.
    pub id: LetterId,
    /// When it was set aside.
    pub at: Timestamp,
    /// What it says of itself.
    pub head: Head,
    /// The key of its record.
    pub key: Vec<u8>,
    /// The original bytes.
    pub bytes: Vec<u8>,
}

impl Letter {
    fn arrival(&self) -> Timestamp {
        self.head.arrival.unwrap_or(self.at)
    }

    /// What is read: its bytes, with what the list around them said.
    fn payload(&self) -> Cow<'_, [u8]> {
        match &self.head.app_key {
            Some(app_key) => Cow::Owned(within(app_key, &self.bytes)),
            None => Cow::Borrowed(&self.bytes),
        }
    }

    /// Where its payload came in.
    fn origin(&self, settings: &Settings) -> Result<Origin, (&'static str, String)> {
        if self.head.reason == Reason::TooLarge.as_str() {
            let why = "only its beginning was kept; have it sent again";
            return Err(("too_large", why.to_owned()));
        }
        match &self.head.source {
            Some(source) => settings
                .origin(&self.head.topic, source)
                .map_err(|why| ("no_such_source", why.to_string())),
            None if self.head.topic == Origin::HTTP => Ok(Origin::canonical(Origin::HTTP)),
            None => {
                let why = "it is a record of Muster's own, which no source sends";
                Err(("not_an_input", why.to_owned()))
            }
        }
    }
}

/// What there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// Those that match and were not retried with success.
    pub letters: BTreeMap<LetterId, Brief>,
    /// How many that match were.
    pub retried: usize,
    /// How many older ones were too many to be told apart.
    pub left_out: u64,
}

/// Looks through the topic, from its oldest record to what is committed now.
///
/// # Errors
/// When it cannot be read, or not within `limit`.
pub fn survey(
    follower: &mut dyn Follower,
    filter: &Filter,
    limit: Duration,
) -> Result<Survey, JournalError> {
    let mut survey = Survey::default();
    let mut words: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut word = |text: &str| -> Arc<str> {
        if let Some(known) = words.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        words.insert(Arc::clone(&new));
        new
    };
    each(follower, limit, |slot, record| {
        if record.kind == Kind::Retried {
            let Ok(retried) = Retried::decode(record.value.unwrap_or_default()) else { return };
            for offset in retried.offsets {
                let id = LetterId { partition: slot.partition, offset: Offset(offset) };
                survey.retried += usize::from(survey.letters.remove(&id).is_some());
            }
            return;
        }
        let id = LetterId { partition: slot.partition, offset: record.offset };
        let head = Head::read(record);
        if record.kind != Kind::DeadLetter || !filter.takes(id, &head, record.time) {
            return;
        }
        let brief = Brief {
            at: record.time,
            arrival: head.arrival.unwrap_or(record.time),
            reason: word(&head.reason),
            source: word(head.source_word()),
            bytes: record.value.map_or(0, <[u8]>::len),
        };
        survey.letters.insert(id, brief);
        if survey.letters.len() > LETTERS_MAX {
            let first = LetterId { offset: Offset(0), ..id };
            let oldest = survey.letters.range(first..).next().map(|(id, _)| *id);
            oldest.and_then(|oldest| survey.letters.remove(&oldest));
            survey.left_out += 1;
        }
    })?;
    Ok(survey)
}

/// Reads letters whole.
///
/// # Errors
/// As [`survey`].
pub fn fetch(
    follower: &mut dyn Follower,
    ids: &BTreeSet<LetterId>,
    limit: Duration,
) -> Result<Vec<Letter>, JournalError> {
    let mut letters = Vec::new();
    each(follower, limit, |slot, record| {
        let id = LetterId { partition: slot.partition, offset: record.offset };
        if record.kind == Kind::DeadLetter && ids.contains(&id) {
            letters.push(Letter {
                id,
                at: record.time,
                head: Head::read(record),
                key: record.key.unwrap_or_default().to_vec(),
                bytes: record.value.unwrap_or_default().to_vec(),
            });
        }
    })?;
    Ok(letters)
}

fn each(
    follower: &mut dyn Follower,
    limit: Duration,
    mut take: impl FnMut(Slot, &Record<'_>),
) -> Result<(), JournalError> {
    let begun = Stopwatch::start();
    let mut heard = Stopwatch::start();
    loop {
        match follower.poll(POLL)? {
            Followed::CaughtUp => return Ok(()),
            Followed::Idle => {}
            Followed::Batch(batch) => {
                heard = Stopwatch::start();
                for nth in 0..batch.len() {
                    let (slot, record) = batch.get(nth);
                    take(slot, &record);
                }
            }
        }
        if begun.elapsed() > limit || heard.elapsed() > SILENCE {
            let why = format!("its end was not reached within {} s; try again", limit.as_secs());
            return Err(JournalError::retry("read of the dead letters", why));
        }
    }
}

/// Which letters are to be read once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// Just these.
    These(BTreeSet<LetterId>),
    /// All that match, for which their number must be confirmed.
    Matching(Filter),
}

/// A retry as somebody asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Which.
    pub which: Which,
    /// How many the asker thinks they are.
    pub confirm: Option<u64>,
    /// Who asks.
    pub by: String,
}

/// Why a letter stays where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Which.
    pub id: LetterId,
    /// A word for programs: a reason of dead letters, `no_such_source` or `not_an_input`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// What became of a retry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// How many letters were asked for.
    pub selected: usize,
    /// How many of them were taken whole; they are not offered again.
    pub taken: usize,
    /// How many events were in what was taken.
    pub events: usize,
    /// How many had been taken before.
    pub already: usize,
    /// Those that stay.
    pub failed: Vec<Failed>,
    /// How many were not looked at, for their number, their size or the time.
    pub left: usize,
    /// Why it ended early, where the intake did not take more.
    pub stopped: Option<String>,
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// One at a time.
    #[error("somebody else looks through the dead letters just now; try again in a moment")]
    Busy,
    /// The number of letters must be given, and right.
    #[error("{0} dead letters match; confirm that number")]
    Confirm(usize),
    /// There is no such letter.
    #[error("there is no dead letter {0}; retention may have taken it")]
    Unknown(LetterId),
    /// They cannot be read, or what was done cannot be written.
    #[error("{0}")]
    Journal(String),
    /// Nothing is taken in.
    #[error("{0}")]
    Intake(#[from] Refused),
}

impl std::convert::From<JournalError> for Refusal {
    fn from(error: JournalError) -> Self {
        Self::Journal(error.to_string())
    }
}

/// Dead letters in the process that runs; clones share it.
#[derive(Clone)]
pub struct DeadLetters {
    journal: Arc<dyn Journal>,
    appender: Arc<Mutex<Box<dyn Appender>>>,
    turn: Arc<Semaphore>,
}

impl DeadLetters {
    /// Of a journal, with a way to append to it.
    #[must_use]
    pub fn new(journal: Arc<dyn Journal>, appender: Box<dyn Appender>) -> Self {
        Self {
            journal,
            appender: Arc::new(Mutex::new(appender)),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// What there is.
    ///
    /// # Errors
    /// When somebody else is at it, or the journal cannot be read.
    pub async fn survey(&self, filter: Filter, limit: Duration) -> Result<Survey, Refusal> {
        let _turn = self.turn.try_acquire().map_err(|_| Refusal::Busy)?;
        self.look(filter, limit).await
    }

    /// Reads letters once more, oldest arrival first, as if they came in when they did. Ends by
    /// itself when about `limit` is over.
    ///
    /// # Errors
    /// When nothing was done.
    pub async fn retry(
        &self,
        asked: Asked,
        (intake, settings): (&Intake, &Settings),
        now: Timestamp,
        limit: Duration,
    ) -> Result<Done, Refusal> {
        let begun = Stopwatch::start();
        let _turn = self.turn.try_acquire().map_err(|_| Refusal::Busy)?;
        let Asked { which, confirm, by } = asked;
        let (ids, filter) = match which {
            Which::These(ids) => {
                (Some(ids.clone()), Filter { ids: Some(ids), ..Filter::default() })
            }
            Which::Matching(filter) => (None, filter),
        };
        let found = self.look(filter, limit).await?;
        let selected = found.letters.len();
        if let Some(ids) = &ids
            && selected + found.retried < ids.len()
        {
            let unknown = ids.iter().find(|id| !found.letters.contains_key(id));
            return Err(unknown.map_or(Refusal::Confirm(selected), |id| Refusal::Unknown(*id)));
        }
        let must = ids.is_none() && selected > 0;
        if confirm.map_or(must, |count| usize::try_from(count) != Ok(selected)) {
            return Err(Refusal::Confirm(selected));
        }
        let mut done = Done { selected, already: found.retried, ..Done::default() };
        let chosen = choose(&found.letters);
        done.left = selected - chosen.len();
        let mut letters = self.read(chosen, limit).await?;
        letters.sort_by_key(|letter| (letter.arrival(), letter.id));
        let mut rest = letters.as_slice();
        // At least one batch, however long the reading took: who asks again gets further.
        let mut is_first = true;
        while !rest.is_empty() && (is_first || begun.elapsed() < limit) {
            is_first = false;
            let (batch, after) = Batch::gather(rest, intake, settings);
            if let Err(refused) = intake.put(batch.arrival, batch.decoded, intake.hold()).await {
                if done.taken == 0 && done.failed.is_empty() {
                    return Err(refused.into());
                }
                done.stopped = Some(refused.to_string());
                break;
            }
            rest = after;
            done.events += batch.events;
            done.taken += batch.taken.len();
            done.failed.extend(batch.failed);
            self.remember(&batch.taken, &by, now).await?;
        }
        done.left += rest.len();
        let Done { taken, events, left, .. } = done;
        info!(
            by,
            selected,
            taken,
            events,
            failed = done.failed.len(),
            left,
            "dead letters retried"
        );
        Ok(done)
    }

    async fn look(&self, filter: Filter, limit: Duration) -> Result<Survey, Refusal> {
        let journal = Arc::clone(&self.journal);
        apart(move || {
            let mut follower = journal.follow(Topic::DeadLetters, From::Beginning)?;
            Ok(survey(follower.as_mut(), &filter, limit)?)
        })
        .await
    }

    async fn read(&self, ids: BTreeSet<LetterId>, limit: Duration) -> Result<Vec<Letter>, Refusal> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let journal = Arc::clone(&self.journal);
        apart(move || {
            let mut follower = journal.follow(Topic::DeadLetters, From::Beginning)?;
            Ok(fetch(follower.as_mut(), &ids, limit)?)
        })
        .await
    }

    /// Writes down which letters were taken, behind them in their partitions.
    async fn remember(&self, taken: &[LetterId], by: &str, now: Timestamp) -> Result<(), Refusal> {
        let mut partitions: BTreeMap<u32, Vec<i64>> = BTreeMap::new();
        for id in taken {
            partitions.entry(id.partition).or_default().push(id.offset.0);
        }
        let records = partitions.into_iter().map(|(partition, offsets)| Outgoing {
            topic: Topic::DeadLetters,
            route: Route::Partition(partition),
            kind: Kind::Retried,
            key: Vec::new(),
            value: Retried { offsets, at: now, by: by.to_owned() }.encode(),
            headers: Vec::new(),
        });
        let records: Vec<Outgoing> = records.collect();
        if records.is_empty() {
            return Ok(());
        }
        let appender = Arc::clone(&self.appender);
        apart(move || {
            let mut appender = appender.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(appender.append(records)?)
        })
        .await
    }
}

/// Reading a topic and waiting for a commit take a while: not on a thread that others wait for.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => {
            warn!(%error, "work on dead letters broke off");
            Err(Refusal::Journal("the request broke off; see the log".to_owned()))
        }
    }
}

/// As many as one retry takes, those that came in first.
fn choose(letters: &BTreeMap<LetterId, Brief>) -> BTreeSet<LetterId> {
    let mut order: Vec<(&LetterId, &Brief)> = letters.iter().collect();
    order.sort_by_key(|(id, brief)| (brief.arrival, **id));
    let mut chosen = BTreeSet::new();
    let mut bytes = 0;
    for (id, brief) in order.into_iter().take(RETRY_MAX) {
        bytes += brief.bytes;
        if bytes > RETRY_BYTES && !chosen.is_empty() {
            break;
        }
        chosen.insert(*id);
    }
    chosen
}

/// Letters that are handed over together.
struct Batch {
    arrival: Timestamp,
    decoded: Decoded,
    events: usize,
    taken: Vec<LetterId>,
    failed: Vec<Failed>,
}

impl Batch {
    /// What the first of some letters hold, up to a bound; and the others.
    fn gather<'a>(
        letters: &'a [Letter],
        intake: &Intake,
        settings: &Settings,
    ) -> (Self, &'a [Letter]) {
        let mut batch = Self {
            // Each event carries its own arrival.
            arrival: letters.first().map(Letter::arrival).unwrap_or_default(),
            decoded: Decoded::default(),
            events: 0,
            taken: Vec::new(),
            failed: Vec::new(),
        };
        let (mut count, mut bytes) = (0, 0);
        for letter in letters {
            if batch.events >= BATCH_EVENTS || bytes >= BATCH_BYTES {
                break;
            }
            count += 1;
            bytes += letter.bytes.len();
            match letter.origin(settings) {
                Ok(origin) => batch.add(letter, &origin, intake),
                Err((reason, message)) => {
                    batch.failed.push(Failed { id: letter.id, reason, message });
                }
            }
        }
        (batch, &letters[count..])
    }

    /// What can be read of a letter goes in; it is taken where that is all of it.
    fn add(&mut self, letter: &Letter, origin: &Origin, intake: &Intake) {
        let Letter { id, head, .. } = letter;
        let arrival = letter.arrival();
        let bytes = letter.payload();
        let bytes = bytes.as_ref();
        let decoded = intake.decode(&Incoming { bytes, headers: &head.headers, arrival, origin });
        self.events += decoded.events.len();
        match decoded.rejected.first() {
            None => self.taken.push(*id),
            Some(first) => self.failed.push(Failed {
                id: *id,
                reason: first.reason.as_str(),
                message: first.message.clone(),
            }),
        }
        // What is rejected again was counted when it was first, and its letter is still there.
        let mut tally = decoded.tally;
        for outcome in EventOutcome::all() {
            if matches!(outcome, EventOutcome::Rejected(_)) {
                tally.events.iter_mut().for_each(|of| of[outcome.index()] = 0);
            }
        }
        let sum = &mut self.decoded.tally;
        sum.events.resize(tally.events.len().max(sum.events.len()), [0; EventOutcome::COUNT]);
        for (sum, more) in sum.events.iter_mut().zip(&tally.events) {
            sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        }
        sum.limited.iter_mut().zip(&tally.limited).for_each(|(sum, more)| *sum += more);
        self.decoded.events.extend(decoded.events);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::OwnedRecord;

    /// Hands out records, then the end.
    struct Log(Option<Vec<OwnedRecord>>);

    impl Follower for Log {
        fn poll(&mut self, _: Duration) -> Result<Followed, JournalError> {
            Ok(match self.0.take() {
                Some(records) => Followed::Batch(Box::new(records)),
                None => Followed::CaughtUp,
            })
        }
    }

    fn record(offset: i64, kind: Kind, value: &[u8], headers: &[(&str, &str)]) -> OwnedRecord {
        let headers = headers.iter();
        OwnedRecord {
            slot: Slot { input: 0, partition: 2 },
            offset: Offset(offset),
            time: Timestamp::from_millis(1_000 + offset),
            kind,
            key: Vec::new(),
            value: Some(value.to_vec()),
            headers: headers
                .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
                .collect(),
        }
    }

    fn log() -> Log {
        let nagios = [("reason", "no_status"), ("source", "nagios"), ("arrival", "7")];
        let retried =
            Retried { offsets: vec![4, 99], at: Timestamp::from_millis(9), by: "ann".to_owned() };
        Log(Some(vec![
            record(3, Kind::DeadLetter, b"a", &nagios),
            record(4, Kind::DeadLetter, b"b", &nagios),
            record(5, Kind::DeadLetter, b"c", &[("reason", "not_json"), ("topic", "http")]),
            record(6, Kind::Retried, &retried.encode(), &[]),
            record(7, Kind::Retried, b"{", &[]),
            record(8, Kind::DeadLetter, b"d", &nagios),
        ]))
    }

    fn found(filter: &Filter) -> (Vec<String>, usize) {
        let survey = survey(&mut log(), filter, SILENCE).expect("it is read");
        (survey.letters.keys().map(ToString::to_string).collect(), survey.retried)
    }

    #[test]
    fn what_was_retried_is_not_offered_again_and_filters_hold() {
        let all = Filter::default();
        assert_eq!(found(&all), (["2:3", "2:5", "2:8"].map(String::from).into(), 1));
        let none = Filter { source: Some("-".to_owned()), ..all.clone() };
        assert_eq!(found(&none), (vec!["2:5".to_owned()], 0));
        let reason = Filter { reason: Some("no_status".to_owned()), ..all.clone() };
        let late = Filter { since: Some(Timestamp::from_millis(1_004)), ..reason };
        assert_eq!(found(&late), (vec!["2:8".to_owned()], 1));
        let ids = [LetterId::parse("2:3"), LetterId::parse("2:4"), LetterId::parse("1:5")];
        let ids = ids.into_iter().collect::<Result<BTreeSet<_>, _>>().expect("they are ids");
        assert_eq!(found(&Filter { ids: Some(ids.clone()), ..all }), (vec!["2:3".to_owned()], 1));
        let letters = fetch(&mut log(), &ids, SILENCE).expect("they are read");
        let bytes: Vec<&[u8]> = letters.iter().map(|letter| letter.bytes.as_slice()).collect();
        assert_eq!(bytes, [b"a", b"b"]);
        assert_eq!(letters[0].arrival(), Timestamp::from_millis(7));
    }

    #[test]
    fn the_first_that_came_in_are_chosen_up_to_a_bound() {
        let brief = |arrival: i64, bytes| Brief {
            at: Timestamp::from_millis(9),
            arrival: Timestamp::from_millis(arrival),
            reason: "x".into(),
            source: "-".into(),
            bytes,
        };
        let id = |offset| LetterId { partition: 0, offset: Offset(offset) };
        let big = RETRY_BYTES / 2;
        let letters = [(id(1), brief(30, big)), (id(2), brief(10, big)), (id(3), brief(20, big))];
        assert_eq!(choose(&letters.into()), [id(2), id(3)].into());
        assert_eq!(choose(&[(id(1), brief(1, RETRY_BYTES + 1))].into()), [id(1)].into());
        let many = (0..RETRY_MAX + 5).map(|n| (id(n as i64), brief(1, 1)));
        assert_eq!(choose(&many.collect()).len(), RETRY_MAX);
    }

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = LetterId { partition: 3, offset: Offset(17) };
        assert_eq!(LetterId::parse(&id.to_string()), Ok(id));
        for bad in ["", "3", "3:", ":17", "3:-1", "a:b", "3:17:1"] {
            assert!(LetterId::parse(bad).is_err(), "{bad}");
        }
    }
}
