//! Tests of attributes, each with a name and its own type.

use super::containers::{failing, id, payload, raw};
use super::*;
use crate::limits::{ATTRIBUTES_MAX, NAME_BYTES_MAX};
use crate::proto::NamespaceOp;

fn set<'a>(name: &str, print: u64, value: Raw<'a>) -> Op<Raw<'a>> {
    Op::Namespace(NamespaceOp::Set { name: name.to_owned(), print, value })
}

fn get(name: &str, print: u64) -> Op<Raw<'static>> {
    Op::Namespace(NamespaceOp::Get { name: name.to_owned(), print })
}

fn delete(name: &str) -> Op<Raw<'static>> {
    Op::Namespace(NamespaceOp::Delete { name: name.to_owned() })
}

const NAMES: Op<Raw<'static>> = Op::Namespace(NamespaceOp::Names);

fn names(names: &[&str]) -> Answer<Payload> {
    Ok(Reply::Names(names.iter().map(|name| (*name).to_owned()).collect()))
}

#[test]
fn an_attribute_has_a_type_and_a_name() {
    let mut world = World::new();
    let client = world.client();
    let space = world.create(client, Spec::Namespace);
    let empty = world.counts();
    assert_eq!(world.ask(client, space, get("a", 1)), Err(Fault::NotFound));
    assert_eq!(world.ask(client, space, delete("a")), Err(Fault::NotFound));
    assert_eq!(world.ask(client, space, set("b", 1, raw(b"1"))), Ok(Reply::Done));
    assert_eq!(world.ask(client, space, set("a", 1, raw(b"2"))), Ok(Reply::Done));
    assert_eq!(world.ask(client, space, get("b", 2)), Err(Fault::WrongType));
    assert_eq!(world.ask(client, space, get("b", 1)), Ok(Reply::Value(payload(b"1"))));
    assert_eq!(world.ask(client, space, set("b", 2, raw(b"3"))), Ok(Reply::Done), "of another type");
    assert_eq!(world.ask(client, space, get("b", 2)), Ok(Reply::Value(payload(b"3"))));
    assert_eq!(world.ask(client, space, NAMES), names(&["b", "a"]));
    for name in ["b", "a"] {
        assert_eq!(world.ask(client, space, delete(name)), Ok(Reply::Done));
    }
    assert_eq!(world.counts(), empty);
    world.audit();
    world.end(&[client]);
}

#[test]
fn names_have_limits() {
    let mut world = World::new();
    let client = world.client();
    let space = world.create(client, Spec::Namespace);
    let before = world.counts();
    let long = "n".repeat(NAME_BYTES_MAX + 1);
    let bad = Err(Fault::BadName { limit: NAME_BYTES_MAX.try_into().unwrap() });
    for (name, answer) in [("", &bad), (&long, &bad), ("_private", &Err(Fault::Unsupported))] {
        for op in [set(name, 1, raw(b"")), get(name, 1), delete(name)] {
            assert_eq!(world.ask(client, space, op), *answer, "{name}");
        }
    }
    assert_eq!(world.counts(), before);
    world.audit();
    let longest = &long[1..];
    assert_eq!(world.ask(client, space, set(longest, 1, raw(b"v"))), Ok(Reply::Done));
    assert_eq!(world.ask(client, space, get(longest, 1)), Ok(Reply::Value(payload(b"v"))));
    for number in 1..ATTRIBUTES_MAX {
        assert_eq!(world.ask(client, space, set(&number.to_string(), 1, raw(b"v"))), Ok(Reply::Done));
    }
    let full = world.counts();
    let many = Err(Fault::TooMany { limit: ATTRIBUTES_MAX.try_into().unwrap() });
    assert_eq!(world.ask(client, space, set("more", 1, raw(b"v"))), many);
    assert_eq!(world.ask(client, space, set("1", 1, raw(b"w"))), Ok(Reply::Done), "it exists already");
    assert_eq!(world.counts(), full);
    world.end(&[client]);
}

#[test]
fn a_failed_transaction_leaves_the_attributes_as_they_were() {
    let mut world = World::new();
    let client = world.client();
    let space = world.create(client, Spec::Namespace);
    let lock = world.create(client, Spec::Lock);
    let ids = id(lock);
    let proxy = Raw { bytes: b"p", ids: &ids };
    for (name, value) in [("a", proxy), ("b", raw(b"1")), ("c", raw(b"2"))] {
        world.ask(client, space, set(name, 1, value)).unwrap();
    }
    world.detach(client, lock);
    let fails = failing(client, &mut world);
    let before = world.counts();
    let changes = || {
        let ops = [
            get("a", 1),
            set("a", 2, raw(b"x")),
            delete("b"),
            set("d", 1, proxy),
            set("b", 1, proxy),
            delete("d"),
        ];
        ops.map(|op| Step { object: space, op }).to_vec()
    };
    let mut failed = changes();
    failed.push(fails);
    assert_eq!(world.transact(client, failed), Err(Fault::NoNumber));
    assert_eq!(world.counts(), before);
    world.audit();
    assert_eq!(world.ask(client, space, NAMES), names(&["a", "b", "c"]));
    assert_eq!(world.ask(client, space, get("a", 1)), Ok(Reply::Value(Payload::copy(proxy))));
    assert_eq!(world.ask(client, space, get("b", 1)), Ok(Reply::Value(payload(b"1"))));
    world.detach(client, lock);

    world.transact(client, changes()).unwrap();
    assert_eq!(world.ask(client, space, NAMES), names(&["a", "c", "b"]));
    world.detach(client, lock);
    assert_eq!(world.state.info().objects, 3, "one attribute keeps the lock");
    world.ask(client, space, delete("b")).unwrap();
    assert_eq!(world.state.info().objects, 2);
    world.end(&[client]);
}
