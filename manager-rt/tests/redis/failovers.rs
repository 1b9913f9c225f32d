//! A Redis that dies, and another one that three sentinels let take over.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use manager_rt::{ConnectError, Manager, ReachError};
use mp_sys::deadline::Deadline;

use crate::deaths::PATIENCE;
use crate::lines::guard;

const SENTINELS: usize = 3;

/// A process that ends with this value.
pub(crate) struct Process(Child);

impl Process {
    /// Runs a Redis at a port of its own. It ends with the thread of the test, even if that is killed.
    pub(crate) fn redis(arguments: &[String]) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "redis-server"]).args(arguments);
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn end(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A master, a replica, and sentinels.
struct Group {
    folder: tempfile::TempDir,
    master: (u16, Process),
    replica: (u16, Process),
    sentinels: Vec<(u16, Process)>,
}

/// Waits as long as a busy machine may need: sentinels find each other by messages that they send every two seconds.
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Deadline::after(PATIENCE);
    while !holds() {
        assert!(!deadline.has_passed(), "waited {PATIENCE:?} until {what}");
        std::thread::yield_now();
    }
}

/// Returns ports that were free a moment ago.
pub(crate) fn ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

fn cli(port: u16, command: &[&str]) -> String {
    let port = port.to_string();
    let output = Command::new("redis-cli").args(["-p", &port]).args(command).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Returns a field of what a Redis says about itself.
fn field(port: u16, name: &str) -> Option<String> {
    let info = cli(port, &["info", "replication"]);
    info.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()))
}

impl Group {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [master, replica, sentinels @ ..] = ports::<{ SENTINELS + 2 }>();
        let server = |port: u16, more: &[&str]| {
            let own = folder.path().join(port.to_string());
            std::fs::create_dir_all(&own).unwrap();
            let (own, port) = (own.display().to_string(), port.to_string());
            let common = ["--bind", "127.0.0.1", "--save", "", "--repl-diskless-sync-delay", "0"];
            let place = ["--port", &*port, "--dir", &*own];
            let all = [&common[..], &place, more].concat();
            Process::redis(&all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
        };
        let of_master = format!("127.0.0.1 {master}");
        let (one, other) = (server(master, &[]), server(replica, &["--replicaof", &of_master]));
        until("the replica is connected", || {
            field(replica, "master_link_status").is_some_and(|status| status == "up")
        });
        let sentinels = sentinels.map(|port| {
            let file = folder.path().join(format!("{port}.conf"));
            let text = format!(
                "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor jobs 127.0.0.1 {master} 2\n\
                 sentinel down-after-milliseconds jobs 500\nsentinel failover-timeout jobs 2000\n",
                folder.path().display()
            );
            std::fs::write(&file, text).unwrap();
            (port, Process::redis(&[file.display().to_string(), "--sentinel".to_owned()]))
        });
        let sentinels = Vec::from(sentinels);
        // A failover before that may never end.
        for (port, _) in &sentinels {
            until("the sentinel knows all", || {
                let known = cli(*port, &["sentinel", "master", "jobs"]);
                let is = |name, value| {
                    let mut lines = known.lines().skip_while(|line| *line != name);
                    lines.nth(1) == Some(value)
                };
                is("num-slaves", "1") && is("num-other-sentinels", "2")
            });
        }
        Self { folder, master: (master, one), replica: (replica, other), sentinels }
    }

    /// Returns the URL. The first sentinel of it does not exist.
    fn url(&self, more: &str) -> String {
        let [nobody] = ports();
        let ports = std::iter::once(nobody).chain(self.sentinels.iter().map(|(port, _)| *port));
        let hosts: Vec<_> = ports.map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis+sentinel://{}/jobs?ns=app{more}", hosts.join(","))
    }

    /// Waits until the replica has everything, and kills the master.
    fn kill_master(&mut self) {
        let offset = |port, name| field(port, name).unwrap();
        until("the replica has everything", || {
            offset(self.master.0, "master_repl_offset") == offset(self.replica.0, "slave_repl_offset")
        });
        self.master.1.end();
    }
}

/// The lease is an hour, so no renewal would have been due.
#[test]
fn a_failover_is_noticed_and_locks_pass_on() {
    let mut group = Group::start();
    let url = group.url("&lease=3600s");
    let (one, other) = (Manager::connect(&url).unwrap(), Manager::connect(&url).unwrap());
    assert!(one.backend().caps().may_lose_on_failover);
    let (dict, lock) = (one.named("d").dict::<u32, u32>().unwrap(), one.named("l").lock().unwrap());
    (0..200).for_each(|n| dict.insert(&n, &(n * 2)).unwrap());
    let held = lock.lock().unwrap();
    let (lost, token) = (Arc::new(AtomicBool::new(false)), held.token());
    let told = Arc::clone(&lost);
    held.on_lost(move || told.store(true, Ordering::SeqCst));
    std::thread::scope(|scope| {
        let same = other.named("l").lock().unwrap();
        // It waits through the failover.
        let next = scope.spawn(move || {
            let next = guard(same.lock_timeout(PATIENCE));
            (next.token(), next.is_valid())
        });
        until("it waits", || one.info().unwrap().waiters == 1);
        group.kill_master();
        until("the holder learns of it", || !held.is_valid());
        assert!(lost.load(Ordering::SeqCst));
        let (later, is_valid) = next.join().unwrap();
        assert!(later > token && is_valid, "{later} after {token}");
    });
    until("the other Redis serves", || dict.len().is_ok());
    assert!((0..200).all(|n| dict.get(&n) == Ok(Some(n * 2))));
    dict.insert(&200, &400).unwrap();
    drop(held);
    drop(guard(lock.lock_timeout(PATIENCE)));
    // The old one comes back, and follows the new one.
    let (port, new) = (group.master.0, group.replica.0);
    let own = group.folder.path().join(port.to_string()).display().to_string();
    let port_text = port.to_string();
    let arguments = ["--bind", "127.0.0.1", "--save", "", "--port", &port_text, "--dir", &own];
    group.master.1 = Process::redis(&arguments.map(str::to_owned));
    until("it follows", || field(port, "master_link_status").is_some_and(|status| status == "up"));
    assert_eq!(Manager::connect(&url).unwrap().named("d").dict::<u32, u32>().unwrap().len(), Ok(201));
    assert_eq!(field(new, "role").as_deref(), Some("master"));
}

/// Its connections stay open, and it writes nothing any more.
#[test]
fn a_master_that_becomes_a_replica_is_left() {
    let group = Group::start();
    let manager = Manager::connect(&group.url("")).unwrap();
    let sum = manager.named("s").value(&0_u32).unwrap();
    assert_eq!(sum.fetch_add(1), Ok(0));
    let replica = group.replica.0;
    until("the sentinels let the other one take over", || {
        cli(group.sentinels[0].0, &["sentinel", "failover", "jobs"]);
        field(replica, "role").is_some_and(|role| role == "master")
    });
    until("the new one serves", || sum.fetch_add(1).is_ok());
    let there = cli(replica, &["--scan", "--pattern", "{app}:o:*:v"]);
    assert_eq!(there.lines().count(), 1);
}

#[test]
fn sentinels_that_know_no_such_master_are_an_error() {
    let group = Group::start();
    let url = group.url("").replace("/jobs?", "/others?");
    let error = Manager::connect(&url).unwrap_err();
    assert!(matches!(error, ReachError::Connect { error: ConnectError::NotFound, .. }), "{error}");
    drop(group);
    assert!(Manager::connect(&url).is_err());
    let error = Manager::connect("redis+sentinel://host").unwrap_err();
    assert!(matches!(error, ReachError::Address(_)), "{error}");
}
