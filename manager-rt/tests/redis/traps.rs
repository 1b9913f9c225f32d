//! What Redis and its protocol do that one does not expect. The design page lists all of it.

use std::time::Duration;

use manager_rt::proto::Fault;
use manager_rt::{CallError, Manager, ObjectError};

use crate::There;
use crate::server::Server;

/// Redis refuses every command of a transaction then, even DEL.
#[test]
fn a_pipeline_frees_memory_in_a_full_redis() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]);
    let manager = There::new(&server).connect();
    let (list, event) = (manager.list::<u32>().unwrap(), manager.event().unwrap());
    (0..300).for_each(|n| list.push(&n).unwrap());
    assert_eq!(server.cli(&["config", "set", "maxmemory", "1"]), "OK");
    let full = Err(ObjectError::Call(CallError::Fault(Fault::NoSpace)));
    assert_eq!(list.push(&7), full);
    let (pushed, popped) = manager.pipeline(|p| (p.on(&list).push(&7), p.on(&list).pop())).unwrap();
    assert!(pushed.is_err());
    assert_eq!(popped.ok(), Some(299));
    // More than one portion.
    manager.pipeline(|p| (0..200).for_each(|_| drop(p.on(&list).pop()))).unwrap();
    assert_eq!(list.len(), Ok(99));
    assert_eq!(event.is_set(), Ok(false));
}

/// A new connection begins at database 0.
#[test]
fn the_database_of_an_address_survives_broken_connections() {
    let server = Server::start(&[]);
    let there = There::new(&server);
    let manager = Manager::connect(&format!("{}&db=3", there.url())).unwrap();
    let value = manager.named("n").value(&5_u8).unwrap();
    for n in 6..9 {
        server.cli(&["client", "kill", "type", "normal"]);
        assert_eq!(server.cli(&["ping"]), "PONG");
        value.set(&n).unwrap();
        assert_eq!(value.get(), Ok(n));
    }
    let keys = |database| server.cli(&["-n", database, "dbsize"]);
    assert_eq!(keys("0"), "0");
    assert_ne!(keys("3"), "0");
}

/// A pop that is given up at the moment of a push loses what it was given.
#[test]
fn a_wait_that_ends_at_the_moment_of_its_grant_loses_nothing() {
    const EACH: u32 = 150;
    let server = Server::start(&[]);
    let there = There::new(&server);
    let permits = there.connect();
    let permits = permits.named("permits").semaphore(2).unwrap();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let there = &there;
            scope.spawn(move || {
                let manager = there.connect();
                let permits = manager.named("permits").semaphore(2).unwrap();
                for round in 0..EACH {
                    let timeout = Duration::from_micros(u64::from((round * 37 + worker * 911) % 3000));
                    drop(permits.acquire_timeout(timeout));
                }
            });
        }
    });
    assert_eq!((permits.available(), there.connect().info().unwrap().waiters), (Ok(2), 0));
}

/// A script would take Redis ten times as long.
#[test]
fn a_lock_for_which_nobody_waits_is_released_by_a_plain_command() {
    let server = Server::start(&[]);
    let there = There::new(&server);
    let manager = Manager::connect(&there.leased("3600s")).unwrap();
    let lock = manager.named("lock").lock().unwrap();
    // Its session has noted the lock.
    drop(lock.lock().unwrap());
    let removals = || {
        let stats = server.cli(&["info", "commandstats"]);
        let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_hdel:calls="));
        calls.and_then(|calls| calls.split(',').next()?.parse::<u32>().ok()).unwrap_or(0)
    };
    server.cli(&["config", "resetstat"]);
    let held = lock.lock().unwrap();
    let field = format!(":{}", held.token());
    let holder = || server.cli(&["eval", HOLDER, "0", &field]);
    assert!(!holder().is_empty());
    drop(held);
    assert_eq!((removals(), holder()), (1, String::new()));
    // Whoever looks at the holder moves it.
    let held = lock.lock().unwrap();
    assert_eq!(lock.is_locked(), Ok(true));
    drop(held);
    assert_eq!(lock.is_locked(), Ok(false));
    assert!(lock.try_lock().is_ok());
}

const HOLDER: &str = r"
    for _, key in ipairs(redis.call('keys', '*:o:*')) do
        if redis.call('type', key).ok == 'hash' then
            local holder = redis.call('hget', key, ARGV[1])
            if holder then return holder end
        end
    end
    return ''";
