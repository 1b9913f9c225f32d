//! Processes are killed while others want the same lock all the time: as they are woken, overtaken, unlock, and at each
//! counted point.
//!
//! - *overtaken*: a holder unlocks, which wakes a waiter, and locks again before that waiter has run. The waiter is
//!   killed, and the holder unlocks once more. The next waiter must get the lock; with a lock that forgets it, it
//!   sleeps for ever.
//! - *every point, random moments*: a victim and two others use the same lock as fast as they can, on one CPU and on
//!   all. The victim dies at its first counted point, at its second, …, or at any moment; the others must go on.

pub(crate) mod operations;

use mp::{Array, Condition, Lock, LockError, Queue, RLock, RawArray, RawValue, Value};
use mp_sys::child::ChildProcess;
use mp_sys::crash;
use mp_sys::deadline::{Deadline, now_nanos};
use mp_sys::testing::{Random, eventually, kill, never_interrupt_others, spawn};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::cell::{HANG, Outcome, define_cells, is_asleep};

/// What several processes do repeatedly with one object.
trait Contended {
    fn make() -> Self;
    /// Operates once, and calls `hold` under the lock if the object lends it out.
    fn operate(&self, hold: impl FnOnce());
    /// Operates once without filling or draining the object: the operation of those that are not killed.
    fn go_on(&self) {
        self.operate(|| {});
    }
}

/// Runs the body under a guard that may be poisoned; other cells test the poison.
fn under<G>(taken: Result<G, LockError<G>>, clear: impl FnOnce(), hold: impl FnOnce()) {
    match taken {
        Ok(guard) => {
            hold();
            drop(guard);
        }
        Err(LockError::Poisoned(guard)) => {
            clear();
            hold();
            drop(guard);
        }
        Err(other) => panic!("{other}"),
    }
}

macro_rules! contended {
    ($($object:ty: $make:expr;)*) => {$(
        impl Contended for $object {
            fn make() -> Self {
                $make.unwrap()
            }

            fn operate(&self, hold: impl FnOnce()) {
                under(self.lock(), || self.clear_poison(), hold);
            }
        }
    )*};
}

contended! {
    Lock: Lock::new();
    RLock: RLock::new();
    Value<[u64; 2]>: Value::new([0; 2]);
    Array<u64>: Array::zeroed(8);
}

/// A condition with its lock: every process notifies, and none waits.
struct Notified(Value<u64>, Condition);

impl Contended for Notified {
    fn make() -> Self {
        Self(Value::new(0).unwrap(), Condition::new().unwrap())
    }

    fn operate(&self, hold: impl FnOnce()) {
        under(
            self.0.lock(),
            || self.0.clear_poison(),
            || {
                hold();
                self.1.notify(1);
            },
        );
    }
}

/// A queue whose victim puts.
struct Put(Queue<u64>);
/// A queue whose victim gets.
struct Get(Queue<u64>);

fn put_and_get(queue: &Queue<u64>) {
    queue.put(&1).unwrap();
    // A victim may have taken the item.
    let _item = queue.try_get();
}

impl Contended for Put {
    fn make() -> Self {
        Self(Queue::new().unwrap())
    }

    fn operate(&self, hold: impl FnOnce()) {
        hold();
        self.0.put(&2).unwrap();
    }

    fn go_on(&self) {
        put_and_get(&self.0);
    }
}

impl Contended for Get {
    fn make() -> Self {
        Self(Queue::new().unwrap())
    }

    fn operate(&self, hold: impl FnOnce()) {
        hold();
        let _item = self.0.try_get();
    }

    fn go_on(&self) {
        put_and_get(&self.0);
    }
}

/// Keeps the calling process on one CPU.
fn stay_on_one_cpu() {
    let all = sched_getaffinity(None).unwrap();
    let first = (0..CpuSet::MAX_CPU).find(|&cpu| all.is_set(cpu)).unwrap();
    let mut one = CpuSet::new();
    one.set(first);
    sched_setaffinity(None, &one).unwrap();
}

/// The most tries to overtake one waiter. A woken waiter does not interrupt the holder, so a try only fails if the
/// holder's time on the CPU ends just then.
const TRIES: u32 = 20;

/// A woken waiter is overtaken and killed; the next one gets the lock.
fn overtaken<L: Contended>(kills: u32) -> Outcome {
    let all = sched_getaffinity(None).unwrap();
    stay_on_one_cpu();
    let mut out = Outcome::default();
    // It takes a while until a sleeping process is seen asleep. Fewer rounds than in other cells are enough, since each
    // one hits the exact moment.
    for _ in 0..kills.div_ceil(4) {
        let was_overtaken = (0..TRIES).any(|_| overtake::<L>(&mut out));
        assert!(was_overtaken, "no waiter of {TRIES} was overtaken on one CPU");
    }
    sched_setaffinity(None, &all).unwrap();
    out
}

/// Makes one try; returns whether the waiter was overtaken.
fn overtake<L: Contended>(out: &mut Outcome) -> bool {
    let lock = L::make();
    let inside = RawArray::<bool>::zeroed(2).unwrap();
    let wait = |index| {
        let (lock, inside) = (&lock, &inside);
        move || {
            never_interrupt_others();
            lock.operate(|| inside.set(index, true).unwrap());
        }
    };
    let mut waiters: Vec<ChildProcess> = Vec::new();
    lock.operate(|| {
        for index in 0..2 {
            let waiter = mp_sys::testing::spawn_holding(wait(index));
            eventually("the waiter sleeps", || is_asleep(waiter.id()));
            waiters.push(waiter);
        }
    });
    let overtaken = std::cell::Cell::new(false);
    lock.operate(|| {
        // The victim is gone before the unlock: the kernel finds its pending operation with a lock that another process
        // holds.
        kill(&waiters[0]);
        overtaken.set(!inside.get(0).unwrap());
    });
    let start = now_nanos();
    out.kills += 1;
    out.expect_end(&waiters[1]);
    if overtaken.get() {
        out.recoveries.push(now_nanos() - start);
    }
    overtaken.get()
}

/// The other processes of a crowd, which go on until they are killed, and count their rounds.
struct Others {
    rounds: RawArray<u64>,
    children: Vec<ChildProcess>,
}

/// The number of other processes.
const OTHERS: usize = 2;
/// Rounds that each of the others must complete after a death.
const ROUNDS: u64 = 4;

impl Others {
    fn start<C: Contended>(object: &C) -> Self {
        let rounds = RawArray::zeroed(OTHERS).unwrap();
        let children = (0..OTHERS).map(|index| {
            spawn(|| {
                loop {
                    object.go_on();
                    rounds.fetch_add(index, 1).unwrap();
                }
            })
        });
        let children = children.collect();
        Self { rounds, children }
    }

    /// Whether each of them goes on.
    fn go_on(&self) -> bool {
        let before = self.rounds.to_vec();
        let deadline = Deadline::after(HANG);
        loop {
            let all = self.rounds.to_vec().iter().zip(&before).all(|(now, before)| *now >= before + ROUNDS);
            if all || deadline.has_passed() {
                return all;
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        self.children.iter().for_each(kill);
    }
}

/// Runs the victim's own loop. It sometimes stays inside for a moment, so that the others fall asleep.
fn be_killed<C: Contended>(object: &C) -> ! {
    let mut random = Random::new();
    loop {
        object.operate(|| random.pause(20_000));
    }
}

/// Kills one victim after the other beside others that go on.
fn crowd<C: Contended>(
    kills: u32,
    one_cpu: bool,
    mut kill_one: impl FnMut(&C, u32, &mut Outcome),
) -> Outcome {
    let all = sched_getaffinity(None).unwrap();
    if one_cpu {
        stay_on_one_cpu();
    }
    let mut out = Outcome::default();
    let object = C::make();
    let others = Others::start(&object);
    for round in 0..kills {
        kill_one(&object, round, &mut out);
        out.kills += 1;
        let start = now_nanos();
        if !others.go_on() {
            out.hangs += 1;
            break;
        }
        out.recoveries.push(now_nanos() - start);
    }
    drop(others);
    sched_setaffinity(None, &all).unwrap();
    out
}

/// The points at which a victim dies, one after the other: more than it reaches in four operations, each with its wait.
const POINTS: u32 = 64;

fn every_point<C: Contended>(one_cpu: bool) -> Outcome {
    crowd::<C>(POINTS, one_cpu, |object, round, out| {
        let victim = spawn(|| {
            crash::die_at(u64::from(round) + 1);
            be_killed(object);
        });
        let ended = victim.wait(Deadline::after(HANG)).unwrap();
        if ended.is_none() {
            // The victim could not even reach its point.
            out.hangs += 1;
            kill(&victim);
        }
    })
}

fn any_moment<C: Contended>(kills: u32, one_cpu: bool) -> Outcome {
    let mut random = Random::new();
    crowd::<C>(kills, one_cpu, |object, _, _| {
        let runs = RawValue::new(false).unwrap();
        let victim = spawn(|| {
            runs.store(true);
            be_killed(object);
        });
        eventually("the victim runs", || runs.load());
        random.pause(200_000);
        kill(&victim);
    })
}

fn at_points<C: Contended>(_: u32) -> Outcome {
    both(every_point::<C>(true), every_point::<C>(false))
}

fn at_moments<C: Contended>(kills: u32) -> Outcome {
    both(any_moment::<C>(kills.div_ceil(2), true), any_moment::<C>(kills / 2, false))
}

fn both(mut one: Outcome, other: Outcome) -> Outcome {
    one.kills += other.kills;
    one.hangs += other.hangs;
    one.torn += other.torn;
    one.recoveries.extend(other.recoveries);
    one
}

define_cells! {
    LOCK_OVERTAKEN: "lock", "overtaken_and_killed", overtaken::<Lock>;
    RLOCK_OVERTAKEN: "rlock", "overtaken_and_killed", overtaken::<RLock>;
    VALUE_OVERTAKEN: "value", "overtaken_and_killed", overtaken::<Value<[u64; 2]>>;
    ARRAY_OVERTAKEN: "array", "overtaken_and_killed", overtaken::<Array<u64>>;
    CONDITION_OVERTAKEN: "condition", "overtaken_and_killed", overtaken::<Notified>;
    LOCK_POINTS: "lock", "every_point_in_a_crowd", at_points::<Lock>;
    RLOCK_POINTS: "rlock", "every_point_in_a_crowd", at_points::<RLock>;
    VALUE_POINTS: "value", "every_point_in_a_crowd", at_points::<Value<[u64; 2]>>;
    ARRAY_POINTS: "array", "every_point_in_a_crowd", at_points::<Array<u64>>;
    CONDITION_POINTS: "condition", "every_point_in_a_crowd", at_points::<Notified>;
    PUT_POINTS: "queue", "every_point_of_put_in_a_crowd", at_points::<Put>;
    GET_POINTS: "queue", "every_point_of_get_in_a_crowd", at_points::<Get>;
    LOCK_MOMENTS: "lock", "in_a_crowd", at_moments::<Lock>;
    RLOCK_MOMENTS: "rlock", "in_a_crowd", at_moments::<RLock>;
    VALUE_MOMENTS: "value", "in_a_crowd", at_moments::<Value<[u64; 2]>>;
    ARRAY_MOMENTS: "array", "in_a_crowd", at_moments::<Array<u64>>;
    CONDITION_MOMENTS: "condition", "in_a_crowd", at_moments::<Notified>;
    PUT_MOMENTS: "queue", "put_in_a_crowd", at_moments::<Put>;
    GET_MOMENTS: "queue", "get_in_a_crowd", at_moments::<Get>;
}
