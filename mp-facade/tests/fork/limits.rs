//! Arguments and results at their limits and one above, for every start method: each limit has the same error for all
//! methods, and the next start works.

use mp::{
    ARGUMENT_BYTES_MAX, ARGUMENT_DESCRIPTORS_MAX, Arguments, Child, Descriptor, ExitError, Method,
    PANIC_MESSAGE_BYTES_MAX, Process, RESULT_BYTES_MAX, StartError,
};
use mp_sys::testing::leaks::Snapshot;
use mp_sys::testing::{PATIENCE, tests};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::METHODS;

tests! {
    the_longest_arguments_and_one_byte_more,
    the_most_descriptors_and_one_more,
    the_longest_result_and_one_byte_more,
    a_panic_message_of_any_length,
    values_that_refuse_to_travel,
}

fn start<A: DeserializeOwned, R: Serialize + DeserializeOwned>(
    method: Method,
    worker: fn(A) -> R,
    args: impl Arguments<A>,
) -> Result<Child<R>, StartError> {
    Process::new().method(method).start(worker, args)
}

#[track_caller]
fn joined<A: DeserializeOwned, R: Serialize + DeserializeOwned>(
    method: Method,
    worker: fn(A) -> R,
    args: impl Arguments<A>,
) -> Result<R, ExitError> {
    let child = start(method, worker, args).unwrap();
    let ended = child.join_timeout(PATIENCE).transpose();
    ended.unwrap_or_else(|| panic!("{method:?}: child {} still runs", child.pid()))
}

/// Checks that nothing is left behind, and that an ordinary start then works.
fn for_each_method(test: impl Fn(Method)) {
    METHODS.into_iter().for_each(|method| assert_eq!(joined(method, |n: u8| n, 1), Ok(1)));
    let before = Snapshot::take();
    for method in METHODS {
        test(method);
        assert_eq!(joined(method, |n: u8| n, 2), Ok(2), "{method:?}");
    }
    mp::release_unused_memory();
    assert!(before.leaked_since().is_none(), "{:?}", before.leaked_since());
}

/// Returns a text with this many bytes in serialized form: postcard writes a length of this size in 4 bytes.
fn text_of(bytes: usize) -> String {
    "x".repeat(bytes - 4)
}

fn the_longest_arguments_and_one_byte_more() {
    for_each_method(|method| {
        let len = |text: String| text.len();
        assert_eq!(joined(method, len, text_of(ARGUMENT_BYTES_MAX)), Ok(ARGUMENT_BYTES_MAX - 4));
        let refused = start(method, len, text_of(ARGUMENT_BYTES_MAX + 1)).unwrap_err();
        let bytes = ARGUMENT_BYTES_MAX + 1;
        assert_eq!(refused, StartError::ArgumentsTooLarge { bytes, limit: ARGUMENT_BYTES_MAX }, "{method:?}");
        assert!(refused.to_string().ends_with(": share an Array instead"), "{refused}");
    });
}

fn the_most_descriptors_and_one_more() {
    let (reads, _writes) = std::io::pipe().unwrap();
    let many =
        |count| (0..count).map(|_| Descriptor::from(reads.try_clone().unwrap())).collect::<Vec<Descriptor>>();
    for_each_method(|method| {
        let count = |files: Vec<Descriptor>| files.len();
        let most = joined(method, count, many(ARGUMENT_DESCRIPTORS_MAX));
        assert_eq!(most, Ok(ARGUMENT_DESCRIPTORS_MAX), "{method:?}");
        let refused = start(method, count, many(ARGUMENT_DESCRIPTORS_MAX + 1)).unwrap_err();
        assert_eq!(refused, StartError::TooManyDescriptors, "{method:?}");
        assert!(refused.to_string().ends_with(": send some through a pipe"), "{refused}");
    });
}

fn the_longest_result_and_one_byte_more() {
    for_each_method(|method| {
        let longest = joined(method, text_of, RESULT_BYTES_MAX);
        assert_eq!(longest.map(|text| text.len()), Ok(RESULT_BYTES_MAX - 4), "{method:?}");
        let bytes = RESULT_BYTES_MAX + 1;
        let too_large = joined(method, text_of, bytes).unwrap_err();
        assert_eq!(too_large, ExitError::ResultTooLarge { bytes, limit: RESULT_BYTES_MAX }, "{method:?}");
        assert!(too_large.to_string().ends_with(": share an Array instead"), "{too_large}");
    });
}

fn panic_with(bytes: usize) {
    std::panic::set_hook(Box::new(|_| {}));
    panic!("{}", "x".repeat(bytes));
}

fn a_panic_message_of_any_length() {
    for_each_method(|method| {
        let most = PANIC_MESSAGE_BYTES_MAX;
        for (said, told) in [(0, 0), (most, most), (most + 1, most), (100 << 20, most)] {
            let panicked = joined(method, panic_with, said);
            assert_eq!(panicked, Err(ExitError::Panicked("x".repeat(told))), "{method:?} {said}");
        }
    });
}

/// A type that refuses to be serialized or deserialized.
struct Stubborn<const SERIALIZES: bool>;

impl<const SERIALIZES: bool> Serialize for Stubborn<SERIALIZES> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if SERIALIZES { serializer.serialize_unit() } else { Err(serde::ser::Error::custom("no")) }
    }
}

impl<'de, const SERIALIZES: bool> Deserialize<'de> for Stubborn<SERIALIZES> {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("not this one"))
    }
}

fn values_that_refuse_to_travel() {
    for_each_method(|method| {
        let refused = start(method, |_: Stubborn<false>| (), Stubborn).unwrap_err();
        assert!(matches!(&refused, StartError::Encode(why) if why == "no"), "{method:?}: {refused}");
        let refused = joined(method, |_: Stubborn<true>| (), Stubborn);
        assert_eq!(refused, Err(ExitError::Arguments("not this one".to_owned())), "{method:?}");
        let refused = joined(method, |()| Stubborn::<false>, ()).map(drop);
        assert_eq!(refused, Err(ExitError::Encode("no".to_owned())), "{method:?}");
        let refused = joined(method, |()| Stubborn::<true>, ()).map(drop);
        assert_eq!(refused, Err(ExitError::Decode("not this one".to_owned())), "{method:?}");
    });
}
