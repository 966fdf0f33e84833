//! The command line: the one place that wires modules together.
//!
//! Exit codes: 0 done; 64 the command line or the config is wrong, 65 a file given to it holds what
//! it may not (as `EX_USAGE` and `EX_DATAERR` of sysexits.h); 1 anything else that failed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::config::{self, Config};

mod asking;
mod check;
mod client;
mod dead_letters;
mod decode;
mod demo;
mod explain;
mod heartbeats;
mod incidents;
mod maintenance;
mod publish;
mod quality;
mod replay;
pub mod run;
mod silences;
mod simulate;
mod token;
mod topics;

/// What a wrong command line or config exits with.
const USAGE: u8 = 64;
/// What a given file that holds something else than it should exits with.
const DATA: u8 = 65;

/// Turns monitoring events into incidents and tells on-call once.
#[derive(Debug, Parser)]
#[command(name = "muster", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon until SIGTERM; SIGHUP reads the config anew.
    Run {
        #[command(flatten)]
        config: ConfigFile,
        /// Which stages to run here; a subset needs Kafka as the journal.
        #[arg(long, value_delimiter = ',', default_value = "collect,correlate,notify,api")]
        stages: Vec<run::StageName>,
    },
    /// Watch it work: a simulated estate on an embedded journal in a temporary directory.
    Demo(demo::Options),
    /// Check a config; prints key, value and rule of whatever is wrong.
    Check {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Print the canonical events of a payload, or why there are none: for setting up a source.
    Decode {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        options: decode::Options,
    },
    /// Look at what could not be read, and read it once more after a decoder or mapping was mended.
    DeadLetters(dead_letters::Options),
    /// Look at incidents, and acknowledge, snooze, resolve… them over the HTTP API.
    Incidents(incidents::Options),
    /// Look at planned work, and create, edit or end it over the HTTP API.
    Maintenance(maintenance::Options),
    /// Send a payload from the monitored side to Muster or to Kafka; with a spool for when neither
    /// can be reached.
    Publish(Box<publish::Options>),
    /// Look at silences, and preview, create, edit or expire them over the HTTP API.
    Silences(silences::Options),
    /// Beat a heartbeat, or list them.
    Heartbeats(heartbeats::Options),
    /// Say why the alerts of an incident are together, or why an alert is where it is and what it
    /// nearly joined.
    Explain(explain::Options),
    /// Make a token for a sender; prints it, and its hash for `collect.sources[].tokens`.
    Token,
    /// Look after Muster's topics on Kafka.
    Topics {
        #[command(flatten)]
        config: ConfigFile,
        /// Make the topics that are missing, with the settings that exactness needs.
        #[arg(long, required = true)]
        create: bool,
    },
    /// Run recorded events through collect and correlate in virtual time; score the incidents, tell
    /// what another config would change, or try several values of a key.
    Replay {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        options: replay::Options,
    },
    /// Write the events of a simulated estate in which faults come and go, which event is of which
    /// fault, and the topology.
    Simulate(simulate::Options),
    /// Hold a config against labelled events and plain methods; prints Markdown tables.
    Quality {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        options: quality::Options,
    },
}

/// Where the config is.
#[derive(Debug, Clone, clap::Args)]
struct ConfigFile {
    /// The config file (YAML); every key has a default. Environment variables such as
    /// MUSTER__API__LISTEN win over it.
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

impl ConfigFile {
    fn load(&self) -> Result<Config, Failure> {
        config::load(self.config.as_deref()).map_err(|error| Failure::usage(error.to_string()))
    }
}

/// Why a command failed, and the exit code.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    fn usage(message: impl Into<String>) -> Self {
        Self { code: USAGE, message: message.into() }
    }

    fn data(message: impl Into<String>) -> Self {
        Self { code: DATA, message: message.into() }
    }

    fn other(message: impl ToString) -> Self {
        Self { code: 1, message: message.to_string() }
    }
}

/// Carries a command line out.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no failure; clap prints to the right stream itself.
            let code = if error.use_stderr() { USAGE } else { 0 };
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    match carry_out(arguments.command) {
        Ok(code) => code,
        Err(failure) => {
            complain(&failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn carry_out(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Run { config, stages } => {
            let path = config.config.clone();
            let reread = Arc::new(move || config::load(path.as_deref()));
            run::run(&config.load()?, reread, &stages)
        }
        Command::Demo(options) => demo::run(&options),
        Command::Decode { config, options } => decode::run(&config.load()?, &options),
        Command::Check { config } => Ok(check::run(config.config.as_deref())),
        Command::DeadLetters(options) => dead_letters::run(options),
        Command::Incidents(options) => incidents::run(options),
        Command::Maintenance(options) => maintenance::run(options),
        Command::Publish(options) => publish::run(*options),
        Command::Silences(options) => silences::run(options),
        Command::Heartbeats(options) => heartbeats::run(options),
        Command::Explain(options) => explain::run(&options),
        Command::Token => token::run(),
        Command::Topics { config, .. } => topics::create(&config.load()?),
        Command::Replay { config, options } => replay::run(&config.load()?, &options),
        Command::Simulate(options) => simulate::run(&options),
        Command::Quality { config, options } => quality::run(&config.load()?, &options),
    }
}

/// Refuses a config whose patterns want a topology that stands in a topic, where none is read.
fn has_its_topology(config: &Config) -> Result<(), Failure> {
    let near = config.correlate().patterns.iter().any(|pattern| pattern.near.is_some());
    match config.topology_topic().filter(|_| near) {
        None => Ok(()),
        Some(edges) => Err(Failure::usage(format!(
            "correlate.topology.topic: `{}` is read by `muster run` only; write its edges into a file \
             and name that as correlate.topology.file",
            edges.topic
        ))),
    }
}

#[expect(clippy::print_stderr, reason = "the answer to a command that failed")]
fn complain(message: &str) {
    eprintln!("muster: {message}");
}
