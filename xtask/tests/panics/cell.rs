//! One cell of the matrix: a panic in one entry of one object, while a process and a thread contend for it.

use std::thread;
use std::time::Duration;

use mp::RawValue;
use mp_sys::child::ChildProcess;
use mp_sys::deadline::Deadline;
use mp_sys::testing::leaks::Snapshot;
use mp_sys::testing::{kill, spawn};

use crate::trap::{Trap, is_caught};

/// A contender that makes no turns within this time after a panic hangs.
pub(crate) const HANG: Duration = Duration::from_secs(10);
/// The number of panics in a cell. The trap lets none, one, two … calls pass, in turn.
const PANICS: u32 = 16;
/// The most calls that a trap lets pass.
const PASSES: u32 = 4;

/// A place where the library calls user code.
#[derive(Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) object: &'static str,
    /// The function, and the user code that it calls.
    pub(crate) entry: &'static str,
    pub(crate) run: fn() -> Outcome,
}

/// What a cell found. Everything except the panics must be 0.
#[derive(Debug, Default, Clone)]
pub(crate) struct Outcome {
    pub(crate) panics: u32,
    /// No other contender went on.
    pub(crate) hangs: u32,
    /// Locks that the thread still holds after the panic.
    pub(crate) held: u32,
    /// The object does not work afterwards, is poisoned where it must not be, or is not poisoned where it must be.
    pub(crate) broken: u32,
    /// Descriptors, mappings, children, names and registrations that were left behind.
    pub(crate) leaked: u32,
}

impl Cell {
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.object, self.entry)
    }
}

impl Outcome {
    pub(crate) fn is_clean(&self) -> bool {
        self.hangs == 0 && self.held == 0 && self.broken == 0 && self.leaked == 0 && self.panics > 0
    }
}

/// A contender, and the number of its turns.
struct Contender<'a> {
    turns: &'a RawValue<u64>,
    stop: &'a RawValue<bool>,
}

impl Contender<'_> {
    fn run<O>(&self, object: &O, turn: impl Fn(&O) -> bool) {
        while !self.stop.load() {
            assert!(turn(object), "a contender sees nothing of the panic");
            self.turns.fetch_add(1);
            thread::yield_now();
        }
    }

    /// Whether it makes two more turns in time.
    fn goes_on(&self) -> bool {
        let (from, deadline) = (self.turns.load(), Deadline::after(HANG));
        while self.turns.load() < from + 2 {
            if deadline.has_passed() {
                return false;
            }
            thread::yield_now();
        }
        true
    }
}

/// What contends beside the panicking thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    ProcessAndThread,
    /// For functions that refuse to run beside threads.
    Process,
}

/// Panics in `entry` again and again while others take `turn` after turn. Then `works` checks that the object works and
/// that nothing is still registered in it.
pub(crate) fn contended<O: Sync>(
    beside: Beside,
    make: impl FnOnce() -> O,
    turn: impl Fn(&O) -> bool + Sync,
    trap: Trap,
    entry: impl Fn(&O),
    works: impl FnOnce(&O) -> bool,
) -> Outcome {
    std::panic::set_hook(Box::new(|panic| {
        if panic.payload().downcast_ref::<&str>() != Some(&"on purpose") {
            eprintln!("{panic}");
        }
    }));
    let before = Snapshot::take();
    let mut out = Outcome::default();
    {
        let counters = [(); 2].map(|()| RawValue::new(0_u64).unwrap());
        let stop = RawValue::new(false).unwrap();
        let object = make();
        let [outside, inside] = counters.each_ref().map(|turns| Contender { turns, stop: &stop });
        let process = spawn(|| outside.run(&object, &turn));
        thread::scope(|scope| {
            let others = if beside == Beside::Process { vec![&outside] } else { vec![&outside, &inside] };
            if beside == Beside::ProcessAndThread {
                scope.spawn(|| inside.run(&object, &turn));
            }
            for n in 0..PANICS {
                out.panics += u32::from(is_caught(trap, n % PASSES, || entry(&object)));
                out.held += u32::try_from(mp_sys::robust::held_count()).unwrap();
                if !others.iter().all(|other| other.goes_on()) {
                    give_up(&process);
                }
            }
            stop.store(true);
        });
        out.hangs += u32::from(!has_succeeded(&process));
        out.broken += u32::from(!works(&object));
    }
    mp::release_unused_memory();
    if let Some(leaks) = before.leaked_since() {
        eprintln!("{leaks}");
        out.leaked += 1;
    }
    drop(std::panic::take_hook());
    out
}

/// A thread that hangs cannot be ended: the cell's process ends instead.
#[expect(clippy::exit, reason = "the thread would be joined for ever")]
fn give_up(process: &ChildProcess) -> ! {
    kill(process);
    eprintln!("no contender went on within {HANG:?} after a panic");
    std::process::exit(1)
}

fn has_succeeded(process: &ChildProcess) -> bool {
    let ended = process.wait(Deadline::after(HANG)).unwrap();
    if ended.is_none() {
        kill(process);
    }
    ended == Some(mp_sys::child::Ended::Exited(0))
}

/// Lists cells: object, entry, and the function that runs the cell.
macro_rules! define_cells {
    ($($object:literal, $entry:literal, $run:expr;)*) => {
        pub(crate) const CELLS: &[$crate::cell::Cell] =
            &[$($crate::cell::Cell { object: $object, entry: $entry, run: $run }),*];
    };
}

pub(crate) use define_cells;
