//! Commands at a private Redis server.

#[path = "../redis/server.rs"]
#[expect(dead_code, reason = "the tests of Redis use all of it")]
mod server;

use manager_rt::Manager;

use self::server::Server;
use crate::program::{Output, mp_manager, run};

fn at(server: &Server, arguments: &[&str]) -> Output {
    run(mp_manager(arguments).env("MP_MANAGER", server.url("app")))
}

#[test]
fn values_in_redis_are_set_read_listed_and_removed() {
    let server = Server::start(&[]);
    at(&server, &["set", "count", "5", "--type", "u64"]).printed("");
    at(&server, &["get", "count"]).printed("5\n");
    let manager = Manager::connect(&server.url("app")).unwrap();
    let stock = manager.named("stock").dict::<String, u64>().unwrap();
    stock.insert("apples", &7).unwrap();
    at(&server, &["get", "stock", "apples"]).printed("7\n");
    at(&server, &["set", "stock", "pears", "3"]).printed("");
    assert_eq!(stock.get("pears"), Ok(Some(3)));
    let (door, permits) =
        (manager.named("door").lock().unwrap(), manager.named("permits").semaphore(3).unwrap());
    let held = (door.lock().unwrap(), permits.acquire().unwrap());
    manager.named("work").queue::<u64>().unwrap().put(&1).unwrap();
    let listed = at(&server, &["ls"]);
    let rows: Vec<Vec<_>> = listed.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((listed.code, rows.len()), (Some(0), 6), "{listed:?}");
    assert_eq!(rows[1][..3], ["count", "Value", "u64"]);
    assert_eq!((rows[2][0], rows[2][rows[2].len() - 1]), ("door", "1"));
    assert_eq!(rows[3][..3], ["permits", "Semaphore", "2"]);
    assert_eq!(rows[4][..5], ["stock", "Dict", "String,", "u64", "2"]);
    assert_eq!(rows[5][..4], ["work", "Queue", "u64", "1"]);
    let shown = at(&server, &["inspect", "door"]);
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""), "{shown:?}");
    assert!(shown.stdout.lines().any(|line| line.split_whitespace().eq(["held", "1"])), "{shown:?}");
    let top = at(&server, &["top", "--once"]);
    assert_eq!((top.code, top.stderr.as_str()), (Some(0), ""), "{top:?}");
    assert!(top.stdout.contains("objects 5  held 2  waiting 0  memory "), "{top:?}");
    assert!(top.stdout.contains("stock"), "{top:?}");
    drop(held);
    at(&server, &["rm", "count"]).printed("");
    at(&server, &["get", "count"]).refused(4, &["count"]);
}

#[test]
fn every_object_in_redis_is_listed_once() {
    const COUNT: usize = 1000;
    let server = Server::start(&[]);
    let manager = Manager::connect(&server.url("app")).unwrap();
    (0..COUNT).for_each(|n| drop(manager.named(&n.to_string()).event().unwrap()));
    assert_eq!(at(&server, &["ls"]).stdout.lines().count(), COUNT + 1);
    assert!(manager.objects().all(|object| object.is_ok_and(|object| object.name.is_some())));
}

#[test]
fn settings_that_lose_something_are_named() {
    let server = Server::start(&["--appendonly", "no"]);
    let listed = at(&server, &["ls"]);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    let [line] = listed.stderr.lines().collect::<Vec<_>>()[..] else { panic!("{listed:?}") };
    assert!(line.starts_with("mp-manager: redis+unix://") && line.contains("appendonly no"), "{line}");
}
