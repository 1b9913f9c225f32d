//! A lock for many readers or one writer. Processes are killed as readers, as writers, while they wait, right after
//! they were woken, at every point, and at any moment.

use std::cell::Cell;

use mp::{LockError, RawValue, RwLock};
use mp_sys::child::{ChildProcess, Ended};
use mp_sys::testing::{Random, ended, eventually, hang, kill, spawn};

use crate::cell::{HANG, Outcome, define_cells, is_asleep};
use crate::points::{at_every_point, at_every_point_with};

type Shared = RwLock<[u64; 4]>;

fn make() -> Shared {
    RwLock::new([0; 4]).unwrap()
}

/// Starts a process that holds what `take` returns.
fn holder<G>(take: impl FnOnce() -> G) -> ChildProcess {
    let holds = RawValue::new(false).unwrap();
    let child = spawn(|| {
        let _guard = take();
        holds.store(true);
        hang();
    });
    eventually("it holds", || holds.load());
    child
}

/// Starts a process that runs `wait`; returns once it sleeps.
fn waiter(wait: impl FnOnce()) -> ChildProcess {
    let child = spawn(wait);
    eventually("it sleeps", || is_asleep(child.id()));
    child
}

/// Reads in time; returns whether a death was reported.
fn read(lock: &Shared, out: &mut Outcome) -> Option<bool> {
    let (value, poisoned) = match lock.read_timeout(HANG) {
        Ok(value) => (value, false),
        Err(LockError::Poisoned(value)) => (value, true),
        Err(LockError::TimedOut) => {
            out.hangs += 1;
            return None;
        }
        Err(other) => panic!("{other}"),
    };
    out.torn += u32::from(!poisoned && value.iter().any(|word| *word != value[0]));
    Some(poisoned)
}

/// Changes everything in time.
fn write(lock: &Shared, out: &mut Outcome) {
    match lock.write_timeout(HANG) {
        Ok(mut value) => {
            out.torn += u32::from(value.iter().any(|word| *word != value[0]));
            value.iter_mut().for_each(|word| *word += 1);
        }
        Err(LockError::Poisoned(mut value)) => {
            *value = [0; 4];
            lock.clear_poison();
        }
        Err(LockError::TimedOut) => out.hangs += 1,
        Err(other) => panic!("{other}"),
    }
}

/// A reader dies: a writer gets in.
fn reader(kills: u32) -> Outcome {
    let (mut out, mut random, lock) = (Outcome::default(), Random::new(), make());
    for _ in 0..kills {
        let victim = holder(|| lock.read().unwrap());
        random.pause(50_000);
        let mut found = Outcome::default();
        out.recover(&victim, || write(&lock, &mut found));
        out.add(&found);
        out.lost += u32::from(lock.is_poisoned());
    }
    out
}

/// A writer dies: readers get in, and learn of the death.
fn writer(kills: u32) -> Outcome {
    let (mut out, mut random, lock) = (Outcome::default(), Random::new(), make());
    for _ in 0..kills {
        let victim = holder(|| {
            lock.write()
                .map(|mut value| {
                    value[0] += 1;
                    value
                })
                .unwrap()
        });
        random.pause(50_000);
        let mut found = Outcome::default();
        let told = out.recover(&victim, || read(&lock, &mut found));
        out.add(&found);
        out.lost += u32::from(told == Some(false));
        write(&lock, &mut out);
    }
    out
}

/// A writer dies while it waits for a reader: readers get in again, and no death is reported.
fn waiting_writer(kills: u32) -> Outcome {
    let (mut out, mut random, lock) = (Outcome::default(), Random::new(), make());
    for _ in 0..kills {
        let first = holder(|| lock.read().unwrap());
        let victim = waiter(|| drop(lock.write()));
        random.pause(50_000);
        let mut found = Outcome::default();
        let told = out.recover(&victim, || read(&lock, &mut found));
        out.add(&found);
        out.duplicated += u32::from(told == Some(true));
        kill(&first);
        write(&lock, &mut out);
    }
    out
}

/// A reader dies while it waits for a writer: the others go on.
fn waiting_reader(kills: u32) -> Outcome {
    let (mut out, mut random, lock) = (Outcome::default(), Random::new(), make());
    for _ in 0..kills {
        let first = holder(|| lock.write().unwrap());
        let victim = waiter(|| drop(lock.read()));
        random.pause(50_000);
        kill(&victim);
        let mut found = Outcome::default();
        out.recover(&first, || read(&lock, &mut found));
        out.add(&found);
        write(&lock, &mut out);
    }
    out
}

/// A writer and a reader wait. The holder leaves, and one of them is killed as it wakes up: the other one gets in.
fn just_woken(kills: u32) -> Outcome {
    let (mut out, mut random, lock) = (Outcome::default(), Random::new(), make());
    for round in 0..kills {
        let leaves = RawValue::new(false).unwrap();
        let holder = spawn(|| {
            let guard = lock.read().unwrap();
            leaves.store(true);
            eventually("it shall leave", || !leaves.load());
            drop(guard);
        });
        eventually("the reader is in", || leaves.load());
        let first = waiter(|| drop(lock.write_timeout(HANG)));
        let second = waiter(|| match lock.read_timeout(HANG) {
            Ok(_) | Err(LockError::Poisoned(_)) => {}
            Err(other) => panic!("{other}"),
        });
        leaves.store(false);
        random.pause(30_000);
        let (victim, survivor) = if round.is_multiple_of(2) { (&first, &second) } else { (&second, &first) };
        out.recover(victim, || {});
        out.recoveries.pop();
        out.expect_end(survivor);
        out.expect_end(&holder);
        write(&lock, &mut out);
    }
    out
}

/// A process is killed anywhere, as a reader or as a writer, beside another reader and another writer.
fn mid_use(kills: u32) -> Outcome {
    let (mut out, mut random, lock) = (Outcome::default(), Random::new(), make());
    let count = RawValue::new(0_u64).unwrap();
    let work = || loop {
        let mut found = Outcome::default();
        match count.fetch_add(1) % 3 {
            0 => write(&lock, &mut found),
            1 => _ = read(&lock, &mut found),
            _ => drop(lock.try_read()),
        }
        assert!(found.is_clean(), "{found:?}");
    };
    let mut workers = [spawn(work), spawn(work), spawn(work)];
    for round in 0..kills {
        let before = count.load();
        eventually("they work", || count.load() > before + 20);
        random.pause(200_000);
        let victim = &mut workers[usize::try_from(round).unwrap() % 3];
        out.recover(victim, || {});
        out.recoveries.pop();
        *victim = spawn(work);
    }
    for worker in &workers {
        worker.signal(9).unwrap();
        // A worker that ended earlier saw something torn, or waited too long.
        out.torn += u32::from(ended(worker) != Ended::Signaled(9));
    }
    write(&lock, &mut out);
    write(&lock, &mut out);
    out
}

impl Outcome {
    fn add(&mut self, found: &Self) {
        self.hangs += found.hangs;
        self.torn += found.torn;
    }
}

/// Whether a writer and a reader get in at once, and whether a death was reported to each of them.
fn is_free(lock: &Shared) -> (bool, bool) {
    let told = lock.is_poisoned();
    let goes = |outcome: Result<(), LockError<()>>| matches!(outcome, Ok(()) | Err(LockError::Poisoned(())));
    let writes = goes(lock.try_write().map(drop).map_err(LockError::discard));
    let told = told || lock.is_poisoned();
    let reads = goes(lock.try_read().map(drop).map_err(LockError::discard));
    lock.clear_poison();
    (writes && reads, told)
}

fn every_point_of_read(_: u32) -> Outcome {
    let lock = make();
    at_every_point(|| {}, || drop(lock.read().unwrap()), |_| is_free(&lock) == (true, false))
}

fn every_point_of_write(_: u32) -> Outcome {
    let lock = make();
    at_every_point(
        || {},
        || lock.write().unwrap()[0] = 1,
        |survived| {
            let (is_free, told) = is_free(&lock);
            is_free && !(survived && told)
        },
    )
}

/// A reader leaves while a writer waits, and dies at each point of leaving: the writer gets in.
fn every_point_of_leaving(_: u32) -> Outcome {
    let lock = make();
    let waiting = Cell::new(None);
    let (held, writer_id) = (RawValue::new(false).unwrap(), RawValue::new(0_u32).unwrap());
    at_every_point_with(
        || {
            held.store(false);
            let child = spawn(|| {
                eventually("the victim reads", || held.load());
                drop(lock.write_timeout(HANG).unwrap());
            });
            writer_id.store(child.id());
            waiting.set(Some(child));
        },
        || {
            let guard = lock.read().unwrap();
            held.store(true);
            eventually("the writer sleeps", || is_asleep(writer_id.load()));
            guard
        },
        drop,
        |_| ended(&waiting.take().unwrap()) == Ended::Exited(0) && is_free(&lock) == (true, false),
    )
}

/// The process that takes over from a dead writer dies as well, at every point.
fn every_point_of_taking_over(_: u32) -> Outcome {
    let lock = make();
    at_every_point(
        || {
            lock.clear_poison();
            kill(&holder(|| lock.write().map_err(|_| ()).unwrap()));
        },
        || drop(lock.read().map_err(LockError::into_poisoned)),
        |_| is_free(&lock) == (true, true),
    )
}

define_cells! {
    READER: "rwlock", "reader", reader;
    WRITER: "rwlock", "writer", writer;
    WAITING_WRITER: "rwlock", "waiting_writer", waiting_writer;
    WAITING_READER: "rwlock", "waiting_reader", waiting_reader;
    JUST_WOKEN: "rwlock", "just_woken", just_woken;
    MID_USE: "rwlock", "mid_use", mid_use;
    EVERY_POINT_OF_READ: "rwlock", "every_point_of_read", every_point_of_read;
    EVERY_POINT_OF_WRITE: "rwlock", "every_point_of_write", every_point_of_write;
    EVERY_POINT_OF_LEAVING: "rwlock", "every_point_of_leaving", every_point_of_leaving;
    EVERY_POINT_OF_TAKING_OVER: "rwlock", "every_point_of_taking_over", every_point_of_taking_over;
}
