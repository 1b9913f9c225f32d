//! Conditions: processes are killed while they wait, right after they were notified, and at every point of waiting and
//! notifying.

use std::time::Duration;

use mp::{Condition, Lock, LockError, RawValue, Value, WaitError};
use mp_sys::child::{ChildProcess, Ended};
use mp_sys::deadline::Deadline;
use mp_sys::testing::{Random, ended, eventually, hang, is_in_state, kill};

use crate::cell::{HANG, Outcome, define_cells, spawn};
use crate::points::at_every_point;

/// Several slices: by then, a waiting process has looked for the dead.
const LOOKS: Duration = Duration::from_millis(150);
const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;

/// A lock, a condition, and the number of woken waiters.
struct Scene {
    lock: Lock,
    condition: Condition,
    woken: RawValue<u32>,
}

impl Scene {
    fn new() -> Self {
        Self {
            lock: Lock::new().unwrap(),
            condition: Condition::new().unwrap(),
            woken: RawValue::new(0).unwrap(),
        }
    }

    /// Waits for one notification.
    fn wait(&self) {
        let guard = self.lock.lock().unwrap_or_else(|error| error.into_poisoned().unwrap());
        let (notified, _guard) = match self.condition.wait_timeout(guard, HANG) {
            Ok(woken) => woken,
            // A victim died while it held the lock. The error reports that, and this waiter was woken anyway.
            Err(WaitError::Lock(error)) => (true, error.into_poisoned().unwrap()),
            Err(other) => panic!("{other}"),
        };
        assert!(notified, "the notification came");
        self.woken.fetch_add(1);
    }

    /// Starts a process that waits for one notification; returns once it waits.
    fn waiter(&self) -> ChildProcess {
        let before = self.condition.n_waiting();
        let waiter = spawn(|| self.wait());
        eventually("it waits", || self.condition.n_waiting() > before);
        waiter
    }
}

/// The first waiter dies; the notification passes on to the second one.
fn waiter(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    for _ in 0..kills {
        let scene = Scene::new();
        let (victim, survivor) = (scene.waiter(), scene.waiter());
        kill(&victim);
        out.recover(&victim, || scene.condition.notify(1));
        out.recoveries.pop();
        out.expect_end(&survivor);
    }
    out
}

/// The first waiter dies as it wakes up: the second one gets what the first did not take.
fn just_woken(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    for _ in 0..kills {
        let stock = Value::new(0_u32).unwrap();
        let delivered = Condition::new().unwrap();
        let taken = RawValue::new(0_u32).unwrap();
        let consume = || {
            let waits = |stock: &mut u32| *stock == 0;
            let woken = delivered.wait_timeout_while(stock.lock().unwrap(), HANG, waits);
            let (is_there, mut guard) = match woken {
                Ok(woken) => woken,
                Err(WaitError::Lock(LockError::Poisoned(guard))) => (*guard > 0, guard),
                Err(other) => panic!("{other}"),
            };
            assert!(is_there, "the delivered item was found");
            *guard -= 1;
            taken.fetch_add(1);
        };
        let victim = spawn(consume);
        eventually("the first one waits", || delivered.n_waiting() == 1);
        let survivor = spawn(consume);
        eventually("both wait", || delivered.n_waiting() == 2);
        random.pause(50_000);
        *stock.lock().unwrap() += 1;
        delivered.notify(1);
        random.pause(30_000);
        kill(&victim);
        out.kills += 1;
        // What the victim took is replaced. Otherwise, the survivor must find what is there by itself.
        let left = stock.lock().unwrap_or_else(|error| error.into_poisoned().unwrap());
        stock.clear_poison();
        let is_gone =
            *left == 0 && taken.load() < 2 && survivor.wait(Deadline::after(Duration::ZERO)) == Ok(None);
        drop(left);
        if is_gone {
            *stock.lock().unwrap_or_else(|error| error.into_poisoned().unwrap()) += 1;
            delivered.notify(1);
        }
        out.expect_end(&survivor);
    }
    out
}

/// The notifier dies around its notification. The notification was sent or not, and the next one wakes the waiters.
fn notifier(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    for _ in 0..kills {
        let scene = Scene::new();
        let waiters = [scene.waiter(), scene.waiter()];
        let (begun, done) = (RawValue::new(false).unwrap(), RawValue::new(false).unwrap());
        let victim = spawn(|| {
            let _guard = scene.lock.lock().unwrap();
            begun.store(true);
            scene.condition.notify(1);
            done.store(true);
            hang();
        });
        eventually("the victim notifies", || begun.load());
        random.pause(5_000);
        kill(&victim);
        out.kills += 1;
        let left = scene.condition.n_waiting();
        out.lost += u32::from(done.load() && left != 1);
        out.duplicated += u32::from(left == 0);
        scene.condition.notify_all();
        waiters.iter().for_each(|waiter| out.expect_end(waiter));
    }
    out
}

/// The process that passes on the notification of a dead one dies as well, at every point: the intended waiter gets the
/// notification.
fn every_point_of_passing_on(_: u32) -> Outcome {
    let scene = Scene::new();
    let next = std::cell::Cell::new(None);
    at_every_point(
        || {
            scene.lock.clear_poison();
            let (first, second) = (scene.waiter(), scene.waiter());
            kill(&first);
            // Otherwise, it would look for the dead by itself, and sooner.
            second.signal(SIGSTOP).unwrap();
            eventually("the second one is stopped", || is_in_state(second.id(), 'T'));
            assert_eq!(scene.condition.notify(1), 1, "the dead waiter is chosen");
            next.set(Some(second));
        },
        || {
            let guard = scene.lock.lock().unwrap_or_else(|error| error.into_poisoned().unwrap());
            let (notified, _guard) = scene.condition.wait_timeout(guard, LOOKS).unwrap();
            assert!(!notified, "this waiter came later");
        },
        |_| {
            let next = next.take().unwrap();
            next.signal(SIGCONT).unwrap();
            ended(&next) == Ended::Exited(0)
        },
    )
}

/// A process that dies at any point of being woken leaves a condition that works, and the next notification wakes the
/// waiters.
fn every_point_of_waking(_: u32) -> Outcome {
    let scene = Scene::new();
    let is_over = RawValue::new(false).unwrap();
    let others = std::cell::Cell::new(None);
    let waiting = |count| scene.condition.n_waiting() == count || is_over.load();
    at_every_point(
        || {
            scene.lock.clear_poison();
            is_over.store(false);
            let second = spawn(|| {
                eventually("the victim waits", || waiting(1));
                scene.wait();
            });
            let notifier = spawn(|| {
                eventually("both wait", || waiting(2));
                scene.condition.notify(1);
            });
            others.set(Some((second, notifier)));
        },
        || scene.wait(),
        |_| {
            is_over.store(true);
            let (second, notifier) = others.take().unwrap();
            eventually("the second one is woken", || {
                scene.condition.notify_all();
                second.wait(Deadline::after(Duration::ZERO)) != Ok(None)
            });
            ended(&second) == Ended::Exited(0) && ended(&notifier) == Ended::Exited(0)
        },
    )
}

/// A process that dies at any point of waiting leaves a condition that works.
fn every_point_of_wait(_: u32) -> Outcome {
    let scene = Scene::new();
    let wait = || {
        let guard = scene.lock.lock().unwrap_or_else(|error| error.into_poisoned().unwrap());
        drop(scene.condition.wait_timeout(guard, Duration::from_millis(1)));
    };
    at_every_point(
        || scene.lock.clear_poison(),
        wait,
        |_| {
            scene.lock.clear_poison();
            let next = scene.waiter();
            scene.condition.notify(1);
            ended(&next) == Ended::Exited(0)
        },
    )
}

/// A process that dies at any point of notifying has notified one waiter or none, and the next notification works.
fn every_point_of_notify(_: u32) -> Outcome {
    let scene = Scene::new();
    let waiters = std::cell::RefCell::new(Vec::new());
    at_every_point(
        || waiters.borrow_mut().push(scene.waiter()),
        || {
            scene.condition.notify(1);
        },
        |_| {
            scene.condition.notify_all();
            waiters.take().iter().all(|waiter| ended(waiter) == Ended::Exited(0))
        },
    )
}

define_cells! {
    WAITER: "condition", "waiter", waiter;
    NOTIFIER: "condition", "notifier", notifier;
    JUST_WOKEN: "condition", "just_woken", just_woken;
    EVERY_POINT_OF_WAIT: "condition", "every_point_of_wait", every_point_of_wait;
    EVERY_POINT_OF_WAKING: "condition", "every_point_of_waking", every_point_of_waking;
    EVERY_POINT_OF_PASSING_ON: "condition", "every_point_of_passing_on", every_point_of_passing_on;
    EVERY_POINT_OF_NOTIFY: "condition", "every_point_of_notify", every_point_of_notify;
}
