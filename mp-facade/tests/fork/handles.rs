//! `fork_with`: which processes hold an end of a stream.

use mp::{Connection, ForkError, Receiver, RecvError, SendError, Sender, Value, duplex, fork_with, pipe};
use mp_sys::testing::{PATIENCE, eventually, tests};

tests! {
    a_bystander_keeps_no_end_open,
    a_passed_handle_is_closed_in_the_parent,
    a_reference_keeps_the_handle_here,
    many_handles_in_one_value,
    ends_that_were_not_passed_are_closed_in_the_child,
    a_grandchild_gets_what_its_parent_passes_on,
    handles_that_cannot_be_listed,
    no_descriptor_for_the_substitute,
}

fn a_bystander_keeps_no_end_open() {
    let (tx, rx) = pipe::<u8>().unwrap();
    let (stay, until) = pipe::<()>().unwrap();
    let bystander = fork_with(&until, |until| until.recv_timeout(PATIENCE).unwrap()).unwrap();
    tx.send(&1).unwrap();
    drop(tx);
    assert_eq!(rx.recv_timeout(PATIENCE), Ok(1));
    assert_eq!(rx.recv_timeout(PATIENCE), Err(RecvError::Closed));
    // In the other direction, the bystander has no copy of the receiving end either.
    let (tx, rx) = pipe::<u8>().unwrap();
    let second = fork_with(&until, |until| until.recv_timeout(PATIENCE).unwrap()).unwrap();
    drop(rx);
    // It has a copy until it begins. Then nobody can receive what was sent meanwhile.
    eventually("the child has given it up", || tx.try_send(&1) == Err(SendError::Closed));
    stay.send(&()).unwrap();
    stay.send(&()).unwrap();
    bystander.join().unwrap();
    second.join().unwrap();
}

fn a_passed_handle_is_closed_in_the_parent() {
    let (tx, rx) = pipe::<u8>().unwrap();
    let child = fork_with(tx, |tx: Sender<u8>| tx.send(&5).unwrap()).unwrap();
    assert_eq!(rx.recv_timeout(PATIENCE), Ok(5));
    child.join().unwrap();
    assert_eq!(rx.recv_timeout(PATIENCE), Err(RecvError::Closed), "no copy is left here");
}

fn a_reference_keeps_the_handle_here() {
    let (tx, rx) = pipe::<u8>().unwrap();
    let children: Vec<_> = (0..4).map(|n| fork_with(&tx, move |tx| tx.send(&n).unwrap()).unwrap()).collect();
    drop(tx);
    let mut received: Vec<u8> = rx.iter().map(Result::unwrap).collect();
    received.sort_unstable();
    assert_eq!(received, [0, 1, 2, 3]);
    children.iter().for_each(|child| child.join().unwrap());
}

fn many_handles_in_one_value() {
    type Handles = (Vec<Receiver<u32>>, Option<Sender<u32>>, Connection<u8, u8>, Value<u64>);
    let pipes: Vec<_> = (0..300).map(|_| pipe::<u32>().unwrap()).collect();
    let (senders, receivers): (Vec<_>, Vec<_>) = pipes.into_iter().unzip();
    let (sum, result) = pipe::<u32>().unwrap();
    let (here, there) = duplex().unwrap();
    let value = Value::new(1_u64).unwrap();
    let handles: Handles = (receivers, Some(sum), there, value);
    let child = fork_with(handles, |(receivers, sum, there, value)| {
        let total = receivers.iter().map(|rx| rx.recv_timeout(PATIENCE).unwrap()).sum();
        sum.unwrap().send(&total).unwrap();
        there.send(&there.recv_timeout(PATIENCE).unwrap()).unwrap();
        value.get().unwrap()
    })
    .unwrap();
    senders.iter().for_each(|tx| tx.send(&2).unwrap());
    assert_eq!(result.recv_timeout(PATIENCE), Ok(600), "more than one message carries");
    here.send(&9).unwrap();
    assert_eq!(here.recv_timeout(PATIENCE), Ok(9));
    assert_eq!(child.join(), Ok(1));
}

fn ends_that_were_not_passed_are_closed_in_the_child() {
    let (tx, rx) = pipe::<u8>().unwrap();
    tx.send(&1).unwrap();
    let child =
        fork_with((), |()| (rx.recv_timeout(PATIENCE).is_err(), tx.send(&2).is_err(), pipe::<u8>().is_ok()));
    assert_eq!(child.unwrap().join(), Ok((true, true, true)));
    assert_eq!(rx.recv_timeout(PATIENCE), Ok(1), "the pipe itself is as it was");
    assert_eq!(rx.try_recv(), Err(RecvError::Empty));
}

fn a_grandchild_gets_what_its_parent_passes_on() {
    let (tx, rx) = pipe::<u8>().unwrap();
    let child = fork_with(tx, |tx| {
        let (inner, inner_rx) = pipe::<u8>().unwrap();
        let grandchild = fork_with((tx, inner_rx), |(tx, inner_rx)| {
            tx.send(&inner_rx.recv_timeout(PATIENCE).unwrap()).unwrap();
        });
        inner.send(&7).unwrap();
        grandchild.unwrap().join().unwrap();
    });
    assert_eq!(rx.recv_timeout(PATIENCE), Ok(7));
    child.unwrap().join().unwrap();
    assert_eq!(rx.recv_timeout(PATIENCE), Err(RecvError::Closed));
}

fn handles_that_cannot_be_listed() {
    struct Never;
    impl serde::Serialize for Never {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("never"))
        }
    }
    assert_eq!(fork_with(Never, drop).unwrap_err(), ForkError::Handles);
}

fn no_descriptor_for_the_substitute() {
    let (tx, rx) = pipe::<u8>().unwrap();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let few = rustix::process::Rlimit { current: Some(64), ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
    let taken: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    let refused = fork_with(&tx, |tx| tx.send(&1).unwrap());
    assert_eq!(refused.unwrap_err(), ForkError::OutOfDescriptors);
    drop(taken);
    fork_with(&tx, |tx| tx.send(&1).unwrap()).unwrap().join().unwrap();
    assert_eq!(rx.recv_timeout(PATIENCE), Ok(1));
}
