//! Managers and proxies. A proxy shows which object it stands for. Only the server knows the state of that object.

use std::sync::Arc;

use mp::manager::{InProcess, Manager, Server};
use mp_sys::testing::eventually;

use super::Seen;

pub(super) fn states(seen: &mut Seen) {
    let manager = Manager::start().unwrap();
    seen.look_for(&manager, "Manager", &["mp+unix:/", ", started here"]);
    proxies(seen, &manager);
    held(seen, &manager);
    batches(seen, &manager);
    seen.look(&manager.named(&"n".repeat(200)), "Named", &format!("\"{}…", "n".repeat(34)));
    manager.shutdown().unwrap();
    around(seen);
}

fn proxies(seen: &mut Seen, manager: &Manager) {
    let list = manager.list::<String>().unwrap();
    list.extend(["a".to_owned(), "b".to_owned()].iter()).unwrap();
    seen.look_for(&list, "List", &["#"]);
    let mut iter = list.iter();
    seen.look_for(&iter, "ListIter", &["List(#", " at 0"]);
    iter.next().unwrap().unwrap();
    seen.look_for(&iter, "ListIter", &["List(#", " at 1"]);
    let dict = manager.dict::<String, u8>().unwrap();
    seen.look_for(&dict, "Dict", &["#"]);
    seen.look_for(&dict.iter(), "DictIter", &["Dict(#"]);
    seen.look_for(&manager.namespace().unwrap(), "Namespace", &["#"]);
    seen.look_for(&manager.value(&7_u8).unwrap(), "Value", &["#"]);
    seen.look_for(&manager.array([7_u8].iter()).unwrap(), "Array", &["#"]);
    seen.look_for(&manager.queue::<u8>().unwrap(), "Queue", &["#"]);
    seen.look_for(&manager.condition().unwrap(), "Condition", &["#"]);
    seen.look_for(&manager.event().unwrap(), "Event", &["#"]);
    let barrier = manager.barrier(2).unwrap();
    seen.look_for(&barrier, "Barrier", &["#"]);
    seen.look_for(&barrier.party().unwrap(), "Party", &["Barrier", "#"]);
}

fn held(seen: &mut Seen, manager: &Manager) {
    let (lock, rlock) = (manager.lock().unwrap(), manager.rlock().unwrap());
    seen.look_for(&lock, "Lock", &["#"]);
    seen.look_for(&rlock, "RLock", &["#"]);
    seen.look_for(&lock.lock().unwrap(), "LockGuard", &["#", ", token "]);
    seen.look_for(&rlock.lock().unwrap(), "RLockGuard", &["#", ", token "]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let taken = runtime.block_on(lock.lock_async()).unwrap();
    seen.look_for(&taken, "TaskGuard", &["#", ", token "]);
    drop(taken);
    drop(runtime);
    let (semaphore, bounded) = (manager.semaphore(1).unwrap(), manager.bounded_semaphore(1).unwrap());
    seen.look_for(&semaphore, "Semaphore", &["#"]);
    seen.look_for(&bounded, "BoundedSemaphore", &["#"]);
    seen.look_for(&semaphore.acquire().unwrap(), "Permit", &["#"]);
    let tasks = manager.joinable_queue::<String>().unwrap();
    seen.look_for(&tasks, "JoinableQueue", &["#"]);
    tasks.put(&"line\n".repeat(100)).unwrap();
    let task = tasks.get().unwrap();
    seen.look_for(&task, "Task", &["line", "…", "delivery 1"]);
    task.done().unwrap();
}

fn batches(seen: &mut Seen, manager: &Manager) {
    let value = manager.value(&7_u8).unwrap();
    let tasks = manager.joinable_queue::<u8>().unwrap();
    tasks.put(&9).unwrap();
    let task = tasks.get().unwrap();
    let shown = manager.transaction(|batch| {
        seen.look(batch, "Batch", "0 steps");
        seen.look_for(&batch.on(&value), "On", &["#", "Batch(0 steps)"]);
        let ticket = batch.on(&value).get();
        seen.look(&ticket, "Ticket", "0");
        let done = batch.done(task);
        seen.look(&done, "Done", "9, Ticket(1)");
        (ticket, done)
    });
    assert_eq!(shown.unwrap().0, 7);
}

/// Shows the types with which a program starts and serves managers.
fn around(seen: &mut Seen) {
    const KEY: &str = "correct horse battery staple";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n".repeat(40));
    let builder = Manager::builder().key(KEY).path(&path);
    seen.look_for(&builder, "ManagerBuilder", &["with a key", "…"]);
    seen.look(&Manager::builder(), "ManagerBuilder", "without a key");
    let mixed = Manager::builder().objects("redis://:secret@host").queues("amqp://ann:secret@host");
    seen.look(&mixed, "MixedBuilder", "ManagerBuilder(without a key)");
    seen.look(&mp::Key::default(), "Key", "none");
    seen.look_for(&Server::builder().key(KEY), "ServerBuilder", &["with a key, at most "]);
    let server = Server::builder().key(KEY).bind(&path).unwrap();
    seen.look_for(&server, "Server", &["Address(mp+unix:/", "…"]);
    seen.look(&server.stopper(), "Stopper", "");
    seen.look_for(server.address(), "Address", &["mp+unix:/", "…"]);
    let backend = Arc::new(InProcess::new().unwrap());
    seen.look(&*backend, "InProcess", "its own");
    seen.look(&Manager::with(backend), "Manager", "in this process");
    in_redis(seen);
}

/// A private Redis server, which ends with this value.
struct RedisServer(std::process::Child);

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn in_redis(seen: &mut Seen) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s".repeat(30));
    let mut start = std::process::Command::new("redis-server");
    start.args(["--port", "0", "--save", "", "--unixsocket"]).arg(&socket).arg("--dir").arg(folder.path());
    let _server = RedisServer(start.stdout(std::process::Stdio::null()).spawn().unwrap());
    eventually("Redis listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    let manager = Manager::connect(&format!("redis+unix://{}", socket.display())).unwrap();
    seen.look_for(&**manager.backend(), "Redis", &["redis+unix:///", "…"]);
}

pub(super) fn without_a_server(seen: &mut Seen) {
    let manager = Manager::start().unwrap();
    let (list, lock) = (manager.list::<u8>().unwrap(), manager.lock().unwrap());
    let guard = lock.lock().unwrap();
    manager.shutdown().unwrap();
    seen.look_for(&manager, "Manager", &["started here"]);
    seen.look_for(&list, "List", &["#"]);
    seen.look_for(&lock, "Lock", &["#"]);
    seen.look_for(&guard, "LockGuard", &["#", ", token "]);
    drop(guard);
}
