//! Processes that are started under the test harness: beside its threads, without a line in `main`.

use std::fs;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::*;
use crate::child::{ChildProcess, Ended, PANIC_EXIT_CODE};
use crate::robust::Patience;
use crate::socket::{Head, OVERHEAD_BYTES};

const PATIENCE: Duration = Duration::from_secs(30);

fn patience() -> Deadline {
    Deadline::after(PATIENCE)
}

fn send(endpoint: &Endpoint, body: &[u8]) {
    let head = Head { word: 1, long: 0 };
    endpoint.send(head, &mut [0; OVERHEAD_BYTES], body, &[], Patience::Until(patience())).unwrap();
}

fn start(entry: Entry) -> (ChildProcess, Endpoint) {
    Command::new(entry).unwrap().start().unwrap()
}

fn hello(child: &ChildProcess, endpoint: &Endpoint) -> Result<Vec<u8>, HelloError> {
    let mut packet = vec![0; 1 << 16];
    let received = first_packet(child, endpoint, &mut packet, patience())?;
    Ok(packet[OVERHEAD_BYTES..OVERHEAD_BYTES + received.body_len].to_vec())
}

fn ended(child: &ChildProcess) -> Ended {
    child.wait(patience()).unwrap().unwrap()
}

/// Answers with what it receives, and one more byte `N`.
fn append<const N: u8>(handed: Handed) -> i32 {
    let mut packet = [0; OVERHEAD_BYTES + 100];
    let received = handed.receive(&mut packet, patience()).unwrap();
    let body = &packet[OVERHEAD_BYTES..OVERHEAD_BYTES + received.body_len];
    send(handed.endpoint(), &[body, &[N]].concat());
    i32::from(N)
}

#[test]
fn an_instance_of_a_generic_function_runs_beside_threads() {
    for (entry, number) in [(append::<1> as Entry, 1), (append::<2>, 2)] {
        let (child, endpoint) = start(entry);
        send(&endpoint, b"body");
        assert_eq!(hello(&child, &endpoint).unwrap(), [b"body", &[number][..]].concat());
        assert_eq!(ended(&child), Ended::Exited(number.into()));
    }
}

/// Reports what this process looks like, in lines.
fn describe(handed: Handed) -> i32 {
    let arguments: Vec<String> = std::env::args().collect();
    let read = |file| fs::read_to_string(file).unwrap();
    let link = |number| fs::read_link(format!("/proc/self/fd/{number}")).unwrap().display().to_string();
    let lines = [
        arguments.join("|"),
        read("/proc/self/cmdline").trim_end_matches('\0').replace('\0', "|"),
        read("/proc/self/comm").trim_end().to_owned(),
        format!("{} {}", link(0), link(1)),
    ];
    send(handed.endpoint(), lines.join("\n").as_bytes());
    0
}

#[test]
fn the_child_shows_what_it_is() {
    let (child, endpoint) = Command::new(describe).unwrap().label("manager").silent().start().unwrap();
    let text = String::from_utf8(hello(&child, &endpoint).unwrap()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let path = std::env::current_exe().unwrap();
    let program = path.file_name().unwrap().to_str().unwrap();
    let mut arguments = vec![format!("{program}: mp manager")];
    arguments.extend(std::env::args().skip(1));
    assert_eq!(lines[0], arguments.join("|"));
    assert_eq!(lines[1], lines[0]);
    assert_eq!(lines[2], &program[..program.len().min(15)]);
    assert_eq!(lines[3], "/dev/null /dev/null");
    assert_eq!(ended(&child), Ended::Exited(0));
}

fn panic_quietly(_: Handed) -> i32 {
    std::panic::set_hook(Box::new(|_| {}));
    panic!("on purpose")
}

#[test]
fn a_child_ends_as_a_forked_one_does() {
    let (child, endpoint) = start(panic_quietly);
    assert_eq!(hello(&child, &endpoint), Err(HelloError::Ended(Ended::Exited(PANIC_EXIT_CODE))));
}

fn never_called(_: Handed) -> i32 {
    1
}

#[test]
fn another_build_runs_nothing_and_reports_that() {
    let mut command = Command::new(never_called).unwrap();
    let mut id = command.order.id.as_bytes().to_vec();
    id[0] ^= 1;
    command.order.id = image::Id::of_bytes(&id).unwrap();
    let (child, endpoint) = command.start().unwrap();
    assert_eq!(hello(&child, &endpoint), Err(HelloError::Refused(Refusal::OtherImage)));
    assert_eq!(ended(&child), Ended::Exited(REFUSED_EXIT_CODE));
}

#[test]
fn an_address_outside_the_programs_code_is_not_called() {
    let refused = Command::at((libc::getpid as *const ()).addr()).map(drop);
    assert_eq!(refused.unwrap_err(), StartError::NotInProgram);
    let mut command = Command::new(never_called).unwrap();
    command.order.entry = 0;
    let (child, endpoint) = command.start().unwrap();
    assert_eq!(hello(&child, &endpoint), Err(HelloError::Refused(Refusal::NoCode)));
    assert_eq!(ended(&child), Ended::Exited(REFUSED_EXIT_CODE));
}

/// Runs until the parent closes its end.
fn wait_for_end(handed: Handed) -> i32 {
    let outcome = handed.receive(&mut [0; OVERHEAD_BYTES], Deadline::after(2 * PATIENCE));
    i32::from(outcome.unwrap_err() != HelloError::Closed)
}

#[test]
fn a_child_that_is_killed_before_its_first_packet_has_ended() {
    let (child, endpoint) = start(wait_for_end);
    let outcome = first_packet(&child, &endpoint, &mut [0; OVERHEAD_BYTES], Deadline::after(Duration::ZERO));
    assert_eq!(outcome.unwrap_err(), HelloError::TimedOut);
    assert!(child.signal(libc::SIGKILL).unwrap());
    assert_eq!(hello(&child, &endpoint), Err(HelloError::Ended(Ended::Signaled(libc::SIGKILL))));
}

/// Ends when the descriptor in its packet is readable.
fn close_and_stay(handed: Handed) -> i32 {
    let received = handed.receive(&mut [0; OVERHEAD_BYTES], patience()).unwrap();
    send(handed.endpoint(), b"");
    let (endpoint, parent) = handed.into_parts();
    drop(endpoint);
    let alive = parent.wait(Deadline::after(Duration::ZERO)) == Ok(false);
    let go = received.descriptors.into_iter().next().unwrap();
    i32::from(!(alive && poll_readable(go.as_fd(), patience()).unwrap()))
}

#[test]
fn a_child_that_closes_its_end_and_stays_is_reported_as_closed() {
    let (child, endpoint) = start(close_and_stay);
    let (go, gone) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let head = Head { word: 0, long: 0 };
    endpoint.send(head, &mut [0; OVERHEAD_BYTES], &[], &[go.as_fd()], Patience::None).unwrap();
    assert_eq!(hello(&child, &endpoint), Ok(Vec::new()));
    assert!(endpoint.wait_readable(Patience::Until(patience())).unwrap());
    let outcome = first_packet(&child, &endpoint, &mut [0; OVERHEAD_BYTES], Deadline::after(Duration::ZERO));
    assert_eq!(outcome.unwrap_err(), HelloError::Closed);
    drop(gone);
    assert_eq!(ended(&child), Ended::Exited(0));
}

#[test]
fn labels_are_accepted_up_to_the_limit() {
    let with = |label: &str| Command::new(append::<3>).unwrap().label(label).start();
    let (child, endpoint) = with(&"l".repeat(LABEL_BYTES_MAX)).unwrap();
    send(&endpoint, b"");
    assert_eq!(ended(&child), Ended::Exited(3));
    for label in ["l".repeat(LABEL_BYTES_MAX + 1), "a\0b".to_owned()] {
        assert_eq!(with(&label).unwrap_err(), StartError::Label);
    }
}

#[test]
fn the_other_side_sees_an_end() {
    let (child, endpoint) = start(wait_for_end);
    assert!(endpoint.as_fd().as_raw_fd() > 2);
    drop(endpoint);
    assert_eq!(ended(&child), Ended::Exited(0));
}

/// The constructors of this crate's tests that have run, one bit for each. There are several, so that some are linked
/// before this crate's own and some after it.
static CONSTRUCTED: AtomicU8 = AtomicU8::new(0);

macro_rules! constructors {
    ($($name:ident: $bit:literal),*) => {$(
        mod $name {
            extern "C" fn run() {
                super::CONSTRUCTED.fetch_or(1 << $bit, std::sync::atomic::Ordering::Relaxed);
            }

            #[used]
            #[unsafe(link_section = ".init_array")]
            static AT_START: extern "C" fn() = run;
        }
    )*};
}
constructors!(first: 0, second: 1, third: 2, fourth: 3, fifth: 4, sixth: 5, seventh: 6, eighth: 7);

fn constructed(_: Handed) -> i32 {
    CONSTRUCTED.load(Ordering::Relaxed).into()
}

#[test]
fn all_constructors_have_run_before_the_function() {
    let (child, _endpoint) = start(constructed);
    assert_eq!(ended(&child), Ended::Exited(0xff));
}
