//! Redis that is restarted, full, or forgets, and processes that fork.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use manager_rt::proto::Fault;
use manager_rt::{AddressError, CallError, ConnectError, ItemError, Manager, ObjectError, ReachError};
use mp_sys::testing::eventually;

use crate::There;
use crate::server::Server;

#[test]
fn what_was_acknowledged_is_there_after_a_kill_of_redis() {
    let mut server = Server::start(&["--appendfsync", "always"]);
    let url = There::new(&server).url();
    let manager = Manager::connect(&url).unwrap();
    let dict = manager.named("d").dict::<u32, u32>().unwrap();
    (0..500).for_each(|n| dict.insert(&n, &(n * 2)).unwrap());
    server.restart();
    // The first call finds the broken connection. It only reads, so it may be repeated.
    eventually("Redis serves again", || dict.len().is_ok());
    assert!((0..500).all(|n| dict.get(&n) == Ok(Some(n * 2))));
}

#[test]
fn a_redis_that_lost_everything_is_another_manager() {
    let mut server = Server::start(&["--appendonly", "no"]);
    let url = There::new(&server).url();
    let manager = Manager::connect(&url).unwrap();
    let list = manager.named("l").list::<u8>().unwrap();
    list.push(&1).unwrap();
    server.restart();
    // Somebody else makes new objects, which an old proxy must not reach.
    let other = Manager::connect(&url).unwrap();
    let others = other.named("l").list::<u8>().unwrap();
    (0..5).for_each(|_| drop(other.list::<u8>().unwrap()));
    eventually("the loss is noticed", || {
        matches!(list.push(&2), Err(ObjectError::Call(CallError::Restarted)))
    });
    assert_eq!(others.len(), Ok(0));
}

/// Redis writes its changes to the disk once a second, and the machine crashes.
#[test]
fn an_object_that_redis_lost_is_not_mistaken_for_a_later_one() {
    let mut server = Server::start(&["--appendfsync", "always"]);
    let url = There::new(&server).url();
    let manager = Manager::connect(&url).unwrap();
    let kept = manager.named("kept").list::<u8>().unwrap();
    let saved = tempfile::tempdir().unwrap();
    copy(&server.folder().join("appendonlydir"), saved.path());
    let lost = manager.named("lost").list::<u8>().unwrap();
    lost.push(&1).unwrap();
    server.restart_after(|folder| copy(saved.path(), &folder.join("appendonlydir")));
    let later = Manager::connect(&url).unwrap().named("later").list::<u8>().unwrap();
    let gone = Err(ObjectError::Call(CallError::Fault(Fault::UnknownObject)));
    assert_eq!(lost.push(&2), gone);
    assert_eq!((later.len(), kept.len()), (Ok(0), Ok(0)));
}

fn copy(from: &Path, to: &Path) {
    std::fs::remove_dir_all(to).unwrap();
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[test]
fn connections_that_ended_while_nobody_used_them_cost_no_call() {
    const CALLS: usize = 8;
    let server = Server::start(&[]);
    let manager = There::new(&server).connect();
    let sum = manager.value(&0_u64).unwrap();
    let add = || {
        std::thread::scope(|scope| {
            let adders: Vec<_> = (0..CALLS).map(|_| scope.spawn(|| sum.fetch_add(1))).collect();
            // All of them are under way at the same time, each over its own connection.
            let clients = || server.cli(&["client", "list", "type", "normal"]).lines().count();
            eventually("all calls are under way", || clients() == CALLS + 1);
            assert_eq!(server.cli(&["client", "unpause"]), "OK");
            adders.into_iter().for_each(|adder| assert!(adder.join().unwrap().is_ok()));
        });
    };
    for _ in 0..3 {
        assert_eq!(server.cli(&["client", "pause", "60000", "write"]), "OK");
        add();
        server.cli(&["client", "kill", "type", "normal"]);
        // Redis has closed them before it answers the next client.
        assert_eq!(server.cli(&["ping"]), "PONG");
    }
    assert_eq!(sum.get(), Ok(24));
}

#[test]
fn scripts_that_redis_forgot_are_sent_again() {
    let server = Server::start(&[]);
    let manager = There::new(&server).connect();
    let value = manager.value(&0_u32).unwrap();
    for round in 0..20 {
        assert_eq!(server.cli(&["script", "flush"]), "OK");
        assert_eq!(value.fetch_add(1), Ok(round));
        let added = manager.pipeline(|p| p.on(&value).fetch_add(0)).unwrap();
        assert_eq!(added, Ok(round + 1));
    }
}

#[test]
fn long_pipelines_keep_their_order() {
    let server = Server::start(&[]);
    let manager = There::new(&server).connect();
    let list = manager.list::<u32>().unwrap();
    manager.pipeline(|p| (0..1000).for_each(|n| drop(p.on(&list).push(&n)))).unwrap();
    assert_eq!(list.to_vec().unwrap(), (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_full_redis_refuses_what_needs_memory_and_nothing_else() {
    let server = Server::start(&["--maxmemory", "6mb", "--maxmemory-policy", "noeviction"]);
    let manager = There::new(&server).connect();
    let list = manager.list::<Vec<u8>>().unwrap();
    let dict = manager.dict::<u32, u8>().unwrap();
    let (lock, permits) = (manager.lock().unwrap(), manager.semaphore(1).unwrap());
    (0..50).for_each(|n| dict.insert(&n, &1).unwrap());
    let item = vec![7; 100_000];
    let full = Err(ObjectError::Call(CallError::Fault(Fault::NoSpace)));
    let pushed = (0..200).take_while(|_| list.push(&item) != full).count();
    assert!((5..100).contains(&pushed), "{pushed}");
    // Nothing was half done: the lengths agree with what was acknowledged.
    assert_eq!(list.len(), Ok(pushed));
    // What Redis keeps for its clients comes and goes, so there may be room for little entries.
    let full = Err(ObjectError::Call(CallError::Fault(Fault::NoSpace)));
    let inserted = (50..100_000).take_while(|n| dict.insert(n, &1) != full).count();
    assert_eq!(dict.len(), Ok(50 + inserted));
    // Locks and permits, and the session that they need, take little.
    drop((lock.lock().unwrap(), permits.acquire().unwrap()));
    assert_eq!((lock.is_locked(), permits.available()), (Ok(false), Ok(1)));
    // What frees memory goes on.
    assert_eq!(dict.remove(&3), Ok(Some(1)));
    assert_eq!(list.remove(1).map(|item| item.len()), Ok(100_000));
    assert!(list.pop().is_ok());
    list.clear().unwrap();
    list.push(&item).unwrap();
}

#[test]
fn every_connection_may_be_cut_under_load() {
    let server = Server::start(&[]);
    let there = There::new(&server);
    let manager = there.connect();
    let sum = manager.named("sum").value(&0_u64).unwrap();
    let (done, unknown) = std::thread::scope(|scope| {
        let adders: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let (mut done, mut unknown) = (0_u64, 0_u64);
                    for _ in 0..1000 {
                        match sum.fetch_add(1) {
                            Ok(_) => done += 1,
                            Err(ItemError::Object(ObjectError::Call(CallError::OutcomeUnknown))) => {
                                unknown += 1;
                            }
                            // A new connection was cut before the operation was sent.
                            Err(ItemError::Object(ObjectError::Call(CallError::ServerGone))) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                    (done, unknown)
                })
            })
            .collect();
        for _ in 0..10 {
            server.cli(&["client", "kill", "type", "normal"]);
        }
        adders.into_iter().map(|adder| adder.join().unwrap()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    });
    // The connections that were cut last are still to be noticed.
    let found = Cell::new(0);
    eventually("Redis answers again", || sum.get().map(|sum| found.set(sum)).is_ok());
    let found = found.get();
    assert!((done..=done + unknown).contains(&found), "{done} done, {unknown} unknown, {found} found");
}

#[test]
fn a_password_is_needed_and_never_shown() {
    let server = Server::start(&["--requirepass", "opensesame"]);
    let url = There::new(&server).url();
    let refused = Manager::connect(&url).unwrap_err();
    assert!(matches!(refused, ReachError::Connect { error: ConnectError::Unauthorised, .. }), "{refused}");
    let wrong = Manager::builder().key("wrong").connect(&url).unwrap_err();
    assert!(matches!(wrong, ReachError::Connect { error: ConnectError::Unauthorised, .. }), "{wrong}");
    let manager = Manager::builder().key("opensesame").connect(&url).unwrap();
    let value = manager.value(&1_u8).unwrap();
    for shown in [format!("{manager:?}"), format!("{value:?}"), manager.address().unwrap()] {
        assert!(!shown.contains("opensesame"), "{shown}");
    }
    // A proxy in a message does not contain it either.
    let message = postcard::to_stdvec(&value).unwrap();
    assert!(!message.windows(10).any(|part| part == b"opensesame"));
}

#[test]
fn addresses_that_lead_nowhere_are_errors() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let nobody = format!("redis+unix://{}", folder.path().join("none").display());
    let error = Manager::connect(&nobody).unwrap_err();
    assert!(matches!(error, ReachError::Connect { error: ConnectError::NotFound, .. }), "{error}");
    for bad in ["redis://host/x", "redis://host?other=1"] {
        let error = Manager::connect(bad).unwrap_err();
        assert!(matches!(error, ReachError::Address(AddressError::Redis(_))), "{error}");
    }
    // Somebody who is not Redis.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = Manager::builder()
        .timeout(Duration::from_millis(200))
        .connect(&format!("redis://127.0.0.1:{port}"))
        .unwrap_err();
    assert!(matches!(silent, ReachError::Connect { error: ConnectError::TimedOut, .. }), "{silent}");
    drop(server);
}

#[test]
fn namespaces_do_not_see_each_other() {
    let server = Server::start(&[]);
    let (one, other) = (There::new(&server).connect(), There::new(&server).connect());
    one.named("n").value(&1_u8).unwrap();
    assert_eq!(other.names().unwrap(), Vec::<String>::new());
    assert_eq!(other.named("n").value(&2_u8).unwrap().get(), Ok(2));
    assert_eq!(one.named("n").value(&3_u8).unwrap().get(), Ok(1));
    assert_eq!(other.remove("n"), Ok(()));
    assert_eq!(one.names().unwrap(), ["n"]);
}
