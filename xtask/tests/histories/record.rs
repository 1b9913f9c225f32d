//! The recorder: it stores operations with their times in shared memory, and checks what was recorded.

use std::fmt::Debug;

use mp_sys::child::ChildProcess;
use mp_sys::deadline::now_nanos;
use mp_sys::testing::{Random, ended, eventually, spawn};
use shm_core::{RawArray, RawValue};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

pub(crate) const PROCESSES: u64 = 3;
/// Operations of each process in one history. The time of a check grows fast with their total number.
pub(crate) const OPERATIONS: u64 = 6;

/// A value that fits into one word of a record: an operation or an answer.
pub(crate) trait Word: Sized {
    fn to_word(&self) -> u64;
    fn from_word(word: u64) -> Self;
}

/// The specification of an object, with operations and answers that can be recorded.
pub(crate) trait Spec:
    SequentialSpec<Op: Word + Clone + Debug, Ret: Word + Clone + Debug + PartialEq> + Clone
{
    /// The operation that the death of a process performs by itself, if any.
    fn death(process: u64) -> Option<Self::Op>;
}

/// The time, and what was called or returned: process, whether it is a return, the word.
pub(crate) type Event = (u64, bool, u64);

/// Words of a record: the time, and the event. The time is stored last, so a record with a time is whole.
const RECORD: usize = 2;
/// The time of an operation without an answer.
const OPEN: u64 = 0;

/// What happened, in shared memory: each operation has two records, its call and its return.
pub(crate) struct Log(RawArray<u64>);

impl Log {
    fn new() -> Self {
        // What deaths do, and what becomes of sessions that were given up, follows behind the processes.
        let operations = usize::try_from(3 * PROCESSES * OPERATIONS).unwrap();
        Self(RawArray::zeroed(operations * RECORD * 2).unwrap())
    }

    /// Runs one operation of a process, and records its call and its answer.
    pub(crate) fn run<O: Word, A: Word>(
        &self,
        process: u64,
        operation: u64,
        op: &O,
        run: impl FnOnce() -> A,
    ) {
        self.attempt(process, operation, op, || Some(run()));
    }

    /// The same, if it may not be known whether the operation has happened. Then the process does no other one. Returns whether it
    /// is known.
    pub(crate) fn attempt<O: Word, A: Word>(
        &self,
        process: u64,
        operation: u64,
        op: &O,
        run: impl FnOnce() -> Option<A>,
    ) -> bool {
        self.note(process, operation, false, op.to_word());
        let answer = run();
        answer.iter().for_each(|answer| self.note(process, operation, true, answer.to_word()));
        answer.is_some()
    }

    /// Records the call of what the death of a process does.
    pub(crate) fn note_death(&self, victim: u64, death: &impl Word) {
        self.note(PROCESSES + victim, 0, false, death.to_word());
    }

    /// Records that a process has given up what it had, which is lost as if it had died.
    pub(crate) fn note_loss(&self, process: u64, loss: &impl Word) {
        self.note(2 * PROCESSES + process, 0, false, loss.to_word());
    }

    fn note(&self, process: u64, operation: u64, is_return: bool, what: u64) {
        let at =
            usize::try_from((process * OPERATIONS + operation) * 2 + u64::from(is_return)).unwrap() * RECORD;
        self.0.set(at + 1, what).unwrap();
        // For a return, the time is taken after the operation.
        self.0.set(at, now_nanos()).unwrap();
    }

    /// Returns everything that was recorded, in order of time.
    fn events(&self) -> Vec<Event> {
        let words = self.0.to_vec();
        let mut events = Vec::new();
        for (index, record) in words.chunks_exact(RECORD).enumerate() {
            let process = u64::try_from(index).unwrap() / (OPERATIONS * 2);
            if record[0] != OPEN {
                events.push((record[0], process, index % 2 == 1, record[1]));
            }
        }
        // A call at the same time as a return counts as earlier: that allows more orders, never fewer.
        events.sort_by_key(|(time, _, is_return, _)| (*time, *is_return));
        events.into_iter().map(|(_, process, is_return, what)| (process, is_return, what)).collect()
    }
}

pub(crate) fn is_linearizable<S: Spec>(spec: S, events: &[Event]) -> bool {
    let mut tester = LinearizabilityTester::new(spec);
    for (process, is_return, what) in events {
        let noted = if *is_return {
            tester.on_return(*process, S::Ret::from_word(*what)).map(drop)
        } else {
            tester.on_invoke(*process, S::Op::from_word(*what)).map(drop)
        };
        noted.unwrap();
    }
    tester.is_consistent()
}

/// What happens to the processes of a history while they work.
pub(crate) type Disturb<'a> = &'a dyn Fn(&Log, &[ChildProcess], &mut Random);

/// Kills one of the processes within the given number of nanoseconds.
pub(crate) fn kill_one<S: Spec>(moment_max: u64) -> impl Fn(&Log, &[ChildProcess], &mut Random) {
    move |log, children, random| {
        random.pause(moment_max);
        let victim = random.below(PROCESSES);
        if let Some(death) = S::death(victim) {
            // The death happens at some moment from now on.
            log.note_death(victim, &death);
        }
        children[usize::try_from(victim).unwrap()].signal(9).unwrap();
    }
}

/// Records histories of processes that all run `operate` with an object that `make` makes, and checks each history.
pub(crate) fn check<S: Spec, O>(
    (histories, disturb): (u64, Option<Disturb<'_>>),
    spec: &S,
    make: impl Fn() -> O,
    operate: impl Fn(&O, &Log, u64, &mut Random, &dyn Fn()),
) {
    let mut random = Random::new();
    let seed = random.seed();
    let mut overlapping = 0;
    for _ in 0..histories {
        let (object, log) = (make(), Log::new());
        let seeds: Vec<u64> = (0..PROCESSES).map(|_| random.below(u64::MAX)).collect();
        let arrived = RawValue::new(0_u64).unwrap();
        let all_are_here = || eventually("all have arrived", || arrived.load() == PROCESSES);
        let children: Vec<_> = (0..PROCESSES)
            .zip(&seeds)
            .map(|(process, seed)| {
                spawn(|| {
                    // All processes begin together; otherwise there would be nothing to order.
                    let begin = || {
                        arrived.fetch_add(1);
                        all_are_here();
                    };
                    operate(&object, &log, process, &mut Random::seeded(*seed), &begin);
                })
            })
            .collect();
        if let Some(disturb) = disturb {
            all_are_here();
            disturb(&log, &children, &mut random);
        }
        for child in &children {
            let _whichever = ended(child);
        }
        let events = log.events();
        overlapping += u64::from(events.windows(2).any(|pair| !pair[0].1 && !pair[1].1));
        let readable: Vec<String> = events.iter().map(said::<S>).collect();
        assert!(is_linearizable(spec.clone(), &events), "MP_SEED={seed}: {readable:#?}");
    }
    // Histories without overlaps show little. How many overlap depends on how many CPUs this machine really has now.
    assert!(overlapping > 0, "none of {histories} overlaps");
}

fn said<S: Spec>((process, is_return, what): &Event) -> String {
    if *is_return {
        format!("{process} got {:?}", S::Ret::from_word(*what))
    } else {
        format!("{process} does {:?}", S::Op::from_word(*what))
    }
}
