//! A constructor that starts a thread before `main`, as some libraries do, in programs that are executed later.

use std::ffi::{c_char, c_int};

/// The environment variable that asks for the thread.
const WANTED: &str = "MP_TEST_THREAD_BEFORE_MAIN";

/// The type of the constructors that glibc calls.
type Constructor = extern "C" fn(c_int, *mut *mut c_char, *mut *mut c_char);

#[used]
#[cfg(all(target_env = "gnu", not(miri)))]
#[unsafe(link_section = ".init_array")]
static AT_START: Constructor = at_start;

#[cfg(any(not(target_env = "gnu"), miri))]
static AT_START: Constructor = at_start;

extern "C" fn at_start(_: c_int, _: *mut *mut c_char, _: *mut *mut c_char) {
    if std::env::var_os(WANTED).is_some() {
        let thread = std::thread::Builder::new().name("early".to_owned());
        // The thread lives as long as the process.
        drop(thread.spawn(|| {
            loop {
                std::thread::park();
            }
        }));
    }
}

/// Makes the programs that this process executes from now on, such as its fork server, start a thread before `main`.
pub fn thread_before_main_from_now_on() {
    // Refers to the constructor, so that the linker keeps it.
    std::hint::black_box(&AT_START);
    // SAFETY: a test that forks has one thread, so nothing else reads the environment now.
    unsafe { std::env::set_var(WANTED, "1") };
}
