//! Models of [`Permits`]: a permit has one holder, none is lost, and no waiter sleeps while one is free.
//!
//! A waiter that sleeps for ever is a deadlock, which `loom` reports, because nothing sleeps in slices here.
#![expect(clippy::unwrap_used, reason = "a model fails by a panic")]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use loom::sync::atomic::AtomicUsize;
use loom::thread::{JoinHandle, spawn};
use mp_sys::adaptive::{Budget, Signal};
use mp_sys::deadline::Deadline;
use mp_sys::word::{Modelled, ModelledWord64, Word64};

use crate::sync::dead::modelled::{Mortal, at_every_point};
use crate::sync::semaphore::permits::{FREE, Permits, Taken};

/// Stamps. The processes of a model are threads of one.
const FIRST: u64 = 11;
const SECOND: u64 = 12;
const DEAD: u64 = 13;

/// A semaphore, and the number of permits that are held.
#[derive(Debug, Default)]
struct Model {
    signal: Signal<Modelled>,
    slots: [ModelledWord64; 2],
    held: AtomicUsize,
    witness: Mortal,
}

impl Model {
    /// Fills the slots with these words.
    fn with(words: [u64; 2]) -> Arc<Self> {
        let model = Self::default();
        for (slot, word) in model.slots.iter().zip(words) {
            slot.store(word, Ordering::Relaxed);
        }
        Arc::new(model)
    }

    fn permits(&self) -> Permits<'_, Modelled> {
        Permits { signal: &self.signal, slots: &self.slots }
    }

    fn acquire_until(&self, own: u64, deadline: Deadline) -> Option<usize> {
        self.permits().claim_until(own, 0, &Budget::new(), deadline, &self.witness)
    }

    /// Takes a permit and gives it back, and checks that there are never more holders than `permits`.
    fn use_one(&self, own: u64, permits: usize) {
        let at = self.acquire_until(own, Deadline::NEVER).unwrap();
        assert!(self.held.fetch_add(1, Ordering::Relaxed) < permits, "one permit, one holder");
        self.held.fetch_sub(1, Ordering::Relaxed);
        self.permits().give_back(at, own);
    }
}

fn user(model: &Arc<Model>, own: u64, permits: usize) -> JoinHandle<()> {
    let model = Arc::clone(model);
    spawn(move || model.use_one(own, permits))
}

fn passed() -> Deadline {
    Deadline::after(Duration::ZERO)
}

/// Two threads want the only permit: it passes from one to the other, and is free at the end.
#[test]
fn one_permit_goes_from_hand_to_hand() {
    loom::model(|| {
        let model = Model::with([FREE, 0]);
        let other = user(&model, FIRST, 1);
        model.use_one(SECOND, 1);
        other.join().unwrap();
        assert_eq!(model.permits().available(), 1);
    });
}

/// Three threads want two permits.
#[test]
fn two_permits_and_three_users() {
    loom::model(|| {
        let model = Model::with([FREE, FREE]);
        let others = [user(&model, FIRST, 2), user(&model, SECOND, 2)];
        model.use_one(DEAD, 2);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(model.permits().available(), 2);
    });
}

/// Two added permits reach both waiters.
#[test]
fn added_permits_reach_the_waiters() {
    loom::model(|| {
        let model = Model::with([0, 0]);
        let waiters = [FIRST, SECOND].map(|own| {
            let model = Arc::clone(&model);
            spawn(move || model.acquire_until(own, Deadline::NEVER).unwrap())
        });
        assert!(model.permits().add(2, DEAD));
        let [first, second] = waiters.map(|waiter| waiter.join().unwrap());
        assert_ne!(first, second);
        assert_eq!(model.permits().available(), 0);
    });
}

/// Two threads add one permit each where there is room for one: one of them succeeds.
#[test]
fn two_add_where_there_is_room_for_one() {
    loom::model(|| {
        let model = Model::with([SECOND, 0]);
        let other = {
            let model = Arc::clone(&model);
            spawn(move || model.permits().add(1, FIRST))
        };
        let mine = model.permits().add(1, SECOND);
        let added = usize::from(mine) + usize::from(other.join().unwrap());
        assert_eq!(added, 1);
        assert_eq!(model.permits().available(), 1);
    });
}

/// Adding two permits where there is room for one adds none, and nobody gets a permit that exists for a moment.
#[test]
fn an_add_that_fails_adds_nothing() {
    loom::model(|| {
        let model = Model::with([SECOND, 0]);
        let other = {
            let model = Arc::clone(&model);
            spawn(move || model.permits().claim(FIRST, 0))
        };
        assert!(!model.permits().add(2, DEAD));
        assert_eq!(other.join().unwrap(), None);
        assert_eq!(model.permits().available(), 0);
        assert!(model.permits().add(1, DEAD), "the room is there again");
    });
}

/// A permit is forgotten and dropped, while another thread of the same process, which has the same stamp, adds and takes it
/// again. The permit has one holder.
#[test]
fn the_drop_of_a_forgotten_permit_gives_nothing_back() {
    loom::model(|| {
        let model = Model::with([FIRST, SECOND]);
        let other = {
            let model = Arc::clone(&model);
            spawn(move || model.permits().add(1, FIRST) && model.permits().claim(FIRST, 0).is_some())
        };
        let mut forgotten = Taken::new(0, FIRST);
        forgotten.forget(&model.permits());
        // The other thread may do all of its work here, an order that `loom` does not try by itself.
        loom::thread::yield_now();
        forgotten.give_back(&model.permits());
        let is_held = other.join().unwrap();
        assert_eq!(model.permits().available(), 0);
        assert_eq!(model.slots[0].load(Ordering::Relaxed), if is_held { FIRST } else { 0 });
    });
}

/// The holder dies. One thread looks for dead processes while another one waits: the permit goes to the waiter, once.
#[test]
fn the_permit_of_a_dead_process_goes_to_a_waiter() {
    loom::model(|| {
        let model = Model::with([DEAD, 0]);
        let waiter = {
            let model = Arc::clone(&model);
            spawn(move || model.acquire_until(FIRST, Deadline::NEVER))
        };
        model.witness.die(DEAD);
        model.permits().free_those_of_the_dead(&model.witness);
        assert_eq!(waiter.join().unwrap(), Some(0));
        assert_eq!(model.permits().available(), 0);
    });
}

/// The holder dies, and two threads look and take at the same time: exactly one gets the permit.
#[test]
fn the_permit_of_a_dead_process_goes_to_one_of_two_lookers() {
    loom::model(|| {
        let model = Model::with([DEAD, 0]);
        model.witness.die(DEAD);
        let look_and_take = |model: &Model, own| {
            model.permits().free_those_of_the_dead(&model.witness);
            model.permits().claim(own, 0).is_some()
        };
        let other = {
            let model = Arc::clone(&model);
            spawn(move || look_and_take(&model, FIRST))
        };
        let mine = look_and_take(&model, SECOND);
        let taken = usize::from(mine) + usize::from(other.join().unwrap());
        assert_eq!(taken, 1);
        assert_eq!(model.permits().available(), 0);
    });
}

/// A timed wait ends while a permit is given back: the permit has a holder or is free.
#[test]
fn a_timeout_loses_no_permit() {
    loom::model(|| {
        let model = Model::with([SECOND, 0]);
        let waiter = {
            let model = Arc::clone(&model);
            spawn(move || model.acquire_until(FIRST, passed()))
        };
        model.permits().give_back(0, SECOND);
        let got = waiter.join().unwrap().is_some();
        assert_eq!(model.permits().available(), usize::from(!got));
    });
}

/// A process dies after any of its steps, next to another one: the permit is available to the next one, once.
#[test]
fn a_user_that_dies_at_any_point_takes_no_permit_along() {
    at_every_point(|n, died| {
        let model = Model::with([FREE, 0]);
        let user = {
            let model = Arc::clone(&model);
            let died = Arc::clone(died);
            spawn(move || model.witness.until((n, &died), DEAD, || model.use_one(DEAD, 1)))
        };
        if let Some(at) = model.acquire_until(FIRST, passed()) {
            assert_eq!(model.permits().available(), 0);
            model.permits().give_back(at, FIRST);
        }
        user.join().unwrap();
        assert_eq!(model.acquire_until(FIRST, passed()), Some(0));
        assert_eq!(model.permits().available(), 0);
    });
}

/// A process that adds two permits and dies after any of its steps has added some of them, and nobody else holds one.
#[test]
fn whoever_dies_while_adding_has_added_some() {
    at_every_point(|n, died| {
        let model = Model::with([0, 0]);
        let adder = {
            let model = Arc::clone(&model);
            let died = Arc::clone(died);
            spawn(move || model.witness.until((n, &died), DEAD, || model.permits().add(2, DEAD)))
        };
        let early = model.permits().claim(FIRST, 0);
        adder.join().unwrap();
        model.permits().free_those_of_the_dead(&model.witness);
        assert!(model.permits().available() + usize::from(early.is_some()) <= 2);
        assert!(model.slots.iter().all(|slot| slot.load(Ordering::Relaxed) != DEAD));
    });
}
