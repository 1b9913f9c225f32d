//! Tier 3: closures and traits that a proxy calls, while others use the same object of the same server.

use mp_sys::deadline::Deadline;

use mp::manager::{
    Array, Condition, Dict, JoinableQueue, List, Lock, Manager, Namespace, Queue, Semaphore, Value,
};

use crate::cell::{Beside, HANG, Outcome, contended, define_cells};
use crate::trap::{Item, Trap, iterated, spring};

define_cells! {
    "manager Value", "update(f)", || all(Trap::Closure, |all| _ = all.value.update(sprung).unwrap());
    "manager Array", "update(f)", || all(Trap::Closure, |all| _ = all.array.update(0, sprung).unwrap());
    "manager List", "update(f)", || all(Trap::Closure, |all| drop(all.list.update(0, |item| Item(sprung(item.0))).unwrap()));
    "manager List", "sort_by(f)", || all(Trap::Closure, |all| all.list.sort_by(|one, other| sprung(one.0).cmp(&other.0)).unwrap());
    "manager List", "sort(T: Ord)", || all(Trap::Compare, |all| all.list.sort().unwrap());
    "manager List", "set(T: Serialize)", || all(Trap::Serialize, |all| all.list.set(0, &Item(1)).unwrap());
    "manager List", "extend(Iterator)", || all(Trap::Next, |all| all.list.extend(iterated(&[Item(1), Item(2)])).unwrap());
    "manager List", "get(T: Deserialize)", || all(Trap::Deserialize, |all| drop(all.list.get(0).unwrap()));
    "manager List", "iter(T: Deserialize)", || all(Trap::Deserialize, |all| all.list.iter().for_each(drop));
    "manager Dict", "update(f)", || all(Trap::Closure, |all| drop(all.dict.update(&1, |value| Some(Item(sprung(value.map_or(0, |item| item.0))))).unwrap()));
    "manager Dict", "insert(V: Serialize)", || all(Trap::Serialize, |all| all.dict.insert(&1, &Item(1)).unwrap());
    "manager Dict", "get(V: Deserialize)", || all(Trap::Deserialize, |all| drop(all.dict.get(&1).unwrap()));
    "manager Dict", "extend(Iterator)", || all(Trap::Next, |all| all.dict.extend(iterated(&[Item(1), Item(2)]).map(|item| (&2, item))).unwrap());
    "manager Dict", "add_many(Iterator)", || all(Trap::Closure, |all| all.counts.add_many([(&1, 1), (&2, 1)].into_iter().inspect(|_| sprung(()))).unwrap());
    "manager Namespace", "set(T: Serialize)", || all(Trap::Serialize, |all| all.names.set("one", &Item(1)).unwrap());
    "manager Namespace", "get(T: Deserialize)", || all(Trap::Deserialize, |all| drop(all.names.get::<Item>("one").unwrap()));
    "manager Array", "write(Iterator)", || all(Trap::Closure, |all| all.array.write(0, [1, 2].iter().inspect(|_| sprung(()))).unwrap());
    "manager Queue", "put_many(Iterator)", || all(Trap::Next, through_queue_at_once);
    "manager JoinableQueue", "put_many(Iterator)", || all(Trap::Next, |all| all.tasks.put_many(iterated(&[Item(1), Item(2)])).unwrap());
    "manager Queue", "put(T: Serialize)", || all(Trap::Serialize, through_queue);
    "manager Queue", "get(T: Deserialize)", || all(Trap::Deserialize, through_queue);
    "manager JoinableQueue", "get(T: Deserialize)", || all(Trap::Deserialize, a_task);
    "manager JoinableQueue", "get(), a task in hand", || all(Trap::Closure, a_task);
    "manager Lock", "lock(), a guard in hand", || all(Trap::Closure, |all| drop((all.lock.lock(), sprung(0))));
    "manager Semaphore", "acquire(), a permit in hand", || all(Trap::Closure, |all| drop((all.semaphore.acquire(), sprung(0))));
    "manager Condition", "wait_while(f)", || all(Trap::Closure, wait_while);
    "manager", "pipeline(f)", || all(Trap::Closure, |all| drop(all.manager.pipeline(|batch| sprung(batch.on(&all.value).get())).unwrap()));
    "manager", "transaction(f)", || all(Trap::Closure, |all| _ = all.manager.transaction(|batch| sprung(batch.on(&all.value).get())).unwrap());
}

/// One object of each kind, in its own server.
struct All {
    manager: Manager,
    value: Value<u64>,
    array: Array<u64>,
    list: List<Item>,
    dict: Dict<u64, Item>,
    counts: Dict<u64, u64>,
    names: Namespace,
    queue: Queue<Item>,
    tasks: JoinableQueue<Item>,
    lock: Lock,
    semaphore: Semaphore,
    condition: Condition,
}

impl All {
    fn make() -> Self {
        let manager = Manager::start().unwrap();
        let dict = manager.dict().unwrap();
        dict.insert(&1, &Item(0)).unwrap();
        let names = manager.namespace().unwrap();
        names.set("one", &Item(0)).unwrap();
        let list = manager.list().unwrap();
        list.extend(&[Item(3), Item(2), Item(1)]).unwrap();
        let tasks = manager.joinable_queue_with(0, 1_000).unwrap();
        tasks.put_many(&[Item(1), Item(1), Item(1)]).unwrap();
        Self {
            value: manager.value(&0).unwrap(),
            array: manager.array(&[0, 0]).unwrap(),
            list,
            dict,
            counts: manager.dict().unwrap(),
            names,
            queue: manager.queue().unwrap(),
            tasks,
            lock: manager.lock().unwrap(),
            semaphore: manager.semaphore(1).unwrap(),
            condition: manager.condition().unwrap(),
            manager,
        }
    }

    /// What each contender does in a turn.
    fn turn(&self) -> bool {
        let values = self.value.update(|number| number + 1).is_ok()
            && self.array.update(0, |number| number + 1).is_ok()
            && self.list.update(0, |item| Item(item.0 + 1)).is_ok()
            && self.counts.fetch_add(&1, 1).is_ok()
            && self.names.set("one", &Item(2)).is_ok()
            && self.dict.update(&1, |item| Some(Item(item.map_or(0, |item| item.0) + 1))).is_ok();
        let queues = self.queue.put(&Item(1)).is_ok()
            && self.queue.get_timeout(HANG).is_ok()
            && self.tasks.put(&Item(1)).is_ok()
            && self.tasks.get_timeout(HANG).is_ok_and(|task| task.done().is_ok());
        let locks = self.lock.lock_timeout(HANG).is_ok()
            && self.semaphore.acquire_timeout(HANG).is_ok()
            && self.condition.notify_all().is_ok();
        values && queues && locks
    }

    /// Checks that everything works, nobody waits, and nothing is held: what a panic dropped has been released.
    fn works(&self) -> bool {
        while let Ok(task) = self.tasks.try_get() {
            drop(task.done());
        }
        let deadline = Deadline::after(HANG);
        while self.manager.info().is_ok_and(|info| info.waiters + info.held > 0) && !deadline.has_passed() {
            std::thread::yield_now();
        }
        let info = self.manager.info().unwrap();
        let is_idle = (info.waiters, info.held) == (0, 0) && self.tasks.unfinished() == Ok(0);
        let works = is_idle && self.tasks.put(&Item(1)).is_ok() && self.turn();
        if !works {
            eprintln!("{info:?}, {:?} tasks are unfinished", self.tasks.unfinished());
        }
        self.manager.shutdown().unwrap();
        works
    }
}

fn all(trap: Trap, entry: impl Fn(&All)) -> Outcome {
    contended(Beside::ProcessAndThread, All::make, All::turn, trap, entry, All::works)
}

/// Returns `value` after calling user code.
fn sprung<T>(value: T) -> T {
    (0..4).for_each(|_| spring(Trap::Closure));
    value
}

fn through_queue(all: &All) {
    all.queue.put(&Item(1)).unwrap();
    drop(all.queue.get_timeout(HANG).unwrap());
}

fn through_queue_at_once(all: &All) {
    all.queue.put_many(iterated(&[Item(1), Item(2)])).unwrap();
    (0..2).for_each(|_| drop(all.queue.get_timeout(HANG).unwrap()));
}

fn a_task(all: &All) {
    let _task = all.tasks.get_timeout(HANG).unwrap();
    sprung(());
}

fn wait_while(all: &All) {
    let held = all.lock.lock().unwrap();
    let waits = |_: &mut mp::manager::LockGuard<'_>| {
        spring(Trap::Closure);
        true
    };
    drop(all.condition.wait_while(held, waits).unwrap());
}
