//! Starting a process: whoever takes part is killed between any two steps, or at random moments.
//!
//! Each round looks at all that can be left. The starter, if it lives, has an error or a child, and the child's end in time;
//! a worker has run once if its value is there, never if there was an error, and at most once else. Somebody else starts a
//! process at once. Then nothing runs any more (orphans become children of the cell's process, which finds them), and nobody
//! has a descriptor or a zombie too many, a fork server neither.
//!
//! A process, a descriptor or a zombie that is left counts as lost; a worker that ran twice, as duplicated.

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

/// Travels in the packet of a call, and in a few bytes of a result.
const SHORT: usize = 100;
/// Travels in a file of its own, and is a result for which the budget is asked.
const LONG: usize = 300_000;

/// A way to start a process.
#[derive(Debug, Clone, Copy)]
struct Case {
    method: Method,
    /// Bytes of argument and of result.
    len: usize,
    /// Whether the process dies with its parent. Then its worker waits until the cell lets it go.
    dies: bool,
    /// Forked with a closure, rather than with a worker and arguments.
    is_closure: bool,
}

impl Case {
    /// What there is of a method.
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

/// What a worker is given: bytes to give back, an end to say that it runs if somebody listens, and one to wait for before it
/// returns.
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

/// One process that is started, and what the cell sees of it.
struct Round {
    before: Snapshot,
    /// One message for each time that the worker has run.
    runs: Receiver<()>,
    /// Lets a worker that waits go, when it is dropped.
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

    /// Lets a worker that waits go.
    fn let_go(&mut self) {
        self.hold = None;
    }

    /// Looks at what is left when somebody was killed, and at how often the worker has run.
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
            eprintln!("somebody still has an argument: {end}");
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
fn alone(method: Method, run: impl FnOnce(&mut Outcome)) -> Outcome {
    set_child_subreaper(Some(getpid())).unwrap();
    let mut out = Outcome::default();
    // What is made once is there.
    start_another(method, &mut out);
    mp::release_unused_memory();
    run(&mut out);
    out
}

/// Somebody who saw a process die starts another one, which must not be hindered.
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

/// Gives up what is kept for the next start, the fork server with it, and waits until no process is left of those that were
/// started, by whomever.
fn expect_all_ended(out: &mut Outcome) {
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
                // What they had started becomes this process's in turn.
                deadline = Deadline::after(HANG);
            }
            Ok(None) => std::thread::yield_now(),
            Err(error) => {
                assert_eq!(error, Errno::CHILD);
                break;
            }
        }
    }
    // A server that was still dying the first time.
    mp::release_unused_memory();
}

fn expect_no_leaks(before: &Snapshot, out: &mut Outcome) {
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

/// Whether this process's fork server comes to rest without a zombie, and with the descriptors that a fresh one has: the
/// first three, its socket, its parent's pidfd, and one that tells of its children's ends.
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

/// Waits for a victim's end, and counts a hang if that does not come.
fn expect_end(victim: &ChildProcess, out: &mut Outcome) -> Option<Ended> {
    let ended = victim.wait(Deadline::after(HANG)).unwrap();
    if ended.is_none() {
        eprintln!("the starter hangs");
        out.hangs += 1;
        kill(victim);
    }
    ended
}

/// What the starter is told of a process that may be killed; `true` with its value.
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
            eprintln!("{case:?}: told {error:?}");
            out.torn += 1;
        }
    }
    false
}
