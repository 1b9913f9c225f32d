//! Running an example as a user does, with a deadline.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::plain::Plain;

/// Enough for a debug build on a busy machine; a run that hangs is ended then.
const DEADLINE: Duration = Duration::from_secs(120);

/// Returns the program of an example, which is next to this test.
///
/// # Panics
/// If the program is missing or older than its source, because this would test something else.
pub(crate) fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples").join(name);
    let how = "`cargo test -p mp-facade` builds the examples first; a selection like `--test tally` or `--all-targets` \
               does not: run `cargo build -p mp-facade --examples` (with the same profile) before";
    let Ok(built) = fs::metadata(&program) else { panic!("{} is not there. {how}.", program.display()) };
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let changed = newest(&source.join(name)).max(newest(&source.join(format!("{name}.rs"))));
    assert!(
        Some(built.modified().unwrap()) >= changed,
        "{} is older than its source. {how}.",
        program.display()
    );
    program
}

/// When a file, or a file in a folder, was last changed.
fn newest(path: &Path) -> Option<SystemTime> {
    let files = fs::read_dir(path).into_iter().flatten().filter_map(|entry| newest(&entry.unwrap().path()));
    let own = fs::metadata(path).ok().filter(fs::Metadata::is_file).and_then(|file| file.modified().ok());
    files.chain(own).max()
}

/// `tally` with these arguments.
pub(crate) fn tally(arguments: &[&str], paths: &[&Path]) -> Command {
    let mut command = Command::new(program("tally"));
    command.args(arguments).args(paths);
    command
}

/// The output of a program.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A running program. It is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
    deadline: Instant,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> std::io::Result<Self> {
        let pipes = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn()?;
        let stdout = read_aside(child.stdout.take().unwrap());
        let stderr = read_aside(child.stderr.take().unwrap());
        Ok(Self { child, stdout, stderr, deadline: Instant::now() + DEADLINE })
    }

    pub(crate) fn is_running(&mut self) -> bool {
        assert!(Instant::now() < self.deadline, "still running after {DEADLINE:?}");
        self.child.try_wait().unwrap().is_none()
    }

    /// Returns the running processes that it started.
    pub(crate) fn children(&self) -> Vec<u32> {
        children_of(self.child.id())
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    pub(crate) fn finish(mut self) -> Output {
        // Both pipes end when the program and all its children have.
        let texts = [&self.stdout, &self.stderr].map(|pipe| {
            let bytes = pipe.recv_timeout(self.deadline.saturating_duration_since(Instant::now()));
            let bytes = bytes.unwrap_or_else(|_| panic!("still running after {DEADLINE:?}"));
            String::from_utf8(bytes).unwrap()
        });
        let [stdout, stderr] = texts;
        while self.is_running() {
            thread::yield_now();
        }
        let code = self.child.wait().unwrap().code();
        Output { code, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // This fails if it has already ended, which is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn read_aside(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    let reader = thread::Builder::new().name("reader".to_owned()).spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        // The test may have given up.
        drop(sender.send(bytes));
    });
    drop(reader.unwrap());
    receiver
}

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command) -> Output {
    Running::start(command).unwrap().finish()
}

/// What `--json` printed.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) plain: Plain,
    pub(crate) killed: u64,
    pub(crate) redone: u64,
    pub(crate) unreadable: Vec<String>,
    /// The ranking, if `--top` asked for it.
    pub(crate) top: Option<Vec<(String, u64)>>,
}

impl Report {
    /// Reads the report of a successful run.
    ///
    /// # Panics
    /// If the run failed, or if its output is anything but one object with exactly these keys.
    pub(crate) fn of(output: &Output) -> Self {
        assert_eq!(output.code, Some(0), "{output:?}");
        let line = output.stdout.strip_suffix('\n').unwrap();
        assert!(!line.contains('\n'), "{line}");
        let Value::Object(mut object) = serde_json::from_str(line).unwrap() else {
            panic!("no object: {line}")
        };
        let top = object.remove("top").map(|top| serde_json::from_value(top).unwrap());
        let mut take = |key: &str| object.remove(key).unwrap_or_else(|| panic!("no {key} in {line}"));
        let Value::Object(mut by_letter) = take("letters") else { panic!("no letters in {line}") };
        let mut letters = [0; 26];
        for (count, letter) in letters.iter_mut().zip('a'..='z') {
            *count = by_letter.remove(&letter.to_string()).unwrap().as_u64().unwrap();
        }
        assert!(by_letter.is_empty(), "{by_letter:?}");
        let unreadable = take("unreadable").as_array().unwrap().clone();
        let unreadable = unreadable.iter().map(|path| path.as_str().unwrap().to_owned()).collect();
        let [files, bytes, lines, words, killed, redone] =
            ["files", "bytes", "lines", "words", "killed", "redone"].map(|key| take(key).as_u64().unwrap());
        assert!(object.is_empty(), "{object:?}");
        Self { plain: Plain { files, bytes, lines, words, letters }, killed, redone, unreadable, top }
    }
}

/// Runs `tally --json`, which must go well.
pub(crate) fn report(arguments: &[&str], paths: &[&Path]) -> Report {
    Report::of(&run(tally(arguments, paths).arg("--json")))
}

/// Returns the running processes that `parent` started.
pub(crate) fn children_of(parent: u32) -> Vec<u32> {
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat_of(*pid).is_some_and(|(state, of)| of == parent && state != 'Z')).collect()
}

/// Returns whether a process is running. One that has ended without being waited for is not.
pub(crate) fn runs(pid: u32) -> bool {
    stat_of(pid).is_some_and(|(state, _)| state != 'Z')
}

/// Returns a process's state and parent, from the fields after the name in parentheses: proc_pid_stat(5).
fn stat_of(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Kills a process by the shell's own command, because the standard library kills only its own children.
pub(crate) fn kill(pid: u32) {
    let killed =
        Command::new("sh").args(["-c", "kill -KILL \"$0\"", &pid.to_string()]).stderr(Stdio::null()).status();
    // It may have ended before.
    let _by_us: bool = killed.unwrap().success();
}

/// Returns whether a process is the server of a manager, by its title: see proc_pid_cmdline(5).
pub(crate) fn is_manager(pid: u32) -> bool {
    let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    title.split(|byte| *byte == 0).next().is_some_and(|title| title.ends_with(b"manager"))
}
