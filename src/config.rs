//! File and environment to every module's settings.
//!
//! The keys, their ranges and defaults are in the sections (`journal`, `collect`, …); `read` takes a
//! tree of values apart and collects whatever is wrong, so that one look shows all of it; `warn`
//! finds what is allowed but cannot be meant; `vary` puts other values in. No module imports this one: settings flow inward.
//! A config that loads is valid: nothing is left to be found out at run time but what lies outside
//! of it, such as a secret's file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::config::{Environment, File, FileFormat};

use crate::absence::Outwards;
use crate::model::CorrelateSettings;
use crate::model::silence::{InhibitRule, SilenceSettings};
use crate::telemetry::logs::Format;
use crate::{api, collect, journal, kafka, notify};

mod collect_section;
mod correlate_section;
mod enrich_section;
mod heartbeat_section;
mod journal_section;
mod mute_section;
mod notify_section;
mod read;
mod receiver_section;
mod schedule_section;
mod senders_section;
mod server_section;
mod table_file;
mod topology_file;
mod topology_topic;
pub mod vary;
mod warn;

use collect_section::Collect;
use correlate_section::Correlate;
use journal_section::{Journal, JournalKind};
use read::{Node, Report};
pub use topology_topic::{Edges, NotHeld, TopologyTopic};

/// The config that holds every key at its default.
pub const DEFAULTS: &str = include_str!("../config/muster.yaml");

/// Where the logs live, and what that back goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalSettings {
    /// The embedded journal.
    Sqlite(journal::sqlite::Settings),
    /// Kafka.
    Kafka(kafka::Settings),
}

/// Everything a process goes by. Its `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    journal: Journal,
    collect: Collect,
    correlate: Correlate,
    notify: notify::Settings,
    mute: mute_section::Mute,
    api: api::Settings,
    heartbeat: Option<Outwards>,
    level: String,
    format: Format,
}

/// Loads a file, or the defaults where there is none, and what the environment says on top:
/// `MUSTER__API__LISTEN=…` is `api.listen`.
///
/// # Errors
/// Names everything that is wrong, each with its key path, value and rule.
pub fn load(path: Option<&Path>) -> Result<Config, ConfigError> {
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    load_with(path, environment)
}

/// As [`load`], with an environment that is passed in.
///
/// # Errors
/// As [`load`].
pub fn load_with(
    path: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let text = match path {
        None => return parse_with("", environment),
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| ConfigError::File { path: path.to_owned(), why: error.to_string() })?,
    };
    parse_with(&text, environment).map_err(|error| match (error, path) {
        (ConfigError::Yaml(why), Some(path)) => ConfigError::File { path: path.to_owned(), why },
        (error, _) => error,
    })
}

/// Reads a config from text alone.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str) -> Result<Config, ConfigError> {
    parse_with(text, [])
}

/// Every key that a config with the parts of `text` may have, such as
/// `notify.receivers[].webhook.url`: what the documentation must name.
///
/// # Errors
/// As [`load`].
pub fn keys(text: &str) -> Result<BTreeSet<String>, ConfigError> {
    let report = Report::default();
    let root = Node::root(tree(text, [])?, &report);
    read_all(root);
    Ok(report.keys())
}

/// Why there is no config.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read, or is no YAML.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The text is no YAML.
    #[error("{0}")]
    Yaml(String),
    /// Keys or values break rules; at least one.
    #[error("{}", list(.0))]
    Rules(Vec<Problem>),
}

/// A value that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The path of the key, such as `collect.sources[1].expire_after`.
    pub key: String,
    /// What was there; none where something is missing, `***` for a secret.
    pub value: Option<String>,
    /// What the value is or is not, and what would do.
    pub rule: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}: `{value}` {}", self.key, self.rule),
            None => write!(f, "{}: {}", self.key, self.rule),
        }
    }
}

impl Default for Config {
    /// What goes for every key that is not given.
    fn default() -> Self {
        // All sections have defaults in code; that the shipped file says the same is a test.
        parse("").expect("a config without a key breaks no rule")
    }
}

impl Config {
    /// Which journal, and what it goes by.
    #[must_use]
    pub fn journal(&self) -> JournalSettings {
        match self.journal.kind {
            JournalKind::Sqlite => JournalSettings::Sqlite(self.journal.sqlite.clone()),
            JournalKind::Kafka => {
                let mut kafka = self.journal.kafka.clone();
                kafka.instance = self.instance();
                JournalSettings::Kafka(kafka)
            }
        }
    }

    /// What collect goes by.
    #[must_use]
    pub fn collect(&self) -> collect::Settings {
        let heartbeats = collect::Heartbeats::new(self.correlate.heartbeats.clone());
        collect::Settings { heartbeats, ..self.collect.settings.clone() }
    }

    /// How many threads read events on Kafka; one everywhere else.
    #[must_use]
    pub fn collect_workers(&self) -> usize {
        match self.journal.kind {
            JournalKind::Sqlite => 1,
            JournalKind::Kafka => self.collect.workers,
        }
    }

    /// Kafka topics to read events from.
    #[must_use]
    pub fn source_topics(&self) -> Vec<kafka::SourceTopic> {
        self.collect.topics.clone()
    }

    /// The prefix of consumer groups, also of those that read source topics beside the embedded
    /// journal.
    #[must_use]
    pub fn source_group(&self) -> String {
        self.journal.kafka.group.clone()
    }

    /// What tells this instance from others: as configured, else the name of the host.
    #[must_use]
    pub fn instance(&self) -> String {
        let configured = &self.journal.kafka.instance;
        if configured.is_empty() { journal_section::host_name() } else { configured.clone() }
    }

    /// What correlate goes by: of the patterns those that are enabled.
    #[must_use]
    pub fn correlate(&self) -> CorrelateSettings {
        self.correlate.settings()
    }

    /// The topic that correlate's topology is in, if it is in one: then [`Self::correlate`] has none.
    #[must_use]
    pub fn topology_topic(&self) -> Option<TopologyTopic> {
        self.correlate.topology_topic().cloned()
    }

    /// What notify goes by; each call has another seed of its jitter.
    #[must_use]
    pub fn notify(&self) -> notify::Settings {
        notify::Settings { seed: fastrand::u64(..), ..self.notify.clone() }
    }

    /// What holds silences to their bounds.
    #[must_use]
    pub fn silences(&self) -> SilenceSettings {
        self.mute.silences.clone()
    }

    /// The rules of inhibition.
    #[must_use]
    pub fn inhibit(&self) -> Vec<InhibitRule> {
        self.mute.inhibit.clone()
    }

    /// What the HTTP server goes by.
    #[must_use]
    pub fn api(&self) -> api::Settings {
        self.api.clone()
    }

    /// Muster's own heartbeat, if it has one.
    #[must_use]
    pub fn heartbeat(&self) -> Option<Outwards> {
        self.heartbeat.clone()
    }

    /// Which log lines are written: a level or a tracing filter.
    #[must_use]
    pub fn log_level(&self) -> &str {
        &self.level
    }

    /// How log lines look.
    #[must_use]
    pub fn log_format(&self) -> Format {
        self.format
    }

    /// The parts that differ from another config's.
    #[must_use]
    pub fn changed(&self, other: &Self) -> Vec<&'static str> {
        let parts = [
            ("journal", self.journal != other.journal),
            (
                "collect",
                self.collect != other.collect
                    || self.correlate.heartbeats != other.correlate.heartbeats,
            ),
            ("correlate", self.correlate != other.correlate),
            ("notify", self.notify != other.notify || self.mute != other.mute),
            ("api", self.api != other.api),
            ("heartbeat", self.heartbeat != other.heartbeat),
            ("log", self.level != other.level || self.format != other.format),
        ];
        parts.into_iter().filter_map(|(part, differs)| differs.then_some(part)).collect()
    }

    /// The keys that differ from those a process started with and that it cannot change while it
    /// runs.
    #[must_use]
    pub fn needs_restart(&self, started: &Self) -> Vec<&'static str> {
        let names = |config: &Self| -> Vec<_> {
            config.collect.settings.sources.iter().map(|source| Arc::clone(&source.name)).collect()
        };
        let keys = [
            ("journal", self.journal != started.journal),
            (
                "collect.sources: names or topics",
                names(self) != names(started) || self.collect.topics != started.collect.topics,
            ),
            (
                "collect.cache_max",
                self.collect.settings.cache_max != started.collect.settings.cache_max,
            ),
            (
                "correlate.topology: topic",
                self.correlate.topology_topic() != started.correlate.topology_topic(),
            ),
            ("collect.workers", self.collect.workers != started.collect.workers),
            ("notify.silences", self.mute.silences != started.mute.silences),
            ("api.listen", self.api.listen != started.api.listen),
            ("api.connections", self.api.connections != started.api.connections),
            ("log.format", self.format != started.format),
        ];
        keys.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
    }

    /// What is allowed but cannot be meant; see the list in `config::warn`.
    #[must_use]
    pub fn warnings(&self) -> Vec<Problem> {
        warn::warnings(self)
    }

    /// Looks at what lies outside of the config: whether files of secrets can be read.
    #[must_use]
    pub fn outside(&self) -> Vec<Problem> {
        let mut problems = notify_section::unusable(&self.notify);
        problems.extend(senders_section::unreadable(&self.api.senders));
        problems.extend(heartbeat_section::unreadable(self.heartbeat.as_ref()));
        problems
    }

    /// A short account of what is configured, one line a part; shows no secret.
    #[must_use]
    pub fn summary(&self) -> Vec<String> {
        let patterns = self.correlate.names();
        let patterns = if patterns.is_empty() { "none".to_owned() } else { patterns.join(", ") };
        vec![
            format!("journal: {}", self.journal.summary()),
            format!("collect: {}", self.collect.summary()),
            format!(
                "correlate: patterns {patterns}{}{}",
                self.correlate.topology_summary(),
                heartbeat_section::summary(&self.correlate.heartbeats)
            ),
            format!("notify: {}", notify_section::summary(&self.notify)),
            format!("api: http://{}", self.api.listen),
        ]
        .into_iter()
        .chain(self.heartbeat.as_ref().map(|own| format!("heartbeat: every {}", own.every)))
        .collect()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topics: Vec<kafka::SourceTopic> =
            self.collect.topics.iter().map(collect_section::masked).collect();
        f.debug_struct("Config")
            .field("journal", &self.journal.masked())
            .field("collect", &self.collect.settings)
            .field("source_topics", &topics)
            .field("correlate", &self.correlate)
            .field("notify", &self.notify)
            .field("mute", &self.mute)
            .field("api", &self.api)
            .field("heartbeat", &self.heartbeat)
            .field("level", &self.level)
            .field("format", &self.format)
            .finish()
    }
}

/// As [`parse`], with an environment that is passed in.
///
/// # Errors
/// As [`load`].
pub fn parse_with(
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let report = Report::default();
    let mut config = read_all(Node::root(tree(text, environment)?, &report));
    if report.problems().is_empty() {
        // The graph is as much a rule as a pattern is: a config without it would be another one.
        config.correlate.load().map_err(ConfigError::Rules)?;
    }
    match report.problems() {
        problems if problems.is_empty() => Ok(config),
        problems => Err(ConfigError::Rules(problems)),
    }
}

/// File and environment as one tree; the environment wins key by key.
fn tree(
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<BTreeMap<String, ::config::Value>, ConfigError> {
    let environment = Environment::with_prefix("MUSTER")
        .prefix_separator("__")
        .separator("__")
        .source(Some(environment.into_iter().collect()));
    let built = ::config::Config::builder()
        .add_source(File::from_str(text, FileFormat::Yaml))
        .add_source(environment)
        .build();
    let table = built.and_then(|built| built.cache.into_table());
    Ok(table.map_err(|error| ConfigError::Yaml(error.to_string()))?.into_iter().collect())
}

/// Reads every section; where a rule is broken the report says so and a default stands in.
fn read_all(mut root: Node<'_>) -> Config {
    let journal = journal_section::read(root.table("journal"));
    let collect = collect_section::read(root.table("collect"), &journal);
    let correlate = correlate_section::read(root.table("correlate"), &journal);
    let (notify, mute) = notify_section::read(root.table("notify"));
    let mut api = server_section::read_api(root.table("api"));
    api.senders = Arc::clone(&collect.senders);
    let heartbeat = heartbeat_section::outwards(root.table("heartbeat"));
    let (level, format) = server_section::read_log(root.table("log"));
    root.finish();
    Config { journal, collect, correlate, notify, mute, api, heartbeat, level, format }
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}
