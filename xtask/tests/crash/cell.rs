//! One cell of the matrix, and what it found.

use std::time::Duration;

use mp_sys::child::{ChildProcess, Ended};
use mp_sys::deadline::{Deadline, now_nanos};
use mp_sys::testing::{self, is_in_state, kill};

/// A process that does not go on within this time after a kill counts as hanging.
pub(crate) const HANG: Duration = Duration::from_secs(5);

/// Threads of each process of a cell besides the one that works. A death ends all of them, and a promise must not rely
/// on a fact that holds only for processes with one thread.
const IDLE_THREADS: usize = 2;

/// Starts a process that runs `body` beside idle threads.
pub(crate) fn spawn(body: impl FnOnce()) -> ChildProcess {
    testing::spawn(|| {
        for _ in 0..IDLE_THREADS {
            // They end with the process.
            drop(std::thread::Builder::new().stack_size(64 << 10).spawn(|| testing::hang()).unwrap());
        }
        body();
    })
}

/// Whether a process waits in the kernel.
pub(crate) fn is_asleep(id: u32) -> bool {
    is_in_state(id, 'S')
}

/// An object in a role.
#[derive(Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) object: &'static str,
    pub(crate) role: &'static str,
    /// Kills as many processes as requested. Cells of counted points kill one at each point instead.
    pub(crate) run: fn(u32) -> Outcome,
}

/// What a cell found. Everything except the kills and the times must be 0.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) kills: u32,
    pub(crate) hangs: u32,
    pub(crate) torn: u32,
    pub(crate) lost: u32,
    pub(crate) duplicated: u32,
    /// Nanoseconds from each kill to the next successful operation of another process.
    pub(crate) recoveries: Vec<u64>,
}

impl Cell {
    pub(crate) fn name(&self) -> String {
        format!("{}_{}", self.object, self.role)
    }

    pub(crate) fn assert_clean(&self, kills: u32) {
        let outcome = (self.run)(kills);
        assert!(outcome.is_clean(), "{}: {outcome:?}", self.name());
        assert!(outcome.kills > 0, "{} killed no process", self.name());
    }
}

impl Outcome {
    pub(crate) fn is_clean(&self) -> bool {
        self.hangs == 0 && self.torn == 0 && self.lost == 0 && self.duplicated == 0
    }

    /// Kills a process, runs the next operation of another process, and records the time in between.
    pub(crate) fn recover<R>(&mut self, victim: &ChildProcess, next: impl FnOnce() -> R) -> R {
        let start = now_nanos();
        victim.signal(9).unwrap();
        let result = next();
        self.recoveries.push(now_nanos() - start);
        self.kills += 1;
        // The victim is reaped only now: the kernel's notice does not wait for that.
        kill(victim);
        result
    }

    /// Counts a process that did not end by itself in time, and ends it.
    pub(crate) fn expect_end(&mut self, child: &ChildProcess) {
        match child.wait(Deadline::after(HANG)) {
            Ok(Some(Ended::Exited(0))) => {}
            Ok(None) => {
                self.hangs += 1;
                kill(child);
            }
            // It failed one of its own assertions, so it saw something wrong.
            other => {
                eprintln!("a survivor ended by {other:?}");
                self.torn += 1;
            }
        }
    }

    /// Compares what is there with what was acknowledged: one operation may have happened without its acknowledgement.
    pub(crate) fn check_count(&mut self, found: u64, acknowledged: u64) {
        self.lost += u32::from(found < acknowledged);
        self.duplicated += u32::from(found > acknowledged + 1);
    }

    /// The median and the worst recovery, in milliseconds.
    pub(crate) fn recovery_ms(&self) -> Option<(f64, f64)> {
        let mut sorted = self.recoveries.clone();
        sorted.sort_unstable();
        let to_ms = |nanos: u64| Duration::from_nanos(nanos).as_secs_f64() * 1e3;
        Some((to_ms(*sorted.get(sorted.len() / 2)?), to_ms(*sorted.last()?)))
    }
}

/// Lists cells: object, role, and the function that runs the cell.
macro_rules! define_cells {
    ($($cell:ident: $object:literal, $role:literal, $run:expr;)*) => {
        $(pub(crate) const $cell: $crate::cell::Cell =
            $crate::cell::Cell { object: $object, role: $role, run: $run };)*
    };
}

pub(crate) use define_cells;
