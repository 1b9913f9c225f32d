//! Test bodies that are written once and run twice: by threads over one mapping, and by processes.
//!
//! `ThreadSanitizer` sees threads but not processes: it does not report two forked processes that race on a shared page
//! (tried). The objects of this workspace work the same way for both, so a body that takes a [`Spawner`] shows two
//! things. As [`Threads`], under the sanitizer, it shows that everything is ordered. As [`Processes`], it shows that
//! nobody waits for ever. A module lists its bodies with [`bodies!`](crate::bodies), and each binary instantiates that
//! list with its spawner.

use std::thread;

use crate::adaptive::Budget;
use crate::child::ChildProcess;
use crate::locked::{CONTROL_BYTES, Locked};
use crate::robust::Patience;
use crate::span::Chunk;
use crate::testing::{spawn, succeeded};

/// Runs copies of a test body side by side.
pub trait Spawner {
    /// Runs `body` with each number below `count`, all at the same time, and returns when all have ended.
    ///
    /// # Panics
    /// If one of them panics, or does not end.
    fn all(count: usize, body: impl Fn(usize) + Sync);
}

/// Each copy in a thread of this process.
#[derive(Debug)]
pub struct Threads;

impl Spawner for Threads {
    fn all(count: usize, body: impl Fn(usize) + Sync) {
        settle_std();
        let body = &body;
        thread::scope(|scope| {
            let start = |number: usize| {
                let named = thread::Builder::new().name(format!("body {number}"));
                named.spawn_scoped(scope, move || body(number)).expect("a test starts its thread")
            };
            let threads: Vec<_> = (0..count).map(start).collect();
            // The scope itself would wait through atomics of `std`, which the sanitizer does not see.
            let panicked = threads.into_iter().filter_map(|thread| thread.join().err()).count();
            assert_eq!(panicked, 0, "threads that panicked");
        });
    }
}

/// Each copy in a forked child.
#[derive(Debug)]
pub struct Processes;

impl Spawner for Processes {
    fn all(count: usize, body: impl Fn(usize) + Sync) {
        let children: Vec<ChildProcess> = (0..count).map(|number| spawn(|| body(number))).collect();
        children.iter().for_each(succeeded);
    }
}

/// Runs the code that each process runs once, in `OnceLock`s, before there are threads. The slow path of a `OnceLock`
/// lies in `std`, which the sanitizer does not see, so a thread that finds the result of another one looks like a race.
fn settle_std() {
    Budget::new().spin(|| false, || None);
    let mut chunk = Chunk::for_one(CONTROL_BYTES).expect("a test has memory");
    let lock = chunk.cut(CONTROL_BYTES).and_then(|span| Locked::new(span, |_| {}).ok());
    let lock = lock.expect("the chunk is for one lock");
    drop(lock.acquire(Patience::None, |_| {}).expect("no other process knows the lock"));
}

/// Lists the named bodies as the function `tests`, generic over the [`Spawner`] that runs them.
#[macro_export]
macro_rules! bodies {
    ($($name:ident),* $(,)?) => {
        pub(crate) fn tests<S: $crate::testing::spawner::Spawner>() -> Vec<$crate::testing::runner::Test> {
            vec![$($crate::testing::runner::Test { name: stringify!($name), run: $name::<S> }),*]
        }
    };
}
