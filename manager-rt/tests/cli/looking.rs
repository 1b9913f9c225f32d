//! `ls`, `inspect` and `top`: what a person sees of objects, locks, waiting calls and deadlocks.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;
use std::sync::Barrier;
use std::sync::mpsc::channel;
use std::thread;

use manager_rt::Manager;
use mp_sys::testing::eventually;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value as Json;

use crate::program::{DEADLINE, KEY, Output, Place, ended, mp_manager};

fn json_of(output: &Output) -> Json {
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "{output:?}");
    serde_json::from_str(&output.stdout).unwrap()
}

/// Returns the row of a table that begins with a word, as words.
fn row(output: &Output, first: &str) -> Vec<String> {
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "{output:?}");
    let found =
        output.stdout.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let found = found.into_iter().find(|words| words.first().is_some_and(|word| word == first));
    found.unwrap_or_else(|| panic!("no {first} in {}", output.stdout))
}

fn wait_for_waiters(manager: &Manager, count: u64) {
    eventually("calls wait", || manager.info().unwrap().waiters == count);
}

#[test]
fn ls_lists_names_kinds_types_lengths_and_sizes() {
    let server = Place::new().serve();
    let manager = server.manager();
    let empty = server.run(["ls"]);
    assert_eq!(empty.stdout.split_whitespace().next(), Some("NAME"), "{empty:?}");
    assert_eq!(json_of(&server.run(["ls", "--json"])), Json::Array(vec![]));
    manager.named("words").dict::<String, u64>().unwrap().insert("a", &1).unwrap();
    manager.named("door").lock().unwrap();
    manager.named("\u{1b}[2J").event().unwrap();
    manager.named("odd").list::<std::collections::BTreeMap<u8, u8>>().unwrap();
    let _nameless = manager.value(&5_u8).unwrap();
    let all = server.run_at(1, ["ls"]);
    assert_eq!(row(&all, "words")[..4], ["words", "Dict", "String,", "u64"]);
    assert_eq!(row(&all, "words")[4], "1");
    assert_eq!(row(&all, "door")[..2], ["door", "Lock"]);
    assert_eq!(row(&all, "odd")[..4], ["odd", "List", "?", "0"]);
    assert_eq!(row(&all, "\\u{1b}[2J")[1], "Event");
    assert_eq!(all.stdout.lines().count(), 5, "{all:?}");
    assert_eq!(server.run(["ls", "--all"]).stdout.lines().count(), 6);
    let json = json_of(&server.run(["ls", "--json", "--all"]));
    let words = json.as_array().unwrap().iter().find(|object| object["name"] == "words").unwrap();
    assert_eq!(
        (&words["kind"], &words["type"], &words["len"]),
        (&"Dict".into(), &"String, u64".into(), &1.into())
    );
    assert!(words["bytes"].as_u64().unwrap() > 0);
    assert!(json.as_array().unwrap().iter().any(|object| object["name"].is_null() && object["type"] == "u8"));
}

#[test]
fn inspect_names_the_holder_of_a_lock_and_who_waits() {
    let server = Place::new().serve();
    let [holds, waits] =
        [server.manager(), Manager::builder().key(KEY).connect(&server.addresses[1]).unwrap()];
    let guard_of = holds.named("door").lock().unwrap();
    let other = waits.named("door").lock().unwrap();
    let guard = guard_of.lock().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| other.lock_timeout(DEADLINE).map(drop).map_err(drop));
        wait_for_waiters(&holds, 1);
        let shown = server.run(["inspect", "door"]);
        assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""), "{shown:?}");
        for text in
            ["kind", "Lock", "held by", "thread", "waiting", "127.0.0.1:", "for the lock for", "at most"]
        {
            assert!(shown.stdout.contains(text), "{text} is missing in {}", shown.stdout);
        }
        let json = json_of(&server.run(["inspect", "--json", "door"]));
        assert_eq!(json["holder"]["token"], guard.token());
        assert_eq!(json["waits"].as_array().unwrap().len(), 1);
        assert_eq!(json["clients"].as_array().unwrap().len(), 2);
        assert_ne!(json["waits"][0]["client"], json["holder"]["client"]);
        drop(guard);
        waiter.join().unwrap().unwrap();
    });
    server.run(["inspect", "nothing"]).refused(4, &["\"nothing\"", "no object has this name"]);
    let lists = server.manager();
    lists.named("list").list::<u8>().unwrap().push(&1).unwrap();
    let shown = server.run(["inspect", "list"]);
    assert_eq!(row(&shown, "type"), ["type", "u8"]);
    assert_eq!(row(&shown, "length"), ["length", "1"]);
}

#[test]
fn top_names_a_deadlock_and_what_everybody_waits_for() {
    let server = Place::new().serve();
    let (one, other) = (server.manager(), server.manager());
    let queue = one.named("jobs").queue::<u64>().unwrap();
    let holds = Barrier::new(3);
    // Each holds a lock and then wants that of the other.
    let cross = |manager: &Manager, held: &str, wanted: &str| {
        let (held, wanted) = (manager.named(held).lock().unwrap(), manager.named(wanted).lock().unwrap());
        let _guard = held.lock().unwrap();
        holds.wait();
        let outcome = wanted.lock().map(drop);
        outcome.is_ok()
    };
    thread::scope(|scope| {
        let first = scope.spawn(|| cross(&one, "red", "blue"));
        let second = scope.spawn(|| cross(&other, "blue", "red"));
        let getter = scope.spawn(|| queue.get_timeout(DEADLINE).is_ok());
        holds.wait();
        wait_for_waiters(&one, 3);
        let shown = server.run_at(1, ["top", "--once"]);
        assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""), "{shown:?}");
        let deadlock = shown.stdout.lines().find(|line| line.starts_with("DEADLOCK")).unwrap();
        for text in ["Lock red", "Lock blue", "never ends"] {
            assert!(deadlock.contains(text), "{deadlock}");
        }
        for text in [&server.addresses[1][..], "operations/s", "HELD BY CLIENT", "an item", "CLIENT", "jobs"]
        {
            assert!(shown.stdout.contains(text), "{text} is missing in {}", shown.stdout);
        }
        let piped = server.run(["top"]);
        assert!(piped.stdout.contains("DEADLOCK"), "without a terminal, it looks once: {piped:?}");
        let inspected = server.run(["inspect", "blue"]);
        assert!(inspected.stdout.contains("DEADLOCK"), "{inspected:?}");
        let json = json_of(&server.run(["top", "--once", "--json"]));
        assert_eq!(json["deadlocks"].as_array().unwrap().len(), 1);
        assert_eq!(json["deadlocks"][0]["waits"].as_array().unwrap().len(), 2);
        assert_eq!(json["waits"].as_array().unwrap().len(), 3);
        assert!(json["operations"].as_u64().unwrap() > 0);
        // A person ends it.
        server.run(["rm", "red"]).printed("");
        queue.put(&1).unwrap();
        assert!(getter.join().unwrap());
        assert!(!second.join().unwrap(), "the lock that it wanted is gone");
        assert!(first.join().unwrap(), "the other lock is free");
    });
    let shown = server.run(["top", "--once"]);
    assert!(!shown.stdout.contains("DEADLOCK"), "{shown:?}");
}

#[test]
fn top_draws_again_and_again_on_a_terminal_until_the_server_ends() {
    let mut server = Place::new().serve();
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let screen = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut top = mp_manager(["top", "--interval", "20ms", "--address", &server.addresses[0], "--key-file"]);
    top.arg(server.place.path("key")).stdout(screen).stderr(Stdio::piped());
    let mut child = top.spawn().unwrap();
    // Otherwise this process would keep the terminal open.
    drop(top);
    let (sender, shown) = channel();
    let reader = thread::Builder::new().name("terminal".to_owned());
    let reads = reader.spawn(move || {
        let mut terminal = File::from(terminal);
        let mut buffer = [0; 4096];
        // The end of the other side is an error.
        while let Ok(count @ 1..) = terminal.read(&mut buffer) {
            drop(sender.send(buffer[..count].to_vec()));
        }
    });
    let mut all = Vec::new();
    while all.windows(3).filter(|part| part == b"\x1b[H").count() < 3 {
        all.extend(shown.recv_timeout(DEADLINE).unwrap());
    }
    let text = String::from_utf8_lossy(&all).into_owned();
    assert!(text.contains("operations/s") && text.contains(&server.addresses[0]), "{text}");
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    assert_eq!(ended(&mut child).code(), Some(3));
    let message = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert!(message.contains(&server.addresses[0]) && message.lines().count() == 1, "{message}");
    reads.unwrap().join().unwrap();
}
