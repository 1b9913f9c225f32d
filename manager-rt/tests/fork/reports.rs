//! What a manager reports beside real processes: their deadlocks, and what is left of the killed ones.

use std::time::Duration;

use manager_rt::report::{Deadlock, Report, WaitFor};
use manager_rt::{Lock, LockError, Manager};
use mp_sys::child::ChildProcess;
use mp_sys::deadline::Deadline;
use mp_sys::stream::own_process;
use mp_sys::testing::{PATIENCE, Random, hang, kill, spawn, succeeded, tests};

use crate::fixture::{until, until_held, until_waiting, with_manager};

tests! {
    a_deadlock_of_two_processes_is_named,
    a_deadlock_with_a_time_limit_says_when_it_ends,
    threads_and_processes_in_one_circle_are_named,
    a_client_says_which_process_it_is,
    what_a_killed_process_held_is_not_reported,
    reports_beside_kills,
    a_hundred_thousand_objects_in_pages,
}

/// Starts a process that takes the first lock, waits until all parties have theirs, and then waits for the second one.
fn rival(manager: &Manager, parties: u64, [own, other]: [&str; 2], limit: Option<Duration>) -> ChildProcess {
    let lock = |name| manager.named(name).lock().unwrap();
    let (first, second) = (lock(own), lock(other));
    let all = manager.named("all").barrier(usize::try_from(parties).unwrap()).unwrap();
    spawn(move || {
        let _held = first.lock_timeout(PATIENCE).unwrap();
        all.wait().unwrap();
        let outcome = match limit {
            None => second.lock().map(drop),
            Some(limit) => second.lock_timeout(limit).map(drop),
        };
        assert!(
            matches!(outcome, Ok(()) | Err(LockError::OwnerDied(_) | LockError::TimedOut)),
            "{outcome:?}"
        );
    })
}

/// Returns the number of the client that a process is.
fn client_of(report: &Report, process: &ChildProcess) -> u64 {
    let mut all = report.clients.iter().filter(|client| client.origin.pid == Some(process.id()));
    let found = all.next().unwrap().number;
    assert!(all.next().is_none(), "one connection for each process");
    found
}

/// Waits until a deadlock is reported.
fn deadlock(manager: &Manager) -> (Report, Deadlock) {
    let deadline = Deadline::after(PATIENCE);
    loop {
        let report = manager.report().unwrap();
        if let [found] = &report.deadlocks[..] {
            let found = found.clone();
            return (report, found);
        }
        assert!(!deadline.has_passed(), "no deadlock is found: {report:?}");
        std::thread::yield_now();
    }
}

fn a_deadlock_of_two_processes_is_named() {
    with_manager(|manager| {
        let one = rival(manager, 2, ["one", "other"], None);
        let other = rival(manager, 2, ["other", "one"], None);
        let (report, found) = deadlock(manager);
        let waits = &found.waits;
        assert_eq!(found.ends_in(), None);
        let mut seen: Vec<_> = waits
            .iter()
            .map(|wait| {
                assert_eq!(wait.wait_for, WaitFor::Lock);
                (wait.client, wait.name.clone().unwrap(), wait.holder.as_ref().unwrap().client)
            })
            .collect();
        seen.sort();
        let (one_is, other_is) = (client_of(&report, &one), client_of(&report, &other));
        let mut expected = [(one_is, "other".to_owned(), other_is), (other_is, "one".to_owned(), one_is)];
        expected.sort();
        assert_eq!(seen, expected);
        let text = found.to_string();
        assert!(text.contains("\"one\"") && text.contains("\"other\""), "{text}");
        kill(&one);
        succeeded(&other);
        assert_eq!(manager.report().unwrap().deadlocks, []);
    });
}

fn a_deadlock_with_a_time_limit_says_when_it_ends() {
    with_manager(|manager| {
        let one = rival(manager, 2, ["one", "other"], Some(PATIENCE));
        let other = rival(manager, 2, ["other", "one"], None);
        let (_, found) = deadlock(manager);
        let ends_in = found.ends_in().unwrap();
        assert!(ends_in <= PATIENCE, "{ends_in:?}");
        kill(&other);
        succeeded(&one);
    });
}

fn threads_and_processes_in_one_circle_are_named() {
    with_manager(|manager| {
        let names = ["a", "b", "c", "d", "e"];
        let rivals: Vec<_> = (0..names.len())
            .map(|place| rival(manager, 5, [names[place], names[(place + 1) % names.len()]], None))
            .collect();
        // Processes that wait for a lock of the circle are not in it.
        let lock: Lock = manager.named("a").lock().unwrap();
        let outside = spawn(move || hang_on(&lock));
        until_waiting(manager, 6);
        let (report, found) = deadlock(manager);
        let members: Vec<_> = found.waits.iter().map(|wait| wait.client).collect();
        assert_eq!(members.len(), 5);
        assert!(!members.contains(&client_of(&report, &outside)));
        kill(&outside);
        kill(&rivals[0]);
        rivals.iter().skip(1).rev().for_each(succeeded);
    });
}

/// Waits for a lock for ever.
fn hang_on(lock: &Lock) {
    drop(lock.lock());
    hang();
}

fn a_client_says_which_process_it_is() {
    with_manager(|manager| {
        let report = manager.report().unwrap();
        let [own] = &report.clients[..] else { panic!("{report:?}") };
        let comm = std::fs::read_to_string("/proc/self/comm").unwrap();
        assert_eq!(own.origin.pid, Some(own_process()));
        assert_eq!(own.origin.program.as_deref(), Some(comm.trim_end_matches('\n')));
        assert_eq!(own.origin.address, None);
        assert_ne!(report.server.pid, own_process());
        let (before, operations) = (report.server.uptime, own.operations);
        let later = manager.report().unwrap();
        assert!(later.server.uptime > before);
        assert!(operations > 0 && later.server.operations > operations, "{later:?}");
    });
}

fn what_a_killed_process_held_is_not_reported() {
    with_manager(|manager| {
        let lock = manager.named("lock").lock().unwrap();
        for _ in 0..20 {
            let victim = spawn(|| {
                let _held = lock.lock();
                hang();
            });
            until_held(manager, 1);
            let report = manager.report().unwrap();
            let number = client_of(&report, &victim);
            assert_eq!(report.busy[0].holder.as_ref().unwrap().client, number);
            kill(&victim);
            // It has ended, so nothing of it may be seen, however fast the next call is.
            let report = manager.report().unwrap();
            assert!(report.busy.is_empty() && report.clients.len() == 1, "{report:?}");
        }
    });
}

fn reports_beside_kills() {
    with_manager(|manager| {
        let mut random = Random::new();
        println!("seed {}", random.seed());
        let names = ["a", "b", "c"];
        let locks = names.map(|name| manager.named(name).lock().unwrap());
        for _ in 0..15 {
            let rivals: Vec<_> = (0..4_usize)
                .map(|place| {
                    let [one, other] = [&locks[place % 3], &locks[(place + 1) % 3]];
                    spawn(move || {
                        loop {
                            let one = one.lock();
                            let other = other.lock();
                            drop((other, one));
                        }
                    })
                })
                .collect();
            until(manager, "all are clients", |info| info.clients == 5);
            for victim in &rivals {
                for _ in 0..random.below(4) {
                    let report = manager.report().unwrap();
                    for deadlock in &report.deadlocks {
                        let holders = deadlock.waits.iter().map(|wait| wait.holder.as_ref().unwrap().client);
                        let next = deadlock.waits.iter().map(|wait| wait.client).cycle().skip(1);
                        assert!(holders.zip(next).all(|(holder, next)| holder == next), "{deadlock:?}");
                    }
                }
                kill(victim);
                let report = manager.report().unwrap();
                let is_of_victim = |pid: Option<u32>| pid == Some(victim.id());
                assert!(!report.clients.iter().any(|client| is_of_victim(client.origin.pid)), "{report:?}");
            }
            let report = manager.report().unwrap();
            assert!(report.busy.is_empty() && report.waits.is_empty(), "{report:?}");
        }
    });
}

fn a_hundred_thousand_objects_in_pages() {
    const OBJECTS: usize = 100_000;
    with_manager(|manager| {
        let lists: Vec<_> = (0..OBJECTS).map(|_| manager.event().unwrap()).collect();
        let lock = manager.named("held").lock().unwrap();
        let held = lock.lock().unwrap();
        let mut ids: Vec<_> = manager.objects().map(|object| object.unwrap().id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), OBJECTS + 1);
        let report = manager.report().unwrap();
        assert_eq!(report.server.objects, u64::try_from(OBJECTS + 1).unwrap());
        assert_eq!(report.busy.len(), 1, "{:?}", report.busy);
        drop((held, lists));
    });
}
