//! How a server process handles signals.

use std::os::fd::AsFd;

use mp_sys::adaptive::Budget;
use mp_sys::child::Ended;
use mp_sys::deadline::Deadline;
use mp_sys::identity::thread_number;
use mp_sys::ready::readable;
use mp_sys::signals::{ChildEnds, Hangups, end_requests, hold_hangups, ignore_shutdown};
use mp_sys::testing::{PATIENCE, ended, hang, ignore_sigchld, spawn, succeeded, tests};
use rustix::io::{read, write};
use rustix::pipe::pipe;
use rustix::process::{Signal, getpid, kill_process};

tests! {
    signals_that_ask_a_program_to_end_are_ignored,
    ends_of_children_are_readable_even_if_they_were_ignored,
    a_child_keeps_its_thread_number_and_assigns_new_ones,
    hangups_are_handled_as_before_once_nobody_waits_for_them,
    a_request_to_end_leaves_hangups_alone_that_are_waited_for,
}

fn wait_for(signal: &impl AsFd) {
    let ready = readable(&[signal.as_fd()], &Budget::new(), Deadline::after(PATIENCE));
    assert_eq!(ready, Ok(vec![0]), "the signal came");
}

/// Hangup, interrupt, quit and termination.
const SHUTDOWN: [i32; 4] = [1, 2, 3, 15];

fn signals_that_ask_a_program_to_end_are_ignored() {
    let (told, tell) = pipe().unwrap();
    let (is_sent, send) = pipe().unwrap();
    let server = spawn(|| {
        ignore_shutdown();
        write(&tell, b"1").unwrap();
        assert_eq!(read(&is_sent, &mut [0; 1]), Ok(1));
    });
    drop(tell);
    assert_eq!(read(&told, &mut [0; 1]), Ok(1));
    for signal in SHUTDOWN {
        assert!(server.signal(signal).unwrap());
    }
    write(&send, b"1").unwrap();
    succeeded(&server);
}

fn a_child_keeps_its_thread_number_and_assigns_new_ones() {
    let own = thread_number();
    let others = || std::thread::scope(|scope| scope.spawn(thread_number).join().unwrap());
    let first = others();
    assert_ne!(first, own);
    succeeded(&spawn(|| {
        assert_eq!(thread_number(), own);
        assert!(others() > first, "numbers of the parent's threads are not reused");
    }));
    assert_eq!(thread_number(), own);
    assert!(others() > first, "nor are those of threads that ended");
}

fn ends_of_children_are_readable_even_if_they_were_ignored() {
    let (told, tell) = pipe().unwrap();
    let (is_sent, send) = pipe().unwrap();
    let wait_on = |pipe| assert_eq!(read(pipe, &mut [0; 1]), Ok(1));
    let server = spawn(|| {
        ignore_sigchld();
        let ends = ChildEnds::block().unwrap();
        assert!(!ends.arrived());
        let child = spawn(|| std::process::abort());
        wait_for(&ends);
        assert!(ends.arrived() && !ends.arrived(), "it is reported once");
        assert_eq!(ended(&child), Ended::Signaled(6), "it stayed until it was waited for");
        write(&tell, b"1").unwrap();
        // Sends signals that end no process.
        wait_on(&is_sent);
        let restored = spawn(|| {
            ends.restore();
            let child = spawn(|| ());
            assert_eq!(ended(&child), Ended::Unknown, "SIGCHLD is ignored again");
            write(&tell, b"2").unwrap();
            hang();
        });
        wait_on(&is_sent);
        assert!(restored.signal(15).unwrap());
        assert_eq!(ended(&restored), Ended::Signaled(15));
    });
    wait_on(&told);
    for signal in SHUTDOWN {
        assert!(server.signal(signal).unwrap());
    }
    write(&send, b"1").unwrap();
    // Reports from the child, which handles signals as before.
    wait_on(&told);
    write(&send, b"2").unwrap();
    succeeded(&server);
}

/// Returns which signals the calling thread blocks, and which the process ignores or handles.
fn settings() -> Vec<String> {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let of_signals =
        |line: &&str| ["SigBlk:", "SigIgn:", "SigCgt:"].iter().any(|name| line.starts_with(name));
    status.lines().filter(of_signals).map(str::to_owned).collect()
}

fn hang_up() {
    kill_process(getpid(), Signal::HUP).unwrap();
}

fn hangups_are_handled_as_before_once_nobody_waits_for_them() {
    let prepare: [fn(); 3] = [|| (), ignore_shutdown, || hold_hangups().unwrap()];
    for prepare in prepare {
        succeeded(&spawn(|| {
            prepare();
            let before = settings();
            let hangups = Hangups::block().unwrap();
            assert!(!hangups.arrived());
            hang_up();
            wait_for(&hangups);
            assert!(hangups.arrived() && !hangups.arrived(), "it is reported once");
            hang_up();
            drop(hangups);
            assert_eq!(settings(), before, "and the second one ends nobody");
        }));
    }
    let ends = spawn(|| {
        drop(Hangups::block().unwrap());
        hang_up();
    });
    assert_eq!(ended(&ends), Ended::Signaled(1));
}

fn a_request_to_end_leaves_hangups_alone_that_are_waited_for() {
    succeeded(&spawn(|| {
        // As in a program that nohup(1) has started.
        ignore_shutdown();
        hold_hangups().unwrap();
        hang_up();
        let _ends = end_requests().unwrap();
        let hangups = Hangups::block().unwrap();
        assert!(hangups.arrived(), "it arrived before anybody waited for it");
        let _ends = end_requests().unwrap();
        hang_up();
        assert!(hangups.arrived());
    }));
    succeeded(&spawn(|| {
        let _ends = end_requests().unwrap();
        hang_up();
    }));
}
