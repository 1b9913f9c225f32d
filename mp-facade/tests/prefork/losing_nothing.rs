//! Load with kills, reloads and the end: what is lost is what a killed worker had in hand, and nothing else.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::client::Client;
use crate::limits::PROCESSES_MAX;
use crate::load::{Load, Order, Seen};
use crate::server::{self, NO_LIMIT, Server, Summary, eventually, pids};

/// Workers that are killed under load.
const WORKER_KILLS: usize = 100;
/// Background processes that are killed meanwhile: one for each so many workers.
const WORKERS_FOR_ONE: usize = 5;
/// Clients at the same time.
const CLIENTS: usize = 8;
/// Answers between two reloads.
const ANSWERS: u64 = 200;

fn load(server: &Server, path: &'static str) -> Load {
    Load::start(server.address, &[Order::endless(path); CLIENTS])
}

/// Compares what the clients saw with what the server says.
fn compare(seen: &Seen, summary: &Summary) {
    let answered = seen.hits();
    let (hits, lost) = (summary.get("hits"), summary.get("lost_requests"));
    let text =
        format!("{} answered, {} failed, {:?}\n{}", answered.len(), seen.failed.len(), summary, summary.log);

    // Each answered hit counts, and each other hit was in the hand of a killed worker, where a client missed it.
    assert!(answered.iter().all(|number| (1..=hits).contains(number)), "{text}");
    let unanswered = hits - answered.len() as u64;
    assert!(unanswered <= lost && unanswered <= seen.failed.len() as u64, "{text}");
    // Each answered hit has one record, and each hit without a record is one of those.
    let records: BTreeSet<u64> = summary.numbers.iter().copied().collect();
    assert_eq!(records.len(), summary.numbers.len(), "a record was written in two places: {text}");
    assert!(answered.is_subset(&records), "{text}");
    assert!(hits - records.len() as u64 <= unanswered, "{text}");
    assert_eq!((summary.get("records"), summary.get("failed")), (records.len() as u64, 0), "{text}");
}

#[test]
fn a_hundred_kills_cost_what_the_dead_workers_had_in_hand() {
    let server = Server::start(4, 2, NO_LIMIT);
    let load = load(&server, "/");
    let (mut workers, mut others) = (BTreeSet::new(), 0);
    for kill in 0..WORKER_KILLS {
        workers.insert(server.kill("workers", kill));
        if kill % WORKERS_FOR_ONE == 0 {
            server.kill("background", kill);
            others += 1;
        }
    }
    let seen = load.stop();
    let summary = server.end();
    compare(&seen, &summary);

    assert_eq!(workers.len(), WORKER_KILLS);
    assert_eq!(summary.get("restarts"), WORKER_KILLS as u64 + others, "{}", summary.log);
    assert!(summary.get("repeated") <= others, "{summary:?}");
    assert!(seen.refused.is_empty(), "{:?}", seen.refused);
    assert!(seen.failed.len() as u64 <= summary.get("lost_connections"), "{:?} {summary:?}", seen.failed);
    for (worker, error) in &seen.failed {
        assert!(worker.is_none_or(|pid| workers.contains(&pid)), "{error} at a worker that nobody killed");
    }
    assert!(seen.answered.len() > 10 * WORKER_KILLS, "there was too little load: {}", seen.answered.len());
}

#[test]
fn reloads_under_load_lose_nothing() {
    let server = Server::start(3, 1, NO_LIMIT);
    let loads = [load(&server, "/"), load(&server, "/slow?ms=30")];
    for reload in 1..=5_u64 {
        let before = server.status();
        let settings = NO_LIMIT.replace("hello", &format!("reload {reload}"));
        fs::write(server.file("settings"), settings).unwrap();
        server.signal("HUP");
        let after = server.wait_until(|status| status["reloads"] == reload);
        let (old, new) = (pids(&before, "workers"), pids(&after, "workers"));
        assert!(new.len() == 3 && new.iter().all(|pid| !old.contains(pid)), "{old:?} {new:?}");
        assert_eq!(pids(&before, "background"), pids(&after, "background"));
        loads[0].wait_for(ANSWERS);
        let reply = Client::connect(server.address).unwrap().get("/").unwrap();
        assert!(reply.body.starts_with(&format!("reload {reload}\nhit ")), "{reply:?}");
        let number = reply.hit();
        assert!(number > 0);
    }
    let mut others = 5; // the hits of this test's own client
    let mut seen = Seen::default();
    for load in loads {
        let more = load.stop();
        more.assert_nothing_lost(&server.log());
        assert!(more.refused.is_empty(), "{:?}", more.refused);
        seen.answered.extend(more.answered);
    }
    others += seen.hits().len();
    let summary = server.end();
    assert_eq!(summary.get("hits"), others as u64, "{}", summary.log);
    assert_eq!(summary.numbers.len(), others);
    assert_eq!((summary.get("reloads"), summary.get("restarts")), (5, 0));
    assert_eq!((summary.get("lost_requests"), summary.get("lost_connections")), (0, 0), "{summary:?}");
}

#[test]
fn the_end_under_load_answers_every_request() {
    for round in 0..3 {
        let server = Server::start(2, 2, NO_LIMIT);
        let loads = [load(&server, "/"), load(&server, "/slow?ms=200")];
        loads[0].wait_for(ANSWERS);
        let mut log = String::new();
        // Ctrl-C reaches all processes of a terminal, and must not disturb the order of the end.
        let ctrl_c = round % 2 == 1;
        if ctrl_c {
            server.signal_all("INT");
        } else {
            server.signal("TERM");
        }
        let summary = server.finish();
        log.push_str(&summary.log);
        // The clients stop when the port is closed.
        let mut all = Seen::default();
        for load in loads {
            let seen = load.finish();
            seen.assert_nothing_lost(&log);
            assert_eq!(seen.refused.len(), CLIENTS, "each client went on until it was refused");
            all.answered.extend(seen.answered);
        }
        compare(&all, &summary);
        assert_eq!(summary.get("hits"), all.answered.len() as u64, "round {round}: {log}");
        assert_eq!(summary.get("lost_requests"), 0, "{summary:?}");
    }
}

#[test]
fn who_waits_in_the_backlog_is_answered_at_a_reload_and_at_the_end() {
    const WAITING: usize = 50;
    for name in ["HUP", "TERM"] {
        let server = Server::start(2, 1, NO_LIMIT);
        // Nobody accepts while both workers are stopped.
        for pid in pids(&server.status(), "workers") {
            server::signal(pid, "STOP");
        }
        let connect = || Client::connect(server.address).unwrap();
        let mut clients: Vec<Client> = (0..WAITING).map(|_| connect()).collect();
        for client in &mut clients {
            client.send(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
        }
        server.signal(name);
        let replies = clients.iter_mut().map(|client| client.reply().unwrap());
        let seen = Seen { answered: replies.collect(), ..Seen::default() };
        let summary = if name == "TERM" { server.finish() } else { server.end() };
        assert_eq!((seen.hits().len(), summary.get("hits")), (WAITING, WAITING as u64), "{}", summary.log);
        compare(&seen, &summary);
        assert_eq!(summary.get("lost_connections"), 0, "{name}: {}", summary.log);
    }
}

#[test]
fn mistakes_in_new_settings_change_nothing() {
    let server = Server::start(1, 1, NO_LIMIT);
    let before = server.status();
    fs::write(server.file("settings"), "{").unwrap();
    server.signal("HUP");
    // The answer is in the log, and the next reload shows that the parent goes on.
    fs::write(server.file("settings.new"), NO_LIMIT).unwrap();
    eventually(|| server.log().contains("nothing is reloaded: the settings in settings: EOF"));
    assert_eq!(pids(&server.status(), "workers"), pids(&before, "workers"));
    fs::rename(server.file("settings.new"), server.file("settings")).unwrap();
    server.signal("HUP");
    server.wait_until(|status| status["reloads"] == 1);
    assert_eq!(server.end().get("restarts"), 0);
}

#[test]
fn every_background_job_is_done_whoever_is_killed() {
    let server = Server::start(1, 1, NO_LIMIT);
    let load = load(&server, "/");
    for kill in 0..20 {
        server.kill("background", kill);
    }
    let seen = load.stop();
    seen.assert_nothing_lost(&server.log());
    // The last one is killed when the server ends already, and nobody replaces it.
    let background = pids(&server.status(), "background");
    server.signal("TERM");
    background.into_iter().for_each(crate::command::kill);
    let summary = server.finish();
    compare(&seen, &summary);
    assert_eq!((summary.get("hits"), summary.get("lost_requests")), (seen.answered.len() as u64, 0));
    assert_eq!(summary.numbers.len(), seen.answered.len());
}

#[test]
fn as_many_processes_as_the_limit_allows_serve_together() {
    let most = usize::from(PROCESSES_MAX);
    let server = Server::start(most, most, NO_LIMIT);
    let status = server.wait_until(|status| pids(status, "background").len() == most);
    assert_eq!(pids(&status, "workers").len(), most);
    server.signal("HUP");
    let load = Load::start(server.address, &[Order { requests: 50, ..Order::endless("/") }; CLIENTS]);
    server.wait_until(|status| status["reloads"] == 1);
    let seen = load.finish();
    seen.assert_nothing_lost(&server.log());
    let summary = server.end();
    compare(&seen, &summary);
    assert_eq!((summary.get("hits"), summary.get("restarts")), (50 * CLIENTS as u64, 0));
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let server = Server::start(1, 1, NO_LIMIT);
    let address = server.address.to_string();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(crate::command::program("prefork"));
        crate::command::run(command.args(arguments))
    };
    let taken = run(&["--listen", &address]);
    assert_eq!((taken.code, taken.stdout.as_str()), (Some(1), ""));
    assert!(taken.stderr.contains(&format!("error: cannot listen at {address}: Address already in use")));
    for workers in ["0", "65"] {
        let refused = run(&["--workers", workers]);
        assert!(refused.code == Some(2) && refused.stderr.contains("1..=64"), "{refused:?}");
    }
    let settings = run(&["--listen", "127.0.0.1:0", "--settings", "/nowhere"]);
    assert!(
        settings.code == Some(1) && settings.stderr.contains("the settings in /nowhere: "),
        "{settings:?}"
    );
    let status: Value = server.status();
    assert_eq!(status["restarts"], 0);
}
