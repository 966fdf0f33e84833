//! A real Apache Kafka broker for tests: one node, loopback only, data in a given directory.
//!
//! Its jars come from Maven by `tests/kafka/pom.xml`, once, into `target/`. It is a child that
//! cannot outlive the test process, however that ends: a shell watches a pipe from us and kills
//! the broker when it closes. Needs `java` (17 or later), `mvn` and `sh`.

use std::fmt::Write as _;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::clock::Stopwatch;

/// The broker's version; the same as in `tests/kafka/pom.xml`.
pub const VERSION: &str = "4.4.0";
/// How long a broker may take until it answers.
const START: Duration = Duration::from_secs(90);

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    dir: PathBuf,
    jars: PathBuf,
    port: u16,
    heap_mb: u32,
    child: Option<Child>,
}

impl Broker {
    /// Starts a broker with its data below `dir`.
    ///
    /// # Errors
    /// When `java` or `mvn` is missing, or the broker does not come up; says where its log is.
    pub fn start(dir: &Path) -> Result<Self, String> {
        Self::start_as(dir, 512, "group.initial.rebalance.delay.ms=0\n")
    }

    /// The same for load: more heap, and members of a group that join within three seconds of each
    /// other share its partitions from the start, as is Kafka's default.
    ///
    /// # Errors
    /// As `start`.
    pub fn start_large(dir: &Path) -> Result<Self, String> {
        Self::start_as(dir, 1_536, "group.initial.rebalance.delay.ms=3000\n")
    }

    fn start_as(dir: &Path, heap_mb: u32, more: &str) -> Result<Self, String> {
        let jars = jars()?;
        let (port, controller) = (free_port()?, free_port()?);
        fs::create_dir_all(dir).map_err(|error| format!("make {}: {error}", dir.display()))?;
        let mut broker = Self { dir: dir.to_owned(), jars, port, heap_mb, child: None };
        broker.write("server.properties", &(server(dir, port, controller) + more))?;
        broker.write("log4j2.properties", LOG)?;
        broker.format()?;
        broker.restart()?;
        Ok(broker)
    }

    /// Where it is, as `host:port`.
    #[must_use]
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it as a power failure would.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // Closing the pipe makes the watching shell kill the broker with signal 9.
        drop(child.stdin.take());
        if let Err(error) = child.wait() {
            tracing::warn!(%error, "broker not waited for");
        }
    }

    /// Starts it again after a kill, on the same port and data.
    ///
    /// # Errors
    /// When it does not come up; says where its log is.
    pub fn restart(&mut self) -> Result<(), String> {
        self.kill();
        let output = fs::File::create(self.dir.join("broker.out")).map_err(text("make its log"))?;
        let errors = output.try_clone().map_err(text("share its log"))?;
        let child = Command::new("sh")
            .args(["-c", WATCH, "broker"])
            .arg(java()?)
            .args(self.java("kafka.Kafka"))
            .arg(self.dir.join("server.properties"))
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(text("run sh"))?;
        self.child = Some(child);
        self.wait()
    }

    fn wait(&mut self) -> Result<(), String> {
        let started = Stopwatch::start();
        let address = ([127, 0, 0, 1], self.port).into();
        // The port opens only when the broker is unfenced and ready for requests.
        while TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err() {
            let gone = match &mut self.child {
                Some(child) => child.try_wait().map_err(text("look at the broker"))?.is_some(),
                None => true,
            };
            if gone || started.elapsed() > START {
                let log = self.dir.join("broker.out");
                let tail = fs::read_to_string(&log).unwrap_or_default();
                let tail: Vec<_> = tail.lines().rev().take(15).collect();
                let tail = tail.into_iter().rev().fold(String::new(), |mut all, line| {
                    writeln!(all, "{line}").expect("writing to a string does not fail");
                    all
                });
                return Err(format!("the broker does not come up; {}:\n{tail}", log.display()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn format(&self) -> Result<(), String> {
        let output = Command::new(java()?)
            .args(self.java("kafka.tools.StorageTool"))
            .args(["format", "--ignore-formatted", "--cluster-id", "bXVzdGVyLXRlc3RzLTAwMQ"])
            .arg("--config")
            .arg(self.dir.join("server.properties"))
            .stdin(Stdio::null())
            .output()
            .map_err(text("run java"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("the broker's storage cannot be formatted: {said}"))
    }

    fn java(&self, main: &str) -> Vec<String> {
        vec![
            format!("-Xmx{}m", self.heap_mb),
            "-Xms128m".to_owned(),
            "-XX:+UseSerialGC".to_owned(),
            format!("-Dlog4j2.configurationFile={}", self.dir.join("log4j2.properties").display()),
            "-cp".to_owned(),
            format!("{}/*", self.jars.display()),
            main.to_owned(),
        ]
    }

    fn write(&self, name: &str, content: &str) -> Result<(), String> {
        let path = self.dir.join(name);
        fs::write(&path, content).map_err(|error| format!("write {}: {error}", path.display()))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The address of a broker that all tests of this process share; started at the first call, and
/// ended with the process.
///
/// # Errors
/// As `Broker::start`; the same for every caller.
pub fn shared() -> Result<String, String> {
    static SHARED: OnceLock<Result<Mutex<Broker>, String>> = OnceLock::new();
    let start = || {
        let root = target().join("kafka-data");
        sweep(&root);
        let dir = root.join(std::process::id().to_string());
        Broker::start(&dir).map(Mutex::new)
    };
    match SHARED.get_or_init(start) {
        Ok(broker) => Ok(broker.lock().unwrap_or_else(PoisonError::into_inner).brokers()),
        Err(error) => Err(error.clone()),
    }
}

/// Removes what test processes that are gone have left: a static is never dropped.
fn sweep(root: &Path) {
    let Ok(old) = fs::read_dir(root) else { return };
    for dir in old.flatten() {
        let running = Path::new("/proc").join(dir.file_name()).exists();
        if !running && let Err(error) = fs::remove_dir_all(dir.path()) {
            tracing::warn!(%error, "data of an old broker not removed");
        }
    }
}

/// The folder with the broker's jars; fetched if it is not there.
fn jars() -> Result<PathBuf, String> {
    let jars = target().join(format!("kafka-{VERSION}"));
    let done = jars.join("complete");
    if done.exists() {
        return Ok(jars);
    }
    fs::create_dir_all(&jars).map_err(text("make the folder for the broker's jars"))?;
    // Tests run in parallel, also in several processes: the first fetches, the rest wait.
    let lock = fs::File::create(target().join("kafka-jars.lock")).map_err(text("make a lock"))?;
    lock.lock().map_err(text("lock"))?;
    if done.exists() {
        return Ok(jars);
    }
    let pom = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/pom.xml");
    let output = Command::new("mvn")
        .args(["-q", "-B", "dependency:copy-dependencies", "-f"])
        .arg(&pom)
        .arg(format!("-DoutputDirectory={}", jars.display()))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            format!(
                "tests against a real broker need Maven (`mvn`) to fetch Kafka {VERSION}, and it \
                 does not run: {error}"
            )
        })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        return Err(format!("Maven does not fetch Kafka {VERSION}: {said}"));
    }
    fs::write(&done, VERSION).map_err(text("mark the jars as complete"))?;
    Ok(jars)
}

fn java() -> Result<&'static str, String> {
    let found = Command::new("java").arg("-version").stdin(Stdio::null()).output();
    match found {
        Ok(output) if output.status.success() => Ok("java"),
        Ok(output) => {
            Err(format!("`java -version` fails: {}", String::from_utf8_lossy(&output.stderr)))
        }
        Err(error) => Err(format!(
            "tests against a real broker need Java 17 (`java`), and it does not run: {error}"
        )),
    }
}

/// The build's folder: where the test binary itself lies.
fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target")
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(text("find a free port"))?;
    Ok(listener.local_addr().map_err(text("find a free port"))?.port())
}

fn text<E: std::fmt::Display>(doing: &str) -> impl Fn(E) -> String + '_ {
    move |error| format!("{doing}: {error}")
}

/// Runs the rest of the arguments, and kills that when our end of the pipe closes: by `kill`, or
/// because the test process is gone, however it went. A shell gives its background jobs no input of
/// their own, so the pipe goes by another number.
const WATCH: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
java=$!
{ cat <&3 >/dev/null; kill -9 "$java" 2>/dev/null; } &
watch=$!
exec 3<&-
wait "$java"
kill "$watch" 2>/dev/null
"#;

const LOG: &str = "\
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{HH:mm:ss.SSS} %p %c{1} %m%n
";

fn server(dir: &Path, port: u16, controller: u16) -> String {
    let data = dir.join("data");
    format!(
        "\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={}
num.partitions=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.min.session.timeout.ms=500
auto.create.topics.enable=false
log.cleaner.dedupe.buffer.size=8388608
log.cleaner.backoff.ms=1000
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
",
        data.display()
    )
}

#[cfg(test)]
mod tests {
    use super::VERSION;

    #[test]
    fn the_pom_names_the_same_version() {
        let pom = include_str!("../../tests/kafka/pom.xml");
        assert!(pom.contains(&format!("<version>{VERSION}</version>")));
    }
}
