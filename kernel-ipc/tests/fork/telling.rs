//! User code in unusual places: in a subscriber of `tracing`, and while a thread ends.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering};

use kernel_ipc::{JoinableQueue, Queue, Receiver, Sender, duplex, pipe};
use mp_sys::testing::{Argument, FALLOCATE, MADVISE, refuse, skip, spawn, succeeded, tests};
use rustix::io::Errno;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

tests! {
    a_subscriber_may_use_the_queue_that_emits_the_event,
    a_subscriber_may_use_queues_while_one_arrives,
    a_thread_that_ends_may_send_and_receive,
}

/// Writes each event into a queue, and does other things that a program may do.
struct Writer {
    queue: Queue<String>,
    pipe: (Sender<String>, Receiver<String>),
}

static TOLD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static IS_TELLING: Cell<bool> = const { Cell::new(false) };
}

impl Subscriber for Writer {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        // What the subscriber does may emit events too.
        if IS_TELLING.replace(true) {
            return;
        }
        let name = event.metadata().name().to_owned();
        self.queue.try_put(&name).unwrap();
        self.pipe.0.try_send(&name).unwrap();
        assert_eq!(self.pipe.1.try_recv(), Ok(name));
        let (one, other) = duplex::<Queue<u8>, ()>().unwrap();
        one.try_send(&Queue::new().unwrap()).unwrap();
        assert!(other.try_recv().unwrap().is_empty());
        TOLD.fetch_add(1, Ordering::Relaxed);
        IS_TELLING.set(false);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn subscribe(queue: &Queue<String>) {
    tracing::subscriber::set_global_default(Writer { queue: queue.clone(), pipe: pipe().unwrap() }).unwrap();
}

const PUNCH_HOLE: u32 = 2;
const DONT_DUMP: u32 = 16;

/// A queue emits an event when it cannot give memory back. It notices that under its locks.
fn a_subscriber_may_use_the_queue_that_emits_the_event() {
    let child = spawn(|| {
        let (queue, tasks) = (Queue::new().unwrap(), JoinableQueue::new().unwrap());
        subscribe(&queue);
        let holes = [Argument::Has(1, PUNCH_HOLE)];
        refuse(FALLOCATE, &holes, Errno::PERM.raw_os_error()).unwrap_or_else(|why| skip(why));
        let long = "x".repeat(1 << 20);
        for _ in 0..64 {
            queue.put(&long).unwrap();
        }
        let gets = |count: usize| {
            for _ in 0..count {
                queue.get().unwrap();
            }
        };
        gets(64);
        let told = TOLD.load(Ordering::Relaxed);
        assert!(told > 0, "no event was emitted");
        gets(told);
        for _ in 0..4 {
            tasks.put(&long).unwrap();
        }
        let held: Vec<_> = (0..4).map(|_| tasks.get().unwrap()).collect();
        held.into_iter().for_each(|task| drop(task.done()));
        assert!(tasks.try_get().is_err());
        assert!(TOLD.load(Ordering::Relaxed) > told, "no event about the tasks was emitted");
    });
    succeeded(&child);
}

/// A process that maps a queue emits an event if the queue's memory stays in core dumps. The list of all queues is locked
/// then.
fn a_subscriber_may_use_queues_while_one_arrives() {
    let (tx, rx) = pipe::<Queue<u32>>().unwrap();
    let child = spawn(|| {
        subscribe(&Queue::new().unwrap());
        let advice = [Argument::Is(2, DONT_DUMP)];
        refuse(MADVISE, &advice, Errno::INVAL.raw_os_error()).unwrap_or_else(|why| skip(why));
        assert_eq!(rx.recv().unwrap().get(), Ok(7));
        assert!(TOLD.load(Ordering::Relaxed) > 0, "no event was emitted");
    });
    let queue = Queue::new().unwrap();
    queue.put(&7).unwrap();
    tx.send(&queue).unwrap();
    succeeded(&child);
}

/// Runs its closure when its thread ends.
struct AtTheEnd(Option<Box<dyn FnOnce()>>);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        if let Some(run) = self.0.take() {
            run();
        }
    }
}

thread_local! {
    static AT_THE_END: RefCell<AtTheEnd> = const { RefCell::new(AtTheEnd(None)) };
}

fn uses_everything() {
    let (tx, rx) = pipe::<(String, Vec<Queue<u8>>)>().unwrap();
    let queue = Queue::new().unwrap();
    for len in [1, 10_000, 300_000] {
        tx.send(&("x".repeat(len), vec![queue.clone()])).unwrap();
        assert_eq!(kernel_ipc::wait(&[&rx], std::time::Duration::MAX).unwrap(), [0]);
        let (text, queues) = rx.recv().unwrap();
        queues[0].put(&1).unwrap();
        assert_eq!((text.len(), queue.get()), (len, Ok(1)));
        tx.send_bytes(&vec![7; len]).unwrap();
        let mut into = vec![0; len];
        assert_eq!(rx.recv_bytes_into(&mut into), Ok(len));
    }
    queue.put_many(&[1, 2]).unwrap();
    assert_eq!(queue.get_many(2).unwrap().len(), 2);
    let tasks = JoinableQueue::new().unwrap();
    tasks.put(&"task".to_owned()).unwrap();
    assert_eq!(tasks.get().unwrap().done(), "task");
    tasks.join().unwrap();
}

/// Thread-local values are dropped one after the other. The library's values were used last and are dropped first.
fn a_thread_that_ends_may_send_and_receive() {
    let (done, is_done) = std::sync::mpsc::channel();
    let run = move || {
        AT_THE_END.set(AtTheEnd(Some(Box::new(move || {
            uses_everything();
            done.send(()).unwrap();
        }))));
        uses_everything();
    };
    let thread = std::thread::Builder::new().name("ends".to_owned()).spawn(run).unwrap();
    thread.join().unwrap();
    is_done.try_recv().unwrap();
}
