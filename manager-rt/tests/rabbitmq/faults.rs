//! RabbitMQ that is killed, stopped, takes nothing, or closes its connections.

use std::collections::BTreeSet;
use std::time::Duration;

use manager_rt::proto::Fault;
use manager_rt::{CallError, GetError, Manager, ObjectError, PutError};
use mp_sys::deadline::Deadline;
use mp_sys::testing::eventually;
use rustix::process::Signal;

use crate::deaths::{PATIENCE, signal};
use crate::server::{Server, namespace};

/// How long a test waits for something that is not there any more.
const SILENCE: Duration = Duration::from_secs(2);

fn confirmed(outcome: Result<(), PutError>) -> bool {
    match outcome {
        Ok(()) => true,
        Err(PutError::Object(ObjectError::Call(CallError::OutcomeUnknown | CallError::ServerGone))) => false,
        Err(error) => panic!("{error:?}"),
    }
}

fn not_owned() -> ObjectError {
    ObjectError::Call(CallError::Fault(Fault::NotOwned))
}

/// One server for all of them, since each start takes seconds.
#[test]
fn rabbitmq_may_be_killed_and_stopped_and_have_no_memory() {
    let mut server = Server::start();
    killed_while_items_are_put(&mut server, "classic");
    killed_while_items_are_put(&mut server, "quorum");
    killed_while_a_task_is_held(&mut server);
    connections_are_closed(&server);
    stopped_for_a_moment(&server);
    without_memory(&server);
}

/// Every item whose put was confirmed is there after the kill, and a call that waits goes on.
fn killed_while_items_are_put(server: &mut Server, kind: &str) {
    let space = namespace();
    let manager = Manager::connect(&format!("{}&type={kind}", server.url(&space))).unwrap();
    let items = manager.named("items").queue::<u32>().unwrap();
    let answers = manager.named("answers").queue::<u32>().unwrap();
    if kind == "quorum" {
        let are_noted = || ["items", "answers"].iter().all(|queue| server.has_noted(&space, queue));
        eventually("RabbitMQ has noted the queues", are_noted);
    }
    let put = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| answers.get_timeout(PATIENCE));
        let producer = scope.spawn(|| {
            let mut put = BTreeSet::new();
            for item in 0..100_000 {
                if !confirmed(items.put_timeout(&item, PATIENCE)) {
                    break;
                }
                put.insert(item);
            }
            put
        });
        eventually("some are put", || items.len().is_ok_and(|len| len > 50));
        server.restart();
        eventually("it serves again", || confirmed(answers.put_timeout(&9, PATIENCE)));
        assert_eq!(waiting.join().unwrap(), Ok(9));
        producer.join().unwrap()
    });
    assert!(put.len() > 50);
    let mut found = BTreeSet::new();
    loop {
        match items.get_timeout(SILENCE) {
            Ok(item) => drop(found.insert(item)),
            Err(GetError::TimedOut) => break,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(put.difference(&found).collect::<Vec<_>>(), [&0; 0], "an acknowledged item is lost");
    assert!(found.len() <= put.len() + 1, "only the last put was not confirmed");
}

/// The task is delivered again, and `done` says that the lease is lost: the client of AMQP returns no error.
fn killed_while_a_task_is_held(server: &mut Server) {
    let space = namespace();
    let manager = Manager::connect(&server.url(&space)).unwrap();
    let queue = manager.named("q").joinable_queue::<u8>().unwrap();
    eventually("RabbitMQ has noted the queue", || server.has_noted(&space, "q"));
    queue.put(&1).unwrap();
    let held = queue.get_timeout(PATIENCE).unwrap();
    server.restart();
    let again = queue.get_timeout(PATIENCE).unwrap();
    assert_eq!((*again, held.done()), (1, Err(not_owned())));
    assert_eq!(again.done(), Ok(1));
    assert_eq!(queue.get_timeout(SILENCE).unwrap_err(), GetError::TimedOut);
}

/// Both connections are replaced, and what was delivered over them is not delivered once more to those who held it.
fn connections_are_closed(server: &Server) {
    let manager = Manager::connect(&server.url(&namespace())).unwrap();
    let queue = manager.named("q").joinable_queue::<u8>().unwrap();
    let answers = manager.named("answers").queue::<u8>().unwrap();
    queue.put(&1).unwrap();
    let held = queue.get_timeout(PATIENCE).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| answers.get_timeout(PATIENCE));
        server.control(&["close_all_connections", "test"]);
        let again = queue.get_timeout(PATIENCE).unwrap();
        assert_eq!((*again, again.deliveries()), (1, 2));
        assert_eq!(held.done(), Err(not_owned()));
        eventually("it can be put again", || confirmed(answers.put(&7)));
        assert_eq!(waiting.join().unwrap(), Ok(7));
        assert_eq!(again.done(), Ok(1));
    });
    assert_eq!(queue.get_timeout(SILENCE).unwrap_err(), GetError::TimedOut);
}

/// A put waits for its confirmation, and heartbeats end no connection so soon.
fn stopped_for_a_moment(server: &Server) {
    let manager = Manager::connect(&server.url(&namespace())).unwrap();
    let queue = manager.named("q").queue::<u8>().unwrap();
    let process = server.process();
    signal(process, Signal::STOP);
    std::thread::scope(|scope| {
        let put = scope.spawn(|| queue.put(&1));
        let stopped = Deadline::after(Duration::from_secs(1));
        while !stopped.has_passed() {
            assert!(!put.is_finished());
            std::thread::yield_now();
        }
        signal(process, Signal::CONT);
        assert_eq!(put.join().unwrap(), Ok(()));
    });
    assert_eq!(queue.get_timeout(PATIENCE), Ok(1));
}

/// Without memory, RabbitMQ reads nothing from a connection that publishes. Items can still be taken and acknowledged.
fn without_memory(server: &Server) {
    let manager = Manager::connect(&server.url(&namespace())).unwrap();
    let queue = manager.named("q").joinable_queue::<u8>().unwrap();
    (1..=2).for_each(|task| queue.put(&task).unwrap());
    server.control(&["set_vm_memory_high_watermark", "0"]);
    // The first put makes RabbitMQ say that it takes nothing.
    let first = queue.put(&3);
    assert!(!confirmed(first));
    assert_eq!(queue.put_timeout(&4, Duration::from_millis(1)), Err(PutError::TimedOut));
    assert_eq!(queue.try_put(&4), Err(PutError::Full));
    assert_eq!(queue.get_timeout(PATIENCE).unwrap().done(), Ok(1));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| queue.put_timeout(&5, PATIENCE));
        server.control(&["set_vm_memory_high_watermark", "0.4"]);
        assert_eq!(waiting.join().unwrap(), Ok(()));
    });
    let mut rest = Vec::new();
    while let Ok(task) = queue.get_timeout(SILENCE) {
        rest.push(task.done().unwrap());
    }
    rest.sort_unstable();
    // The outcome of the first put was unknown: it was done once there was memory.
    assert!(rest == [2, 5] || rest == [2, 3, 5], "{rest:?}");
}
