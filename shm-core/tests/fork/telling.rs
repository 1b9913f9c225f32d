//! The user's code at unusual moments: in a subscriber of `tracing`, and while a thread ends.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering};

use mp_sys::testing::{Argument, FCNTL, refuse, skip, spawn, succeeded, tests};
use rustix::io::Errno;
use shm_core::{Array, Condition, Event, Lock, RLock, Semaphore, Value};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};

tests! {
    a_subscriber_may_make_objects_while_one_is_made,
    a_thread_that_ends_may_use_everything,
}

fn uses_everything() {
    let value = Value::new(1_u32).unwrap();
    value.update(|number| number + 1).unwrap();
    *value.lock().unwrap() += 1;
    assert_eq!(value.get().unwrap(), 3);
    let array = Array::from_slice(&[1_u8; 100]).unwrap();
    assert_eq!(array.to_vec().unwrap(), [1; 100]);
    let (lock, reentrant) = (Lock::new().unwrap(), RLock::new().unwrap());
    drop((lock.lock().unwrap(), reentrant.lock().unwrap(), reentrant.lock().unwrap()));
    let event = Event::new().unwrap();
    event.set();
    event.wait();
    drop(Semaphore::new(1).unwrap().acquire());
    Condition::new().unwrap().notify_all();
}

/// Uses objects at each event.
struct User;

static TOLD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static IS_TELLING: Cell<bool> = const { Cell::new(false) };
}

impl Subscriber for User {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        // What it does may emit events itself.
        if IS_TELLING.replace(true) {
            return;
        }
        uses_everything();
        TOLD.fetch_add(1, Ordering::Relaxed);
        IS_TELLING.set(false);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

const F_ADD_SEALS: u32 = 1033;

/// A chunk that cannot be sealed emits an event, and chunks are made under the arena's lock.
fn a_subscriber_may_make_objects_while_one_is_made() {
    let child = spawn(|| {
        tracing::subscriber::set_global_default(User).unwrap();
        let seals = [Argument::Is(1, F_ADD_SEALS)];
        refuse(FCNTL, &seals, Errno::PERM.raw_os_error()).unwrap_or_else(|why| skip(why));
        uses_everything();
        assert!(TOLD.load(Ordering::Relaxed) > 0, "nothing was told");
    });
    succeeded(&child);
}

/// Runs its closure when its thread ends.
struct AtTheEnd(Option<Box<dyn FnOnce()>>);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        if let Some(run) = self.0.take() {
            run();
        }
    }
}

thread_local! {
    static AT_THE_END: RefCell<AtTheEnd> = const { RefCell::new(AtTheEnd(None)) };
}

/// Thread-local values are dropped one after the other. Those of the library that were used last are dropped first.
fn a_thread_that_ends_may_use_everything() {
    let (done, is_done) = std::sync::mpsc::channel();
    let run = move || {
        AT_THE_END.set(AtTheEnd(Some(Box::new(move || {
            uses_everything();
            done.send(()).unwrap();
        }))));
        uses_everything();
    };
    let thread = std::thread::Builder::new().name("ends".to_owned()).spawn(run).unwrap();
    thread.join().unwrap();
    is_done.try_recv().unwrap();
}
