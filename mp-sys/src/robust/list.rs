//! The list of robust locks that a thread holds, as the kernel walks it when the thread dies.
//!
//! The C library registers one list for each thread and links its own robust mutexes there. A thread cannot have a
//! second list. So locks of this crate are linked into the same list, and have the layout of the C library's mutexes:
//! the kernel finds the word of each entry at the same distance ([`WORD_DISTANCE`]), and unlinking a lock of either
//! kind writes into its neighbours, which may be of the other kind.
//!
//! `pending` names the lock that the thread is taking or giving up at the moment. The kernel looks at it as well, after
//! the list. It covers the moments in which the word and the list disagree.
//!
//! Only the thread itself writes to its head and to what is linked there, and the kernel reads them after the thread's
//! last instruction. So only the order of the stores in the program matters: compiler fences keep it.
//!
//! Source: Documentation/locking/robust-futex-ABI.rst, get_robust_list(2).

use std::ptr;
use std::sync::atomic::{AtomicIsize, AtomicPtr, Ordering, compiler_fence};

/// `struct robust_list_head`, include/uapi/linux/futex.h.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Head {
    /// The entry of the lock that was linked last, or the address of this field.
    first: Next,
    /// Bytes from an entry to its word.
    word_distance: AtomicIsize,
    /// The entry of the lock that is being taken or given up, or null.
    pending: Next,
}

/// What an entry consists of: the address of the next entry. Bit 0 marks the next one as a lock with priority
/// inheritance, which only the C library uses.
type Next = AtomicPtr<usize>;

/// The part of a lock that is linked. The address of an entry is that of `next`.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Links {
    prev: Next,
    next: Next,
}

/// Bytes from an entry to its word, for every lock in the list.
pub(super) const WORD_DISTANCE: isize = -32;

impl Links {
    pub(super) const fn new() -> Self {
        Self { prev: Next::new(ptr::null_mut()), next: Next::new(ptr::null_mut()) }
    }

    #[inline(always)]
    fn entry(&self) -> *mut usize {
        (&raw const self.next).cast::<usize>().cast_mut()
    }
}

/// The address of an entry without the mark in bit 0.
#[inline(always)]
fn bare(entry: *mut usize) -> *mut usize {
    entry.map_addr(|address| address & !1)
}

/// Returns the head of the calling thread's list, or `None` if it has none or its locks have another layout.
pub(super) fn own_head() -> Option<&'static Head> {
    let mut head: *const Head = ptr::null();
    let mut length = 0_usize;
    // SAFETY: both places are writable and as large as get_robust_list(2) says; 0 is the calling thread.
    let failed = unsafe { libc::syscall(libc::SYS_get_robust_list, 0_i32, &raw mut head, &raw mut length) };
    if failed != 0 || head.is_null() || length != size_of::<Head>() {
        return None;
    }
    // SAFETY: the C library registered the head of this thread's list there, and keeps it as long as the thread lives;
    // the reference stays in this thread's thread-local storage.
    let head = unsafe { &*head };
    (head.word_distance.load(Ordering::Relaxed) == WORD_DISTANCE).then_some(head)
}

impl Head {
    /// Marks `links` as the lock that is taken or given up from here on.
    #[inline(always)]
    pub(super) fn begin(&self, links: &Links) {
        self.pending.store(links.entry(), Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
    }

    /// Marks the pending operation as finished.
    #[inline(always)]
    pub(super) fn end(&self) {
        compiler_fence(Ordering::SeqCst);
        self.pending.store(ptr::null_mut(), Ordering::Relaxed);
    }

    /// Links a lock that this thread has just taken.
    ///
    /// # Safety
    /// - `links` is in no list, and stays mapped and in its place until it is unlinked.
    #[inline(always)]
    pub(super) unsafe fn link(&self, links: &Links) {
        let own = (&raw const self.first).cast::<usize>().cast_mut();
        let first = self.first.load(Ordering::Relaxed);
        links.next.store(first, Ordering::Relaxed);
        links.prev.store(own, Ordering::Relaxed);
        if first != own {
            // SAFETY: what is linked is a lock that this thread holds, which stays mapped.
            unsafe { set_prev(bare(first), links.entry()) };
        }
        // The kernel walks from `first` to `next`.
        compiler_fence(Ordering::SeqCst);
        self.first.store(links.entry(), Ordering::Relaxed);
    }

    /// Unlinks a lock from any place in the list.
    ///
    /// # Safety
    /// - `links` is in this thread's list, and everything in that list stays mapped while it is there.
    #[inline(always)]
    pub(super) unsafe fn unlink(&self, links: &Links) {
        let own = (&raw const self.first).cast::<usize>().cast_mut();
        let next = links.next.load(Ordering::Relaxed);
        let prev = links.prev.load(Ordering::Relaxed);
        if bare(next) != own {
            // SAFETY: a neighbour in the list is a lock that this thread holds, which stays mapped.
            unsafe { set_prev(bare(next), prev) };
        }
        let before = bare(prev).cast::<Next>();
        // SAFETY: `prev` is the head's field or the entry of a lock that this thread holds, which stays mapped.
        let before = unsafe { &*before };
        before.store(next, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
    }

    /// Forgets what the thread of a forked child was doing in the parent at the moment of the fork. The C library has
    /// already emptied the list.
    pub(super) fn begin_afresh(&self) {
        self.pending.store(ptr::null_mut(), Ordering::Relaxed);
    }
}

/// # Safety
/// - `entry` is an entry in a lock that is mapped, and only this thread changes its links.
#[inline(always)]
unsafe fn set_prev(entry: *mut usize, prev: *mut usize) {
    let place = entry.wrapping_sub(1).cast::<Next>();
    // SAFETY: both kinds of locks keep the address of the previous entry there, aligned.
    let place = unsafe { &*place };
    place.store(prev, Ordering::Relaxed);
}

const _: () = assert!(size_of::<Head>() == 24 || size_of::<usize>() != 8);
const _: () = assert!(size_of::<Links>() == 2 * size_of::<usize>());
