//! Models of [`Places`]: exactly one waiter uses a notification, and none is lost, whichever process times out or dies.
//!
//! A waiter that sleeps for ever is a deadlock, which `loom` reports, because nothing sleeps in slices here.
#![expect(clippy::unwrap_used, reason = "a model fails by a panic")]

mod leaving;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use loom::sync::Mutex;
use loom::thread::{JoinHandle, spawn};
use mp_sys::adaptive::Budget;
use mp_sys::cells::{WaiterPlace, WaitersHead};
use mp_sys::deadline::Deadline;
use mp_sys::word::{Modelled, Word64};

use crate::sync::condition::places::{Places, Woken};
use crate::sync::dead::modelled::{Mortal, at_every_point};

/// Stamps. The processes of a model are threads of one.
const FIRST: u64 = 11;
const SECOND: u64 = 12;
const DEAD: u64 = 13;
const LOOKER: u64 = 14;

/// A condition with room for three waiters, and the user's lock with its data.
#[derive(Debug, Default)]
struct Model {
    head: WaitersHead<Modelled>,
    waiting: [WaiterPlace<Modelled>; 3],
    stock: Mutex<u32>,
    witness: Mortal,
}

impl Model {
    fn places(&self) -> Places<'_, Modelled> {
        Places { head: &self.head, places: &self.waiting }
    }

    fn take(&self, own: u64) -> &WaiterPlace<Modelled> {
        self.places().take(own, 0, &self.witness).unwrap().1
    }

    /// Waits at a place, leaves it, and returns how the wait ended. The models look for dead processes themselves.
    fn wait_at(&self, place: &WaiterPlace<Modelled>, own: u64, deadline: Deadline) -> Woken {
        let woken = self.wait_there(place, own, deadline);
        self.places().leave(place, woken);
        woken
    }

    fn wait_there(&self, place: &WaiterPlace<Modelled>, own: u64, deadline: Deadline) -> Woken {
        let places = self.places();
        let until = (&Budget::new(), deadline);
        places.wait_at((place, own), &mut places.sleeper(place), false, until, &self.witness)
    }

    /// Takes one from the stock, waiting as `Condition::wait_while` does.
    fn consume(&self, own: u64) {
        let mut stock = self.stock.lock().unwrap();
        while *stock == 0 {
            let place = self.take(own);
            drop(stock);
            let woken = self.wait_there(place, own, Deadline::NEVER);
            assert_eq!(woken, Woken::Notified);
            stock = self.stock.lock().unwrap();
            self.places().leave(place, woken);
        }
        *stock -= 1;
    }

    /// Adds to the stock, and notifies as many waiters.
    fn produce(&self, count: u32) {
        *self.stock.lock().unwrap() += count;
        self.places().notify(usize::try_from(count).unwrap());
    }
}

/// A waiter that already has its place, and waits in its own thread.
fn waiter(model: &Arc<Model>, at: usize, own: u64, deadline: Deadline) -> JoinHandle<Woken> {
    let model = Arc::clone(model);
    spawn(move || model.wait_at(&model.waiting[at], own, deadline))
}

fn passed() -> Deadline {
    Deadline::after(Duration::ZERO)
}

/// `notify(1)` with two waiters reaches only the one that came first.
#[test]
fn one_notification_reaches_the_first_of_two() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        model.take(FIRST);
        model.take(SECOND);
        let first = waiter(&model, 0, FIRST, Deadline::NEVER);
        let second = waiter(&model, 1, SECOND, passed());
        assert_eq!(model.places().notify(1), 1);
        assert_eq!(first.join().unwrap(), Woken::Notified);
        assert_eq!(second.join().unwrap(), Woken::TimedOut);
    });
}

/// Two notifiers, two waiters: each waiter gets one notification.
#[test]
fn two_notifiers_reach_two_waiters() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        model.take(FIRST);
        model.take(SECOND);
        let first = waiter(&model, 0, FIRST, Deadline::NEVER);
        let second = waiter(&model, 1, SECOND, Deadline::NEVER);
        let other = {
            let model = Arc::clone(&model);
            spawn(move || assert_eq!(model.places().notify(1), 1))
        };
        assert_eq!(model.places().notify(1), 1);
        other.join().unwrap();
        assert_eq!(first.join().unwrap(), Woken::Notified);
        assert_eq!(second.join().unwrap(), Woken::Notified);
    });
}

/// A waiter that found nothing under the lock gets the notification of a change after it released the lock.
#[test]
fn no_notification_is_lost_against_the_release_of_the_lock() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        let consumer = {
            let model = Arc::clone(&model);
            spawn(move || model.consume(FIRST))
        };
        model.produce(1);
        consumer.join().unwrap();
        assert_eq!(model.places().n_waiting(), 0);
    });
}

/// Two consumers and a producer of two items: each consumer gets one.
#[test]
fn two_consumers_get_one_each() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        let consumers = [FIRST, SECOND].map(|own| {
            let model = Arc::clone(&model);
            spawn(move || model.consume(own))
        });
        model.produce(1);
        model.produce(1);
        consumers.into_iter().for_each(|consumer| consumer.join().unwrap());
    });
}

/// A waiter whose time is up either leaves or uses the notification: never both, never neither.
#[test]
fn a_timeout_races_with_a_notification() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        model.take(FIRST);
        let waiter = waiter(&model, 0, FIRST, passed());
        let chosen = model.places().notify(1);
        assert_eq!(chosen, usize::from(waiter.join().unwrap() == Woken::Notified));
    });
}

/// A notification that comes too late for the first of two waiters reaches the second one.
#[test]
fn a_notification_beside_a_timeout_reaches_the_other_one() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        model.take(FIRST);
        model.take(SECOND);
        let first = waiter(&model, 0, FIRST, passed());
        let second = waiter(&model, 1, SECOND, Deadline::NEVER);
        assert_eq!(model.places().notify(1), 1);
        if first.join().unwrap() == Woken::Notified {
            assert_eq!(model.places().notify(1), 1);
        }
        assert_eq!(second.join().unwrap(), Woken::Notified);
    });
}

/// An earlier notification does not reach a later waiter, even if that has the place of an earlier one.
#[test]
fn a_late_comer_in_an_old_place_is_not_chosen() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        let place = model.take(FIRST);
        let notifier = {
            let model = Arc::clone(&model);
            spawn(move || model.places().notify_until(1, 1))
        };
        let first = model.wait_at(place, FIRST, passed());
        let place = model.take(FIRST);
        let chosen = notifier.join().unwrap();
        let second = model.wait_at(place, FIRST, passed());
        assert_eq!(second, Woken::TimedOut);
        assert_eq!(chosen, usize::from(first == Woken::Notified));
    });
}

/// The first of two waiters is dead. A notification and a look for dead processes happen at the same time: the notification
/// reaches the second waiter.
#[test]
fn a_notification_for_a_dead_process_reaches_another_one() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        model.take(DEAD);
        model.take(SECOND);
        model.witness.die(DEAD);
        let second = waiter(&model, 1, SECOND, Deadline::NEVER);
        let looker = {
            let model = Arc::clone(&model);
            spawn(move || model.places().clear_those_of_the_dead(LOOKER, &model.witness))
        };
        assert_eq!(model.places().notify(1), 1);
        looker.join().unwrap();
        // A waiter looks again after a slice.
        model.places().clear_those_of_the_dead(FIRST, &model.witness);
        assert_eq!(second.join().unwrap(), Woken::Notified);
    });
}

/// A process dies with its notification, and two look for dead processes: one of them passes it on, to one of the two
/// waiters.
#[test]
fn a_notification_is_passed_on_once() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        model.take(DEAD);
        model.take(FIRST);
        model.take(SECOND);
        assert_eq!(model.places().notify(1), 1);
        model.witness.die(DEAD);
        let look = |model: &Model, own| model.places().clear_those_of_the_dead(own, &model.witness);
        let other = {
            let model = Arc::clone(&model);
            spawn(move || look(&model, LOOKER))
        };
        look(&model, FIRST);
        other.join().unwrap();
        assert_eq!(model.waiting[0].owner.load(Ordering::SeqCst), 0, "the place is free");
        assert_eq!(model.wait_at(&model.waiting[1], FIRST, passed()), Woken::Notified);
        assert_eq!(model.wait_at(&model.waiting[2], SECOND, passed()), Woken::TimedOut);
    });
}

/// Two notifiers choose the same process, which dies. A process that waited when the notification was sent gets it, whichever
/// of the two notifiers won.
#[test]
fn the_newer_of_two_notifiers_decides_who_may_get_what_is_passed_on() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        model.take(DEAD);
        model.take(SECOND);
        // The other notifier began before the second waiter came.
        let older = {
            let model = Arc::clone(&model);
            spawn(move || model.places().notify_until(1, 1))
        };
        let newer = model.places().notify(1);
        let given = newer + older.join().unwrap();
        model.witness.die(DEAD);
        model.places().clear_those_of_the_dead(LOOKER, &model.witness);
        let second = model.wait_at(&model.waiting[1], SECOND, passed());
        assert_eq!(second, Woken::Notified, "{given} given, one of them by the newer notifier");
    });
}

/// A waiter takes the place of a dead process at the moment at which it becomes free: the process that freed the place does
/// not end the new wait.
#[test]
fn a_place_that_becomes_free_can_be_taken_at_once() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        model.take(DEAD);
        model.take(FIRST);
        model.take(FIRST);
        model.witness.die(DEAD);
        let looker = {
            let model = Arc::clone(&model);
            spawn(move || model.places().clear_those_of_the_dead(LOOKER, &model.witness))
        };
        // All places are taken, so this frees one as well. The other process that looks may be freeing the same one.
        let Some((_, place)) = model.places().take(SECOND, 0, &model.witness) else {
            looker.join().unwrap();
            return;
        };
        assert_eq!(model.places().notify(3), 3);
        assert_eq!(model.wait_at(place, SECOND, passed()), Woken::Notified);
        looker.join().unwrap();
    });
}

/// The first of two waiters dies after any step of waking up and leaving. Unless it has used its notification, the
/// notification reaches the second one.
#[test]
fn a_waiter_that_dies_at_any_point_loses_no_notification() {
    at_every_point(|n, died| {
        let model = Arc::new(Model::default());
        model.take(DEAD);
        model.take(SECOND);
        let first = {
            let model = Arc::clone(&model);
            let died = Arc::clone(died);
            spawn(move || {
                let wait = || model.wait_at(&model.waiting[0], DEAD, Deadline::NEVER);
                model.witness.until((n, &died), DEAD, wait);
                // The word that the others find. The waiter stores idle after it has used its notification.
                model.waiting[0].signal.get() == 0
            })
        };
        assert_eq!(model.places().notify(1), 1);
        let used = first.join().unwrap();
        model.places().clear_those_of_the_dead(LOOKER, &model.witness);
        let second = model.wait_at(&model.waiting[1], SECOND, passed());
        assert_eq!(second == Woken::Notified, !used);
        assert_eq!(model.waiting[0].owner.load(Ordering::SeqCst), 0, "the place is free");
    });
}

/// A process that passes a notification on dies after any of its steps: the next one does it again, and the notification
/// reaches the waiter.
#[test]
fn a_looker_that_dies_at_any_point_is_followed_by_another() {
    at_every_point(|n, died| {
        let model = Arc::new(Model::default());
        model.take(FIRST);
        model.take(SECOND);
        assert_eq!(model.places().notify(1), 1);
        model.witness.die(FIRST);
        let looker = {
            let model = Arc::clone(&model);
            let died = Arc::clone(died);
            spawn(move || {
                let look = || model.places().clear_those_of_the_dead(DEAD, &model.witness);
                model.witness.until((n, &died), DEAD, look)
            })
        };
        let second = waiter(&model, 1, SECOND, Deadline::NEVER);
        looker.join().unwrap();
        // Both processes may be dead now.
        for dead in [FIRST, DEAD] {
            model.witness.die(dead);
            model.places().clear_those_of_the_dead(LOOKER, &model.witness);
        }
        assert_eq!(second.join().unwrap(), Woken::Notified);
        assert_eq!(model.waiting[0].owner.load(Ordering::SeqCst), 0, "the place is free");
    });
}

/// A notifier dies after any of its steps: it has notified some waiters, and the next notifier reaches the others.
#[test]
fn a_notifier_that_dies_at_any_point_leaves_no_waiter_behind() {
    at_every_point(|n, died| {
        let model = Arc::new(Model::default());
        model.take(FIRST);
        model.take(SECOND);
        let notifier = {
            let model = Arc::clone(&model);
            let died = Arc::clone(died);
            spawn(move || model.witness.until((n, &died), DEAD, || model.places().notify(2)))
        };
        let first = waiter(&model, 0, FIRST, Deadline::NEVER);
        let second = waiter(&model, 1, SECOND, Deadline::NEVER);
        notifier.join().unwrap();
        model.places().notify(2);
        assert_eq!(first.join().unwrap(), Woken::Notified);
        assert_eq!(second.join().unwrap(), Woken::Notified);
    });
}
