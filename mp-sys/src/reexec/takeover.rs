//! The child's side: from the start of the program to the function, instead of `main`.
//!
//! There is one thread, unless an earlier constructor started others. Once it is clear that there is an order for this
//! copy of the module, nothing leads back to `main`: a failure is reported to the parent, and the process ends.

use std::ffi::{CStr, CString, c_char, c_int};
use std::mem::transmute;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::{fs, ptr};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::{DupFlags, Errno, FdFlags, dup3, fcntl_dupfd_cloexec, fcntl_getfd};
use rustix::net::{AddressFamily, RecvFlags, SocketType, recv, sockopt};

use super::constructors::{self, Constructor};
use super::hello::{Refusal, refuse};
use super::image::Image;
use super::order::{MARK, Order, PACKET_BYTES_MAX, program_of};
use super::{Entry, Handed, Parent};
use crate::child::run_child;
use crate::crash;
use crate::robust::Patience;
use crate::signals::unblock_all;
use crate::socket::Endpoint;

/// The exit code of a child that did not run its function. Its packet contains the reason, if the child could send one,
/// which needs a free descriptor.
pub const REFUSED_EXIT_CODE: i32 = 125;
/// The highest of the descriptors with a fixed meaning.
const STDERR: RawFd = 2;

/// It has no priority, so it runs after `std`'s constructor, which records the arguments.
#[used]
#[cfg(all(target_env = "gnu", not(miri)))]
#[unsafe(link_section = ".init_array")]
static AT_START: Constructor = at_start;

/// Other C libraries, and Miri, call constructors without arguments. There this is not a constructor, and `Command`
/// refuses.
#[cfg(any(not(target_env = "gnu"), miri))]
static AT_START: Constructor = at_start;

/// The place of this copy of the module. Calling this links the constructor in.
pub(super) fn anchor() -> usize {
    let at_start: Constructor = *std::hint::black_box(&AT_START);
    (at_start as *const ()).addr()
}

/// Called before `main`, in every program that this module is linked into.
unsafe extern "C" fn at_start(count: c_int, arguments: *mut *mut c_char, environment: *mut *mut c_char) {
    if count < 1 || arguments.is_null() {
        return;
    }
    // SAFETY: glibc passes to constructors the vector of `main`, which has `count` entries.
    let first = unsafe { *arguments };
    if first.is_null() {
        return;
    }
    // SAFETY: an argument is a string that ends in a zero.
    let name = unsafe { CStr::from_ptr(first) }.to_bytes();
    if name.starts_with(MARK) {
        take_over(first, name.len(), constructors::Arguments { count, arguments, environment });
    }
}

/// Returns if this process was not started for this copy of the module.
#[cold]
fn take_over(argument: *mut c_char, argument_len: usize, given: constructors::Arguments) {
    let Some(order) = look_for_order() else {
        return;
    };
    let image = Image::of_main_program();
    if let Ok(image) = &image {
        let own = image.offset_of(anchor());
        // This copy is in a shared library, or it is another version than the one in this program that sent the order.
        if own.is_none() || (order.id == *image.id() && own != Some(order.anchor)) {
            return;
        }
    }
    let title = (order.title.len() == argument_len).then_some(argument);
    crash::begin_executed();
    run_child(|| run(&order, image.ok().as_ref(), title, given), true)
}

/// Reads the order without removing it from the socket.
fn look_for_order() -> Option<Order> {
    let stdin = std::io::stdin();
    if sockopt::socket_domain(&stdin) != Ok(AddressFamily::UNIX)
        || sockopt::socket_type(&stdin) != Ok(SocketType::SEQPACKET)
    {
        return None;
    }
    let mut packet = [0; PACKET_BYTES_MAX];
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    let (received, _) = recv(&stdin, &mut packet[..], flags).ok()?;
    Order::of_packet(packet.get(..received)?)
}

/// Runs the ordered function; returns the exit code.
fn run(
    order: &Order,
    image: Option<&Image>,
    title: Option<*mut c_char>,
    given: constructors::Arguments,
) -> i32 {
    let Ok(handed) = take_channel() else {
        return REFUSED_EXIT_CODE;
    };
    crash::point();
    let entry = match check(order, image) {
        Ok(address) => address,
        Err(refusal) => {
            refuse(&handed.endpoint, refusal);
            return REFUSED_EXIT_CODE;
        }
    };
    close_what_came_along();
    crash::point();
    introduce(&order.title, title);
    // SAFETY: ignoring a signal installs no handler. `std` does it before `main`.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    if let Err(error) = unblock_all() {
        tracing::debug!(%error, "signals that the parent blocked stay blocked");
    }
    crash::point();
    if let Some(place) = image.and_then(Image::constructors) {
        // SAFETY: this runs within `at_start`, which was called with these arguments, and which never returns from here.
        unsafe { constructors::run_after(AT_START, place, given) };
    }
    crash::point();
    let entry: *const () = ptr::with_exposed_provenance(entry);
    #[expect(clippy::disallowed_methods, reason = "nothing else makes a function of an address")]
    // SAFETY: the parent, which runs the same image, made the offset from a function of this type; there is code.
    let entry = unsafe { transmute::<*const (), Entry>(entry) };
    entry(handed)
}

/// Returns the address to call, if it may be called.
fn check(order: &Order, image: Option<&Image>) -> Result<usize, Refusal> {
    if is_privileged() {
        return Err(Refusal::Privileged);
    }
    let image = image.filter(|image| order.id == *image.id()).ok_or(Refusal::OtherImage)?;
    image.address_of(order.entry).ok_or(Refusal::NoCode)
}

/// Whether this program has rights that the user who executed it may not have.
pub(super) fn is_privileged() -> bool {
    // SAFETY: this only reads the vector that the kernel passed to the process, for any number.
    (unsafe { libc::getauxval(libc::AT_SECURE) }) != 0
}

/// Takes the socket out of stdin's place, which becomes /dev/null, and the order out of the socket.
fn take_channel() -> Result<Handed, Errno> {
    crash::point();
    let null = open_null()?;
    // SAFETY: 0 is open, and was made for this module, so nothing else owns it.
    let mut stdin = unsafe { OwnedFd::from_raw_fd(0) };
    let socket = fcntl_dupfd_cloexec(&stdin, STDERR.saturating_add(1))?;
    dup3(&null, &mut stdin, DupFlags::empty())?;
    let _stays_open = stdin.into_raw_fd();
    crash::point();
    let endpoint = Endpoint::of(socket).map_err(|_| Errno::NOTSOCK)?;
    let mut packet = [0; PACKET_BYTES_MAX];
    let received = endpoint.receive(&mut packet, Patience::None).map_err(|_| Errno::BADMSG)?;
    let pidfd = received.descriptors.into_iter().next().ok_or(Errno::BADMSG)?;
    Ok(Handed { endpoint, parent: Parent { pidfd } })
}

/// Opens /dev/null, also in the places of stdout and stderr if they are closed, so that no later descriptor gets there.
fn open_null() -> Result<OwnedFd, Errno> {
    loop {
        let null = open("/dev/null", OFlags::RDWR, Mode::empty())?;
        if null.as_raw_fd() > STDERR {
            return Ok(null);
        }
        let _stays_open = null.into_raw_fd();
    }
}

/// Closes the descriptors that came through the exec: those without `CLOEXEC`, except for the first three.
fn close_what_came_along() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else {
        tracing::debug!("inherited descriptors stay open: /proc cannot be read");
        return;
    };
    let numbers: Vec<RawFd> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > STDERR) {
        // SAFETY: a number that is not -1; if it is not open, as the folder's own no longer is, the call fails.
        let file = unsafe { BorrowedFd::borrow_raw(number) };
        if fcntl_getfd(file).is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC)) {
            // SAFETY: it is open, and the program that was executed before opened it: nothing here owns it.
            drop(unsafe { OwnedFd::from_raw_fd(number) });
        }
    }
}

/// Makes this process visible as what it is, to `ps` and to itself.
fn introduce(title: &str, argument: Option<*mut c_char>) {
    if let Some(argument) = argument {
        // SAFETY: the argument's string is as long as the title, may be written to (C standard, 5.1.2.2.1), and is not
        // part of any Rust object.
        unsafe { ptr::copy_nonoverlapping(title.as_ptr(), argument.cast(), title.len()) };
    }
    // The kernel cuts the name to its own limit.
    if let Ok(name) = CString::new(program_of(title)) {
        let named = rustix::thread::set_name(&name);
        tracing::trace!(?named, "the process has its program's name, not that of /proc/self/exe");
    }
}
