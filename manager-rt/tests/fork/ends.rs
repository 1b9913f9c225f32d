//! Servers that end or are killed, and parents that end: which clients get an error, and what is left.

use std::os::fd::AsFd;

use manager_rt::{
    BarrierError, BindError, CallError, ItemError, LockError, Manager, ObjectError, ReachError, Server,
};
use mp_sys::child::Ended;
use mp_sys::testing::{PATIENCE, Random, eventually, hang, kill, spawn, succeeded, tests};
use rustix::process::{Signal, WaitId, WaitIdOptions, getpid, kill_process, set_child_subreaper, waitid};

use crate::fixture::{Place, until_waiting};

tests! {
    all_waiters_get_an_error_when_the_server_is_killed,
    a_server_is_killed_in_the_middle_of_an_operation,
    proxies_of_a_restarted_server_get_an_error,
    a_server_outlives_sigterm_and_ends_with_its_program,
    a_shutdown_ends_the_server_for_all,
    the_server_ends_with_its_killed_parent,
    the_server_ends_with_a_parent_that_exits,
    a_server_does_not_outlive_its_parent_for_others,
    the_folder_of_a_killed_server_and_parent_is_swept,
    a_server_that_does_not_come_to_listen_leaves_hangups_as_they_were,
}

/// Returns `true` if no answer will come any more.
fn is_gone(error: CallError) -> bool {
    matches!(error, CallError::ServerGone | CallError::OutcomeUnknown)
}

fn expect_gone<T>(outcome: Result<T, ObjectError>) {
    match outcome {
        Err(ObjectError::Call(error)) if is_gone(error) => {}
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("there was an answer"),
    }
}

fn all_waiters_get_an_error_when_the_server_is_killed() {
    let manager = Manager::start().unwrap();
    let place = Place::of(&manager);
    let (lock, event) = (manager.lock().unwrap(), manager.event().unwrap());
    let (queue, semaphore) = (manager.queue::<u8>().unwrap(), manager.semaphore(0).unwrap());
    let (barrier, tasks) = (manager.barrier(2).unwrap(), manager.joinable_queue::<u8>().unwrap());
    let _guard = lock.lock().unwrap();
    let waiters = [
        spawn(|| {
            let error = lock.lock().unwrap_err();
            assert!(matches!(error, LockError::Call(CallError::OutcomeUnknown)), "{error:?}");
            // From here on, no process could have done the operation.
            assert!(matches!(lock.try_lock(), Err(LockError::Call(CallError::ServerGone))));
        }),
        spawn(|| expect_gone(event.wait())),
        spawn(|| assert!(queue.get().is_err())),
        spawn(|| assert!(semaphore.acquire().is_err())),
        spawn(|| assert!(barrier.wait().is_err())),
        spawn(|| assert!(tasks.get().is_err())),
    ];
    until_waiting(&manager, 6);
    place.signal(Signal::KILL);
    waiters.iter().for_each(succeeded);
    // The kernel closes the connections one after another, so this one may have accepted one more call.
    assert!(manager.info().is_err_and(is_gone));
    assert_eq!(manager.shutdown(), Err(CallError::ServerGone));
    place.is_gone();
}

fn a_server_is_killed_in_the_middle_of_an_operation() {
    let mut random = Random::new();
    for _ in 0..20 {
        let manager = Manager::start().unwrap();
        let place = Place::of(&manager);
        let value = manager.value(&0_u64).unwrap();
        let started = manager.barrier(3).unwrap();
        let clients = [(); 2].map(|()| {
            spawn(|| {
                if let Err(error) = started.wait_timeout(PATIENCE) {
                    // The others continued, and killed the server before this process noticed it.
                    let BarrierError::Object(ObjectError::Call(error)) = error else { panic!("{error:?}") };
                    return assert!(is_gone(error), "{error:?}");
                }
                let error = loop {
                    if let Err(error) = value.fetch_add(1) {
                        break error;
                    }
                };
                let ItemError::Object(ObjectError::Call(error)) = error else { panic!("{error:?}") };
                assert!(is_gone(error), "{error:?}");
                // No call is silently repeated, and no call waits.
                let again = value.fetch_add(1).unwrap_err();
                assert_eq!(again, ItemError::Object(ObjectError::Call(CallError::ServerGone)));
            })
        });
        started.wait_timeout(PATIENCE).unwrap();
        random.pause(2_000_000);
        place.signal(Signal::KILL);
        clients.iter().for_each(succeeded);
        drop((value, started));
        expect_gone(manager.value(&0_u64));
        eventually("the server is dead", || manager.shutdown().is_err());
        drop(manager);
        place.is_gone();
    }
}

fn proxies_of_a_restarted_server_get_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manager.sock");
    let builder = || Manager::builder().path(&path).key("key");
    let first = builder().start().unwrap();
    let place = Place::of(&first);
    let (stale, lock) = (first.value(&1_u64).unwrap(), first.named("lock").lock().unwrap());
    let encoded = postcard::to_allocvec(&stale).unwrap();
    let child = spawn(|| {
        // This process used the first server, and gets the error too.
        assert_eq!(stale.get(), Ok(1));
        first.event().unwrap().wait().unwrap_err();
        eventually("there is another server", || stale.get() == Err(ObjectError::Call(CallError::Restarted)));
    });
    until_waiting(&first, 1);
    place.signal(Signal::KILL);
    eventually("calls report that the server is gone", || first.info() == Err(CallError::ServerGone));
    // The dead server's socket does not block a new server.
    let second = builder().start().unwrap();
    succeeded(&child);
    assert_eq!(first.info().map(drop), Err(CallError::Restarted));
    assert_eq!(stale.set(&2), Err(ObjectError::Call(CallError::Restarted)));
    assert!(matches!(lock.try_lock(), Err(LockError::Call(CallError::Restarted))));
    let reached = Manager::connect(&second.address().unwrap()).unwrap();
    assert_eq!(reached.names(), Ok(vec![]), "it is another server at the same address");
    // The same holds for a proxy in a message. A process that only knows the new server must not mistake the proxy for
    // one of that server.
    let late: manager_rt::Value<u64> = postcard::from_bytes(&encoded).unwrap();
    assert_eq!(late.get(), Err(ObjectError::Call(CallError::Restarted)));
    drop((late, stale, lock, first));
    assert!(postcard::from_bytes::<manager_rt::Value<u64>>(&encoded).is_err());
    assert!(matches!(
        Manager::builder().key("other").connect(&second.address().unwrap()),
        Err(ReachError::Connect { .. })
    ));
    second.shutdown().unwrap();
}

/// A service manager sends it to every process of a service, but the program still has to clean up.
fn a_server_outlives_sigterm_and_ends_with_its_program() {
    let (parent, place, address) = of_a_child(|| hang());
    let manager = Manager::connect(&address).unwrap();
    place.signal(Signal::TERM);
    assert_eq!(manager.named("one").value(&0_u64).unwrap().get(), Ok(1));
    kill(&parent);
    ends_with_its_parent(&place, &address);
    assert!(!place.folder().exists());
}

fn a_shutdown_ends_the_server_for_all() {
    let manager = Manager::start().unwrap();
    let place = Place::of(&manager);
    let event = manager.event().unwrap();
    let waiter = spawn(|| expect_gone(event.wait()));
    until_waiting(&manager, 1);
    // Any process may end the server, even one that did not start it.
    let other = spawn(|| {
        // The server may end before its answer is read.
        assert!(matches!(manager.shutdown(), Ok(()) | Err(CallError::OutcomeUnknown)));
    });
    succeeded(&other);
    succeeded(&waiter);
    eventually("the folder is gone", || !place.folder().exists());
    expect_gone(event.set());
    assert_eq!(manager.shutdown(), Err(CallError::ServerGone));
    drop(manager);
    place.is_gone();
}

/// Starts a manager in a child, which then runs `then`, and returns the child, and where its server is.
fn of_a_child(then: impl FnOnce()) -> (mp_sys::child::ChildProcess, Place, String) {
    // The server becomes a child of this process when its parent ends.
    set_child_subreaper(Some(getpid())).unwrap();
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let ((reading, writing), (waiting, looked_at)) = (pipe(), pipe());
    let child = spawn(|| {
        let manager = Manager::start().unwrap();
        manager.named("one").value(&1_u64).unwrap();
        rustix::io::write(writing.as_fd(), manager.address().unwrap().as_bytes()).unwrap();
        // The child waits until the server was inspected, since the server may end with the next step.
        assert_eq!(rustix::io::read(&waiting, &mut [0]), Ok(1));
        then();
    });
    let mut address = [0; 200];
    let len = rustix::io::read(&reading, &mut address).unwrap();
    let address = String::from_utf8(address[..len].to_vec()).unwrap();
    let place = Place::at(&address);
    assert_eq!(rustix::io::write(&looked_at, &[0]), Ok(1));
    (child, place, address)
}

fn ends_with_its_parent(place: &Place, address: &str) {
    place.is_gone();
    assert!(matches!(Manager::connect(address), Err(ReachError::Connect { .. })));
    assert!(waitid(WaitId::Pid(place.server), WaitIdOptions::EXITED).unwrap().is_some());
}

fn the_server_ends_with_its_killed_parent() {
    let (parent, place, address) = of_a_child(|| hang());
    let other = Manager::connect(&address).unwrap();
    let value = other.named("one").value(&0_u64).unwrap();
    assert_eq!(value.get(), Ok(1));
    kill(&parent);
    ends_with_its_parent(&place, &address);
    expect_gone(value.get());
}

fn the_server_ends_with_a_parent_that_exits() {
    let (parent, place, address) = of_a_child(|| {});
    succeeded(&parent);
    ends_with_its_parent(&place, &address);
}

/// A server whose parent is gone ends, however many other processes use it.
fn a_server_does_not_outlive_its_parent_for_others() {
    let (parent, place, address) = of_a_child(|| hang());
    let child = spawn(|| {
        let manager = Manager::connect(&address).unwrap();
        let event = manager.event().unwrap();
        expect_gone(event.wait());
    });
    let manager = Manager::connect(&address).unwrap();
    until_waiting(&manager, 1);
    kill(&parent);
    succeeded(&child);
    ends_with_its_parent(&place, &address);
}

/// No process was left that could have removed the folder, so the next one that starts a manager does.
fn the_folder_of_a_killed_server_and_parent_is_swept() {
    let (parent, place, _) = of_a_child(|| hang());
    // While stopped, the server cannot notice that its parent ends.
    place.signal(Signal::STOP);
    kill(&parent);
    place.signal(Signal::KILL);
    assert!(waitid(WaitId::Pid(place.server), WaitIdOptions::EXITED).unwrap().is_some());
    assert!(place.folder().exists());
    let manager = Manager::start().unwrap();
    assert!(!place.folder().exists());
    let own = Place::of(&manager);
    manager.shutdown().unwrap();
    own.is_gone();
}

fn a_server_that_does_not_come_to_listen_leaves_hangups_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let ended = spawn(|| {
        let builder = Server::builder().keys_on_hangup(|| None).unwrap();
        kill_process(getpid(), Signal::HUP).unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(matches!(builder.bind(folder.path().join("file")), Err(BindError::NotASocket)));
        // What was sent to the server ends nobody. What is sent now does.
        kill_process(getpid(), Signal::HUP).unwrap();
    });
    assert_eq!(mp_sys::testing::ended(&ended), Ended::Signaled(1));
}
