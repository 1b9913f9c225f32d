//! Arguments and results at their limits, one above them, and of the wrong kind.

use mp::{
    ARGUMENT_BYTES_MAX, ARGUMENT_DESCRIPTORS_MAX, Descriptor, ExitError, RESULT_BYTES_MAX, StartError, Value,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The bytes that postcard puts before this many.
fn prefix_bytes(mut len: usize) -> usize {
    let mut bytes = 1;
    while len >= 128 {
        len >>= 7;
        bytes += 1;
    }
    bytes
}

#[test]
fn the_longest_arguments_and_one_byte_more() {
    let longest = ARGUMENT_BYTES_MAX - prefix_bytes(ARGUMENT_BYTES_MAX);
    let text = "x".repeat(longest);
    assert_eq!(mp::spawn(|text: String| text.len(), text.clone()).unwrap().join(), Ok(longest));
    let refused = mp::spawn(|text: String| text.len(), text + "x").unwrap_err();
    let bytes = ARGUMENT_BYTES_MAX + 1;
    assert_eq!(refused, StartError::ArgumentsTooLarge { bytes, limit: ARGUMENT_BYTES_MAX });
}

#[test]
fn the_longest_result_and_one_byte_more() {
    let longest = RESULT_BYTES_MAX - prefix_bytes(RESULT_BYTES_MAX);
    let result = |len: usize| mp::spawn(|len: usize| "x".repeat(len), len).unwrap().join();
    assert_eq!(result(longest).unwrap().len(), longest);
    let bytes = RESULT_BYTES_MAX + 1;
    assert_eq!(result(longest + 1), Err(ExitError::ResultTooLarge { bytes, limit: RESULT_BYTES_MAX }));
}

#[test]
fn the_most_descriptors_and_one_more() {
    let (reads, _writes) = std::io::pipe().unwrap();
    let many =
        |count| (0..count).map(|_| Descriptor::from(reads.try_clone().unwrap())).collect::<Vec<Descriptor>>();
    let count = mp::spawn(|files: Vec<Descriptor>| files.len(), many(ARGUMENT_DESCRIPTORS_MAX)).unwrap();
    assert_eq!(count.join(), Ok(ARGUMENT_DESCRIPTORS_MAX));
    let refused = mp::spawn(|files: Vec<Descriptor>| files.len(), many(ARGUMENT_DESCRIPTORS_MAX + 1));
    assert_eq!(refused.unwrap_err(), StartError::TooManyDescriptors);
}

/// Goes one way only.
struct OneWay<const ENCODES: bool>;

impl<const ENCODES: bool> Serialize for OneWay<ENCODES> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if ENCODES { serializer.serialize_unit() } else { Err(serde::ser::Error::custom("never")) }
    }
}

impl<'de, const ENCODES: bool> Deserialize<'de> for OneWay<ENCODES> {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("never"))
    }
}

#[test]
fn arguments_that_refuse_to_travel() {
    let refused = mp::spawn(|_: OneWay<false>| (), OneWay).unwrap_err();
    assert!(matches!(refused, StartError::Encode(_)), "{refused}");
    let error = mp::spawn(|_: OneWay<true>| (), OneWay).unwrap().join().unwrap_err();
    assert!(matches!(error, ExitError::Arguments(_)), "{error}");
}

#[test]
fn a_shared_object_in_a_result_is_told_the_way() {
    let error = mp::spawn(|n: u32| Value::new(n).unwrap(), 1).unwrap().join().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the child's value could not be serialized: bytes alone carry no shared object, queue, end of a pipe or \
         descriptor: send it through a pipe or connection, or give it to a process as an argument; of an object with a \
         name, the name is enough"
    );
}
