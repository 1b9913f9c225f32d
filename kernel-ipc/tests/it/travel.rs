//! Ends and descriptors inside messages.

use std::io::{Read, Write};
use std::os::fd::AsFd;

use kernel_ipc::{Descriptor, Receiver, RecvError, SendError, Sender, pipe};
use serde::{Deserialize, Serialize};

/// A request, with an end for its answer.
#[derive(Debug, Serialize, Deserialize)]
struct Question {
    number: u32,
    answer: Sender<u64>,
}

#[test]
fn an_end_travels_and_works() {
    let (ask, questions) = pipe::<Question>().unwrap();
    let (answer, answers) = pipe().unwrap();
    ask.send(&Question { number: 6, answer }).unwrap();
    let question = questions.recv().unwrap();
    question.answer.send(&(u64::from(question.number) * 7)).unwrap();
    drop(question);
    assert_eq!(answers.recv(), Ok(42));
    assert_eq!(answers.recv(), Err(RecvError::Closed), "a handle was left on the way");
}

/// Returns the same pipe, as a program sees it that has another type of this name.
fn as_other<T, U>(rx: &Receiver<T>) -> Receiver<U> {
    Receiver::from_fd(rx.as_fd().try_clone_to_owned().unwrap()).unwrap()
}

#[test]
fn an_end_of_other_types_is_refused() {
    mod old {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) struct Carrier(pub(super) kernel_ipc::Sender<u8>);
    }
    mod new {
        #[derive(Debug, serde::Deserialize)]
        pub(super) struct Carrier(#[expect(dead_code, reason = "never decoded")] kernel_ipc::Sender<i8>);
    }
    let (tx, rx) = pipe::<old::Carrier>().unwrap();
    let rx = as_other::<_, new::Carrier>(&rx);
    let (inner, inner_rx) = pipe::<u8>().unwrap();
    tx.send(&old::Carrier(inner)).unwrap();
    assert!(matches!(rx.recv(), Err(RecvError::Decode { .. })));
    assert_eq!(inner_rx.recv(), Err(RecvError::Closed), "its descriptor was closed");
}

#[test]
fn a_sender_does_not_arrive_as_a_receiver() {
    mod old {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) struct Carrier(pub(super) kernel_ipc::Sender<u8>);
    }
    mod new {
        #[derive(Debug, serde::Deserialize)]
        pub(super) struct Carrier(#[expect(dead_code, reason = "never decoded")] kernel_ipc::Receiver<u8>);
    }
    let (tx, rx) = pipe::<old::Carrier>().unwrap();
    tx.send(&old::Carrier(pipe().unwrap().0)).unwrap();
    let refused = as_other::<_, new::Carrier>(&rx).recv().unwrap_err();
    let RecvError::Decode { reason, .. } = refused else { panic!("{refused:?}") };
    assert!(reason.contains("another kind of end"), "{reason}");
}

#[test]
fn a_descriptor_is_the_same_open_file() {
    let (tx, rx) = pipe::<Vec<Descriptor>>().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    tx.send(&vec![reader.into(), writer.into()]).unwrap();
    let mut received = rx.recv().unwrap();
    let mut writer = std::io::PipeWriter::from(received.pop().unwrap().try_into_fd().unwrap());
    let mut reader = std::io::PipeReader::from(received.pop().unwrap().try_into_fd().unwrap());
    writer.write_all(b"through").unwrap();
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "through");
}

#[test]
fn plain_bytes_carry_no_handle() {
    let (tx, _rx) = pipe::<u8>().unwrap();
    let error = postcard::to_stdvec(&tx);
    assert!(error.is_err());
    let error = serde_json::to_string(&tx).unwrap_err().to_string();
    assert!(error.contains("through a pipe or connection"), "{error}");
    let error = serde_json::from_str::<Sender<u8>>("[0,[1]]").unwrap_err().to_string();
    assert!(error.contains("through a pipe or connection"), "{error}");
}

#[test]
fn a_message_that_names_a_descriptor_twice_is_refused() {
    mod forged {
        #[derive(serde::Deserialize)]
        pub(super) struct Handles(pub(super) Vec<kernel_ipc::Descriptor>);

        impl serde::Serialize for Handles {
            /// The index of the first descriptor, twice.
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let copy = std::os::fd::AsFd::as_fd(&self.0[0]).try_clone_to_owned().unwrap();
                let index = mp_sys::travel::pack(&std::sync::Arc::new(copy));
                let index = index.map_err(serde::ser::Error::custom)?;
                vec![index, index].serialize(serializer)
            }
        }
    }
    mod honest {
        #[derive(Debug, serde::Deserialize)]
        pub(super) struct Handles(#[expect(dead_code, reason = "never decoded")] Vec<kernel_ipc::Descriptor>);
    }
    let (tx, rx) = pipe::<forged::Handles>().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    tx.send(&forged::Handles(vec![file.into()])).unwrap();
    let Err(RecvError::Decode { reason, .. }) = as_other::<_, honest::Handles>(&rx).recv() else {
        panic!("one descriptor was taken twice")
    };
    assert!(reason.contains("does not carry"), "{reason}");
}

#[test]
fn a_refused_message_leaves_nothing_for_the_next() {
    let (tx, rx) = pipe::<(Vec<Descriptor>, u8)>().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    let many: Vec<Descriptor> = (0..300).map(|_| file.try_clone().unwrap().into()).collect();
    assert_eq!(tx.send(&(many, 1)), Err(SendError::TooManyDescriptors));
    tx.send(&(vec![file.into()], 2)).unwrap();
    assert_eq!(rx.recv().unwrap().0.len(), 1);
}
