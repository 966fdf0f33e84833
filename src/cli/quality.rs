//! `muster quality`: how a config does on labelled events, beside methods that need no thought.
//!
//! Every method runs through the same collect and correlate; only the patterns differ. Sets are files
//! or simulated anew for each run, so that events need not be held.

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::demo::Directory;
use super::replay::{AHEAD, about, input, truth};
use super::{Failure, has_its_topology};
use crate::clock::{Clock, SystemClock};
use crate::collect::{self, SourceSettings};
use crate::config::{self, Config};
use crate::model::{Chronic, CorrelateSettings, Matchers, Pattern, Span, Timestamp};
use crate::replay::score::{Places, Score, Truth};
use crate::replay::{Replay, Summary};
use crate::simulate::{self, Simulation};

/// The tag that every event gets where all are to be one group.
const EVERYTHING: &str = "muster_quality_all";
/// What goes where it is known what is near what: the same file that users read.
const WITH_TOPOLOGY: &str = include_str!("../../config/examples/topology.yaml");
/// Which of its keys the topology of each set takes the place of.
const TOPOLOGY_FILE: &str = "MUSTER__CORRELATE__TOPOLOGY__FILE";
/// As long as patterns may reach.
const FOR_EVER: Span = Span::from_secs(30 * 86_400);

/// What was counted, and how good it is.
type Measured = (Summary, Score);

/// What to measure on.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// A labelled set: its name, a file of events (one a line, with `id`; `.gz` is unpacked), a truth
    /// as for `replay --score`, where its sources never say `ok`, how long an alert lasts that is
    /// not repeated, and, where it has one, a topology as for `correlate.topology.file`.
    #[arg(long = "set", value_name = "NAME=EVENTS,TRUTH[,[EXPIRE_AFTER][,TOPOLOGY]]")]
    sets: Vec<String>,
    /// Simulated sets of so many events each; see `muster simulate`.
    #[arg(long, value_name = "EVENTS,…", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=simulate::EVENTS.1))]
    simulated: Vec<u64>,
    /// The same with `muster simulate --hard`.
    #[arg(long, value_name = "EVENTS,…", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=simulate::EVENTS.1))]
    hard: Vec<u64>,
    /// Seeds of the simulated sets. What is known of their sources is taken as given.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 3])]
    seeds: Vec<u64>,
    /// Only the config, without the plain methods.
    #[arg(long)]
    alone: bool,
}

/// Measures and prints.
pub(super) fn run(config: &Config, options: &Options) -> Result<ExitCode, Failure> {
    has_its_topology(config)?;
    let mut sets: Vec<Set> =
        options.sets.iter().map(|text| Set::read(config, text)).collect::<Result<_, _>>()?;
    let simulated = [
        ("simulated", &options.simulated, simulate::Settings::new as fn(u64, u64) -> _),
        ("hard", &options.hard, simulate::Settings::hard),
    ];
    for (name, sizes, like) in simulated {
        for events in sizes {
            for seed in &options.seeds {
                let name = format!("{name} {events}, seed {seed}");
                sets.push(Set::simulated(config, name, like(*seed, *events))?);
            }
        }
    }
    if sets.is_empty() {
        return Err(Failure::usage("nothing to measure on; give --set, --simulated or --hard"));
    }
    let latest = SystemClock.now() + AHEAD;
    let methods = if options.alone { Method::ALONE } else { Method::ALL };
    let mut rows = Vec::new();
    for set in &sets {
        let truth = set.truth()?;
        let mut results = Vec::new();
        for method in methods {
            let settings = method.settings(set);
            let measured = settings.map(|settings| set.measure(*method, &settings, &truth, latest));
            results.push(measured.transpose()?);
        }
        rows.push((set.name.as_str(), results));
    }
    let printed = io::stdout().lock().write_all(tables(methods, &rows).as_bytes());
    printed.map_err(|error| Failure::other(format!("standard output: {error}")))?;
    Ok(ExitCode::SUCCESS)
}

/// What decides which alerts belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Config,
    Topology,
    Nothing,
    Host,
    HostHour,
    Gap,
}

impl Method {
    const ALONE: &[Self] = &[Self::Config, Self::Topology];
    const ALL: &[Self] =
        &[Self::Config, Self::Topology, Self::Nothing, Self::Host, Self::HostHour, Self::Gap];

    const fn name(self) -> &'static str {
        match self {
            Self::Config => "this config",
            Self::Topology => "with topology",
            Self::Nothing => "no correlation",
            Self::Host => "by host",
            Self::HostHour => "by host within 60 min",
            Self::Gap => "5-minute gap",
        }
    }

    /// By what a set is correlated; none where the set has not what it takes.
    fn settings(self, set: &Set) -> Option<CorrelateSettings> {
        let mut settings = set.config.correlate();
        let pattern = |by: &str, window, gap| Pattern {
            name: self.name().into(),
            matchers: Matchers::default(),
            by: vec![by.into()],
            window,
            gap,
            cross_source: true,
            max_alerts: u32::MAX,
            min_alerts: 1,
            chronic: Chronic::Join,
            near: None,
        };
        match self {
            Self::Config => {}
            Self::Topology => {
                let CorrelateSettings { patterns, topology, .. } =
                    set.with_topology.as_ref()?.correlate();
                settings = CorrelateSettings { patterns, topology, ..settings };
            }
            Self::Nothing => settings.patterns.clear(),
            Self::Host => settings.patterns = vec![pattern("host", FOR_EVER, None)],
            Self::HostHour => {
                settings.patterns = vec![pattern("host", Span::from_secs(3_600), None)];
            }
            Self::Gap => {
                let gap = Some(Span::from_secs(300));
                settings.patterns = vec![pattern(EVERYTHING, FOR_EVER, gap)];
            }
        }
        Some(settings)
    }
}

/// Labelled events.
struct Set {
    name: String,
    config: Config,
    /// How long a problem of a source lives without a word, where that is known of it.
    lives: Vec<(&'static str, Span)>,
    /// The patterns for where a topology is, with that of the set; none where it has none.
    with_topology: Option<Config>,
    from: From,
}

enum From {
    Files { events: PathBuf, truth: PathBuf },
    Seed(simulate::Settings),
}

impl Set {
    fn read(config: &Config, text: &str) -> Result<Self, Failure> {
        let wrong = || {
            let form = "NAME=EVENTS,TRUTH[,[EXPIRE_AFTER][,TOPOLOGY]]";
            Failure::usage(format!("--set: `{text}` is not {form}"))
        };
        let (name, files) = text.split_once('=').ok_or_else(wrong)?;
        let parts: Vec<&str> = files.split(',').collect();
        let (events, truth, expire_after, topology) = match parts[..] {
            [events, truth] => (events, truth, "", None),
            [events, truth, expire_after] => (events, truth, expire_after, None),
            [events, truth, expire_after, topology] => {
                (events, truth, expire_after, Some(topology))
            }
            _ => return Err(wrong()),
        };
        let mut config = config.clone();
        if !expire_after.is_empty() {
            let sweep = config.sweep(&[format!("expire_after={expire_after}")]);
            let sweep = sweep.map_err(|error| {
                Failure::usage(error.to_string().replacen("--sweep", &format!("--set {name}:"), 1))
            })?;
            config = sweep.variants.into_iter().next().map_or(config, |variant| variant.config);
        }
        let from = From::Files { events: events.into(), truth: truth.into() };
        let with_topology = topology.map(with_topology).transpose()?;
        Ok(Self { name: name.to_owned(), config, lives: Vec::new(), with_topology, from })
    }

    fn simulated(
        config: &Config,
        name: String,
        settings: simulate::Settings,
    ) -> Result<Self, Failure> {
        // By way of a file, as `muster simulate` writes it and the config reads it.
        let directory = Directory::new("quality")?;
        let path = directory.0.join("topology.jsonl");
        let mut edges = Vec::new();
        let simulation = Simulation::new(settings.clone());
        let lives = simulation.sources().collect();
        simulation
            .topology(|line| edges.write_all(&[line, b"\n"].concat()))
            .and_then(|()| std::fs::write(&path, &edges))
            .map_err(|error| about(&path, &error))?;
        Ok(Self {
            name,
            config: config.clone(),
            lives,
            with_topology: Some(with_topology(&path.display().to_string())?),
            from: From::Seed(settings),
        })
    }

    fn truth(&self) -> Result<Truth, Failure> {
        match &self.from {
            From::Files { truth: path, .. } => truth::read(path),
            From::Seed(settings) => {
                let mut simulation = Simulation::new(settings.clone());
                let mut truth = Truth::default();
                while let Some(delivery) = simulation.deliver() {
                    if let Some(line) = delivery.truth {
                        truth.add(truth::label(line).map_err(Failure::other)?);
                    }
                }
                Ok(truth)
            }
        }
    }

    /// How the events are collected: by the config, and by what is known of sources that it does not
    /// name.
    fn collect(&self) -> collect::Settings {
        let mut settings = self.config.collect();
        for (name, expire_after) in self.lives.iter().copied() {
            if settings.sources.iter().any(|source| *source.name == *name) {
                continue;
            }
            let defaults = settings.sources.last().expect("`defaults` is always there").clone();
            settings
                .sources
                .insert(0, SourceSettings { name: name.into(), expire_after, ..defaults });
        }
        settings
    }

    fn measure(
        &self,
        method: Method,
        settings: &CorrelateSettings,
        truth: &Truth,
        latest: Timestamp,
    ) -> Result<Measured, Failure> {
        let mut replay = Replay::new(self.collect(), settings, latest);
        let mut places = Places::new(truth);
        let mut tagged = Vec::new();
        let mut take = |record: &[u8]| {
            let mut record = record;
            if let (Method::Gap, Some(rest)) = (method, record.strip_prefix(b"{")) {
                tagged.clear();
                tagged.extend_from_slice(format!("{{\"{EVERYTHING}\":\"yes\",").as_bytes());
                tagged.extend_from_slice(rest);
                record = &tagged;
            }
            replay.record(
                record,
                |_| {},
                |place| {
                    let incident = place.place.map(|(_, incident)| incident);
                    places.place(place.event_id.as_deref(), incident);
                },
            );
        };
        match &self.from {
            From::Files { events, .. } => each_line(events, &mut take)?,
            From::Seed(settings) => {
                let mut simulation = Simulation::new(settings.clone());
                while let Some(delivery) = simulation.deliver() {
                    take(delivery.event);
                }
            }
        }
        Ok((replay.summary(), places.score_but_for(truth.usual_unit(), replay.held())))
    }
}

/// The patterns for where a topology is, with this one.
fn with_topology(file: &str) -> Result<Config, Failure> {
    let environment = [(TOPOLOGY_FILE.to_owned(), file.to_owned())];
    config::parse_with(WITH_TOPOLOGY, environment)
        .map_err(|error| Failure::usage(error.to_string()))
}

/// Hands over each event of a file.
fn each_line(path: &Path, take: &mut impl FnMut(&[u8])) -> Result<(), Failure> {
    let (mut input, progress) = input::open(path)?;
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let read = input.read_until(b'\n', &mut line).map_err(|error| about(path, &error))?;
        if read == 0 {
            break;
        }
        let record = line.trim_ascii();
        if record.is_empty() {
            continue;
        }
        if !record.starts_with(b"{") {
            let path = path.display();
            return Err(Failure::data(format!(
                "{path}:{number}: is not a JSON object; one event a line"
            )));
        }
        take(record);
    }
    progress.finish_and_clear();
    Ok(())
}

fn tables(methods: &[Method], rows: &[(&str, Vec<Option<Measured>>)]) -> String {
    let mut text = String::from(
        "| set | events | alerts | true incidents | incidents | precision | recall | B-cubed F1 | pages per true incident |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for (set, results) in rows {
        for (method, measured) in methods.iter().zip(results) {
            let name = match method {
                Method::Config => (*set).to_owned(),
                Method::Topology => format!("{set}, {}", method.name()),
                _ => continue,
            };
            let Some((summary, score)) = measured else { continue };
            let cells = [
                summary.events.to_string(),
                score.units.to_string(),
                score.true_incidents.to_string(),
                score.incidents.to_string(),
                format!("{:.4}", score.bcubed.precision),
                format!("{:.4}", score.bcubed.recall),
                format!("{:.4}", score.bcubed.f1()),
                format!("{:.2}", score.pages_per_true_incident),
            ];
            text.push_str(&format!("| {name} | {} |\n", cells.join(" | ")));
        }
    }
    let names: Vec<&str> = methods.iter().map(|method| method.name()).collect();
    text.push_str(&format!(
        "\nB-cubed F1 / pages per true incident:\n\n| set | {} |\n|---|",
        names.join(" | ")
    ));
    text.push_str(&"---:|".repeat(names.len()));
    text.push('\n');
    for (set, results) in rows {
        let cell = |measured: &Option<Measured>| match measured {
            Some((_, score)) => {
                format!("{:.4} / {:.2}", score.bcubed.f1(), score.pages_per_true_incident)
            }
            None => "no topology".to_owned(),
        };
        let cells: Vec<String> = results.iter().map(cell).collect();
        text.push_str(&format!("| {set} | {} |\n", cells.join(" | ")));
    }
    text
}
