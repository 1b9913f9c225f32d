//! The lock in each of its modes: locks of both kinds in one process, and beside the C library's own robust mutexes.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::time::Duration;

use mp_sys::cells::SharedCell;
use mp_sys::deadline::Deadline;
use mp_sys::locked::{CONTROL_BYTES, Held, Locked};
use mp_sys::robust::{AcquireError, HELD_MAX, Mode, Patience, force_mode, held_count};
use mp_sys::span::Chunk;
use mp_sys::testing::{
    PATIENCE, Random, eventually, forbid_robust_list, hang, kill, skip, spawn, succeeded, tests,
};

tests! {
    a_lock_does_the_same_in_every_mode,
    processes_of_two_modes_share_a_mutex,
    a_process_without_the_layout_refuses_the_own_kind,
    without_the_kernels_list_the_c_librarys_mutex_is_used,
    locks_and_mutexes_of_the_c_library_share_the_list,
}

const WAIT: Patience = Patience::Until(Deadline::NEVER);
const MODES: [Mode; 3] = [Mode::Own, Mode::OwnInSlices, Mode::Pthread];

fn lock(chunk: &mut Chunk) -> Locked {
    Locked::new(chunk.cut(CONTROL_BYTES + 8).unwrap(), |_| {}).unwrap()
}

/// Takes the lock, waiting at most as long as a test is patient; returns whether its owner before died.
fn take(locked: &Locked) -> (Held<'_>, bool) {
    let mut died = false;
    let held = locked.acquire(Patience::Until(Deadline::after(PATIENCE)), |_| died = true).unwrap();
    (held, died)
}

fn a_lock_does_the_same_in_every_mode() {
    for mode in MODES {
        succeeded(&spawn(|| {
            force_mode(mode);
            deaths_are_reported();
            timeouts_deadlocks_and_limits_are_reported();
            sections_are_alone();
        }));
    }
}

fn deaths_are_reported() {
    let mut chunk = Chunk::new(4096).unwrap();
    let locked = lock(&mut chunk);
    let ready = SharedCell::<u32>::new(chunk.cut(8).unwrap()).unwrap();
    for _ in 0..3 {
        ready.store(0);
        let holder = spawn(|| {
            let _held = take(&locked);
            ready.store(1);
            hang();
        });
        eventually("the child holds the lock", || ready.load() == 1);
        let waiter = spawn(|| assert!(take(&locked).1, "the waiter learns of the death"));
        kill(&holder);
        succeeded(&waiter);
        assert!(!take(&locked).1, "and no later locker does");
    }
}

fn timeouts_deadlocks_and_limits_are_reported() {
    let mut chunk = Chunk::new((HELD_MAX + 2) * 64).unwrap();
    let all: Vec<Locked> = (0..=HELD_MAX).map(|_| lock(&mut chunk)).collect();
    let held: Vec<Held<'_>> = all[1..].iter().map(|locked| take(locked).0).collect();
    assert_eq!(all[0].acquire(Patience::None, |_| {}).map(drop), Err(AcquireError::TooManyHeld));
    assert_eq!(held_count(), HELD_MAX);
    drop(held);
    let held = take(&all[0]).0;
    assert_eq!(all[0].acquire(WAIT, |_| {}).map(drop), Err(AcquireError::Deadlock));
    let other = mp_sys::testing::spawn_holding(|| {
        let soon = Deadline::after(Duration::from_millis(60));
        let outcome = all[0].acquire(Patience::Until(soon), |_| {}).map(drop);
        assert_eq!(outcome, Err(AcquireError::TimedOut));
        assert!(soon.has_passed());
        assert_eq!(all[0].acquire(Patience::None, |_| {}).map(drop), Err(AcquireError::WouldBlock));
    });
    succeeded(&other);
    drop(held);
    assert_eq!(held_count(), 0);
}

/// Increments of a process in one round.
const INCREMENTS: u64 = 3000;

fn increment(locked: &Locked, times: u64) {
    for _ in 0..times {
        let (held, _) = take(locked);
        held.store_word(0, held.load_word(0) + 1);
    }
}

fn sections_are_alone() {
    let locked = lock(&mut Chunk::new(4096).unwrap());
    let others: Vec<_> = (0..3).map(|_| spawn(|| increment(&locked, INCREMENTS))).collect();
    others.iter().for_each(succeeded);
    assert_eq!(take(&locked).0.load_word(0), 3 * INCREMENTS);
}

/// A process in the C library's mode made the mutex. Processes in all modes take turns with it, and learn of deaths.
fn processes_of_two_modes_share_a_mutex() {
    let mut chunk = Chunk::new(4096).unwrap();
    force_mode(Mode::Pthread);
    let locked = lock(&mut chunk);
    let at = |mode| {
        let locked = &locked;
        spawn(move || {
            force_mode(mode);
            increment(locked, INCREMENTS);
        })
    };
    let others: Vec<_> = MODES.into_iter().chain(MODES).map(at).collect();
    others.iter().for_each(succeeded);
    assert_eq!(take(&locked).0.load_word(0), 6 * INCREMENTS);
    let ready = SharedCell::<u32>::new(chunk.cut(8).unwrap()).unwrap();
    for (dies, learns) in [(Mode::Own, Mode::Pthread), (Mode::Pthread, Mode::Own)] {
        ready.store(0);
        let holder = spawn(|| {
            force_mode(dies);
            let _held = take(&locked);
            ready.store(1);
            hang();
        });
        eventually("the child holds the lock", || ready.load() == 1);
        let waiter = spawn(|| {
            force_mode(learns);
            assert!(take(&locked).1);
        });
        kill(&holder);
        succeeded(&waiter);
    }
}

fn a_process_without_the_layout_refuses_the_own_kind() {
    let locked = lock(&mut Chunk::new(4096).unwrap());
    succeeded(&spawn(|| {
        force_mode(Mode::Pthread);
        let refused = locked.acquire(WAIT, |_| {}).map(drop);
        assert_eq!(refused, Err(AcquireError::OtherMode));
        assert_eq!(held_count(), 0);
    }));
    drop(locked.acquire(Patience::None, |_| panic!("nobody died")).unwrap());
}

fn without_the_kernels_list_the_c_librarys_mutex_is_used() {
    if let Err(reason) = forbid_robust_list() {
        skip(&reason);
    }
    assert_eq!(Mode::current(), Mode::Pthread);
    deaths_are_reported();
    sections_are_alone();
}

/// A robust mutex of the C library, beside the lock of this crate with the same number.
struct Mutex(&'static UnsafeCell<libc::pthread_mutex_t>);

/// The number of robust mutexes in a test, and of locks of this crate.
const EACH: usize = 8;

impl Mutex {
    /// Makes one for the rest of the process's life, in memory that forked processes share.
    fn new() -> Self {
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: `attributes` points to room for one attribute object.
        unsafe { libc::pthread_mutexattr_init(attributes) };
        // SAFETY: initialised above.
        unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) };
        // SAFETY: initialised above.
        unsafe { libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST) };
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a null hint without MAP_FIXED touches no existing mapping.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, access, flags, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED);
        // SAFETY: a fresh page, aligned and zeroed, and never unmapped.
        let mutex: &UnsafeCell<libc::pthread_mutex_t> = unsafe { &*page.cast() };
        // SAFETY: no thread uses the place yet; the attributes are initialised.
        unsafe { libc::pthread_mutex_init(mutex.get(), attributes) };
        Self(mutex)
    }

    fn lock(&self) -> i32 {
        // SAFETY: initialised by `new`, and never moved.
        unsafe { libc::pthread_mutex_trylock(self.0.get()) }
    }

    fn unlock(&self) {
        // SAFETY: the caller holds it.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) };
    }

    /// Takes it and never releases it; returns whether its owner before died.
    fn died(&self) -> bool {
        let code = self.lock();
        if code == libc::EOWNERDEAD {
            // SAFETY: the call above took it from an owner that died.
            unsafe { libc::pthread_mutex_consistent(self.0.get()) };
        }
        self.unlock();
        code == libc::EOWNERDEAD
    }
}

fn locks_and_mutexes_of_the_c_library_share_the_list() {
    let mut random = Random::new();
    println!("seed {}", random.seed());
    let mut chunk = Chunk::new(4096).unwrap();
    let locks: Vec<Locked> = (0..EACH).map(|_| lock(&mut chunk)).collect();
    let mutexes: Vec<Mutex> = (0..EACH).map(|_| Mutex::new()).collect();
    let ready = SharedCell::<u32>::new(chunk.cut(8).unwrap()).unwrap();
    for _ in 0..60 {
        ready.store(0);
        let steps: Vec<usize> =
            (0..40).map(|_| usize::try_from(random.below(2 * EACH as u64)).unwrap()).collect();
        let victim = spawn(|| {
            let mut held: Vec<Option<Held<'_>>> = (0..EACH).map(|_| None).collect();
            let mut taken = [false; EACH];
            for &step in &steps {
                match step.checked_sub(EACH) {
                    None => held[step] = if held[step].is_some() { None } else { Some(take(&locks[step]).0) },
                    Some(at) if std::mem::replace(&mut taken[at], false) => mutexes[at].unlock(),
                    Some(at) => {
                        assert_eq!(mutexes[at].lock(), 0);
                        taken[at] = true;
                    }
                }
            }
            ready.store(1);
            hang();
        });
        eventually("the victim holds its locks", || ready.load() == 1);
        kill(&victim);
        let is_held = |at| steps.iter().filter(|&&step| step == at).count() % 2 == 1;
        for (at, locked) in locks.iter().enumerate() {
            assert_eq!(take(locked).1, is_held(at), "lock {at} after {steps:?}");
        }
        for (at, mutex) in mutexes.iter().enumerate() {
            assert_eq!(mutex.died(), is_held(EACH + at), "mutex {at} after {steps:?}");
        }
    }
}
