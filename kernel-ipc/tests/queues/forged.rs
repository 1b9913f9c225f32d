//! Forged queues of a hostile peer: each is an error, in time, and never a panic.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use kernel_ipc::limits::{CAPACITY_MAX, ITEM_BYTES_MAX};
use kernel_ipc::{GetError, Receiver, RecvError, Sender, pipe};
use mp_sys::region::{LOCK_BYTES, LOCK_DATA_BYTES};
use mp_sys::testing::{spawn, succeeded, tests};
use rustix::event::EventfdFlags;
use rustix::fs::{OFlags, fcntl_setfl};

tests! {
    an_impossible_configuration_is_refused,
    a_region_of_another_length_is_refused,
    a_descriptor_that_may_block_is_refused,
    a_peer_cannot_make_the_descriptor_block,
    an_item_above_the_limit_is_an_error,
}

/// Has the name and the encoding of the library's types: two descriptors.
mod parts {
    use kernel_ipc::Descriptor;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) struct Queue<T>(
        pub(super) Box<(Descriptor, Descriptor)>,
        #[serde(skip)] pub(super) std::marker::PhantomData<T>,
    );
    #[derive(Debug, Serialize, Deserialize)]
    pub(super) struct JoinableQueue<T>(
        pub(super) Box<(Descriptor, Descriptor)>,
        #[serde(skip)] pub(super) std::marker::PhantomData<T>,
    );
}

type Parts = (File, OwnedFd);

fn other_end<T>(rx: &impl AsFd) -> Receiver<T> {
    Receiver::from_fd(rx.as_fd().try_clone_to_owned().unwrap()).unwrap()
}

macro_rules! forging {
    ($kind:ident, $apart:ident, $arrive:ident) => {
        /// Returns the memory and the descriptor of a queue that no process has any more.
        fn $apart(queue: kernel_ipc::$kind<u32>) -> Parts {
            let (tx, rx) = pipe().unwrap();
            tx.send(&queue).unwrap();
            let parts = other_end::<parts::$kind<u32>>(&rx).recv().unwrap();
            let (region, event) = *parts.0;
            (region.try_into_fd().unwrap().into(), event.try_into_fd().unwrap())
        }

        fn $arrive(region: &File, event: impl Into<OwnedFd>) -> Result<kernel_ipc::$kind<u32>, RecvError> {
            let (tx, rx): (Sender<parts::$kind<u32>>, _) = pipe().unwrap();
            let region = OwnedFd::from(region.try_clone().unwrap());
            let parts = Box::new((region.into(), event.into().into()));
            tx.send(&parts::$kind(parts, std::marker::PhantomData)).unwrap();
            other_end(&rx).recv()
        }
    };
}

forging!(Queue, apart, arrive);
forging!(JoinableQueue, tasks_apart, tasks_arrive);

fn write(region: &File, at: u64, value: u64) {
    region.write_all_at(&value.to_ne_bytes(), at).unwrap();
}

fn read(region: &File, at: u64) -> u64 {
    let mut word = [0; 8];
    region.read_exact_at(&mut word, at).unwrap();
    u64::from_ne_bytes(word)
}

/// The start of the configuration, and its words.
const CONFIG: u64 = 512;
const MAX_ITEMS: u64 = CONFIG + 3 * 8;
const MAX_BYTES: u64 = CONFIG + 4 * 8;
const SPACE: u64 = CONFIG + 5 * 8;
const HAS_LEASES: u64 = CONFIG + 6 * 8;
const TAIL: u64 = 256;
const ARMED: u64 = TAIL + 20;
const HEAD: u64 = 384;

fn an_impossible_configuration_is_refused() {
    let beyond = u64::try_from(CAPACITY_MAX).unwrap() + 1;
    let cases: [(u64, &[u64]); 7] = [
        (CONFIG, &[0, u64::MAX]),
        (CONFIG + 8, &[0, 1, 2, 3, 5, u64::MAX]),
        (CONFIG + 16, &[0, 1]),
        (MAX_ITEMS, &[0, beyond, u64::MAX - 1]),
        (MAX_BYTES, &[0, 7]),
        (SPACE, &[0, 1, 4096, (64 << 20) - 1, 32 << 20, 96 << 20, 1 << 36, 1 << 63, u64::MAX]),
        (HAS_LEASES, &[2, u64::MAX]),
    ];
    let queue = apart(kernel_ipc::Queue::bounded(9).unwrap());
    let tasks = tasks_apart(kernel_ipc::JoinableQueue::bounded(9).unwrap());
    // Each is valid for the other kind of queue.
    let kind = [(HAS_LEASES, 1, 0)];
    for (at, value) in cases.iter().flat_map(|(at, values)| values.iter().map(|value| (*at, *value))) {
        for (region, is_queue) in [(&queue, true), (&tasks, false)] {
            let honest = read(&region.0, at);
            write(&region.0, at, value);
            let event = region.1.try_clone().unwrap();
            let refused = if is_queue {
                arrive(&region.0, event).map(drop)
            } else {
                tasks_arrive(&region.0, event).map(drop)
            };
            assert!(matches!(refused, Err(RecvError::Decode { .. })), "{value} at {at}: {refused:?}");
            write(&region.0, at, honest);
        }
    }
    for (at, in_queue, in_tasks) in kind {
        write(&queue.0, at, in_queue);
        write(&tasks.0, at, in_tasks);
        assert!(arrive(&queue.0, queue.1.try_clone().unwrap()).is_err());
        assert!(tasks_arrive(&tasks.0, tasks.1.try_clone().unwrap()).is_err());
        write(&queue.0, at, in_tasks);
        write(&tasks.0, at, in_queue);
    }
    assert_eq!(arrive(&queue.0, queue.1).unwrap().capacity(), Some(9), "the honest words are accepted");
    assert_eq!(tasks_arrive(&tasks.0, tasks.1).unwrap().capacity(), Some(9));
}

fn a_region_of_another_length_is_refused() {
    let (region, event) = apart(kernel_ipc::Queue::bounded(9).unwrap());
    let length = region.metadata().unwrap().len();
    let mut start = [0; 8192];
    region.read_exact_at(&mut start, 0).unwrap();
    for (length, is_one) in [(length, true), (length - 4096, false), (length + 4096, false)] {
        let file = File::from(mp_sys::memory::make_memfd().unwrap());
        file.set_len(length).unwrap();
        rustix::fs::fcntl_add_seals(&file, rustix::fs::SealFlags::SHRINK).unwrap();
        file.write_all_at(&start, 0).unwrap();
        assert_eq!(arrive(&file, event.try_clone().unwrap()).is_ok(), is_one, "{length}");
    }
}

fn a_descriptor_that_may_block_is_refused() {
    let (region, event) = apart(kernel_ipc::Queue::new().unwrap());
    let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let (end, _other_end) = rustix::pipe::pipe().unwrap();
    let blocking = rustix::event::eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let files = [end, blocking, stream.into(), region.try_clone().unwrap().into()];
    for file in files {
        let refused = arrive(&region, file).map(drop);
        assert!(matches!(refused, Err(RecvError::Decode { .. })), "{refused:?}");
    }
    arrive(&region, event).unwrap().put(&1).unwrap();
}

/// The peer has the descriptor too. It fills or empties it, and makes it blocking.
fn a_peer_cannot_make_the_descriptor_block() {
    for is_full in [false, true] {
        let (region, event) = apart(kernel_ipc::Queue::new().unwrap());
        region.write_all_at(&1_u32.to_ne_bytes(), ARMED).unwrap();
        fcntl_setfl(&event, OFlags::NONBLOCK).unwrap();
        let mut bytes = [0; 8];
        if is_full {
            while rustix::io::write(&event, &(u64::MAX - 1).to_ne_bytes()).is_ok() {}
        } else {
            while rustix::io::read(&event, &mut bytes).is_ok() {}
        }
        let queue = arrive(&region, event.try_clone().unwrap()).unwrap();
        fcntl_setfl(&event, OFlags::empty()).unwrap();
        let child = spawn(|| {
            for _ in 0..3 {
                assert_eq!(queue.try_get(), Err(GetError::Empty));
                queue.put_timeout(&1, Duration::from_secs(10)).unwrap();
                assert_eq!(queue.get_timeout(Duration::from_secs(10)), Ok(1));
            }
            queue.close().unwrap();
        });
        succeeded(&child);
    }
}

fn an_item_above_the_limit_is_an_error() {
    // The notes of the consumers' lock: the start and the end of their segment.
    let notes = u64::try_from(2 * LOCK_BYTES - LOCK_DATA_BYTES).unwrap();
    let first = 4096 + 64;
    let mut buffer = [0; 8];
    for len in [ITEM_BYTES_MAX, ITEM_BYTES_MAX + 1, usize::MAX - 1] {
        let (region, event) = apart(kernel_ipc::Queue::new().unwrap());
        write(&region, notes + 8, read(&region, SPACE));
        write(&region, first, u64::try_from(len).unwrap());
        write(&region, TAIL, 1 << 32 | first >> 3);
        write(&region, HEAD, first >> 3);
        let queue = arrive(&region, event).unwrap();
        let refused = queue.get_bytes_into(&mut buffer).unwrap_err();
        if len <= ITEM_BYTES_MAX {
            assert_eq!(refused, GetError::TooLarge { found: len, limit: 8 });
            continue;
        }
        assert!(matches!(refused, GetError::Corrupt(_)), "{refused:?}");
        assert!(matches!(queue.try_get(), Err(GetError::Corrupt(_))));
        assert!(matches!(queue.try_get_bytes(), Err(GetError::Corrupt(_))));
        assert!(matches!(queue.get_many(9), Err(GetError::Corrupt(_))));
    }
}
