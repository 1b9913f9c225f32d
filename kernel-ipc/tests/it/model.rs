//! Random sequences of operations, compared with a queue of the standard library.

use std::collections::VecDeque;

use kernel_ipc::{RecvError, SendError, pipe};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Send(Vec<u16>),
    SendBytes(Vec<u8>),
    Recv,
    CloneSender,
    DropSender,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::vec(any::<u16>(), 0..100).prop_map(Step::Send),
        2 => proptest::collection::vec(any::<u8>(), 0..300).prop_map(Step::SendBytes),
        1 => (204_000_usize..206_000).prop_map(|len| Step::SendBytes(vec![9; len])),
        6 => Just(Step::Recv),
        1 => Just(Step::CloneSender),
        1 => Just(Step::DropSender),
    ]
}

#[derive(Debug, Clone, PartialEq)]
enum Message {
    Value(Vec<u16>),
    Bytes(Vec<u8>),
}

proptest! {
    #[test]
    fn a_pipe_behaves_like_a_queue(steps in proptest::collection::vec(step(), 1..60)) {
        let (tx, rx) = pipe::<Vec<u16>>().unwrap();
        let mut senders = vec![tx];
        let mut model = VecDeque::new();
        for step in steps {
            let sender = senders.last();
            match (step, sender) {
                (Step::Send(value), Some(tx)) => match tx.try_send(&value) {
                    Ok(()) => model.push_back(Message::Value(value)),
                    Err(error) => prop_assert_eq!(error, SendError::Full),
                },
                (Step::SendBytes(bytes), Some(tx)) => match tx.try_send_bytes(&bytes) {
                    Ok(()) => model.push_back(Message::Bytes(bytes)),
                    Err(error) => prop_assert_eq!(error, SendError::Full),
                },
                (Step::CloneSender, Some(tx)) => {
                    let copy = tx.try_clone().unwrap();
                    senders.push(copy);
                }
                (Step::DropSender, _) => drop(senders.pop()),
                (Step::Recv, sender) => match (model.pop_front(), sender) {
                    (Some(Message::Value(value)), _) => prop_assert_eq!(rx.try_recv(), Ok(value)),
                    (Some(Message::Bytes(bytes)), _) => prop_assert_eq!(rx.try_recv_bytes(), Ok(bytes)),
                    (None, Some(_)) => prop_assert_eq!(rx.try_recv(), Err(RecvError::Empty)),
                    (None, None) => prop_assert_eq!(rx.try_recv(), Err(RecvError::Closed)),
                },
                (_, None) => {}
            }
        }
    }
}
