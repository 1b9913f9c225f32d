//! Ctrl-C on a real terminal: for a program with default settings, for one that handles it, and for one that ignores it.
//!
//! As under a shell, the program leads the group in the terminal's foreground. The session belongs to another process, which
//! goes on, so the end of the terminal (SIGHUP) ends nobody.

use std::os::fd::OwnedFd;

use mp::manager::Manager;
use mp::{Child, ExitError, Method, Process, Receiver, RecvError, Sender, pipe};
use mp_sys::testing::{PATIENCE, eventually, handle_interrupts, hang, ignore_interrupt, interrupts, tests};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, getpid, ioctl_tiocsctty, setpgid, setsid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::tcsetpgrp;

use crate::METHODS;
use crate::processes::with_orphans;

tests! {
    ctrl_c_ends_a_program_with_its_children_and_servers,
    a_program_that_handles_ctrl_c_goes_on_and_its_children_decide,
    the_children_of_a_program_that_ignores_ctrl_c_ignore_it_too,
}

const CTRL_C: &[u8] = b"\x03";

fn new_terminal() -> (OwnedFd, std::ffi::CString) {
    let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&keyboard).unwrap();
    unlockpt(&keyboard).unwrap();
    let name = ptsname(&keyboard, Vec::new()).unwrap();
    (keyboard, name)
}

/// Starts a program in the foreground of a terminal, under a shell that reports how it ended when no process of it is left.
fn run_on_terminal(name: &std::ffi::CStr, program: impl FnOnce(&OwnedFd)) -> Child<Result<(), String>> {
    // If the test fails, no process stays.
    let process = Process::new().die_with_parent(true);
    let shell = process.clone().fork(|| {
        let session = setsid().unwrap();
        let terminal = open(name, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap();
        // Opening it as the leader of a session without one may have done it already.
        ioctl_tiocsctty(&terminal).unwrap();
        let (go, gone) = pipe::<()>().unwrap();
        let child = process.fork(|| {
            gone.recv().unwrap();
            program(&terminal);
        });
        let child = child.unwrap();
        let pid = Pid::from_raw(i32::try_from(child.pid()).unwrap()).unwrap();
        setpgid(Some(pid), Some(pid)).unwrap();
        tcsetpgrp(&terminal, pid).unwrap();
        go.send(&()).unwrap();
        let ended = child.join().map_err(|error| error.to_string());
        eventually("all processes of the program have ended", || of_session(session) == [getpid()]);
        ended
    });
    shell.unwrap()
}

/// The processes of a session that have not ended.
fn of_session(session: Pid) -> Vec<Pid> {
    let is_of = |pid: &Pid| {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        // State, parent, group and session, behind the command name in parentheses.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap_or_default().1.split_whitespace().collect();
        fields.first().is_some_and(|state| *state != "Z")
            && fields.get(3).and_then(|field| field.parse().ok()) == Some(session.as_raw_nonzero().get())
    };
    let entries = std::fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| Pid::from_raw(entry.ok()?.file_name().to_str()?.parse().ok()?));
    pids.filter(is_of).collect()
}

#[track_caller]
fn hear(told: &Receiver<u8>, times: usize) {
    for time in 0..times {
        assert_eq!(told.recv_timeout(PATIENCE), Ok(1), "{time}");
    }
}

fn hold(held: Sender<u8>) {
    held.send(&1).unwrap();
    hang()
}

fn ctrl_c_ends_a_program_with_its_children_and_servers() {
    let (keyboard, name) = new_terminal();
    let (held, told) = pipe::<u8>().unwrap();
    with_orphans(|| {
        let shell = run_on_terminal(&name, |_| {
            let manager = Manager::start().unwrap();
            let value = manager.value(&1).unwrap();
            let _children = METHODS.map(|method| Process::new().method(method).start(hold, &held).unwrap());
            assert_eq!(value.get(), Ok(1));
            // The shell, this process, its children, the fork server, and the manager's.
            let session = rustix::process::getsid(None).unwrap();
            assert_eq!(of_session(session).len(), 7);
            held.send(&1).unwrap();
            hang()
        });
        drop(held);
        hear(&told, 4);
        rustix::io::write(&keyboard, CTRL_C).unwrap();
        assert_eq!(told.recv_timeout(PATIENCE), Err(RecvError::Closed));
        let ended = shell.join_timeout(PATIENCE).unwrap().unwrap();
        assert_eq!(ended, Err(ExitError::Signaled(2).to_string()));
    });
}

/// Returns how many interrupts it saw, if it lives so long.
fn goes((tell, until): (Sender<u8>, Receiver<()>)) -> usize {
    tell.send(&1).unwrap();
    eventually("the interrupt comes", || interrupts() == 1);
    assert_eq!(until.recv_timeout(PATIENCE), Err(RecvError::Closed));
    interrupts()
}

fn stays(given: (Sender<u8>, Receiver<()>)) -> usize {
    handle_interrupts();
    goes(given)
}

fn a_program_that_handles_ctrl_c_goes_on_and_its_children_decide() {
    let (keyboard, name) = new_terminal();
    let (tell, told) = pipe::<u8>().unwrap();
    with_orphans(|| {
        let shell = run_on_terminal(&name, |_| {
            handle_interrupts();
            let manager = Manager::start().unwrap();
            let value = manager.value(&1).unwrap();
            let (finish, until) = pipe::<()>().unwrap();
            let start = |worker| {
                METHODS.map(|method| Process::new().method(method).start(worker, (&tell, &until)).unwrap())
            };
            let (going, staying) = (start(goes), start(stays));
            eventually("the interrupt comes", || interrupts() == 1);
            let [forked, spawned, served] = going;
            // An executed program begins with the default.
            for child in [spawned, served] {
                assert_eq!(child.join_timeout(PATIENCE), Err(ExitError::Signaled(2)));
            }
            drop(finish);
            for child in staying.iter().chain([&forked]) {
                assert_eq!(child.join_timeout(PATIENCE), Ok(Some(1)), "{:?}", child.method());
            }
            // Both servers still run.
            assert_eq!(value.get(), Ok(1));
            let later = Process::new().method(Method::ForkServer).start(|n: u8| n, 3).unwrap();
            assert_eq!(later.join_timeout(PATIENCE), Ok(Some(3)));
            manager.shutdown().unwrap();
        });
        drop(tell);
        hear(&told, 6);
        rustix::io::write(&keyboard, CTRL_C).unwrap();
        assert_eq!(shell.join_timeout(PATIENCE), Ok(Some(Ok(()))));
    });
}

fn waits((tell, until): (Sender<u8>, Receiver<()>)) -> bool {
    tell.send(&1).unwrap();
    until.recv_timeout(PATIENCE) == Err(RecvError::Closed)
}

/// As under nohup(1), which does the same for SIGHUP.
fn the_children_of_a_program_that_ignores_ctrl_c_ignore_it_too() {
    let (keyboard, name) = new_terminal();
    let (tell, told) = pipe::<u8>().unwrap();
    with_orphans(|| {
        let shell = run_on_terminal(&name, |terminal| {
            ignore_interrupt();
            let (finish, until) = pipe::<()>().unwrap();
            let children =
                METHODS.map(|method| Process::new().method(method).start(waits, (&tell, &until)).unwrap());
            // Later input arrives later.
            let mut line = [0; 8];
            let len = rustix::io::read(terminal, &mut line).unwrap();
            assert_eq!(&line[..len], b"on\n");
            drop(finish);
            for child in &children {
                assert_eq!(child.join_timeout(PATIENCE), Ok(Some(true)), "{:?}", child.method());
            }
        });
        drop(tell);
        hear(&told, 3);
        rustix::io::write(&keyboard, &[CTRL_C, b"on\n"].concat()).unwrap();
        assert_eq!(shell.join_timeout(PATIENCE), Ok(Some(Ok(()))));
    });
}
