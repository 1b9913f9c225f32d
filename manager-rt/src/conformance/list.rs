//! `List`.

use crate::conformance::{Fixture, assert_objects, has_transactions, tests, until_objects};
use crate::limits::{ORDER_ITEMS_AT_ONCE, PAGE_ITEMS_MAX, VALUES_AT_ONCE_MAX};
use crate::proto::Fault;
use crate::{CallError, ItemError, List, ObjectError, TransactionError, Value};

tests! {
    [List] {
        items_are_where_they_were_put,
        an_index_without_an_item_is_an_error,
        items_are_found_by_their_value,
        no_update_is_lost,
        it_is_sorted_and_reversed,
        many_pages_show_one_moment,
        a_transaction_changes_it_completely_or_not_at_all,
        a_long_list_is_sorted,
        adding_many_at_once_has_a_limit,
    }
    [List, Value] {
        items_keep_the_objects_inside,
    }
}

fn letters(list: &List<String>) -> String {
    list.to_vec().unwrap().concat()
}

fn of(fixture: &dyn Fixture, letters: &str) -> List<String> {
    let list = fixture.client().named("list").list().unwrap();
    list.extend(&letters.chars().map(String::from).collect::<Vec<_>>()).unwrap();
    list
}

fn items_are_where_they_were_put(fixture: &dyn Fixture) {
    let list = of(fixture, "abc");
    let other = fixture.client().named("list").list::<String>().unwrap();
    other.push(&"d".to_owned()).unwrap();
    other.insert(0, &"x".to_owned()).unwrap();
    list.insert(5, &"y".to_owned()).unwrap();
    assert_eq!((&*letters(&list), list.len().unwrap()), ("xabcdy", 6));
    other.set(0, &"X".to_owned()).unwrap();
    assert_eq!(other.replace(1, &"A".to_owned()).unwrap(), "a");
    list.swap(0, 5).unwrap();
    assert_eq!(list.get(5).unwrap(), "X");
    assert_eq!(other.remove(2).unwrap(), "b");
    assert_eq!(letters(&other), "yAcdX");
    assert_eq!(list.range(1..3).unwrap(), ["A", "c"]);
    assert_eq!(list.range(3..99).unwrap(), ["d", "X"], "items beyond the end are left out");
    assert_eq!(list.range(7..9).unwrap(), [""; 0]);
    assert_eq!(list.iter().collect::<Result<Vec<_>, _>>().unwrap().concat(), "yAcdX");
    assert_eq!(list.pop().unwrap().unwrap(), "X");
    list.delete(1).unwrap();
    assert_eq!(letters(&list), "ycd");
    list.clear().unwrap();
    assert_eq!((list.pop().unwrap(), list.is_empty().unwrap()), (None, true));
    assert_eq!(list.to_vec().unwrap(), [""; 0]);
}

fn an_index_without_an_item_is_an_error(fixture: &dyn Fixture) {
    let (list, x) = (of(fixture, "ab"), "x".to_owned());
    let none = |index| ItemError::Index { index, len: 2 };
    assert_eq!(list.get(2), Err(none(2)));
    assert_eq!(list.set(2, &x), Err(none(2)));
    assert_eq!(list.replace(3, &x), Err(none(3)));
    assert_eq!(list.insert(3, &x), Err(none(3)));
    assert_eq!(list.remove(2), Err(none(2)));
    assert_eq!(list.delete(2), Err(none(2)));
    assert_eq!(list.swap(0, 2), Err(none(2)));
    assert_eq!(list.compare_exchange(2, &x, &x), Err(none(2)));
    assert_eq!(list.update(2, |item| item), Err(none(2)));
    assert_eq!(list.get(usize::MAX), Err(none(u64::MAX)));
    assert_eq!(letters(&list), "ab");
}

fn items_are_found_by_their_value(fixture: &dyn Fixture) {
    let list = of(fixture, "abcab");
    let find = |letter: &str| list.index_of(&letter.to_owned()).unwrap();
    assert_eq!((find("a"), find("c"), find("x")), (Some(0), Some(2), None));
    let (b, x) = ("b".to_owned(), "x".to_owned());
    assert_eq!((list.count(&b).unwrap(), list.count(&x).unwrap()), (2, 0));
    assert!(list.contains(&b).unwrap() && !list.contains(&x).unwrap());
    assert_eq!((list.remove_value(&b).unwrap(), list.remove_value(&x).unwrap()), (Some(1), None));
    assert_eq!(letters(&list), "acab");
}

fn no_update_is_lost(fixture: &dyn Fixture) {
    const EACH: usize = 200;
    let clients = [fixture.client(), fixture.client()];
    clients[0].named("list").list::<(u64, String)>().unwrap().push(&(0, "text".to_owned())).unwrap();
    std::thread::scope(|scope| {
        for client in &clients {
            scope.spawn(move || {
                let list = client.named("list").list::<(u64, String)>().unwrap();
                for _ in 0..EACH {
                    list.update(0, |(n, text)| (n + 1, text)).unwrap();
                }
            });
        }
    });
    let list = clients[1].named("list").list::<(u64, String)>().unwrap();
    assert_eq!(list.get(0).unwrap().0, u64::try_from(2 * EACH).unwrap());
    assert_eq!(
        list.compare_exchange(0, &(1, String::new()), &(2, String::new())).unwrap().unwrap_err().0,
        400
    );
}

fn it_is_sorted_and_reversed(fixture: &dyn Fixture) {
    let list = of(fixture, "cAbBa");
    list.sort().unwrap();
    assert_eq!(letters(&list), "ABabc");
    list.sort_by(|one, other| one.to_lowercase().cmp(&other.to_lowercase())).unwrap();
    assert_eq!(letters(&list), "AaBbc", "equal items keep their order");
    list.reverse().unwrap();
    assert_eq!(letters(&list), "cbBaA");
    let numbers = fixture.client().list::<u32>().unwrap();
    numbers.sort().unwrap();
    let mixed: Vec<u32> = (0..10_000_u32).map(|n| n.wrapping_mul(2_654_435_761)).collect();
    numbers.extend(&mixed).unwrap();
    numbers.sort().unwrap();
    assert!(numbers.to_vec().unwrap().is_sorted());
}

fn many_pages_show_one_moment(fixture: &dyn Fixture) {
    let (writer, reader) = (fixture.client(), fixture.client());
    let items = usize::try_from(PAGE_ITEMS_MAX).unwrap() * 2 + 1;
    let list = writer.named("list").list::<u64>().unwrap();
    list.extend(&vec![0; items]).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..=20 {
                list.set(0, &n).unwrap();
                list.set(items - 1, &n).unwrap();
            }
        });
        let list = reader.named("list").list::<u64>().unwrap();
        let mut last = 0;
        while last < 20 {
            let all = match list.to_vec() {
                Err(ObjectError::Changing) => continue,
                all => all.unwrap(),
            };
            assert_eq!(all.len(), items);
            let (first, end) = (all[0], all[items - 1]);
            assert!(first == end || first == end + 1, "{first} and {end} were never in the list together");
            last = end;
        }
    });
    assert_eq!(list.iter().count(), items);
}

fn items_keep_the_objects_inside(fixture: &dyn Fixture) {
    let client = fixture.client();
    let list = client.list::<Value<u32>>().unwrap();
    for n in 0..4 {
        list.push(&client.value(&n).unwrap()).unwrap();
    }
    assert_objects(fixture, 5);
    let all = list.to_vec().unwrap();
    list.sort_by(|one, other| other.get().unwrap().cmp(&one.get().unwrap())).unwrap();
    assert_eq!(list.get(0).unwrap().get().unwrap(), 3);
    assert_eq!(list.index_of(&all[0]).unwrap(), Some(3));
    drop(all);
    list.set(0, &client.value(&9).unwrap()).unwrap();
    drop((list.pop().unwrap(), list.remove(1).unwrap()));
    until_objects(fixture, "the end of three", 3);
    list.clear().unwrap();
    until_objects(fixture, "the end of all", 1);
}

fn a_transaction_changes_it_completely_or_not_at_all(fixture: &dyn Fixture) {
    let client = fixture.client();
    if !has_transactions(&client) {
        return;
    }
    let list = of(fixture, "abc");
    let (x, y) = ("x".to_owned(), "y".to_owned());
    let all = client.transaction(|t| {
        let swapped = (t.on(&list).swap(0, 2), t.on(&list).reverse(), t.on(&list).set(1, &y));
        let exchanged = (t.on(&list).compare_exchange(1, &x, &x), t.on(&list).insert(0, &x));
        let taken = (t.on(&list).pop(), t.on(&list).remove(0), t.on(&list).replace(0, &x));
        (swapped, exchanged, taken, t.on(&list).push(&y), t.on(&list).get(2), t.on(&list).len())
    });
    let (_, (exchanged, ()), taken, (), last, len) = all.unwrap();
    assert_eq!((exchanged, last, len), (Err(y), "y".to_owned(), 3));
    assert_eq!(taken, ("c".to_owned(), "x".to_owned(), "a".to_owned()));
    assert_eq!(letters(&list), "xyy");
    let refused = client.transaction(|t| {
        (t.on(&list).delete(0), t.on(&list).clear(), t.on(&list).push(&x), t.on(&list).get(1))
    });
    assert_eq!(refused.unwrap_err(), TransactionError::Refused(Fault::Index { index: 1, len: 1 }));
    assert_eq!(letters(&list), "xyy");
}

fn a_long_list_is_sorted(fixture: &dyn Fixture) {
    let list = fixture.client().list::<u32>().unwrap();
    let len = u32::try_from(ORDER_ITEMS_AT_ONCE).unwrap() + 1;
    list.extend(&(0..len).rev().collect::<Vec<_>>()).unwrap();
    list.sort().unwrap();
    assert!(list.to_vec().unwrap().into_iter().eq(0..len));
    until_objects(fixture, "nothing else is left", 1);
}

fn adding_many_at_once_has_a_limit(fixture: &dyn Fixture) {
    let list = fixture.client().list::<u8>().unwrap();
    list.extend(&vec![1; VALUES_AT_ONCE_MAX]).unwrap();
    let error = list.extend(&vec![1; VALUES_AT_ONCE_MAX + 1]).unwrap_err();
    assert!(matches!(error, ObjectError::Call(CallError::Fault(Fault::TooMany { .. }))), "{error:?}");
    assert_eq!(list.len().unwrap(), VALUES_AT_ONCE_MAX);
}
