//! The programs of the guide's page about hosts do what it says. The example `two_hosts` counts exactly, while the network between
//! its programs loses, delays and reorders packets, and is cut: two network namespaces on this machine. They need the rights of
//! root.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "tally/command.rs"]
#[expect(dead_code, reason = "most of it is for the example `tally`")]
mod command;
#[path = "tally/plain.rs"]
#[expect(dead_code, reason = "it is for the example `tally`")]
mod plain;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use mp_sys::testing::hosts::{Host, TwoHosts, Weather};

use crate::command::program;

/// Enough for a debug build on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);
/// The primes below a million.
const PRIMES: &str = "78498 primes below 1000000, in ";
/// How many of them end in each digit.
const ENDINGS: [(u8, u64); 6] = [(1, 19_617), (2, 1), (3, 19_665), (5, 1), (7, 19_621), (9, 19_593)];

/// A running program, whose lines can be waited for. It is killed when this is dropped.
struct Program {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    deadline: Instant,
}

impl Program {
    /// Starts the example on the host of the calling thread.
    fn start(arguments: &[&str], key_file: &Path, more: &[&str]) -> Self {
        let mut command = Command::new(program("two_hosts"));
        command.args(arguments).arg(key_file).args(more);
        Self::run(command)
    }

    fn run(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        let read = move || {
            for line in stdout.lines() {
                // The test may have given up.
                drop(sender.send(line.unwrap()));
            }
        };
        drop(thread::Builder::new().name("reader".to_owned()).spawn(read).unwrap());
        Self { child, lines, seen: Vec::new(), deadline: Instant::now() + DEADLINE }
    }

    /// Waits for a line that contains this.
    fn line(&mut self, part: &str) -> String {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no line with {part:?} within {DEADLINE:?}: {:?}", self.seen);
            };
            self.seen.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Waits for a good end, and returns all lines.
    fn finish(mut self) -> Vec<String> {
        loop {
            match self.lines.recv_timeout(self.deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("no end within {DEADLINE:?}: {:?}", self.seen),
            }
        }
        assert!(self.child.wait().unwrap().success(), "{:?}", self.seen);
        std::mem::take(&mut self.seen)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // This fails if it has already ended, which is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs the example, cuts the link between its programs in the middle, and checks what it counted.
fn counts_exactly(hosts: Result<TwoHosts, String>, tasks: &str) {
    let hosts = match hosts {
        Ok(hosts) => hosts,
        Err(why) => {
            // libtest would capture what is printed.
            let skipped = format!("SKIPPED: no two hosts: {why}\n");
            std::io::stderr().write_all(skipped.as_bytes()).unwrap();
            return;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("jobs.key");
    fs::write(&key, "a key that has at least 32 bytes\n").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let listen = format!("{}:0", Host::One.address());
    let mut server = hosts.on(Host::One, || Program::start(&["serve", &listen], &key, &["--tasks", tasks]));
    let address = server.line(" tasks at mp+tcp://").split(' ').next_back().unwrap().to_owned();
    let work = || hosts.on(Host::Two, || Program::start(&["work", &address], &key, &[]));
    let (mut worker, mut killed) = (work(), work());
    worker.line("working for");
    killed.line("working for");
    worker.line("50 tasks done");
    drop(killed);
    hosts.cut();
    worker.line("out of reach");
    hosts.restore();
    let lines = server.finish();
    for (digit, count) in ENDINGS {
        let line = format!("{count} of them end in {digit}");
        assert!(lines.contains(&line), "{line}: {lines:?}");
    }
    assert!(lines.iter().any(|line| line.starts_with(PRIMES)), "{lines:?}");
    let lines = worker.finish();
    assert!(lines.iter().any(|line| line.starts_with("done: ")), "{lines:?}");
}

#[test]
fn it_counts_exactly_over_a_link_that_is_cut() {
    counts_exactly(TwoHosts::joined(), "5000");
}

#[test]
fn it_counts_exactly_over_a_bad_link_that_is_cut() {
    let weather = Weather { lost: 3, late: 10, delay: Duration::from_millis(3), seed: 7 };
    counts_exactly(TwoHosts::joined_in(weather), "400");
}

/// Both programs use a private Redis, which is killed and started again in the middle, and in which nothing is left. Its answers are on its disk.
#[cfg(feature = "redis")]
#[test]
fn it_counts_exactly_in_a_redis_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let redis = || {
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
        command.arg("--unixsocket").arg(&socket).arg("--dir").arg(folder.path());
        let program = Program::run(command);
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < program.deadline, "Redis does not listen");
            thread::yield_now();
        }
        program
    };
    let server = redis();
    let url = format!("redis+unix://{}?ns=jobs", socket.display());
    let start = |arguments: &[&str]| {
        let mut command = Command::new(program("two_hosts"));
        command.args(arguments);
        Program::run(command)
    };
    let mut serving = start(&["serve", &url, "--tasks", "500"]);
    serving.line(" tasks at redis+unix://");
    let (mut worker, killed) = (start(&["work", &url]), start(&["work", &url]));
    worker.line("50 tasks done");
    drop(killed);
    drop(server);
    fs::remove_file(&socket).unwrap();
    let server = redis();
    let lines = serving.finish();
    assert!(lines.iter().any(|line| line.starts_with(PRIMES)), "{lines:?}");
    worker.finish();
    let left = Command::new("redis-cli").arg("-s").arg(&socket).arg("keys").arg("*:o:*").output().unwrap();
    assert_eq!(String::from_utf8(left.stdout).unwrap().trim(), "");
    drop(server);
}

/// Returns the commands of the guide, with the program of an example instead of `cargo run`.
fn with_program(commands: &str, name: &str) -> String {
    let (before, after) = commands.split_once(&format!("cargo run --bin {name} --")).unwrap();
    // The program takes the place of the shell, so that it is what is killed if the test fails.
    format!("{before}exec '{}'{after}", program(name).display())
}

#[test]
fn the_programs_of_the_guide_share_tasks_and_results() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(here.join("../docs/guide/hosts.md")).unwrap();
    let (_, section) = page.split_once("\n## Two programs\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let blocks = |language: &str| -> Vec<&str> {
        let begin = format!("```{language}\n");
        let after = section.split(&begin).skip(1);
        after.map(|rest| rest.split_once("```").unwrap().0).collect()
    };
    let programs = blocks("rust,no_run");
    assert_eq!(programs.len(), 2);
    for (name, shown) in ["offer", "work"].into_iter().zip(programs) {
        let source = fs::read_to_string(here.join(format!("examples/{name}.rs"))).unwrap();
        // Lints of this workspace do not concern a reader.
        let lines = source.split_inclusive('\n').filter(|line| !line.starts_with("#![expect("));
        assert_eq!(lines.collect::<String>(), shown, "the guide shows examples/{name}.rs");
    }
    let [offer, work] = blocks("sh")[..] else { panic!("there are commands for two hosts") };
    let folder = tempfile::tempdir().unwrap();
    let run = |commands: String| {
        let mut shell = Command::new("sh");
        shell.args(["-e", "-c", &commands]).current_dir(folder.path());
        Program::run(shell)
    };
    assert!(offer.contains("0.0.0.0:7000") && work.contains("FIRST-HOST:7000"));
    let mut server = run(with_program(offer, "offer").replace("0.0.0.0:7000", "127.0.0.1:0"));
    let place = server.line("serving at ").split_once("mp+tcp://").unwrap().1.to_owned();
    let workers = [0; 2].map(|_| run(with_program(work, "work").replace("FIRST-HOST:7000", &place)));
    let printed = server.finish().pop().unwrap();
    assert!(section.contains(&format!("`{printed}`")), "{printed}");
    for worker in workers {
        worker.finish();
    }
}
