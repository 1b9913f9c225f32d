//! Proxies in the values of their manager, which keeps their objects alive, and in the results of children.

use mp::manager::{Array, Dict, JoinableQueue, List, Manager, Namespace, Queue, Value};
use mp::{Method, Process};
use mp_sys::deadline::Deadline;
use mp_sys::testing::{PATIENCE, tests};

use crate::travel::proxies::{COUNT, Objects};

tests! {
    proxies_in_a_list,
    proxies_in_a_dict,
    proxies_in_a_namespace,
    proxies_in_a_value,
    proxies_in_an_array,
    proxies_in_a_queue_of_the_manager,
    proxies_in_tasks_of_the_manager,
    stored_proxies_outlive_the_process_that_stored_them,
    proxies_in_results,
}

/// An object of a manager that stores values.
trait Store: Sized {
    /// Returns the store with this name, which is empty at first.
    fn of(manager: &Manager) -> Self;

    fn put(&self, objects: &Objects);

    /// Calls `look` with the objects inside.
    fn with(&self, look: fn(&Objects));
}

const STORE: &str = "store";

impl Store for List<Objects> {
    fn of(manager: &Manager) -> Self {
        manager.named(STORE).list().unwrap()
    }

    fn put(&self, objects: &Objects) {
        self.push(objects).unwrap();
    }

    fn with(&self, look: fn(&Objects)) {
        look(&self.get(0).unwrap());
    }
}

impl Store for Dict<u8, Objects> {
    fn of(manager: &Manager) -> Self {
        manager.named(STORE).dict().unwrap()
    }

    fn put(&self, objects: &Objects) {
        self.insert(&1, objects).unwrap();
    }

    fn with(&self, look: fn(&Objects)) {
        look(&self.get(&1).unwrap().unwrap());
    }
}

impl Store for Namespace {
    fn of(manager: &Manager) -> Self {
        manager.named(STORE).namespace().unwrap()
    }

    fn put(&self, objects: &Objects) {
        self.set("all", objects).unwrap();
    }

    fn with(&self, look: fn(&Objects)) {
        look(&self.get("all").unwrap());
    }
}

impl Store for Value<Option<Objects>> {
    fn of(manager: &Manager) -> Self {
        manager.named(STORE).value(&None).unwrap()
    }

    fn put(&self, objects: &Objects) {
        self.set(&Some(objects.clone())).unwrap();
    }

    fn with(&self, look: fn(&Objects)) {
        look(&self.get().unwrap().unwrap());
    }
}

impl Store for Array<Option<Objects>> {
    fn of(manager: &Manager) -> Self {
        manager.named(STORE).array([&None]).unwrap()
    }

    fn put(&self, objects: &Objects) {
        self.set(0, &Some(objects.clone())).unwrap();
    }

    fn with(&self, look: fn(&Objects)) {
        look(&self.get(0).unwrap().unwrap());
    }
}

impl Store for Queue<Objects> {
    fn of(manager: &Manager) -> Self {
        manager.named(STORE).queue().unwrap()
    }

    fn put(&self, objects: &Objects) {
        Self::put(self, objects).unwrap();
    }

    fn with(&self, look: fn(&Objects)) {
        look(&self.get_timeout(PATIENCE).unwrap());
    }
}

impl Store for JoinableQueue<Objects> {
    fn of(manager: &Manager) -> Self {
        manager.named(STORE).joinable_queue().unwrap()
    }

    fn put(&self, objects: &Objects) {
        Self::put(self, objects).unwrap();
    }

    fn with(&self, look: fn(&Objects)) {
        // A task that is requeued keeps what is in it.
        drop(self.get_timeout(PATIENCE).unwrap());
        let task = self.get_timeout(PATIENCE).unwrap();
        assert_eq!(task.deliveries(), 2);
        look(&task);
        task.done().unwrap();
    }
}

/// A worker that knows the address of the manager, and a name.
fn take_out<S: Store>(address: String) {
    S::of(&Manager::connect(&address).unwrap()).with(Objects::use_each);
}

/// Another process and this one use what is in the store. When no process has it any more, it ends.
fn in_a<S: Store>() {
    let manager = Manager::start().unwrap();
    let objects = Objects::new(&manager);
    let store = S::of(&manager);
    store.put(&objects);
    let child = mp::spawn(take_out::<S>, manager.address().unwrap()).unwrap();
    objects.look_at_each();
    child.join().unwrap();
    objects.look_at_what_is_left();
    drop((objects, store));
    manager.remove(STORE).unwrap();
    manager.remove("made there").unwrap();
    ends_with(&manager, 0);
    manager.shutdown().unwrap();
}

/// Waits until the manager has this many objects: those of an ended process disappear a moment later.
fn ends_with(manager: &Manager, objects: u64) {
    let deadline = Deadline::after(PATIENCE);
    while manager.info().unwrap().objects != objects {
        assert!(!deadline.has_passed(), "{:?}", manager.info());
    }
}

fn proxies_in_a_list() {
    in_a::<List<Objects>>();
}

fn proxies_in_a_dict() {
    in_a::<Dict<u8, Objects>>();
}

fn proxies_in_a_namespace() {
    in_a::<Namespace>();
}

fn proxies_in_a_value() {
    in_a::<Value<Option<Objects>>>();
}

fn proxies_in_an_array() {
    in_a::<Array<Option<Objects>>>();
}

fn proxies_in_a_queue_of_the_manager() {
    in_a::<Queue<Objects>>();
}

fn proxies_in_tasks_of_the_manager() {
    in_a::<JoinableQueue<Objects>>();
}

fn stored_proxies_outlive_the_process_that_stored_them() {
    let manager = Manager::start().unwrap();
    let list: List<Objects> = manager.list().unwrap();
    let child = mp::fork(|| list.push(&Objects::new(&manager)).unwrap()).unwrap();
    child.join().unwrap();
    ends_with(&manager, 1 + COUNT);
    let child = mp::fork(|| list.get(0).unwrap().use_each()).unwrap();
    list.get(0).unwrap().look_at_each();
    child.join().unwrap();
    list.clear().unwrap();
    ends_with(&manager, 2);
    assert_eq!(manager.names().unwrap(), ["made there"]);
    drop(list);
    manager.shutdown().unwrap();
}

fn proxies_in_results() {
    for method in [Method::Fork, Method::Spawn, Method::ForkServer] {
        let manager = Manager::start().unwrap();
        let make = |manager: Manager| Objects::new(&manager);
        let maker = Process::new().method(method).start(make, &manager).unwrap();
        // The child has ended, so only its result still holds them.
        let objects = maker.join().unwrap();
        assert_eq!(manager.info().unwrap().objects, COUNT);
        let child = mp::fork(|| objects.use_each()).unwrap();
        objects.look_at_each();
        child.join().unwrap();
        objects.look_at_what_is_left();
        drop(objects);
        manager.shutdown().unwrap();
    }
}
