//! Children of a process that has blocked signals, as programs with a thread for signals do.

use mp::{Child, ExitError, Method, Process, RecvError, Sender, pipe};
use mp_sys::signals::Termination;
use mp_sys::testing::{PATIENCE, hang, tests};

use crate::METHODS;
use crate::processes::with_orphans;

tests! {
    a_child_that_is_executed_can_be_asked_to_end,
    a_forked_child_blocks_what_its_parent_blocks,
    a_daemon_that_blocks_the_signal_is_killed_in_the_end,
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
    let _blocked = Termination::block().unwrap();
    for method in [Method::Spawn, Method::ForkServer] {
        let child = Process::new().method(method).start(blocked, ()).unwrap();
        assert_eq!(child.join(), Ok(0), "{method:?}");
        let child = start(method);
        // Before it has begun, or later: either way it ends.
        assert_eq!(child.terminate(), Ok(true));
        assert_eq!(child.join_timeout(PATIENCE), Err(ExitError::Signaled(SIGTERM)), "{method:?}");
    }
}

fn a_forked_child_blocks_what_its_parent_blocks() {
    let _blocked = Termination::block().unwrap();
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
        // All wait at the same time for as long as a daemon may take.
        let parents = METHODS.map(|method| {
            let (held, ends) = pipe::<u8>().unwrap();
            let parent = mp::fork_with(held, |held| -> () {
                let (ready, is_ready) = pipe::<u8>().unwrap();
                let block = |(_held, ready): (Sender<u8>, Sender<u8>)| -> () {
                    let _blocked = Termination::block().unwrap();
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
