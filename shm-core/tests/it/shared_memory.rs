//! `SharedMemory`: copies in and out, and every bad range and size.

use mp_sys::memory::MAPPING_BYTES_MAX;
use mp_sys::named::HEADER_BYTES;
use shm_core::{MemoryError, NameError, RangeError, RawArray, SharedMemory};

fn name(of: &str) -> String {
    format!("it-{}-{of}", rustix::process::getpid().as_raw_nonzero())
}

#[test]
fn bytes_are_copied_in_and_out() {
    let bytes: Vec<u8> = (0..10_000).map(|n: u32| u8::try_from(n % 251).unwrap()).collect();
    let memory = SharedMemory::new(bytes.len()).unwrap();
    assert_eq!(memory.len(), 10_000);
    assert_eq!(memory.to_vec(), vec![0; 10_000]);
    memory.write_at(0, &bytes).unwrap();
    // Starts and lengths of every remainder by 8, which is what whole words have at their ends.
    for start in (0..17).chain([4095, 9_900]) {
        for count in (0..17).chain([100]) {
            let mut into = vec![0; count];
            memory.read_at(start, &mut into).unwrap();
            assert_eq!(into, bytes[start..start + count]);
            assert_eq!(memory.read(start..start + count).unwrap(), into);
        }
    }
    memory.write_at(9_999, b"!").unwrap();
    assert_eq!(memory.read(9_998..10_000).unwrap(), [bytes[9_998], b'!']);
    memory.fill(7);
    assert_eq!(memory.to_vec(), vec![7; 10_000]);
}

#[test]
fn ranges_beyond_the_end_copy_nothing() {
    let memory = SharedMemory::new(10).unwrap();
    memory.fill(1);
    let out = |start, end| Err(RangeError::OutOfRange { start, end, len: 10 });
    assert_eq!(memory.write_at(8, &[2; 3]), out(8, 11));
    assert_eq!(memory.write_at(11, &[]), out(11, 11));
    assert_eq!(memory.write_at(usize::MAX, &[2; 2]), out(usize::MAX, usize::MAX));
    let mut into = [3; 11];
    assert_eq!(memory.read_at(0, &mut into), out(0, 11));
    assert_eq!(into, [3; 11]);
    assert_eq!(memory.read(5..11).unwrap_err(), out(5, 11).unwrap_err());
    // An end before the start, and one that would take more memory than there is.
    let (start, end) = (5, 4);
    assert!(memory.read(start..end).is_err());
    assert!(memory.read(0..usize::MAX).is_err());
    assert_eq!(memory.to_vec(), [1; 10]);
    assert_eq!(memory.write_at(10, &[]), Ok(()));
}

#[test]
fn no_bytes_at_all() {
    let named = SharedMemory::create(&name("none"), 0).unwrap();
    for memory in [SharedMemory::new(0).unwrap(), SharedMemory::open(&name("none")).unwrap(), named] {
        memory.fill(1);
        assert!(memory.is_empty() && memory.to_vec().is_empty());
        assert!(memory.write_at(0, &[1]).is_err());
        assert_eq!(memory.read_at(0, &mut []), Ok(()));
    }
}

#[test]
fn sizes_above_the_limit_are_errors() {
    for len in [MAPPING_BYTES_MAX + 1, usize::MAX - 7, usize::MAX] {
        assert!(matches!(SharedMemory::new(len), Err(MemoryError::NoSpace { .. })), "{len}");
        let named = SharedMemory::create(&name("large"), len);
        assert!(matches!(named, Err(NameError::Memory(MemoryError::NoSpace { .. }))), "{len}");
    }
    // With a name, the header counts as well.
    let named = SharedMemory::create(&name("large"), MAPPING_BYTES_MAX - HEADER_BYTES + 1);
    assert!(matches!(named, Err(NameError::Memory(MemoryError::NoSpace { .. }))));
}

#[test]
fn an_array_of_bytes_is_another_kind_of_object() {
    let memory = SharedMemory::create(&name("memory"), 8).unwrap();
    let array = RawArray::<u8>::create(&name("array"), 8).unwrap();
    assert!(matches!(RawArray::<u8>::open(&name("memory")), Err(NameError::WrongType { .. })));
    assert!(matches!(SharedMemory::open(&name("array")), Err(NameError::WrongType { .. })));
    drop((memory, array));
    assert_eq!(SharedMemory::open(&name("memory")).unwrap_err(), NameError::NotFound);
}
