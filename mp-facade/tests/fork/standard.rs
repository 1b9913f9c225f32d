//! A process without stdin, stdout and stderr: no descriptor that the libraries create or receive takes their numbers, so
//! printing does no harm.

use std::fmt::Debug;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};

use mp::manager::Manager;
use mp::{
    Array, Connection, Descriptor, JoinableQueue, Listener, Method, Process, Queue, RawValue, Receiver,
    Sender, SimpleQueue, Value, connect, duplex, parent_process, pipe,
};
use mp_sys::descriptors::above_standard;
use mp_sys::testing::{PATIENCE, close_standard, close_stdout, spawn, succeeded, tests};

use crate::METHODS;

tests! {
    nothing_in_memory_takes_a_standard_number,
    no_socket_takes_a_standard_number,
    no_child_takes_a_standard_number,
    no_manager_takes_a_standard_number,
    printing_to_a_closed_stdout_changes_nothing,
}

/// The pipe through which errors are reported, because there is no stderr.
type Report = Sender<String>;

/// Runs a test without the three descriptors.
fn without_standard(test: impl Fn(&Report)) {
    let (report, reported) = pipe::<String>().unwrap();
    let child = spawn(|| {
        let panics = report.try_clone().unwrap();
        std::panic::set_hook(Box::new(move |panic| panics.send(&panic.to_string()).unwrap()));
        close_standard();
        test(&report);
    });
    drop(report);
    let said: Vec<String> = reported.iter().map(Result::unwrap).collect();
    assert!(said.is_empty(), "{said:#?}");
    succeeded(&child);
}

/// Reports an error if one of the three numbers is taken after `what` was made.
fn look(report: &Report, what: &str) {
    for number in 0..3 {
        if let Ok(file) = std::fs::read_link(format!("/proc/self/fd/{number}")) {
            report.send(&format!("{what}: {number} is {}", file.display())).unwrap();
        }
    }
}

/// Prints more than any buffer holds.
fn print_much() {
    let mut stdout = std::io::stdout();
    // `std` ignores a closed stdout.
    stdout.write_all(&[b'x'; 20_000]).and_then(|()| stdout.flush()).unwrap();
}

/// Keeps what was made, and checks its numbers.
fn made<T, E: Debug>(report: &Report, what: &str, made: Result<T, E>) -> T {
    look(report, what);
    made.unwrap()
}

/// A file that goes with a message.
fn small_file() -> OwnedFd {
    rustix::fs::memfd_create("standard", rustix::fs::MemfdFlags::CLOEXEC).and_then(above_standard).unwrap()
}

fn read_all((small, large, named): (Value<[u64; 4]>, Array<u64>, Value<u64>)) -> u64 {
    print_much();
    small.get().unwrap().iter().chain(&large.to_vec().unwrap()).sum::<u64>() + named.get().unwrap() - 5
}

fn nothing_in_memory_takes_a_standard_number() {
    without_standard(|report| {
        let small = made(report, "Value", Value::new([1_u64; 4]));
        let large = made(report, "Array", Array::<u64>::zeroed(1 << 18));
        let raw = made(report, "RawValue", RawValue::new(3_u32));
        let name = format!("standard-{}", mp::current_process().pid());
        let named = made(report, "a name", Value::create(&name, 5_u64));
        let opened = made(report, "an open name", Value::<u64>::open(&name));
        let (tx, rx) = made(report, "a pipe", pipe::<Descriptor>());
        tx.send(&Descriptor::from(small_file())).unwrap();
        let received = made(report, "what was received", rx.recv());
        let passed_on = Process::new().method(Method::Spawn).start(read_all, (&small, &large, &opened));
        assert_eq!(passed_on.unwrap().join(), Ok(4));
        print_much();
        assert_eq!((small.get(), raw.load(), named.get()), (Ok([1; 4]), 3, Ok(5)));
        assert!(large.to_vec().unwrap().iter().all(|element| *element == 0));
        assert!(received.try_into_fd().is_ok_and(|file| file.as_raw_fd() > 2));
    });
}

fn no_socket_takes_a_standard_number() {
    without_standard(|report| {
        let (tx, rx) = made(report, "a pipe", pipe::<Vec<u8>>());
        let (near, far): (Connection<u8, u8>, Connection<u8, u8>) = made(report, "duplex", duplex());
        tx.send(&vec![7; 4 << 20]).unwrap();
        assert_eq!(made(report, "a long message", rx.recv()).len(), 4 << 20);
        let (ends, their_ends) = made(report, "a pipe of pipes", pipe::<(Receiver<Vec<u8>>, Descriptor)>());
        let (reads, _writes) = made(report, "a pipe of std", std::io::pipe().and_then(above));
        ends.send(&(rx, Descriptor::from(reads))).unwrap();
        let (rx, _file) = made(report, "a received end", their_ends.recv());
        let queue = made(report, "Queue", Queue::<u32>::new());
        let tasks = made(report, "JoinableQueue", JoinableQueue::<u32>::new());
        let simple = made(report, "SimpleQueue", SimpleQueue::<u32>::new());
        let (queues, their_queues) =
            made(report, "a pipe of queues", pipe::<(Queue<u32>, JoinableQueue<u32>)>());
        queues.send(&(queue.clone(), tasks.clone())).unwrap();
        let received = made(report, "received queues", their_queues.recv());
        let name = format!("standard-{}", mp::current_process().pid());
        let listener = made(report, "Listener", Listener::<u8, u8>::bind(name.as_str()));
        let (here, there) = std::thread::scope(|scope| {
            let accepted = scope.spawn(|| listener.accept_timeout(PATIENCE));
            (connect::<u8, u8>(name.as_str()), accepted.join().unwrap())
        });
        let (here, there) = (made(report, "connect", here), made(report, "accept", there));
        print_much();
        tx.send(&vec![1]).unwrap();
        assert_eq!(rx.recv(), Ok(vec![1]));
        near.send(&1).unwrap();
        assert_eq!(far.recv(), Ok(1));
        queue.put(&1).unwrap();
        assert_eq!(received.0.get().unwrap(), 1);
        simple.put(&1).unwrap();
        assert_eq!(simple.get().unwrap(), 1);
        here.send(&1).unwrap();
        assert_eq!(there.recv(), Ok(1));
    });
}

/// Moves the test's own descriptors to other numbers, as the libraries do with theirs.
fn above((reads, writes): (std::io::PipeReader, std::io::PipeWriter)) -> std::io::Result<(OwnedFd, OwnedFd)> {
    // `std` copies to 3 or above.
    Ok((reads.try_clone()?.into(), writes.try_clone()?.into()))
}

fn no_child_takes_a_standard_number() {
    without_standard(|report| {
        let work = |(report, method): (Report, String)| {
            let parent = parent_process().unwrap();
            // An executed program has /dev/null there.
            if method == "Fork" {
                look(&report, "a forked child");
            }
            print_much();
            parent.is_some_and(|parent| parent.is_alive())
        };
        for method in METHODS {
            let child = Process::new().method(method).start(work, (report, &format!("{method:?}")));
            let child = made(report, &format!("{method:?}"), child);
            assert_eq!(child.join_timeout(PATIENCE), Ok(Some(true)), "{method:?}");
            look(report, "a join");
        }
        let child = made(report, "fork", mp::fork(print_much));
        child.join().unwrap();
        made(report, "fork_with", mp::fork_with(report, |_| ())).join().unwrap();
        mp::release_unused_memory();
    });
}

fn no_manager_takes_a_standard_number() {
    without_standard(|report| {
        let manager = made(report, "Manager", Manager::start());
        let numbers = made(report, "a proxy", manager.dict::<u32, u32>());
        print_much();
        numbers.insert(&1, &2).unwrap();
        let other = Process::new().method(Method::Fork).fork(|| {
            look(report, "a client that was forked");
            numbers.get(&1).unwrap()
        });
        assert_eq!(other.unwrap().join(), Ok(Some(2)));
        assert_eq!(numbers.get(&1), Ok(Some(2)));
        let here = made(report, "a manager of this process", Manager::in_process());
        drop(here);
        drop(numbers);
        manager.shutdown().unwrap();
    });
}

fn printing_to_a_closed_stdout_changes_nothing() {
    let child = spawn(|| {
        close_stdout();
        let small = Value::new([1_u64; 4]).unwrap();
        let large = Array::<u64>::zeroed(1 << 18).unwrap();
        let (tx, rx) = pipe::<u32>().unwrap();
        let queue = Queue::<u32>::new().unwrap();
        let manager = Manager::start().unwrap();
        let list = manager.list::<u32>().unwrap();
        print_much();
        let forked = mp::fork(|| {
            print_much();
            small.update(|numbers| numbers.map(|n| n + 1)).unwrap();
            (tx.send(&1).is_ok(), queue.put(&2).is_ok(), list.push(&3).is_ok())
        });
        assert_eq!(forked.unwrap().join_timeout(PATIENCE), Ok(Some((true, true, true))));
        print_much();
        assert_eq!((small.get(), rx.try_recv(), queue.try_get()), (Ok([2; 4]), Ok(1), Ok(2)));
        assert!(large.to_vec().unwrap().iter().all(|element| *element == 0));
        assert_eq!(list.to_vec(), Ok(vec![3]));
        let name = std::fs::read_link("/proc/self/fd/1");
        assert!(name.is_err(), "{name:?} has the number of stdout");
        manager.shutdown().unwrap();
    });
    succeeded(&child);
}
