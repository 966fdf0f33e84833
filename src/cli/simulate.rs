//! `muster simulate`: a labelled storm as files. What happens in it is `simulate`'s work.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::Failure;
use super::replay::about;
use crate::model::Span;
use crate::simulate::{BEGIN, Simulation};
use crate::simulate::{EVENTS, Kind, LATE_MAX, OPEN_MAX, PAIRS, Rates, SKEW_MAX, Settings};

/// The most days: what begins in 2024 must lie in the past.
const DAYS_MAX: u32 = 600;

/// What to simulate and where to write it.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The same seed and options give the same bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many events; 1 to 1000000000.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(EVENTS.0..=EVENTS.1))]
    events: u64,
    /// How many host|check pairs; 200 to 50000. Without it, twice the square root of --events, but at
    /// least 2000 unless --hard.
    #[arg(long, value_parser = clap::value_parser!(u32).range(i64::from(PAIRS.0)..=i64::from(PAIRS.1)))]
    pairs: Option<u32>,
    /// The same as a number of hosts, each with two VMs and 19 pairs; 11 to 2631.
    #[arg(long, conflicts_with = "pairs", value_parser = clap::value_parser!(u32).range(11..=2_631))]
    hosts: Option<u32>,
    /// End after so many simulated days, if --events are not reached before; 1 to 600.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(DAYS_MAX)))]
    days: Option<u32>,
    /// Write events here, canonical JSON lines in order of arrival; `.gz` is packed, `-` is standard
    /// output.
    #[arg(long, value_name = "FILE")]
    out_events: Option<PathBuf>,
    /// Write the truth here, as `muster replay --score` reads it: one line for each event of a problem
    /// or its end.
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Write what is known of the sources here, as a config: how long after its last word a problem
    /// of theirs is over, which is twice as long as they take to publish it again.
    #[arg(long, value_name = "FILE")]
    sources: Option<PathBuf>,
    /// Write the topology here: lines of {"from":{"tag","value"},"to":{"tag","value"},"kind"}.
    #[arg(long, value_name = "FILE")]
    topology: Option<PathBuf>,
    /// As much breaks as in a large estate, whatever the size, wide faults as often as others, nothing
    /// rests, and the second monitor never publishes a problem again. --per-machine, --wide, --rest,
    /// --renotify-second and --chatty are from there unless given.
    #[arg(long)]
    hard: bool,
    #[command(flatten)]
    rates: RateOptions,
}

/// How much of what happens.
#[derive(Debug, clap::Args)]
struct RateOptions {
    /// Faults open at once on average; 0 to 5. More than 5 are never open.
    #[arg(long, default_value_t = Rates::default().open, value_parser = within_open)]
    open: f64,
    /// Faults a machine and day at most, so that small estates have less than --open; 0 to 1000.
    /// Without it, 0.033: one a month.
    #[arg(long, value_parser = within_per_machine)]
    per_machine: Option<f64>,
    /// How often faults of whole racks, sites and teams come beside others: 1 is a fifth of all; 0 to
    /// 100. Without it, 0.2.
    #[arg(long, value_parser = within_noise)]
    wide: Option<f64>,
    /// How long what was repaired does not break again in the same way; up to 30d. Without it, 1d.
    #[arg(long, value_parser = up_to(Span::from_secs(30 * 86_400)))]
    rest: Option<Span>,
    /// Share of faults that hit a machine of another open one; 0 to 1, as all shares.
    #[arg(long, default_value_t = Rates::default().same_host, value_parser = share)]
    same_host: f64,
    /// The least and the most of what a fault does that nobody notices.
    #[arg(long, num_args = 2, value_names = ["LEAST", "MOST"], default_values_t = [0.05, 0.3], value_parser = share)]
    undetected: Vec<f64>,
    /// Share of events that are late by more than seconds.
    #[arg(long, default_value_t = Rates::default().late, value_parser = share)]
    late: f64,
    /// How late at most; up to 10m.
    #[arg(long, default_value = "10m", value_parser = up_to(LATE_MAX))]
    late_max: Span,
    /// Share of machines that a second monitor watches, under another spelling of the name.
    #[arg(long, default_value_t = Rates::default().twice, value_parser = share)]
    twice: f64,
    /// Share of recoveries whose `ok` is lost.
    #[arg(long, default_value_t = Rates::default().lost_ok, value_parser = share)]
    lost_ok: f64,
    /// How far the clocks of monitors are off, either way, each by its own; up to 4m.
    #[arg(long, default_value = "20s", value_parser = up_to(SKEW_MAX))]
    skew: Span,
    /// Share of pairs that publish every result; the others publish problems and their ends. Without
    /// it, 0.1, but 0 up to 100000 events.
    #[arg(long, value_parser = share)]
    chatty: Option<f64>,
    /// How often those publish a problem that lasts again; up to 1d.
    #[arg(long, default_value = "30m", value_parser = up_to(Span::from_secs(86_400)))]
    renotify: Span,
    /// How often the second monitor does; up to 1d, 0s is never. Without it, 1h.
    #[arg(long, value_parser = up_to(Span::from_secs(86_400)))]
    renotify_second: Option<Span>,
    /// How much noise: 1 is about 0.3 bouts per pair and day; 0 to 100.
    #[arg(long, default_value_t = Rates::default().noise, value_parser = within_noise)]
    noise: f64,
}

/// Simulates and writes.
pub(super) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let rates = &options.rates;
    let (least, most) = (rates.undetected[0], rates.undetected[1]);
    if least > most {
        return Err(Failure::usage(format!(
            "--undetected: {least} is more than {most}; give the least first"
        )));
    }
    let like = if options.hard { Settings::hard } else { Settings::new };
    let mut settings = like(options.seed, options.events);
    let pairs = options.hosts.map(Settings::pairs_of_hosts).or(options.pairs);
    settings.pairs = pairs.unwrap_or(settings.pairs);
    settings.length = options.days.map(|days| Span::from_secs(i64::from(days) * 86_400));
    settings.length.get_or_insert(Span::from_secs(i64::from(DAYS_MAX) * 86_400));
    let usual = settings.rates;
    settings.rates = Rates {
        open: rates.open,
        per_machine: rates.per_machine.unwrap_or(usual.per_machine),
        wide: rates.wide.unwrap_or(usual.wide),
        rest: rates.rest.unwrap_or(usual.rest),
        same_host: rates.same_host,
        undetected: (least, most),
        late: rates.late,
        late_max: rates.late_max,
        twice: rates.twice,
        lost_ok: rates.lost_ok,
        skew: rates.skew,
        chatty: rates.chatty.unwrap_or(usual.chatty),
        renotify: rates.renotify,
        renotify_second: rates.renotify_second.unwrap_or(usual.renotify_second),
        noise: rates.noise,
    };
    let mut simulation = Simulation::new(settings);
    if let Some(path) = &options.topology {
        let mut out = Out::new(path)?;
        simulation.topology(|line| out.line(line))?;
        out.finish()?;
    }
    if let Some(path) = &options.sources {
        std::fs::write(path, sources(&simulation)).map_err(|error| about(path, &error))?;
    }
    let mut events = options.out_events.as_deref().map(Out::new).transpose()?;
    let mut truth = options.truth.as_deref().map(Out::new).transpose()?;
    let mut last = BEGIN;
    while let Some(delivery) = simulation.deliver() {
        last = delivery.arrival;
        if let Some(out) = &mut events {
            out.line(delivery.event)?;
        }
        if let (Some(out), Some(line)) = (&mut truth, delivery.truth) {
            out.line(line)?;
        }
    }
    for out in [events, truth].into_iter().flatten() {
        out.finish()?;
    }
    let told = io::stderr().write_all(summary(&simulation, last.since(BEGIN)).as_bytes());
    // Who closed standard error does not want to know.
    drop(told);
    Ok(ExitCode::SUCCESS)
}

/// A config that names the sources.
fn sources(simulation: &Simulation) -> String {
    let mut text = String::from("collect:\n  sources:\n    - {name: defaults}\n");
    for (name, expire_after) in simulation.sources() {
        text.push_str(&format!("    - {{name: {name}, expire_after: {expire_after}}}\n"));
    }
    text
}

fn summary(simulation: &Simulation, length: Span) -> String {
    let counts = simulation.counts();
    let kinds: Vec<String> = Kind::ALL
        .iter()
        .zip(counts.faults)
        .map(|(kind, count)| format!("{} {count}", kind.as_str()))
        .collect();
    let faults: u32 = counts.faults.iter().sum();
    #[expect(clippy::cast_precision_loss, reason = "hours for people")]
    let hours = length.as_millis() as f64 / 3_600_000.0;
    format!(
        "{} events in {hours:.1} h of {} machines and {} pairs\n\
         of faults {}, of noise {}, of the second monitor {}, late {}\n\
         faults {faults} ({}); {} did not happen because {OPEN_MAX} were open, {} since \
         it was repaired lately\n\
         of what they did {} of {} was not noticed; lost ok {}\n\
         held at most: {} due, {} on their way\n",
        counts.events,
        simulation.machines(),
        simulation.pairs(),
        counts.of_faults,
        counts.of_noise,
        counts.by_second,
        counts.late,
        kinds.join(", "),
        counts.put_off,
        counts.rested,
        counts.undetected,
        counts.reached,
        counts.lost_oks,
        counts.due_max,
        counts.on_way_max,
    )
}

/// A file of lines.
struct Out {
    path: PathBuf,
    to: Box<dyn Finish>,
}

impl Out {
    fn new(path: &Path) -> Result<Self, Failure> {
        let to: Box<dyn Finish> = if path == Path::new("-") {
            Box::new(BufWriter::new(io::stdout()))
        } else {
            let file = File::create(path).map_err(|error| about(path, &error))?;
            let file = BufWriter::with_capacity(1 << 20, file);
            match path.extension().is_some_and(|extension| extension == "gz") {
                true => Box::new(GzEncoder::new(file, Compression::fast())),
                false => Box::new(file),
            }
        };
        Ok(Self { path: path.to_owned(), to })
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Failure> {
        let written = self.to.write_all(line).and_then(|()| self.to.write_all(b"\n"));
        written.map_err(|error| about(&self.path, &error))
    }

    fn finish(self) -> Result<(), Failure> {
        self.to.finish().map_err(|error| about(&self.path, &error))
    }
}

/// What ends with more than a flush.
trait Finish: Write {
    fn finish(self: Box<Self>) -> io::Result<()>;
}

impl<W: Write> Finish for BufWriter<W> {
    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.flush()
    }
}

impl Finish for GzEncoder<BufWriter<File>> {
    fn finish(self: Box<Self>) -> io::Result<()> {
        (*self).finish()?.flush()
    }
}

fn number(text: &str, most: f64) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if !(0.0..=most).contains(&number) {
        return Err(format!("`{text}` is not from 0 to {most}"));
    }
    Ok(number)
}

fn share(text: &str) -> Result<f64, String> {
    number(text, 1.0)
}

fn within_open(text: &str) -> Result<f64, String> {
    number(text, 5.0)
}

fn within_noise(text: &str) -> Result<f64, String> {
    number(text, 100.0)
}

fn within_per_machine(text: &str) -> Result<f64, String> {
    number(text, 1_000.0)
}

fn up_to(most: Span) -> impl Fn(&str) -> Result<Span, String> + Clone {
    move |text| {
        let span = Span::parse(text).map_err(|error| error.to_string())?;
        if span > most {
            return Err(format!("`{text}` is more than {most}"));
        }
        Ok(span)
    }
}
