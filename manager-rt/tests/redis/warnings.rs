//! Settings of Redis of which users are warned.

use manager_rt::{Manager, Warning};

use crate::There;
use crate::server::Server;

fn warnings(arguments: &[&str]) -> Vec<Warning> {
    let server = Server::start(arguments);
    There::new(&server).connect().warnings()
}

#[test]
fn settings_that_lose_something_are_named() {
    assert_eq!(warnings(&[]), []);
    let evicts = Warning::Evicts { policy: "allkeys-lru".to_owned() };
    let full = ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"];
    assert_eq!(warnings(&[&full[..], &["--appendonly", "no"]].concat()), [evicts, Warning::NoLog]);
    assert_eq!(warnings(&["--appendfsync", "no"]), [Warning::LogNotSynced]);
}

#[test]
fn a_redis_that_keeps_its_settings_to_itself_works() {
    let server = Server::start(&["--appendfsync", "no"]);
    let use_all = |manager: &Manager| {
        let (list, lock) = (manager.list::<u8>().unwrap(), manager.lock().unwrap());
        list.push(&1).unwrap();
        assert!(lock.lock().unwrap().is_valid());
    };
    for (forbidden, expected) in [("-config", vec![]), ("-info", vec![Warning::Unchecked])] {
        assert_eq!(server.cli(&["acl", "setuser", "default", forbidden]), "OK");
        let manager = There::new(&server).connect();
        assert_eq!(manager.warnings(), expected);
        use_all(&manager);
    }
}
