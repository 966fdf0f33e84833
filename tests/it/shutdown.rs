//! Signals and exit codes, in a process of their own: this binary, started once more.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use muster::clock::Stopwatch;
use muster::shutdown::{DEADLINE, Order, Shutdown, on_signals};

const ROLE: &str = "MUSTER_TEST_SHUTDOWN";
const LONG: Duration = Duration::from_secs(60);

/// Not a test of its own: what the tests below start. Ends well at the first signal, or hangs.
#[test]
#[expect(clippy::print_stdout, reason = "how the tests below hear of it")]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let stop = Shutdown::new();
    runtime.block_on(async { on_signals(stop.clone()) }).expect("signals can be heard");
    let mut order = Order::new();
    let (told, busy) = order.part("collect");
    let hangs = role != "well";
    let worker = std::thread::spawn(move || {
        assert!(told.wait_for(LONG));
        if hangs {
            std::thread::sleep(LONG);
        }
        drop(busy);
    });
    println!("ready {}", std::process::id());
    assert!(stop.wait_for(LONG));
    println!("stopping");
    let deadline = if role == "late" { Duration::from_millis(50) } else { DEADLINE };
    let code = match order.stop(deadline) {
        Ok(()) => 0,
        Err(late) => {
            println!("{late}");
            1
        }
    };
    if code == 0 {
        worker.join().expect("it was told");
    }
    std::process::exit(code);
}

struct Process {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(role: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "shutdown::child", "--nocapture"])
            .env(ROLE, role)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("this binary starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut process = Self { child, lines };
        process.line("ready");
        process
    }

    /// Reads on to the line that holds `word`.
    fn line(&mut self, word: &str) -> String {
        let line = self.lines.by_ref().map_while(Result::ok).find(|line| line.contains(word));
        line.unwrap_or_else(|| panic!("the process ended without saying `{word}`"))
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(status.success());
    }

    fn code(mut self) -> Option<i32> {
        let watch = Stopwatch::start();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                return status.code();
            }
            if watch.elapsed() > LONG {
                self.child.kill().expect("it is ours");
                panic!("it never ended");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn the_first_signal_stops_in_order() {
    for name in ["TERM", "INT"] {
        let process = Process::start("well");
        process.signal(name);
        assert_eq!(process.code(), Some(0), "{name}");
    }
}

#[test]
fn the_second_signal_ends_it_at_once() {
    for (second, code) in [("TERM", 143), ("INT", 130)] {
        let mut process = Process::start("hangs");
        process.signal("TERM");
        process.line("stopping");
        process.signal(second);
        assert_eq!(process.code(), Some(code), "{second}");
    }
}

#[test]
fn who_is_late_is_named_and_the_code_is_1() {
    let mut process = Process::start("late");
    process.signal("TERM");
    let line = process.line("still busy");
    assert!(line.contains("collect"), "{line}");
    assert_eq!(process.code(), Some(1));
}
