//! Out of descriptors, and out of what may be under way.

use kernel_ipc::{Descriptor, RecvError, SendError, pipe};
use mp_sys::testing::{Argument, FCNTL, SENDTO, refuse, skip, tests};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

tests! {
    more_sources_than_descriptors_are_an_error,
    no_descriptor_left_to_receive_one,
    no_descriptor_left_for_a_pipe_or_a_long_message,
    too_many_descriptors_under_way,
    a_page_that_the_kernel_holds_keeps_no_message_back,
    no_memory_for_a_long_packet_at_once,
}

fn limit_descriptors(to: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(to), maximum }).unwrap();
}

fn null() -> Descriptor {
    std::fs::File::open("/dev/null").unwrap().into()
}

/// Takes every free descriptor.
fn take_all() -> Vec<std::fs::File> {
    std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect()
}

fn more_sources_than_descriptors_are_an_error() {
    limit_descriptors(64);
    let (tx, rx) = pipe::<u8>().unwrap();
    tx.send(&1).unwrap();
    let sources = |count: usize| -> Vec<&dyn std::os::fd::AsFd> { vec![&rx; count] };
    assert_eq!(kernel_ipc::wait(&sources(64), std::time::Duration::ZERO).unwrap().len(), 64);
    assert_eq!(kernel_ipc::wait(&sources(65), std::time::Duration::ZERO).unwrap_err().raw_os_error(), 22);
}

fn no_descriptor_left_to_receive_one() {
    limit_descriptors(64);
    let (tx, rx) = pipe::<(u8, Vec<Descriptor>)>().unwrap();
    tx.send(&(1, vec![null(), null()])).unwrap();
    tx.send(&(2, vec![])).unwrap();
    tx.send(&(3, vec![null()])).unwrap();
    let taken = take_all();
    assert_eq!(rx.recv().map(drop), Err(RecvError::OutOfDescriptors));
    assert_eq!(rx.recv().unwrap().0, 2, "a message without descriptors needs none");
    drop(taken);
    assert_eq!(rx.recv().unwrap().1.len(), 1);
}

fn no_descriptor_left_for_a_pipe_or_a_long_message() {
    limit_descriptors(64);
    let (tx, rx) = pipe::<()>().unwrap();
    let long = vec![7; 300_000];
    let taken = take_all();
    assert!(pipe::<u8>().is_err());
    assert!(tx.try_clone().is_err());
    let shares = tx.clone();
    drop(tx);
    let tx = shares; // as good as the first one
    assert_eq!(tx.send_bytes(&long), Err(SendError::Memory(kernel_ipc::MemoryError::OutOfDescriptors)));
    tx.send_bytes(b"short").unwrap();
    assert_eq!(rx.recv_bytes().unwrap(), b"short", "nothing of the long one is in the pipe");
    drop(taken);
    tx.send_bytes(&long).unwrap();
    assert_eq!(rx.recv_bytes().unwrap(), long);
}

fn too_many_descriptors_under_way() {
    // The limit does not hold for who may administer the system.
    if rustix::process::geteuid().is_root() {
        drop_privileges();
    }
    limit_descriptors(48);
    let (tx, rx) = pipe::<Descriptor>().unwrap();
    let file = null();
    let mut sent = 0;
    let refused = loop {
        match tx.try_send(&file) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 1000, "descriptors under way have a limit");
    };
    assert_eq!(refused, SendError::DescriptorsInFlight);
    assert!(sent >= 48);
    while rx.try_recv().is_ok() {
        sent -= 1;
    }
    assert_eq!(sent, 0, "nothing is lost");
    tx.try_send(&file).unwrap();
}

/// The kernel counts descriptors under way by user, and only for users without privileges.
fn drop_privileges() {
    use rustix::thread::{Uid, set_thread_uid};
    set_thread_uid(Uid::from_raw(65_534)).unwrap();
}

/// The numbers of fcntl(2) that a filter sees.
const F_ADD_SEALS: u32 = 1033;
const F_SEAL_WRITE: u32 = 8;

fn sends_and_receives(bytes: usize) {
    let (tx, rx) = pipe::<Vec<u8>>().unwrap();
    let long: Vec<u8> = (0..=255).cycle().take(bytes).collect();
    tx.try_send(&long).unwrap();
    assert_eq!(rx.try_recv().unwrap(), long);
    tx.try_send_bytes(&long).unwrap();
    assert_eq!(rx.try_recv_bytes().unwrap(), long);
}

/// While it does, it refuses to seal the file against writing. Here it always holds one.
fn a_page_that_the_kernel_holds_keeps_no_message_back() {
    let arguments = [Argument::Is(1, F_ADD_SEALS), Argument::Has(2, F_SEAL_WRITE)];
    refuse(FCNTL, &arguments, Errno::BUSY.raw_os_error()).unwrap_or_else(|why| skip(why));
    sends_and_receives(300_000);
    sends_and_receives(4 << 20);
}

fn no_memory_for_a_long_packet_at_once() {
    for refusal in [Errno::NOBUFS, Errno::NOMEM] {
        let child = mp_sys::testing::spawn(|| {
            let (tx, rx) = pipe::<Vec<u8>>().unwrap();
            refuse(SENDTO, &[], refusal.raw_os_error()).unwrap_or_else(|why| skip(why));
            let long = vec![7; 100_000];
            tx.try_send(&long).unwrap();
            assert_eq!(rx.try_recv().unwrap(), long);
            // It stays away: that is told, and not for ever tried again.
            assert!(matches!(tx.send(&vec![7]), Err(SendError::System(_))));
        });
        mp_sys::testing::succeeded(&child);
    }
}
