//! Two threads of a process that each own a handle of one object, and do something with it at the same moment.
//!
//! | action | what a thread does with its handle |
//! |---|---|
//! | hold | takes what the object hands out (a guard, a permit, a task, a party), holds it for a moment, and drops both |
//! | drop | drops it at once |
//! | forget | forgets it: its memory stays for as long as the process runs |
//! | fork | forks a child that uses the handle that it inherits, waits for that, and drops it |
//!
//! Each pair runs in a process of its own, many times. Afterwards nothing is left, but for what was forgotten: the memory,
//! descriptor and name of at most one object for each time.

mod objects;
mod proxies;

use std::mem::ManuallyDrop;
use std::sync::Barrier;
use std::thread;

use mp_sys::testing::leaks::Snapshot;
use mp_sys::testing::{spawn_beside_threads, succeeded};

use crate::report::run;

/// How often each pair meets.
const ROUNDS: u32 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Hold,
    Drop,
    Forget,
    Fork,
}

const ACTIONS: [Action; 4] = [Action::Hold, Action::Drop, Action::Forget, Action::Fork];

/// The pairs, in any order of the two.
fn pairs() -> impl Iterator<Item = (Action, Action)> {
    ACTIONS.iter().enumerate().flat_map(|(n, one)| ACTIONS.iter().skip(n).map(|other| (*one, *other)))
}

/// An object, and how two threads meet at it.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) object: &'static str,
    pub(crate) meet: fn((Action, Action)) -> usize,
}

/// Has two threads meet again and again, and returns how much is left.
///
/// `make` makes two handles of the object with this number, `hold` holds what one hands out and calls its second argument
/// meanwhile, and `used` uses one in a child.
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
    // What a process does once: its stamp, its first chunk.
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

/// What a pair left, by a process of its own; `None` if that did not end well.
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

/// Prints what each pair left; says whether all are clean.
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
