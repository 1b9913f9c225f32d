//! Children of a scope, and children of a program that ends while they run.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use mp::{
    Child, Event, ExitError, Method, Process, Queue, RawValue, RecvError, Sender, active_children, pipe,
    scope,
};
use mp_sys::testing::{PATIENCE, block_termination, hang, tests};

use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};

use crate::METHODS;
use crate::processes::with_orphans;

tests! {
    a_scope_waits_for_all_that_was_started_in_it,
    a_scope_returns_a_failure_that_was_not_joined,
    a_scope_that_is_left_by_an_error_ends_its_children,
    a_scope_that_is_left_by_a_panic_ends_its_children,
    a_child_of_a_scope_that_blocks_the_signal_is_killed,
    an_inherited_scope_belongs_to_the_parent,
    a_program_that_fails_does_not_wait_for_a_child_that_dies_with_it,
    a_program_that_waits_for_its_children_names_them,
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Waits for ever, unless it is ended.
fn wait_on((queue, ready): (Queue<u8>, Sender<u8>)) {
    ready.send(&1).unwrap();
    assert_eq!(queue.get(), Ok(0), "nobody puts anything");
}

fn a_scope_waits_for_all_that_was_started_in_it() {
    let count = RawValue::new(0_u32).unwrap();
    let (sender, receiver) = pipe::<u32>().unwrap();
    let kept = scope(|s| -> Outcome<Child<u32>> {
        drop(s.fork(|| count.fetch_add(1))?);
        s.spawn(|count: RawValue<u32>| count.fetch_add(1), &count)?;
        s.fork_with(sender, |sender| sender.send(&7).unwrap())?;
        for method in METHODS {
            let add = |count: RawValue<u32>| count.fetch_add(1);
            s.adopt(Process::new().method(method).start(add, &count)?);
        }
        Ok(s.fork(|| 5)?)
    });
    assert_eq!(count.load(), 5);
    assert!(active_children().is_empty());
    assert_eq!(receiver.recv(), Ok(7));
    assert_eq!(kept.unwrap().join(), Ok(5), "the handle is as good as before");
}

fn a_scope_returns_a_failure_that_was_not_joined() {
    let count = RawValue::new(0_u32).unwrap();
    let failed = scope(|s| -> Outcome<()> {
        s.fork(|| 1)?;
        drop(s.fork(|| -> u8 { panic!("out of paper") })?);
        s.fork(|| count.fetch_add(1))?;
        Ok(())
    });
    assert_eq!(failed.unwrap_err().to_string(), "the child panicked: out of paper");
    assert_eq!(count.load(), 1, "the others were waited for");
    #[expect(clippy::exit, reason = "the case")]
    let failed = scope(|s| -> Result<(), ExitError> {
        s.fork(|| -> u8 { std::process::exit(3) }).unwrap();
        Ok(())
    });
    assert_eq!(failed, Err(ExitError::Exited(3)));
    // The caller that joins it gets the error.
    let seen = scope(|s| -> Outcome<ExitError> {
        let child = s.fork(|| -> u8 { panic!("out of ink") })?;
        Ok(child.join().unwrap_err())
    });
    assert_eq!(seen.unwrap(), ExitError::Panicked("out of ink".to_owned()));
}

fn a_scope_that_is_left_by_an_error_ends_its_children() {
    for method in METHODS {
        let queue = Queue::<u8>::new().unwrap();
        let (ready, is_ready) = pipe().unwrap();
        let mut kept = None;
        let failed = scope(|s| -> Outcome<u32> {
            kept = Some(s.adopt(Process::new().method(method).start(wait_on, (&queue, &ready))?));
            assert_eq!(is_ready.recv_timeout(PATIENCE), Ok(1));
            Ok("12a".parse()?)
        });
        assert_eq!(failed.unwrap_err().to_string(), "invalid digit found in string");
        assert_eq!(kept.unwrap().try_join(), Err(ExitError::Signaled(15)), "{method:?}");
        assert!(active_children().is_empty());
    }
}

fn a_scope_that_is_left_by_a_panic_ends_its_children() {
    let queue = Queue::<u8>::new().unwrap();
    let (ready, is_ready) = pipe().unwrap();
    let mut kept = None;
    let panics = AssertUnwindSafe(|| {
        scope(|s| -> Outcome<()> {
            kept = Some(s.fork(|| wait_on((queue.clone(), ready.try_clone().unwrap())))?);
            assert_eq!(is_ready.recv_timeout(PATIENCE), Ok(1));
            panic!("in the scope")
        })
    });
    assert!(catch_unwind(panics).is_err());
    assert_eq!(kept.unwrap().try_join(), Err(ExitError::Signaled(15)));
}

fn a_child_of_a_scope_that_blocks_the_signal_is_killed() {
    let (ready, is_ready) = pipe::<u8>().unwrap();
    let mut kept = None;
    let failed = scope(|s| -> Outcome<()> {
        kept = Some(s.fork(|| -> () {
            block_termination();
            ready.send(&1).unwrap();
            hang()
        })?);
        assert_eq!(is_ready.recv_timeout(PATIENCE), Ok(1));
        Err("left".into())
    });
    assert!(failed.is_err());
    assert_eq!(kept.unwrap().try_join(), Err(ExitError::Signaled(9)));
}

/// A child that ends by its own panic, or in its own scope, ends no other process.
fn an_inherited_scope_belongs_to_the_parent() {
    let (finish, until) = pipe::<()>().unwrap();
    scope(|s| -> Outcome<()> {
        let sibling = s.fork_with(until, |until| until.recv_timeout(PATIENCE) == Err(RecvError::Closed))?;
        let panics = s.fork(|| -> () { panic!("alone") })?;
        assert!(matches!(panics.join(), Err(ExitError::Panicked(_))));
        let inner = s.fork(|| scope(|inner| -> Outcome<u8> { Ok(inner.fork(|| 4)?.join()?) }).unwrap())?;
        assert_eq!(inner.join(), Ok(4));
        let inherits = s.fork(|| s.fork(|| 6).unwrap().join().unwrap())?;
        assert_eq!(inherits.join(), Ok(6));
        assert_eq!(sibling.is_alive(), Ok(true));
        drop(finish);
        assert_eq!(sibling.join(), Ok(true));
        Ok(())
    })
    .unwrap();
}

/// The end of `main`, here in a child that ends like a program.
#[derive(Debug, Clone, Copy)]
enum End {
    Exit,
    Panic,
    Return,
}

#[expect(clippy::exit, reason = "the case")]
fn a_program_that_fails_does_not_wait_for_a_child_that_dies_with_it() {
    with_orphans(|| {
        for method in METHODS {
            for end in [End::Exit, End::Panic, End::Return] {
                let (ready, is_ready) = pipe().unwrap();
                let program = mp::fork_with(ready, |ready| {
                    let queue = Queue::<u8>::new().unwrap();
                    let tied = Process::new().method(method).die_with_parent(true);
                    let _child = tied.start(wait_on, (&queue, &ready)).unwrap();
                    drop(ready);
                    // Until the child waits, which it reports to the reader of the other end.
                    match end {
                        End::Exit => std::process::exit(3),
                        End::Panic => panic!("no more paper"),
                        End::Return => {}
                    }
                });
                let ended = program.unwrap().join_timeout(PATIENCE);
                let expected = match end {
                    End::Exit => Err(ExitError::Exited(3)),
                    End::Panic => Err(ExitError::Panicked("no more paper".to_owned())),
                    End::Return => Ok(Some(())),
                };
                assert_eq!(ended, expected, "{method:?}, {end:?}");
                let mut said = is_ready.recv_timeout(PATIENCE);
                if said == Ok(1) {
                    said = is_ready.recv_timeout(PATIENCE);
                }
                assert_eq!(said, Err(RecvError::Closed), "{method:?}, {end:?}: the child has ended");
            }
        }
    });
}

fn wait_for_end(finish: Event) {
    assert!(finish.wait_timeout(PATIENCE));
}

/// Counts the warnings of this process and of those that it forks.
struct Warnings;

static WARNINGS: Mutex<Option<RawValue<u32>>> = Mutex::new(None);

impl Subscriber for Warnings {
    fn enabled(&self, of: &Metadata<'_>) -> bool {
        *of.level() == Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        WARNINGS.lock().unwrap().as_ref().unwrap().fetch_add(1);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn a_program_that_waits_for_its_children_names_them() {
    with_orphans(a_waiting_program_names_its_children);
}

fn a_waiting_program_names_its_children() {
    *WARNINGS.lock().unwrap() = Some(RawValue::new(0_u32).unwrap());
    let finish = Event::new().unwrap();
    let (reading, writing) = std::io::pipe().unwrap();
    let writing = OwnedFd::from(writing);
    let program = Process::new().name("program").fork(|| {
        rustix::stdio::dup2_stderr(&writing).unwrap();
        tracing::subscriber::set_global_default(Warnings).unwrap();
        for name in ["first", "second"] {
            // The handles are dropped, and the children stay.
            drop(Process::new().name(name).method(Method::Fork).start(wait_for_end, &finish).unwrap());
        }
        let tied = Process::new().name("tied").die_with_parent(true).method(Method::Fork);
        drop(tied.start(wait_for_end, &finish).unwrap());
    });
    let program = program.unwrap();
    drop(writing);
    let mut line = Vec::new();
    let mut reading = std::io::BufReader::new(reading);
    std::io::BufRead::read_until(&mut reading, b'\n', &mut line).unwrap();
    let line = String::from_utf8(line).unwrap();
    let expected = format!(
        "mp: program (process {}) has ended its work and waits for its children: first (process ",
        program.pid()
    );
    assert!(line.starts_with(&expected), "{line}");
    assert!(line.contains(", second (process ") && !line.contains("tied"), "{line}");
    assert_eq!(program.try_join(), Ok(None::<()>), "it still waits");
    finish.set();
    program.join().unwrap();
    let mut more = String::new();
    reading.read_to_string(&mut more).unwrap();
    assert_eq!(more, "", "it says so once");
    let warnings = WARNINGS.lock().unwrap().take().unwrap();
    assert_eq!(warnings.load(), 1);
}
