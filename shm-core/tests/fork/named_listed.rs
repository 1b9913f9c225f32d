//! `named::list`: existing objects and their holders, and headers that were changed.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use mp_sys::testing::{eventually, hang, kill, spawn, tests};
use shm_core::named::NamedObject;
use shm_core::{Array, Lock, NameError, RawArray, RawValue, SharedMemory, Value, named};

tests! {
    the_list_says_what_exists,
    the_list_says_who_holds_it,
    every_kind_has_its_name_in_the_list,
    lengths_in_a_header_are_claims,
    texts_in_a_header_are_claims,
    an_error_shows_claims_cut_and_escaped,
}

fn name(of: &str) -> String {
    format!("test-{}-{of}", own_pid())
}

fn own_pid() -> u32 {
    rustix::process::getpid().as_raw_nonzero().get().unsigned_abs()
}

fn find(name: &str) -> Option<NamedObject> {
    named::list().into_iter().find(|object| object.name == name)
}

fn the_list_says_what_exists() {
    let names = ["array", "lock"].map(name);
    let [array_name, lock_name] = &names;
    let array = Array::<[u16; 3]>::create(array_name, 5000).unwrap();
    let lock = Lock::create(lock_name).unwrap();
    let found = find(array_name).unwrap();
    assert_eq!((found.kind, found.element.as_deref()), ("Array", Some("[u16; 3]")));
    assert!(found.bytes >= 30_000 + 4096 && found.bytes < 50_000, "{} bytes", found.bytes);
    assert!(found.age.unwrap() < Duration::from_secs(600));
    assert!(!found.is_persistent);
    let found = find(lock_name).unwrap();
    assert_eq!((found.kind, found.element), ("Lock", None));
    lock.persist().unwrap();
    drop((array, lock));
    assert_eq!(find(array_name), None);
    let found = find(lock_name).unwrap();
    assert_eq!((found.is_persistent, &*found.holders), (true, &[][..]));
    let line = found.to_string();
    assert!(line.contains("Lock") && line.contains("persistent") && line.contains("no holder"), "{line}");
    named::unlink(lock_name).unwrap();
    let all = named::list();
    assert!(all.is_sorted_by(|one, other| one.name <= other.name));
}

fn the_list_says_who_holds_it() {
    let name = name("held");
    let value = Value::create(&name, 1_u8).unwrap();
    assert_eq!(find(&name).unwrap().holders, [own_pid()]);
    let opened = RawValue::new(0_u32).unwrap();
    // One process inherited it, and the other one opened it by name.
    let heir = spawn(|| {
        opened.fetch_add(1);
        hang();
    });
    let opener = spawn(|| {
        let _second = (Value::<u8>::open(&name).unwrap(), Value::<u8>::open(&name).unwrap());
        opened.fetch_add(1);
        hang();
    });
    eventually("both have it", || opened.load() == 2);
    let mut expected = vec![own_pid(), heir.id(), opener.id()];
    expected.sort_unstable();
    let found = find(&name).unwrap();
    assert_eq!(found.holders, expected);
    assert!(found.to_string().contains("Value<u8>, 8192 bytes, made "), "{found}");
    drop(value);
    kill(&opener);
    assert_eq!(find(&name).unwrap().holders, [heir.id()]);
    kill(&heir);
    assert_eq!(find(&name), None, "the last holder was killed");
}

fn every_kind_has_its_name_in_the_list() {
    let name = name("kind");
    macro_rules! kinds {
        ($($kind:ident $(<$element:ty>)? ($($argument:expr),*);)*) => {$(
            let made = shm_core::$kind$(::<$element>)?::create(&name $(, $argument)*).unwrap();
            assert_eq!(find(&name).unwrap().kind, stringify!($kind));
            drop(made);
        )*};
    }
    kinds! {
        Value<u8>(1);
        Array<u8>(1);
        RawValue<u8>(1);
        RawArray<u8>(1);
        SharedMemory(1);
        RwLock<u8>(1);
        Lock();
        RLock();
        Semaphore(1);
        BoundedSemaphore(1);
        Event();
        Condition();
        Barrier(1);
    }
}

/// Overwrites 8 bytes of a file's header.
fn forge(name: &str, at: u64, word: u64) {
    let file = std::fs::File::options().write(true).open(format!("/dev/shm/mp.{name}")).unwrap();
    file.write_all_at(&word.to_ne_bytes(), at).unwrap();
}

/// The offsets of the number of elements and of the length of the type's name.
const LEN_AT: u64 = 32;
const NAME_BYTES_AT: u64 = 56;

fn lengths_in_a_header_are_claims() {
    let names = ["memory", "array", "raw-array"].map(name);
    let [memory, array, raw_array] = &names;
    let _made = (
        SharedMemory::create(memory, 100).unwrap(),
        Array::<u64>::create(array, 100).unwrap(),
        RawArray::<u64>::create(raw_array, 100).unwrap(),
    );
    for len in [5000, 1 << 40, u64::MAX / 8, u64::MAX] {
        names.iter().for_each(|name| forge(name, LEN_AT, len));
        assert_eq!(SharedMemory::open(memory).unwrap_err(), NameError::WrongVersion, "{len}");
        assert_eq!(Array::<u64>::open(array).unwrap_err(), NameError::WrongVersion, "{len}");
        assert_eq!(RawArray::<u64>::open(raw_array).unwrap_err(), NameError::WrongVersion, "{len}");
        let refused = SharedMemory::open_or_create(memory, 100).unwrap_err();
        assert_eq!(refused, NameError::WrongVersion, "{len}");
    }
    // As many as fit.
    forge(memory, LEN_AT, 4096);
    assert_eq!(SharedMemory::open(memory).unwrap().to_vec().len(), 4096);
}

fn texts_in_a_header_are_claims() {
    let name = name("text");
    let _value = Value::create(&name, 1_u8).unwrap();
    for bytes in [0, 1, 257, 4096, 1 << 40, u64::MAX] {
        forge(&name, NAME_BYTES_AT, bytes);
        assert!(find(&name).unwrap().element.unwrap().len() <= 256, "{bytes}");
    }
    forge(&name, NAME_BYTES_AT, 8);
    forge(&name, NAME_BYTES_AT + 8, u64::MAX);
    assert_eq!(find(&name).unwrap().element.unwrap(), "\u{fffd}".repeat(8), "no UTF-8");
    // A time in the future, and a kind that does not exist.
    forge(&name, 48, u64::MAX);
    forge(&name, 16, 99);
    let found = find(&name).unwrap();
    assert_eq!((found.age, found.kind), (None, "unknown"));
    // No segment of this build.
    forge(&name, 8, 1);
    assert_eq!(find(&name), None);
    assert!(named::names().contains(&name));
}

fn an_error_shows_claims_cut_and_escaped() {
    let name = name("claim");
    let _value = Value::create(&name, 1_u8).unwrap();
    let found = || match Lock::open(&name).unwrap_err() {
        NameError::WrongType { found, expected, .. } if expected == "Lock" => found,
        other => panic!("{other}"),
    };
    assert_eq!(found(), "Value<u8>");
    for bytes in [257, 4096, 1 << 40, u64::MAX] {
        forge(&name, NAME_BYTES_AT, bytes);
        assert_eq!(found(), format!("Value<u8{}>", r"\0".repeat(254)), "{bytes}");
    }
    forge(&name, NAME_BYTES_AT, 8);
    // It would clear a terminal and begin a line.
    forge(&name, NAME_BYTES_AT + 8, u64::from_ne_bytes(*b"\x1b[2J\nok\xff"));
    assert_eq!(found(), "Value<\\u{1b}[2J\\nok\u{fffd}>");
    // A kind that does not exist.
    forge(&name, 16, 99);
    assert_eq!(found(), "object of an unknown kind");
}
