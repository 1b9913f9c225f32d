//! Processes that are killed while they hold something, and connections that are cut.

use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use manager_rt::{CallError, LockError, Manager};
use mp_sys::child::ChildProcess;
use mp_sys::deadline::Deadline;
use mp_sys::ready::readable_later;
use mp_sys::reexec::{Command, Handed, first_packet};
use mp_sys::robust::Patience;
use mp_sys::socket::{Endpoint, Head, OVERHEAD_BYTES};
use mp_sys::testing::leaks::children_of;
use mp_sys::testing::{bare_fork, eventually, is_in_state, kill, leave, spawn_beside_threads, succeeded};
use rustix::process::{Pid, PidfdFlags, Signal, getpgid, getppid, kill_process, pidfd_open};

use crate::There;
use crate::queues::waiters;
use crate::server::Server;

/// How long a test waits for what must happen, on a busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
const HEAD: Head = Head { word: 0, long: 0 };

fn soon() -> Deadline {
    Deadline::after(PATIENCE)
}

/// Sends a text to the other process.
pub(crate) fn tell(endpoint: &Endpoint, text: &str) {
    let patience = Patience::Until(soon());
    endpoint.send(HEAD, &mut [0; OVERHEAD_BYTES], text.as_bytes(), &[], patience).unwrap();
}

fn text_in(packet: &[u8], len: usize) -> String {
    String::from_utf8(packet[OVERHEAD_BYTES..OVERHEAD_BYTES + len].to_vec()).unwrap()
}

/// Receives a text from the parent.
pub(crate) fn heard(handed: &Handed) -> String {
    let mut packet = [0; 1024];
    let received = handed.receive(&mut packet, soon()).unwrap();
    text_in(&packet, received.body_len)
}

/// The main function of a process that takes a lock, both permits of a semaphore, and the lock `other` when it is asked to.
fn hold(handed: Handed) -> i32 {
    let manager = Manager::connect(&heard(&handed)).unwrap();
    let (lock, permits) =
        (manager.named("lock").rlock().unwrap(), manager.named("permits").semaphore(2).unwrap());
    let held =
        (lock.lock().unwrap(), lock.lock().unwrap(), permits.acquire().unwrap(), permits.acquire().unwrap());
    tell(handed.endpoint(), "held");
    while heard(&handed) == "more" {
        let other = manager.named("other").lock().unwrap();
        assert!(other.try_lock().is_ok());
        tell(handed.endpoint(), "held");
    }
    drop(held);
    0
}

pub(crate) fn signal(process: u32, signal: Signal) {
    kill_process(Pid::from_raw(process.try_into().unwrap()).unwrap(), signal).unwrap();
}

/// A process that holds something.
pub(crate) struct Holder {
    pub(crate) child: ChildProcess,
    endpoint: Endpoint,
}

impl Holder {
    /// Starts a process with this main function, which receives the URL first.
    pub(crate) fn start(main: fn(Handed) -> i32, url: &str) -> Self {
        let (child, endpoint) = Command::new(main).unwrap().label("holder").start().unwrap();
        let holder = Self { child, endpoint };
        holder.ask(url);
        holder
    }

    /// Sends a text, and waits for the answer `held`.
    pub(crate) fn ask(&self, text: &str) {
        self.tell(text);
        assert_eq!(self.says(), "held");
    }

    pub(crate) fn tell(&self, text: &str) {
        tell(&self.endpoint, text);
    }

    /// Returns what the process sends next.
    pub(crate) fn says(&self) -> String {
        let mut packet = [0; 1024];
        let received = first_packet(&self.child, &self.endpoint, &mut packet, soon()).unwrap();
        text_in(&packet, received.body_len)
    }

    pub(crate) fn keeper(&self) -> u32 {
        let keepers = children_of(self.child.id());
        let [keeper] = keepers[..] else { panic!("{keepers:?}") };
        keeper
    }

    /// Kills the keeper of the process.
    pub(crate) fn kill_keeper(&self) {
        let keeper = self.keeper();
        signal(keeper, Signal::KILL);
        eventually("the keeper is dead", || is_in_state(keeper, 'Z'));
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        kill(&self.child);
    }
}

/// Waits for what the holder has, meanwhile lets it die in some way, and checks that nothing of it is left.
fn inherits(url: &str, server: &Server, die: impl FnOnce(&Holder)) {
    let holder = Holder::start(hold, url);
    let manager = Manager::connect(url).unwrap();
    let (lock, permits) =
        (manager.named("lock").rlock().unwrap(), manager.named("permits").semaphore(0).unwrap());
    std::thread::scope(|scope| {
        let taken = scope.spawn(|| {
            let error = lock.lock_timeout(PATIENCE).unwrap_err();
            assert!(matches!(error, LockError::OwnerDied(_)), "{error:?}");
        });
        let permit = scope.spawn(|| drop(permits.acquire_timeout(PATIENCE).unwrap()));
        waiters(&manager, 2);
        die(&holder);
        kill(&holder.child);
        taken.join().unwrap();
        permit.join().unwrap();
    });
    assert!(lock.try_lock().is_ok(), "only the next holder gets the error");
    assert_eq!(permits.available(), Ok(2));
    let (_, namespace) = url.rsplit_once("ns=").unwrap();
    let sessions = format!("{{{namespace}}}:sessions");
    eventually("only the own session is left", || server.cli(&["zcard", &sessions]) == "1");
}

/// With a lease of an hour, only the keeper can have freed it.
#[test]
fn what_a_killed_process_held_passes_on_at_once() {
    let server = Server::start(&[]);
    inherits(&There::new(&server).leased("3600s"), &server, |_| {});
}

/// The main function of a process that takes a lock, forks, and executes another program.
fn hold_and_exec(handed: Handed) -> i32 {
    let manager = Manager::connect(&heard(&handed)).unwrap();
    let held = manager.named("lock").lock().unwrap();
    let held = held.lock().unwrap();
    let child = bare_fork();
    if child.is_none() {
        // The parent keeps its id while it executes the other program.
        let parent = pidfd_open(getppid().unwrap(), PidfdFlags::empty()).unwrap();
        tell(handed.endpoint(), "held");
        readable_later(&[parent.as_fd()], soon()).unwrap();
        leave(true);
    }
    assert_eq!(heard(&handed), "exec");
    let error = std::process::Command::new("sleep").arg("1000").exec();
    drop((held, child));
    panic!("{error}");
}

/// The child has copies of most of what its parent had open.
#[test]
fn what_a_process_held_that_executes_another_program_passes_on_at_once() {
    let server = Server::start(&[]);
    let url = There::new(&server).leased("3600s");
    let holder = Holder::start(hold_and_exec, &url);
    let manager = Manager::connect(&url).unwrap();
    let lock = manager.named("lock").lock().unwrap();
    assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock)));
    holder.tell("exec");
    let error = lock.lock_timeout(PATIENCE).unwrap_err();
    assert!(matches!(error, LockError::OwnerDied(_)), "{error:?}");
}

/// So Ctrl-Z, which stops all processes of a group, stops no keeper.
#[test]
fn a_keeper_has_a_process_group_of_its_own() {
    let server = Server::start(&[]);
    let holder = Holder::start(hold, &There::new(&server).url());
    let keeper = holder.keeper();
    eventually("it has left the group", || group_of(keeper) == keeper);
    assert_ne!(group_of(holder.child.id()), keeper);
}

fn group_of(process: u32) -> u32 {
    let group = getpgid(Pid::from_raw(process.try_into().unwrap())).unwrap();
    group.as_raw_pid().try_into().unwrap()
}

#[test]
fn a_keeper_that_was_killed_is_replaced() {
    let server = Server::start(&[]);
    inherits(&There::new(&server).leased("3600s"), &server, |holder| {
        holder.kill_keeper();
        holder.ask("more");
    });
}

#[test]
fn what_a_process_held_whose_keeper_dies_too_passes_on_with_the_lease() {
    let server = Server::start(&[]);
    inherits(&There::new(&server).leased("3s"), &server, Holder::kill_keeper);
}

#[test]
fn a_redis_that_lost_everything_takes_the_locks_along() {
    let mut server = Server::start(&["--appendonly", "no"]);
    let manager = Manager::connect(&There::new(&server).leased("1s")).unwrap();
    let lock = manager.named("other").lock().unwrap();
    let held = lock.lock().unwrap();
    let holder = Holder::start(hold, &There::new(&server).leased("3s"));
    let keeper = holder.keeper();
    server.restart();
    // A keeper whose session lives goes on.
    eventually("the keeper notices", || is_in_state(keeper, 'Z'));
    eventually("the process notices", || !held.is_valid());
    drop(held);
    assert!(matches!(lock.lock(), Err(LockError::Call(CallError::Restarted))));
}

/// Whatever is cut, nobody holds a lock beside another, and every wait ends.
#[test]
fn locks_survive_cut_connections_and_forgotten_scripts() {
    const EACH: u32 = 60;
    let server = Server::start(&[]);
    let there = There::new(&server);
    let (inside, taken) = (AtomicU32::new(0), AtomicU32::new(0));
    let tokens = Mutex::new(0);
    let begun = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let manager = there.connect();
                    let lock = manager.named("lock").lock().unwrap();
                    drop(lock.lock_timeout(PATIENCE).unwrap());
                    begun.fetch_add(1, Ordering::Relaxed);
                    for _ in 0..EACH {
                        match lock.lock_timeout(PATIENCE) {
                            Ok(held) => {
                                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two holders");
                                let mut newest = tokens.lock().unwrap();
                                assert!(held.token() > *newest);
                                *newest = held.token();
                                drop(newest);
                                // Another holder has time to come in, whether or not this call is cut.
                                drop(lock.is_locked());
                                taken.fetch_add(1, Ordering::Relaxed);
                                inside.fetch_sub(1, Ordering::SeqCst);
                            }
                            // A new connection was cut before the call was sent.
                            Err(LockError::Call(CallError::ServerGone)) => {}
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                })
            })
            .collect();
        eventually("all have begun", || begun.load(Ordering::Relaxed) == 4);
        while !workers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            server.cli(&["client", "kill", "type", "normal"]);
            server.cli(&["script", "flush"]);
        }
    });
    assert!(taken.into_inner() > EACH * 4 / 2);
}

#[test]
fn a_forked_child_holds_nothing_of_its_parent() {
    let server = Server::start(&[]);
    let manager = There::new(&server).connect();
    let lock = manager.named("lock").lock().unwrap();
    let held = lock.lock().unwrap();
    succeeded(&spawn_beside_threads(|| {
        assert!(!held.is_valid());
        assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock)));
        let own = manager.lock().unwrap();
        assert!(own.lock().unwrap().is_valid());
    }));
    assert!(held.is_valid() && lock.is_locked().unwrap());
    drop(held);
    assert!(!lock.is_locked().unwrap());
}
