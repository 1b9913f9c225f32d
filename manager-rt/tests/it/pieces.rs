//! What a client sends in pieces, so that the manager serves others in between.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use manager_rt::limits::{ELEMENTS_AT_ONCE, VALUES_AT_ONCE_MAX};
use manager_rt::{InProcess, Manager};

use crate::recorder::Recorder;

#[test]
fn a_long_array_is_sent_in_pieces() {
    let recorder = Arc::new(Recorder::of(InProcess::new().unwrap()));
    let manager = Manager::with(Arc::<Recorder>::clone(&recorder));
    let elements: Vec<u32> = (0..u32::try_from(VALUES_AT_ONCE_MAX).unwrap()).collect();
    manager.array(&elements).unwrap();
    assert_eq!(recorder.added_at_once.load(Ordering::Relaxed), 0, "one operation is enough");
    let elements: Vec<u32> = (0..=u32::try_from(VALUES_AT_ONCE_MAX).unwrap()).collect();
    let array = manager.array(&elements).unwrap();
    assert_eq!(recorder.added_at_once.load(Ordering::Relaxed), ELEMENTS_AT_ONCE);
    assert_eq!(array.to_vec().unwrap(), elements);
}
