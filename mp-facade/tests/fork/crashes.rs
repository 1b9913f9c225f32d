//! Processes that are killed between any two steps of starting, working and leaving their value; and shortages.

use std::os::fd::{AsRawFd, OwnedFd};

use mp::{Child, ExitError, Method, Process, StartError, active_children, pipe};
use mp_sys::forkserver::server_pid;
use mp_sys::testing::leaks::Snapshot;
use mp_sys::testing::{PATIENCE, Random, hang, tests};
use rustix::io::Errno;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getpid, getrlimit, kill_process,
    set_child_subreaper, setrlimit, waitid,
};

use crate::METHODS;
use crate::processes::with_orphans;

tests! {
    a_child_is_killed_at_every_moment,
    a_parent_is_killed_at_every_moment,
    the_fork_server_is_killed_at_every_moment,
    a_killed_fork_server_ends_no_child,
    a_process_that_adopts_orphans_has_no_zombies_of_the_fork_server,
    how_a_child_of_a_killed_fork_server_ended,
    a_child_that_dies_with_its_parent_dies_with_the_fork_server,
    the_fork_server_ends_when_nobody_needs_it,
    a_forked_child_starts_its_own_fork_server,
    descriptors_run_out_at_every_step,
}

/// More than fits into a packet.
const LONG: usize = 300_000;

fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

fn start(method: Method, len: usize) -> Result<Child<Vec<u8>>, StartError> {
    Process::new().method(method).start(echo, vec![3; len])
}

fn a_child_is_killed_at_every_moment() {
    let before = Snapshot::take();
    let mut random = Random::new();
    for method in METHODS {
        for len in [100, LONG] {
            // Nanoseconds. Half after each that was too fast to be killed, so that most kills come while it runs.
            let longest = if method == Method::Spawn { 30_000_000 } else { 3_000_000 };
            let mut pause: u64 = longest;
            for _ in 0..30 {
                let child = start(method, len).unwrap();
                random.pause(pause);
                child.kill().unwrap();
                match child.join() {
                    Ok(value) => {
                        assert_eq!(value, vec![3; len], "whole, or not at all");
                        pause = (pause / 2).max(1);
                    }
                    Err(error) => {
                        assert_eq!(error, ExitError::Signaled(9), "{method:?}");
                        pause = pause.saturating_mul(2).min(longest);
                    }
                }
            }
        }
    }
    mp::release_unused_memory();
    assert!(before.leaked_since().is_none(), "{:?}", before.leaked_since());
}

/// Every process that the parent had begun to start ends, by itself or with the parent.
fn a_parent_is_killed_at_every_moment() {
    let mut random = Random::new();
    with_orphans(|| {
        for method in METHODS {
            for _ in 0..15 {
                let parent = mp::fork(|| -> () {
                    loop {
                        let process = Process::new().method(method).die_with_parent(true);
                        drop(process.clone().start(echo, vec![3; LONG]).unwrap());
                        drop(process.start(|()| -> () { hang() }, ()).unwrap());
                    }
                })
                .unwrap();
                random.pause(20_000_000);
                parent.kill().unwrap();
                assert_eq!(parent.join(), Err(ExitError::Signaled(9)));
            }
        }
    });
}

fn kill_server() {
    let pid = Pid::from_raw(i32::try_from(server_pid().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

/// Each start returns a child or an error, and each result of a child is whole.
fn the_fork_server_is_killed_at_every_moment() {
    let before = Snapshot::take();
    with_orphans(|| {
        let mut random = Random::new();
        let mut children = Vec::new();
        for _ in 0..30 {
            children.push(start(Method::ForkServer, 100).unwrap());
            let server = server_pid().unwrap();
            let delay = random.below(2_000_000);
            let killer = mp::fork(move || {
                Random::seeded(delay).pause(delay);
                let pid = Pid::from_raw(i32::try_from(server).unwrap()).unwrap();
                kill_process(pid, Signal::KILL).unwrap();
            })
            .unwrap();
            for _ in 0..4 {
                match start(Method::ForkServer, LONG) {
                    Ok(child) => children.push(child),
                    Err(error) => assert_eq!(error, StartError::ServerLost),
                }
            }
            killer.join().unwrap();
        }
        for child in children {
            match child.join() {
                Ok(value) => assert!(value.iter().all(|byte| *byte == 3)),
                Err(error) => assert_eq!(error, ExitError::StatusLost),
            }
        }
        mp::release_unused_memory();
    });
    assert!(before.leaked_since().is_none(), "{:?}", before.leaked_since());
}

fn a_killed_fork_server_ends_no_child() {
    with_orphans(|| {
        let (finish, until) = pipe::<()>().unwrap();
        let process = Process::new().method(Method::ForkServer);
        let good = process.clone().start(|until: mp::Receiver<()>| until.recv().is_err(), until).unwrap();
        let lost = process.start(|()| -> () { hang() }, ()).unwrap();
        kill_server();
        drop(finish);
        assert_eq!(good.join(), Ok(true), "the value arrives even if nobody saw the end");
        lost.kill().unwrap();
        assert_eq!(lost.join(), Err(ExitError::Signaled(9)), "adopted, and reaped here");
        assert_eq!(start(Method::ForkServer, 2).unwrap().join(), Ok(vec![3; 2]), "by another server");
        mp::release_unused_memory();
    });
}

/// As process 1 or a subreaper, this process inherits the children of a killed server.
fn a_process_that_adopts_orphans_has_no_zombies_of_the_fork_server() {
    set_child_subreaper(Some(getpid())).unwrap();
    let (finish, until) = pipe::<()>().unwrap();
    let process = Process::new().method(Method::ForkServer);
    let wait = |until: mp::Receiver<()>| until.recv().is_err();
    let [joined, dropped] = [(); 2].map(|()| process.clone().start(wait, &until).unwrap());
    drop(until);
    kill_server();
    drop((dropped, finish));
    assert_eq!(joined.join(), Ok(true));
    drop(joined);
    active_children().iter().for_each(|child| assert_eq!(child.wait_timeout(PATIENCE), Ok(true)));
    mp::release_unused_memory();
    assert_eq!(waitid(WaitId::All, WaitIdOptions::EXITED).unwrap_err(), Errno::CHILD, "nobody is left");
}

/// Another process adopts them.
fn how_a_child_of_a_killed_fork_server_ended() {
    with_orphans(|| {
        let program = mp::fork(|| {
            let process = Process::new().method(Method::ForkServer);
            let child = process.start(|()| -> () { hang() }, ()).unwrap();
            kill_server();
            child.kill().unwrap();
            child.join() == Err(ExitError::StatusLost)
        });
        assert_eq!(program.unwrap().join(), Ok(true));
    });
}

fn a_child_that_dies_with_its_parent_dies_with_the_fork_server() {
    with_orphans(|| {
        let process = Process::new().method(Method::ForkServer).die_with_parent(true);
        let child = process.start(|()| -> () { hang() }, ()).unwrap();
        kill_server();
        assert_eq!(child.join_timeout(PATIENCE), Err(ExitError::Signaled(9)));
        mp::release_unused_memory();
    });
}

fn the_fork_server_ends_when_nobody_needs_it() {
    let first = start(Method::ForkServer, 0).unwrap();
    let child = Process::new().method(Method::ForkServer).start(|()| -> () { hang() }, ()).unwrap();
    let server = server_pid();
    assert!(server.is_some());
    mp::release_unused_memory();
    assert_eq!(server_pid(), server, "it has a child");
    child.kill().unwrap();
    assert_eq!((child.join(), first.join()), (Err(ExitError::Signaled(9)), Ok(Vec::new())));
    mp::release_unused_memory();
    assert_eq!(server_pid(), None);
}

fn a_forked_child_starts_its_own_fork_server() {
    with_orphans(|| {
        assert_eq!(start(Method::ForkServer, 1).unwrap().join(), Ok(vec![3]));
        let own = server_pid();
        let child = mp::fork(|| {
            let value = start(Method::ForkServer, 2).unwrap().join();
            (value.ok(), server_pid())
        });
        let (value, its) = child.unwrap().join().unwrap();
        assert_eq!(value, Some(vec![3; 2]));
        assert!(its.is_some() && its != own);
        mp::release_unused_memory();
    });
}

/// Occupies every descriptor number up to the highest in use, and one more.
fn fill_holes() -> Vec<OwnedFd> {
    let number =
        |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().to_str()?.parse().ok();
    let highest: i32 = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(number).max().unwrap();
    let mut fillers = vec![rustix::io::dup(rustix::stdio::stdin()).unwrap()];
    while fillers.last().unwrap().as_raw_fd() <= highest {
        fillers.push(rustix::io::dup(rustix::stdio::stdin()).unwrap());
    }
    fillers
}

fn descriptors_run_out_at_every_step() {
    // Everything that is made only once exists.
    METHODS.into_iter().for_each(|method| drop(start(method, 0).unwrap().join()));
    let before = Snapshot::take();
    let most = getrlimit(Resource::Nofile);
    let fillers = fill_holes();
    let used = u64::try_from(fillers.last().unwrap().as_raw_fd()).unwrap() + 1;
    for method in METHODS {
        let mut started = 0;
        for free in 0..14 {
            setrlimit(Resource::Nofile, Rlimit { current: Some(used + free), ..most }).unwrap();
            let outcome = start(method, LONG);
            setrlimit(Resource::Nofile, most).unwrap();
            match outcome {
                Ok(child) => {
                    started += 1;
                    // A child that was executed has the limit as well, and may find no room.
                    let ended = child.join_timeout(PATIENCE);
                    let is_fine = matches!(&ended, Ok(Some(value)) if value.len() == LONG);
                    let refused = matches!(ended, Err(ExitError::NotRun(_) | ExitError::Exited(125)));
                    assert!(
                        is_fine || refused || matches!(ended, Err(ExitError::Arguments(_))),
                        "{method:?} {free}: {ended:?}"
                    );
                }
                Err(StartError::OutOfDescriptors | StartError::Fork(mp::ForkError::OutOfDescriptors)) => {}
                Err(other) => panic!("{method:?} with {free} free: {other}"),
            }
        }
        assert!((1..14).contains(&started), "{method:?}: {started} of 14");
    }
    drop(fillers);
    mp::release_unused_memory();
    assert!(before.leaked_since().is_none(), "{:?}", before.leaked_since());
}
