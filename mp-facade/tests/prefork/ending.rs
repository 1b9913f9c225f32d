//! The end when something goes wrong meanwhile: who is in the backlog is answered, and the jobs are done.

use std::collections::BTreeSet;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::client::Client;
use crate::command::kill;
use crate::server::{NO_LIMIT, Server, eventually, pids};

/// Clients in the backlog.
const WAITING: usize = 50;

/// A server whose only worker cannot accept anybody, and clients that wait in the backlog.
fn with_backlog() -> (Server, u32, u32, Vec<Client>) {
    let server = Server::start(1, 1, NO_LIMIT);
    // Only the one that asks has a connection then.
    let status = server.wait_until(|status| {
        status["workers"][0]["connections"] == 1 && pids(status, "background").len() == 1
    });
    let [worker, background] = ["workers", "background"].map(|kind| pids(&status, kind)[0]);
    let none = Rlimit { current: Some(0), ..getrlimit(Resource::Nofile) };
    let pid = Pid::from_raw(i32::try_from(worker).unwrap());
    let _before: Rlimit = prlimit(pid, Resource::Nofile, none).unwrap();
    let connect = |_| Client::connect(server.address).unwrap();
    let mut clients: Vec<Client> = (0..WAITING).map(connect).collect();
    for client in &mut clients {
        client.send(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    }
    (server, worker, background, clients)
}

fn assert_answered(clients: Vec<Client>) {
    let hits: BTreeSet<u64> = clients.into_iter().map(|mut client| client.reply().unwrap().hit()).collect();
    assert_eq!(hits.len(), WAITING);
}

#[test]
fn a_worker_that_is_killed_at_the_end_leaves_its_backlog_to_another_one() {
    let (server, worker, _, clients) = with_backlog();
    server.signal("TERM");
    eventually(|| server.log().contains("the server ends"));
    kill(worker);
    assert_answered(clients);
    let summary = server.finish();
    let counts = ["hits", "records", "lost_requests"].map(|name| summary.get(name));
    assert_eq!(counts, [WAITING as u64, WAITING as u64, 0], "{}", summary.log);
}

#[test]
fn a_worker_without_descriptors_leaves_its_backlog_to_another_one() {
    let (server, _, _, clients) = with_backlog();
    server.signal("TERM");
    assert_answered(clients);
    let summary = server.finish();
    assert!(summary.log.contains("another worker is started"), "{}", summary.log);
    assert_eq!(
        (summary.get("hits"), summary.get("lost_connections")),
        (WAITING as u64, 0),
        "{}",
        summary.log
    );
}

#[test]
fn a_server_that_gives_up_answers_its_backlog_and_does_all_jobs() {
    let (server, _, background, clients) = with_backlog();
    let before = server.children();
    kill(background);
    // Each of its replacements is killed as soon as it is there, so that it counts as a failed start.
    let mut killed = BTreeSet::new();
    eventually(|| {
        if server.log().contains("the server ends") {
            return true;
        }
        // The worker for the backlog is not among them: it comes seconds later.
        let new: Vec<u32> = server.children().into_iter().filter(|pid| !before.contains(pid)).collect();
        new.into_iter().filter(|pid| killed.insert(*pid)).for_each(kill);
        false
    });
    assert_answered(clients);
    let summary = server.finish_failed();
    let counts = ["hits", "records", "lost_requests"].map(|name| summary.get(name));
    assert_eq!(counts, [WAITING as u64, WAITING as u64, 0], "{}", summary.log);
    assert!(summary.log.contains("workers of background 0 ended soon after their start"), "{}", summary.log);
}
