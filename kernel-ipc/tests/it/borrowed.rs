//! Borrowed forms of values can be put and sent, and have the same encoding.

use std::borrow::Cow;
use std::ffi::{CString, OsString};
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kernel_ipc::{JoinableQueue, Queue, SameBytes, SimpleQueue, Wire, duplex, pipe};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Puts and sends `borrowed` where `owned` is expected.
#[track_caller]
fn same<Q, T>(borrowed: &Q, owned: T)
where
    Q: Serialize + ?Sized,
    T: Serialize + DeserializeOwned + PartialEq + Debug,
    Wire: SameBytes<Q, T>,
{
    let queue = Queue::<T>::new().unwrap();
    queue.put(borrowed).unwrap();
    queue.put::<T>(&owned).unwrap();
    let bytes = queue.get_bytes().unwrap();
    assert_eq!(bytes, queue.get_bytes().unwrap(), "{owned:?}");
    queue.put(borrowed).unwrap();
    assert_eq!(queue.get().unwrap(), owned);
    let (tx, rx) = pipe::<T>().unwrap();
    tx.send(borrowed).unwrap();
    assert_eq!(rx.recv().unwrap(), owned);
}

#[test]
fn every_borrowed_form_is_the_same_bytes() {
    let text = "wörter".to_owned();
    for text in [text, String::new(), "x".repeat(300)] {
        same(text.as_str(), text.clone());
        same(&text.as_str(), text.clone());
        same(&&text, text.clone());
        same(&Box::<str>::from(text.as_str()), text.clone());
        same(&Cow::from(text.as_str()), text.clone());
        same(text.as_str(), Box::<str>::from(text.as_str()));
        same(text.as_str(), Rc::<str>::from(text.as_str()));
        same(text.as_str(), Arc::<str>::from(text.as_str()));
        same(&text.as_str(), Arc::<str>::from(text.as_str()));
        same(text.as_str(), Cow::<str>::Owned(text.clone()));
        same(Path::new(&text), PathBuf::from(&text));
        same(&Path::new(&text), PathBuf::from(&text));
        same(text.as_str(), PathBuf::from(&text));
        let (raw, c) = (OsString::from(&text), CString::new(text.as_str()).unwrap());
        same(raw.as_os_str(), raw.clone());
        same(c.as_c_str(), c.clone());
    }
    for numbers in [vec![], vec![1_u32], vec![7; 200]] {
        same(&numbers[..], numbers.clone());
        same(&&numbers[..], numbers.clone());
        same(&&numbers, numbers.clone());
        same(&numbers.clone().into_boxed_slice(), numbers.clone());
        same(&numbers[..], numbers.clone().into_boxed_slice());
        same(&&numbers[..], Rc::<[u32]>::from(&numbers[..]));
        same(&numbers[..], Arc::<[u32]>::from(&numbers[..]));
        same(&numbers[..], Cow::<[u32]>::Owned(numbers.clone()));
        same(&&numbers[..], Cow::<[u32]>::Owned(numbers.clone()));
    }
    same(&["a", "b"][..], vec!["a".to_owned(), "b".to_owned()]);
    same(&[&[1_u8][..], &[]][..], vec![vec![1_u8], vec![]]);
    same(&["a"][..], Box::<[Arc<str>]>::from(["a".into()]));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Word(String);

// A program may declare a borrowed form for its own type.
impl SameBytes<str, Word> for Wire {}

#[test]
fn a_type_of_a_program_may_have_a_borrowed_form() {
    same("word", Word("word".to_owned()));
}

#[test]
fn every_way_of_putting_takes_borrowed_forms() {
    let second = Duration::from_secs(1);
    let queue = Queue::<String>::new().unwrap();
    queue.put("1").unwrap();
    queue.try_put("2").unwrap();
    queue.put_timeout("3", second).unwrap();
    queue.put_many(["4", "5"]).unwrap();
    queue.put_many(&["6".to_owned()]).unwrap();
    queue.put_many(&["7"]).unwrap();
    let got: Vec<String> = queue.get_many(9).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(got, ["1", "2", "3", "4", "5", "6", "7"]);

    let tasks = JoinableQueue::<Vec<u8>>::new().unwrap();
    tasks.put(&b"1"[..]).unwrap();
    tasks.try_put(&b"2"[..]).unwrap();
    tasks.put_timeout(&b"3"[..], second).unwrap();
    tasks.put_many([&b"4"[..]]).unwrap();
    for task in [b"1", b"2", b"3", b"4"] {
        assert_eq!(tasks.try_get().unwrap().done(), task);
    }

    let simple = SimpleQueue::<PathBuf>::new().unwrap();
    simple.put(Path::new("/tmp")).unwrap();
    assert_eq!(simple.get().unwrap(), Path::new("/tmp"));

    let (one, other) = duplex::<String, Vec<u32>>().unwrap();
    one.send("1").unwrap();
    one.try_send("2").unwrap();
    one.send_timeout("3", second).unwrap();
    other.send(&[1, 2][..]).unwrap();
    let received = [other.recv(), other.recv(), other.recv()].map(Result::unwrap);
    assert_eq!(received, ["1", "2", "3"]);
    assert_eq!(one.recv().unwrap(), [1, 2]);
}

/// Types that appear only once in a program are still inferred.
#[test]
fn types_are_inferred_in_both_directions() {
    let queue = Queue::<u8>::new().unwrap();
    queue.put(&5).unwrap();
    queue.put(&"6".parse().unwrap()).unwrap();
    queue.put(&7_u16.try_into().unwrap()).unwrap();
    queue.put(&Default::default()).unwrap();
    queue.put(&Box::new(8)).unwrap(); // by deref
    queue.put_many(&[]).unwrap();
    let sum: u32 = queue.get_many(9).unwrap().map(|item| u32::from(item.unwrap())).sum();
    assert_eq!(sum, 5 + 6 + 7 + 8);

    let queue = Queue::new().unwrap();
    queue.put(&(5_u32, "five".to_owned())).unwrap();
    assert_eq!(queue.get().unwrap().1, "five");
    let (tx, rx) = pipe().unwrap();
    tx.send(&Some(1.5)).unwrap();
    assert_eq!(rx.recv().unwrap(), Some(1.5));
}

/// Code that is generic over its items still compiles.
fn put_all<T: Serialize>(queue: &Queue<T>, items: &[T]) {
    for item in items {
        queue.put(item).unwrap();
    }
    queue.put_many(items).unwrap();
}

#[test]
fn generic_code_puts_its_items() {
    let queue = Queue::new().unwrap();
    put_all(&queue, &[1, 2]);
    assert_eq!(queue.len(), 4);
}
