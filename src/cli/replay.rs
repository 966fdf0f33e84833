//! `muster replay`: recorded events through collect and correlate, and what came of them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use flate2::bufread::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::Failure;
use crate::clock::{Clock, Stopwatch, SystemClock};
use crate::config::Config;
use crate::model::Span;
use crate::replay::{Assignment, Replay, Summary};

/// Arrival may lie this far ahead of the real time of the start, as a live event's may.
const AHEAD: Span = Span::from_secs(300);

/// What to replay and what to write.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Events, one JSON record a line; `.gz` is unpacked; `-` is standard input.
    input: PathBuf,
    /// Write each incident change here, one a line.
    #[arg(long, value_name = "FILE")]
    incidents: Option<PathBuf>,
    /// Write here where each event ended up, one a line.
    #[arg(long, value_name = "FILE")]
    assignments: Option<PathBuf>,
}

#[derive(Serialize)]
struct AssignmentLine<'a> {
    event_id: Option<&'a str>,
    alert_id: Option<String>,
    incident_id: Option<String>,
    opened_at: Option<i64>,
}

/// Replays and prints a summary.
pub(super) fn run(config: &Config, options: &Options) -> Result<ExitCode, Failure> {
    let latest = SystemClock.now() + AHEAD;
    let mut replay = Replay::new(config.collect(), &config.correlate(), latest);
    let mut incidents = options.incidents.as_deref().map(create).transpose()?;
    let (mut input, progress) = open(&options.input)?;
    let mut assigned: Vec<Assignment> = Vec::new();
    let keep = options.assignments.is_some();
    let watch = Stopwatch::start();
    let mut line = Vec::new();
    let mut failed = None;
    loop {
        line.clear();
        let read = input.read_until(b'\n', &mut line);
        if read.map_err(|error| about(&options.input, &error))? == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let change = |bytes: &[u8]| {
            if let Some(out) = &mut incidents
                && let Err(error) = out.write_all(bytes).and_then(|()| out.write_all(b"\n"))
            {
                failed.get_or_insert(error);
            }
        };
        replay.record(line.trim_ascii(), change, |assignment| {
            if keep {
                assigned.push(assignment);
            }
        });
    }
    progress.finish_and_clear();
    if let (Some(error), Some(path)) = (failed, &options.incidents) {
        return Err(about(path, &error));
    }
    if let (Some(mut out), Some(path)) = (incidents, &options.incidents) {
        out.flush().map_err(|error| about(path, &error))?;
    }
    if let Some(path) = &options.assignments {
        let mut out = create(path)?;
        write_assignments(&replay, &assigned, &mut out).map_err(|error| about(path, &error))?;
    }
    print(replay.summary(), watch);
    Ok(ExitCode::SUCCESS)
}

fn write_assignments(
    replay: &Replay,
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

#[expect(clippy::print_stdout, reason = "the answer to the command")]
#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn print(summary: Summary, watch: Stopwatch) {
    let Summary { events, repeats, late, rejected, alerts, incidents, changes } = summary;
    let seconds = watch.elapsed().as_secs_f64();
    println!("events       {events:>12}   {:.0}/s", events as f64 / seconds.max(1e-9));
    println!("repeats      {repeats:>12}");
    println!("late         {late:>12}");
    println!("rejected     {rejected:>12}");
    println!("alerts       {alerts:>12}");
    println!("incidents    {incidents:>12}");
    println!("changes      {changes:>12}");
    println!("compression  {:>11.2} %   events that made no incident of their own", summary.compression());
}

fn open(path: &Path) -> Result<(Box<dyn BufRead>, ProgressBar), Failure> {
    if path == Path::new("-") {
        return Ok((Box::new(BufReader::new(io::stdin())), ProgressBar::hidden()));
    }
    let file = File::open(path).map_err(|error| about(path, &error))?;
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let progress = progress(length);
    let raw = BufReader::with_capacity(1 << 20, progress.wrap_read(file));
    let gz = path.extension().is_some_and(|extension| extension == "gz");
    let read: Box<dyn Read> = if gz { Box::new(MultiGzDecoder::new(raw)) } else { Box::new(raw) };
    Ok((Box::new(BufReader::with_capacity(1 << 20, read)), progress))
}

fn progress(length: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(
        "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta} left",
    );
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn create(path: &Path) -> Result<BufWriter<File>, Failure> {
    File::create(path).map(BufWriter::new).map_err(|error| about(path, &error))
}

fn about(path: &Path, error: &io::Error) -> Failure {
    Failure::other(format!("{}: {error}", path.display()))
}
