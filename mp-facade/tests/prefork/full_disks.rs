//! Files that cannot be written: records fail, and nothing else does.

use std::fs::File;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::client::Client;
use crate::limits::RECORD_BYTES;
use crate::server::{NO_LIMIT, Server, pids};

/// Hits before a file is full, and afterwards.
const HITS: u64 = 50;

fn hit(server: &Server, count: u64) {
    let mut client = Client::connect(server.address).unwrap();
    for _ in 0..count {
        assert_eq!(client.get("/").unwrap().status, 200, "{}", server.log());
    }
}

/// Waits until nothing is left to do, and returns the number of failed jobs.
fn failed(server: &Server) -> u64 {
    let status =
        server.wait_until(|status| status["queue"]["waiting"] == 0 && status["queue"]["in_hand"] == 0);
    status["queue"]["failed"].as_u64().unwrap()
}

/// Sets how long the files of a process may be.
fn limit_files(pid: u32, bytes: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    let _before: Rlimit = prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}

#[test]
fn a_job_that_fails_is_tried_again_and_then_put_aside() {
    // Nothing can be written there.
    let server = Server::start_with_log(1, 1, NO_LIMIT, "/dev/full");
    let background = pids(&server.status(), "background");
    hit(&server, HITS);
    assert_eq!(failed(&server), HITS);
    assert_eq!(pids(&server.status(), "background"), background, "it goes on");
    let log = server.log();
    let reason = "the record could not be written: No space left on device";
    assert_eq!(log.matches(reason).count(), 1, "{log}");
    server.signal("TERM");
    let summary = server.finish_without_log();
    let counts = ["hits", "failed", "repeated", "records", "restarts", "lost_requests"];
    assert_eq!(counts.map(|name| summary.get(name)), [HITS, HITS, 9 * HITS, 0, 0, 0], "{log}");
}

#[test]
fn the_last_jobs_of_a_full_disk_do_not_keep_each_other_from_failing() {
    let server = Server::start_with_log(1, 1, NO_LIMIT, "/dev/full");
    let background = pids(&server.status(), "background")[0];
    // So the parent finds them at the end.
    crate::server::signal(background, "STOP");
    hit(&server, HITS);
    server.signal("TERM");
    crate::server::eventually(|| server.log().contains("the server ends"));
    crate::command::kill(background);
    let summary = server.finish_without_log();
    assert_eq!((summary.get("hits"), summary.get("failed")), (HITS, HITS), "{}", summary.log);
}

#[test]
fn a_log_that_becomes_writable_again_is_written() {
    let server = Server::start(1, 1, NO_LIMIT);
    let background = pids(&server.status(), "background")[0];
    hit(&server, HITS);
    assert_eq!(failed(&server), 0);
    // The kernel answers with SIGXFSZ, too, which kills by default.
    limit_files(background, Some(HITS * RECORD_BYTES as u64));
    hit(&server, HITS);
    assert_eq!(failed(&server), HITS);
    limit_files(background, None);
    hit(&server, HITS);
    assert_eq!(failed(&server), HITS);
    let summary = server.end();
    assert!(summary.log.contains("File too large"), "{}", summary.log);
    assert_eq!(summary.numbers, (1..=HITS).chain(2 * HITS + 1..=3 * HITS).collect::<Vec<_>>());
    assert_eq!((summary.get("failed"), summary.get("restarts")), (HITS, 0), "{}", summary.log);
}

#[test]
fn messages_that_cannot_be_written_end_nobody() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let server = Server::start_with(1, 1, NO_LIMIT, "log", Some(full));
    server.kill("workers", 0);
    server.kill("background", 0);
    hit(&server, HITS);
    let summary = server.end();
    assert_eq!((summary.get("restarts"), summary.get("records")), (2, HITS));
}
