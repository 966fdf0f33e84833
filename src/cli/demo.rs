//! `muster demo`: the daemon itself on an embedded journal in a temporary directory, fed by a
//! simulated estate through its own HTTP intake.

use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::Failure;
use super::run::{self, ALL, Parts};
use crate::clock::{Clock, SharedClock, SystemClock};
use crate::config;
use crate::journal::sqlite::Sqlite;
use crate::journal::{Followed, Follower, From, Journal, Records};
use crate::model::ChangeKind;
use crate::notify::receiver::log::Lines;
use crate::shutdown::{self, Shutdown};
use crate::stage::{Kind, Topic};
use crate::telemetry::logs::{self, Format};
use crate::wire;
use script::{Feed, SCRIPT, SECONDS};

mod script;

/// What the demo goes by: the same file that users read.
const CONFIG: &str = include_str!("../../config/examples/demo.yaml");

/// Where the demo listens unless it is taken.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// How often a second events are sent.
const STEPS: u32 = 5;

/// How often the running compression is shown.
const SHOWN_EVERY: u32 = 10;

/// How the demo runs.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Exit when the script is over instead of waiting for Ctrl-C; the default where standard
    /// output is not a terminal.
    #[arg(long)]
    exit: bool,
    /// Listen here instead of 127.0.0.1:8080; port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

/// Runs the script.
pub(super) fn run(options: &Options) -> Result<ExitCode, Failure> {
    logs::start("warn", Format::Text);
    let runtime = run::runtime()?;
    let _inside = runtime.enter();
    let stop = Shutdown::new();
    shutdown::on_signals(stop.clone()).map_err(Failure::other)?;
    let directory = Directory::new("demo")?;
    let listen = options.listen.unwrap_or_else(|| free(LISTEN));
    let text = format!(
        "{CONFIG}\njournal: {{path: \"{}\"}}\napi: {{listen: \"{listen}\"}}\n",
        directory.0.display()
    );
    let config = config::parse(&text).map_err(Failure::other)?;
    let config::JournalSettings::Sqlite(settings) = config.journal() else {
        return Err(Failure::other("the demo runs on the embedded journal"));
    };
    let clock: SharedClock = Arc::new(SystemClock);
    let journal = Sqlite::open(&settings, Arc::clone(&clock)).map_err(Failure::other)?;
    let journal: Arc<dyn Journal> = journal;
    let parts = Parts {
        config,
        reread: None,
        journal: Arc::clone(&journal),
        clock,
        lines: Lines::stdout(),
        stop: stop.clone(),
    };
    let running = run::start(parts, &ALL, &runtime)?;
    let address = running.address;
    let base = format!("http://{address}");
    let feed = Feed::new(SystemClock.now());
    introduce(&base, feed.machines());
    let follower = journal.follow(Topic::Incidents, From::Beginning).map_err(Failure::other)?;
    let mut score = Score { follower, events: 0, alerts: 0, incidents: 0, open: 0 };
    runtime.block_on(play(&base, feed, &stop, &mut score))?;
    score.show()?;
    let stays = !options.exit && std::io::stdout().is_terminal() && !stop.is_begun();
    if stays {
        say(&format!("\nThe script is over. Look at {base}/v1/incidents?state=all — Ctrl-C ends."));
        runtime.block_on(stop.wait());
    }
    stop.begin();
    Ok(running.stop())
}

/// Feeds the estate's reports through HTTP, as any publisher would.
async fn play(
    base: &str,
    mut feed: Feed,
    stop: &Shutdown,
    score: &mut Score,
) -> Result<(), Failure> {
    let (clock, client) = (SystemClock, reqwest::Client::new());
    let mut beat = tokio::time::interval(Duration::from_millis(1_000 / u64::from(STEPS)));
    for step in 0..=SECONDS * STEPS {
        tokio::select! {
            _ = beat.tick() => {}
            () = stop.wait() => return Ok(()),
        }
        if step.is_multiple_of(STEPS) {
            let words = SCRIPT.iter().find(|(second, _)| second * STEPS == step);
            if let Some((_, words)) = words {
                say(&format!("\n  ▸ {words}\n"));
            }
        }
        let (events, count) = feed.until(clock.now());
        let sent = client.post(format!("{base}/v1/events")).body(events).send().await;
        let answer = sent.map_err(Failure::other)?;
        if !answer.status().is_success() {
            let (status, body) = (answer.status(), answer.text().await.unwrap_or_default());
            return Err(Failure::other(format!("POST /v1/events: {status}: {body}")));
        }
        score.events += count;
        if step > 0 && step.is_multiple_of(SHOWN_EVERY * STEPS) {
            score.show()?;
        }
    }
    // The last recoveries are told after their wait.
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs(3)) => {}
        () = stop.wait() => {}
    }
    Ok(())
}

/// The running compression.
struct Score {
    follower: Box<dyn Follower>,
    events: u64,
    alerts: u64,
    incidents: u64,
    open: i64,
}

impl Score {
    fn show(&mut self) -> Result<(), Failure> {
        loop {
            match self.follower.poll(Duration::ZERO).map_err(Failure::other)? {
                Followed::Batch(batch) => self.count(&*batch)?,
                Followed::CaughtUp => {}
                Followed::Idle => break,
            }
        }
        let Self { events, alerts, incidents, open, .. } = self;
        say(&format!(
            "\n  {} events → {} alerts → {} incidents, {open} open\n",
            thousands(*events),
            thousands(*alerts),
            thousands(*incidents)
        ));
        Ok(())
    }

    fn count(&mut self, batch: &dyn Records) -> Result<(), Failure> {
        for index in 0..batch.len() {
            let (_, record) = batch.get(index);
            if record.kind != Kind::Change {
                continue;
            }
            let change = wire::change::decode(record.value.unwrap_or_default());
            let change = change.map_err(Failure::other)?;
            self.alerts += change.joined.len() as u64;
            for kind in change.kinds {
                match kind {
                    ChangeKind::Opened => {
                        (self.incidents, self.open) = (self.incidents + 1, self.open + 1)
                    }
                    ChangeKind::Reopened => self.open += 1,
                    ChangeKind::Resolved => self.open -= 1,
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn introduce(base: &str, machines: usize) {
    say(&format!(
        "Muster {} on an embedded journal, with a simulated estate of {machines} hosts and VMs.\n\n  \
         incidents  {base}/v1/incidents\n  metrics    {base}/metrics\n  health     {base}/health/ready\n\n\
         Each notice below is what on-call would be told; {SECONDS} s, Ctrl-C ends it earlier.",
        env!("CARGO_PKG_VERSION")
    ));
}

#[expect(clippy::print_stdout, reason = "the demo shows itself on the terminal")]
fn say(text: &str) {
    println!("{text}");
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The configured address, or any free port where it is taken.
fn free(wanted: SocketAddr) -> SocketAddr {
    match std::net::TcpListener::bind(wanted) {
        Ok(_) => wanted,
        Err(_) => SocketAddr::from(([127, 0, 0, 1], 0)),
    }
}

/// A directory that goes with the demo.
pub(super) struct Directory(pub(super) PathBuf);

impl Directory {
    pub(super) fn new(of: &str) -> Result<Self, Failure> {
        let name = format!("muster-{of}-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)
            .map_err(|error| Failure::other(format!("{}: {error}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left of a demo in the temporary directory hurts nobody.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(18_412), "18,412");
        assert_eq!(thousands(1_000_000), "1,000,000");
    }
}
