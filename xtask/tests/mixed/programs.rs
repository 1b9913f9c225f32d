//! Programs that `std::process::Command` starts. They inherit one descriptor, an end of a pipe, and receive everything
//! else through it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Child, Command};

use mp::{Connection, Event, JoinableQueue, Queue, Value, duplex};
use mp_sys::testing::{PATIENCE, hang, tests};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use serde::{Deserialize, Serialize};

tests! {
    a_program_receives_a_queue,
    the_task_of_a_killed_program_is_requeued,
}

/// The variable with the number of the descriptor that a program inherits.
const NUMBER: &str = "MP_TEST_DESCRIPTOR";

/// What a program receives.
#[derive(Debug, Serialize, Deserialize)]
struct Work {
    words: Queue<String>,
    tasks: JoinableQueue<u64>,
    sum: Value<u64>,
    has_task: Event,
}

impl Work {
    fn new() -> Self {
        Self {
            words: Queue::new().unwrap(),
            tasks: JoinableQueue::new().unwrap(),
            sum: Value::new(0).unwrap(),
            has_task: Event::new().unwrap(),
        }
    }
}

/// What it sends back: a queue that it made.
type Answers = Queue<usize>;

/// Whether this process was started as a program, and has now done its work.
pub(crate) fn is_program() -> bool {
    let Ok(number) = std::env::var(NUMBER) else {
        return false;
    };
    let connection = Connection::<Answers, Work>::from_fd(inherited(number.parse().unwrap())).unwrap();
    match std::env::args().nth(1).as_deref() {
        Some("measure") => measure(&connection),
        Some("hang") => hang_with_a_task(&connection),
        other => panic!("there is no program {other:?}"),
    }
    true
}

/// Puts the length of each word into its own queue, and adds up the tasks.
fn measure(connection: &Connection<Answers, Work>) {
    let work = connection.recv_timeout(PATIENCE).unwrap();
    let lengths = Queue::bounded(2).unwrap();
    connection.send(&lengths).unwrap();
    for word in &work.words {
        lengths.put_timeout(&word.unwrap().len(), PATIENCE).unwrap();
    }
    lengths.close().unwrap();
    while let Ok(task) = work.tasks.get_timeout(PATIENCE) {
        work.sum.update(|sum| sum + *task).unwrap();
        task.done();
    }
}

/// Takes a task, reports that, and keeps it.
fn hang_with_a_task(connection: &Connection<Answers, Work>) {
    let work = connection.recv_timeout(PATIENCE).unwrap();
    let _task = work.tasks.get_timeout(PATIENCE).unwrap();
    work.has_task.set();
    hang();
}

/// Makes an own descriptor from an inherited number, without `unsafe`: through the pidfd of this process.
fn inherited(number: i32) -> OwnedFd {
    let itself = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    pidfd_getfd(itself.as_fd(), number, PidfdGetfdFlags::empty()).unwrap()
}

/// Starts this binary again, as a program that shares only the one descriptor.
fn start(program: &str) -> (Program, Connection<Work, Answers>) {
    let (here, there) = duplex::<Work, Answers>().unwrap();
    // The program inherits the copy without CLOEXEC.
    let handed = rustix::io::dup(&there).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .arg(program)
        .env(NUMBER, handed.as_raw_fd().to_string())
        .spawn()
        .unwrap();
    (Program { child }, here)
}

/// A program that is killed if the test fails.
struct Program {
    child: Child,
}

impl Program {
    fn succeeded(mut self) {
        let ended = mp::wait(&[&pidfd_open(self.pid(), PidfdFlags::empty()).unwrap()], PATIENCE).unwrap();
        assert_eq!(ended, [0], "the program still runs");
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status:?}");
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // This fails if the program has already ended, which is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn a_program_receives_a_queue() {
    let (program, connection) = start("measure");
    let work = Work::new();
    connection.send(&work).unwrap();
    let lengths = connection.recv_timeout(PATIENCE).unwrap();
    let long = "x".repeat(300_000);
    for word in ["a", "bc", &long, ""] {
        work.words.put(&word.to_owned()).unwrap();
    }
    work.words.close().unwrap();
    assert_eq!(lengths.iter().collect::<Result<Vec<_>, _>>(), Ok(vec![1, 2, 300_000, 0]));
    work.tasks.put_many(&(1..=100).collect::<Vec<_>>()).unwrap();
    assert!(work.tasks.join_timeout(PATIENCE).unwrap());
    assert_eq!(work.sum.get(), Ok(5050));
    work.tasks.close().unwrap();
    program.succeeded();
}

fn the_task_of_a_killed_program_is_requeued() {
    let work = Work::new();
    let (first, connection) = start("hang");
    connection.send(&work).unwrap();
    work.tasks.put(&7).unwrap();
    assert!(work.has_task.wait_timeout(PATIENCE));
    assert_eq!((work.tasks.len(), work.tasks.unfinished()), (0, Ok(1)));
    let (second, connection) = start("measure");
    connection.send(&work).unwrap();
    work.words.close().unwrap();
    drop(first);
    assert!(work.tasks.join_timeout(PATIENCE).unwrap());
    assert_eq!(work.sum.get(), Ok(7));
    work.tasks.close().unwrap();
    second.succeeded();
}
