//! A thread that finds a lock held for the first time, beside an allocator that checks when it is called: the lock
//! reads the limits of the machine at a safe moment, and no thread waits for another one that does so.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]
#![expect(unsafe_code, reason = "an allocator, and the head of the thread's robust list")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::time::Duration;

use mp_sys::cells::SharedCell;
use mp_sys::child::ChildProcess;
use mp_sys::deadline::Deadline;
use mp_sys::locked::{CONTROL_BYTES, Locked};
use mp_sys::robust::{AcquireError, Patience};
use mp_sys::span::Chunk;
use mp_sys::testing::{PATIENCE, eventually, hang, kill, spawn, spawn_beside_threads, succeeded, tests};

tests! {
    nothing_is_allocated_while_a_lock_is_pending,
    a_child_forked_while_a_thread_first_waits_does_not_wait_for_it,
}

fn main() -> std::process::ExitCode {
    mp_sys::testing::runner::main(TESTS, || {})
}

/// Plays a user's allocator, which may take robust locks of its own.
struct Looking;

#[global_allocator]
static ALLOCATOR: Looking = Looking;

thread_local! {
    static LOOKS: Cell<bool> = const { Cell::new(false) };
}
/// The number of allocations by threads that look, and how many of them fell inside a lock operation.
static SEEN: AtomicU32 = AtomicU32::new(0);
static PENDING: AtomicU32 = AtomicU32::new(0);
/// What happens to an allocation of a thread that looks: nothing if 0; otherwise [`STOPS`] or [`STOPPED`].
static STATE: AtomicU32 = AtomicU32::new(0);
const STOPS: u32 = 1;
const STOPPED: u32 = 2;

// SAFETY: it passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Looking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if LOOKS.get() {
            look();
        }
        // SAFETY: the caller's layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: `alloc` got it from there.
        unsafe { System.dealloc(place, layout) };
    }
}

fn look() {
    SEEN.fetch_add(1, Ordering::Relaxed);
    let mut head: *const [AtomicPtr<u8>; 3] = std::ptr::null();
    let mut length = 0_usize;
    // SAFETY: both places are writable and as large as get_robust_list(2) says.
    unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut length) };
    // SAFETY: the C library keeps the head of this thread's list there: three words.
    let [_, _, pending] = unsafe { &*head };
    if !pending.load(Ordering::Relaxed).is_null() {
        PENDING.fetch_add(1, Ordering::Relaxed);
    }
    if STATE.compare_exchange(STOPS, STOPPED, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
        while STATE.load(Ordering::SeqCst) == STOPPED {
            std::thread::yield_now();
        }
    }
}

/// A lock, and a process that holds it.
fn held_elsewhere() -> (Locked, ChildProcess) {
    let mut chunk = Chunk::new(4096).unwrap();
    let locked = Locked::new(chunk.cut(CONTROL_BYTES).unwrap(), |_| {}).unwrap();
    let is_held = SharedCell::<u32>::new(chunk.cut(8).unwrap()).unwrap();
    let holder = spawn(|| {
        let _held = locked.acquire(Patience::None, |_| {}).unwrap();
        is_held.store(1);
        hang();
    });
    eventually("the lock is held", || is_held.load() == 1);
    (locked, holder)
}

fn wait_in_vain(locked: &Locked) {
    let soon = Patience::Until(Deadline::after(Duration::from_millis(5)));
    assert_eq!(locked.acquire(soon, |_| {}).map(drop), Err(AcquireError::TimedOut));
}

/// Runs in a process of its own, because these tests are about the first wait of a process.
fn nothing_is_allocated_while_a_lock_is_pending() {
    let (locked, holder) = held_elsewhere();
    succeeded(&spawn(|| {
        LOOKS.set(true);
        wait_in_vain(&locked);
        LOOKS.set(false);
        assert!(SEEN.load(Ordering::Relaxed) > 0, "the first wait reads the limits of the machine");
        assert_eq!(PENDING.load(Ordering::Relaxed), 0, "allocations inside a lock operation");
    }));
    kill(&holder);
}

fn a_child_forked_while_a_thread_first_waits_does_not_wait_for_it() {
    let (locked, holder) = held_elsewhere();
    succeeded(&spawn(|| {
        std::thread::scope(|scope| {
            STATE.store(STOPS, Ordering::SeqCst);
            scope.spawn(|| {
                LOOKS.set(true);
                wait_in_vain(&locked);
                LOOKS.set(false);
            });
            eventually("the thread reads the limits", || STATE.load(Ordering::SeqCst) == STOPPED);
            let child = spawn_beside_threads(|| wait_in_vain(&locked));
            let ended = child.wait(Deadline::after(PATIENCE / 2)).unwrap();
            STATE.store(0, Ordering::SeqCst);
            if ended.is_none() {
                kill(&child);
            }
            assert!(ended.is_some(), "the child waited for a thread that it does not have");
        });
    }));
    kill(&holder);
}
