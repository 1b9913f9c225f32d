//! Proxies of a manager in the messages of the other tiers, and objects of the other tiers in a manager.
//!
//! A proxy is an address and a number. It needs no descriptor, so it can also go where only bytes go.

use mp::manager::{Dict, Manager};
use mp::{Event, Queue, Value, pipe};
use mp_sys::testing::{PATIENCE, hang, kill, spawn, succeeded, tests};
use serde::{Deserialize, Serialize};

tests! {
    a_dict_goes_through_a_pipe_to_an_older_child,
    a_dict_goes_through_a_ring,
    a_proxy_that_its_sender_drops_at_once_arrives,
    a_proxy_inside_a_value_reaches_another_process,
    objects_of_all_tiers_travel_in_one_message,
    the_name_of_an_object_in_shared_memory_is_stored_in_a_manager,
    a_child_that_received_a_lock_and_dies_passes_it_on,
}

type Ages = Dict<String, u64>;

fn ada() -> String {
    "ada".to_owned()
}

fn a_dict_goes_through_a_pipe_to_an_older_child() {
    let (sender, receiver) = pipe::<Ages>().unwrap();
    let children = [1, 2].map(|n| {
        spawn(|| {
            let ages = receiver.recv_timeout(PATIENCE).unwrap();
            for _ in 0..100 {
                ages.fetch_add(&ada(), n).unwrap();
            }
        })
    });
    let manager = Manager::start().unwrap();
    let ages: Ages = manager.dict().unwrap();
    for _ in &children {
        sender.send(&ages).unwrap();
    }
    children.iter().for_each(succeeded);
    assert_eq!(ages.get(&ada()).unwrap(), Some(300));
    drop(ages);
    manager.shutdown().unwrap();
}

fn a_dict_goes_through_a_ring() {
    let queue = Queue::<(u64, Ages)>::new().unwrap();
    let child = spawn(|| {
        // The same manager twice: the process connects to it only once.
        for _ in 0..2 {
            let (n, ages) = queue.get_timeout(PATIENCE).unwrap();
            ages.fetch_add(&ada(), n).unwrap();
        }
    });
    let manager = Manager::start().unwrap();
    let ages: Ages = manager.dict().unwrap();
    queue.put(&(40, ages.clone())).unwrap();
    queue.put(&(2, ages.clone())).unwrap();
    succeeded(&child);
    assert_eq!(ages.get(&ada()).unwrap(), Some(42));
    drop(ages);
    manager.shutdown().unwrap();
}

fn a_proxy_that_its_sender_drops_at_once_arrives() {
    let (sender, receiver) = pipe::<Ages>().unwrap();
    let (ring, is_dropped) = (Queue::<Ages>::new().unwrap(), Event::new().unwrap());
    let child = spawn(|| {
        assert!(is_dropped.wait_timeout(PATIENCE));
        for ages in [receiver.recv_timeout(PATIENCE).unwrap(), ring.get_timeout(PATIENCE).unwrap()] {
            assert_eq!(ages.get(&ada()).unwrap(), Some(36));
        }
    });
    let manager = Manager::start().unwrap();
    let make = || {
        let ages: Ages = manager.dict().unwrap();
        ages.insert(&ada(), &36).unwrap();
        ages
    };
    sender.send(&make()).unwrap();
    ring.put(&make()).unwrap();
    // The manager answers, so it has processed everything that it received before.
    assert_eq!(manager.info().unwrap().objects, 2, "only the messages keep them");
    is_dropped.set();
    succeeded(&child);
    manager.shutdown().unwrap();
}

fn a_proxy_inside_a_value_reaches_another_process() {
    let (sender, receiver) = pipe::<mp::manager::Value<Vec<Ages>>>().unwrap();
    let child = spawn(|| {
        let all = receiver.recv_timeout(PATIENCE).unwrap().get().unwrap();
        assert_eq!(all.len(), 2);
        for ages in all {
            ages.fetch_add(&ada(), 1).unwrap();
        }
    });
    let manager = Manager::start().unwrap();
    let ages: Ages = manager.dict().unwrap();
    let all = manager.value(&vec![ages.clone(), ages]).unwrap();
    sender.send(&all).unwrap();
    succeeded(&child);
    let ages = all.get().unwrap().remove(0);
    assert_eq!(ages.get(&ada()).unwrap(), Some(2));
    drop((ages, all));
    manager.shutdown().unwrap();
}

/// One object of each tier.
#[derive(Debug, Serialize, Deserialize)]
struct Tiers {
    sum: Value<u64>,
    numbers: Queue<u64>,
    seen: Dict<u64, String>,
}

fn objects_of_all_tiers_travel_in_one_message() {
    let (sender, receiver) = pipe::<Tiers>().unwrap();
    let children = ["first", "second"].map(|name| {
        spawn(|| {
            let tiers = receiver.recv_timeout(PATIENCE).unwrap();
            for number in &tiers.numbers {
                let number = number.unwrap();
                tiers.sum.update(|sum| sum + number).unwrap();
                tiers.seen.insert(&number, &name.to_owned()).unwrap();
            }
        })
    });
    let manager = Manager::start().unwrap();
    let tiers =
        Tiers { sum: Value::new(0).unwrap(), numbers: Queue::new().unwrap(), seen: manager.dict().unwrap() };
    for _ in &children {
        sender.send(&tiers).unwrap();
    }
    tiers.numbers.put_many(&(1..=100).collect::<Vec<_>>()).unwrap();
    tiers.numbers.close().unwrap();
    children.iter().for_each(succeeded);
    let mut seen = tiers.seen.keys().unwrap();
    seen.sort_unstable();
    assert_eq!((tiers.sum.get(), seen), (Ok(5050), (1..=100).collect()));
    drop(tiers);
    manager.shutdown().unwrap();
}

/// An object itself is refused, with an error that says so: see `travel::refused`.
fn the_name_of_an_object_in_shared_memory_is_stored_in_a_manager() {
    let manager = Manager::start().unwrap();
    let name = crate::travel::private_name();
    let named = Value::create(&name, 7_u64).unwrap();
    let names = manager.list::<String>().unwrap();
    names.push(&name).unwrap();
    let child = spawn(|| {
        let found = Value::<u64>::open(&names.get(0).unwrap()).unwrap();
        found.update(|n| n + 1).unwrap();
    });
    succeeded(&child);
    assert_eq!(named.get(), Ok(8));
    drop(names);
    manager.shutdown().unwrap();
}

fn a_child_that_received_a_lock_and_dies_passes_it_on() {
    type Message = (mp::manager::Lock, Event);
    let (sender, receiver) = pipe::<Message>().unwrap();
    let child = spawn(|| {
        let (lock, has_it) = receiver.recv_timeout(PATIENCE).unwrap();
        let _guard = lock.lock().unwrap();
        has_it.set();
        hang();
    });
    let manager = Manager::start().unwrap();
    let message: Message = (manager.lock().unwrap(), Event::new().unwrap());
    sender.send(&message).unwrap();
    let (lock, has_it) = message;
    assert!(has_it.wait_timeout(PATIENCE));
    assert!(lock.try_lock().is_err());
    kill(&child);
    match lock.lock_timeout(PATIENCE) {
        Err(mp::manager::LockError::OwnerDied(guard)) => drop(guard),
        other => panic!("the death was not reported: {other:?}"),
    }
    drop(lock);
    manager.shutdown().unwrap();
}
