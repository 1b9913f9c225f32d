//! Keys go to children with their arguments, whichever way the children are started, and to no other process.

use std::path::Path;

use mp::manager::{List, Manager};
use mp::{Address, Method, Process, Queue, Receiver, RecvError, pipe};
use mp_sys::testing::{PATIENCE, tests};

tests! {
    an_address_with_a_key_and_one_without,
    children_have_the_key_of_a_manager_and_so_do_theirs,
    a_message_brings_no_key,
}

const METHODS: [Method; 3] = [Method::Fork, Method::Spawn, Method::ForkServer];

fn give_back<T>(object: T) -> T {
    object
}

fn an_address_with_a_key_and_one_without() {
    let address = Address::new("name").key("secret");
    let (sender, _receiver) = pipe().unwrap();
    let errors = [
        sender.send(&address).unwrap_err().to_string(),
        Queue::new().unwrap().put(&address).unwrap_err().to_string(),
        mp::fork(|| address.clone()).unwrap().join().unwrap_err().to_string(),
    ];
    for error in errors {
        assert!(error.contains("send its name, and add the key where it arrives"), "{error}");
    }
    // A child gets the key with its arguments.
    for method in METHODS {
        let child =
            Process::new().method(method).start(|given: Address| format!("{given:?}"), &address).unwrap();
        assert_eq!(child.join().unwrap(), format!("{address:?}"), "{method:?}");
    }
    // Without the key it is only a name, which can go everywhere.
    let name = Address::new("name");
    let (queue, manager) = (Queue::new().unwrap(), Manager::in_process().unwrap());
    queue.put(&name).unwrap();
    let arrived = [
        queue.get().unwrap(),
        manager.value(&name).unwrap().get().unwrap(),
        mp::spawn(give_back::<Address>, &name).unwrap().join().unwrap(),
    ];
    assert_eq!(arrived, [&name; 3].map(Clone::clone));
}

/// Uses both a proxy and a manager, and lets a child of each kind do the same.
fn use_them((depth, list, manager): (u32, List<u32>, Manager)) {
    list.push(&depth).unwrap();
    manager.named("hits").value(&0_u32).unwrap().fetch_add(1).unwrap();
    let Some(depth) = depth.checked_sub(1) else { return };
    for method in METHODS {
        let child = Process::new().method(method).start(use_them, (&depth, &list, &manager)).unwrap();
        child.join().unwrap_or_else(|error| panic!("{method:?} at {depth}: {error}"));
    }
    // Ends this process's fork server, because no other process would reap it.
    mp::release_unused_memory();
}

fn children_have_the_key_of_a_manager_and_so_do_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let own_path = |builder: mp::manager::ManagerBuilder, name: &str| builder.path(folder.path().join(name));
    let managers = [
        own_path(Manager::builder(), "random"),
        own_path(Manager::builder().key("a secret of ours"), "ours"),
        Manager::builder().key("another secret"),
        Manager::builder(),
    ];
    for builder in managers {
        let manager = builder.start().unwrap();
        let list = manager.list::<u32>().unwrap();
        use_them((2, list.clone(), manager.clone()));
        // This process, its three children, and their nine.
        assert_eq!(list.len().unwrap(), 1 + 3 + 9);
        assert_eq!(manager.named("hits").value(&0_u32).unwrap().get().unwrap(), 1 + 3 + 9);
        drop(list);
        manager.shutdown().unwrap();
    }
}

fn a_message_brings_no_key() {
    fn use_it(list: List<u8>) {
        list.push(&1).unwrap();
    }
    fn without(receiver: Receiver<List<u8>>) -> String {
        match receiver.recv_timeout(PATIENCE) {
            Err(RecvError::Decode { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    }
    fn with((path, receiver): (String, Receiver<List<u8>>)) {
        let _manager = Manager::builder().key("a secret of ours").connect(&path).unwrap();
        use_it(receiver.recv_timeout(PATIENCE).unwrap());
    }
    // If the manager has no folder of its own, its key is stored nowhere.
    let folder = tempfile::tempdir().unwrap();
    let manager = started_at(&folder.path().join("socket"));
    let list = manager.list::<u8>().unwrap();
    let (sender, receiver) = pipe().unwrap();
    let child = mp::spawn(without, &receiver).unwrap();
    sender.send(&list).unwrap();
    let reason = child.join().unwrap();
    assert!(reason.contains("connect with it (Manager::builder().key) before proxies"), "{reason}");
    // The way that the error names works.
    let child = mp::spawn(with, (manager.address().unwrap(), receiver)).unwrap();
    sender.send(&list).unwrap();
    child.join().unwrap();
    assert_eq!(list.to_vec().unwrap(), [1]);
    drop(list);
    manager.shutdown().unwrap();
}

fn started_at(path: &Path) -> Manager {
    Manager::builder().key("a secret of ours").path(path).start().unwrap()
}
