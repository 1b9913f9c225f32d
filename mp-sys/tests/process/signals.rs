//! How a server process handles signals.

use std::os::fd::AsFd;

use mp_sys::adaptive::Budget;
use mp_sys::child::Ended;
use mp_sys::deadline::Deadline;
use mp_sys::identity::thread_number;
use mp_sys::ready::readable;
use mp_sys::signals::{ChildEnds, ignore_shutdown};
use mp_sys::testing::{PATIENCE, ended, hang, ignore_sigchld, spawn, succeeded, tests};
use rustix::io::{read, write};
use rustix::pipe::pipe;

tests! {
    signals_that_ask_a_program_to_end_are_ignored,
    ends_of_children_are_readable_even_if_they_were_ignored,
    a_child_keeps_its_thread_number_and_assigns_new_ones,
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
