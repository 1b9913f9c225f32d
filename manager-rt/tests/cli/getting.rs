//! `get` and `set`, beside programs that use the same objects by the library.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use crate::program::{Output, Place, Server, mp_manager, run};

fn json_of(output: &Output) -> Json {
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "{output:?}");
    serde_json::from_str(&output.stdout).unwrap()
}

/// Fails unless the program reads what the library stored, and the library what the program stored.
#[track_caller]
fn shared<T>(server: &Server, value: T, text: &str, other: T, other_text: &str)
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let manager = server.manager();
    let shared = manager.named("shared").value(&value).unwrap();
    server.run(["get", "shared"]).printed(&format!("{text}\n"));
    server.run(["set", "shared", "--", other_text]).printed("");
    assert_eq!(shared.get().unwrap(), other);
    server.run(["get", "shared"]).printed(&format!("{other_text}\n"));
    manager.remove("shared").unwrap();
}

#[test]
fn values_of_every_type_are_shared_with_programs() {
    let server = Place::new().serve();
    let server = &server;
    shared(server, 5_u64, "5", 6, "6");
    shared(server, -5_i8, "-5", 6, "6");
    shared(server, u128::MAX, "340282366920938463463374607431768211455", 1, "1");
    shared(server, 1.5_f32, "1.5", -0.1, "-0.1");
    shared(server, false, "false", true, "true");
    shared(server, 'a', "a", 'ö', "ö");
    shared(server, "two words".to_owned(), "two words", "--json".to_owned(), "--json");
    shared(server, vec![0_u8, 255], "0x00ff", vec![], "0x");
    shared(server, Some(5_u32), "5", None, "null");
    shared(server, vec!["a".to_owned()], r#"["a"]"#, vec![], "[]");
    shared(server, vec![Some(1.5)], "[1.5]", vec![None], "[null]");
    shared(server, (1_usize, "a".to_owned()), r#"[1,"a"]"#, (2, String::new()), r#"[2,""]"#);
}

#[test]
fn negative_numbers_need_no_separator() {
    let server = Place::new().serve();
    let value = server.manager().named("n").value(&0_i64).unwrap();
    let dict = server.manager().named("d").dict::<i32, f64>().unwrap();
    server.run(["set", "n", "-5"]).printed("");
    server.run(["set", "d", "-1", "-2.5"]).printed("");
    server.run(["get", "d", "-1"]).printed("-2.5\n");
    assert_eq!((value.get().unwrap(), dict.get(&-1).unwrap()), (-5, Some(-2.5)));
}

#[test]
fn containers_are_read_and_changed_by_key_and_index() {
    let server = Place::new().serve();
    let manager = server.manager();
    let dict = manager.named("dict").dict::<String, u64>().unwrap();
    dict.extend([("ant", &3), ("bee", &2)]).unwrap();
    let list = manager.named("list").list::<String>().unwrap();
    list.extend(["x", "a\nb"]).unwrap();
    let array = manager.named("array").array(&[1.5_f64, 2.5]).unwrap();
    let numbered = manager.named("numbered").dict::<u8, Vec<u8>>().unwrap();
    numbered.insert(&7, &[1, 2][..]).unwrap();

    server.run(["get", "dict"]).printed("KEY  VALUE\nant  3\nbee  2\n");
    server.run(["get", "list"]).printed("INDEX  VALUE\n0      x\n1      a\\nb\n");
    server.run(["get", "array"]).printed("INDEX  VALUE\n0      1.5\n1      2.5\n");
    server.run(["get", "numbered"]).printed("KEY  VALUE\n7    0x0102\n");
    for (arguments, expected) in [
        (["get", "--json", "dict"], json!({"ant": 3, "bee": 2})),
        (["get", "--json", "list"], json!(["x", "a\nb"])),
        (["get", "--json", "array"], json!([1.5, 2.5])),
        (["get", "--json", "numbered"], json!([[7, [1, 2]]])),
    ] {
        assert_eq!(json_of(&server.run(arguments)), expected);
    }
    server.run(["get", "dict", "bee"]).printed("2\n");
    server.run(["get", "list", "1"]).printed("a\nb\n");
    server.run(["get", "list", "1", "--json"]).printed("\"a\\nb\"\n");
    server.run(["get", "array", "0"]).printed("1.5\n");
    for arguments in
        [["dict", "cat", "5"], ["list", "0", "y"], ["array", "1", "7"], ["numbered", "8", "0xff"]]
    {
        server.run([&["set"], &arguments[..]].concat()).printed("");
    }
    assert_eq!(dict.get("cat").unwrap(), Some(5));
    assert_eq!(list.to_vec().unwrap(), ["y", "a\nb"]);
    assert_eq!(array.to_vec().unwrap(), [1.5, 7.0]);
    assert_eq!(numbered.get(&8).unwrap(), Some(vec![255]));

    server.run(["get", "dict", "eel"]).refused(4, &["\"dict\"", "\"eel\"", "no value"]);
    server.run(["get", "list", "2"]).refused(4, &["no item at index 2"]);
    server.run(["set", "array", "2", "1"]).refused(4, &["no item at index 2"]);
    server.run(["get", "list", "x"]).refused(2, &["not an index"]);
    server.run(["set", "list", "x"]).refused(2, &["needs a key or an index"]);
    server.run(["set", "dict", "ant", "many"]).refused(2, &["\"many\"", "u64"]);
    server.run(["set", "numbered", "256", "0x"]).refused(2, &["the key", "u8"]);
    assert_eq!(dict.get("ant").unwrap(), Some(3));
}

#[test]
fn long_containers_come_whole() {
    let server = Place::new().serve();
    let manager = server.manager();
    let numbers: Vec<u64> = (0..100_000).collect();
    let list = manager.named("list").list::<u64>().unwrap();
    numbers.chunks(50_000).for_each(|some| list.extend(some).unwrap());
    manager.named("array").array(&numbers).unwrap();
    let dict = manager.named("dict").dict::<u64, u64>().unwrap();
    for some in numbers.chunks(4_000) {
        dict.extend(some.iter().map(|number| (number, number))).unwrap();
    }
    for name in ["list", "array"] {
        assert_eq!(json_of(&server.run(["get", "--json", name])), json!(numbers), "{name}");
    }
    let entries: Vec<_> = numbers.iter().map(|number| (number, number)).collect();
    assert_eq!(json_of(&server.run_at(1, ["get", "--json", "dict"])), json!(entries));
}

#[test]
fn attributes_of_namespaces_have_types_of_their_own() {
    let server = Place::new().serve();
    let manager = server.manager();
    let settings = manager.named("settings").namespace().unwrap();
    settings.set("port", &80_u16).unwrap();
    settings.set("host", "db").unwrap();
    settings.set("odd", &BTreeMap::from([(1_u8, 2_u8)])).unwrap();
    server.run(["get", "settings", "port"]).printed("80\n");
    server.run(["set", "settings", "port", "8080"]).printed("");
    assert_eq!(settings.get::<u16>("port").unwrap(), 8080);
    server.run(["set", "settings", "port", "70000"]).refused(2, &["u16"]);
    server.run(["set", "settings", "--type", "u32", "port", "70000"]).printed("");
    assert_eq!(settings.get::<u32>("port").unwrap(), 70_000);
    server.run(["set", "settings", "--type", "Vec<bool>", "new", "[true]"]).printed("");
    assert_eq!(settings.get::<Vec<bool>>("new").unwrap(), [true]);

    let all = server.run(["get", "settings"]);
    assert_eq!(all.stdout, "NAME  VALUE\nport  70000\nhost  db\nodd   ?\nnew   [true]\n", "{all:?}");
    assert!(all.stderr.contains("\"odd\""), "{all:?}");
    server.run(["get", "settings", "odd"]).refused(1, &["\"odd\"", "unknown", "--type"]);
    server.run(["get", "settings", "--type", "u8", "port"]).refused(1, &["\"port\"", "not u8"]);
    for command in [&["get", "settings", "none"][..], &["set", "settings", "none", "1"]] {
        server.run(command).refused(4, &["no attribute \"none\""]);
    }
}

#[test]
fn events_are_set_and_cleared() {
    let server = Place::new().serve();
    let event = server.manager().named("go").event().unwrap();
    server.run(["get", "go"]).printed("false\n");
    server.run(["set", "go", "true"]).printed("");
    assert!(event.is_set().unwrap());
    server.run(["get", "go", "--json"]).printed("true\n");
    server.run(["set", "go", "false"]).printed("");
    assert!(!event.is_set().unwrap());
    server.run(["set", "go", "on"]).refused(2, &["true or false"]);
    server.run(["get", "go", "key"]).refused(2, &["no keys"]);
}

#[test]
fn values_of_unknown_types_are_shown_as_bytes_with_the_reason() {
    let server = Place::new().serve();
    let manager = server.manager();
    let odd = BTreeMap::from([(1_u8, "a".to_owned())]);
    manager.named("odd").value(&odd).unwrap();
    let deep = manager.named("deep").value(&vec![(1_u8, (2_u8, 3_u8))]).unwrap();
    for (name, digits) in [("odd", "01010161"), ("deep", "01010203")] {
        let shown = server.run(["get", name]);
        assert_eq!((shown.code, shown.stdout), (Some(0), format!("0x{digits}\n")));
        assert!(shown.stderr.contains(name) && shown.stderr.contains("--type"), "{}", shown.stderr);
        let shown = server.run(["get", "--json", name]);
        assert_eq!(shown.stdout, format!("{{\"hex\":\"{digits}\"}}\n"));
        server.run(["set", name, "1"]).refused(1, &[name, "--type"]);
    }
    let of = ["--type", "Vec<(u8, (u8, u8))>"];
    server.run([&["get", "deep"], &of[..]].concat()).printed("[[1,[2,3]]]\n");
    server.run([&["set", "deep", "[]"], &of[..]].concat()).printed("");
    assert_eq!(deep.get().unwrap(), []);
    // A wrong type is never used.
    server.run(["get", "deep", "--type", "Vec<u8>"]).refused(1, &["not Vec<u8>"]);
    server.run(["set", "deep", "--type", "Vec<u8>", "0x00"]).refused(1, &["not Vec<u8>"]);
    assert_eq!(deep.get().unwrap(), []);
}

#[test]
fn a_named_type_makes_what_does_not_exist() {
    let server = Place::new().serve();
    let manager = server.manager();
    server.run(["set", "hits", "0"]).refused(4, &["\"hits\"", "no object has this name", "--type"]);
    server.run(["set", "hits", "--type", "u64", "zero"]).refused(2, &["u64"]);
    assert_eq!(manager.names().unwrap(), [""; 0], "nothing is made of a wrong value");
    server.run(["set", "hits", "--type", "u64", "5"]).printed("");
    assert_eq!(manager.named("hits").value(&0_u64).unwrap().fetch_add(1).unwrap(), 5);
    server.run(["set", "hits", "--type", "u64", "7"]).printed("");
    server.run(["get", "hits"]).printed("7\n");
    server.run(["set", "words", "--type", "String, u64", "ant", "3"]).printed("");
    assert_eq!(manager.named("words").dict::<String, u64>().unwrap().get("ant").unwrap(), Some(3));
    server.run(["set", "other", "--type", "u64", "ant", "3"]).refused(2, &["two types"]);
    server.run(["get", "words", "--type", "String"]).refused(2, &["two types"]);
    let wrong = server.run(["get", "hits", "--type", "u65"]);
    assert!(wrong.code == Some(2) && wrong.stderr.contains("u65"), "{wrong:?}");
}

#[test]
fn objects_without_values_say_what_to_do() {
    let server = Place::new().serve();
    let manager = server.manager();
    manager.named("door").lock().unwrap();
    manager.named("jobs").queue::<u64>().unwrap();
    for (name, kind) in [("door", "Lock"), ("jobs", "Queue")] {
        server.run(["get", name]).refused(1, &[name, kind, "mp-manager inspect"]);
        server.run(["set", name, "1"]).refused(1, &[name, kind]);
    }
    server
        .run(["get", "nothing"])
        .refused(4, &["\"nothing\"", &server.addresses[0], "no object has this name"]);
    assert_eq!(manager.names().unwrap(), ["door", "jobs"], "looking makes nothing");
}

#[test]
fn texts_reach_programs_as_they_are_and_tables_without_escapes() {
    let server = Place::new().serve();
    let manager = server.manager();
    let red = "\u{1b}[31mred\u{202e}";
    manager.named("text").value(red).unwrap();
    manager.named("list").list::<String>().unwrap().push(red).unwrap();
    server.run(["get", "text"]).printed(&format!("{red}\n"));
    server.run(["get", "list"]).printed("INDEX  VALUE\n0      \\u{1b}[31mred\\u{202e}\n");
}

#[test]
fn a_server_without_a_key_needs_none() {
    let place = Place::new();
    let server = {
        let command = mp_manager(["serve", "--socket", &place.text("sock")]);
        Server::start(place, command)
    };
    let mut set = mp_manager(["set", "--address", &server.addresses[0], "--type", "bool", "on", "true"]);
    run(&mut set).printed("");
    assert!(run(&mut mp_manager(["get", "--address", &server.addresses[0], "on"])).stdout == "true\n");
}
