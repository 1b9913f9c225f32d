//! When the kernel lets a process of a test run.

/// Moves the calling thread to the idle class (`SCHED_IDLE`, sched(7)): when it wakes, it never interrupts a thread of
/// the normal class on the same CPU. Threads and processes that it starts inherit the class.
///
/// # Panics
/// If the system refuses; it needs no privilege.
pub fn never_interrupt_others() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: 0 names the calling thread, and the structure lives during the call, which only reads it.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) };
    assert_eq!(result, 0, "no idle class: {}", std::io::Error::last_os_error());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_moves_to_the_idle_class() {
        let thread = std::thread::Builder::new().name("idle".to_owned()).spawn(|| {
            never_interrupt_others();
            let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("the thread's line");
            let fields: Vec<_> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
            // proc_pid_stat(5): field 41 is the class; the first field behind the name is number 3.
            assert_eq!(fields[41 - 3], libc::SCHED_IDLE.to_string());
        });
        thread.expect("a thread").join().expect("the thread ends");
    }
}
