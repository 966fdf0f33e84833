//! `muster publish`: sends a payload from the monitored side, over HTTP or to Kafka, and keeps it
//! where neither can be reached.
//!
//! With a spool a payload is on disk before anything is sent, and goes behind those that wait, so
//! that the order holds and whoever is killed has lost nothing that was read. Sent is at least once:
//! collect takes the second one for a repeat. The time a call may take bounds all of it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{ConfigFile, DATA, Failure, complain};
use crate::clock::{Clock, Stopwatch, SystemClock};
use crate::model::{Span, Timestamp};
use crate::wire::dead_letter::is_secret;
pub(super) use send::header;
use send::{Given, Outcome, Sender};
use spool::{Aside, Head, Item, NotKept, Spool};

mod send;
mod spool;

/// Not sent, and there is no spool (as `EX_UNAVAILABLE` of sysexits.h).
const UNAVAILABLE: u8 = 69;
/// The spool took no more (as `EX_CANTCREAT`).
const FULL: u8 = 73;
/// It waits in the spool (as `EX_TEMPFAIL`).
const SPOOLED: u8 = 75;
/// The largest payload, in bytes: more than Muster takes by default, and what Kafka does.
const PAYLOAD_MAX: u64 = 4 << 20;
/// How long a call may take, and one that only empties the spool.
const TIMEOUT: Duration = Duration::from_secs(5);
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);
/// How long to wait before it is looked again whether another publisher is done.
const MOMENT: Duration = Duration::from_millis(10);
/// Less time than that is no use to send in.
const LEAST: Duration = Duration::from_millis(20);
/// The word for events in canonical form.
const CANONICAL: &str = "canonical";

const CODES: &str = "\
Exit codes: 0 sent; 75 it waits in the spool and goes out later: not lost (0 with --spooled-ok); \
65 the other side will never take it: put aside in SPOOL/refused, and those behind it go on; \
73 the spool is full or broken and it could not be sent: lost; 69 not sent and no --spool: lost; \
64 the command line is wrong. With --flush: 0 nothing waits any more, 75 something does, 65 \
something was put aside.

Environment, where no flag says so: MUSTER_URL, MUSTER_TOKEN_FILE, MUSTER_CA_FILE, MUSTER_BROKERS, \
MUSTER_TOPIC, MUSTER_SPOOL. Without any of where to: what -c says of the source's topic, else \
api.listen.";

/// What to publish, and where to.
#[derive(Debug, clap::Args)]
#[command(after_help = CODES)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigFile,
    /// The source: a name of Muster's config or a format such as `nagios`; `canonical` for events
    /// that name their sources themselves.
    #[arg(long, value_name = "NAME", required_unless_present = "flush")]
    source: Option<String>,
    /// A field of an event in canonical form instead of a payload, such as host=web-1, status=ok,
    /// tag.team=web or link.graph=https://…; its time is now unless `timestamp` says another one.
    #[arg(long = "field", value_name = "NAME=VALUE", conflicts_with_all = ["file", "flush"])]
    fields: Vec<String>,
    /// Muster's address, such as `https://muster.example.org`.
    #[arg(long, value_name = "URL", conflicts_with_all = ["brokers", "topic"])]
    url: Option<String>,
    /// A file with the token for Muster's address.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A file with the certificate authority of Muster's address (PEM), where the system has it not.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Kafka instead of HTTP: host:port, comma separated.
    #[arg(long, value_name = "LIST")]
    brokers: Option<String>,
    /// The topic on Kafka; else the one that -c has for the source.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// The key on Kafka, such as the host: what has the same one stays in order.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// A header that goes with the payload, as often as there are.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// A setting of the Kafka client (librdkafka), such as security.protocol=ssl.
    #[arg(short = 'X', value_name = "KEY=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
    /// A directory for what cannot be sent now. It goes out with the next call, oldest first; any
    /// number of publishers may share it.
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    /// How many bytes may wait there, a payload counting for at least 4 KiB, and how many may lie in
    /// `refused`. What is beyond that is refused: the oldest stay.
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20)]
    spool_bytes: u64,
    /// Exit 0 where it waits in the spool, for whoever takes all else for an error.
    #[arg(long)]
    spooled_ok: bool,
    /// How long all of it may take, what waits in the spool included (default 5s; with --flush 60s).
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| Span::parse(text))]
    timeout: Option<Span>,
    /// Send what waits in the spool, and nothing else.
    #[arg(long, conflicts_with_all = ["file", "dry_run"])]
    flush: bool,
    /// Print the payload, send nothing.
    #[arg(long)]
    dry_run: bool,
    /// The payload; `-` or nothing: standard input.
    file: Option<PathBuf>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as key=value")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// Sends a payload, or what waits.
pub(super) fn run(options: Options) -> Result<ExitCode, Failure> {
    let begun = Stopwatch::start();
    let now = SystemClock.now();
    let usual = if options.flush { FLUSH_TIMEOUT } else { TIMEOUT };
    let limit = options.timeout.map_or(usual, Span::to_std);
    let item = if options.flush { None } else { Some(item(&options, now)?) };
    if let Some(item) = item.as_ref().filter(|_| options.dry_run) {
        let written = io::stdout().lock().write_all(&item.payload);
        return written.map(|()| ExitCode::SUCCESS).map_err(Failure::other);
    }
    let directory = options.spool.clone().or_else(|| path("MUSTER_SPOOL"));
    let sender = Sender::new(given(&options)?, options.config.load()?, limit)?;
    if let Some(item) = &item {
        sender.check(&item.head)?;
    }
    let mut call = Call { sender, begun, limit, refused: Vec::new() };
    let code = match (item, directory) {
        (Some(item), None) => call.directly(&item, UNAVAILABLE),
        (Some(item), Some(directory)) => call.by_way_of(&directory, options.spool_bytes, &item),
        (None, Some(directory)) => call.flush(&directory, options.spool_bytes)?,
        (None, None) => return Err(Failure::usage("--flush: give --spool, or set MUSTER_SPOOL")),
    };
    let is_fine = code == SPOOLED && options.spooled_ok;
    Ok(ExitCode::from(if is_fine { 0 } else { code }))
}

fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok()?;
    Some(value.trim().to_owned()).filter(|value| !value.is_empty())
}

fn path(name: &str) -> Option<PathBuf> {
    variable(name).map(PathBuf::from)
}

/// Flags before the environment; a flag for one way puts the environment's other way out of force.
fn given(options: &Options) -> Result<Given, Failure> {
    let to_kafka = options.brokers.is_some() || options.topic.is_some();
    let to_http = options.url.is_some();
    let url = options.url.clone().or_else(|| variable("MUSTER_URL").filter(|_| !to_kafka));
    let kafka =
        |flag: &Option<String>, name| flag.clone().or_else(|| variable(name).filter(|_| !to_http));
    let brokers = kafka(&options.brokers, "MUSTER_BROKERS");
    let topic = kafka(&options.topic, "MUSTER_TOPIC");
    if url.is_some() && (brokers.is_some() || topic.is_some()) {
        return Err(Failure::usage(
            "MUSTER_URL, and MUSTER_BROKERS or MUSTER_TOPIC: set one way, or say by flags which",
        ));
    }
    let secrets = options.headers.iter().filter(|(name, _)| is_secret(name));
    Ok(Given {
        url,
        token_file: options.token_file.clone().or_else(|| path("MUSTER_TOKEN_FILE")),
        ca_file: options.ca_file.clone().or_else(|| path("MUSTER_CA_FILE")),
        brokers,
        topic,
        settings: options.settings.iter().cloned().collect(),
        secrets: secrets.cloned().collect(),
    })
}

/// The payload, with what it takes to send it another time.
fn item(options: &Options, now: Timestamp) -> Result<Item, Failure> {
    let source = options.source.clone().unwrap_or_default();
    if source.trim().is_empty() {
        return Err(Failure::usage("--source: is empty"));
    }
    let payload = match options.fields.as_slice() {
        [] => read(options.file.as_deref())?,
        fields => event(&source, fields, now)?,
    };
    if payload.trim_ascii().is_empty() {
        return Err(Failure::data("the payload is empty"));
    }
    let headers = options.headers.iter().filter(|(name, _)| !is_secret(name));
    let head = Head {
        canonical: !options.fields.is_empty() || source == CANONICAL,
        source,
        topic: options.topic.clone(),
        key: options.key.clone(),
        headers: headers.cloned().collect(),
        at: now.as_millis(),
    };
    Ok(Item { head, payload })
}

fn read(file: Option<&Path>) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = match file.filter(|file| file.as_os_str() != "-") {
        None => io::stdin().lock().take(PAYLOAD_MAX + 1).read_to_end(&mut bytes),
        Some(file) => File::open(file)
            .and_then(|open| open.take(PAYLOAD_MAX + 1).read_to_end(&mut bytes))
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display()))),
    };
    read.map_err(|error| Failure::usage(error.to_string()))?;
    if bytes.len() as u64 > PAYLOAD_MAX {
        return Err(Failure::data(format!("the payload is larger than {PAYLOAD_MAX} bytes")));
    }
    Ok(bytes)
}

/// An event in canonical form. It carries its time, so that it does not look new when it has waited.
fn event(source: &str, fields: &[String], now: Timestamp) -> Result<Vec<u8>, Failure> {
    if source == CANONICAL {
        return Err(Failure::usage("--source: an event of --field needs the name of its source"));
    }
    let mut event = Map::new();
    event.insert("source".to_owned(), source.into());
    let (mut tags, mut links) = (Map::new(), Map::new());
    for field in fields {
        let Some((name, value)) = field.split_once('=') else {
            return Err(Failure::usage(format!("--field: `{field}`: write it as name=value")));
        };
        let (into, name) = match (name.strip_prefix("tag."), name.strip_prefix("link.")) {
            (Some(tag), _) => (&mut tags, tag),
            (_, Some(link)) => (&mut links, link),
            _ => (&mut event, name),
        };
        let before = into.insert(name.to_owned(), Value::from(value));
        if name.is_empty() || before.is_some() {
            let why = "is given twice, or has no name; the source is --source";
            return Err(Failure::usage(format!("--field: `{field}`: {why}")));
        }
    }
    for (name, part) in [("tags", tags), ("links", links)] {
        if !part.is_empty() {
            event.insert(name.to_owned(), part.into());
        }
    }
    event.entry("timestamp").or_insert_with(|| now.as_millis().into());
    Ok(Value::Object(event).to_string().into_bytes())
}

/// Why the sending of what waits ended.
enum Ended {
    /// Nothing that was asked for waits any more.
    Done,
    /// The time is over.
    OutOfTime,
    /// The other side does not take them now.
    Unreachable(String),
}

/// One call of the program.
struct Call {
    sender: Sender,
    begun: Stopwatch,
    limit: Duration,
    /// Those that were put aside, or had no room there.
    refused: Vec<PathBuf>,
}

impl Call {
    /// Without a spool; `lost` is the code where it could not be sent.
    fn directly(&mut self, item: &Item, lost: u8) -> u8 {
        match self.sender.send(item, self.left()) {
            Outcome::Sent(note) => {
                note.iter().for_each(|note| complain(note));
                0
            }
            Outcome::Never(why) => {
                complain(&format!("refused for good, and not kept: {why}"));
                DATA
            }
            Outcome::Later(why) => {
                complain(&format!("not sent, and LOST, since no spool has it: {why}"));
                lost
            }
        }
    }

    fn by_way_of(&mut self, directory: &Path, max: u64, item: &Item) -> u8 {
        let kept = Spool::open(directory, max).map_err(NotKept::Broken).and_then(|spool| {
            let path = match spool.add(item) {
                // What can be sent makes room.
                Err(NotKept::Full { .. }) => {
                    drop(self.send_waiting(&spool, None));
                    spool.add(item)
                }
                other => other,
            }?;
            Ok((spool, path))
        });
        let at = directory.display();
        let (spool, path) = match kept {
            Ok(kept) => kept,
            Err(NotKept::Full { waiting, bytes }) => {
                complain(&format!(
                    "LOST: the spool {at} is full: {waiting} payloads, {bytes} of {max} bytes; the \
                     oldest stay, this one is not kept"
                ));
                return FULL;
            }
            Err(NotKept::Broken(error)) => {
                complain(&format!("the spool {at} cannot be used: {error}"));
                return self.directly(item, FULL);
            }
        };
        let why = match self.send_waiting(&spool, Some(&path)) {
            // By this call or by another one.
            Ok(Ended::Done) if self.refused.contains(&path) || spool.aside(&path).exists() => {
                return DATA;
            }
            Ok(Ended::Done) => return 0,
            Ok(Ended::OutOfTime) => "its turn did not come in time".to_owned(),
            Ok(Ended::Unreachable(why)) => why,
            Err(error) => format!("{at}: {error}"),
        };
        complain(&format!("spooled in {at}, to be sent later: {why}"));
        SPOOLED
    }

    fn flush(&mut self, directory: &Path, max: u64) -> Result<u8, Failure> {
        let failed = |error: io::Error| Failure::other(format!("{}: {error}", directory.display()));
        let spool = Spool::open(directory, max).map_err(failed)?;
        let why = match self.send_waiting(&spool, None).map_err(failed)? {
            Ended::Done if !self.refused.is_empty() => return Ok(DATA),
            Ended::Done => return Ok(0),
            Ended::OutOfTime => "the time is over".to_owned(),
            Ended::Unreachable(why) => why,
        };
        let waiting = spool.waiting().map_err(failed)?.0.len();
        complain(&format!("{waiting} still wait in {}: {why}", directory.display()));
        Ok(SPOOLED)
    }

    fn left(&self) -> Duration {
        self.limit.saturating_sub(self.begun.elapsed())
    }

    /// Sends what waits, oldest first, up to one's own payload or to the end; whoever else is at it
    /// is waited for.
    fn send_waiting(&mut self, spool: &Spool, own: Option<&Path>) -> io::Result<Ended> {
        loop {
            if let Some(_turn) = spool.sending()? {
                return self.send_in_turn(spool, own);
            }
            if own.is_some_and(|own| !own.exists()) {
                return Ok(Ended::Done);
            }
            if self.left() < LEAST {
                return Ok(Ended::OutOfTime);
            }
            std::thread::sleep(MOMENT);
        }
    }

    fn send_in_turn(&mut self, spool: &Spool, own: Option<&Path>) -> io::Result<Ended> {
        loop {
            let (waiting, unfinished) = spool.waiting()?;
            if unfinished > 0 {
                complain(&format!("{unfinished} payloads were not whole: their publishers ended"));
            }
            if waiting.is_empty() {
                return Ok(Ended::Done);
            }
            for path in &waiting {
                if own.is_some_and(|own| !own.exists()) {
                    return Ok(Ended::Done);
                }
                if self.left() < LEAST {
                    return Ok(Ended::OutOfTime);
                }
                if let Some(ended) = self.send_one(spool, path)? {
                    return Ok(ended);
                }
            }
        }
    }

    /// Sends one; says why no other one should follow.
    fn send_one(&mut self, spool: &Spool, path: &Path) -> io::Result<Option<Ended>> {
        let why = match spool.read(path)? {
            None => return Ok(None),
            Some(Err(torn)) => format!("it cannot be read: {torn}"),
            Some(Ok(item)) => match self.sender.send(&item, self.left()) {
                Outcome::Sent(note) => {
                    note.iter().for_each(|note| complain(note));
                    spool.sent(path)?;
                    return Ok(None);
                }
                Outcome::Later(why) => return Ok(Some(Ended::Unreachable(why))),
                Outcome::Never(why) => why,
            },
        };
        self.refused.push(path.to_owned());
        match spool.refuse(path)? {
            Aside::Kept(to) => complain(&format!("REFUSED, put aside as {}: {why}", to.display())),
            Aside::Dropped => {
                complain(&format!("REFUSED, and LOST since no room is left for such: {why}"));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_make_an_event_with_a_time() {
        let now = Timestamp::from_millis(1_763_913_600_123);
        let event = |fields: &[&str]| {
            let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
            event("nagios", &fields, now)
        };
        let made = event(&["host=web-1", "status=ok", "tag.team=a=b", "link.graph=https://g/"]);
        let made: Value = serde_json::from_slice(&made.expect("an event")).expect("JSON");
        let wanted = serde_json::json!({
            "source": "nagios", "host": "web-1", "status": "ok", "tags": {"team": "a=b"},
            "links": {"graph": "https://g/"}, "timestamp": 1_763_913_600_123_i64,
        });
        assert_eq!(made, wanted);
        let made = event(&["host=x", "timestamp=5"]).expect("an event");
        assert!(String::from_utf8_lossy(&made).contains(r#""timestamp":"5""#));
        for bad in [&["host"][..], &["host=a", "host=b"], &["=a"], &["source=x"], &["tag.=x"]] {
            assert!(event(bad).is_err(), "{bad:?}");
        }
    }
}
