//! `serve --http`: the page, the metrics, and browsers that misbehave.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use manager_rt::Manager;
use mp_sys::stream::own_process;
use mp_sys::testing::eventually;
use mp_sys::testing::leaks::children_of;

use crate::program::{DEADLINE, KEY, Place, Server, ended, mp_manager, run, signal};

/// The browser of Debian, which `.ci/run` installs.
const BROWSER: &str = "chromium";
/// How long the page lives in the browser's own time, which runs ahead while nothing happens.
const LIFE: Duration = Duration::from_secs(4);
/// Open connections of the page: see `CONNECTIONS_MAX`.
const CONNECTIONS_MAX: usize = 64;

fn serve(more: &[&str]) -> Server {
    let place = Place::new();
    let (socket, key) = (place.text("sock"), place.text("key"));
    let mut command = mp_manager(["serve", "--socket", &socket, "--key-file", &key, "--http", "0"]);
    command.args(more);
    place.keep_errors(&mut command);
    Server::start(place, command)
}

/// Returns the address of the page, without the scheme.
fn page_of(server: &Server) -> &str {
    server.addresses.last().unwrap().strip_prefix("http://").unwrap().trim_end_matches('/')
}

/// An answer.
#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find_map(|(found, value)| found.eq_ignore_ascii_case(name).then_some(value))
    }
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(page_of(server)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Sends bytes, and reads to the end of the connection.
fn exchange(server: &Server, bytes: &[u8]) -> Reply {
    let mut stream = connect(server);
    stream.write_all(bytes).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    let reply = String::from_utf8(reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or((&reply, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Reply { status, head: head.to_owned(), body: body.to_owned() }
}

fn get_as(server: &Server, method: &str, path: &str, host: &str) -> Reply {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    exchange(server, request.as_bytes())
}

fn get(server: &Server, path: &str) -> Reply {
    get_as(server, "GET", path, page_of(server))
}

#[test]
fn each_path_answers_with_its_kind_and_strict_headers() {
    let server = serve(&[]);
    for (path, status, kind) in [
        ("/", 200, "text/html; charset=utf-8"),
        ("/page.css", 200, "text/css; charset=utf-8"),
        ("/page.js", 200, "text/javascript; charset=utf-8"),
        ("/metrics", 200, "text/plain; version=0.0.4; charset=utf-8"),
        ("/healthz", 200, "text/plain; charset=utf-8"),
        ("/other", 404, "text/plain; charset=utf-8"),
        ("/../../etc/passwd", 404, "text/plain; charset=utf-8"),
    ] {
        let reply = get(&server, path);
        assert_eq!((reply.status, reply.header("content-type")), (status, Some(kind)), "{path}: {reply:?}");
        let policy = reply.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{path}");
        }
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
    assert_eq!(get(&server, "/healthz").body, "ok\n");
    assert_eq!(get_as(&server, "HEAD", "/metrics", "localhost").body, "");
}

#[test]
fn nothing_can_be_changed() {
    let server = serve(&[]);
    server.manager().named("kept").value(&1_u32).unwrap();
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        let reply = get_as(&server, method, "/", page_of(&server));
        assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    assert_eq!(server.manager().names().unwrap(), ["kept"]);
}

#[test]
fn a_web_site_whose_name_leads_here_is_not_answered() {
    let server = serve(&["--http-name", "jobs.example"]);
    for path in ["/", "/metrics", "/healthz", "/page.js"] {
        let reply = get_as(&server, "GET", path, "evil.example");
        assert_eq!(reply.status, 421, "{reply:?}");
        assert_eq!(get_as(&server, "GET", path, "jobs.example:7001").status, 200);
        assert_eq!(get_as(&server, "GET", path, "localhost").status, 200);
    }
    assert_eq!(exchange(&server, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").status, 421, "no host");
}

#[test]
fn an_address_for_other_hosts_needs_a_flag() {
    let place = Place::new();
    let socket = place.text("sock");
    for address in ["0.0.0.0:0", "[::]:0", "10.0.0.1:80", "[::ffff:10.0.0.1]:80"] {
        let refused = run(&mut mp_manager(["serve", "--socket", &socket, "--http", address]));
        refused.refused(2, &[address, "--http-public"]);
        assert!(!place.path("sock").exists(), "it has not begun to serve");
    }
    let server = serve(&["--http-public"]);
    assert_eq!(get(&server, "/healthz").status, 200);
    let taken = page_of(&server);
    let refused = run(&mut mp_manager(["serve", "--socket", &socket, "--http", taken]));
    refused.refused(3, &[taken]);
}

#[test]
fn metrics_and_page_show_what_happens() {
    let server = serve(&[]);
    let manager = server.manager();
    let lock = manager.named("front door").lock().unwrap();
    let held = lock.lock().unwrap();
    let text = get(&server, "/metrics").body;
    let line = text.lines().find(|line| line.starts_with("mp_manager_lock_held_seconds{")).unwrap();
    assert!(line.contains("kind=\"Lock\",name=\"front door\"} "), "{line}");
    assert!(text.contains(&format!("pid=\"{}\"", own_process())), "{text}");
    let page = get(&server, "/").body;
    assert!(page.contains("<td class=\"\" data-name=\"Lock\">front door</td>"), "{page}");
    drop(held);
}

/// Neither a browser that stays, nor a Prometheus that comes again and again.
#[test]
fn whoever_only_looks_keeps_no_server() {
    let mut server = serve(&["--idle-end", "500ms"]);
    server.manager().named("n").value(&0_u32).unwrap();
    let host = page_of(&server).to_owned();
    let mut kept = connect(&server);
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let deadline = Instant::now() + DEADLINE;
    // The page's process ends with the server.
    while kept.write_all(request.as_bytes()).is_ok()
        && kept.read(&mut vec![0; 1 << 16]).is_ok_and(|len| len > 0)
    {
        assert!(Instant::now() < deadline, "the server is still there");
    }
    assert_eq!(ended(&mut server.child).code(), Some(0));
}

#[test]
fn browsers_that_misbehave_harm_nobody() {
    let server = serve(&[]);
    let manager = server.manager();
    let value = manager.named("n").value(&0_u32).unwrap();
    for bytes in [
        &b"\0\xff\xfe garbage\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        assert!(!matches!(exchange(&server, bytes).status, 200..300), "{bytes:?}");
    }
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(64 << 10));
    let mut stream = connect(&server);
    // The connection may be closed before all of it is written.
    drop(stream.write_all(long.as_bytes()));
    let mut reply = Vec::new();
    drop(stream.read_to_end(&mut reply));
    assert!(!reply.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&reply));
    // More than there are places for, and none of them says anything.
    let silent: Vec<_> = (0..CONNECTIONS_MAX + 6).map(|_| connect(&server)).collect();
    value.set(&1).unwrap();
    assert_eq!(value.get().unwrap(), 1);
    // The silent ones are disconnected after a while, so this one is answered at last.
    assert_eq!(get(&server, "/healthz").status, 200);
    drop(silent);
}

#[test]
fn many_browsers_ask_the_manager_no_more_often_than_one() {
    let server = Arc::new(serve(&[]));
    get(&server, "/metrics");
    let manager = server.manager();
    let before = manager.report().unwrap().server.operations;
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..25).for_each(|_| assert_eq!(get(&server, "/metrics").status, 200)));
        }
    });
    let samples = 2 + began.elapsed().as_millis() / 500;
    let operations = u128::from(manager.report().unwrap().server.operations - before);
    // A sample of an empty manager takes five operations, and so does each report of this test.
    assert!(operations <= 6 * (samples + 2), "{operations} operations for {samples} samples");
}

#[test]
fn the_page_is_a_client_only_while_somebody_looks() {
    let server = serve(&[]);
    let manager = server.manager();
    assert_eq!(manager.info().unwrap().clients, 1);
    get(&server, "/");
    assert_eq!(manager.info().unwrap().clients, 2);
    let deadline = Instant::now() + DEADLINE;
    while manager.info().unwrap().clients > 1 {
        assert!(Instant::now() < deadline, "it stays connected");
        std::thread::yield_now();
    }
    assert_eq!(get(&server, "/healthz").status, 200, "it connects again");
}

/// Opens the page in a browser, and returns the document after a while.
fn browse(server: &Server, more: &[&str]) -> String {
    let profile = tempfile::tempdir().unwrap();
    let mut browser = Command::new(BROWSER);
    // The sandbox refuses to run as root, and in containers. The page is our own.
    browser.args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]);
    browser.arg(format!("--user-data-dir={}", profile.path().display()));
    browser.arg(format!("--virtual-time-budget={}", LIFE.as_millis()));
    let output = run(browser.args(more).arg(server.addresses.last().unwrap()));
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert!(!output.stderr.contains("CONSOLE"), "the page writes to the console: {}", output.stderr);
    output.stdout
}

/// Removes objects, so that nobody waits for them any more.
struct Removed<'a>(&'a Manager, &'a [&'a str]);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        for name in self.1 {
            let removed = self.0.remove(name);
            assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
        }
    }
}

#[test]
fn a_browser_shows_a_deadlock_and_no_element_of_a_name() {
    if Command::new(BROWSER).arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no {BROWSER}");
        return;
    }
    let server = serve(&[]);
    let names = ["<img src=x onerror=document.title=1>", "\"><script>document.title=2</script>"];
    let (manager, both) = (server.manager(), std::sync::Barrier::new(2));
    std::thread::scope(|scope| {
        // However this ends, the threads do.
        let removed = Removed(&manager, &names);
        for order in [[0, 1], [1, 0]] {
            let [first, second] = order.map(|place| manager.named(names[place]).lock().unwrap());
            let both = &both;
            scope.spawn(move || {
                let _held = first.lock_timeout(DEADLINE).unwrap();
                both.wait();
                // When the browser has looked, it is removed, or the other thread gives it up.
                drop(second.lock());
            });
        }
        let deadline = Instant::now() + DEADLINE;
        while manager.report().unwrap().deadlocks.is_empty() {
            assert!(Instant::now() < deadline, "no deadlock is found");
        }
        let page = browse(&server, &["--dump-dom"]);
        drop(removed);
        let attribute =
            |name: &str| page.split_once(&format!("{name}=\"")).unwrap().1.split('"').next().unwrap();
        let updates: u32 = attribute("data-updates").parse().unwrap();
        assert!(updates >= 2, "it asks again: {page}");
        assert!(page.contains("data-state=\"live\">live<"), "{page}");
        assert!(page.contains("<title>mp-manager</title>"), "a name was run: {page}");
        assert!(page.contains("<h2>Deadlock</h2>") && page.contains("&lt;img src=x"), "{page}");
        assert_eq!(page.matches("<script").count(), 1);
        assert!(!page.contains("<img"), "{page}");
    });
}

#[test]
fn a_page_whose_process_was_killed_is_served_again() {
    let server = serve(&[]);
    for times in 1..3 {
        assert_eq!(get(&server, "/").status, 200);
        let [watcher] = children_of(server.child.id())[..] else { panic!("one process watches the page") };
        eventually("the page is served", || !children_of(watcher).is_empty());
        signal(children_of(watcher)[0], "KILL");
        let told = || server.place.errors().matches("--http has ended, and is started again").count();
        eventually("it is said", || told() == times);
    }
    assert_eq!(get(&server, "/metrics").status, 200);
}

#[test]
fn a_page_goes_on_with_a_new_key() {
    let server = serve(&[]);
    let new = KEY.to_uppercase();
    server.place.write_key("key", &new);
    server.signal("HUP");
    eventually("the new key is accepted", || {
        Manager::builder().key(new.as_str()).connect(&server.addresses[0]).is_ok()
    });
    assert_eq!(get(&server, "/metrics").status, 200);
}
