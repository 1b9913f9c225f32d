//! Memory: how much a queue takes and gives back, and what happens when there is none.

use kernel_ipc::limits::ITEM_BYTES_MAX;
use kernel_ipc::{CreateError, MemoryError, PutError, Queue, RecvError, pipe};
use mp_sys::budget;
use mp_sys::testing::{spawn, succeeded, tests};

tests! {
    memory_is_given_back_after_a_peak,
    a_queue_that_fills_and_empties_keeps_its_memory,
    no_memory_is_an_error_and_the_queue_stays_usable,
    handed_out_tasks_count_as_memory,
    the_longest_item,
    a_new_queue_needs_free_descriptors,
    a_received_queue_counts_as_memory,
    address_space_of_a_new_queue_never_counts_as_memory,
}

const MIB: u64 = 1 << 20;
/// The most that an empty queue may keep: 2 MiB for the next items, and the segment of the last item.
const KEPT: u64 = 6 * MIB;

fn memory_is_given_back_after_a_peak() {
    let queue = Queue::<()>::new().unwrap();
    let before = budget::mapped();
    let item = vec![1; 64 << 10];
    for _ in 0..64 * 16 {
        queue.put_bytes(&item).unwrap();
    }
    assert!(budget::mapped() - before >= 64 * MIB);
    let mut buffer = item.clone();
    while queue.try_get_bytes().is_ok() {}
    // Memory beyond what a breathing queue keeps is given back at once, except the segments in use.
    assert!(budget::mapped() - before <= 40 * MIB, "{} bytes", budget::mapped() - before);
    // The rest is given back while a consumer waits.
    mp_sys::testing::eventually("the queue gives its memory back", || {
        let _empty = queue.get_many_timeout(1, std::time::Duration::from_millis(50)).unwrap_err();
        budget::mapped() - before <= KEPT
    });
    queue.put_bytes(&item).unwrap();
    assert_eq!(queue.get_bytes_into(&mut buffer), Ok(item.len()));
}

fn a_queue_that_fills_and_empties_keeps_its_memory() {
    let queue = Queue::<()>::new().unwrap();
    let item = vec![1; 1000];
    let mut mapped = Vec::new();
    for _ in 0..4 {
        for _ in 0..8_000 {
            queue.put_bytes(&item).unwrap();
        }
        while queue.try_get_bytes().is_ok() {}
        mapped.push(budget::mapped());
    }
    assert_eq!(mapped[1..], [mapped[1]; 3], "the same memory each time");
}

fn no_memory_is_an_error_and_the_queue_stays_usable() {
    let queue = Queue::<()>::new().unwrap();
    budget::set_limit(Some(budget::mapped() + 2 * MIB));
    let item = vec![7; 10_000];
    let mut put = 0;
    let error = loop {
        match queue.put_bytes(&item) {
            Ok(()) => put += 1,
            Err(error) => break error,
        }
        assert!(put < 1_000, "the limit was never reached");
    };
    assert!(matches!(error, PutError::Memory(MemoryError::NoSpace { .. })), "{error:?}");
    assert_eq!(queue.len(), put);
    // Small items may still find room. A large one does not, and no item is lost.
    assert!(queue.put_bytes(&vec![0; 3 << 20]).is_err());
    for _ in 0..put {
        assert_eq!(queue.get_bytes().unwrap(), item);
    }
    queue.put_bytes(&item).unwrap();
    assert!(matches!(Queue::<()>::new(), Err(CreateError::Memory(_)) | Ok(_)));
    budget::set_limit(Some(0));
    assert!(matches!(Queue::<()>::new(), Err(CreateError::Memory(MemoryError::NoSpace { .. }))));
    assert_eq!(queue.get_bytes().unwrap(), item);
}

fn handed_out_tasks_count_as_memory() {
    let queue = kernel_ipc::JoinableQueue::<String>::new().unwrap();
    let before = budget::mapped();
    budget::set_limit(Some(before + 8 * MIB));
    let task = "x".repeat(60_000);
    let mut held = Vec::new();
    let refused = loop {
        if let Err(refused) = queue.put(&task) {
            break refused.to_string();
        }
        match queue.get() {
            Ok(task) => held.push(task),
            Err(refused) => break refused.to_string(),
        }
        assert!(held.len() < 1_000, "the limit was never reached");
    };
    assert!(refused.contains("no space"), "{refused}");
    assert!(budget::mapped() - before > 6 * MIB);
    budget::set_limit(None);
    let count = queue.unfinished().unwrap();
    assert!(count == held.len() || count == held.len() + 1, "a task was lost");
    held.into_iter().for_each(|held| assert_eq!(held.done(), task));
}

fn the_longest_item() {
    let queue = Queue::<()>::new().unwrap();
    // Zeroed memory costs nothing until it is used.
    let too_long = vec![0; ITEM_BYTES_MAX + 1];
    let refused = queue.put_bytes(&too_long).unwrap_err();
    assert_eq!(refused, PutError::TooLarge { found: ITEM_BYTES_MAX + 1, limit: ITEM_BYTES_MAX });
    // At the limit, the queue asks for memory. The test's budget refuses it, so none is used.
    budget::set_limit(Some(budget::mapped() + MIB));
    let refused = queue.put_bytes(&too_long[..ITEM_BYTES_MAX]).unwrap_err();
    assert!(matches!(refused, PutError::Memory(MemoryError::NoSpace { .. })), "{refused:?}");
    assert!(queue.is_empty());
}

fn a_new_queue_needs_free_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let queue = Queue::<u8>::new().unwrap();
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(3), maximum: before.maximum }).unwrap();
    let refused = Queue::<u8>::new().unwrap_err();
    queue.put(&1).unwrap();
    assert_eq!(queue.get(), Ok(1));
    setrlimit(Resource::Nofile, before).unwrap();
    assert_eq!(refused, CreateError::Memory(MemoryError::OutOfDescriptors));
}

fn a_received_queue_counts_as_memory() {
    let (sender, receiver) = pipe::<Queue<()>>().unwrap();
    let sender_of_two = sender;
    let maker = spawn(|| {
        let queue = Queue::<()>::new().unwrap();
        for _ in 0..64 {
            queue.put_bytes(&[1; 64 << 10]).unwrap();
        }
        sender_of_two.send(&queue).unwrap();
        sender_of_two.send(&queue).unwrap();
    });
    drop(sender_of_two);
    let before = budget::mapped();
    // The budget is smaller than the items.
    budget::set_limit(Some(before + 4 * MIB));
    let refused = receiver.recv().unwrap_err();
    let RecvError::Decode { reason, .. } = &refused else { panic!("{refused:?}") };
    assert!(reason.to_string().contains("no space"), "{reason}");
    assert_eq!(budget::mapped(), before);
    budget::set_limit(Some(before + 8 * MIB));
    let queue = receiver.recv().unwrap();
    let counted = budget::mapped() - before;
    assert!((4 * MIB..=8 * MIB).contains(&counted), "{counted} bytes");
    assert_eq!(queue.len(), 64);
    drop(queue);
    assert_eq!(budget::mapped(), before, "everything was given back");
    succeeded(&maker);
}

/// While one thread makes queues, another never sees more memory counted than they have.
fn address_space_of_a_new_queue_never_counts_as_memory() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let before = budget::mapped();
    let is_done = AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut most = 0;
            while !is_done.load(Ordering::Relaxed) {
                most = most.max(budget::mapped());
            }
            most
        });
        for _ in 0..3_000 {
            drop(Queue::<()>::new().unwrap());
        }
        is_done.store(true, Ordering::Relaxed);
        watcher.join().unwrap()
    });
    assert!(most - before <= MIB, "{} bytes were counted for a moment", most - before);
    assert_eq!(budget::mapped(), before);
}
