//! `muster decode`: what a payload becomes, or why not; for whoever sets up a source.
//!
//! Reads by the same code and settings as the daemon; nothing is sent anywhere.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::{DATA, Failure, asking};
use crate::clock::{Clock, SystemClock};
use crate::collect::decode::{Decoded, Incoming, decode};
use crate::collect::{Origin, Settings};
use crate::config::Config;
use crate::model::Timestamp;
use crate::wire;

/// What the payload's way in is called.
const INPUT: &str = "input";
/// The word for events in canonical form.
const CANONICAL: &str = "canonical";

/// What to decode.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The source: a name of the config (`collect.sources`), or a format such as `zabbix`.
    #[arg(long, value_name = "NAME")]
    source: String,
    /// A header that came with the payload, as often as there are; some formats go by them.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, Vec<u8>)>,
    /// When it arrived (RFC 3339, or seconds or milliseconds since 1970; default: now). What has no
    /// time gets this one, and nothing may lie far ahead of it.
    #[arg(long, value_name = "TIME", value_parser = asking::moment)]
    arrival: Option<Timestamp>,
    /// The payload; `-` or nothing: standard input.
    file: Option<PathBuf>,
}

fn header(text: &str) -> Result<(String, Vec<u8>), String> {
    let (name, value) = text.split_once(':').ok_or("write it as `name: value`")?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().as_bytes().to_vec()))
}

/// Prints a canonical event a line; what is set aside or ignored goes to standard error with the
/// reason. Exits 65 where anything was set aside.
pub(super) fn run(config: &Config, options: &Options) -> Result<ExitCode, Failure> {
    let settings = config.collect();
    let origin = origin(&settings, &options.source)?;
    let bytes = read(options)?;
    let arrival = options.arrival.unwrap_or_else(|| SystemClock.now());
    let mut bad = false;
    for payload in payloads(&bytes, &origin, &settings) {
        let incoming =
            Incoming { bytes: payload, headers: &options.headers, arrival, origin: &origin };
        let decoded = decode(&incoming, &settings);
        bad |= !decoded.rejected.is_empty();
        show(&decoded).map_err(|error| Failure::other(format!("standard output: {error}")))?;
    }
    Ok(if bad { ExitCode::from(DATA) } else { ExitCode::SUCCESS })
}

fn origin(settings: &Settings, name: &str) -> Result<Origin, Failure> {
    if name == CANONICAL {
        return Ok(Origin::of_source(INPUT, name));
    }
    settings
        .origin(INPUT, name)
        .map_err(|why| Failure::usage(format!("--source: {why}, {CANONICAL}")))
}

fn read(options: &Options) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = match options.file.as_deref().filter(|file| file.as_os_str() != "-") {
        None => io::stdin().lock().read_to_end(&mut bytes),
        Some(file) => File::open(file)
            .and_then(|mut open| open.read_to_end(&mut bytes))
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display()))),
    };
    read.map_err(|error| Failure::usage(error.to_string()))?;
    Ok(bytes)
}

/// Events in canonical form may stand one a line, each a record of its own; a payload in another
/// format is one record.
fn payloads<'a>(bytes: &'a [u8], origin: &Origin, settings: &Settings) -> Vec<&'a [u8]> {
    let lines = || bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    if settings.decoder(origin).is_none()
        && lines().all(|line| matches!(line.trim_ascii(), [b'{', .., b'}'] | [b'[', .., b']']))
    {
        return lines().collect();
    }
    vec![bytes]
}

fn show(decoded: &Decoded) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for event in &decoded.events {
        out.write_all(&wire::event::canonical(event))?;
        out.write_all(b"\n")?;
    }
    let mut err = io::stderr().lock();
    for (_, outcome, why) in &decoded.silent {
        writeln!(err, "{}: {why}", outcome.as_str())?;
    }
    for rejected in &decoded.rejected {
        writeln!(err, "rejected: {}: {}", rejected.reason.as_str(), rejected.message)?;
    }
    Ok(())
}
