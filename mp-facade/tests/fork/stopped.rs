//! A fork server that was stopped: starts return an error, the server is not replaced, and nothing that was refused runs
//! later.

use mp::{ExitError, Method, Process, Receiver, RecvError, Sender, StartError, pipe};
use mp_sys::testing::{PATIENCE, tests};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::processes::with_orphans;
use crate::shortages::server;

tests! {
    a_stopped_fork_server_is_named_and_runs_nothing_later,
    a_fork_server_that_is_continued_in_time,
    a_full_socket_to_a_stopped_fork_server,
    how_a_child_of_a_stopped_fork_server_ended,
    a_stopped_fork_server_is_killed,
}

fn process() -> Process {
    Process::new().method(Method::ForkServer)
}

fn twice(number: u64) -> u64 {
    2 * number
}

/// Starts a server if there is none, and returns when it has stopped.
fn stopped() -> Pid {
    assert_eq!(process().start(twice, 1).unwrap().join(), Ok(2));
    let server = server();
    kill_process(server, Signal::STOP).unwrap();
    let stopped = waitid(WaitId::Pid(server), WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT);
    assert!(stopped.unwrap().unwrap().stopped());
    server
}

/// Ends the server, and waits for the children that it had begun to start for callers that gave up.
fn end() {
    with_orphans(mp::release_unused_memory);
}

fn go_on(server: Pid) {
    kill_process(server, Signal::CONT).unwrap();
    assert_eq!(process().start(twice, 4).unwrap().join_timeout(PATIENCE), Ok(Some(8)));
    assert_eq!(self::server(), server, "it is the same one");
}

fn number(pid: Pid) -> u32 {
    u32::try_from(pid.as_raw_nonzero().get()).unwrap()
}

fn say(tell: Sender<u8>) {
    tell.send(&1).unwrap();
}

fn a_stopped_fork_server_is_named_and_runs_nothing_later() {
    let server = stopped();
    let (tell, told) = pipe::<u8>().unwrap();
    let error = process().start(say, tell).unwrap_err();
    let pid = number(server);
    assert_eq!(error, StartError::ServerSilent { pid });
    let text =
        format!("the fork server, process {pid}, does not answer: continue it if it is stopped, or kill it");
    assert_eq!(error.to_string(), text);
    assert!(mp::active_children().is_empty());
    // Starts that do not need it are not delayed.
    for method in [Method::Fork, Method::Spawn] {
        assert_eq!(process().method(method).start(twice, 2).unwrap().join(), Ok(4));
    }
    assert_eq!(told.try_recv(), Err(RecvError::Empty), "the request lies in the server's socket");
    go_on(server);
    assert_eq!(told.recv_timeout(PATIENCE), Err(RecvError::Closed), "nothing was sent");
    end();
}

fn a_fork_server_that_is_continued_in_time() {
    let server = stopped();
    // At some moment while the caller waits.
    let continues = mp::fork(move || kill_process(server, Signal::CONT).unwrap()).unwrap();
    assert_eq!(process().start(twice, 3).unwrap().join(), Ok(6));
    continues.join().unwrap();
    go_on(server);
    mp::release_unused_memory();
}

/// More requests than the socket has room for.
fn a_full_socket_to_a_stopped_fork_server() {
    const ASKERS: usize = 400;
    let server = stopped();
    let pid = number(server);
    let (tell, told) = pipe::<u8>().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..ASKERS {
            let ask = || {
                let work = |(tell, _): (Sender<u8>, Vec<u8>)| say(tell);
                let error = process().start(work, (&tell, &vec![0; 50_000])).unwrap_err();
                assert_eq!(error, StartError::ServerSilent { pid });
            };
            std::thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, ask).unwrap();
        }
    });
    drop(tell);
    go_on(server);
    assert_eq!(told.recv_timeout(PATIENCE), Err(RecvError::Closed), "nothing was sent");
    end();
}

fn how_a_child_of_a_stopped_fork_server_ended() {
    let (finish, until) = pipe::<()>().unwrap();
    let wait = |until: Receiver<()>| until.recv_timeout(PATIENCE) == Err(RecvError::Closed);
    let [returns, killed, later] = [(); 3].map(|()| process().start(wait, &until).unwrap());
    drop(until);
    let server = stopped();
    killed.kill().unwrap();
    assert_eq!(killed.join(), Err(ExitError::StatusLost), "only the server could say");
    drop(finish);
    assert_eq!(returns.join(), Ok(true), "the value is there");
    go_on(server);
    assert_eq!(later.join(), Ok(true));
    mp::release_unused_memory();
}

/// The next start makes another one, even if the start before failed.
fn a_stopped_fork_server_is_killed() {
    with_orphans(|| {
        let server = stopped();
        process().start(twice, 1).unwrap_err();
        kill_process(server, Signal::KILL).unwrap();
        assert_eq!(process().start(twice, 5).unwrap().join(), Ok(10));
        assert_ne!(self::server(), server);
        stopped();
        // This also gives up the stopped one.
        mp::release_unused_memory();
        assert_eq!(mp_sys::forkserver::server_pid(), None);
    });
}
