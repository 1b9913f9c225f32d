//! The guide says what a program sees when it cannot connect: each of these texts is that of a real error, and none is missing.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use manager_rt::{AddressError, ConnectError, Manager, ManagerBuilder, Versions};
use mp_sys::testing::hosts::{Host, TwoHosts};

use crate::tcp::{KEY, OTHER_KEY, started};

/// An address of this test's own, so that nobody else takes a port that is free again.
const OWN: &str = "127.77.15.1:0";

/// Returns the errors in the tables of the guide.
fn in_guide() -> BTreeSet<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/hosts.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once("\n## When connecting fails\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.map(|row| row.split_once("` | ").unwrap().0);
    // What contains a backtick is between two of them.
    cells.map(|cell| cell.trim_start_matches('`').trim_end_matches('`').to_owned()).collect()
}

/// Returns what the guide calls this error.
fn text(error: &impl Display, address: &str) -> String {
    let text = error.to_string();
    let said = format!("the manager at {address} cannot be reached: ");
    text.strip_prefix(&said).map_or_else(|| text.clone(), str::to_owned)
}

fn with_key() -> ManagerBuilder {
    Manager::builder().key(KEY)
}

/// Connects in vain.
fn refused(builder: ManagerBuilder, address: &str) -> String {
    text(&builder.connect(address).unwrap_err(), address)
}

/// Errors of a server that is not there, or does not answer.
fn of_absence() -> Vec<String> {
    let listener = TcpListener::bind(OWN).unwrap();
    let address = format!("mp+tcp://{}", listener.local_addr().unwrap());
    let silent = refused(with_key().timeout(Duration::from_millis(20)), &address);
    drop(listener);
    let beyond = "mp+tcp://192.0.2.1:7000";
    let unreachable = match TwoHosts::joined() {
        Ok(hosts) => hosts.on(Host::Two, || refused(with_key(), beyond)),
        // Without the rights to make two hosts, it is not certain that this one has no way there.
        Err(_) => ConnectError::System(std::io::Error::from_raw_os_error(101).into()).to_string(),
    };
    let unknown = refused(with_key(), "mp+tcp://no-such-host.invalid:7000");
    vec![silent, refused(with_key(), &address), unreachable, unknown]
}

/// Errors of a server that is there.
fn of_presence() -> Vec<String> {
    let server = started();
    let address = server.tcp_address().unwrap();
    let place = address.strip_prefix("mp+tcp://").unwrap();
    let taken = with_key().tcp(place).start().unwrap_err().to_string();
    let full = with_key().clients_max(1).tcp("127.0.0.1:0").start().unwrap();
    let errors = vec![
        refused(Manager::builder().key(OTHER_KEY), &address),
        refused(Manager::builder().key("short"), &address),
        refused(with_key(), &full.tcp_address().unwrap()),
        taken.replace(place, "0.0.0.0:7000"),
    ];
    full.shutdown().unwrap();
    server.shutdown().unwrap();
    errors
}

/// Errors before anything is sent.
fn of_arguments() -> Vec<String> {
    let key = Manager::builder().key_file("jobs.key").unwrap_err().to_string();
    let addresses =
        ["mp+tcp://jobs.example", "jobs.example:7000", "mp+tcp://jobs.example:7000?lost_after=1s"];
    addresses.map(|address| refused(with_key(), address)).into_iter().chain([key]).collect()
}

/// Errors of other builds, which this one cannot have.
fn of_builds() -> Vec<String> {
    let [ours, theirs] = [5, 6].map(Versions::only);
    vec![
        ConnectError::NoCommonVersion { ours, theirs }.to_string(),
        AddressError::NeedsTcp("mp+tcp://jobs.example:7000".to_owned()).to_string(),
    ]
}

#[test]
fn the_guide_names_the_errors_that_a_program_sees() {
    let real: BTreeSet<_> =
        [of_absence(), of_presence(), of_arguments(), of_builds()].into_iter().flatten().collect();
    let shown = in_guide();
    let [missing, invented] = [&real - &shown, &shown - &real];
    assert!(missing.is_empty() && invented.is_empty(), "missing: {missing:#?}\ninvented: {invented:#?}");
}
