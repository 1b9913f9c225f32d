//! The end of a stream, and how the other side notices it.

use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;

use kernel_ipc::{Connection, RecvError, SendError, Sender, duplex, pipe};
use mp_sys::testing::{PATIENCE, kill, spawn, succeeded, tests};

tests! {
    values_reach_a_child_and_come_back,
    a_killed_sender_ends_the_stream_after_what_it_sent,
    a_sender_gets_an_error_when_the_receiver_is_killed,
    a_child_that_holds_a_copy_keeps_the_stream_open,
    an_end_travels_to_another_process_and_out_of_this_one,
    an_exec_closes_ends_that_are_not_handed_over,
    a_program_takes_an_end_from_its_descriptor,
}

fn values_reach_a_child_and_come_back() {
    let (one, other) = duplex::<Vec<u32>, u32>().unwrap();
    let child = spawn(|| {
        drop(one.try_clone());
        for received in other.iter() {
            let numbers = received.unwrap();
            if numbers.is_empty() {
                break;
            }
            other.send(&numbers.iter().sum()).unwrap();
        }
    });
    for n in 1..500 {
        one.send(&vec![n; 3]).unwrap();
        assert_eq!(one.recv_timeout(PATIENCE), Ok(3 * n));
    }
    one.send(&vec![]).unwrap();
    succeeded(&child);
}

fn a_killed_sender_ends_the_stream_after_what_it_sent() {
    let (tx, rx) = pipe::<u32>().unwrap();
    let (ready, is_ready) = pipe::<()>().unwrap();
    let child = spawn(|| {
        tx.send(&1).unwrap();
        tx.send(&2).unwrap();
        ready.send(&()).unwrap();
        mp_sys::testing::hang();
    });
    drop(tx);
    is_ready.recv_timeout(PATIENCE).unwrap();
    kill(&child);
    assert_eq!(rx.recv_timeout(PATIENCE), Ok(1));
    assert_eq!(rx.recv_timeout(PATIENCE), Ok(2));
    assert_eq!(rx.recv_timeout(PATIENCE), Err(RecvError::Closed));
}

fn a_sender_gets_an_error_when_the_receiver_is_killed() {
    let (tx, rx) = pipe::<Vec<u8>>().unwrap();
    let child = spawn(|| mp_sys::testing::hang());
    drop(rx);
    while tx.try_send(&vec![0; 10_000]).is_ok() {}
    // A sender that waits for room wakes up when the last receiver dies.
    let waiter = spawn(|| assert_eq!(tx.send_timeout(&vec![0; 10_000], PATIENCE), Err(SendError::Closed)));
    // The waiter has no copy of the receiving end, since this process dropped its own before the fork.
    kill(&child);
    succeeded(&waiter);
}

fn a_child_that_holds_a_copy_keeps_the_stream_open() {
    let (tx, rx) = pipe::<u8>().unwrap();
    let child = spawn(|| mp_sys::testing::hang());
    drop(tx);
    assert_eq!(rx.recv_timeout(std::time::Duration::from_millis(60)), Err(RecvError::TimedOut));
    kill(&child);
    assert_eq!(rx.recv_timeout(PATIENCE), Err(RecvError::Closed));
}

fn an_end_travels_to_another_process_and_out_of_this_one() {
    let (to_child, in_child) = duplex::<Connection<u8, u8>, ()>().unwrap();
    let child = spawn(|| {
        let connection = in_child.recv_timeout(PATIENCE).unwrap();
        for n in connection.iter() {
            connection.send(&(n.unwrap() + 1)).unwrap();
        }
    });
    // Made after the fork, so only the message can carry it to the child.
    let (here, there) = duplex::<u8, u8>().unwrap();
    to_child.send(&there).unwrap();
    drop(there);
    here.send(&1).unwrap();
    assert_eq!(here.recv_timeout(PATIENCE), Ok(2));
    drop(here);
    succeeded(&child);
}

fn an_exec_closes_ends_that_are_not_handed_over() {
    let (tx, rx) = pipe::<u8>().unwrap();
    let mut program = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
    drop(tx);
    assert_eq!(rx.recv_timeout(PATIENCE), Err(RecvError::Closed));
    program.kill().unwrap();
    program.wait().unwrap();
}

/// The variable that names the descriptor for the program below.
const NUMBER: &str = "MP_TEST_DESCRIPTOR";

fn a_program_takes_an_end_from_its_descriptor() {
    // This test starts itself as the program. The second time, it finds the variable.
    if let Ok(number) = std::env::var(NUMBER) {
        // A socket cannot be opened through /proc, so the number itself is used.
        let end = Sender::<String>::from_fd(inherited(number.parse().unwrap())).unwrap();
        end.send(&"from another program".to_owned()).unwrap();
        return;
    }
    let (tx, rx) = pipe::<String>().unwrap();
    // The program inherits the copy, which is not closed on exec.
    let handed = rustix::io::dup(&tx).unwrap();
    let program = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_program_takes_an_end_from_its_descriptor"])
        .env(NUMBER, handed.as_raw_fd().to_string())
        .output()
        .unwrap();
    drop((handed, tx));
    assert!(program.status.success(), "{program:?}");
    assert_eq!(rx.recv_timeout(PATIENCE).unwrap(), "from another program");
    assert_eq!(rx.recv_timeout(PATIENCE), Err(RecvError::Closed));
}

/// Returns an owned descriptor for an inherited number. It uses this process's pidfd, and so needs no `unsafe`.
fn inherited(number: i32) -> std::os::fd::OwnedFd {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let itself = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let copy = pidfd_getfd(itself.as_fd(), number, PidfdGetfdFlags::empty()).unwrap();
    assert_ne!(copy.as_raw_fd(), number);
    copy
}
