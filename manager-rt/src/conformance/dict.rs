//! `Dict`.

use crate::conformance::{Fixture, assert_objects, has_transactions, tests, until_objects};
use crate::limits::{ENTRIES_AT_ONCE_MAX, PAGE_ITEMS_MAX};
use crate::proto::Fault;
use crate::{CallError, Dict, ItemError, Manager, ObjectError, TransactionError, Value};

tests! {
    [Dict] {
        keys_have_values,
        entries_keep_their_order,
        no_update_is_lost,
        adding_to_a_value_that_is_not_a_number_fails,
        many_pages_are_read,
        a_claim_succeeds_once,
        setting_many_at_once_has_a_limit,
    }
    [Dict, Value] {
        entries_keep_the_objects_inside,
    }
    [Dict, List] {
        a_transaction_changes_it_completely_or_not_at_all,
    }
}

type Counts = Dict<String, u64>;

fn counts(client: &Manager) -> Counts {
    client.named("counts").dict().unwrap()
}

fn keys_have_values(fixture: &dyn Fixture) {
    let (dict, other) = (counts(&fixture.client()), counts(&fixture.client()));
    let [a, b] = ["a", "b"].map(str::to_owned);
    dict.insert(&a, &1).unwrap();
    assert_eq!((other.get(&a).unwrap(), other.get(&b).unwrap()), (Some(1), None));
    assert_eq!((other.replace(&a, &2).unwrap(), other.replace(&b, &3).unwrap()), (Some(1), None));
    assert_eq!((dict.insert_new(&a, &9).unwrap(), dict.get_or_insert(&b, &9).unwrap()), (Err(2), 3));
    assert_eq!((dict.remove(&b).unwrap(), dict.remove(&b).unwrap()), (Some(3), None));
    assert_eq!((dict.insert_new(&b, &4).unwrap(), dict.len().unwrap()), (Ok(()), 2));
    assert!(dict.contains_key(&b).unwrap());
    assert_eq!(dict.compare_exchange(&b, Some(&5), None).unwrap(), Err(Some(4)));
    assert_eq!(dict.compare_exchange(&b, None, Some(&5)).unwrap(), Err(Some(4)));
    assert_eq!(dict.compare_exchange(&b, Some(&4), None).unwrap(), Ok(()));
    assert_eq!(dict.compare_exchange(&b, Some(&4), Some(&6)).unwrap(), Err(None));
    assert!(!dict.contains_key(&b).unwrap());
    assert_eq!(dict.compare_exchange(&b, None, Some(&6)).unwrap(), Ok(()));
    assert_eq!(dict.get_or_insert(&"c".to_owned(), &7).unwrap(), 7);
    assert_eq!((dict.delete(&a).unwrap(), dict.delete(&a).unwrap()), (true, false));
    dict.clear().unwrap();
    assert!(other.is_empty().unwrap());
    assert_eq!(other.pop_item().unwrap(), None);
}

fn entries_keep_their_order(fixture: &dyn Fixture) {
    let dict = counts(&fixture.client());
    let [c, a, b] = ["c", "a", "b"].map(str::to_owned);
    dict.extend([(&c, &1), (&a, &2), (&b, &3)]).unwrap();
    dict.insert(&c, &4).unwrap();
    assert_eq!(dict.keys().unwrap(), ["c", "a", "b"]);
    assert_eq!(dict.values().unwrap(), [4, 2, 3]);
    dict.remove(&c).unwrap();
    dict.insert(&c, &5).unwrap();
    let items = [(a.clone(), 2), (b, 3), (c.clone(), 5)];
    assert_eq!(dict.items().unwrap(), items);
    assert_eq!(dict.iter().collect::<Result<Vec<_>, _>>().unwrap(), items);
    assert_eq!(dict.pop_item().unwrap(), Some((c, 5)), "the newest");
    assert_eq!(dict.len().unwrap(), 2);
}

fn no_update_is_lost(fixture: &dyn Fixture) {
    const EACH: u64 = 200;
    let clients = [fixture.client(), fixture.client()];
    let [added, updated, many] = ["added", "updated", "many"].map(str::to_owned);
    std::thread::scope(|scope| {
        for client in &clients {
            scope.spawn(|| {
                let dict = counts(client);
                for _ in 0..EACH {
                    dict.fetch_add(&added, 1).unwrap();
                    dict.update(&updated, |n| Some(n.unwrap_or(0) + 1)).unwrap();
                    dict.add_many([(&many, 1), (&many, 1)]).unwrap();
                }
            });
        }
    });
    let dict = counts(&clients[0]);
    let counts = [&added, &updated, &many].map(|key| dict.get(key).unwrap().unwrap());
    assert_eq!(counts, [2 * EACH, 2 * EACH, 4 * EACH]);
    assert_eq!(dict.update(&added, |_| None).unwrap(), Some(2 * EACH));
    assert_eq!(dict.update(&added, |none| none).unwrap(), None);
    assert!(!dict.contains_key(&added).unwrap());
}

fn adding_to_a_value_that_is_not_a_number_fails(fixture: &dyn Fixture) {
    /// The type has the name of a number, but is not encoded as one.
    mod other {
        #[derive(serde::Serialize)]
        #[expect(non_camel_case_types, reason = "the name is the point")]
        pub(super) struct u64(pub(super) &'static str);
    }

    let client = fixture.client();
    let dict = counts(&client);
    let [text, number] = ["text", "number"].map(str::to_owned);
    client.named("counts").dict::<String, other::u64>().unwrap().insert(&text, &other::u64("many")).unwrap();
    assert_eq!(dict.fetch_add(&number, 2).unwrap(), 0);
    assert_eq!(dict.fetch_add(&text, 1), Err(ItemError::NoNumber));
    assert_eq!(dict.add_many([(&number, 1), (&text, 1)]), Err(ItemError::NoNumber));
    assert_eq!(dict.get(&number).unwrap(), Some(2), "added to all or to none");
}

fn many_pages_are_read(fixture: &dyn Fixture) {
    let dict = fixture.client().dict::<u64, String>().unwrap();
    let entries: Vec<(u64, String)> = (0..PAGE_ITEMS_MAX * 2 + 1).map(|n| (n, format!("{n:>100}"))).collect();
    for some in entries.chunks(ENTRIES_AT_ONCE_MAX) {
        dict.extend(some.iter().map(|(key, value)| (key, value))).unwrap();
    }
    assert_eq!(dict.items().unwrap(), entries);
    assert_eq!(dict.keys().unwrap().len(), entries.len());
    assert_eq!(dict.values().unwrap().len(), entries.len());
    // Entries that are added and removed meanwhile cause no other entry to be missed or repeated.
    let mut seen = Vec::new();
    for (at, entry) in dict.iter().enumerate() {
        let (key, _) = entry.unwrap();
        seen.push(key);
        if at % 1_000 == 0 {
            dict.remove(&key).unwrap();
        }
    }
    assert_eq!(seen, (0..PAGE_ITEMS_MAX * 2 + 1).collect::<Vec<_>>());
}

fn entries_keep_the_objects_inside(fixture: &dyn Fixture) {
    let client = fixture.client();
    let dict = client.dict::<Value<u8>, Value<u8>>().unwrap();
    let [one, two] = [1, 2].map(|n| client.value(&n).unwrap());
    dict.insert(&one, &two).unwrap();
    dict.insert(&two, &client.value(&3).unwrap()).unwrap();
    drop(two);
    assert_objects(fixture, 4);
    let found = dict.get(&one).unwrap().unwrap();
    let third = dict.get(&found).unwrap().unwrap();
    assert_eq!((found.get().unwrap(), third.get().unwrap()), (2, 3));
    dict.update(&found, |value| value).unwrap();
    drop((third, found, one));
    assert_eq!(dict.items().unwrap().len(), 2);
    let (key, value) = dict.pop_item().unwrap().unwrap();
    assert_eq!((key.get().unwrap(), value.get().unwrap()), (2, 3));
    drop((key, value));
    until_objects(fixture, "the end of the third", 3);
    dict.clear().unwrap();
    until_objects(fixture, "the end of all", 1);
}

fn a_transaction_changes_it_completely_or_not_at_all(fixture: &dyn Fixture) {
    let client = fixture.client();
    if !has_transactions(&client) {
        return;
    }
    let (dict, list) = (counts(&client), client.list::<u8>().unwrap());
    let [a, b, c] = ["a", "b", "c"].map(str::to_owned);
    dict.extend([(&a, &1), (&b, &2)]).unwrap();
    let all = client.transaction(|t| {
        let read = (t.on(&dict).get(&a), t.on(&dict).contains_key(&c), t.on(&dict).get_or_insert(&c, &3));
        let set = (t.on(&dict).insert(&a, &4), t.on(&dict).replace(&a, &5), t.on(&dict).insert_new(&a, &6));
        let exchanged = t.on(&dict).compare_exchange(&b, Some(&2), Some(&7));
        let added = t.on(&dict).fetch_add(&c, 9);
        let removed = (t.on(&dict).pop_item(), t.on(&dict).remove(&a), t.on(&dict).delete(&a));
        (read, set, exchanged, added, removed)
    });
    let (read, set, exchanged, before, removed) = all.unwrap();
    assert_eq!((read, set), ((Some(1), false, 3), ((), Some(4), Err(5))));
    assert_eq!((exchanged, before, removed), (Ok(()), 3, (Some((c, 12)), Some(5), false)));
    let refused = client.transaction(|t| {
        (t.on(&dict).delete(&b), t.on(&dict).clear(), t.on(&dict).insert(&a, &1), t.on(&list).pop())
    });
    assert_eq!(refused.unwrap_err(), TransactionError::Refused(Fault::Empty));
    assert_eq!(dict.items().unwrap(), [(b, 7)]);
    assert_eq!(client.transaction(|t| t.on(&dict).len()), Ok(1));
}

fn a_claim_succeeds_once(fixture: &dyn Fixture) {
    let clients = [fixture.client(), fixture.client()];
    if !has_transactions(&clients[0]) {
        return;
    }
    let words = ["ant", "bee"].map(str::to_owned);
    let count = |client: &Manager, task: u64| {
        let (done, dict) = (client.named("done").dict::<u64, u8>().unwrap(), counts(client));
        let adds = words.iter().map(|word| (word, task));
        client.transaction(|t| (t.on(&done).claim(&task, &1), t.on(&dict).add_many(adds)))
    };
    // Both workers do all tasks, and each task counts once.
    let done: Vec<usize> = std::thread::scope(|scope| {
        let threads = clients.each_ref().map(|client| {
            scope.spawn(|| {
                let outcomes = (1..=100).map(|task| count(client, task));
                outcomes.filter(|outcome| *outcome != Err(TransactionError::Refused(Fault::Exists))).count()
            })
        });
        threads.map(|thread| thread.join().unwrap()).into()
    });
    assert_eq!(done.iter().sum::<usize>(), 100);
    let dict = counts(&clients[1]);
    assert_eq!(dict.values().unwrap(), [5050, 5050]);
    // A later step that fails undoes the claim.
    let many: Vec<_> = (0..=ENTRIES_AT_ONCE_MAX).map(|n| n.to_string()).collect();
    let free = clients[0].named("done").dict::<u64, u8>().unwrap();
    let error = clients[0].transaction(|t| {
        (t.on(&free).claim(&0, &1), t.on(&dict).add_many(many.iter().map(|word| (word, 1))))
    });
    assert!(matches!(error, Err(TransactionError::Refused(Fault::TooMany { .. }))), "{error:?}");
    assert!(!free.contains_key(&0).unwrap());
    count(&clients[0], 0).unwrap();
}

fn setting_many_at_once_has_a_limit(fixture: &dyn Fixture) {
    let dict = fixture.client().dict::<usize, u8>().unwrap();
    let keys: Vec<usize> = (0..=ENTRIES_AT_ONCE_MAX).collect();
    dict.extend(keys[1..].iter().map(|key| (key, &1))).unwrap();
    let error = dict.extend(keys.iter().map(|key| (key, &1))).unwrap_err();
    assert!(matches!(error, ObjectError::Call(CallError::Fault(Fault::TooMany { .. }))), "{error:?}");
    assert_eq!(dict.len().unwrap(), ENTRIES_AT_ONCE_MAX);
}
