//! Lines in which some of the waiters have died, and objects that are gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use manager_rt::{LockError, LockGuard, LockResult, Manager};
use mp_sys::reexec::Handed;
use mp_sys::testing::{eventually, kill};
use rustix::process::Signal;

use crate::There;
use crate::deaths::{Holder, PATIENCE, heard, signal, tell};
use crate::queues::waiters;
use crate::server::Server;

/// Returns the guard, whether or not the last holder died.
pub(crate) fn guard<'a>(taken: LockResult<LockGuard<'a>>) -> LockGuard<'a> {
    match taken {
        Ok(guard) | Err(LockError::OwnerDied(guard)) => guard,
        Err(error) => panic!("{error:?}"),
    }
}

/// The main function of a process that dies while it holds a lock, and has two threads that were notified and wait for it.
fn notify_and_hold(handed: Handed) -> i32 {
    let manager = Manager::connect(&heard(&handed)).unwrap();
    let lock = manager.named("lock").lock().unwrap();
    let condition = manager.named("condition").condition().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| drop(condition.wait(lock.lock().unwrap())));
        }
        eventually("both wait", || condition.n_waiting() == Ok(2));
        tell(handed.endpoint(), "held");
        assert_eq!(heard(&handed), "notify");
        let _held = lock.lock().unwrap();
        assert_eq!(condition.notify(2), Ok(2));
        tell(handed.endpoint(), "held");
        heard(&handed);
    });
    0
}

/// With leases of an hour, only the keeper of the dead process can have freed the lock.
#[test]
fn a_lock_of_a_dead_process_whose_waiters_were_notified_has_one_holder() {
    let server = Server::start(&[]);
    let url = There::new(&server).leased("3600s");
    let holder = Holder::start(notify_and_hold, &url);
    let manager = Manager::connect(&url).unwrap();
    let condition = manager.named("condition").condition().unwrap();
    let (inside, together, lost) = (AtomicU32::new(0), AtomicU32::new(0), Arc::new(AtomicU32::new(0)));
    let hold = |held: LockGuard<'_>| {
        let lost = Arc::clone(&lost);
        held.on_lost(move || {
            lost.fetch_add(1, Ordering::SeqCst);
        });
        together.fetch_add(inside.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
        // Another holder has time to come in.
        condition.n_waiting().unwrap();
        inside.fetch_sub(1, Ordering::SeqCst);
    };
    let notified = || {
        let manager = Manager::connect(&url).unwrap();
        let lock = manager.named("lock").lock().unwrap();
        let condition = manager.named("condition").condition().unwrap();
        hold(guard(condition.wait(lock.lock().unwrap())));
    };
    let next = || {
        let manager = Manager::connect(&url).unwrap();
        let lock = manager.named("lock").lock().unwrap();
        hold(guard(lock.lock_timeout(PATIENCE)));
    };
    std::thread::scope(|scope| {
        let mut waiters = vec![scope.spawn(notified), scope.spawn(notified)];
        eventually("all wait", || condition.n_waiting() == Ok(4));
        holder.ask("notify");
        waiters.push(scope.spawn(next));
        eventually("the next one waits", || manager.info().unwrap().waiters == 5);
        kill(&holder.child);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
    let counts = (together.into_inner(), lost.load(Ordering::SeqCst));
    assert_eq!(counts, (0, 0), "holders beside others, and locks that were not held any more");
    assert!(manager.named("lock").lock().unwrap().try_lock().is_ok());
}

#[test]
fn a_notified_waiter_gets_its_lock_although_the_condition_is_gone() {
    let server = Server::start(&[]);
    let there = There::new(&server);
    let manager = there.connect();
    let lock = manager.named("lock").lock().unwrap();
    let condition = manager.named("condition").condition().unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let manager = there.connect();
            let lock = manager.named("lock").lock().unwrap();
            let condition = manager.named("condition").condition().unwrap();
            condition.wait(lock.lock().unwrap()).map(drop).map_err(|error| error.to_string())
        });
        eventually("it waits", || condition.n_waiting() == Ok(1));
        let held = lock.lock().unwrap();
        assert_eq!(condition.notify(1), Ok(1));
        manager.remove("condition").unwrap();
        // So it asks for its lock over another connection.
        server.cli(&["client", "kill", "type", "normal"]);
        let waits = || server.cli(&["info", "clients"]).contains("blocked_clients:1");
        eventually("it waits again", || waits() || waiter.is_finished());
        drop(held);
        assert_eq!(waiter.join().unwrap(), Ok(()));
    });
    assert!(lock.try_lock().is_ok(), "no ghost has it");
}

#[test]
fn a_waiter_whose_lock_was_removed_leaves_the_line() {
    let server = Server::start(&[]);
    let url = There::new(&server).leased("1s");
    let manager = Manager::connect(&url).unwrap();
    let condition = manager.named("condition").condition().unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let manager = Manager::connect(&url).unwrap();
            let lock = manager.named("lock").lock().unwrap();
            let condition = manager.named("condition").condition().unwrap();
            condition.wait(lock.lock().unwrap()).map(drop).map_err(|error| error.to_string())
        });
        eventually("it waits", || condition.n_waiting() == Ok(1));
        manager.remove("lock").unwrap();
        // It looks after a quarter of its lease.
        assert!(waiter.join().unwrap().is_err());
    });
    assert_eq!((condition.n_waiting(), condition.notify(1)), (Ok(0), Ok(0)));
    assert_eq!(manager.info().unwrap().waiters, 0);
}

/// The main function of a process that waits for a lock, and sends its token.
fn wait_for_lock(handed: Handed) -> i32 {
    let manager = Manager::connect(&heard(&handed)).unwrap();
    tell(handed.endpoint(), "held");
    while heard(&handed) == "lock" {
        let lock = manager.named("lock").lock().unwrap();
        let held = guard(lock.lock_timeout(PATIENCE));
        tell(handed.endpoint(), &held.token().to_string());
    }
    0
}

/// Returns how many sessions have not ended.
fn sessions(server: &Server, there: &There<'_>) -> String {
    let now = server.cli(&["time"]);
    let micros: String = now.lines().map(|part| format!("{part:0>6}")).collect();
    server.cli(&["zcount", &format!("{{{}}}:sessions", there.namespace()), &micros, "+inf"])
}

/// The holder has a lease of an hour, so the waiter does not look at the lock by itself.
#[test]
fn a_waiter_whose_session_has_ended_learns_of_it_when_it_would_be_next() {
    let server = Server::start(&[]);
    let there = There::new(&server);
    let manager = Manager::connect(&there.leased("3600s")).unwrap();
    let lock = manager.named("lock").lock().unwrap();
    let held = lock.lock().unwrap();
    let waiter = Holder::start(wait_for_lock, &there.leased("1s"));
    waiter.tell("lock");
    waiters(&manager, 1);
    waiter.kill_keeper();
    eventually("its session has ended", || sessions(&server, &there) == "1");
    let token = held.token();
    // Otherwise it begins to wait again at once.
    signal(waiter.child.id(), Signal::STOP);
    drop(held);
    assert!(server.cli(&["info", "clients"]).contains("blocked_clients:0"));
    signal(waiter.child.id(), Signal::CONT);
    assert!(waiter.says().parse::<u64>().unwrap() > token);
}

/// A process may sleep between a grant and the moment at which it reads it, longer than its lease.
#[test]
fn nobody_gets_a_lock_that_was_lost_before_the_call_returned() {
    let server = Server::start(&[]);
    let there = There::new(&server);
    let manager = Manager::connect(&there.leased("3600s")).unwrap();
    let lock = manager.named("lock").lock().unwrap();
    let held = lock.lock().unwrap();
    let waiter = Holder::start(wait_for_lock, &there.leased("3s"));
    waiter.tell("lock");
    waiters(&manager, 1);
    let processes = [waiter.child.id(), waiter.keeper()];
    processes.iter().for_each(|process| signal(*process, Signal::STOP));
    drop(held);
    eventually("its session has ended", || sessions(&server, &there) == "1");
    let next = guard(lock.lock_timeout(PATIENCE));
    let token = next.token();
    drop(next);
    processes.iter().for_each(|process| signal(*process, Signal::CONT));
    assert!(waiter.says().parse::<u64>().unwrap() > token);
}

/// More than one script frees at once.
const LOCKS: usize = 200;

/// The main function of a process that takes many locks.
fn hold_many(handed: Handed) -> i32 {
    let manager = Manager::connect(&heard(&handed)).unwrap();
    let locks: Vec<_> = (0..LOCKS).map(|_| manager.lock().unwrap()).collect();
    let held: Vec<_> = locks.iter().map(|lock| lock.lock().unwrap()).collect();
    tell(handed.endpoint(), "held");
    heard(&handed);
    drop(held);
    0
}

/// Whoever frees them may be interrupted, so others must find the session until nothing of it is left.
#[test]
fn a_session_is_known_until_all_that_it_held_is_free() {
    const UNKNOWN: &str = r"
        local left = redis.call('KEYS', ARGV[1])
        for _, key in ipairs(left) do
            if not redis.call('ZSCORE', KEYS[1], key:sub(-16)) then return 'unknown' end
        end
        return #left";
    let server = Server::start(&[]);
    let there = There::new(&server);
    let [sessions, sets] = ["sessions", "s:*"].map(|what| format!("{{{}}}:{what}", there.namespace()));
    let left = |times| server.cli(&["-r", times, "eval", UNKNOWN, "1", &sessions, &sets]);
    let holder = Holder::start(hold_many, &there.leased("3600s"));
    assert_eq!(left("1"), "1");
    std::thread::scope(|scope| {
        // It looks between any two scripts that free something.
        let all_free = || {
            let said = left("10000");
            let is_free = (said.lines().last() == Some("0")).then_some(true);
            if said.contains("unknown") { Some(false) } else { is_free }
        };
        let looks = scope.spawn(move || (0..100).find_map(|_| all_free()));
        let count = || {
            let said = server.cli(&["info", "commandstats"]);
            let (_, count) = said.split_once("cmdstat_eval:calls=").unwrap();
            count.split(',').next().unwrap().parse::<u64>().unwrap()
        };
        eventually("it looks", || count() > 100);
        kill(&holder.child);
        assert_eq!(looks.join().unwrap(), Some(true), "a session was unknown before all was free");
    });
    assert_eq!(server.cli(&["zcard", &sessions]), "0");
}
