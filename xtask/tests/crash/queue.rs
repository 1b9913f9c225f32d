//! Queues: producers and consumers killed at random moments.

use mp::{GetError, JoinableQueue, Queue, RawArray, RawValue};
use mp_sys::child::ChildProcess;
use mp_sys::deadline::Deadline;
use mp_sys::testing::{Random, eventually, hang, kill};

use crate::cell::{HANG, Outcome, define_cells, spawn};

/// The longest that a victim works before it is killed, in nanoseconds.
const MOMENT_MAX: u64 = 200_000;
/// The number of items that a victim finds.
const ITEMS: u64 = 5_000;

/// Takes all items, which count up from `first`; returns the number after the last one.
fn drain(out: &mut Outcome, queue: &Queue<u64>, first: u64) -> u64 {
    let mut next = first;
    loop {
        match queue.try_get() {
            Ok(number) => {
                out.lost += u32::from(number > next);
                out.duplicated += u32::from(number < next);
                next = number + 1;
            }
            Err(GetError::Empty) => return next,
            Err(error) => {
                eprintln!("a queue says: {error}");
                out.torn += 1;
                return next;
            }
        }
    }
}

/// Takes the oldest item if there is one. The lock of a dying process is free once a CPU has run its end, which takes longer than
/// `try_get` waits on a busy machine.
fn take_if_any(queue: &Queue<u64>) -> Result<u64, GetError> {
    let deadline = Deadline::after(HANG);
    loop {
        match queue.try_get() {
            Err(GetError::Lock(_)) if !deadline.has_passed() => {}
            outcome => return outcome,
        }
    }
}

/// Checks that another process can put and take.
fn is_live(out: &mut Outcome, queue: &Queue<u64>) {
    let other = spawn(|| {
        queue.put_timeout(&u64::MAX, HANG).unwrap();
        assert_eq!(queue.get_timeout(HANG), Ok(u64::MAX));
    });
    out.expect_end(&other);
}

/// A process puts 1, 2, 3, … with `put` until it is killed: what was acknowledged is there, in order, and at most one
/// more item.
fn killed_while_putting(kills: u32, make: fn() -> Queue<u64>, put: impl Fn(&Queue<u64>, u64)) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    for _ in 0..kills {
        let (queue, acknowledged) = (make(), RawValue::new(0_u64).unwrap());
        let victim = spawn(|| {
            for number in 1.. {
                put(&queue, number);
                acknowledged.store(number);
            }
        });
        eventually("the victim works", || acknowledged.load() > 0);
        random.pause(MOMENT_MAX);
        out.recover(&victim, || {
            queue.put_timeout(&0, HANG).unwrap();
        });
        let mut items = Vec::new();
        while let Ok(item) = queue.try_get() {
            items.push(item);
        }
        // The survivor's item came after all of the victim's items.
        out.lost += u32::from(items.pop() != Some(0));
        out.torn += u32::from(!items.iter().copied().eq(1..=u64::try_from(items.len()).unwrap()));
        out.check_count(u64::try_from(items.len()).unwrap(), acknowledged.load());
        is_live(&mut out, &queue);
    }
    out
}

fn mid_put(kills: u32) -> Outcome {
    killed_while_putting(kills, || Queue::new().unwrap(), |queue, number| queue.put(&number).unwrap())
}

fn mid_put_many(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    for _ in 0..kills {
        let (queue, acknowledged) = (Queue::new().unwrap(), RawValue::new(0_u64).unwrap());
        let victim = spawn(|| {
            for batch in 1_u64.. {
                queue.put_many(&[batch; 32]).unwrap();
                acknowledged.store(batch);
            }
        });
        eventually("the victim works", || acknowledged.load() > 0);
        random.pause(MOMENT_MAX);
        out.recover(&victim, || is_there(&queue));
        let mut counts = std::collections::BTreeMap::<u64, u32>::new();
        while let Ok(batch) = queue.try_get() {
            *counts.entry(batch).or_default() += 1;
        }
        let newest = counts.pop_last().unwrap();
        // All batches are whole except the newest, which the end of a segment may have cut.
        out.torn += u32::from(counts.values().any(|&count| count != 32) || newest.1 > 32);
        out.check_count(newest.0, acknowledged.load());
        is_live(&mut out, &queue);
    }
    out
}

fn is_there(queue: &Queue<u64>) {
    assert!(queue.get_timeout(HANG).is_ok());
    // The item was the first one of the first batch.
    queue.put(&1).unwrap();
}

/// Items of 100 KB: the queue grows with every second item.
fn mid_grow(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    for _ in 0..kills {
        let (queue, acknowledged) = (Queue::<()>::new().unwrap(), RawValue::new(0_u64).unwrap());
        let victim = spawn(|| {
            for number in 1_u64..400 {
                let mut item = vec![0; 100_000];
                item[..8].copy_from_slice(&number.to_le_bytes());
                item[99_992..].copy_from_slice(&number.to_le_bytes());
                queue.put_bytes(&item).unwrap();
                acknowledged.store(number);
            }
            hang();
        });
        eventually("the victim works", || acknowledged.load() > 0);
        random.pause(MOMENT_MAX * 10);
        out.recover(&victim, || queue.put_bytes(&[9]).unwrap());
        let mut count = 0;
        loop {
            let item = queue.get_bytes().unwrap();
            if item == [9] {
                break;
            }
            count += 1_u64;
            let ends = [&item[..8], &item[item.len() - 8..]];
            out.torn += u32::from(ends.iter().any(|end| **end != count.to_le_bytes()));
        }
        out.check_count(count, acknowledged.load());
        out.lost += u32::from(!queue.is_empty());
    }
    out
}

/// A process takes items until it is killed: the one that it was taking may be lost, but no other.
fn mid_get(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    for _ in 0..kills {
        let (queue, taken) = (Queue::new().unwrap(), RawValue::new(0_u64).unwrap());
        queue.put_many(&(1..=ITEMS).collect::<Vec<_>>()).unwrap();
        let victim = spawn(|| {
            while let Ok(number) = queue.try_get() {
                taken.store(number);
            }
            hang();
        });
        eventually("the victim works", || taken.load() > 0);
        random.pause(MOMENT_MAX);
        let next = out.recover(&victim, || take_if_any(&queue));
        let taken = taken.load();
        match next {
            Ok(number) => {
                out.lost += u32::from(number > taken + 2);
                out.duplicated += u32::from(number <= taken);
                let end = drain(&mut out, &queue, number + 1);
                out.lost += u32::from(end != ITEMS + 1);
            }
            Err(error) => out.lost += u32::from(error != GetError::Empty || taken + 1 < ITEMS),
        }
        is_live(&mut out, &queue);
    }
    out
}

/// The most items that one producer puts.
const EACH_MAX: u64 = 400;

/// What all producers and consumers of a queue have acknowledged.
struct Books {
    queue: Queue<(u64, u64)>,
    /// How many items each producer has put.
    put: RawArray<u64>,
    /// How often each item was taken.
    taken: RawArray<u8>,
}

impl Books {
    fn producer(&self, id: u64) -> ChildProcess {
        spawn(|| {
            for number in 0..EACH_MAX {
                self.queue.put(&(id, number)).unwrap();
                self.put.set(usize::try_from(id).unwrap(), number + 1).unwrap();
            }
            hang();
        })
    }

    fn consumer(&self) -> ChildProcess {
        spawn(|| {
            while let Ok((id, number)) = self.queue.get() {
                self.taken.fetch_add(usize::try_from(id * EACH_MAX + number).unwrap(), 1).unwrap();
            }
        })
    }
}

/// Two producers and two consumers, any of which dies at any moment and is replaced: every acknowledged item is taken
/// once, except for at most one item that each killed consumer was taking.
fn both_sides(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    let producers_max = u64::from(kills) + 2;
    let books = Books {
        queue: Queue::new().unwrap(),
        put: RawArray::zeroed(usize::try_from(producers_max).unwrap()).unwrap(),
        taken: RawArray::zeroed(usize::try_from(producers_max * EACH_MAX).unwrap()).unwrap(),
    };
    let mut crew = [books.producer(0), books.producer(1), books.consumer(), books.consumer()];
    let (mut next_producer, mut killed_consumers) = (2, 0);
    for _ in 0..kills {
        random.pause(MOMENT_MAX);
        let victim = usize::try_from(random.below(4)).unwrap();
        out.kills += 1;
        kill(&crew[victim]);
        crew[victim] = if victim < 2 {
            next_producer += 1;
            books.producer(next_producer - 1)
        } else {
            killed_consumers += 1;
            books.consumer()
        };
    }
    crew[..2].iter().for_each(kill);
    books.queue.close().unwrap();
    crew[2..].iter().for_each(|consumer| out.expect_end(consumer));
    let (put, taken) = (books.put.to_vec(), books.taken.to_vec());
    let mut missing = 0;
    for (put, taken) in put.iter().zip(taken.chunks(usize::try_from(EACH_MAX).unwrap())) {
        let acknowledged = usize::try_from(*put).unwrap();
        missing += u32::try_from(taken[..acknowledged].iter().filter(|&&times| times == 0).count()).unwrap();
        out.duplicated += u32::from(taken.iter().any(|&times| times > 1));
        // One more item than was acknowledged may have been put.
        out.torn += u32::from(taken.iter().skip(acknowledged + 1).any(|&times| times > 0));
    }
    out.lost += missing.saturating_sub(killed_consumers);
    out
}

/// One of two waiting consumers dies after the `early` items arrived: the last item, 2, reaches the other one.
fn one_of_two_waiters(kills: u32, early: &[u64]) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    for _ in 0..kills {
        let queue = Queue::<u64>::new().unwrap();
        let victim = spawn(|| {
            queue.get().unwrap();
            hang();
        });
        let survivor = spawn(|| while queue.get_timeout(HANG).unwrap() != 2 {});
        random.pause(MOMENT_MAX);
        early.iter().for_each(|item| queue.put(item).unwrap());
        out.kills += 1;
        kill(&victim);
        queue.put(&2).unwrap();
        out.expect_end(&survivor);
    }
    out
}

/// A waiting consumer dies: the next item reaches another one.
fn waiter(kills: u32) -> Outcome {
    one_of_two_waiters(kills, &[])
}

/// A consumer is killed right after an item arrived: whether or not it took the item, the next one reaches the other
/// waiter.
fn just_woken(kills: u32) -> Outcome {
    one_of_two_waiters(kills, &[1])
}

/// A producer that waits for room dies: another one gets the next room.
fn full_waiter(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    for _ in 0..kills {
        let queue = Queue::<u64>::bounded(1).unwrap();
        queue.put(&0).unwrap();
        let victim = spawn(|| {
            queue.put(&1).unwrap();
            hang();
        });
        let survivor = spawn(|| queue.put_timeout(&2, HANG).unwrap());
        random.pause(MOMENT_MAX);
        out.kills += 1;
        kill(&victim);
        let mut found = vec![queue.get_timeout(HANG).unwrap()];
        while found.last() != Some(&2) && found.len() < 3 {
            found.push(queue.get_timeout(HANG).unwrap_or(2));
        }
        out.expect_end(&survivor);
    }
    out
}

/// Starts a worker of a task queue: it takes a task, works, and reports it as done.
fn worker(queue: &JoinableQueue<u32>, done: &Queue<u32>) -> ChildProcess {
    spawn(|| {
        while let Ok(task) = queue.get() {
            done.put(&*task).unwrap();
            task.done();
        }
    })
}

/// Workers die at any moment: every task is done by one of them, and each death repeats at most one task.
fn joinable_worker(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    let tasks = kills * 20;
    let (queue, done) = (JoinableQueue::new().unwrap(), Queue::new().unwrap());
    queue.set_max_deliveries(u32::MAX).unwrap();
    queue.put_many(&(0..tasks).collect::<Vec<_>>()).unwrap();
    let mut victim = worker(&queue, &done);
    for round in 0..kills {
        let enough = usize::try_from(round * 10).unwrap();
        eventually("somebody works", || done.len() > enough);
        random.pause(MOMENT_MAX);
        out.recover(&victim, || ());
        out.recoveries.pop();
        victim = worker(&queue, &done);
    }
    if queue.join_timeout(HANG * 4) != Ok(true) {
        out.hangs += 1;
    }
    queue.close().unwrap();
    out.expect_end(&victim);
    let mut times = vec![0_u32; usize::try_from(tasks).unwrap()];
    while let Ok(task) = done.try_get() {
        times[usize::try_from(task).unwrap()] += 1;
    }
    out.lost += u32::try_from(times.iter().filter(|&&times| times == 0).count()).unwrap();
    let repeated: u32 = times.iter().map(|times| times.saturating_sub(1)).sum();
    out.duplicated += repeated.saturating_sub(kills);
    out
}

/// The holder of a task dies: a waiting worker gets the task.
fn joinable_holder(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    for _ in 0..kills {
        let queue = JoinableQueue::new().unwrap();
        queue.put(&7_u64).unwrap();
        let holds = RawValue::new(false).unwrap();
        let victim = spawn(|| {
            let _task = queue.get().unwrap();
            holds.store(true);
            hang();
        });
        eventually("the victim has the task", || holds.load());
        let again = out.recover(&victim, || queue.get_timeout(HANG));
        match again {
            Ok(task) => {
                out.torn += u32::from(task.deliveries() != 2 || *task != 7);
                task.done();
            }
            Err(_) => out.hangs += 1,
        }
        out.lost += u32::from(queue.unfinished() != Ok(0));
    }
    out
}

define_cells! {
    MID_PUT: "queue", "mid_put", mid_put;
    MID_PUT_MANY: "queue", "mid_put_many", mid_put_many;
    MID_GET: "queue", "mid_get", mid_get;
    MID_GROW: "queue", "mid_grow", mid_grow;
    BOTH_SIDES: "queue", "both_sides", both_sides;
    WAITER: "queue", "waiter", waiter;
    JUST_WOKEN: "queue", "just_woken", just_woken;
    FULL_WAITER: "queue", "waiter_for_room", full_waiter;
    JOINABLE_WORKER: "joinable_queue", "worker", joinable_worker;
    JOINABLE_HOLDER: "joinable_queue", "holder", joinable_holder;
}
