//! What a child keeps of the endpoints that it inherited.

use std::collections::HashSet;
use std::os::fd::{AsFd, AsRawFd};

use mp_sys::deadline::Deadline;
use mp_sys::robust::Patience;
use mp_sys::socket::{Endpoint, HEAD_BYTES, ReceiveFailure, SendFailure, close_all_but};
use mp_sys::testing::{PATIENCE, spawn, succeeded};

const HEAD: [u8; HEAD_BYTES] = [0; HEAD_BYTES];

fn patience() -> Patience {
    Patience::Until(Deadline::after(PATIENCE))
}

fn a_child_keeps_what_it_was_handed_and_holds_no_end_back() {
    let (kept, kept_peer) = Endpoint::pair().unwrap();
    let (given_up, given_up_peer) = Endpoint::pair().unwrap();
    let child = spawn(|| {
        close_all_but(&HashSet::from([kept.as_fd().as_raw_fd()])).unwrap();
        assert_eq!(given_up.receive(&mut [], patience()).unwrap_err(), ReceiveFailure::Closed);
        assert_eq!(given_up.send(HEAD, b"x", &[], patience()), Err(SendFailure::Closed));
        // The last copy of the other end goes while the child still runs.
        assert!(kept.receive(&mut [], patience()).is_ok());
    });
    drop(given_up);
    assert_eq!(given_up_peer.receive(&mut [], patience()).unwrap_err(), ReceiveFailure::Closed);
    kept_peer.send(HEAD, b"", &[], patience()).unwrap();
    succeeded(&child);
}

fn a_descriptor_that_was_given_up_is_closed_once() {
    let (one, other) = Endpoint::pair().unwrap();
    let child = spawn(|| {
        close_all_but(&HashSet::new()).unwrap();
        drop(one);
        // Its number is free now, and the next descriptors get it: nothing else may close those.
        let next: Vec<_> = (0..8).map(|_| Endpoint::pair().unwrap()).collect();
        drop(other);
        for (one, other) in &next {
            one.send(HEAD, b"", &[], Patience::None).unwrap();
            assert!(other.receive(&mut [], Patience::None).is_ok());
        }
    });
    succeeded(&child);
}

mp_sys::tests![
    a_child_keeps_what_it_was_handed_and_holds_no_end_back,
    a_descriptor_that_was_given_up_is_closed_once,
];
