//! Queues whose producers and consumers wait, die, and lose their connections.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use manager_rt::limits::{PAGE_ITEMS_MAX, VALUES_AT_ONCE_MAX};
use manager_rt::proto::{Call, Fault, Op, QueueOp, Raw, Reply, Spec, Wait};
use manager_rt::{CallError, GetError, Manager, ObjectError, PutError, Queue};
use mp_sys::reexec::Handed;
use mp_sys::testing::{eventually, kill};
use rustix::process::Signal;

use crate::There;
use crate::alike::make;
use crate::deaths::{Holder, PATIENCE, heard, signal, tell};
use crate::server::Server;

fn queue(manager: &Manager) -> Queue<u32> {
    manager.named("queue").bounded_queue(2).unwrap()
}

pub(crate) fn waiters(manager: &Manager, count: u64) {
    eventually("they wait", || manager.info().unwrap().waiters == count);
}

#[test]
fn producers_and_consumers_are_served_in_the_order_of_their_arrival() {
    let server = Server::start(&[]);
    let there = There::new(&server);
    let manager = there.connect();
    let shared = queue(&manager);
    shared.put_many(&[0, 1]).unwrap();
    std::thread::scope(|scope| {
        for (waiting, item) in (2..6).enumerate() {
            scope.spawn({
                let there = &there;
                move || queue(&there.connect()).put_timeout(&item, PATIENCE).unwrap()
            });
            waiters(&manager, u64::try_from(waiting + 1).unwrap());
        }
        assert_eq!(shared.try_put(&9), Err(PutError::Full), "nobody overtakes");
        assert_eq!((0..6).map(|_| shared.get().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    });
    std::thread::scope(|scope| {
        let consumers: Vec<_> = (1..=3)
            .map(|count| {
                let consumer = scope.spawn(|| queue(&there.connect()).get_timeout(PATIENCE).unwrap());
                waiters(&manager, count);
                consumer
            })
            .collect();
        (0..3).for_each(|item| shared.put(&item).unwrap());
        assert_eq!(consumers.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    });
    assert_eq!(shared.try_get(), Err(GetError::Empty));
}

/// A producer of many items delays those after it, but not once it has given up. No proxy has such a call.
#[test]
fn a_producer_that_gives_up_lets_the_next_one_in() {
    let server = Server::start(&[]);
    let there = There::new(&server);
    let manager = there.connect();
    let object = make(&**manager.backend(), Spec::Queue(2));
    let put = |items: &[&[u8]], wait| {
        let op = Op::Queue(QueueOp::PutMany(items.iter().map(|item| Raw::plain(item)).collect()));
        there.connect().backend().call(Call { object, thread: 1, wait, op })
    };
    put(&[b"0"], Wait::No).unwrap();
    std::thread::scope(|scope| {
        let many = scope.spawn(|| put(&[b"1", b"2"], Wait::For(1_000_000_000)));
        eventually("it waits", || many.is_finished() || manager.info().unwrap().waiters == 1);
        assert_eq!(put(&[b"3"], Wait::Forever), Ok(Reply::Done));
        assert_eq!(many.join().unwrap(), Err(CallError::Fault(Fault::TimedOut)));
    });
    assert_eq!(server.cli(&["keys", "*:i:*"]), "", "its items are gone");
}

/// The main function of a process that puts two items.
fn put_two(handed: Handed) -> i32 {
    let manager = Manager::connect(&heard(&handed)).unwrap();
    tell(handed.endpoint(), "held");
    queue(&manager).put_many(&[1, 2]).unwrap();
    tell(handed.endpoint(), "put");
    heard(&handed);
    0
}

/// Lets the first producer in the line die, and checks that the next one, which needs less room, is served.
fn next_producer_goes_on(lease: &str, die: impl FnOnce(&Holder)) {
    let server = Server::start(&[]);
    let there = There::new(&server);
    let manager = Manager::connect(&there.leased("3600s")).unwrap();
    let shared = queue(&manager);
    shared.put(&0).unwrap();
    let dying = Holder::start(put_two, &there.leased(lease));
    waiters(&manager, 1);
    std::thread::scope(|scope| {
        let next = scope.spawn(|| shared.put_timeout(&3, PATIENCE));
        waiters(&manager, 2);
        die(&dying);
        kill(&dying.child);
        next.join().unwrap().unwrap();
    });
    assert_eq!(shared.get_many(9), Ok(vec![0, 3]));
    assert_eq!(server.cli(&["keys", "*:i:*"]), "", "its items are gone");
}

#[test]
fn a_producer_that_dies_in_the_line_holds_up_nobody() {
    // With a lease of an hour, only its keeper can have ended its wait.
    next_producer_goes_on("3600s", |_| {});
    next_producer_goes_on("1s", Holder::kill_keeper);
}

/// The main function of a process that takes one item after another.
fn take_all(handed: Handed) -> i32 {
    let manager = Manager::connect(&heard(&handed)).unwrap();
    tell(handed.endpoint(), "held");
    while heard(&handed) == "get" {
        let item = queue(&manager).get_timeout(PATIENCE).unwrap();
        tell(handed.endpoint(), &item.to_string());
    }
    0
}

/// Lets a process die that was given an item and has not read it, but has read another one.
fn unread_item_returns(lease: &str, die: impl FnOnce(&Holder)) {
    let server = Server::start(&[]);
    let there = There::new(&server);
    let manager = Manager::connect(&there.leased("3600s")).unwrap();
    let shared = queue(&manager);
    let dying = Holder::start(take_all, &there.leased(lease));
    shared.put(&0).unwrap();
    dying.tell("get");
    assert_eq!(dying.says(), "0");
    dying.tell("get");
    waiters(&manager, 1);
    signal(dying.child.id(), Signal::STOP);
    shared.put(&1).unwrap();
    assert_eq!((shared.len(), manager.info().unwrap().waiters), (Ok(0), 0), "it has the item");
    shared.put(&2).unwrap();
    die(&dying);
    kill(&dying.child);
    eventually("the item returns", || shared.len() == Ok(2));
    assert_eq!((shared.get(), shared.get()), (Ok(1), Ok(2)));
    assert_eq!(shared.try_get(), Err(GetError::Empty), "what it had read is gone");
}

#[test]
fn an_item_that_a_dead_process_had_not_read_returns_to_the_front() {
    unread_item_returns("3600s", |_| {});
    unread_item_returns("1s", Holder::kill_keeper);
}

/// Nobody but the waiter looks at the queue.
#[test]
fn a_consumer_gets_what_a_dead_host_had_not_read() {
    let server = Server::start(&[]);
    let there = There::new(&server);
    let manager = Manager::connect(&there.leased("3600s")).unwrap();
    let shared = queue(&manager);
    let dying = Holder::start(take_all, &there.leased("1s"));
    dying.tell("get");
    waiters(&manager, 1);
    signal(dying.child.id(), Signal::STOP);
    shared.put(&1).unwrap();
    std::thread::scope(|scope| {
        let next = scope.spawn(|| shared.get_timeout(PATIENCE));
        waiters(&manager, 1);
        dying.kill_keeper();
        kill(&dying.child);
        assert_eq!(next.join().unwrap(), Ok(1));
    });
}

#[test]
fn a_closed_queue_answers_all_that_wait() {
    let server = Server::start(&[]);
    let there = There::new(&server);
    let manager = there.connect();
    let shared = queue(&manager);
    std::thread::scope(|scope| {
        let consumers = [(); 3].map(|()| scope.spawn(|| queue(&there.connect()).get_timeout(PATIENCE)));
        waiters(&manager, 3);
        shared.close().unwrap();
        assert!(consumers.into_iter().all(|one| one.join().unwrap() == Err(GetError::Closed)));
    });
}

#[test]
fn a_removed_queue_answers_its_waiters_and_leaves_no_keys() {
    let server = Server::start(&[]);
    let there = There::new(&server);
    let manager = there.connect();
    let gone = || ObjectError::Call(CallError::Fault(Fault::UnknownObject));
    for is_full in [false, true] {
        let shared = queue(&manager);
        std::thread::scope(|scope| {
            if is_full {
                shared.put_many(&[1, 2]).unwrap();
                let producer = scope.spawn(|| queue(&there.connect()).put_timeout(&3, PATIENCE));
                waiters(&manager, 1);
                manager.remove("queue").unwrap();
                assert_eq!(producer.join().unwrap(), Err(PutError::Object(gone())));
            } else {
                let consumer = scope.spawn(|| queue(&there.connect()).get_timeout(PATIENCE));
                waiters(&manager, 1);
                manager.remove("queue").unwrap();
                assert_eq!(consumer.join().unwrap(), Err(GetError::Object(gone())));
            }
        });
    }
    let keys = server.cli(&["keys", "*"]);
    assert!(!keys.contains(":o:") && !keys.contains(":i:"), "{keys}");
}

#[test]
fn a_full_redis_refuses_items_and_lets_them_be_taken() {
    let server = Server::start(&["--maxmemory", "6mb", "--maxmemory-policy", "noeviction"]);
    let manager = There::new(&server).connect();
    let shared = manager.bounded_queue::<Vec<u8>>(1000).unwrap();
    let narrow = manager.bounded_queue::<Vec<u8>>(1).unwrap();
    narrow.put(&vec![]).unwrap();
    let full = || PutError::Object(ObjectError::Call(CallError::Fault(Fault::NoSpace)));
    let item = vec![7; 100_000];
    // Its session does not need memory later.
    shared.put(&vec![]).unwrap();
    assert_eq!(shared.get(), Ok(vec![]));
    let put = (0..200).take_while(|_| shared.put(&item) != Err(full())).count();
    assert!((5..100).contains(&put), "{put}");
    assert_eq!(shared.len(), Ok(put));
    assert_eq!(narrow.put_timeout(&item, PATIENCE), Err(full()));
    assert_eq!(shared.get().map(|item| item.len()), Ok(100_000));
    let left = shared.get_many(usize::MAX).unwrap().len();
    assert!(left >= 2, "as many as fit in one answer");
    (left + 1..put).for_each(|_| assert_eq!(shared.get().unwrap().len(), 100_000));
    shared.put(&item).unwrap();
}

#[test]
fn one_call_puts_and_takes_as_many_items_as_the_limits_and_no_more() {
    let server = Server::start(&[]);
    let shared = There::new(&server).connect().queue::<u8>().unwrap();
    let items = vec![1; VALUES_AT_ONCE_MAX + 1];
    let limit = u64::try_from(VALUES_AT_ONCE_MAX).unwrap();
    let too_many = PutError::Object(ObjectError::Call(CallError::Fault(Fault::TooMany { limit })));
    assert_eq!(shared.put_many(&items), Err(too_many));
    shared.put_many(&items[1..]).unwrap();
    assert_eq!(shared.len(), Ok(VALUES_AT_ONCE_MAX));
    let page = usize::try_from(PAGE_ITEMS_MAX).unwrap();
    assert_eq!(shared.get_many(page + 1).unwrap().len(), page);
    assert_eq!(shared.len(), Ok(VALUES_AT_ONCE_MAX - page));
}

/// Whatever is cut, every item that was put comes out, and none waits for ever.
#[test]
fn no_item_is_lost_by_cut_connections_and_forgotten_scripts() {
    const EACH: u32 = 150;
    let server = Server::start(&[]);
    let there = There::new(&server);
    let (put, taken) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let producing = AtomicU32::new(2);
    std::thread::scope(|scope| {
        let mut workers = Vec::new();
        for producer in 0..2 {
            let (shared, put, producing) = (queue(&there.connect()), &put, &producing);
            workers.push(scope.spawn(move || {
                for item in producer * EACH..(producer + 1) * EACH {
                    match shared.put_timeout(&item, PATIENCE) {
                        Ok(()) => put.lock().unwrap().push(item),
                        Err(PutError::Object(_)) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
                producing.fetch_sub(1, Ordering::SeqCst);
            }));
            let (shared, taken) = (queue(&there.connect()), &taken);
            workers.push(scope.spawn(move || {
                loop {
                    let is_over = producing.load(Ordering::SeqCst) == 0;
                    match shared.get_timeout(Duration::from_millis(20)) {
                        Ok(item) => taken.lock().unwrap().push(item),
                        Err(GetError::TimedOut) if is_over => break,
                        Err(_) => {}
                    }
                }
            }));
        }
        while !workers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            server.cli(&["client", "kill", "type", "normal"]);
            server.cli(&["script", "flush"]);
        }
    });
    let (put, mut taken) = (put.into_inner().unwrap(), taken.into_inner().unwrap());
    // The sessions end with their clients, and what they had not read returns.
    let shared = queue(&there.connect());
    while let Ok(item) = shared.get_timeout(Duration::from_secs(2)) {
        taken.push(item);
    }
    let count = taken.len();
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken.len(), count, "some items were delivered twice");
    let lost: Vec<_> = put.iter().filter(|item| taken.binary_search(item).is_err()).collect();
    assert!(lost.is_empty(), "{lost:?} of {}", put.len());
    assert!(put.len() > 100);
}
