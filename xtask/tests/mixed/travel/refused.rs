//! The wrong ways: each is an error that names the right one, at the place of the mistake if it can be detected there.

use std::any::type_name;
use std::fmt::{Debug, Display};
use std::fs::File;
use std::marker::PhantomData;
use std::os::fd::AsFd;

use mp::manager::Manager;
use mp::{
    Array, Barrier, BoundedSemaphore, Condition, Connection, Descriptor, Event, ExitError, GetError,
    JoinableQueue, Listener, Lock, Method, Process, Queue, RLock, RawArray, RawValue, Receiver, RecvError,
    RwLock, Semaphore, SharedMemory, SimpleQueue, Value, duplex, pipe,
};
use mp_sys::testing::{PATIENCE, hang, tests};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::travel::private_name;

tests! {
    memory_where_only_bytes_go,
    named_memory_where_only_bytes_go,
    queues_and_ends_where_only_bytes_go,
    proxies_of_a_manager_in_memory,
    proxies_of_another_manager,
    proxies_of_a_manager_that_has_ended,
    a_reused_name_is_refused,
    ends_and_queues_of_other_types,
    guards_permits_tasks_and_children_never_travel,
    a_childs_descriptor_travels_in_its_place,
}

/// What the error says after an attempt to use a way that carries only bytes.
const RIGHT_WAY: &str = "send it through a pipe or connection, or pass it to a process as an argument; for an object with a name, send the name";

fn give_back<T>(object: T) -> T {
    object
}

/// Tries to bring an object to places that only bytes can reach.
fn only_bytes<T: Debug + Serialize + DeserializeOwned>(manager: &Manager, make: impl Fn() -> T) {
    let object = make();
    let says = |way: &str, error: &dyn Display| {
        let error = error.to_string();
        assert!(error.contains(RIGHT_WAY), "{} in {way}: {error}", type_name::<T>());
    };
    let queue = Queue::new().unwrap();
    says("put", &queue.put(&object).unwrap_err());
    says("try_put", &queue.try_put(&object).unwrap_err());
    says("put_timeout", &queue.put_timeout(&object, PATIENCE).unwrap_err());
    says("put_many", &queue.put_many(std::slice::from_ref(&object)).unwrap_err());
    assert!(queue.is_empty());
    says("a simple queue", &SimpleQueue::new().unwrap().put(&object).unwrap_err());
    let tasks = JoinableQueue::new().unwrap();
    says("tasks", &tasks.put(&object).unwrap_err());
    assert_eq!(tasks.unfinished(), Ok(0));
    let list = manager.list().unwrap();
    says("a list", &list.push(&object).unwrap_err());
    says("several", &list.extend([&object]).unwrap_err());
    assert!(list.is_empty().unwrap());
    says("a dict", &manager.dict().unwrap().insert(&1, &object).unwrap_err());
    says("a key", &manager.dict::<T, u8>().unwrap().insert(&object, &1).unwrap_err());
    says("a manager's value", &manager.value(&object).unwrap_err());
    says("an array", &manager.array([&object]).unwrap_err());
    says("an attribute", &manager.namespace().unwrap().set("it", &object).unwrap_err());
    says("a manager's queue", &manager.queue().unwrap().put(&object).unwrap_err());
    says("a manager's task", &manager.joinable_queue().unwrap().put(&object).unwrap_err());
    says("a file", &serde_json::to_string(&object).unwrap_err());
    says("a forked child's result", &mp::fork(&make).unwrap().join().unwrap_err());
    for method in [Method::Fork, Method::Spawn, Method::ForkServer] {
        let child = Process::new().method(method).start(give_back::<T>, &object).unwrap();
        says(&format!("the result of {method:?}"), &child.join().unwrap_err());
    }
}

fn memory_where_only_bytes_go() {
    let manager = Manager::start().unwrap();
    only_bytes(&manager, || Value::new(1_u8).unwrap());
    only_bytes(&manager, || Array::from_slice(&[1_u8]).unwrap());
    only_bytes(&manager, || RawValue::new(1_u8).unwrap());
    only_bytes(&manager, || RawArray::<u64>::zeroed(100_000).unwrap());
    only_bytes(&manager, || SharedMemory::new(100_000).unwrap());
    only_bytes(&manager, || Lock::new().unwrap());
    only_bytes(&manager, || RLock::new().unwrap());
    only_bytes(&manager, || RwLock::new(1_u8).unwrap());
    only_bytes(&manager, || Semaphore::new(1).unwrap());
    only_bytes(&manager, || BoundedSemaphore::new(1).unwrap());
    only_bytes(&manager, || Event::new().unwrap());
    only_bytes(&manager, || Condition::new().unwrap());
    only_bytes(&manager, || Barrier::new(1).unwrap());
    // The same inside other values.
    only_bytes(&manager, || vec![("it".to_owned(), Some(Value::new(1_u8).unwrap()))]);
    manager.shutdown().unwrap();
}

fn named_memory_where_only_bytes_go() {
    let manager = Manager::start().unwrap();
    only_bytes(&manager, || Value::create(&private_name(), 1_u8).unwrap());
    only_bytes(&manager, || Array::<u8>::create(&private_name(), 1).unwrap());
    only_bytes(&manager, || RawValue::create(&private_name(), 1_u8).unwrap());
    only_bytes(&manager, || RawArray::<u8>::create(&private_name(), 1).unwrap());
    only_bytes(&manager, || SharedMemory::create(&private_name(), 1).unwrap());
    only_bytes(&manager, || Lock::create(&private_name()).unwrap());
    only_bytes(&manager, || RLock::create(&private_name()).unwrap());
    only_bytes(&manager, || RwLock::create(&private_name(), 1_u8).unwrap());
    only_bytes(&manager, || Semaphore::create(&private_name(), 1).unwrap());
    only_bytes(&manager, || BoundedSemaphore::create(&private_name(), 1).unwrap());
    only_bytes(&manager, || Event::create(&private_name()).unwrap());
    only_bytes(&manager, || Condition::create(&private_name()).unwrap());
    only_bytes(&manager, || Barrier::create(&private_name(), 1).unwrap());
    manager.shutdown().unwrap();
}

fn queues_and_ends_where_only_bytes_go() {
    let manager = Manager::start().unwrap();
    only_bytes(&manager, || pipe::<u8>().unwrap().0);
    only_bytes(&manager, || pipe::<u8>().unwrap().1);
    only_bytes(&manager, || duplex::<u8, u8>().unwrap().0);
    only_bytes(&manager, || Queue::<u8>::new().unwrap());
    only_bytes(&manager, || SimpleQueue::<u8>::new().unwrap());
    only_bytes(&manager, || JoinableQueue::<u8>::new().unwrap());
    only_bytes(&manager, || Descriptor::from(File::open("/dev/null").unwrap()));
    manager.shutdown().unwrap();
}

/// Checks the error where these proxies arrive: in a message, in a ring, as an argument, as a result.
fn arriving<T: Debug + Serialize + DeserializeOwned>(lost: T, expected: &str) {
    let says = |reason: String| assert!(reason.contains(expected), "{reason}");
    let (sender, receiver) = pipe::<T>().unwrap();
    let queue = Queue::<T>::new().unwrap();
    sender.send(&lost).unwrap();
    queue.put(&lost).unwrap();
    match mp::spawn(|_: T| (), &lost).unwrap().join().unwrap_err() {
        ExitError::Arguments(reason) => says(reason),
        other => panic!("{other:?}"),
    }
    // This process forgets what it knows of the manager.
    drop(lost);
    match receiver.recv_timeout(PATIENCE).unwrap_err() {
        RecvError::Decode { reason, .. } => says(reason),
        other => panic!("{other:?}"),
    }
    match queue.get_timeout(PATIENCE).unwrap_err() {
        GetError::Decode { reason, .. } => says(reason),
        other => panic!("{other:?}"),
    }
}

fn proxies_of_a_manager_in_memory() {
    const EXPECTED: &str = "objects for several processes need one that was started (Manager::start)";
    let list = Manager::in_process().unwrap().list::<u8>().unwrap();
    arriving(list, EXPECTED);
    arriving(Manager::in_process().unwrap(), EXPECTED);
    match mp::fork(|| Manager::in_process().unwrap().lock().unwrap()).unwrap().join().unwrap_err() {
        ExitError::Decode(reason) => assert!(reason.contains(EXPECTED), "{reason}"),
        other => panic!("{other:?}"),
    }
    let list = Manager::in_process().unwrap().list::<u8>().unwrap();
    let refused = mp::fork(|| list.push(&1).unwrap_err().to_string()).unwrap().join().unwrap();
    assert!(refused.contains("need a manager that was started (Manager::start)"), "{refused}");
}

fn proxies_of_another_manager() {
    let (one, other) = (Manager::start().unwrap(), Manager::start().unwrap());
    let stranger = other.list::<u8>().unwrap();
    let says = |error: &dyn Display| {
        let error = error.to_string();
        assert!(
            error.contains("send it through a pipe or queue, or store that manager's address"),
            "{error}"
        );
    };
    says(&one.list().unwrap().push(&stranger).unwrap_err());
    says(&one.dict().unwrap().insert(&1, &stranger).unwrap_err());
    says(&one.value(&stranger).unwrap_err());
    says(&one.queue().unwrap().put(&stranger).unwrap_err());
    says(&one.transaction(|batch| batch.on(&stranger).push(&1)).unwrap_err());
    // The way that the error names works.
    let (sender, receiver) = pipe().unwrap();
    sender.send(&stranger).unwrap();
    receiver.recv_timeout(PATIENCE).unwrap().push(&1).unwrap();
    let named = other.named("numbers").list::<u8>().unwrap();
    let places = one.list::<(String, String)>().unwrap();
    places.push(&(other.address().unwrap(), "numbers".to_owned())).unwrap();
    let (address, name) = places.get(0).unwrap();
    Manager::connect(&address).unwrap().named(&name).list::<u8>().unwrap().push(&2).unwrap();
    assert_eq!((stranger.to_vec().unwrap(), named.to_vec().unwrap()), (vec![1], vec![2]));
    // The manager itself cannot be stored in another manager either.
    let managers = one.list().unwrap();
    managers.push(&other).unwrap();
    assert_eq!(managers.get(0).unwrap().names().unwrap(), ["numbers"]);
    drop((stranger, named, places, managers));
    one.shutdown().unwrap();
    other.shutdown().unwrap();
}

fn proxies_of_a_manager_that_has_ended() {
    let manager = Manager::start().unwrap();
    let lock = manager.lock().unwrap();
    let (sender, receiver) = pipe().unwrap();
    sender.send(&lock).unwrap();
    manager.shutdown().unwrap();
    drop(manager);
    // What nobody could have is not sent.
    let refused = sender.send(&lock).unwrap_err().to_string();
    assert!(refused.contains("the manager's server is gone"), "{refused}");
    // This process forgets what it knows of the manager.
    drop(lock);
    match receiver.recv_timeout(PATIENCE).unwrap_err() {
        RecvError::Decode { reason, .. } => {
            assert!(reason.contains("cannot be reached: no server listens at this address"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    // The end of an object is reported when it is used, or when it arrives.
    let manager = Manager::start().unwrap();
    let (sender, receiver) = pipe().unwrap();
    let named = manager.named("it").value(&1_u8).unwrap();
    sender.send(&named).unwrap();
    manager.remove("it").unwrap();
    drop(named);
    let error = match receiver.recv_timeout(PATIENCE) {
        Ok(arrived) => arrived.get().unwrap_err().to_string(),
        Err(RecvError::Decode { reason, .. }) => reason,
        Err(other) => panic!("{other:?}"),
    };
    assert_eq!(error, mp::manager::proto::Fault::UnknownObject.to_string());
    manager.shutdown().unwrap();
}

fn a_reused_name_is_refused() {
    let name = private_name();
    let (sender, receiver) = pipe().unwrap();
    let value = Value::create(&name, 1_u8).unwrap();
    for _ in 0..2 {
        sender.send(&value).unwrap();
    }
    drop(value);
    mp::named::unlink(&name).unwrap();
    let says = |expected: &str| match receiver.recv_timeout(PATIENCE).unwrap_err() {
        RecvError::Decode { reason, .. } => assert!(reason.contains(expected), "{reason}"),
        other => panic!("{other:?}"),
    };
    says(&mp::NameError::NotFound.to_string());
    let _other = Value::create(&name, 2_u8).unwrap();
    says("another object has the name by now");
}

/// Sends an object in a struct to a program whose struct of this name contains another object.
macro_rules! of_another_type {
    ($object:expr, $sent:ty, $expected:ty, $says:literal) => {{
        mod sends {
            #[derive(serde::Serialize, serde::Deserialize)]
            pub(super) struct It(pub(super) $sent);
        }
        mod expects {
            #[derive(Debug, serde::Deserialize)]
            pub(super) struct It(#[expect(dead_code, reason = "never decoded")] $expected);
        }
        let (sender, receiver) = pipe::<sends::It>().unwrap();
        sender.send(&sends::It($object)).unwrap();
        let same = receiver.as_fd().try_clone_to_owned().unwrap();
        match Receiver::<expects::It>::from_fd(same).unwrap().recv_timeout(PATIENCE).unwrap_err() {
            RecvError::Decode { reason, .. } => assert!(reason.contains($says), "{reason}"),
            other => panic!("{other:?}"),
        }
    }};
}

fn ends_and_queues_of_other_types() {
    of_another_type!(Value::new(1).unwrap(), mp::Value<u8>, mp::Value<i8>, "another kind of object");
    of_another_type!(pipe().unwrap().0, mp::Sender<u8>, mp::Sender<i8>, "a sender of other types");
    of_another_type!(pipe().unwrap().0, mp::Sender<u8>, mp::Receiver<u8>, "another kind of end");
    of_another_type!(Queue::new().unwrap(), mp::Queue<u8>, mp::Queue<i8>, "a queue of another kind or type");
    let manager = Manager::in_process().unwrap();
    let list = manager.list().unwrap();
    of_another_type!(list, mp::manager::List<u8>, mp::manager::List<i8>, "the proxy is of another type");
}

/// Whether a type can be encoded: the constant of the type itself takes precedence over that of a trait.
struct Is<T>(PhantomData<T>);

trait CannotTravel {
    const TRAVELS: bool = false;
}

impl<T> CannotTravel for Is<T> {}

impl<T: Serialize> Is<T> {
    const TRAVELS: bool = true;
}

/// Guards and permits belong to a thread; tasks and handles of children belong to a process. Nothing could arrive, so
/// sending them does not compile.
fn guards_permits_tasks_and_children_never_travel() {
    macro_rules! table {
        ($($type:ty: $travels:literal,)*) => {
            $(assert_eq!(Is::<$type>::TRAVELS, $travels, "{}", stringify!($type));)*
        };
    }
    table! {
        Value<u8>: true,
        Connection<u8, u8>: true,
        Manager: true,
        mp::LockGuard<'_>: false,
        mp::RLockGuard<'_>: false,
        mp::RwLockReadGuard<'_, u8>: false,
        mp::RwLockWriteGuard<'_, u8>: false,
        mp::ValueGuard<'_, u8>: false,
        mp::ArrayGuard<'_, u8>: false,
        mp::Permit<'_>: false,
        mp::Party<'_>: false,
        mp::Task<u8>: false,
        mp::FailedTask: false,
        Listener<u8, u8>: false,
        mp::Child<u8>: false,
        mp::ActiveChild: false,
        mp::ParentProcess: false,
        Process: false,
        mp::manager::LockGuard<'_>: false,
        mp::manager::RLockGuard<'_>: false,
        mp::manager::Permit<'_>: false,
        mp::manager::Task<u8>: false,
        mp::manager::Batch<'_>: false,
        mp::manager::Named<'_>: false,
        mp::manager::Server: false,
    }
}

fn a_childs_descriptor_travels_in_its_place() {
    let (sender, receiver) = pipe::<Descriptor>().unwrap();
    let watcher = mp::spawn(
        |receiver: Receiver<Descriptor>| {
            let child = receiver.recv_timeout(PATIENCE).unwrap();
            mp::wait(&[&child], PATIENCE).unwrap()
        },
        receiver,
    )
    .unwrap();
    let child = mp::fork(|| -> () { hang() }).unwrap();
    sender.send(&child.as_fd().try_clone_to_owned().unwrap().into()).unwrap();
    child.kill().unwrap();
    assert_eq!(watcher.join().unwrap(), [0]);
    assert!(child.join().is_err());
}
