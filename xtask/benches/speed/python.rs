//! Python's `multiprocessing` as a reference, if there is a Python.

use std::env;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::row::{Contestant, Setup};

/// The longest that one script may run.
const TIMEOUT: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// The frame of all scripts: `run` performs `n` operations, after a tenth as many to warm up.
const FRAME: &str = "\
import sys, time
from multiprocessing import Value
n = int(sys.argv[1])
v = Value('Q', 0)
PREPARE
def run(n):
    for _ in range(n):
        BODY
run(n // 10)
t = time.perf_counter_ns()
run(n)
print((time.perf_counter_ns() - t) / n)
";

/// Lock, increment, unlock: the idiom of Python's documentation.
pub(crate) const INCREMENT: &str = "with v.get_lock(): v.value += 1";
/// Makes and drops a value of the same kind.
pub(crate) const MAKE: &str = "Value('Q', 0)";

/// A Python that can run the scripts.
#[derive(Debug, Clone)]
pub(crate) struct Python {
    /// The interpreter itself: `python3` may be a slow wrapper script that locates it.
    executable: String,
}

impl Python {
    /// Looks for `python3`.
    pub(crate) fn find() -> Option<Self> {
        let script = "import sys, multiprocessing; print(sys.executable)";
        let output = Command::new("python3").args(["-c", script]).stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| Self { executable: text.trim().to_owned() })
    }

    /// Returns nanoseconds per operation, as measured by the script.
    fn run(&self, prepare: &str, body: &str, operations: u64) -> Result<f64> {
        let script = FRAME.replace("PREPARE", prepare).replace("BODY", body);
        let mut child = Command::new(&self.executable)
            .args(["-c", &script, &operations.to_string()])
            .current_dir(env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("Python did not start")?;
        let handle = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        let ended = poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&TIMEOUT));
        if !matches!(ended, Ok(1)) {
            child.kill()?;
        }
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "Python failed: {}", output.status);
        String::from_utf8(output.stdout)?.trim().parse().context("Python's script printed no number")
    }
}

/// Python running `body`, if there is a Python. It inherits the CPU to which this process is pinned.
pub(crate) fn contestant(setup: &Setup, body: &'static str, operations: u64) -> Option<Contestant> {
    let python = setup.python.clone()?;
    let operations = setup.scale.of(operations);
    Some(Contestant::new("python", move || python.run("", body, operations)))
}

/// Python running `body` after `prepare`, which places its processes itself: microseconds per operation.
pub(crate) fn contestant_in_micros(
    setup: &Setup,
    prepare: String,
    body: &'static str,
    operations: u64,
) -> Option<Contestant> {
    let python = setup.python.clone()?;
    Some(Contestant::new("python", move || Ok(python.run(&prepare, body, operations)? / 1e3)))
}
