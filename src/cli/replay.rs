//! `muster replay`: recorded events through collect and correlate, and what came of them.
//!
//! Once, writing what there is to write; twice, to tell what other settings would change; or many
//! times, over values of some keys. Here files meet the replay; scoring, comparing and varying are
//! `replay::score`, `replay::compare` and `config::vary`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::{Failure, complain, has_its_topology};
use crate::clock::{Clock, Stopwatch, SystemClock};
use crate::config::{self, Config};
use crate::model::{IncidentId, Span, Timestamp};
use crate::replay::compare::{self, Outcome};
use crate::replay::log::{LogReplay, Rules};
use crate::replay::score::{Places, Score, Truth, Unit};
use crate::replay::{Assignment, Replay, Summary};
use crate::wire;

pub(super) mod input;
mod log;
mod show;
pub(super) mod truth;

use log::Log;
use show::{Compared, Report, Run};

/// Arrival may lie this far ahead of the real time of the start, as a live event's may.
pub(super) const AHEAD: Span = Span::from_secs(300);

/// The key that only collect goes by.
const EXPIRE_AFTER: &str = "expire_after";

/// What to replay and what to write.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Events, one JSON record a line; `.gz` is unpacked; `-` is standard input.
    #[arg(required_unless_present = "since", conflicts_with = "since")]
    input: Option<PathBuf>,
    /// Take what collect has forwarded in this time, such as 24h, from the journal of the config:
    /// the topic muster.alerts on Kafka, or the embedded journal, beside the daemon that has it.
    /// Nothing is written there. Correlate goes by the given config.
    #[arg(long, value_name = "AGE", value_parser = age)]
    since: Option<Span>,
    /// With --since: go by the rules that the log has, as it was, instead of the given ones.
    #[arg(long, conflicts_with_all = ["against", "sweep"])]
    as_was: bool,
    /// Write each incident change here, one a line.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["against", "sweep"])]
    incidents: Option<PathBuf>,
    /// Write here where each event ended up, one a line.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["against", "sweep"])]
    assignments: Option<PathBuf>,
    /// Score the incidents against a labelled truth: lines of `alert_id` (the event's id),
    /// `truth_id` (null is noise) and, where repeats count as one, `dedup_id`; `.gz` is unpacked.
    #[arg(long, value_name = "TRUTH")]
    score: Option<PathBuf>,
    /// What counts as one when scoring; without it, dedup where the truth has a `dedup_id`.
    #[arg(long, value_enum, requires = "score")]
    by: Option<By>,
    /// Tell what this config would change: incidents merged and split, pages saved or added, and
    /// the ten incidents that change most. The input is held in memory, at most 4 GiB unpacked.
    #[arg(long, value_name = "OTHER", conflicts_with = "sweep")]
    against: Option<PathBuf>,
    /// Run once for each value and print a table. Keys: gap, window, max_alerts, min_alerts (of all
    /// patterns that have it, or of one as in cluster.gap), expire_after (of all sources, or of one as in
    /// nagios.expire_after), reopen_window. Several make every combination, at most 100. The input
    /// is held in memory, at most 4 GiB unpacked.
    #[arg(long, value_name = "KEY=VALUE,…")]
    sweep: Vec<String>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

fn age(text: &str) -> Result<Span, String> {
    Span::parse(text).map_err(|error| error.to_string())
}

/// What counts as one when scoring.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum By {
    /// Every event of the truth.
    Event,
    /// All events with one `dedup_id`; most of them decide where it is.
    Dedup,
}

#[derive(Serialize)]
struct AssignmentLine<'a> {
    event_id: Option<&'a str>,
    alert_id: Option<String>,
    incident_id: Option<String>,
    opened_at: Option<i64>,
}

/// Replays and prints what came of it.
pub(super) fn run(config: &Config, options: &Options) -> Result<ExitCode, Failure> {
    let other = options
        .against
        .as_deref()
        .map(|other| config::load(Some(other)).map_err(|error| Failure::usage(error.to_string())));
    let other = other.transpose()?;
    // As it was, the graph is in the log.
    if !options.as_was {
        [Some(config), other.as_ref()].into_iter().flatten().try_for_each(has_its_topology)?;
    }
    let sweep = config.sweep(&options.sweep).map_err(|error| Failure::usage(error.to_string()))?;
    // clap lets `requires` go where what is required conflicts with what is there.
    if options.as_was && options.since.is_none() {
        return Err(Failure::usage(
            "--as-was: it goes by the rules of a log; give --since, no file",
        ));
    }
    if options.since.is_some()
        && let Some(key) = sweep.keys.iter().find(|key| key.ends_with(EXPIRE_AFTER))
    {
        let why = "collect has stamped it on what it forwarded; give recorded events instead";
        return Err(Failure::usage(format!(
            "--sweep {key}: it cannot be tried with --since: {why}"
        )));
    }
    let mut truth = options.score.as_deref().map(truth::read).transpose()?;
    let now = SystemClock.now();
    let log = options.since.map(|since| Log::read(config, now - since)).transpose()?;
    if let (Some(log), Some(whole)) = (&log, &truth) {
        let known: BTreeSet<Box<str>> = log.event_ids().collect();
        let (part, out) = whole.only(|event| known.contains(event));
        if part.is_empty() {
            let why =
                "no line of the truth is about an event in the log; collect keeps repeats back";
            return Err(Failure::data(format!("--score: {why}")));
        }
        if out > 0 {
            complain(&format!("{out} lines of the truth are about events that are not in the log"));
        }
        truth = Some(part);
    }
    let lab = Lab { options, truth, latest: now + AHEAD, log };
    let report = match other {
        Some(other) => lab.compared(config, &other)?,
        None if sweep.keys.is_empty() => lab.once(config)?,
        None => {
            let events = lab.whole()?;
            let mut runs = Vec::new();
            for variant in sweep.variants {
                let made = lab.over(&variant.config, &events, None)?;
                runs.push((variant.values, made));
            }
            Report::Swept { keys: sweep.keys, runs }
        }
    };
    let text = if options.json { report.json() } else { report.text() };
    let printed = io::stdout().lock().write_all(text.as_bytes());
    printed.map_err(|error| Failure::other(format!("standard output: {error}")))?;
    Ok(ExitCode::SUCCESS)
}

/// What all runs of one command share.
struct Lab<'a> {
    options: &'a Options,
    truth: Option<Truth>,
    latest: Timestamp,
    /// What is replayed instead of a file.
    log: Option<Log>,
}

/// What one run hands over as it goes.
#[derive(Default)]
struct Sinks<'a> {
    incidents: Option<BufWriter<File>>,
    failed: Option<io::Error>,
    assigned: Option<Vec<Assignment>>,
    places: Option<Places<'a>>,
    outcome: Option<&'a mut Outcome>,
}

impl Sinks<'_> {
    fn change(&mut self, bytes: &[u8]) {
        if let Some(out) = &mut self.incidents
            && let Err(error) = out.write_all(bytes).and_then(|()| out.write_all(b"\n"))
        {
            self.failed.get_or_insert(error);
        }
        if let Some(outcome) = &mut self.outcome
            && let Ok(change) = wire::change::decode(bytes)
        {
            outcome.note(&change);
        }
    }

    /// Takes those of one record.
    fn assignments(&mut self, of_record: &mut Vec<Assignment>) {
        if let Some(places) = &mut self.places {
            for Assignment { event_id, place } in &*of_record {
                places.place(event_id.as_deref(), place.map(|(_, incident)| incident));
            }
        }
        if let Some(outcome) = &mut self.outcome {
            outcome.record(of_record.iter().map(|assignment| assignment.place));
        }
        match &mut self.assigned {
            Some(assigned) => assigned.append(of_record),
            None => of_record.clear(),
        }
    }
}

impl Lab<'_> {
    /// One run that reads the input as it goes and writes the files asked for.
    fn once(&self, config: &Config) -> Result<Report, Failure> {
        let options = self.options;
        let mut sinks = Sinks {
            incidents: options.incidents.as_deref().map(create).transpose()?,
            assigned: options.assignments.is_some().then(Vec::new),
            places: self.truth.as_ref().map(Places::new),
            ..Sinks::default()
        };
        let (ran, seconds) = match &self.log {
            Some(log) => {
                let watch = Stopwatch::start();
                (self.fold_log(config, log, &mut sinks), watch.elapsed().as_secs_f64())
            }
            None => {
                let (mut input, progress) = input::open(options.input())?;
                let watch = Stopwatch::start();
                let ran = self.fold(config, &mut input, &mut sinks)?;
                progress.finish_and_clear();
                (ran, watch.elapsed().as_secs_f64())
            }
        };
        if let Some(path) = &options.incidents {
            let flushed = sinks.incidents.as_mut().map_or(Ok(()), Write::flush);
            let failed = sinks.failed.map_or(flushed, Err);
            failed.map_err(|error| about(path, &error))?;
        }
        if let (Some(path), Some(assigned)) = (&options.assignments, &sinks.assigned) {
            let mut out = create(path)?;
            write_assignments(&ran, assigned, &mut out).map_err(|error| about(path, &error))?;
        }
        let score = self.score(&ran, sinks.places.as_ref());
        let run = Run { summary: ran.summary(), score };
        Ok(Report::Once { run, seconds })
    }

    fn compared(&self, config: &Config, other: &Config) -> Result<Report, Failure> {
        let events = self.whole()?;
        let (mut here, mut there) = (Outcome::default(), Outcome::default());
        let now = self.over(config, &events, Some(&mut here))?;
        let other = self.over(other, &events, Some(&mut there))?;
        let comparison = compare::compare(&here, &there);
        Ok(Report::Compared(Box::new(Compared { now, other, comparison })))
    }

    fn over(
        &self,
        config: &Config,
        mut events: &[u8],
        outcome: Option<&mut Outcome>,
    ) -> Result<Run, Failure> {
        let places = self.truth.as_ref().map(Places::new);
        let mut sinks = Sinks { places, outcome, ..Sinks::default() };
        let ran = match &self.log {
            Some(log) => self.fold_log(config, log, &mut sinks),
            None => self.fold(config, &mut events, &mut sinks)?,
        };
        let summary: Summary = ran.summary();
        Ok(Run { summary, score: self.score(&ran, sinks.places.as_ref()) })
    }

    /// All of the input, for several runs; nothing where that is a log, which is held anyway.
    fn whole(&self) -> Result<Vec<u8>, Failure> {
        match self.log {
            Some(_) => Ok(Vec::new()),
            None => input::whole(self.options.input(), input::MEMORY_MAX),
        }
    }

    fn fold_log(&self, config: &Config, log: &Log, sinks: &mut Sinks<'_>) -> Ran {
        let rules = if self.options.as_was { Rules::AsWas } else { Rules::Given };
        let mut replay = LogReplay::new(config.correlate(), rules);
        let mut assigned = Vec::new();
        for record in &log.records {
            replay.record(record, |change| sinks.change(change), |place| assigned.push(place));
            sinks.assignments(&mut assigned);
        }
        replay.finish();
        Ran::Log(Box::new(replay))
    }

    fn fold(
        &self,
        config: &Config,
        input: &mut dyn BufRead,
        sinks: &mut Sinks<'_>,
    ) -> Result<Ran, Failure> {
        let mut replay = Replay::new(config.collect(), &config.correlate(), self.latest);
        let mut line = Vec::new();
        let mut assigned = Vec::new();
        loop {
            line.clear();
            let read = input.read_until(b'\n', &mut line);
            if read.map_err(|error| about(self.options.input(), &error))? == 0 {
                return Ok(Ran::Events(Box::new(replay)));
            }
            let record = line.trim_ascii();
            if record.is_empty() {
                continue;
            }
            replay.record(record, |change| sinks.change(change), |place| assigned.push(place));
            sinks.assignments(&mut assigned);
        }
    }

    fn score(&self, ran: &Ran, places: Option<&Places<'_>>) -> Option<Score> {
        let unit = match self.options.by {
            Some(By::Event) => Unit::Event,
            Some(By::Dedup) => Unit::Dedup,
            None => self.truth.as_ref()?.usual_unit(),
        };
        let held = match ran {
            Ran::Events(replay) => replay.held(),
            Ran::Log(replay) => replay.held(),
        };
        places.map(|places| places.score_but_for(unit, held))
    }
}

/// A replay that has come to its end.
enum Ran {
    Events(Box<Replay>),
    Log(Box<LogReplay>),
}

impl Ran {
    fn summary(&self) -> Summary {
        match self {
            Self::Events(replay) => replay.summary(),
            Self::Log(replay) => replay.summary(),
        }
    }

    fn opened_at(&self, incident: IncidentId) -> Option<Timestamp> {
        match self {
            Self::Events(replay) => replay.opened_at(incident),
            Self::Log(replay) => replay.opened_at(incident),
        }
    }
}

impl Options {
    fn input(&self) -> &Path {
        self.input.as_deref().unwrap_or(Path::new("-"))
    }
}

fn write_assignments(
    replay: &Ran,
    assigned: &[Assignment],
    out: &mut impl Write,
) -> io::Result<()> {
    for Assignment { event_id, place } in assigned {
        let line = AssignmentLine {
            event_id: event_id.as_deref(),
            alert_id: place.map(|(alert, _)| alert.to_string()),
            incident_id: place.map(|(_, incident)| incident.to_string()),
            opened_at: place
                .and_then(|(_, incident)| replay.opened_at(incident))
                .map(|at| at.as_millis()),
        };
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

pub(super) fn create(path: &Path) -> Result<BufWriter<File>, Failure> {
    File::create(path).map(BufWriter::new).map_err(|error| about(path, &error))
}

pub(super) fn about(path: &Path, error: &io::Error) -> Failure {
    Failure::other(format!("{}: {error}", path.display()))
}
