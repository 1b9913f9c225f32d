//! Two types whose names were chosen so that a hash that is not collision-resistant would be equal.

use mp_sys::travel;
use shm_core::{NameError, Value};

/// With `Value|8|8|` before their names, the two have one hash of FNV-1a in 64 bits: found in some minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
struct T2qwczeh0lo3yk(u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
struct Trie1hic32dsel(u64);

fn fnv_1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[test]
fn names_that_were_chosen_to_collide_are_two_types() {
    let hashes = ["T2qwczeh0lo3yk", "Trie1hic32dsel"].map(|name| fnv_1a(&format!("Value|8|8|{name}")));
    assert_eq!(hashes[0], hashes[1], "else this shows nothing");

    let name = format!("collisions-{}", mp_sys::deadline::now_nanos());
    let value = Value::create(&name, T2qwczeh0lo3yk(5)).unwrap();
    assert!(matches!(Value::<Trie1hic32dsel>::open(&name), Err(NameError::WrongType { .. })));
    drop(value);

    let value = Value::new(T2qwczeh0lo3yk(5)).unwrap();
    let (bytes, luggage) = travel::encode(9, || postcard::to_stdvec(&value).unwrap());
    let arrive = |as_the_other: bool| {
        let files = luggage.descriptors.iter().map(|file| file.try_clone().unwrap()).collect();
        let decode = || match as_the_other {
            true => postcard::from_bytes::<Value<Trie1hic32dsel>>(&bytes).map(drop),
            false => postcard::from_bytes::<Value<T2qwczeh0lo3yk>>(&bytes).map(drop),
        };
        travel::decode(files, decode).0.is_ok()
    };
    assert!(arrive(false));
    assert!(!arrive(true));
}
