//! `Array`: elements, ranges, byte strings, and every bad input.

use shm_core::{Array, ArrayError, LockError, RangeError};

fn out_of_range<G>(start: usize, end: usize, len: usize) -> ArrayError<G> {
    ArrayError::Range(RangeError::OutOfRange { start, end, len })
}

#[test]
fn elements_and_ranges() {
    let array = Array::from_slice(&[1_u32, 2, 3, 4, 5]).unwrap();
    assert_eq!(array.len(), 5);
    assert_eq!(array.get(4), Ok(5));
    array.set(4, 50).unwrap();
    assert_eq!(array.read(3..5), Ok(vec![4, 50]));
    array.write(1, &[20, 30]).unwrap();
    assert_eq!(array.to_vec(), Ok(vec![1, 20, 30, 4, 50]));
    let mut some = [0; 2];
    array.read_into(2, &mut some).unwrap();
    assert_eq!(some, [30, 4]);
    array.fill(7).unwrap();
    array.write_all(&[7, 7, 8, 7, 7]).unwrap();
    assert_eq!(array.lock().unwrap().iter().sum::<u32>(), 36);
}

#[test]
fn indices_at_the_end_and_one_beyond() {
    let array = Array::from_slice(&[1_u8, 2, 3]).unwrap();
    assert_eq!(array.get(3), Err(out_of_range(3, 4, 3)));
    assert_eq!(array.get(usize::MAX), Err(out_of_range(usize::MAX, usize::MAX, 3)));
    assert_eq!(array.set(3, 1), Err(out_of_range(3, 4, 3)));
    assert_eq!(array.read(3..3), Ok(vec![]));
    assert_eq!(array.read(2..4), Err(out_of_range(2, 4, 3)));
    assert_eq!(array.read(4..4), Err(out_of_range(4, 4, 3)));
    #[expect(clippy::reversed_empty_ranges, reason = "the bad input")]
    let backwards = 2..1;
    assert_eq!(array.read(backwards), Err(out_of_range(2, 1, 3)));
    assert_eq!(array.write(2, &[1, 2]), Err(out_of_range(2, 4, 3)));
    assert_eq!(array.write(usize::MAX, &[1]), Err(out_of_range(usize::MAX, usize::MAX, 3)));
    assert_eq!(array.write(3, &[]), Ok(()));
    let mismatch = RangeError::LengthMismatch { expected: 3, found: 2 };
    assert_eq!(array.write_all(&[1, 2]), Err(ArrayError::Range(mismatch)));
    assert_eq!(array.to_vec(), Ok(vec![1, 2, 3]), "nothing was written");
    assert_eq!(mismatch.to_string(), "2 elements cannot replace an array of 3");
}

#[test]
fn an_empty_array_has_no_elements() {
    let array = Array::<u64>::zeroed(0).unwrap();
    assert!(array.is_empty());
    assert_eq!(array.get(0), Err(out_of_range(0, 1, 0)));
    assert_eq!(array.to_vec(), Ok(vec![]));
    assert_eq!(array.fill(1), Ok(()));
    assert!(array.lock().unwrap().is_empty());
    assert!(Array::<u64>::from_slice(&[]).unwrap().is_empty());
}

#[test]
fn elements_of_odd_sizes_go_through_the_journal() {
    let array = Array::from_slice(&[[1_u8, 2, 3], [4, 5, 6], [7, 8, 9]]).unwrap();
    array.set(1, [40, 50, 60]).unwrap();
    array.set(2, [70, 80, 90]).unwrap();
    assert_eq!(array.to_vec(), Ok(vec![[1, 2, 3], [40, 50, 60], [70, 80, 90]]));
    let wide = Array::<u128>::zeroed(4).unwrap();
    wide.set(3, u128::MAX).unwrap();
    wide.lock().unwrap()[0] = 1;
    assert_eq!(wide.to_vec(), Ok(vec![1, 0, 0, u128::MAX]));
}

#[test]
fn byte_strings_end_at_the_first_nul() {
    let text = Array::<u8>::zeroed(5).unwrap();
    assert_eq!(text.to_c_bytes(), Ok(vec![]));
    text.set_c_bytes(b"hello").unwrap();
    assert_eq!(text.to_c_bytes(), Ok(b"hello".to_vec()));
    text.set_c_bytes(b"hi").unwrap();
    assert_eq!(text.to_c_bytes(), Ok(b"hi".to_vec()));
    assert_eq!(text.to_vec(), Ok(b"hi\0lo".to_vec()), "what follows the NUL stays, as in Python");
    assert_eq!(text.set_c_bytes(b"longer"), Err(out_of_range(0, 6, 5)));
    assert_eq!(text.to_c_bytes(), Ok(b"hi".to_vec()));
}

#[test]
fn every_operation_reports_poison() {
    let array = Array::from_slice(&[1_u8, 2]).unwrap();
    let body = std::panic::AssertUnwindSafe(|| {
        array.lock().unwrap()[0] = 9;
        let _guard = array.lock().unwrap();
        panic!("on purpose");
    });
    std::panic::catch_unwind(body).unwrap_err();
    assert_eq!(array.get(0), Err(LockError::Poisoned(9).into()));
    assert_eq!(array.set(0, 5), Err(LockError::Poisoned(5).into()));
    assert_eq!(array.read(0..2), Err(LockError::Poisoned(vec![9, 2]).into()));
    assert_eq!(array.write(0, &[1]), Err(LockError::Poisoned(()).into()));
    assert_eq!(array.fill(1), Err(LockError::Poisoned(()).into()));
    assert_eq!(array.set_c_bytes(b"a"), Err(LockError::Poisoned(()).into()));
    assert_eq!(array.to_vec(), Err(LockError::Poisoned(vec![9, 2])));
    assert_eq!(array.to_c_bytes(), Err(LockError::Poisoned(vec![9, 2])));
    array.clear_poison();
    assert_eq!(array.to_vec(), Ok(vec![9, 2]));
}

#[test]
fn using_an_array_while_holding_its_guard_is_an_error() {
    let array = Array::from_slice(&[1_u8, 2]).unwrap();
    let _guard = array.lock().unwrap();
    assert_eq!(array.get(0), Err(LockError::Deadlock.into()));
    assert_eq!(array.write(0, &[1]), Err(LockError::Deadlock.into()));
    assert!(matches!(array.try_lock(), Err(LockError::WouldBlock)));
}
