//! A process between two others that passes on messages whose types it does not know.

use std::os::fd::{AsFd, OwnedFd};

use mp::{Queue, Receiver, RecvError, Sender, Value, fork_with, manager::Manager, pipe};
use mp_sys::testing::{PATIENCE, tests};
use serde::{Deserialize, Serialize};

tests! {
    a_router_passes_shared_objects_and_proxies_on,
    a_child_does_not_keep_what_is_in_a_message,
}

#[derive(Serialize, Deserialize)]
struct Job {
    input: Value<u64>,
    output: Queue<u64>,
    total: mp::manager::Value<u64>,
    log: Vec<u8>,
}

fn raw(end: &impl AsFd) -> OwnedFd {
    end.as_fd().try_clone_to_owned().unwrap()
}

fn a_router_passes_shared_objects_and_proxies_on() {
    let (to_router, routed) = pipe::<Job>().unwrap();
    let (to_worker, jobs) = pipe::<Job>().unwrap();
    // Neither end is of a type that the router knows.
    let (from, to) = (raw(&routed), raw(&to_worker));
    let (from, to): (Receiver<()>, Sender<()>) =
        (Receiver::from_fd(from).unwrap(), Sender::from_fd(to).unwrap());
    drop((routed, to_worker));
    let router = fork_with((from, to), |(from, to)| {
        let mut count = 0;
        while let Ok(message) = from.recv_message_timeout(PATIENCE) {
            to.forward(&message).unwrap();
            count += 1;
        }
        count
    })
    .unwrap();
    let worker = fork_with(jobs, |jobs| {
        for job in jobs.iter() {
            let Job { input, output, total, log } = job.unwrap();
            let result = input.get().unwrap() + log.iter().map(|n| u64::from(*n)).sum::<u64>();
            total.fetch_add(result).unwrap();
            output.put(&result).unwrap();
        }
    })
    .unwrap();

    let manager = Manager::start().unwrap();
    let total = manager.value(&0_u64).unwrap();
    let output = Queue::new().unwrap();
    for (number, log) in [(1, vec![]), (2, vec![1; 300_000]), (3, vec![4])] {
        let input = Value::new(number).unwrap();
        to_router.send(&Job { input, output: output.clone(), total: total.clone(), log }).unwrap();
        // The sender no longer has a handle of the value.
    }
    let results: Vec<u64> = (0..3).map(|_| output.get_timeout(PATIENCE).unwrap()).collect();
    assert_eq!((results, total.get()), (vec![1, 300_002, 7], Ok(300_010)));
    drop(to_router);
    assert_eq!(router.join(), Ok(3));
    worker.join().unwrap();
    manager.shutdown().unwrap();
}

fn a_child_does_not_keep_what_is_in_a_message() {
    let (tx, rx) = pipe::<Sender<u8>>().unwrap();
    let (inner, inside) = pipe::<u8>().unwrap();
    let (go, gone) = pipe::<()>().unwrap();
    tx.send(&inner).unwrap();
    drop(inner);
    let message = rx.recv_message().unwrap();
    let child = fork_with(gone, |gone| gone.recv_timeout(PATIENCE).unwrap()).unwrap();
    drop(message);
    assert_eq!(inside.recv_timeout(PATIENCE), Err(RecvError::Closed), "although the child lives");
    go.send(&()).unwrap();
    child.join().unwrap();
}
