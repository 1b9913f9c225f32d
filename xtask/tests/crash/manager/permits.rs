//! Semaphores of a manager.

use manager_rt::{BoundedSemaphore, Manager, Semaphore};
use mp::RawValue;
use mp_sys::testing::{Random, eventually, hang};

use super::{MOMENT_MAX, settles, until_held, until_waiting, with_manager};
use crate::cell::{HANG, Outcome, define_cells, spawn};

/// The common operations of both kinds.
trait Permits {
    /// Makes a semaphore with one permit.
    fn make(manager: &Manager) -> Self;
    /// Takes a permit and runs the body with it; returns `false` after [`HANG`].
    fn with_permit(&self, body: impl FnOnce()) -> bool;
    fn free(&self) -> usize;
}

macro_rules! permits {
    ($($kind:ty: $make:ident;)*) => {$(
        impl Permits for $kind {
            fn make(manager: &Manager) -> Self {
                manager.$make(1).unwrap()
            }

            fn with_permit(&self, body: impl FnOnce()) -> bool {
                let Ok(permit) = self.acquire_timeout(HANG) else { return false };
                body();
                drop(permit);
                true
            }

            fn free(&self) -> usize {
                self.available().unwrap()
            }
        }
    )*};
}

permits! {
    Semaphore: semaphore;
    BoundedSemaphore: bounded_semaphore;
}

/// Counts a missing or surplus permit, once everything that the dead held has been released.
fn check_permits(out: &mut Outcome, manager: &Manager, semaphore: &impl Permits) {
    out.hangs += u32::from(!settles(manager, |info| info.clients == 1 && info.held == 0));
    out.lost += u32::from(semaphore.free() < 1);
    out.duplicated += u32::from(semaphore.free() > 1);
}

fn holder<S: Permits>(kills: u32) -> Outcome {
    with_manager(|manager, out| {
        let (semaphore, mut random) = (S::make(manager), Random::new());
        for _ in 0..kills {
            let victim = spawn(|| assert!(semaphore.with_permit(|| hang())));
            until_held(manager, 1);
            random.pause(MOMENT_MAX);
            let came = out.recover(&victim, || semaphore.with_permit(|| {}));
            out.hangs += u32::from(!came);
            check_permits(out, manager, &semaphore);
        }
    })
}

fn waiter<S: Permits>(kills: u32) -> Outcome {
    with_manager(|manager, out| {
        let (semaphore, mut random) = (S::make(manager), Random::new());
        for _ in 0..kills {
            let mut next = None;
            let came = semaphore.with_permit(|| {
                let victim = spawn(|| assert!(semaphore.with_permit(|| {})));
                until_waiting(manager, 1);
                next = Some(spawn(|| assert!(semaphore.with_permit(|| {}))));
                until_waiting(manager, 2);
                random.pause(MOMENT_MAX);
                out.recover(&victim, || until_waiting(manager, 1));
            });
            out.hangs += u32::from(!came);
            out.expect_end(&next.unwrap());
            check_permits(out, manager, &semaphore);
        }
    })
}

fn just_woken<S: Permits>(kills: u32) -> Outcome {
    with_manager(|manager, out| {
        let (semaphore, mut random) = (S::make(manager), Random::new());
        for _ in 0..kills {
            let mut both = None;
            let came = semaphore.with_permit(|| {
                let wait = || assert!(semaphore.with_permit(|| {}));
                let victim = spawn(wait);
                until_waiting(manager, 1);
                both = Some((victim, spawn(wait)));
                until_waiting(manager, 2);
            });
            out.hangs += u32::from(!came);
            let (victim, survivor) = both.unwrap();
            random.pause(150_000);
            out.recover(&victim, || {});
            out.recoveries.pop();
            out.expect_end(&survivor);
            check_permits(out, manager, &semaphore);
        }
    })
}

fn mid_call<S: Permits>(kills: u32) -> Outcome {
    with_manager(|manager, out| {
        let (semaphore, mut random) = (S::make(manager), Random::new());
        for _ in 0..kills {
            let works = RawValue::new(false).unwrap();
            let victim = spawn(|| {
                loop {
                    semaphore.with_permit(|| works.store(true));
                }
            });
            eventually("the victim works", || works.load());
            random.pause(MOMENT_MAX);
            let came = out.recover(&victim, || semaphore.with_permit(|| {}));
            out.hangs += u32::from(!came);
            check_permits(out, manager, &semaphore);
        }
    })
}

define_cells! {
    HOLDER: "manager_semaphore", "holder", holder::<Semaphore>;
    WAITER: "manager_semaphore", "waiter", waiter::<Semaphore>;
    JUST_WOKEN: "manager_semaphore", "just_woken", just_woken::<Semaphore>;
    MID_CALL: "manager_semaphore", "mid_call", mid_call::<Semaphore>;
    BOUNDED_HOLDER: "manager_bounded_semaphore", "holder", holder::<BoundedSemaphore>;
    BOUNDED_WAITER: "manager_bounded_semaphore", "waiter", waiter::<BoundedSemaphore>;
    BOUNDED_JUST_WOKEN: "manager_bounded_semaphore", "just_woken", just_woken::<BoundedSemaphore>;
    BOUNDED_MID_CALL: "manager_bounded_semaphore", "mid_call", mid_call::<BoundedSemaphore>;
}
