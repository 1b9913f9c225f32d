//! Keys open connections, and do not show themselves.

use std::fmt::Debug;

use manager_rt::limits::KEY_BYTES_MAX;
use manager_rt::{Address, Key, Manager, Server, StartError};

const SECRET: &str = "a secret of this test";

/// Fails if the text of a value contains a key, as text or as numbers.
#[track_caller]
fn hides(what: &impl Debug, key: &[u8]) {
    let numbers = format!("{key:?}").replace(' ', "");
    let numbers = numbers.trim_matches(['[', ']']);
    let text = String::from_utf8_lossy(key).into_owned();
    for shown in [format!("{what:?}"), format!("{what:#?}")] {
        assert!(!shown.contains(&text), "{shown}");
        let packed: String = shown.chars().filter(|char| !char.is_whitespace()).collect();
        assert!(!packed.contains(numbers), "{shown}");
    }
}

#[test]
fn nothing_that_has_a_key_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    let key = SECRET.as_bytes();
    hides(&Key::from(SECRET), key);
    hides(&Manager::builder().key(SECRET), key);
    hides(&Server::builder().key(SECRET), key);
    let server = Server::builder().key(SECRET).bind(folder.path().join("server.sock")).unwrap();
    hides(&server, key);
    hides(&server.stopper(), key);
    let manager = Manager::builder().key(SECRET).path(folder.path().join("sock")).start().unwrap();
    hides(&manager, key);
    hides(manager.backend(), key);
    hides(&manager.value(&1_u8).unwrap(), key);
    let refused = Manager::builder().key("another").connect(&manager.address().unwrap()).unwrap_err();
    hides(&refused, b"another");
    manager.shutdown().unwrap();
}

#[test]
fn a_random_key_is_not_shown_either() {
    let manager = Manager::start().unwrap();
    let address: Address = manager.address().unwrap().parse().unwrap();
    let key = std::fs::read(address.path().unwrap().with_file_name("key")).unwrap();
    assert_eq!(key.len(), 32);
    hides(&manager, &key);
    manager.shutdown().unwrap();
}

#[test]
fn the_longest_key_and_one_byte_more() {
    let longest = "k".repeat(KEY_BYTES_MAX);
    let manager = Manager::builder().key(&longest).start().unwrap();
    let address = manager.address().unwrap();
    assert!(Manager::builder().key(&longest).connect(&address).is_ok());
    manager.shutdown().unwrap();
    match Manager::builder().key(format!("{longest}k")).start() {
        Err(StartError::KeyTooLong { bytes }) => assert_eq!(bytes, KEY_BYTES_MAX + 1),
        other => panic!("{other:?}"),
    }
}
