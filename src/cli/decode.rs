//! `muster decode`: what a payload becomes, or why not; for whoever sets up a source.
//!
//! Reads by the same code and settings as the daemon; nothing is sent anywhere. Events go to standard
//! output, a line each; whatever is no event is told on standard error.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{DATA, Failure, asking};
use crate::clock::{Clock, SystemClock};
use crate::collect::decode::{Decoded, Incoming, decode};
use crate::collect::{Origin, Settings, enrich};
use crate::config::Config;
use crate::model::{Event, Timestamp};
use crate::stage::Limit;
use crate::wire;

/// What the payload's way in is called.
const INPUT: &str = "input";
/// The word for events in canonical form.
const CANONICAL: &str = "canonical";

/// The most bytes of input.
const INPUT_MAX: u64 = 64 << 20;
const CODES: &str = "Exit codes: 0 all of it was read, though it may hold no event (standard error \
says why); 65 something was rejected, with the reason; 64 the command line, the config or the file \
is wrong.";

/// What to decode.
#[derive(Debug, clap::Args)]
#[command(after_help = CODES)]
pub(super) struct Options {
    /// The source: a name of the config (`collect.sources`), a format such as `zabbix`, or
    /// `canonical`.
    #[arg(long, value_name = "NAME")]
    source: String,
    /// A header that came with the payload, as often as there are; some formats go by them.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, Vec<u8>)>,
    /// When it arrived (RFC 3339, or seconds or milliseconds since 1970; default: now). What has no
    /// time gets this one, and nothing may lie far ahead of it.
    #[arg(long, value_name = "TIME", value_parser = asking::moment)]
    arrival: Option<Timestamp>,
    /// Show events as collect forwards them, after the steps of `collect.enrich`.
    #[arg(long)]
    enriched: bool,
    /// Payloads, a file each; `-` or nothing: standard input. Events in canonical form may stand
    /// one a line.
    files: Vec<PathBuf>,
}

fn header(text: &str) -> Result<(String, Vec<u8>), String> {
    super::publish::header(text).map(|(name, value)| (name, value.into_bytes()))
}

/// Prints a canonical event a line; what is set aside or ignored goes to standard error with the
/// reason. Exits 65 where anything was set aside.
pub(super) fn run(config: &Config, options: &Options) -> Result<ExitCode, Failure> {
    let settings = config.collect();
    let origin = origin(&settings, &options.source)?;
    let arrival = options.arrival.unwrap_or_else(|| SystemClock.now());
    let input = [PathBuf::from("-")];
    let files = if options.files.is_empty() { &input[..] } else { &options.files };
    let mut bad = false;
    for file in files {
        let bytes = read(file)?;
        // Of several it must be known which one is meant.
        let name = if files.len() > 1 { format!("{}: ", file.display()) } else { String::new() };
        for payload in payloads(&bytes, &origin, &settings) {
            let incoming =
                Incoming { bytes: payload, headers: &options.headers, arrival, origin: &origin };
            let mut decoded = decode(&incoming, &settings);
            let dropped = if options.enriched { enrich(&mut decoded, &settings) } else { 0 };
            bad |= !decoded.rejected.is_empty();
            show(&name, &decoded, dropped)
                .map_err(|error| Failure::other(format!("standard output: {error}")))?;
        }
    }
    Ok(if bad { ExitCode::from(DATA) } else { ExitCode::SUCCESS })
}

/// Takes the events through the steps of the config; how many of them count no longer.
fn enrich(decoded: &mut Decoded, settings: &Settings) -> usize {
    let before = decoded.events.len();
    let limited = &mut decoded.limited;
    let mut keep =
        |event: &mut Event| enrich::apply(&settings.enrich, event, &settings.limits, limited);
    decoded.events.retain_mut(&mut keep);
    before - decoded.events.len()
}

fn origin(settings: &Settings, name: &str) -> Result<Origin, Failure> {
    if name == CANONICAL {
        return Ok(Origin::of_source(INPUT, name));
    }
    settings
        .origin(INPUT, name)
        .map_err(|why| Failure::usage(format!("--source: {why}, {CANONICAL}")))
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if file.as_os_str() == "-" {
        io::stdin().lock().take(INPUT_MAX + 1).read_to_end(&mut bytes)
    } else {
        File::open(file).and_then(|open| open.take(INPUT_MAX + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    if bytes.len() as u64 > INPUT_MAX {
        let message = format!("{}: more than {INPUT_MAX} bytes", file.display());
        return Err(Failure::usage(message));
    }
    Ok(bytes)
}

/// Events in canonical form may stand one a line, each a record of its own; a payload in another
/// format is one record.
fn payloads<'a>(bytes: &'a [u8], origin: &Origin, settings: &Settings) -> Vec<&'a [u8]> {
    let lines = || bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    if settings.decoder(origin).is_none()
        && lines().next().is_some()
        && lines().all(|line| matches!(line.trim_ascii(), [b'{', .., b'}'] | [b'[', .., b']']))
    {
        return lines().collect();
    }
    vec![bytes]
}

fn show(name: &str, decoded: &Decoded, dropped: usize) -> io::Result<()> {
    let Decoded { events, rejected, silent, limited, .. } = decoded;
    let mut out = io::stdout().lock();
    for event in events {
        out.write_all(&wire::event::canonical(event))?;
        out.write_all(b"\n")?;
    }
    let mut err = io::stderr().lock();
    for (_, outcome, why) in silent {
        writeln!(err, "{name}{}: {why}", outcome.as_str())?;
    }
    if dropped > 0 {
        writeln!(err, "{name}dropped: {dropped} events, by `drop` of collect.enrich")?;
    }
    for rejected in rejected {
        writeln!(err, "{name}rejected: {}: {}", rejected.reason.as_str(), rejected.message)?;
    }
    for (limit, count) in Limit::ALL.into_iter().zip(limited).filter(|(_, count)| **count > 0) {
        writeln!(err, "{name}limited: {}: {count}", limit.as_str())?;
    }
    if events.is_empty() && rejected.is_empty() && silent.is_empty() && dropped == 0 {
        writeln!(err, "{name}nothing: an empty list says nothing")?;
    }
    Ok(())
}
