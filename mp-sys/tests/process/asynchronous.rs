//! Tasks that wait, and forks.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use mp_sys::asynchronous::{Attempt, RuntimeError, Watched};
use mp_sys::child::Ended;
use mp_sys::child::{ForkAnyway, ForkError, fork, fork_anyway};
use mp_sys::testing::{ended, spawn, succeeded, tests};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, write};
use tokio::runtime::Builder;

tests! {
    a_child_uses_no_runtime_of_its_parent,
    a_child_that_drops_its_parents_runtime_removes_nothing,
    a_process_can_fork_again_after_its_runtime,
}

async fn take(watched: &Watched, file: &OwnedFd) -> Result<(), RuntimeError> {
    let try_take = || if read(file, &mut [0; 8]).is_ok() { Attempt::Done(()) } else { Attempt::Later };
    watched.attempt(file.as_fd(), try_take).await
}

fn counter() -> (Watched, OwnedFd) {
    (Watched::readable(), eventfd(0, EventfdFlags::NONBLOCK).unwrap())
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

fn add(file: &OwnedFd) {
    assert_eq!(write(file, &1_u64.to_ne_bytes()), Ok(8));
}

/// Returns how many descriptors the event loops of this process watch.
fn watched_descriptors() -> usize {
    let files = std::fs::read_dir("/proc/self/fdinfo").unwrap().filter_map(Result::ok);
    let infos = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
    infos.map(|info| info.lines().filter(|line| line.starts_with("tfd:")).count()).sum()
}

fn a_child_uses_no_runtime_of_its_parent() {
    let (watched, file) = counter();
    let (dropped, other_file) = counter();
    let dropped = Cell::new(Some(dropped));
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut waiting = pin!(take(&watched, &file));
        assert!(poll_once(waiting.as_mut()).await.is_pending());
        let other = dropped.take().unwrap();
        assert!(poll_once(pin!(take(&other, &other_file))).await.is_pending());
        dropped.set(Some(other));
        assert!(matches!(fork(|| 0), Err(ForkError::EventLoop { .. })));
        let before = watched_descriptors();
        // SAFETY: the process has one thread. The child uses the parent's loop only to see that this is refused.
        let responsible = unsafe { ForkAnyway::new() };
        let child = fork_anyway(responsible, || {
            let mut context = Context::from_waker(Waker::noop());
            let forked = Poll::Ready(Err(RuntimeError::Forked));
            assert_eq!(waiting.as_mut().poll(&mut context), forked);
            assert_eq!(pin!(take(&watched, &file)).poll(&mut context), forked);
            let (fresh, file) = counter();
            assert_eq!(pin!(take(&fresh, &file)).poll(&mut context), forked);
            drop(dropped.take());
            0
        });
        assert_eq!(ended(&child.unwrap()), Ended::Exited(0));
        assert_eq!(watched_descriptors(), before, "the child changed nothing");
        add(&file);
        assert_eq!(waiting.await, Ok(()));
    });
}

fn a_child_that_drops_its_parents_runtime_removes_nothing() {
    let (watched, file) = counter();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        assert!(poll_once(pin!(take(&watched, &file))).await.is_pending());
    });
    let before = watched_descriptors();
    let runtime = Cell::new(Some(runtime));
    // SAFETY: the process has one thread, and dropping the runtime only closes the child's copies of its descriptors.
    let responsible = unsafe { ForkAnyway::new() };
    let child = fork_anyway(responsible, || {
        drop(runtime.take());
        0
    });
    assert_eq!(ended(&child.unwrap()), Ended::Exited(0));
    assert_eq!(watched_descriptors(), before);
}

fn a_process_can_fork_again_after_its_runtime() {
    let (watched, file) = counter();
    for _ in 0..2 {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            assert!(poll_once(pin!(take(&watched, &file))).await.is_pending());
            add(&file);
            assert_eq!(take(&watched, &file).await, Ok(()));
        });
        assert!(matches!(fork(|| 0), Err(ForkError::EventLoop { .. })));
        drop(runtime);
        // Both processes wait, each in a runtime of its own.
        let child = spawn(|| {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            assert_eq!(runtime.block_on(take(&watched, &file)), Ok(()));
        });
        add(&file);
        succeeded(&child);
    }
}
