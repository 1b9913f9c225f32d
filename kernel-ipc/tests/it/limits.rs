//! Each limit, at the limit and one above it.

use kernel_ipc::limits::{DESCRIPTORS_MAX, INLINE_BYTES_MAX, MESSAGE_BYTES_MAX};
use kernel_ipc::{Descriptor, RecvError, SendError, pipe};

/// The encoding of a vector begins with its length: three bytes for lengths from 2^14 on, four from 2^21 on.
const LENGTH_BYTES: usize = 3;

#[test]
fn a_message_of_the_longest_packet_and_one_byte_more() {
    let (tx, rx) = pipe::<Vec<u8>>().unwrap();
    for more in [0, 1] {
        let bytes: Vec<u8> = (0..=250).cycle().take(INLINE_BYTES_MAX + more).collect();
        tx.send_bytes(&bytes).unwrap();
        assert_eq!(rx.recv_bytes().unwrap(), bytes);
        tx.send_bytes(&bytes).unwrap();
        let mut buffer = vec![0; bytes.len()];
        assert_eq!(rx.recv_bytes_into(&mut buffer), Ok(bytes.len()));
        assert_eq!(buffer, bytes);
        let value = bytes[LENGTH_BYTES..].to_vec();
        tx.send(&value).unwrap();
        assert_eq!(rx.recv().unwrap(), value);
    }
}

#[test]
fn long_messages_take_no_room_in_the_pipe() {
    let (tx, rx) = pipe::<Vec<u8>>().unwrap();
    let long = vec![3; 4 << 20];
    for _ in 0..8 {
        tx.try_send(&long).unwrap();
    }
    drop(tx);
    assert_eq!(rx.iter().filter(|received| received.as_ref() == Ok(&long)).count(), 8);
}

#[test]
fn a_message_of_the_longest_kind_and_one_byte_more() {
    let (tx, rx) = pipe::<Vec<u8>>().unwrap();
    // Zeroed pages take no memory until they are used.
    let mut bytes = vec![0; MESSAGE_BYTES_MAX + 1];
    assert_eq!(tx.send_bytes(&bytes), Err(SendError::TooLarge { found: MESSAGE_BYTES_MAX + 1 }));
    bytes.truncate(MESSAGE_BYTES_MAX);
    tx.send_bytes(&bytes).unwrap();
    assert_eq!(rx.recv_bytes().unwrap().len(), MESSAGE_BYTES_MAX);
}

#[test]
fn a_value_whose_encoding_is_too_long_is_counted_and_refused() {
    #[derive(serde::Deserialize)]
    struct Plain(Vec<u8>);
    impl serde::Serialize for Plain {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(&self.0)
        }
    }
    let (tx, rx) = pipe::<Plain>().unwrap();
    // The length takes four bytes.
    let mut value = Plain(vec![0; MESSAGE_BYTES_MAX - 3]);
    assert_eq!(tx.send(&value), Err(SendError::TooLarge { found: MESSAGE_BYTES_MAX + 1 }));
    assert!(value.0.pop().is_some());
    tx.send(&value).unwrap();
    let Err(RecvError::WrongType { bytes, .. }) = rx.recv_bytes() else { panic!("it is a value") };
    assert_eq!(bytes.len(), MESSAGE_BYTES_MAX);
}

#[test]
fn a_file_above_the_limit_is_refused_before_memory_is_taken() {
    use std::os::fd::AsFd;
    let (tx, rx) = pipe::<Vec<u8>>().unwrap();
    let file = mp_sys::memory::make_memfd().unwrap();
    let length = u64::try_from(MESSAGE_BYTES_MAX + 1).unwrap();
    rustix::fs::ftruncate(&file, length).unwrap();
    let seals = rustix::fs::SealFlags::SHRINK | rustix::fs::SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&file, seals).unwrap();
    let endpoint = mp_sys::socket::Endpoint::of(tx.as_fd().try_clone_to_owned().unwrap()).unwrap();
    let head = mp_sys::socket::Head { word: 1, long: 0 };
    let mut packet = [0; mp_sys::socket::OVERHEAD_BYTES];
    endpoint.send(head, &mut packet, &[], &[file.as_fd()], mp_sys::robust::Patience::None).unwrap();
    assert_eq!(rx.recv_bytes(), Err(RecvError::TooLarge { found: length }));
}

#[test]
fn descriptors_of_one_message() {
    let files = |count: usize| -> Vec<Descriptor> {
        let file = std::fs::File::open("/dev/null").unwrap();
        (0..count).map(|_| file.try_clone().unwrap().into()).collect()
    };
    let (tx, rx) = pipe::<(Vec<Descriptor>, Vec<u8>)>().unwrap();
    tx.send(&(files(DESCRIPTORS_MAX), vec![])).unwrap();
    assert_eq!(rx.recv().unwrap().0.len(), DESCRIPTORS_MAX);
    assert_eq!(tx.send(&(files(DESCRIPTORS_MAX + 1), vec![])), Err(SendError::TooManyDescriptors));
    // A long message's own file counts as one of them.
    let long = vec![1; INLINE_BYTES_MAX + 1];
    assert_eq!(tx.send(&(files(DESCRIPTORS_MAX), long.clone())), Err(SendError::TooManyDescriptors));
    tx.send(&(files(DESCRIPTORS_MAX - 1), long.clone())).unwrap();
    let (received, bytes) = rx.recv().unwrap();
    assert_eq!((received.len(), bytes), (DESCRIPTORS_MAX - 1, long));
}
