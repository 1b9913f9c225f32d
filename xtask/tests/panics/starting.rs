//! Starting processes: what a child runs, what travels to it and back, and what is dropped on the way.
//!
//! `fork` refuses to run beside threads, so only a process contends: it starts children as well.

use mp::{Child, ExitError, Method, Process};

use crate::cell::{Beside, HANG, Outcome, contended, define_cells};
use crate::trap::{Item, Trap, is_caught, spring};

define_cells! {
    "fork", "(f)", || starts(Trap::Closure, || ends_by_panic(&mp::fork(sprung).unwrap()));
    "fork", "(f), its result: Serialize", || starts(Trap::Serialize, || ends_by_panic(&mp::fork(|| Item(1)).unwrap()));
    "fork", "(f), its result: Drop", || starts(Trap::Drop, || drops_result(&mp::fork(|| Item(1)).unwrap()));
    "fork", "(f), what f owns: Drop", || starts(Trap::Drop, drops_owned);
    "fork", "Child::join (R: Deserialize)", || starts(Trap::Deserialize, || joins(&mp::fork(|| Item(1)).unwrap()));
    "fork_with", "(handles: Serialize)", || starts(Trap::Serialize, fork_with);
    "fork_with", "(f)", || starts(Trap::Closure, fork_with_closure);
    "scope", "(f)", || starts(Trap::Closure, scope);
    "spawn", "(worker)", || starts(Trap::Closure, || ends_by_panic(&mp::spawn(panicking_worker::<()>, 7_u8).unwrap()));
    "spawn", "(args: Serialize)", || starts(Trap::Serialize, || spawns(Method::Spawn));
    "spawn", "(args: Deserialize), in the child", || starts(Trap::Closure, || arrives(Method::Spawn));
    "spawn", "Child::join (R: Deserialize)", || starts(Trap::Deserialize, || spawns(Method::Spawn));
    "forkserver", "(args: Serialize)", || starts(Trap::Serialize, || spawns(Method::ForkServer));
    "forkserver", "(args: Deserialize), in the child", || starts(Trap::Closure, || arrives(Method::ForkServer));
    "forkserver", "Child::join (R: Deserialize)", || starts(Trap::Deserialize, || spawns(Method::ForkServer));
    "Process", "name(Into<String>)", || starts(Trap::AsRef, name);
}

fn starts(trap: Trap, entry: impl Fn()) -> Outcome {
    contended(
        Beside::Process,
        || (),
        |()| mp::fork(|| 7).is_ok_and(|child| child.join() == Ok(7)),
        trap,
        |()| entry(),
        |()| mp::active_children().is_empty() && mp::fork(|| 8).is_ok_and(|child| child.join() == Ok(8)),
    )
}

/// The child inherits the trap.
fn sprung() {
    (0..4).for_each(|_| spring(Trap::Closure));
}

/// A panic in the child is reported here; this panics as well, so that it counts.
fn ends_by_panic<R: serde::Serialize + serde::de::DeserializeOwned>(child: &Child<R>) {
    match child.join_timeout(HANG) {
        Err(ExitError::Panicked(_)) => panic!("on purpose"),
        Ok(Some(_)) => {}
        other => panic!("{:?}", other.map(|ended| ended.is_some())),
    }
}

/// The child stores the value before it drops it, so the value may be there. The child ends in either case.
fn drops_result(child: &Child<Item>) {
    match child.join_timeout(HANG) {
        Err(ExitError::Panicked(_)) => panic!("on purpose"),
        Ok(Some(item)) => drop(item),
        other => panic!("{:?}", other.map(|ended| ended.is_some())),
    }
}

fn drops_owned() {
    let owned = Item(1);
    let child = mp::fork(move || owned.0).unwrap();
    ends_by_panic(&child);
}

fn joins(child: &Child<Item>) {
    drop(child.join_timeout(HANG).unwrap().unwrap());
}

fn fork_with() {
    let child = mp::fork_with(Item(1), |item| item.0).unwrap();
    assert_eq!(child.join_timeout(HANG).unwrap(), Some(1));
}

fn fork_with_closure() {
    ends_by_panic(&mp::fork_with(1_u8, |_| sprung()).unwrap());
}

/// With a child in it, which has ended when the panic goes on.
fn scope() {
    let left = mp::scope(|s| {
        let child = s.fork(|| 1_u8).unwrap();
        sprung();
        child.join()
    });
    assert_eq!(left, Ok(1));
}

fn panicking_worker<T>(_: u8) -> T {
    std::panic::set_hook(Box::new(|_| {}));
    panic!("on purpose");
}

fn worker(item: Item) -> Item {
    item
}

fn spawns(method: Method) {
    let child = Process::new().method(method).start(worker, Item(1)).unwrap();
    drop(child.join_timeout(HANG).unwrap().unwrap());
}

/// An argument that panics when it arrives.
#[derive(serde::Serialize)]
struct Unwelcome;

impl<'de> serde::Deserialize<'de> for Unwelcome {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panicking_worker(0)
    }
}

fn arrives(method: Method) {
    ends_by_panic(&Process::new().method(method).start(|_: Unwelcome| (), Unwelcome).unwrap());
}

/// A name that panics when it is made.
struct Name;

impl From<Name> for String {
    fn from(_: Name) -> Self {
        spring(Trap::AsRef);
        Self::from("named")
    }
}

fn name() {
    let child = Process::new().name(Name).fork(|| 1).unwrap();
    assert_eq!(child.join_timeout(HANG).unwrap(), Some(1));
    assert!(!is_caught(Trap::AsRef, 0, || ()), "nothing runs here");
}
