//! Keys and values in their borrowed forms.

use std::path::{Path, PathBuf};

use crate::conformance::{Fixture, PATIENCE, has_queue_transactions, tests};
use crate::{Array, Value};

tests! {
    [Dict] {
        dicts_take_borrowed_keys_and_values,
    }
    [List] {
        lists_take_borrowed_items,
    }
    [Array, Value] {
        arrays_and_values_take_borrowed_forms,
    }
    [Queue, JoinableQueue] {
        queues_take_borrowed_items,
    }
    [Namespace] {
        attributes_are_stored_in_their_owned_form,
    }
    [Dict, List, Queue, JoinableQueue, Value, Array, Namespace] {
        batches_take_borrowed_forms,
    }
}

fn dicts_take_borrowed_keys_and_values(fixture: &dyn Fixture) {
    let dict = fixture.client().dict::<String, Vec<u32>>().unwrap();
    dict.insert("a", &[1, 2][..]).unwrap();
    dict.insert(&"b".to_owned(), &vec![3]).unwrap();
    assert_eq!(dict.get("b"), Ok(Some(vec![3])));
    assert_eq!(dict.get(&"a".to_owned()), Ok(Some(vec![1, 2])), "both forms are one key");
    assert_eq!(dict.contains_key("c"), Ok(false));
    assert_eq!(dict.replace("b", &[4][..]), Ok(Some(vec![3])));
    assert_eq!(dict.insert_new("b", &[5][..]), Ok(Err(vec![4])));
    assert_eq!(dict.get_or_insert("c", &[6][..]), Ok(vec![6]));
    assert_eq!(dict.compare_exchange("c", Some(&[6][..]), None), Ok(Ok(())));
    assert_eq!(dict.compare_exchange("c", None, Some(&[7][..])), Ok(Ok(())));
    assert_eq!(dict.remove("c"), Ok(Some(vec![7])));
    dict.extend([("d", &[8][..]), ("e", &[])]).unwrap();
    dict.update("e", |numbers| numbers.map(|numbers| [numbers, vec![9]].concat())).unwrap();
    assert_eq!(dict.keys().unwrap(), ["a", "b", "d", "e"]);
    assert_eq!(dict.values().unwrap(), [vec![1, 2], vec![4], vec![8], vec![9]]);

    let counts = fixture.client().dict::<PathBuf, u64>().unwrap();
    counts.fetch_add(Path::new("/a"), 2).unwrap();
    counts.add_many([(Path::new("/a"), 3), (Path::new("/b"), 4)]).unwrap();
    assert_eq!(counts.items().unwrap(), [("/a".into(), 5), ("/b".into(), 4)]);
}

fn lists_take_borrowed_items(fixture: &dyn Fixture) {
    let list = fixture.client().list::<String>().unwrap();
    list.push("b").unwrap();
    list.extend(["c", "d"]).unwrap();
    list.extend(&["e"]).unwrap();
    list.extend(&["f".to_owned()]).unwrap();
    list.insert(0, "a").unwrap();
    list.set(5, "F").unwrap();
    assert_eq!(list.replace(4, "E").unwrap(), "e");
    assert_eq!(list.compare_exchange(3, "d", &"D".to_owned()), Ok(Ok(())));
    assert_eq!(list.index_of("c"), Ok(Some(2)));
    assert_eq!((list.contains("C"), list.count("c")), (Ok(false), Ok(1)));
    assert_eq!(list.remove_value("c"), Ok(Some(2)));
    assert_eq!(list.to_vec().unwrap(), ["a", "b", "D", "E", "F"]);
}

fn arrays_and_values_take_borrowed_forms(fixture: &dyn Fixture) {
    let client = fixture.client();
    let array: Array<String> = client.array(["a", "b", "c"]).unwrap();
    array.set(0, "A").unwrap();
    array.write(1, ["B", "C"]).unwrap();
    assert_eq!(array.replace(2, "d").unwrap(), "C");
    assert_eq!(array.compare_exchange(1, "B", "c"), Ok(Ok(())));
    assert_eq!(array.to_vec().unwrap(), ["A", "c", "d"]);

    let value: Value<String> = client.named("value").value("a").unwrap();
    assert_eq!(client.named("value").value(&String::new()).unwrap().get().unwrap(), "a");
    value.set("b").unwrap();
    assert_eq!(value.replace("c").unwrap(), "b");
    assert_eq!(value.compare_exchange("c", &"d".to_owned()), Ok(Ok(())));
    assert_eq!(value.get().unwrap(), "d");
    let numbers: Value<Vec<u8>> = client.value(&[1, 2][..]).unwrap();
    numbers.set(&[3][..]).unwrap();
    assert_eq!(numbers.get().unwrap(), [3]);
}

fn queues_take_borrowed_items(fixture: &dyn Fixture) {
    let queue = fixture.client().queue::<String>().unwrap();
    queue.put("a").unwrap();
    queue.try_put("b").unwrap();
    queue.put_timeout("c", PATIENCE).unwrap();
    assert_eq!(queue.get_many(9).unwrap(), ["a", "b", "c"]);

    let tasks = fixture.client().joinable_queue::<Vec<u8>>().unwrap();
    tasks.put(&[1][..]).unwrap();
    tasks.try_put(&[2][..]).unwrap();
    tasks.put_timeout(&[3][..], PATIENCE).unwrap();
    let puts_many = fixture.caps().puts_many;
    if puts_many {
        queue.put_many(["d", "e"]).unwrap();
        assert_eq!(queue.get_many(9).unwrap(), ["d", "e"]);
        tasks.put_many([&[4][..]]).unwrap();
    }
    for number in 1..=if puts_many { 4 } else { 3 } {
        assert_eq!(tasks.try_get().unwrap().done().unwrap(), [number]);
    }
}

fn attributes_are_stored_in_their_owned_form(fixture: &dyn Fixture) {
    let space = fixture.client().namespace().unwrap();
    space.set("text", "a").unwrap();
    space.set("numbers", &[1_u16, 2][..]).unwrap();
    space.set("_private", "b").unwrap();
    assert_eq!(space.get::<String>("text").unwrap(), "a");
    assert_eq!(space.get::<Vec<u16>>("numbers").unwrap(), [1, 2]);
    assert_eq!(space.get::<String>("_private").unwrap(), "b");
}

fn batches_take_borrowed_forms(fixture: &dyn Fixture) {
    let client = fixture.client();
    let (dict, list) = (client.dict::<String, String>().unwrap(), client.list::<String>().unwrap());
    let (queue, tasks) = (client.queue::<String>().unwrap(), client.joinable_queue::<String>().unwrap());
    let (value, array) = (client.value("v").unwrap(), client.array(["x"]).unwrap());
    let space = client.namespace().unwrap();
    if !has_queue_transactions(&client) {
        return;
    }
    let outcome = client.transaction(|t| {
        let before = (t.on(&dict).insert("a", "1"), t.on(&dict).claim("b", "2"), t.on(&list).push("l"));
        let put = (t.on(&queue).try_put("q"), t.on(&tasks).try_put("t"), t.on(&space).set("name", "n"));
        let set = (t.on(&value).replace("w"), t.on(&array).replace(0, "y"));
        let swaps = (
            t.on(&dict).compare_exchange("a", Some("1"), Some("3")),
            t.on(&list).compare_exchange(0, "l", "m"),
            t.on(&value).compare_exchange("w", "z"),
        );
        (before, put, set, swaps, t.on(&dict).get("a"))
    });
    let (.., set, swaps, found) = outcome.unwrap();
    assert_eq!(set, ("v".to_owned(), "x".to_owned()));
    assert_eq!(swaps, (Ok(()), Ok(()), Ok(())));
    assert_eq!(found.as_deref(), Some("3"));
    assert_eq!(dict.remove("b").unwrap().as_deref(), Some("2"));
    assert_eq!((list.to_vec().unwrap(), value.get().unwrap()), (vec!["m".to_owned()], "z".to_owned()));
    assert_eq!(
        (queue.get().unwrap(), tasks.get().unwrap().done().unwrap()),
        ("q".to_owned(), "t".to_owned())
    );
    assert_eq!((array.get(0).unwrap(), space.get("name").unwrap()), ("y".to_owned(), "n".to_owned()));
}
