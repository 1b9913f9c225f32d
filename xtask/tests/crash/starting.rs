//! Starting a process: each process that takes part is killed between any two steps, or at random moments.
//!
//! Each round checks everything that may be left. The starter, if it lives, has an error, or a child that ends in time.
//! A worker has run once if its value is there, never if there was an error, and otherwise at most once. Another
//! process can start a process at once. Then nothing runs any more (orphans become children of the cell's process,
//! which finds them), and no process has a descriptor or a zombie too many, including the fork server.
//!
//! A process, a descriptor or a zombie that is left counts as lost. A worker that ran twice counts as duplicated.

mod moments;
mod points;

use std::ops::RangeInclusive;
use std::time::Instant;

use mp::{Child, ExitError, Method, Process, Receiver, RecvError, Sender, StartError, pipe};
use mp_sys::child::{ChildProcess, Ended, own_pid};
use mp_sys::deadline::Deadline;
use mp_sys::forkserver::server_pid;
use mp_sys::testing::kill;
use mp_sys::testing::leaks::{Snapshot, children_of};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process, set_child_subreaper, waitid,
};

pub(crate) use self::moments::*;
pub(crate) use self::points::*;
use crate::cell::{HANG, Outcome, is_asleep};

/// The length of an argument that travels in the packet of a call, and of a result of a few bytes.
const SHORT: usize = 100;
/// The length of an argument that travels in its own file, and of a result that needs the budget.
const LONG: usize = 300_000;

/// A way to start a process.
#[derive(Debug, Clone, Copy)]
struct Case {
    method: Method,
    /// The bytes of the argument and of the result.
    len: usize,
    /// Whether the process dies with its parent. If so, its worker waits until the cell releases it.
    dies: bool,
    /// Whether it is forked with a closure, instead of a worker and arguments.
    is_closure: bool,
}

impl Case {
    /// All cases of a method.
    fn all(method: Method) -> Vec<Self> {
        let with = |len, dies, is_closure| Self { method, len, dies, is_closure };
        let mut all = vec![with(SHORT, false, false), with(LONG, false, false), with(SHORT, true, false)];
        if method == Method::Fork {
            all.push(with(LONG, false, true));
        }
        all
    }

    fn value(&self) -> Vec<u8> {
        vec![3; self.len]
    }
}

/// The arguments of a worker: the bytes to return, an end that reports that it runs if a process listens, and an end to
/// wait for before it returns.
type Args = (Vec<u8>, Option<Sender<()>>, Option<Receiver<()>>);

fn work(args: Args) -> Vec<u8> {
    run(&args)
}

fn run((bytes, runs, until): &Args) -> Vec<u8> {
    if let Some(runs) = runs {
        runs.send(&()).unwrap();
    }
    if let Some(until) = until {
        assert_eq!(until.recv(), Err(RecvError::Closed));
    }
    bytes.clone()
}

fn start(case: Case, args: &Args) -> Result<Child<Vec<u8>>, StartError> {
    let process = Process::new().method(case.method).die_with_parent(case.dies);
    if case.is_closure { process.fork(|| run(args)) } else { process.start(work, args) }
}

/// Starts a process that may be killed, and counts a hang if that takes too long.
fn start_in_time(case: Case, args: Args, out: &mut Outcome) -> Result<Child<Vec<u8>>, StartError> {
    let begin = Instant::now();
    let started = start(case, &args);
    if begin.elapsed() > HANG {
        eprintln!("{case:?}: started, or not, after {:?}", begin.elapsed());
        out.hangs += 1;
    }
    started
}

/// One started process, and what the cell sees of it.
struct Round {
    before: Snapshot,
    /// One message for each run of the worker.
    runs: Receiver<()>,
    /// Releases a waiting worker when it is dropped.
    hold: Option<Sender<()>>,
}

impl Round {
    fn new(case: Case) -> (Self, Args) {
        let before = Snapshot::take();
        // What another child has left lies where the next one's result will be.
        assert_eq!(mp::fork(|| vec![7_u8; LONG]).unwrap().join(), Ok(vec![7; LONG]));
        let (sender, runs) = pipe().unwrap();
        let (hold, until) = pipe().unwrap();
        let args = (case.value(), Some(sender), case.dies.then_some(until));
        (Self { before, runs, hold: Some(hold) }, args)
    }

    /// Releases a waiting worker.
    fn let_go(&mut self) {
        self.hold = None;
    }

    /// Checks what is left after a kill, and how often the worker ran.
    fn finish(mut self, expected: RangeInclusive<u32>, out: &mut Outcome) {
        expect_all_ended(out);
        self.let_go();
        let mut count = 0;
        let end = loop {
            match self.runs.recv_timeout(HANG) {
                Ok(()) => count += 1,
                Err(end) => break end,
            }
        };
        if end != RecvError::Closed {
            eprintln!("a process still has an argument: {end}");
            out.lost += 1;
        }
        if !expected.contains(&count) {
            eprintln!("the worker ran {count} times, not {expected:?}");
            out.lost += u32::from(count < *expected.start());
            out.duplicated += u32::from(count > *expected.end());
        }
        drop(self.runs);
        expect_no_leaks(&self.before, out);
    }
}

/// Runs a cell in which orphans become children of this process.
pub(crate) fn alone(method: Method, run: impl FnOnce(&mut Outcome)) -> Outcome {
    set_child_subreaper(Some(getpid())).unwrap();
    let mut out = Outcome::default();
    // This makes what is made only once.
    start_another(method, &mut out);
    mp::release_unused_memory();
    run(&mut out);
    out
}

/// A process that saw another one die starts a new one, and nothing must hinder it.
fn start_another(method: Method, out: &mut Outcome) {
    let started = Process::new().method(method).start(|n: u64| n + 1, 1_u64);
    match started.map(|child| (child.join_timeout(HANG), child)) {
        Ok((Ok(Some(2)), _)) => {}
        Ok((Ok(None), child)) => {
            eprintln!("another child by {method:?} does not end");
            out.hangs += 1;
            child.kill().unwrap();
        }
        other => {
            eprintln!("another child by {method:?} failed: {other:?}");
            out.torn += 1;
        }
    }
}

/// Drops what is kept for the next start, including the fork server, and waits until no started process is left,
/// whichever process started it.
pub(crate) fn expect_all_ended(out: &mut Outcome) {
    mp::release_unused_memory();
    let mut deadline = Deadline::after(HANG);
    loop {
        match waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) if deadline.has_passed() => {
                let left = children_of(own_pid());
                eprintln!("still running: {left:?}");
                out.lost += u32::try_from(left.len()).unwrap();
                left.into_iter().for_each(end);
                // Their own children become children of this process in turn.
                deadline = Deadline::after(HANG);
            }
            Ok(None) => std::thread::yield_now(),
            Err(error) => {
                assert_eq!(error, Errno::CHILD);
                break;
            }
        }
    }
    // This drops a server that was still dying the first time.
    mp::release_unused_memory();
}

pub(crate) fn expect_no_leaks(before: &Snapshot, out: &mut Outcome) {
    if let Some(leaks) = before.leaked_since() {
        eprintln!("{leaks}");
        out.lost += 1;
    }
}

fn end(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    match kill_process(pid, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => panic!("process {pid} is not killed: {error}"),
    }
}

/// Whether this process's fork server comes to rest without a zombie, and with the descriptors of a fresh one: the
/// first three, its socket, its parent's pidfd, and one that reports the ends of its children.
fn is_server_idle() -> bool {
    const DESCRIPTORS: usize = 6;
    let Some(server) = server_pid() else {
        return false;
    };
    let descriptors = || std::fs::read_dir(format!("/proc/{server}/fd")).map_or(0, Iterator::count);
    let deadline = Deadline::after(HANG);
    while !(is_asleep(server) && children_of(server).is_empty() && descriptors() == DESCRIPTORS) {
        if deadline.has_passed() {
            eprintln!("the server has {} descriptors, and children {:?}", descriptors(), children_of(server));
            return false;
        }
        std::thread::yield_now();
    }
    true
}

/// Waits for a victim's end, and counts a hang if it does not end.
pub(crate) fn expect_end(victim: &ChildProcess, out: &mut Outcome) -> Option<Ended> {
    let ended = victim.wait(Deadline::after(HANG)).unwrap();
    if ended.is_none() {
        eprintln!("the starter hangs");
        out.hangs += 1;
        kill(victim);
    }
    ended
}

/// Checks the starter's result for a process that may be killed; returns `true` if it got the value.
fn expect_value_or(told: &[ExitError], case: Case, child: &Child<Vec<u8>>, out: &mut Outcome) -> bool {
    match child.join_timeout(HANG) {
        Ok(Some(value)) => {
            out.torn += u32::from(value != case.value());
            return true;
        }
        Ok(None) => {
            eprintln!("{case:?}: the child does not end");
            out.hangs += 1;
            child.kill().unwrap();
        }
        Err(error) if told.contains(&error) => {}
        Err(error) => {
            eprintln!("{case:?}: the error is {error:?}");
            out.torn += 1;
        }
    }
    false
}
