//! A process that starts workers, uses them and ends them dies in the middle, and no worker is left.

use mp::Method;
use mp_sys::child::Ended;
use mp_sys::crash;
use mp_sys::testing::leaks::Snapshot;
use mp_sys::testing::{Random, spawn};

use crate::cell::Outcome;
use crate::starting::{alone, expect_all_ended, expect_end, expect_no_leaks};

/// Neither an owner nor a worker has this many points. A cell that reaches this number would never end.
pub(crate) const POINTS_MAX: u64 = 3000;

/// The process that runs `work` dies at its first point, then at its second, until it survives.
pub(crate) fn at_every_point(work: fn()) -> Outcome {
    alone(Method::Fork, |out| {
        let survives = |point: &u64| {
            let before = Snapshot::take();
            let owner = spawn(|| {
                crash::die_at(*point);
                work();
                crash::die_at(0);
            });
            let survived = match expect_end(&owner, out) {
                Some(Ended::Signaled(9)) | None => false,
                Some(ended) => {
                    out.torn += u32::from(ended != Ended::Exited(0));
                    true
                }
            };
            drop(owner);
            expect_all_ended(out);
            expect_no_leaks(&before, out);
            survived
        };
        let last = (1..POINTS_MAX).find(survives).expect("the owner has fewer points");
        out.kills += u32::try_from(last - 1).unwrap();
    })
}

/// The process that runs `work` again and again dies after a random time of at most `longest` nanoseconds.
pub(crate) fn at_random_moments(work: fn(), longest: u64, kills: u32) -> Outcome {
    alone(Method::Fork, |out| {
        let mut random = Random::new();
        for _ in 0..kills {
            let before = Snapshot::take();
            let owner = spawn(|| {
                loop {
                    work();
                }
            });
            random.pause(longest);
            owner.signal(9).unwrap();
            out.torn += u32::from(expect_end(&owner, out) != Some(Ended::Signaled(9)));
            out.kills += 1;
            drop(owner);
            expect_all_ended(out);
            expect_no_leaks(&before, out);
        }
    })
}
