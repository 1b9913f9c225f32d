//! Shortage of descriptors, and of what the kernel allows in unread messages.

use kernel_ipc::{Descriptor, RecvError, SendError, pipe};
use mp_sys::testing::{Argument, FCNTL, SENDTO, refuse, skip, tests};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

tests! {
    more_sources_than_descriptors_are_an_error,
    a_message_is_lost_if_no_descriptor_is_free_for_one_inside,
    pipes_and_long_messages_need_a_free_descriptor,
    too_many_descriptors_in_unread_messages_are_an_error,
    a_message_is_sent_though_its_file_cannot_be_sealed_against_writing,
    a_long_message_is_sent_though_the_socket_has_no_memory_for_it,
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

fn a_message_is_lost_if_no_descriptor_is_free_for_one_inside() {
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

fn pipes_and_long_messages_need_a_free_descriptor() {
    limit_descriptors(64);
    let (tx, rx) = pipe::<()>().unwrap();
    let long = vec![7; 300_000];
    let taken = take_all();
    assert!(pipe::<u8>().is_err());
    assert!(tx.try_clone().is_err());
    let shares = tx.clone();
    drop(tx);
    let tx = shares; // it works like the first handle
    assert_eq!(tx.send_bytes(&long), Err(SendError::Memory(kernel_ipc::MemoryError::OutOfDescriptors)));
    tx.send_bytes(b"short").unwrap();
    assert_eq!(rx.recv_bytes().unwrap(), b"short", "nothing of the long one is in the pipe");
    drop(taken);
    tx.send_bytes(&long).unwrap();
    assert_eq!(rx.recv_bytes().unwrap(), long);
}

fn too_many_descriptors_in_unread_messages_are_an_error() {
    // The limit does not apply to privileged users.
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
        assert!(sent < 1000, "descriptors in unread messages have a limit");
    };
    assert_eq!(refused, SendError::DescriptorsInFlight);
    assert!(sent >= 48);
    while rx.try_recv().is_ok() {
        sent -= 1;
    }
    assert_eq!(sent, 0, "nothing is lost");
    tx.try_send(&file).unwrap();
}

/// The kernel counts descriptors in unread messages for each user, but not for privileged users.
fn drop_privileges() {
    use rustix::thread::{Uid, set_thread_uid};
    set_thread_uid(Uid::from_raw(65_534)).unwrap();
}

/// The numbers of fcntl(2) as the filter sees them.
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

/// The kernel refuses to seal a file against writing while it holds one of its pages. This test makes it refuse always.
fn a_message_is_sent_though_its_file_cannot_be_sealed_against_writing() {
    let arguments = [Argument::Is(1, F_ADD_SEALS), Argument::Has(2, F_SEAL_WRITE)];
    refuse(FCNTL, &arguments, Errno::BUSY.raw_os_error()).unwrap_or_else(|why| skip(why));
    sends_and_receives(300_000);
    sends_and_receives(4 << 20);
}

fn a_long_message_is_sent_though_the_socket_has_no_memory_for_it() {
    for refusal in [Errno::NOBUFS, Errno::NOMEM] {
        let child = mp_sys::testing::spawn(|| {
            let (tx, rx) = pipe::<Vec<u8>>().unwrap();
            refuse(SENDTO, &[], refusal.raw_os_error()).unwrap_or_else(|why| skip(why));
            let long = vec![7; 100_000];
            tx.try_send(&long).unwrap();
            assert_eq!(rx.try_recv().unwrap(), long);
            // If the memory stays short, sending ends with an error, and does not try again forever.
            assert!(matches!(tx.send(&vec![7]), Err(SendError::System(_))));
        });
        mp_sys::testing::succeeded(&child);
    }
}
