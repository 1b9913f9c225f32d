//! Models of waiters that leave in the middle of a wait, and of the counts that notifiers return.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::thread::spawn;
use mp_sys::deadline::Deadline;
use mp_sys::word::Word64;

use super::{DEAD, FIRST, LOOKER, Model, SECOND, passed, waiter};
use crate::sync::condition::places::Woken;

/// The first of two waiters is dead. The notifier finds that at the same time as a process that looks: the second waiter is
/// notified, and the counted waiter was alive.
#[test]
fn a_notification_of_the_living_skips_the_dead() {
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
        let living = model.places().notify_living(1, FIRST, &model.witness);
        assert!(living <= 1);
        looker.join().unwrap();
        assert_eq!(second.join().unwrap(), Woken::Notified);
        assert_eq!(model.places().n_waiting(), 0);
    });
}

/// Two notifiers notify all waiters, of which one is dead: the living one is counted once, the dead one never, and its place
/// is free.
#[test]
fn a_notification_of_all_counts_the_living() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        model.take(FIRST);
        model.take(DEAD);
        model.witness.die(DEAD);
        let notify = |model: &Model, own| model.places().notify_living(usize::MAX, own, &model.witness);
        let other = {
            let model = Arc::clone(&model);
            spawn(move || notify(&model, SECOND))
        };
        let living = notify(&model, LOOKER) + other.join().unwrap();
        assert_eq!(living, 1);
        assert_eq!(model.wait_at(&model.waiting[0], FIRST, passed()), Woken::Notified);
        assert_eq!(model.waiting[1].owner.load(Ordering::SeqCst), 0, "the place is free");
    });
}

/// The first of two waiters gives up in the middle of its wait, as by a panic: a notification that it has received by then
/// reaches the second one.
#[test]
fn a_wait_that_is_abandoned_takes_no_notification_along() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        let place = model.take(FIRST);
        model.take(SECOND);
        let second = waiter(&model, 1, SECOND, Deadline::NEVER);
        let notifier = {
            let model = Arc::clone(&model);
            spawn(move || assert_eq!(model.places().notify(1), 1))
        };
        model.places().abandon(place);
        notifier.join().unwrap();
        assert_eq!(second.join().unwrap(), Woken::Notified);
        assert_eq!(model.waiting[0].owner.load(Ordering::SeqCst), 0, "the place is free");
    });
}
