//! Reads a scenario: settings, events with their arrival, and the changes that must come of them.
//!
//! The format is for operators to review; `show` says how a change is written. A scenario runs
//! through the real stages in several ways that must all tell the same. What a line does not say
//! is not compared, but the stream of lines is: one more, one less or another order fails.
//!
//! ```text
//! # What it is about.
//! pattern NAME by=a,b window=10m gap=2m match='env="prod"' cross_source=no max_alerts=3
//!     min_alerts=2 chronic=join             # on the same line
//! pattern NAME near=host:2 window=10m       # or near=host:2:KIND,KIND; also beside by=
//! edge host:web-1 switch:sw-1 KIND          # of the topology; after `settings` it is a new one
//! edges_looked_at 100
//! reopen_window 30m
//! dismiss_for 4h
//! flapping changes=4 within=1h quiet_for=1h reminder=1d    # each that is not named: as it was
//! chronic episodes=6 days=5 of=7 identities_max=200000         # the same
//! ok_memory_max 2
//! maintenance NAME match=host=web-1 from=12:00:00 to=13:00:00
//! maintenance NAME match=host=web-1 every=week on=thu at=12:00 for=1h zone=Europe/Berlin
//! heartbeat NAME every=5m grace=1m match=source=nagios each=host each_max=2 forget_after=1d
//!     status=warning tag.env=prod window=day at=02:00 for=2h zone=UTC     # on the same line
//! watching 10s                 # how often collect says that it reads, between the lines
//! expire_after 5m              # of every source, or of one: expire_after nagios 5m
//! shard SOURCE NAME
//! rests_on_repeats "reason"    # what is told may differ once collect forgets everything
//! 12:00:00  nagios web-1/cpu  critical  cluster=web az=[a,b] @11:59:00 key=K text="…" expires=12:30:00
//! 12:05:00  tick
//! 12:05:30  collect_restarts   # it forgets everything
//! 12:05:40  beat NAME VALUE     # a heartbeat by its name; without a value where it has none
//! 12:05:50  collect behind     # or caught_up, began; `collect silent`: says nothing, does nothing
//! 12:06:00  settings           # patterns and maintenance that follow replace those before
//! 12:07:00  acknowledge #1 by=ann until=13:00:00 request=ID      # `asked` says how a command is written
//! ----
//! 12:00:00  opened  web  critical  1 firing
//! 12:07:00  command  acknowledge  done        # or why it was refused; count=1 message=… request=…
//! ----
//! nagios web-1/cpu  critical  firing  #1     # every alert that is kept, by start
//! ```

use crate::collect::{self, Heartbeats};
use crate::model::settings::Near;
use crate::model::topology::{Builder, Topology};
use crate::model::{
    Beat, Chronic, ChronicSettings, CorrelateSettings, FlappingSettings, MaintenanceId, Matchers,
    Pattern, Span, Timestamp, Watch,
};
use crate::stage::Kind;

use crate::wire::heartbeat::encode;

use super::pipeline::{Pipeline, Way};
use words::{Words, time};

mod asked;
mod show;
mod words;

/// A scenario, ready to run.
#[derive(Debug)]
pub struct Scenario {
    collect: collect::Settings,
    /// How often collect says how it is.
    watching: Option<Span>,
    correlate: CorrelateSettings,
    steps: Vec<(Timestamp, Step)>,
    changes: Vec<String>,
    alerts: Option<Vec<String>>,
    rests_on_repeats: bool,
}

#[derive(Debug)]
enum Step {
    Event(Vec<u8>),
    Tick,
    /// The nth line, from 1.
    Command(usize, Words),
    CollectRestarts,
    Beat(Beat),
    /// How collect is from here on; none: it says nothing.
    Collect(Option<Watch>),
    Settings(CorrelateSettings),
}

/// How a scenario is run; each must tell the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// As it stands.
    Plain,
    /// Correlate is committed, thrown away and restored after every record.
    Restored,
    /// Collect forgets everything after every record.
    Forgetful,
    /// Events are decoded first and sent on to the owner of their identity.
    SentOn,
}

impl Run {
    /// Every way.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Restored, Self::Forgetful, Self::SentOn];
}

/// The file is no scenario, or what happened is not what it says.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// A line cannot be read.
    #[error("line {line}: `{text}`: {why}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// The line.
        text: String,
        /// What is wrong with it, and what belongs there.
        why: String,
    },
    /// Something else than expected was told.
    #[error("run {run:?} told otherwise (- expected, + told):\n{diff}")]
    Otherwise {
        /// In which way it ran.
        run: Run,
        /// Both, line by line.
        diff: String,
    },
    /// The stages failed.
    #[error("run {run:?}: {why}")]
    Failed {
        /// In which way it ran.
        run: Run,
        /// What failed.
        why: String,
    },
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// Names the line that cannot be read and says what belongs there.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let mut reader = Reader::new();
        for (index, line) in text.lines().enumerate() {
            reader.line(line).map_err(|why| ScenarioError::Line {
                line: index + 1,
                text: line.to_owned(),
                why,
            })?;
        }
        Ok(reader.scenario)
    }

    /// Runs it in every way that must tell the same.
    ///
    /// # Errors
    /// Shows what was told beside what was expected.
    pub fn check(&self) -> Result<(), ScenarioError> {
        for run in Run::ALL {
            if run == Run::Forgetful && self.rests_on_repeats {
                continue;
            }
            let told = self.run(run)?;
            let counts = run != Run::Forgetful;
            let mut diff = show::compare(&self.changes, show::changes(&told, counts));
            if let (None, Some(alerts)) = (&diff, &self.alerts) {
                diff = show::compare(alerts, show::alerts(&told, counts));
            }
            if let Some(diff) = diff {
                return Err(ScenarioError::Otherwise { run, diff });
            }
        }
        Ok(())
    }

    /// Runs it in one way.
    ///
    /// # Errors
    /// When a row cannot be restored, or an event of the scenario could not be read.
    pub fn run(&self, run: Run) -> Result<Pipeline, ScenarioError> {
        let failed = |why: String| ScenarioError::Failed { run, why };
        let way = if run == Run::SentOn { Way::SentOn } else { Way::Straight };
        let mut pipeline = Pipeline::new(self.collect.clone(), self.correlate.clone(), way);
        let mut said = self.steps.first().map_or(Timestamp::MIN, |(at, _)| *at);
        let mut watch = Some(Watch::CaughtUp);
        for (at, step) in &self.steps {
            while let Some(every) = self.watching.filter(|every| said + *every < *at) {
                said = said + every;
                let Some(watch) = watch else { continue };
                pipeline.append(said, Kind::Heartbeat, encode(&Beat::Watch(watch)));
                after(&mut pipeline, run).map_err(failed)?;
            }
            match step {
                Step::Event(bytes) => pipeline.arrive(*at, Some(bytes)),
                Step::Tick => pipeline.tick(*at),
                Step::Command(nth, words) => {
                    let bytes = asked::bytes(&pipeline, *nth, words).map_err(failed)?;
                    pipeline.append(*at, Kind::Command, bytes);
                }
                Step::CollectRestarts => pipeline.forget_collected(),
                Step::Beat(beat) => pipeline.append(*at, Kind::Heartbeat, encode(beat)),
                Step::Collect(how) => {
                    if let Some(how) = how {
                        pipeline.append(*at, Kind::Heartbeat, encode(&Beat::Watch(*how)));
                        said = *at;
                    }
                    // What has begun to read has read all of it soon.
                    watch = how.map(|how| match how {
                        Watch::Began => Watch::CaughtUp,
                        how => how,
                    });
                }
                Step::Settings(settings) => pipeline.go_by(*at, settings.clone()),
            }
            after(&mut pipeline, run).map_err(failed)?;
        }
        match pipeline.dead().first() {
            None => Ok(pipeline),
            Some(dead) => {
                Err(failed(format!("set aside: {}", String::from_utf8_lossy(&dead.value))))
            }
        }
    }
}

/// What a way of running does after each record.
fn after(pipeline: &mut Pipeline, run: Run) -> Result<(), String> {
    match run {
        Run::Restored => pipeline.restart_correlate().map_err(|error| error.to_string()),
        Run::Forgetful => {
            pipeline.forget_collected();
            Ok(())
        }
        Run::Plain | Run::SentOn => Ok(()),
    }
}

enum Part {
    Story,
    Changes,
    Alerts,
}

struct Reader {
    scenario: Scenario,
    part: Part,
    /// Settings that follow a `settings` line.
    later: bool,
    /// The edges of the topology that is being told: nodes and kind.
    edges: Vec<[String; 3]>,
    edges_looked_at: u32,
}

impl Reader {
    fn new() -> Self {
        let everybody = collect::SourceSettings {
            expire_after: Span::from_secs(7 * 86_400),
            ..collect::SourceSettings::new("defaults")
        };
        let scenario = Scenario {
            collect: collect::Settings {
                sources: vec![everybody],
                cache_max: 1_000,
                ..collect::Settings::default()
            },
            correlate: CorrelateSettings::default(),
            watching: None,
            steps: Vec::new(),
            changes: Vec::new(),
            alerts: None,
            rests_on_repeats: false,
        };
        Self {
            scenario,
            part: Part::Story,
            later: false,
            edges: Vec::new(),
            edges_looked_at: 20_000,
        }
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let words = Words::parse(line)?;
        let Some(first) = words.plain.first().cloned() else {
            return if words.named.is_empty() { Ok(()) } else { Err("a word is missing".into()) };
        };
        if first == "----" {
            self.part = match self.part {
                Part::Story => Part::Changes,
                Part::Changes => {
                    self.scenario.alerts = Some(Vec::new());
                    Part::Alerts
                }
                Part::Alerts => return Err("there are three parts at most".into()),
            };
            return Ok(());
        }
        match (&self.part, &mut self.scenario.alerts) {
            (Part::Story, _) if first.starts_with(|c: char| c.is_ascii_digit()) => self.step(words),
            (Part::Story, _) => self.setting(words),
            (Part::Alerts, Some(alerts)) => {
                alerts.push(line.to_owned());
                Ok(())
            }
            _ => {
                time(&first)?;
                self.scenario.changes.push(line.to_owned());
                Ok(())
            }
        }
    }

    fn step(&mut self, words: Words) -> Result<(), String> {
        let at = time(&words.plain[0])?;
        self.later = false;
        let step = match &words.plain[1..] {
            [word] if word == "tick" => Step::Tick,
            [word, ..] if asked::is_action(word) => {
                Step::Command(self.scenario.steps.len() + 1, words)
            }
            [word] if word == "collect_restarts" => Step::CollectRestarts,
            [word, name, value @ ..] if word == "beat" && value.len() < 2 => Step::Beat(Beat::Of {
                name: name.as_str().into(),
                value: value.first().map(String::as_str).unwrap_or_default().into(),
                kept_back: Span::ZERO,
            }),
            [word, how] if word == "collect" && how == "silent" => Step::Collect(None),
            [word, how] if word == "collect" => {
                let known = Watch::ALL.into_iter().find(|(word, _)| word == how);
                let (_, how) = known.ok_or("collect is began, caught_up, behind or silent")?;
                Step::Collect(Some(how))
            }
            [word] if word == "settings" => {
                self.later = true;
                self.edges.clear();
                Step::Settings(CorrelateSettings {
                    patterns: Vec::new(),
                    maintenance: Vec::new(),
                    heartbeats: Vec::new(),
                    ..self.scenario.correlate.clone()
                })
            }
            [source, place, status] => {
                Step::Event(words::event(at, source, place, status, &words.named)?)
            }
            _ => {
                return Err("after the time: `source host/check status`, `tick`, `settings`, \
                            `collect_restarts` or a command"
                    .into());
            }
        };
        self.scenario.steps.push((at, step));
        Ok(())
    }

    fn setting(&mut self, mut words: Words) -> Result<(), String> {
        let span = |text: &String| Span::parse(text).map_err(|error| error.to_string());
        let plain = std::mem::take(&mut words.plain);
        let plain: Vec<&String> = plain.iter().collect();
        match (plain[0].as_str(), &plain[1..]) {
            ("pattern", [name]) => {
                let pattern = pattern(name, &words)?;
                self.correlate()?.patterns.push(pattern);
            }
            ("maintenance", [name]) => {
                let id = MaintenanceId::of(&format!("config {name}"));
                let plan = words::plan(name, &words)?.read(id, "config");
                let plan = plan.map_err(|problems| format!("{}", problems[0]))?;
                self.correlate()?.maintenance.push(plan);
            }
            ("heartbeat", [name]) => {
                let heartbeat = words::heartbeat(name, &words)?;
                // Both halves of a scenario's collect know all of them, as after a reload.
                let all = &mut self.scenario.collect.heartbeats;
                let mut known: Vec<_> = all.rules().to_vec();
                known.retain(|other| other.name != heartbeat.name);
                known.push(heartbeat.clone());
                *all = Heartbeats::new(known);
                self.correlate()?.heartbeats.push(heartbeat);
            }
            ("watching", [every]) => self.scenario.watching = Some(span(every)?),
            ("edge", [from, to, kind]) => {
                self.edges.push([from, to, kind].map(|word| (*word).clone()));
                self.tell_topology()?;
            }
            ("edges_looked_at", [most]) => {
                self.edges_looked_at = most.parse().map_err(|_| "not a number")?;
                self.tell_topology()?;
            }
            ("reopen_window", [window]) => self.correlate()?.reopen_window = span(window)?,
            ("dismiss_for", [span_of]) => self.correlate()?.dismiss_for = span(span_of)?,
            ("flapping", []) => flapping(&mut self.correlate()?.flapping, &words)?,
            ("chronic", []) => chronic(&mut self.correlate()?.chronic, &words)?,
            ("ok_memory_max", [max]) => {
                self.correlate()?.ok_memory_max = max.parse().map_err(|_| "not a number")?;
            }
            ("expire_after", [life]) => {
                let life = span(life)?;
                for source in &mut self.scenario.collect.sources {
                    source.expire_after = life;
                }
            }
            ("expire_after", [name, life]) => self.source(name).expire_after = span(life)?,
            ("shard", [name, shard]) => self.source(name).shard = shard.as_str().into(),
            ("rests_on_repeats", [_reason]) => self.scenario.rests_on_repeats = true,
            _ => return Err("no such setting, or not with these words".into()),
        }
        Ok(())
    }

    fn tell_topology(&mut self) -> Result<(), String> {
        let mut builder = Builder::new(1_000, 10_000);
        for [from, to, kind] in &self.edges {
            let node = |text| str::split_once(text, ':').ok_or("a node is tag:value");
            builder.edge(node(from)?, node(to)?, kind)?;
        }
        let topology = Topology::new(builder.build()?, self.edges_looked_at);
        self.correlate()?.topology = Some(topology);
        Ok(())
    }

    /// The settings that the lines here are about.
    fn correlate(&mut self) -> Result<&mut CorrelateSettings, String> {
        match (self.later, self.scenario.steps.last_mut()) {
            (true, Some((_, Step::Settings(settings)))) => Ok(settings),
            (false, None) => Ok(&mut self.scenario.correlate),
            _ => Err("settings come before the first event, or after a `settings` line".into()),
        }
    }

    fn source(&mut self, name: &str) -> &mut collect::SourceSettings {
        let sources = &mut self.scenario.collect.sources;
        let at = sources.iter().position(|source| *source.name == *name).unwrap_or_else(|| {
            let new = collect::SourceSettings {
                name: name.into(),
                ..sources.last().cloned().expect("`defaults` is always there")
            };
            sources.insert(0, new);
            0
        });
        &mut sources[at]
    }
}

fn flapping(settings: &mut FlappingSettings, words: &Words) -> Result<(), String> {
    for (key, value) in &words.named {
        let span = || Span::parse(value).map_err(|error| error.to_string());
        match key.as_str() {
            "changes" => settings.changes = value.parse().map_err(|_| "not a number")?,
            "within" => settings.within = span()?,
            "quiet_for" => settings.quiet_for = span()?,
            "reminder" => settings.reminder = span()?,
            _ => return Err(format!("flapping has no `{key}`")),
        }
    }
    Ok(())
}

fn chronic(settings: &mut ChronicSettings, words: &Words) -> Result<(), String> {
    for (key, value) in &words.named {
        let number = value.parse::<u32>().map_err(|_| "not a number")?;
        match key.as_str() {
            "episodes" => settings.episodes = number,
            "days" => settings.days = number,
            "of" => settings.of = number,
            "identities_max" => settings.identities_max = number as usize,
            _ => return Err(format!("chronic has no `{key}`")),
        }
    }
    Ok(())
}

fn pattern(name: &str, words: &Words) -> Result<Pattern, String> {
    let mut pattern = Pattern {
        name: name.into(),
        matchers: Matchers::default(),
        by: Vec::new(),
        window: Span::from_secs(3_600),
        gap: None,
        cross_source: true,
        max_alerts: 1_000,
        min_alerts: 1,
        chronic: Chronic::default(),
        near: None,
    };
    for (key, value) in &words.named {
        let span = || Span::parse(value).map_err(|error| error.to_string());
        match key.as_str() {
            "near" => pattern.near = Some(near(value)?),
            "by" => pattern.by = value.split(',').map(Box::from).collect(),
            "window" => pattern.window = span()?,
            "gap" => pattern.gap = Some(span()?),
            "match" => {
                let matchers = Matchers::parse([value.as_str()]);
                pattern.matchers = matchers.map_err(|error| error.to_string())?;
            }
            "cross_source" => pattern.cross_source = value != "no",
            "max_alerts" => pattern.max_alerts = value.parse().map_err(|_| "not a number")?,
            "min_alerts" => pattern.min_alerts = value.parse().map_err(|_| "not a number")?,
            "chronic" => {
                let word = Chronic::parse(value);
                pattern.chronic = word.ok_or("neither separate nor join")?;
            }
            _ => return Err(format!("a pattern has no `{key}`")),
        }
    }
    if pattern.by.is_empty() && pattern.near.is_none() {
        return Err("a pattern needs `by=` or `near=`".into());
    }
    Ok(pattern)
}

/// `tag:hops`, or `tag:hops:kind,kind`.
fn near(text: &str) -> Result<Near, String> {
    let mut parts = text.splitn(3, ':');
    let tag = parts.next().unwrap_or_default().into();
    let hops = parts.next().unwrap_or_default().parse().map_err(|_| "near=tag:hops")?;
    let kinds = parts.next().map(|kinds| kinds.split(',').map(Box::from).collect());
    Ok(Near { tag, hops, kinds: kinds.unwrap_or_default() })
}
