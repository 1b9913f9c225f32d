//! Calls whose session ends before they read their answer.

use manager_rt::{Barrier, GetError, Manager, Queue};
use mp_sys::reexec::Handed;
use mp_sys::testing::{eventually, is_in_state};
use rustix::process::Signal;

use crate::There;
use crate::deaths::{Holder, PATIENCE, heard, signal, tell};
use crate::lines::guard;
use crate::queues::waiters;
use crate::server::Server;

fn narrow(manager: &Manager) -> Queue<u8> {
    manager.named("queue").bounded_queue(1).unwrap()
}

fn pair(manager: &Manager) -> Barrier {
    manager.named("barrier").barrier(2).unwrap()
}

/// The main function of a process that puts an item, or waits at a barrier, and says how that ended.
fn call(handed: Handed) -> i32 {
    let manager = Manager::connect(&heard(&handed)).unwrap();
    tell(handed.endpoint(), "held");
    let outcome = match &*heard(&handed) {
        "put" => format!("{:?}", narrow(&manager).put_timeout(&2, PATIENCE)),
        _ => format!("{:?}", pair(&manager).wait_timeout(PATIENCE)),
    };
    tell(handed.endpoint(), &outcome);
    heard(&handed);
    0
}

/// What happens to the record of a call that was answered, and to the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Both,
    Answer,
    Nothing,
}

/// Lets another process call, stops it, answers it, ends its session, and returns how the call ended. `answer` lets it have what
/// it waits for, and `sweep` what Redis knows of ended sessions.
fn ends_with(
    server: &Server,
    what: &str,
    left: Left,
    answer: impl FnOnce(&Manager),
    sweep: impl FnOnce(&Manager),
) -> (Manager, Holder, String) {
    let there = There::new(server);
    let key = |name: &str| format!("{{{}}}:{name}", there.namespace());
    let url = there.leased("3600s");
    let manager = Manager::connect(&url).unwrap();
    narrow(&manager).put(&1).unwrap();
    let caller = Holder::start(call, &url);
    caller.tell(what);
    waiters(&manager, 1);
    let name = server.cli(&["hkeys", &key("waits")]);
    signal(caller.child.id(), Signal::STOP);
    eventually("it is stopped", || is_in_state(caller.child.id(), 'T'));
    // Otherwise its answer would be in its socket.
    server.cli(&["client", "kill", "type", "normal"]);
    answer(&manager);
    server.cli(&["zadd", &key("sessions"), "0", &name[..16]]);
    if left != Left::Both {
        sweep(&manager);
    }
    if left == Left::Nothing {
        assert_eq!(server.cli(&["del", &key(&format!("w:{name}"))]), "1");
    }
    signal(caller.child.id(), Signal::CONT);
    let said = caller.says();
    (manager, caller, said)
}

#[test]
fn a_put_is_done_once_although_its_session_ended_before_its_answer_was_read() {
    let server = Server::start(&[]);
    for left in [Left::Both, Left::Answer, Left::Nothing] {
        let take = |manager: &Manager| assert_eq!(narrow(manager).get(), Ok(1));
        let sweep = |manager: &Manager| assert_eq!(narrow(manager).len(), Ok(1));
        let (manager, _caller, said) = ends_with(&server, "put", left, take, sweep);
        if left == Left::Nothing {
            assert!(said.contains("OutcomeUnknown"), "{said}");
        } else {
            assert_eq!(said, "Ok(())");
        }
        assert_eq!(narrow(&manager).try_get(), Ok(2));
        assert_eq!(narrow(&manager).try_get(), Err(GetError::Empty));
    }
}

#[test]
fn a_party_arrives_once_although_its_session_ended_before_its_answer_was_read() {
    let server = Server::start(&[]);
    for left in [Left::Both, Left::Answer, Left::Nothing] {
        let arrive = |manager: &Manager| {
            pair(manager).wait_timeout(PATIENCE).unwrap();
        };
        let sweep = |manager: &Manager| assert_eq!(pair(manager).n_waiting(), Ok(0));
        let (manager, _caller, said) = ends_with(&server, "wait", left, arrive, sweep);
        let expected = if left == Left::Nothing { "OutcomeUnknown" } else { "Ok(" };
        assert!(said.contains(expected), "{said}");
        assert_eq!(pair(&manager).n_waiting(), Ok(0));
    }
}

#[test]
fn a_put_that_waits_keeps_what_its_process_holds_while_redis_is_full() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]);
    let there = There::new(&server);
    let manager = there.connect();
    let shared = narrow(&manager);
    shared.put(&1).unwrap();
    let client = Manager::connect(&there.leased("1s")).unwrap();
    let lock = client.named("lock").lock().unwrap();
    let held = guard(lock.lock());
    std::thread::scope(|scope| {
        let producer = scope.spawn(|| narrow(&client).put_timeout(&2, PATIENCE));
        waiters(&manager, 1);
        server.cli(&["config", "set", "maxmemory", "1"]);
        server.cli(&["config", "resetstat"]);
        // The keeper renews the session three times in the time in which the call asks once.
        let asked = || {
            let stats = server.cli(&["info", "commandstats"]);
            let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
            calls.and_then(|calls| calls.split(',').next()?.parse::<u32>().ok()).unwrap_or(0)
        };
        eventually("it has asked again", || asked() >= 12);
        server.cli(&["config", "set", "maxmemory", "0"]);
        assert_eq!(shared.get(), Ok(1));
        assert_eq!(producer.join().unwrap(), Ok(()));
    });
    assert!(held.is_valid());
    assert_eq!(shared.get(), Ok(2));
}
