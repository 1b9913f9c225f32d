//! The example `prefork` as a running server.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::command::{children_of, program, runs};

/// Enough for a debug build on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
/// Settings that limit nobody.
pub(crate) const NO_LIMIT: &str = r#"{"greeting": "hello", "burst": 1000000, "per_hour": 3600000000}"#;

/// Servers run one after the other, because each of them needs the whole machine.
static TURN: Mutex<()> = Mutex::new(());

/// A running server. It is killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    stdout: Receiver<String>,
    pub(crate) address: SocketAddr,
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Server {
    pub(crate) fn start(workers: usize, background: usize, settings: &str) -> Self {
        Self::start_with_log(workers, background, settings, "log")
    }

    pub(crate) fn start_with_log(workers: usize, background: usize, settings: &str, log: &str) -> Self {
        Self::start_with(workers, background, settings, log, None)
    }

    /// Starts one whose stderr is something else than a file for [`log`](Self::log).
    pub(crate) fn start_with(
        workers: usize,
        background: usize,
        settings: &str,
        log: &str,
        stderr: Option<File>,
    ) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("settings"), settings).unwrap();
        let mut command = Command::new(program("prefork"));
        command.args(["--listen", "127.0.0.1:0", "--workers", &workers.to_string()]);
        command.args(["--background", &background.to_string(), "--log", log, "--settings", "settings"]);
        let file = File::create(folder.path().join("stderr")).unwrap();
        let stderr = stderr.unwrap_or(file);
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().unwrap();
        let (sender, stdout) = channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reader = thread::Builder::new().name("stdout".to_owned());
        // It ends with the server.
        drop(
            reader.spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line))).unwrap(),
        );
        let line = stdout.recv_timeout(DEADLINE).unwrap();
        let address = line.strip_prefix("listening at http://").unwrap().parse().unwrap();
        let server = Self { child, stdout, address, folder, _turn: turn };
        server.wait_until(|status| pids(status, "workers").len() == workers);
        server
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What it wrote on stderr.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.file("stderr")).unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Sends a signal to it and all its processes.
    pub(crate) fn signal_all(&self, name: &str) {
        self.children().into_iter().chain([self.child.id()]).for_each(|pid| signal(pid, name));
    }

    /// The running processes that it started.
    pub(crate) fn children(&self) -> Vec<u32> {
        children_of(self.child.id())
    }

    /// What `/status.json` says. The worker that is asked may be killed meanwhile, so it asks again.
    pub(crate) fn status(&self) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let reply = Client::connect(self.address).and_then(|mut client| client.get("/status.json"));
            match reply {
                Ok(reply) => {
                    assert!(reply.body.ends_with("}\n"), "the last line has an end: {:?}", reply.body);
                    return serde_json::from_str(&reply.body).unwrap();
                }
                Err(error) => assert!(Instant::now() < deadline, "no status: {error}\n{}", self.log()),
            }
        }
    }

    /// Waits until the status is as expected.
    pub(crate) fn wait_until(&self, mut expected: impl FnMut(&Value) -> bool) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let status = self.status();
            if expected(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "the status stays {status}\n{}", self.log());
            thread::yield_now();
        }
    }

    /// Kills a worker or background process of a kind (`workers`, `background`) that has lived for a while, and waits until it
    /// is replaced. Returns its process id.
    pub(crate) fn kill(&self, kind: &str, choice: usize) -> u32 {
        let mut pid = 0;
        let before = self.wait_until(|status| {
            let all = status[kind].as_array().unwrap();
            let Some(victim) = all.get(choice % all.len().max(1)) else { return false };
            pid = u32::try_from(victim["pid"].as_u64().unwrap()).unwrap();
            victim["state"] == "working" && victim["age_ms"].as_u64().unwrap() >= HEALTHY_MS
        });
        let restarts = before["restarts"].as_u64().unwrap();
        signal(pid, "KILL");
        self.wait_until(|status| {
            status["restarts"].as_u64().unwrap() > restarts
                && pids(status, kind).len() == pids(&before, kind).len()
                && !pids(status, kind).contains(&pid)
        });
        pid
    }

    /// Waits until it has ended by itself, and returns its summary. Nothing of it is left then.
    pub(crate) fn finish(self) -> Summary {
        let log = self.file("log");
        self.finish_with(0, || records(&log))
    }

    /// Does the same for a server that says with its exit code that something has failed.
    pub(crate) fn finish_failed(self) -> Summary {
        let log = self.file("log");
        self.finish_with(1, || records(&log))
    }

    /// Does the same for a server whose log is elsewhere.
    pub(crate) fn finish_without_log(self) -> Summary {
        self.finish_with(0, Vec::new)
    }

    fn finish_with(mut self, code: i32, numbers: impl FnOnce() -> Vec<u64>) -> Summary {
        let children = self.children();
        let line = self.stdout.recv_timeout(DEADLINE);
        let line = line.unwrap_or_else(|error| panic!("no summary: {error}\n{}", self.log()));
        let deadline = Instant::now() + DEADLINE;
        while self.child.try_wait().unwrap().is_none() || children.iter().any(|child| runs(*child)) {
            assert!(Instant::now() < deadline, "it does not end\n{}", self.log());
            thread::yield_now();
        }
        assert_eq!(self.child.wait().unwrap().code(), Some(code), "{}", self.log());
        Summary { json: serde_json::from_str(&line).unwrap(), numbers: numbers(), log: self.log() }
    }

    /// Ends it by SIGTERM.
    pub(crate) fn end(self) -> Summary {
        self.signal("TERM");
        self.finish()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // This fails if it has already ended, which is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// How long a process has to live so that its kill does not count as a failed start, with some reserve.
const HEALTHY_MS: u64 = 300;

/// What the server says at its end, and what is in its log.
#[derive(Debug)]
pub(crate) struct Summary {
    json: Value,
    /// The numbers of the hits in the access log.
    pub(crate) numbers: Vec<u64>,
    pub(crate) log: String,
}

impl Summary {
    pub(crate) fn get(&self, name: &str) -> u64 {
        self.json[name].as_u64().unwrap_or_else(|| panic!("no {name} in {}", self.json))
    }
}

/// The numbers of the hits in an access log.
fn records(path: &Path) -> Vec<u64> {
    let text = fs::read(path).unwrap();
    let lines = text.chunks(crate::limits::RECORD_BYTES).filter(|line| line.ends_with(b"\n"));
    lines.map(|line| std::str::from_utf8(&line[..12]).unwrap().trim().parse().unwrap()).collect()
}

/// Waits until something holds.
pub(crate) fn eventually(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "still not after {DEADLINE:?}");
        thread::yield_now();
    }
}

/// The process ids in a status.
pub(crate) fn pids(status: &Value, kind: &str) -> Vec<u32> {
    let all = status[kind].as_array().unwrap().iter();
    all.map(|process| u32::try_from(process["pid"].as_u64().unwrap()).unwrap()).collect()
}

/// Sends a signal by the shell's own command, because the standard library kills only its own children.
pub(crate) fn signal(pid: u32, name: &str) {
    let kill = format!("kill -{name} \"$0\"");
    let sent = Command::new("sh").args(["-c", &kill, &pid.to_string()]).stderr(Stdio::null()).status();
    // It may have ended before.
    let _by_us: bool = sent.unwrap().success();
}
