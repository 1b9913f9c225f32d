//! Where the writers of a word last ran.
//!
//! Whoever waits for a word wants to know where somebody *else* runs. Two peers that pass a turn to and fro may write the
//! same word in turn, so the last to have written it is often the one who waits now: the newest two are kept, and a waiter
//! takes the one that it is not itself.
//!
//! Hints, read and written without any order: a wrong one costs time only.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::adaptive::current_cpu;
use crate::identity::Stamp;

/// The newest two writers, the newest first: number of a CPU plus one in the lower bits, 0 while unknown, above it what
/// tells the writers apart.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Writers([AtomicU32; 2]);

const CPU_BITS: u32 = 12;
const CPU_MASK: u32 = (1 << CPU_BITS) - 1;

impl Writers {
    /// The calling thread, which runs here, is a writer.
    #[inline]
    pub(super) fn announce(&self) {
        let [newest, other] = &self.0;
        let known = newest.load(Ordering::Relaxed);
        let own = own_mark() | cpu_bits(current_cpu());
        // Mostly nothing has changed, and the line stays where it is.
        if known == own {
            return;
        }
        if known & !CPU_MASK != own & !CPU_MASK {
            other.store(known, Ordering::Relaxed);
        }
        newest.store(own, Ordering::Relaxed);
    }

    /// The CPU on which somebody else last ran who wrote the word.
    #[inline]
    pub(super) fn peer_cpu(&self) -> Option<u32> {
        let own = own_mark();
        let entries = self.0.iter().map(|entry| entry.load(Ordering::Relaxed));
        entries.filter(|entry| entry & !CPU_MASK != own).find_map(|entry| (entry & CPU_MASK).checked_sub(1))
    }
}

/// 0 for a CPU whose number is too large: then it is not known.
fn cpu_bits(cpu: u32) -> u32 {
    if cpu < CPU_MASK { cpu.wrapping_add(1) } else { 0 }
}

/// What tells the calling thread from others, as well as 20 bits can: in the upper bits, and the lower ones are 0.
#[inline]
fn own_mark() -> u32 {
    thread_local! {
        // Its address tells the threads of a process apart; forked processes have it in common.
        static HERE: u8 = const { 0 };
    }
    let thread = HERE.with(|here| std::ptr::from_ref(here).addr());
    let thread = u64::try_from(thread >> 4).unwrap_or_default();
    let mixed = (thread ^ u64::from(Stamp::current().pid()) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    // The upper 20 of the upper 32 bits: they fit.
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
