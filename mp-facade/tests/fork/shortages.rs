//! Shortages on each side of a start: of processes, memory and descriptors, here and in a running fork server. Nothing is
//! lost by a shortage, and the next start works. Only limits that the test sets are ever reached.

use mp::{Child, ExitError, ForkError, MemoryError, Method, Process, StartError};
use mp_sys::forkserver::server_pid;
use mp_sys::testing::leaks::Snapshot;
use mp_sys::testing::{PATIENCE, spawn, succeeded, tests};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::METHODS;

tests! {
    no_process_left_for_any_method,
    no_process_left_in_a_running_fork_server,
    no_memory_for_a_process,
    no_memory_for_the_arguments,
    no_memory_in_a_running_fork_server,
    no_descriptor_left_in_a_running_fork_server,
}

fn length(bytes: Vec<u8>) -> usize {
    bytes.len()
}

fn start(method: Method, len: usize) -> Result<Child<usize>, StartError> {
    Process::new().method(method).start(length, vec![1; len])
}

#[track_caller]
fn works(method: Method, len: usize) {
    let child = start(method, len).unwrap();
    assert_eq!(child.join_timeout(PATIENCE), Ok(Some(len)), "{method:?}");
}

pub(crate) fn server() -> Pid {
    Pid::from_raw(i32::try_from(server_pid().unwrap()).unwrap()).unwrap()
}

/// Runs a test as an ordinary user, to whom the limit of processes applies.
fn as_a_user(test: impl FnOnce()) {
    let child = spawn(|| {
        if rustix::process::geteuid().is_root() {
            rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65_534)).unwrap();
        }
        test();
        mp::release_unused_memory();
    });
    succeeded(&child);
}

/// Does something under a lower soft limit of this process, or of the fork server.
fn under<T>(whose: Option<Pid>, what: Resource, limit: u64, run: impl FnOnce() -> T) -> T {
    let before = if whose.is_none() { getrlimit(what) } else { prlimit_now(whose, what) };
    prlimit(whose, what, Rlimit { current: Some(limit), ..before }).unwrap();
    let outcome = run();
    prlimit(whose, what, before).unwrap();
    outcome
}

/// Returns the limit of another process. The call that returns it also sets it, for a moment, to the lowest value that does
/// no harm.
fn prlimit_now(whose: Option<Pid>, what: Resource) -> Rlimit {
    let own = getrlimit(what);
    let before = prlimit(whose, what, own).unwrap();
    prlimit(whose, what, before).unwrap();
    before
}

fn no_process_left_for_any_method() {
    as_a_user(|| {
        for method in METHODS {
            // The limit allows this process only, unless the user has others. Either way, none is left.
            let refused = under(None, Resource::Nproc, 1, || start(method, 1)).unwrap_err();
            let expected = match method {
                Method::Fork => StartError::Fork(ForkError::OutOfProcesses),
                _ => StartError::OutOfProcesses,
            };
            assert_eq!(refused, expected, "{method:?}");
            assert!(mp::active_children().is_empty());
            works(method, 1);
        }
    });
}

fn no_process_left_in_a_running_fork_server() {
    as_a_user(|| {
        works(Method::ForkServer, 1);
        let server = server();
        for _ in 0..3 {
            let refused = under(Some(server), Resource::Nproc, 1, || start(Method::ForkServer, 1));
            assert_eq!(refused.unwrap_err(), StartError::OutOfProcesses);
        }
        works(Method::ForkServer, 1);
        assert_eq!(self::server(), server, "it is the same one");
    });
}

/// Returns the size of a process's address space in bytes.
fn size_of(process: &str) -> u64 {
    let pages = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap();
    pages.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 4096
}

fn no_memory_for_a_process() {
    // Everything that is made only once exists, and the allocator has some memory left.
    works(Method::Fork, 1);
    drop(std::hint::black_box(vec![1_u8; 64 << 10]));
    for method in [Method::Spawn, Method::ForkServer] {
        // glibc allocates a stack for the child between fork and exec.
        let size = size_of("self");
        let refused = under(None, Resource::As, size, || start(method, 1));
        assert_eq!(refused.unwrap_err(), StartError::OutOfMemory, "{method:?}");
        assert!(mp::active_children().is_empty());
        works(method, 1);
    }
    // A fork takes no address space of this process.
    let size = size_of("self");
    let child = under(None, Resource::As, size, || start(Method::Fork, 1)).unwrap();
    assert_eq!(child.join_timeout(PATIENCE), Ok(Some(1)));
}

fn no_memory_for_the_arguments() {
    let before = Snapshot::take();
    mp::set_memory_limit(Some(1 << 20));
    for method in [Method::Spawn, Method::ForkServer] {
        assert_eq!(start(method, 2 << 20).unwrap_err(), StartError::OutOfMemory, "{method:?}");
        works(method, 1 << 19);
    }
    // The arguments of a forked child are in its own memory.
    works(Method::Fork, 2 << 20);
    assert!(matches!(mp::Array::<u8>::zeroed(2 << 20), Err(MemoryError::NoSpace { .. })));
    mp::release_unused_memory();
    assert!(before.leaked_since().is_none(), "{:?}", before.leaked_since());
}

/// The child finds no room for its arguments. The server, which passes them on, needs none.
fn no_memory_in_a_running_fork_server() {
    works(Method::ForkServer, 1);
    let server = server();
    let limit = size_of(&server.as_raw_nonzero().to_string()) + (2 << 20);
    under(Some(server), Resource::As, limit, || {
        assert_eq!(start(Method::ForkServer, 16 << 20).unwrap_err(), StartError::OutOfMemory);
        works(Method::ForkServer, 1);
    });
    works(Method::ForkServer, 16 << 20);
    assert_eq!(self::server(), server, "it is the same one");
    mp::release_unused_memory();
}

/// Each start returns a child, or an error that names the shortage. How older children end stays known.
fn no_descriptor_left_in_a_running_fork_server() {
    let (finish, until) = mp::pipe::<()>().unwrap();
    let wait = |until: mp::Receiver<()>| drop(until.recv());
    let older = Process::new().method(Method::ForkServer).start(wait, until).unwrap();
    // When the server has reported how a later child ended, it has finished the start of the older one.
    works(Method::ForkServer, 1);
    let server = server();
    let mut refused = 0;
    for limit in 3..16 {
        match under(Some(server), Resource::Nofile, limit, || start(Method::ForkServer, 300_000)) {
            Ok(child) => match child.join_timeout(PATIENCE) {
                Ok(Some(len)) => assert_eq!(len, 300_000),
                other => assert!(matches!(other, Err(ExitError::Arguments(_))), "{limit}: {other:?}"),
            },
            Err(error) => {
                assert_eq!(error, StartError::OutOfDescriptors, "{limit}");
                refused += 1;
            }
        }
    }
    assert!((1..13).contains(&refused), "{refused} of 13");
    works(Method::ForkServer, 300_000);
    assert_eq!(self::server(), server, "it is the same one");
    older.kill().unwrap();
    assert_eq!(older.join(), Err(ExitError::Signaled(9)));
    drop(finish);
    mp::release_unused_memory();
}
