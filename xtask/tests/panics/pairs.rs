//! Two threads of a process each own a handle of one object, and do something with it at the same time.
//!
//! | action | what a thread does with its handle |
//! |---|---|
//! | hold | takes what the object hands out (a guard, a permit, a task, a party), holds it for a moment, and drops both |
//! | drop | drops it at once |
//! | forget | forgets it: its memory stays as long as the process runs |
//! | fork | forks a child that uses the inherited handle, waits for the child, and drops the handle |
//!
//! Each pair runs in its own process, many times. Afterwards nothing is left except what was forgotten: the memory,
//! descriptor and name of at most one object for each round.

mod objects;
mod proxies;

use std::mem::ManuallyDrop;
use std::sync::Barrier;
use std::thread;

use mp_sys::testing::leaks::Snapshot;
use mp_sys::testing::{spawn_beside_threads, succeeded};

use crate::report::run;

/// The number of rounds of each pair.
const ROUNDS: u32 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Hold,
    Drop,
    Forget,
    Fork,
}

const ACTIONS: [Action; 4] = [Action::Hold, Action::Drop, Action::Forget, Action::Fork];

/// The pairs, without regard to their order.
fn pairs() -> impl Iterator<Item = (Action, Action)> {
    ACTIONS.iter().enumerate().flat_map(|(n, one)| ACTIONS.iter().skip(n).map(|other| (*one, *other)))
}

/// An object, and how two threads use it at the same time.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) object: &'static str,
    pub(crate) meet: fn((Action, Action)) -> usize,
}

/// Lets two threads meet again and again; returns how much is left.
///
/// `make` makes two handles of the object with this number, `hold` holds what a handle hands out and calls its second
/// argument meanwhile, and `used` uses a handle in a child.
pub(crate) fn meet<H: Send>(
    (one, other): (Action, Action),
    make: impl Fn(u32) -> [H; 2],
    hold: impl Fn(&H, &dyn Fn()) + Sync,
    used: impl Fn(&H) + Sync,
) -> usize {
    let act = |handle: H, action: Action| match action {
        Action::Hold => {
            hold(&handle, &|| (0..100).for_each(|_| thread::yield_now()));
            drop(handle);
        }
        Action::Drop => drop(handle),
        Action::Forget => {
            hold(&handle, &|| ());
            let _forgotten = ManuallyDrop::new(handle);
        }
        Action::Fork => {
            succeeded(&spawn_beside_threads(|| used(&handle)));
            drop(handle);
        }
    };
    let round = |number: u32| {
        let [first, second] = make(number);
        let start = Barrier::new(2);
        let (act, start) = (&act, &start);
        thread::scope(|scope| {
            for (handle, action) in [(first, one), (second, other)] {
                scope.spawn(move || {
                    start.wait();
                    act(handle, action);
                });
            }
        });
    };
    // This covers what a process does only once: its stamp, its first chunk.
    round(ROUNDS);
    mp::release_unused_memory();
    let before = Snapshot::take();
    (0..ROUNDS).for_each(round);
    mp::release_unused_memory();
    before.leaked_since().map_or(0, |leaks| {
        eprintln!("{leaks}");
        leaks.count()
    })
}

/// How much may be left: what was forgotten.
fn allowed((one, other): (Action, Action)) -> usize {
    let forgotten = usize::from(one == Action::Forget) + usize::from(other == Action::Forget);
    // Two mappings, two descriptors, and a name or two.
    forgotten * usize::try_from(ROUNDS).unwrap() * 6
}

/// Runs a pair in its own process; returns what it left, or `None` if the process failed.
fn outcome_of(row: Row, pair: (Action, Action)) -> Option<usize> {
    run(&format!("{} {pair:?}", row.object), || (row.meet)(pair))
}

fn is_clean(pair: (Action, Action), left: Option<usize>) -> bool {
    left.is_some_and(|left| left <= allowed(pair))
}

/// Fails unless each pair is clean.
pub(crate) fn assert_clean() {
    let mut failed = Vec::new();
    for row in objects::OBJECTS.iter().chain(proxies::PROXIES) {
        for pair in pairs() {
            let left = outcome_of(*row, pair);
            if !is_clean(pair, left) {
                failed.push(format!("{} {pair:?}: {left:?} left", row.object));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Prints what each pair left; returns whether all are clean.
pub(crate) fn print() -> bool {
    let mut clean = true;
    print!("{:22}", "object");
    pairs().for_each(|(one, other)| print!(" {:>13}", format!("{one:?}+{other:?}")));
    println!();
    for row in objects::OBJECTS.iter().chain(proxies::PROXIES) {
        print!("{:22}", row.object);
        for pair in pairs() {
            let left = outcome_of(*row, pair);
            clean &= is_clean(pair, left);
            print!(" {:>13}", left.map_or_else(|| "FAILED".to_owned(), |left| left.to_string()));
        }
        println!();
    }
    clean
}
