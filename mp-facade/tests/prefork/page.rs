//! The status page in a real browser, and what it is made of.

use std::process::Command;
use std::time::Duration;

use crate::client::Client;
use crate::command::run;
use crate::load::{Load, Order};
use crate::server::{NO_LIMIT, Server, pids};

/// The browser of Debian, which `.ci/run` installs.
const BROWSER: &str = "chromium";
/// How long the page lives in the browser's own time, which runs ahead while nothing happens.
const LIFE: Duration = Duration::from_secs(4);

#[test]
fn a_browser_shows_live_figures_and_no_error() {
    if Command::new(BROWSER).arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no {BROWSER}");
        return;
    }
    let server = Server::start(2, 1, NO_LIMIT);
    let orders = [Order { requests: 1234, ..Order::endless("/") }];
    Load::start(server.address, &orders).finish().assert_nothing_lost(&server.log());
    let killed = server.kill("workers", 0);
    let status = server.status();
    // The question for the status that this test asked last may have been in its hand.
    let lost = status["lost_requests"].as_u64().unwrap();

    let profile = tempfile::tempdir().unwrap();
    let mut browser = Command::new(BROWSER);
    // The sandbox refuses to run as root, and in containers. The page is our own.
    browser.args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]);
    browser.arg(format!("--user-data-dir={}", profile.path().display()));
    browser.arg(format!("--virtual-time-budget={}", LIFE.as_millis()));
    let output = run(browser.arg(format!("http://{}/status", server.address)));
    let (page, console) = (&output.stdout, &output.stderr);
    assert_eq!(output.code, Some(0), "{console}");
    assert!(!console.contains("CONSOLE"), "the page writes to the console: {console}");

    let attribute = |name: &str| page.split_once(&format!("{name}=\"")).unwrap().1.split('"').next().unwrap();
    let updates: u32 = attribute("data-updates").parse().unwrap();
    assert!(updates >= 2, "it asks again: {page}");
    let text = |id: &str| {
        let (_, rest) = page.split_once(&format!("id=\"{id}\"")).unwrap();
        rest.split_once('>').unwrap().1.split('<').next().unwrap()
    };
    assert_eq!(["state", "hits", "restarts", "limited"].map(text), ["live", "1,234", "1", "0"]);
    assert_eq!(
        text("lost"),
        if lost == 1 { "1 request lost".to_owned() } else { format!("{lost} requests lost") }
    );
    for pid in pids(&status, "workers").into_iter().chain(pids(&status, "background")) {
        assert!(page.contains(&format!("pid {pid}<")), "{pid} is missing in {page}");
    }
    assert!(!page.contains(&format!("pid {killed}<")) && page.contains("SIGKILL, "), "{page}");
    assert!(attribute("class=\"line\" d").starts_with('M'), "the line is drawn: {page}");
}

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    let server = Server::start(1, 1, NO_LIMIT);
    let mut client = Client::connect(server.address).unwrap();
    for (path, kind) in [
        ("/status", "text/html; charset=utf-8"),
        ("/status.css", "text/css; charset=utf-8"),
        ("/status.js", "text/javascript; charset=utf-8"),
        ("/status.json", "application/json"),
    ] {
        let reply = client.get(path).unwrap();
        assert_eq!((reply.status, reply.header("content-type")), (200, Some(kind)));
        assert!(reply.header("content-security-policy").unwrap().starts_with("default-src 'self'; "));
        let without_names = reply.body.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !without_names.contains("//") || !without_names.contains("http"),
            "{path} names another server"
        );
    }
}
