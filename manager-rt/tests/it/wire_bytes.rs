//! How many bytes operations send over the wire.

use manager_rt::Manager;

use crate::relay::Relay;

const LONG_BYTES: usize = 100 << 10;
/// The most bytes that the answers of a few operations without values take, several times over.
const SHORT_BYTES: usize = 4 << 10;

#[test]
fn setting_and_deleting_send_no_old_value_back() {
    let server = Manager::start().unwrap();
    let relay = Relay::to(&server);
    let manager = relay.client();
    let long = "x".repeat(LONG_BYTES);
    let long = long.as_str();
    let (value, array) = (manager.value(long).unwrap(), manager.array([long]).unwrap());
    let (dict, list) = (manager.dict::<u8, String>().unwrap(), manager.list::<String>().unwrap());
    dict.extend([(&1, long), (&2, long), (&3, long)]).unwrap();
    list.extend([long; 3]).unwrap();
    let before = relay.bytes_to_clients();
    value.set(long).unwrap();
    array.set(0, long).unwrap();
    dict.insert(&1, long).unwrap();
    list.set(0, long).unwrap();
    assert!(dict.delete(&2).unwrap());
    list.delete(2).unwrap();
    let set = manager.transaction(|t| {
        let data = (t.on(&value).set(long), t.on(&array).set(0, long));
        (data, t.on(&dict).insert(&1, long), t.on(&list).set(0, long))
    });
    set.unwrap();
    let deleted = manager.pipeline(|p| (p.on(&dict).delete(&3), p.on(&list).delete(1)));
    assert_eq!(deleted.unwrap(), (Ok(true), Ok(())));
    let answers = relay.bytes_to_clients() - before;
    assert!(answers < SHORT_BYTES, "the answers took {answers} bytes");
    // The forms that return the old value do send it.
    value.replace(long).unwrap();
    assert!(relay.bytes_to_clients() - before > LONG_BYTES);
    drop((value, array, dict, list, manager, relay));
    server.shutdown().unwrap();
}
