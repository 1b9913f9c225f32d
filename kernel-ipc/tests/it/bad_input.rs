//! Packets that are not messages, or not the expected ones. Each is an error, and the next message arrives.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kernel_ipc::{Receiver, RecvError, Sender, duplex, pipe};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde::{Serialize, Serializer, ser};

/// Returns an end of the same pipe with another type.
fn as_other<T, U>(tx: &Sender<T>) -> Sender<U> {
    Sender::from_fd(tx.as_fd().try_clone_to_owned().unwrap()).unwrap()
}

/// Sends a packet without the library.
fn raw(tx: &impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let mut space = [std::mem::MaybeUninit::uninit(); 128];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(descriptors.is_empty() || control.push(SendAncillaryMessage::ScmRights(descriptors)));
    sendmsg(tx, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL).unwrap();
}

/// Returns a head as the library writes it, with these fields.
fn head(descriptors: u8, form: u8, print: u64) -> Vec<u8> {
    let mut head = vec![0xb5, 1, 0, descriptors, form, 0, 0, 0];
    head.extend(print.to_ne_bytes());
    head
}

fn next_arrives(tx: &Sender<u32>, rx: &Receiver<u32>) {
    tx.send(&77).unwrap();
    assert_eq!(rx.recv(), Ok(77));
}

#[test]
fn another_type_is_found_by_its_name() {
    let (tx, rx) = pipe::<u32>().unwrap();
    as_other::<_, i32>(&tx).send(&5).unwrap();
    let print = |name| format!("{:016x}", mp_sys::named::fingerprint("message", 4, 4, name));
    let is_told = |error: RecvError, (expected, found): (&str, &str), bytes: &[u8]| {
        let told = RecvError::WrongType {
            expected: expected.to_owned(),
            found: found.to_owned(),
            bytes: bytes.to_owned(),
        };
        assert_eq!(error, told);
        assert_eq!(error.to_string(), format!("this end receives {expected}, and the message is {found}"));
    };
    let unsigned = format!("`u32` of fingerprint {}", print("u32"));
    let found = |name| format!("a type of fingerprint {}", print(name));
    is_told(rx.recv().unwrap_err(), (&unsigned, &found("i32")), &[10]);
    tx.send_bytes(b"raw").unwrap();
    is_told(rx.recv().unwrap_err(), (&unsigned, "plain bytes"), b"raw");
    tx.send(&3).unwrap();
    is_told(rx.recv_bytes().unwrap_err(), ("plain bytes", &found("u32")), &[3]);
    next_arrives(&tx, &rx);
}

#[test]
fn another_version_of_a_type_is_another_type() {
    use kernel_ipc::Versioned;

    let (tx, rx) = pipe::<Versioned<2, i16>>().unwrap();
    let old: Sender<Versioned<1, i16>> = Sender::from_fd(tx.as_fd().try_clone_to_owned().unwrap()).unwrap();
    old.send(&Versioned::new(5)).unwrap();
    let Err(RecvError::WrongType { expected, bytes, .. }) = rx.recv() else {
        panic!("version 1 was received")
    };
    assert!(expected.contains("Versioned<2, i16>"), "{expected}");
    assert_eq!(bytes, [10], "encoded as the value alone");
    tx.send(&5.into()).unwrap();
    assert_eq!(*rx.recv().unwrap(), 5);

    // The version of a queue that arrives is compared too.
    let (carry, carried) = pipe::<kernel_ipc::Queue<Versioned<2, i16>>>().unwrap();
    let carried = Receiver::<kernel_ipc::Queue<Versioned<1, i16>>>::from_fd(
        carried.as_fd().try_clone_to_owned().unwrap(),
    );
    carry.send(&kernel_ipc::Queue::new().unwrap()).unwrap();
    assert!(matches!(carried.unwrap().recv(), Err(RecvError::WrongType { .. })));
}

#[test]
fn both_directions_of_a_connection_have_a_type() {
    let (one, other) = duplex::<u8, u16>().unwrap();
    let swapped =
        kernel_ipc::Connection::<u16, u8>::from_fd(one.as_fd().try_clone_to_owned().unwrap()).unwrap();
    swapped.send(&1).unwrap();
    assert!(matches!(other.recv(), Err(RecvError::WrongType { .. })));
}

#[test]
fn bytes_that_cannot_be_decoded_come_with_the_error() {
    // The name is right and the bytes are different, as if the types of two programs have drifted apart.
    mod old {
        #[derive(Debug, serde::Serialize, serde::Deserialize)]
        pub(super) struct Order(pub(super) bool, pub(super) u8);
    }
    mod new {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        pub(super) struct Order(pub(super) bool, pub(super) bool);
    }
    let (tx, rx) = pipe::<old::Order>().unwrap();
    let rx = Receiver::<new::Order>::from_fd(rx.as_fd().try_clone_to_owned().unwrap()).unwrap();
    tx.send(&old::Order(true, 9)).unwrap();
    let Err(RecvError::Decode { bytes, reason }) = rx.recv() else { panic!("9 is no bool") };
    assert_eq!(bytes, [1, 9]);
    assert!(!reason.is_empty());
    tx.send(&old::Order(true, 1)).unwrap();
    assert_eq!(rx.recv(), Ok(new::Order(true, true)));
}

#[test]
fn a_value_that_cannot_be_encoded_is_not_sent() {
    #[derive(serde::Deserialize)]
    struct Never;
    impl Serialize for Never {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(ser::Error::custom("never"))
        }
    }
    let (tx, rx) = pipe::<Never>().unwrap();
    assert_eq!(tx.send(&Never), Err(kernel_ipc::SendError::Encode("never".to_owned())));
    drop(tx);
    assert_eq!(rx.recv_bytes(), Err(RecvError::Closed));
}

#[test]
fn garbage_is_an_error_and_is_removed_from_the_pipe() {
    let (tx, rx) = pipe::<u32>().unwrap();
    let too_long = [head(0, 2, 1), vec![0; kernel_ipc::limits::INLINE_BYTES_MAX + 1]].concat();
    let cases: [(&str, Vec<u8>); 8] = [
        ("nothing like a message", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("a part of a head", head(0, 2, 1)[..9].to_vec()),
        ("an unknown form", head(0, 4, 0)),
        ("bytes with a type", head(0, 0, 9)),
        ("a value without a type", head(0, 2, 0)),
        ("a file that is not there", head(0, 3, 9)),
        ("descriptors that are not there", head(1, 2, 9)),
        ("a packet above the limit", too_long),
    ];
    for (what, bytes) in cases {
        raw(&tx, &bytes, &[]);
        assert!(matches!(rx.recv(), Err(RecvError::Malformed(_))), "{what}");
        next_arrives(&tx, &rx);
    }
}

#[test]
fn a_file_that_is_not_sealed_is_no_message() {
    let (tx, rx) = pipe::<u32>().unwrap();
    let file = tempfile::tempfile().unwrap();
    file.set_len(1 << 20).unwrap();
    let open = mp_sys::memory::make_memfd().unwrap();
    for file in [OwnedFd::from(file), open] {
        raw(&tx, &head(1, 1, 0), &[file.as_fd()]);
        assert!(matches!(rx.recv_bytes(), Err(RecvError::Malformed(_))));
    }
    let sealed = mp_sys::payload::seal(&[b"sealed"]).unwrap();
    raw(&tx, &[head(1, 1, 0), b"and a body".to_vec()].concat(), &[sealed.as_fd()]);
    assert!(matches!(rx.recv_bytes(), Err(RecvError::Malformed(_))));
    raw(&tx, &head(1, 1, 0), &[sealed.as_fd()]);
    assert_eq!(rx.recv_bytes().unwrap(), b"sealed");
}
