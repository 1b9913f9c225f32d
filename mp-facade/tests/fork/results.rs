//! The results of `join`: values of any serde type, panics, and errors on their way.

use std::collections::BTreeMap;
use std::time::Duration;

use mp::{ExitError, PANIC_MESSAGE_BYTES_MAX, RESULT_BYTES_MAX};
use mp_sys::testing::leaks::Snapshot;
use mp_sys::testing::{PATIENCE, eventually, hang, tests};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

tests! {
    values_of_many_types,
    a_value_can_be_joined_again_and_by_several_threads,
    panic_messages,
    a_panic_message_at_the_limit_and_one_above,
    a_result_at_the_limit_and_one_above,
    no_space_for_the_result,
    values_that_do_not_serialize,
    results_that_nobody_can_decode,
    borrowed_locals_and_shared_objects,
    a_result_never_reaches_another_child,
    large_results_give_their_memory_back,
}

fn quiet() {
    std::panic::set_hook(Box::new(|_| {}));
}

fn joined<R: Serialize + serde::de::DeserializeOwned>(body: impl FnOnce() -> R) -> Result<R, ExitError> {
    let child = mp::fork(body).unwrap();
    let joined = child.join_timeout(PATIENCE).transpose();
    joined.unwrap_or_else(|| panic!("child {} still runs", child.pid()))
}

fn values_of_many_types() {
    assert_eq!(joined(|| ()), Ok(()));
    assert_eq!(joined(|| 42_u64), Ok(42));
    assert_eq!(joined(|| "text".to_owned()), Ok("text".to_owned()));
    assert_eq!(joined(|| Some(vec![1.5, f64::INFINITY])), Ok(Some(vec![1.5, f64::INFINITY])));
    assert_eq!(joined(|| Err::<u8, _>("a failure".to_owned())), Ok(Err("a failure".to_owned())));
    let words = || BTreeMap::from([("a".to_owned(), (1, 'x')), ("b".to_owned(), (2, 'y'))]);
    assert_eq!(joined(words), Ok(words()));
}

fn a_value_can_be_joined_again_and_by_several_threads() {
    let child = mp::fork(|| vec![7; 1000]).unwrap();
    std::thread::scope(|scope| {
        let joins =
            [(); 2].map(|()| std::thread::Builder::new().spawn_scoped(scope, || child.join()).unwrap());
        for join in joins {
            assert_eq!(join.join().unwrap(), Ok(vec![7; 1000]));
        }
    });
    assert_eq!(child.join(), Ok(vec![7; 1000]));
    assert_eq!(child.try_join(), Ok(Some(vec![7; 1000])));
    assert_eq!(child.join_timeout(Duration::ZERO), Ok(Some(vec![7; 1000])));
}

fn panic_messages() {
    quiet();
    let panicked = |message: &str| Err::<(), _>(ExitError::Panicked(message.to_owned()));
    assert_eq!(joined(|| panic!("plain")), panicked("plain"));
    assert_eq!(joined(|| panic!("number {}", 5)), panicked("number 5"));
    assert_eq!(joined(|| std::panic::panic_any(17)), panicked("(a panic without a message)"));
    let error = joined(|| assert_eq!(1, 2)).unwrap_err().to_string();
    assert!(error.starts_with("the child panicked: assertion `left == right` failed"), "{error}");
}

fn a_panic_message_at_the_limit_and_one_above() {
    quiet();
    let length_of = |length: usize| match joined(|| -> () { panic!("{}", "x".repeat(length)) }) {
        Err(ExitError::Panicked(message)) => message.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(length_of(PANIC_MESSAGE_BYTES_MAX), PANIC_MESSAGE_BYTES_MAX);
    assert_eq!(length_of(PANIC_MESSAGE_BYTES_MAX + 1), PANIC_MESSAGE_BYTES_MAX);
}

fn a_result_at_the_limit_and_one_above() {
    // postcard writes the length of a string of this size in 4 bytes.
    let fits = RESULT_BYTES_MAX - 4;
    assert_eq!(joined(|| "x".repeat(fits)).map(|text| text.len()), Ok(fits));
    let too_large = ExitError::ResultTooLarge { bytes: RESULT_BYTES_MAX + 1, limit: RESULT_BYTES_MAX };
    assert_eq!(joined(|| "x".repeat(fits + 1)), Err(too_large));
}

fn no_space_for_the_result() {
    mp::set_memory_limit(Some(1 << 20));
    assert_eq!(joined(|| vec![1_u8; 1 << 19]).map(|bytes| bytes.len()), Ok(1 << 19));
    assert!(matches!(joined(|| vec![1_u8; 1 << 20]), Err(ExitError::NoSpaceForResult { .. })));
}

struct Stubborn {
    when: &'static str,
}

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.when {
            "serialize" => Err(serde::ser::Error::custom("no")),
            "panic" => panic!("while serializing"),
            _ => serializer.serialize_u8(1),
        }
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u8::deserialize(deserializer)?;
        Err(serde::de::Error::custom("not this one"))
    }
}

fn values_that_do_not_serialize() {
    quiet();
    let error = |when| joined(|| Stubborn { when }).map(|_| ()).unwrap_err();
    assert_eq!(error("serialize"), ExitError::Encode("no".to_owned()));
    assert_eq!(error("deserialize"), ExitError::Decode("not this one".to_owned()));
    assert_eq!(error("panic"), ExitError::Panicked("while serializing".to_owned()));
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u32),
}

#[derive(Serialize, Deserialize)]
struct Sparse {
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<u8>,
    number: u32,
}

fn results_that_nobody_can_decode() {
    let untagged = joined(|| Untagged::Number(1)).map(|Untagged::Number(number)| number);
    let Err(ExitError::Decode(reason)) = untagged else { panic!("{untagged:?}") };
    assert!(reason.contains("enums do that are `untagged`"), "{reason}");
    let sparse = joined(|| Sparse { note: None, number: 1 }).map(|sparse| (sparse.note, sparse.number));
    if cfg!(debug_assertions) {
        let Err(ExitError::Encode(reason)) = sparse else { panic!("{sparse:?}") };
        assert!(reason.contains("the field `note` of `Sparse`"), "{reason}");
    }
}

fn borrowed_locals_and_shared_objects() {
    let words = ["a".to_owned(), "bc".to_owned()];
    let total = mp::Value::new(0).unwrap();
    let child = mp::fork(|| {
        total.update(|n| n + words.len()).unwrap();
        // A child starts its own processes.
        mp::fork(|| total.update(|n| n + 10).unwrap()).unwrap().join().map_err(|error| error.to_string())
    });
    assert_eq!(child.unwrap().join(), Ok(Ok(2)));
    assert_eq!(total.get(), Ok(12));
    let waiting = mp::fork(|| hang()).unwrap();
    assert_eq!(waiting.join_timeout(Duration::from_millis(1)), Ok(None::<()>));
    waiting.kill().unwrap();
    assert_eq!(waiting.join(), Err(ExitError::Signaled(9)));
}

/// Handles are dropped while their children run. Late results of these must not appear in the places of later children.
fn a_result_never_reaches_another_child() {
    let before = Snapshot::take();
    let go = mp::RawValue::new(0_u32).unwrap();
    for _ in 0..20 {
        drop(mp::fork(|| {
            eventually("the handle is gone", || go.load() == 1);
            vec!["late"; 1000].concat()
        }));
    }
    let children: Vec<mp::Child<u32>> = (0..20).map(|n| mp::fork(|| n).unwrap()).collect();
    go.store(1);
    for (n, child) in (0..).zip(&children) {
        assert_eq!(child.join(), Ok(n));
    }
    let killed = mp::fork(|| hang()).unwrap();
    killed.kill().unwrap();
    assert_eq!(
        killed.join(),
        Err::<u32, _>(ExitError::Signaled(9)),
        "nothing is left over from another child"
    );
    drop((go, killed, children));
    eventually("the late ones are reaped", || {
        mp_sys::child::reap_abandoned();
        mp::release_unused_memory();
        before.leaked_since().is_none()
    });
}

fn large_results_give_their_memory_back() {
    // 320 MiB in all, of which 20 at a time are needed.
    let own_memory = || {
        let maps = std::fs::read_to_string("/proc/meminfo").unwrap();
        let shared = maps.lines().find_map(|line| line.strip_prefix("Shmem:")).unwrap();
        shared.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap()
    };
    let before = own_memory();
    for _ in 0..16 {
        assert_eq!(joined(|| "x".repeat(20 << 20)).map(|text| text.len()), Ok(20 << 20));
    }
    let grown = own_memory().saturating_sub(before);
    assert!(grown < 200 << 10, "{grown} KiB more shared memory than before, of 320 MiB that passed through");
}
