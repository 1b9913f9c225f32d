//! Queues of a manager.

use manager_rt::{GetError, Manager, Queue};
use mp::RawValue;
use mp_sys::child::ChildProcess;
use mp_sys::testing::{Random, eventually};

use super::{MOMENT_MAX, settles, until_waiting, with_manager};
use crate::cell::{HANG, Outcome, define_cells, spawn};

/// The number of items that a victim finds.
const ITEMS: u64 = 500;

/// Waits until nothing of the dead is left, and takes all items.
fn rest(out: &mut Outcome, manager: &Manager, queue: &Queue<u64>) -> Vec<u64> {
    out.hangs += u32::from(!settles(manager, |info| info.clients == 1));
    let mut all = Vec::new();
    loop {
        // One answer holds a limited number of bytes, and a victim on a busy machine may have put more.
        match queue.try_get_many(usize::MAX) {
            Ok(items) => all.extend(items),
            Err(GetError::Empty) => return all,
            Err(other) => panic!("{other}"),
        }
    }
}

/// A client puts 1, 2, 3, … until it is killed: what was acknowledged is there, in order, and at most one more item.
fn mid_put(kills: u32) -> Outcome {
    with_manager(|manager, out| {
        let (queue, mut random) = (manager.queue::<u64>().unwrap(), Random::new());
        for _ in 0..kills {
            let acknowledged = RawValue::new(0_u64).unwrap();
            let victim = spawn(|| {
                for number in 1.. {
                    queue.put(&number).unwrap();
                    acknowledged.store(number);
                }
            });
            eventually("the victim works", || acknowledged.load() > 0);
            random.pause(MOMENT_MAX);
            let first = out.recover(&victim, || queue.get_timeout(HANG));
            let items = rest(out, manager, &queue);
            out.lost += u32::from(first != Ok(1));
            let count = u64::try_from(items.len()).unwrap() + 1;
            out.torn += u32::from(!items.into_iter().eq(2..=count));
            out.check_count(count, acknowledged.load());
        }
    })
}

/// A client takes items until it is killed: an item that it had not read is in the queue again, in its place.
fn mid_get(kills: u32) -> Outcome {
    with_manager(|manager, out| {
        let (queue, mut random) = (manager.queue::<u64>().unwrap(), Random::new());
        for _ in 0..kills {
            let noted = RawValue::new(0_u64).unwrap();
            queue.put_many(&(1..=ITEMS).collect::<Vec<_>>()).unwrap();
            let victim = spawn(|| {
                while let Ok(number) = queue.get() {
                    noted.store(number);
                }
            });
            eventually("the victim works", || noted.load() > 0);
            random.pause(MOMENT_MAX);
            out.recover(&victim, || {});
            out.recoveries.pop();
            let items = rest(out, manager, &queue);
            let taken = ITEMS - u64::try_from(items.len()).unwrap();
            out.torn += u32::from(!items.into_iter().eq(taken + 1..=ITEMS));
            // It may have read an item that it had no time to note. No item that it noted comes again.
            out.duplicated += u32::from(taken < noted.load());
            out.lost += u32::from(taken > noted.load() + 1);
        }
    })
}

/// Two clients wait, the victim first. `act` kills it and puts one item for each remaining client.
fn waiters(
    kills: u32,
    act: impl Fn(&Manager, &mut Outcome, &Queue<u64>, &mut Random, &ChildProcess),
) -> Outcome {
    with_manager(|manager, out| {
        let (queue, mut random) = (manager.queue::<u64>().unwrap(), Random::new());
        for _ in 0..kills {
            let victim = spawn(|| drop(queue.get()));
            until_waiting(manager, 1);
            let survivor = spawn(|| assert!(queue.get_timeout(HANG).is_ok()));
            until_waiting(manager, 2);
            act(manager, out, &queue, &mut random, &victim);
            out.expect_end(&survivor);
        }
    })
}

/// A dead waiter never takes an item with it.
fn waiter(kills: u32) -> Outcome {
    waiters(kills, |manager, out, queue, random, victim| {
        random.pause(MOMENT_MAX);
        out.recover(victim, || until_waiting(manager, 1));
        queue.put(&1).unwrap();
    })
}

/// Neither does one that is killed as it is served: it has read its item, or the next client gets the item.
fn just_woken(kills: u32) -> Outcome {
    waiters(kills, |manager, out, queue, random, victim| {
        queue.put(&1).unwrap();
        random.pause(100_000);
        out.recover(victim, || {});
        out.recoveries.pop();
        out.hangs += u32::from(!settles(manager, |info| info.clients <= 2));
        // Either the item came back and the survivor has it, or this item is for the survivor.
        queue.put(&2).unwrap();
        out.hangs += u32::from(!settles(manager, |info| info.clients == 1));
        let left = rest(out, manager, queue);
        out.duplicated += u32::from(left.len() > 1);
        out.torn += u32::from(left.iter().any(|item| *item != 2));
    })
}

/// A client that waits for room dies: its item never appears, and the next client gets the room.
fn waiter_for_room(kills: u32) -> Outcome {
    with_manager(|manager, out| {
        let (queue, mut random) = (manager.bounded_queue::<u64>(1).unwrap(), Random::new());
        for _ in 0..kills {
            queue.put(&1).unwrap();
            let victim = spawn(|| drop(queue.put(&2)));
            until_waiting(manager, 1);
            let survivor = spawn(|| queue.put_timeout(&3, HANG).unwrap());
            until_waiting(manager, 2);
            random.pause(MOMENT_MAX);
            out.recover(&victim, || until_waiting(manager, 1));
            out.lost += u32::from(queue.try_get() != Ok(1));
            out.expect_end(&survivor);
            out.torn += u32::from(rest(out, manager, &queue) != [3]);
        }
    })
}

define_cells! {
    MID_PUT: "manager_queue", "mid_put", mid_put;
    MID_GET: "manager_queue", "mid_get", mid_get;
    WAITER: "manager_queue", "waiter", waiter;
    JUST_WOKEN: "manager_queue", "just_woken", just_woken;
    WAITER_FOR_ROOM: "manager_queue", "waiter_for_room", waiter_for_room;
}
