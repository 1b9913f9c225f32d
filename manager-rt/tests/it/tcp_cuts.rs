//! A connection between hosts that ends at any byte of any kind of operation: each is done once or not at all, and its caller
//! learns which, or that this is unknown.

use std::fmt::Debug;
use std::time::Duration;

use manager_rt::{LockError, Manager};
use mp_sys::testing::eventually;

use crate::tcp::{KEY, started};
use crate::tcp_relay::TcpRelay;

/// The tasks and items of a queue.
pub(crate) const MANY: usize = 2_000;
/// How long a lock that was held over a connection that has ended may be held.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What the caller of an operation learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Learned {
    Done,
    Unknown,
    NotDone,
}

/// Returns what an outcome says.
pub(crate) fn learned<T, E: Debug>(outcome: Result<T, E>) -> Learned {
    let Err(error) = outcome else { return Learned::Done };
    let text = format!("{error:?}");
    match text {
        _ if text.contains("OutcomeUnknown") => Learned::Unknown,
        // Its task was another connection's.
        _ if text.contains("ServerGone") || text.contains("NotOwned") => Learned::NotDone,
        _ => panic!("{text}"),
    }
}

/// A kind of operation, of an object of type `X`.
pub(crate) struct Kind<X> {
    pub(crate) name: &'static str,
    pub(crate) make: fn(&Manager) -> X,
    pub(crate) run: fn(&X) -> Learned,
    /// Returns a number that grows by one with each operation that was done, and checks that nobody holds anything.
    pub(crate) count: fn(&X) -> Option<u64>,
}

impl<X> Kind<X> {
    /// Cuts the connection after every fifth byte of the operation's calls, and of their answers.
    pub(crate) fn check(&self) {
        self.check_each(5);
    }

    /// Cuts the connection after each so many bytes, and after the last one.
    pub(crate) fn check_each(&self, step: usize) {
        let server = started();
        let relay = TcpRelay::to(&server.tcp_address().unwrap());
        let client = relay.client(KEY);
        let (ours, theirs) = ((self.make)(&server), (self.make)(&client));
        assert_eq!((self.run)(&theirs), Learned::Done, "{}", self.name);
        let lens = || relay.sent().map(|sent| sent.len());
        let before = lens();
        assert_eq!((self.run)(&theirs), Learned::Done, "{}", self.name);
        let after = lens();
        let mut count = (self.count)(&ours);
        for way in 0..2 {
            let len = after[way] - before[way];
            for at in (0..len).step_by(step).chain([len]) {
                relay.sever_after(way, at);
                let learned = (self.run)(&theirs);
                relay.sever_never();
                eventually("the client is connected", || client.names().is_ok());
                // The server has done all that a connection brought when it drops it.
                eventually("the server has only these two clients", || server.info().unwrap().clients == 2);
                let now = (self.count)(&ours);
                if let Some((before, now)) = count.zip(now) {
                    let place = format!("{}, cut after byte {at} of way {way}: {learned:?}", self.name);
                    match learned {
                        Learned::Done => assert_eq!(now, before + 1, "{place}"),
                        Learned::NotDone => assert_eq!(now, before, "{place}"),
                        Learned::Unknown => assert!(now == before || now == before + 1, "{place}"),
                    }
                }
                count = now;
            }
        }
        server.shutdown().unwrap();
    }
}

pub(crate) fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap()
}

pub(crate) fn none<X>(_: &X) -> Option<u64> {
    None
}

#[test]
fn containers_change_once_or_not_at_all() {
    Kind {
        name: "value",
        make: |m| m.named("x").value(&0_u64).unwrap(),
        run: |x| learned(x.fetch_add(1)),
        count: |x| x.get().ok(),
    }
    .check_each(1);
    Kind {
        name: "dict",
        make: |m| m.named("x").dict::<u8, u64>().unwrap(),
        run: |x| learned(x.fetch_add(&1, 1)),
        count: |x| x.get(&1).unwrap(),
    }
    .check();
    Kind {
        name: "list",
        make: |m| m.named("x").list::<u64>().unwrap(),
        run: |x| learned(x.push(&1)),
        count: |x| x.len().ok().map(length),
    }
    .check();
    Kind {
        name: "array",
        make: |m| m.named("x").array(&[0_u64; 4]).unwrap(),
        run: |x| learned(x.fetch_add(2, 1)),
        count: |x| x.get(2).ok(),
    }
    .check();
    Kind {
        name: "namespace",
        make: |m| m.named("x").namespace().unwrap(),
        run: |x| learned(x.set("attribute", &1)),
        count: none,
    }
    .check();
}

#[test]
fn queues_lose_and_double_nothing_without_a_word() {
    Kind {
        name: "put",
        make: |m| m.named("x").queue::<u64>().unwrap(),
        run: |x| learned(x.put(&1)),
        count: |x| x.len().ok().map(length),
    }
    .check();
    Kind {
        name: "get",
        make: |m| {
            let queue = m.named("x").queue::<u64>().unwrap();
            if queue.is_empty().unwrap() {
                queue.put_many(&[1; MANY]).unwrap();
            }
            queue
        },
        run: |x| learned(x.get()),
        count: |x| Some(length(MANY - x.len().unwrap())),
    }
    .check();
    Kind {
        name: "a task, and its end",
        make: |m| {
            let queue = m.named("x").joinable_queue_with::<u64>(0, u32::MAX).unwrap();
            if queue.is_empty().unwrap() {
                queue.put_many(&[1; MANY]).unwrap();
            }
            queue
        },
        run: |x| match x.get() {
            Ok(task) => learned(task.done()),
            // If it was taken, it comes back.
            Err(error) => match learned::<(), _>(Err(error)) {
                Learned::Unknown => Learned::NotDone,
                learned => learned,
            },
        },
        count: |x| {
            eventually("all tasks are back", || x.unfinished().unwrap() == x.len().unwrap());
            Some(length(MANY - x.unfinished().unwrap()))
        },
    }
    .check();
}

#[test]
fn locks_and_signals_are_not_held_by_a_connection_that_has_ended() {
    Kind {
        name: "lock",
        make: |m| m.named("x").lock().unwrap(),
        run: |x| match x.lock() {
            Ok(_) | Err(LockError::OwnerDied(_)) => Learned::Done,
            Err(error) => learned::<(), _>(Err(error)),
        },
        count: |x| {
            let taken = x.lock_timeout(PATIENCE);
            assert!(matches!(taken, Ok(_) | Err(LockError::OwnerDied(_))), "{taken:?}");
            None
        },
    }
    .check();
    Kind {
        name: "semaphore",
        make: |m| m.named("x").bounded_semaphore(1).unwrap(),
        run: |x| learned(x.acquire()),
        count: |x| {
            drop(x.acquire_timeout(PATIENCE).unwrap());
            None
        },
    }
    .check();
    Kind {
        name: "event",
        make: |m| m.named("x").event().unwrap(),
        run: |x| learned(x.set().and_then(|()| x.wait())),
        count: none,
    }
    .check();
    Kind {
        name: "barrier",
        make: |m| m.named("x").barrier(1).unwrap(),
        run: |x| match x.wait() {
            // Another wait went with its connection.
            Err(manager_rt::BarrierError::Broken) => {
                drop(x.reset());
                Learned::Unknown
            }
            outcome => learned(outcome),
        },
        count: |x| {
            x.reset().unwrap();
            x.wait_timeout(PATIENCE).unwrap();
            None
        },
    }
    .check();
}

#[test]
fn several_operations_are_done_together_or_not_at_all() {
    Kind {
        name: "transaction",
        make: |m| (m.clone(), m.named("x").value(&0_u64).unwrap(), m.named("y").list::<u8>().unwrap()),
        run: |(m, x, y)| learned(m.transaction(|t| (t.on(x).fetch_add(1), t.on(y).push(&1)))),
        count: |(_, x, y)| {
            assert_eq!(x.get().unwrap(), length(y.len().unwrap()), "only one of them was done");
            x.get().ok()
        },
    }
    .check();
    Kind {
        name: "pipeline",
        make: |m| (m.clone(), m.named("x").value(&0_u64).unwrap()),
        run: |(m, x)| match m.pipeline(|p| (p.on(x).fetch_add(1),)) {
            Ok((outcome,)) => learned(outcome),
            Err(error) => learned::<(), _>(Err(error)),
        },
        count: |(_, x)| x.get().ok(),
    }
    .check();
    Kind {
        name: "finding or making an object",
        make: Manager::clone,
        run: |m| learned(m.named("x").list::<u8>().and_then(|x| x.push(&1))),
        count: |m| m.named("x").list::<u8>().unwrap().len().ok().map(length),
    }
    .check();
}

/// Packets of a connection that its client has given up may still be on their way when the next connection is there.
#[test]
fn what_arrives_late_over_an_earlier_connection_does_not_end_the_next_one() {
    let server = Manager::builder().key(KEY).tcp("127.0.0.1:0?lost_after=60s").start().unwrap();
    let relay = TcpRelay::to(&server.tcp_address().unwrap());
    let clients = || server.info().unwrap().clients;
    drop(relay.client(KEY));
    eventually("the first client has left", || clients() == 1);
    // The last record in which a client connects says which session it has. Its length depends a little on that.
    let sent = || relay.sent()[0].len();
    let all = sent();
    relay.withhold_after(all - 10);
    let client = relay.client(KEY);
    eventually("it has sent as much", || sent() > 2 * all - 5);
    relay.freeze();
    eventually("it is connected again", || client.names().is_ok());
    let lock = client.named("lock").lock().unwrap();
    let guard = lock.lock().unwrap();
    eventually("the rest arrives", || relay.release());
    eventually("one of its connections is ended", || clients() == 2);
    let same = server.named("lock").lock().unwrap();
    let outcome = same.try_lock();
    assert!(matches!(outcome, Err(LockError::WouldBlock)), "{outcome:?}");
    assert!(guard.is_valid());
    server.shutdown().unwrap();
}
