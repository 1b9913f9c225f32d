//! Where the writers of a word last ran.
//!
//! A process that waits for a word needs to know where *another* process runs. Two peers that take turns may write the
//! same word in turn, so the last writer is often the process that waits now. So the newest two writers are kept, and a
//! waiter takes the one that is not itself.
//!
//! These are hints, read and written without any ordering: a wrong one only costs time.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::adaptive::current_cpu;
use crate::identity::Stamp;

/// The newest two writers, the newest first. The lower bits hold the number of a CPU plus one, or 0 while it is
/// unknown; the upper bits distinguish the writers.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Writers([AtomicU32; 2]);

const CPU_BITS: u32 = 12;
const CPU_MASK: u32 = (1 << CPU_BITS) - 1;

impl Writers {
    /// Records the calling thread, and the CPU it runs on, as a writer.
    #[inline]
    pub(super) fn announce(&self) {
        let [newest, other] = &self.0;
        let known = newest.load(Ordering::Relaxed);
        let own = own_mark() | cpu_bits(current_cpu());
        // In most cases nothing has changed, and the cache line stays where it is.
        if known == own {
            return;
        }
        if known & !CPU_MASK != own & !CPU_MASK {
            other.store(known, Ordering::Relaxed);
        }
        newest.store(own, Ordering::Relaxed);
    }

    /// The CPU on which another writer of the word last ran.
    #[inline]
    pub(super) fn peer_cpu(&self) -> Option<u32> {
        let own = own_mark();
        let entries = self.0.iter().map(|entry| entry.load(Ordering::Relaxed));
        entries.filter(|entry| entry & !CPU_MASK != own).find_map(|entry| (entry & CPU_MASK).checked_sub(1))
    }
}

/// Returns 0 for a CPU whose number is too large: the CPU then counts as unknown.
fn cpu_bits(cpu: u32) -> u32 {
    if cpu < CPU_MASK { cpu.wrapping_add(1) } else { 0 }
}

/// What distinguishes the calling thread from others, as far as 20 bits can: it is in the upper bits, and the lower
/// ones are 0.
#[inline]
fn own_mark() -> u32 {
    thread_local! {
        // Its address distinguishes the threads of a process. Forked processes share it.
        static HERE: u8 = const { 0 };
    }
    let thread = HERE.with(|here| std::ptr::from_ref(here).addr());
    let thread = u64::try_from(thread >> 4).unwrap_or_default();
    let mixed = (thread ^ u64::from(Stamp::current().pid()) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    // The upper 20 of the upper 32 bits, which fit.
    u32::try_from(mixed >> 32).unwrap_or_default() & !CPU_MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_is_not_its_own_peer() {
        let writers = Writers::default();
        assert_eq!(writers.peer_cpu(), None, "nobody has written");
        writers.announce();
        assert_eq!(writers.peer_cpu(), None, "only this thread has");
        let other = std::thread::scope(|scope| {
            let told = scope.spawn(|| {
                writers.announce();
                writers.0[0].load(Ordering::Relaxed)
            });
            told.join().unwrap()
        });
        assert_eq!(writers.peer_cpu(), (other & CPU_MASK).checked_sub(1));
        writers.announce();
        assert_eq!(writers.peer_cpu(), (other & CPU_MASK).checked_sub(1), "the second newest is kept");
    }

    #[test]
    fn cpus_beyond_the_largest_number_are_unknown() {
        assert_eq!(cpu_bits(CPU_MASK - 1), CPU_MASK);
        assert_eq!(cpu_bits(CPU_MASK), 0);
    }
}
