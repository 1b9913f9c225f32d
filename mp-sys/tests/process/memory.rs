//! Reserving shared memory in a process that receives signals.

use mp_sys::memory::{Mapping, RESERVE_STEP_BYTES};
use mp_sys::testing::{Argument, FALLOCATE, refuse, skip, spawn, succeeded, tests};
use rustix::io::Errno;

tests! {
    signals_do_not_keep_memory_from_being_reserved,
}

/// Many kernels abandon what a signal interrupts, and undo what they had done of it. So a long step would never end in
/// a program with a timer. Here each long step is interrupted, and the next, shorter ones are too.
fn signals_do_not_keep_memory_from_being_reserved() {
    let child = spawn(|| {
        for step in [RESERVE_STEP_BYTES, RESERVE_STEP_BYTES / 2, RESERVE_STEP_BYTES / 4] {
            let long = [Argument::Is(3, u32::try_from(step).unwrap())];
            refuse(FALLOCATE, &long, Errno::INTR.raw_os_error()).unwrap_or_else(|why| skip(why));
        }
        assert_eq!(Mapping::new(RESERVE_STEP_BYTES).unwrap().len(), RESERVE_STEP_BYTES);
    });
    succeeded(&child);
}
