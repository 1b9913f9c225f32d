//! Children of a process that has blocked signals, as programs with a thread for signals do.

use mp::manager::Manager;
use mp::{Child, ExitError, Method, Process, RecvError, Sender, pipe};
use mp_sys::testing::{PATIENCE, block_termination, hang, tests};

use rustix::process::{Pid, Signal, getpgrp, kill_process_group, setpgid};

use crate::METHODS;
use crate::processes::with_orphans;

tests! {
    a_child_that_is_executed_can_be_asked_to_end,
    a_forked_child_blocks_what_its_parent_blocks,
    a_daemon_that_blocks_the_signal_is_killed_in_the_end,
    servers_outlive_a_termination_of_the_whole_group,
}

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

fn start(method: Method) -> Child<()> {
    Process::new().method(method).start(|()| -> () { hang() }, ()).unwrap()
}

/// The signals that the calling process blocks, a bit for each.
fn blocked(_: ()) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap()
}

fn a_child_that_is_executed_can_be_asked_to_end() {
    block_termination();
    for method in [Method::Spawn, Method::ForkServer] {
        let child = Process::new().method(method).start(blocked, ()).unwrap();
        assert_eq!(child.join(), Ok(0), "{method:?}");
        let child = start(method);
        // It ends, whether the signal comes before it has begun or later.
        assert_eq!(child.terminate(), Ok(true));
        assert_eq!(child.join_timeout(PATIENCE), Err(ExitError::Signaled(SIGTERM)), "{method:?}");
    }
}

fn a_forked_child_blocks_what_its_parent_blocks() {
    block_termination();
    let child = Process::new().method(Method::Fork).start(blocked, ()).unwrap();
    assert_eq!(child.join(), Ok(blocked(())));
    let child = start(Method::Fork);
    assert_eq!(child.terminate(), Ok(true));
    child.kill().unwrap();
    assert_eq!(child.join(), Err(ExitError::Signaled(SIGKILL)));
}

#[expect(clippy::exit, reason = "the case")]
fn a_daemon_that_blocks_the_signal_is_killed_in_the_end() {
    with_orphans(|| {
        // All of them wait at the same time, for as long as a daemon may take.
        let parents = METHODS.map(|method| {
            let (held, ends) = pipe::<u8>().unwrap();
            let parent = mp::fork_with(held, |held| -> () {
                let (ready, is_ready) = pipe::<u8>().unwrap();
                let block = |(_held, ready): (Sender<u8>, Sender<u8>)| -> () {
                    block_termination();
                    ready.send(&1).unwrap();
                    hang()
                };
                let daemon = Process::new().method(method).daemon(true);
                drop(daemon.start(block, (held, ready)).unwrap());
                assert_eq!(is_ready.recv_timeout(PATIENCE), Ok(1));
                std::process::exit(3)
            });
            (method, parent.unwrap(), ends)
        });
        for (method, parent, ends) in parents {
            assert_eq!(ends.recv_timeout(PATIENCE), Err(RecvError::Closed), "{method:?}");
            assert_eq!(parent.join_timeout(PATIENCE), Err(ExitError::Exited(3)), "{method:?}");
        }
    });
}

/// Like a service manager, this asks the program and all of its processes to end. The program still needs its servers.
fn servers_outlive_a_termination_of_the_whole_group() {
    with_orphans(|| {
        let (here, there) = mp::duplex::<u8, u8>().unwrap();
        let program = mp::fork_with(there, |there| {
            setpgid(None, None).unwrap();
            // In place of a handler.
            block_termination();
            let manager = Manager::start().unwrap();
            let value = manager.value(&1_u8).unwrap();
            let served = start(Method::ForkServer);
            there.send(&1).unwrap();
            assert_eq!(there.recv_timeout(PATIENCE), Ok(2), "the group was asked to end");
            // Children are asked as well. The server reports how this one ended.
            assert_eq!(served.join_timeout(PATIENCE), Err(ExitError::Signaled(SIGTERM)));
            assert_eq!(value.get(), Ok(1));
            let later = Process::new().method(Method::ForkServer).start(blocked, ()).unwrap();
            assert_eq!(later.join_timeout(PATIENCE), Ok(Some(0)));
            manager.shutdown().unwrap();
        });
        let program = program.unwrap();
        assert_eq!(here.recv_timeout(PATIENCE), Ok(1));
        let group = Pid::from_raw(i32::try_from(program.pid()).unwrap()).unwrap();
        assert_ne!(group, getpgrp());
        kill_process_group(group, Signal::TERM).unwrap();
        here.send(&2).unwrap();
        assert_eq!(program.join_timeout(PATIENCE), Ok(Some(())));
    });
}
