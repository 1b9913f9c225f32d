//! Clients on another host, whose link is cut: two network namespaces on this machine. They need the rights of root.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use manager_rt::{
    Barrier, CallError, ConnectError, GetError, JoinableQueue, List, Lock, LockError, LockGuard, Manager,
    ObjectError, Party, Permit, Queue, ReachError, Semaphore, Task,
};
use mp_sys::testing::eventually;
use mp_sys::testing::hosts::{Host, TwoHosts, Weather};

use crate::tcp::{KEY, connect};

/// The shortest time after which a peer counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(2);
/// How much later than promised something may happen on a busy machine.
const SLACK: Duration = Duration::from_secs(10);

/// Returns two hosts, or says aloud why there are none.
fn permitted(hosts: Result<TwoHosts, String>) -> Option<TwoHosts> {
    match hosts {
        Ok(hosts) => Some(hosts),
        Err(why) => {
            say(&format!("SKIPPED: a test of hosts whose link is cut, for there are none: {why}"));
            None
        }
    }
}

/// Prints a line that libtest does not capture.
fn say(line: &str) {
    std::io::Write::write_all(&mut std::io::stderr(), format!("{line}\n").as_bytes()).unwrap();
}

/// Starts a server on the first host.
fn started(hosts: &TwoHosts) -> Manager {
    let at = format!("{}:0?lost_after=2s", Host::One.address());
    hosts.on(Host::One, || Manager::builder().key(KEY).tcp(at).start().unwrap())
}

/// Returns a flag that is set when a guard learns that it is lost.
fn flag() -> (Arc<AtomicBool>, impl FnOnce() + Send + 'static) {
    let flag = Arc::new(AtomicBool::new(false));
    let same = Arc::clone(&flag);
    (flag, move || same.store(true, Ordering::Relaxed))
}

/// Checks that something happened as soon as promised after the link was cut.
fn check_bound(what: &str, since: Instant) {
    let took = since.elapsed();
    // These figures are in the guide.
    say(&format!("{what}: {took:.1?} after the cut, with lost_after=2s"));
    assert!(took < LOST_AFTER + SLACK, "{what} took {took:?}");
}

/// Waits until a call succeeds again.
fn reconnected(manager: &Manager) {
    eventually("the client is connected again", || manager.names().is_ok());
}

fn has_lost(error: &ObjectError) -> bool {
    matches!(error, ObjectError::Call(CallError::ServerGone | CallError::OutcomeUnknown))
}

#[test]
fn a_cut_link_frees_what_a_client_held_and_the_client_learns_it() {
    frees_and_tells(TwoHosts::joined());
}

#[test]
fn a_silent_link_frees_what_a_client_held_and_the_client_learns_it() {
    frees_and_tells(TwoHosts::joined_in(Weather::fair()));
}

fn frees_and_tells(hosts: Result<TwoHosts, String>) {
    let Some(hosts) = permitted(hosts) else { return };
    let server = started(&hosts);
    let address = server.tcp_address().unwrap();
    server.named("tasks").joinable_queue::<String>().unwrap().put("a task").unwrap();
    let objects = server.info().unwrap().objects;
    hosts.on(Host::Two, || {
        let client = connect(&address, KEY);
        let held = Held::by(&client);
        let own = Own::of(&held);
        assert!(server.info().unwrap().objects > objects, "it has an object without a name");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| held.queue.get());
            eventually("it waits", || server.info().unwrap().waiters == 1);
            let cut = Instant::now();
            hosts.cut();
            check_freed(&server, cut);
            // A waiting call ends, and with it all guards learn what happened.
            let outcome = waiting.join().unwrap();
            assert!(matches!(&outcome, Err(GetError::Object(error)) if has_lost(error)), "{outcome:?}");
            check_bound("learning that a lock is lost", cut);
            own.check_lost();
            assert!(matches!(client.names(), Err(CallError::ServerGone | CallError::OutcomeUnknown)));
        });
        drop(own);
        hosts.restore();
        reconnected(&client);
        held.list.push(&1).unwrap_err();
        assert_eq!(server.named("tasks").joinable_queue::<String>().unwrap().unfinished().unwrap(), 0);
        let again = held.lock.lock().unwrap();
        assert!(again.is_valid(), "it can take the lock again");
    });
    server.shutdown().unwrap();
}

/// Proxies of a client.
struct Held {
    lock: Lock,
    leased: Lock,
    permits: Semaphore,
    tasks: JoinableQueue<String>,
    barrier: Barrier,
    queue: Queue<u8>,
    list: List<u8>,
}

impl Held {
    fn by(client: &Manager) -> Self {
        Self {
            lock: client.named("lock").lock().unwrap(),
            leased: client.named("leased").lock().unwrap(),
            permits: client.named("permits").semaphore(1).unwrap(),
            tasks: client.named("tasks").joinable_queue().unwrap(),
            barrier: client.named("barrier").barrier(2).unwrap(),
            queue: client.named("queue").queue().unwrap(),
            list: client.list().unwrap(),
        }
    }
}

/// What a client has of them.
struct Own<'a> {
    locks: [LockGuard<'a>; 2],
    permit: Permit<'a>,
    party: Party<'a>,
    _task: Task<String>,
    lost: Vec<Arc<AtomicBool>>,
}

impl<'a> Own<'a> {
    fn of(held: &'a Held) -> Self {
        let hour = Duration::from_secs(3_600);
        let locks = [held.lock.lock().unwrap(), held.leased.lock_leased(hour).unwrap()];
        let permit = held.permits.acquire().unwrap();
        let party = held.barrier.party().unwrap();
        let mut lost = Vec::new();
        for guard in &locks {
            let (flag, set) = flag();
            guard.on_lost(set);
            lost.push(flag);
        }
        let (flag, set) = flag();
        permit.on_lost(set);
        lost.push(flag);
        Self { locks, permit, party, _task: held.tasks.get().unwrap(), lost }
    }

    fn check_lost(&self) {
        for guard in &self.locks {
            assert!(!guard.is_valid());
        }
        assert!(!self.permit.is_valid());
        for flag in &self.lost {
            assert!(flag.load(Ordering::Relaxed), "a guard was not told");
        }
        let outcome = self.party.wait_timeout(Duration::from_millis(1));
        assert!(outcome.is_err(), "{outcome:?}");
    }
}

/// Checks that another client gets all that the lost one held.
fn check_freed(server: &Manager, cut: Instant) {
    for name in ["lock", "leased"] {
        let lock = server.named(name).lock().unwrap();
        let taken_over = lock.lock();
        assert!(matches!(taken_over, Err(LockError::OwnerDied(_))), "{taken_over:?}");
        check_bound("freeing a lock", cut);
    }
    drop(server.named("permits").semaphore(1).unwrap().acquire().unwrap());
    let task = server.named("tasks").joinable_queue::<String>().unwrap().get().unwrap();
    assert_eq!((task.as_str(), task.deliveries()), ("a task", 2));
    task.done().unwrap();
    check_bound("freeing a permit and a task", cut);
    let barrier = server.named("barrier").barrier(2).unwrap();
    eventually("the barrier is broken", || barrier.is_broken().unwrap());
    let info = || server.info().unwrap();
    eventually("the calls of the client no longer wait", || info().waiters == 0);
}

#[test]
fn connecting_to_a_host_that_does_not_answer_ends_in_time() {
    let Some(hosts) = permitted(TwoHosts::joined_in(Weather::fair())) else { return };
    let server = started(&hosts);
    let address = server.tcp_address().unwrap();
    hosts.cut();
    hosts.on(Host::Two, || {
        let began = Instant::now();
        let refused = Manager::builder().key(KEY).timeout(Duration::from_secs(600)).connect(&address);
        let Err(ReachError::Connect { error: refusal, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(refusal, ConnectError::TimedOut);
        check_bound("connecting", began);
    });
    server.shutdown().unwrap();
}
