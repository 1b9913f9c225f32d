//! Which of its inherited endpoints a child keeps.

use std::collections::HashSet;
use std::os::fd::{AsFd, AsRawFd};

use mp_sys::deadline::Deadline;
use mp_sys::robust::Patience;
use mp_sys::socket::{Ended, Endpoint, Head, OVERHEAD_BYTES, ReceiveFailure, SendFailure};
use mp_sys::testing::{PATIENCE, spawn, succeeded};

fn send(endpoint: &Endpoint, patience: Patience) -> Result<(), SendFailure> {
    endpoint.send(Head { word: 0, long: 0 }, &mut [0; OVERHEAD_BYTES], &[], &[], patience)
}

fn receive(endpoint: &Endpoint, patience: Patience) -> Result<(), ReceiveFailure> {
    endpoint.receive(&mut [0; OVERHEAD_BYTES], patience).map(drop)
}

fn patience() -> Patience {
    Patience::Until(Deadline::after(PATIENCE))
}

fn a_child_keeps_only_its_own_endpoints_and_delays_no_end() {
    let (kept, kept_peer) = Endpoint::pair().unwrap();
    let (given_up, given_up_peer) = Endpoint::pair().unwrap();
    let child = spawn(|| {
        Ended::new().unwrap().replace_all_but(&HashSet::from([kept.as_fd().as_raw_fd()])).unwrap();
        assert_eq!(receive(&given_up, patience()).unwrap_err(), ReceiveFailure::Closed);
        assert_eq!(send(&given_up, patience()), Err(SendFailure::Closed));
        // The last copy of the other end disappears while the child still runs.
        assert!(receive(&kept, patience()).is_ok());
    });
    drop(given_up);
    assert_eq!(receive(&given_up_peer, patience()).unwrap_err(), ReceiveFailure::Closed);
    send(&kept_peer, patience()).unwrap();
    succeeded(&child);
}

fn a_descriptor_that_was_given_up_is_closed_once() {
    let (one, other) = Endpoint::pair().unwrap();
    let child = spawn(|| {
        Ended::new().unwrap().replace_all_but(&HashSet::new()).unwrap();
        drop(one);
        // The number is free now, and the next descriptors get it: nothing else may close those.
        let next: Vec<_> = (0..8).map(|_| Endpoint::pair().unwrap()).collect();
        drop(other);
        for (one, other) in &next {
            send(one, Patience::None).unwrap();
            assert!(receive(other, Patience::None).is_ok());
        }
    });
    succeeded(&child);
}

mp_sys::tests![
    a_child_keeps_only_its_own_endpoints_and_delays_no_end,
    a_descriptor_that_was_given_up_is_closed_once,
];
