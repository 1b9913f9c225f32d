//! The memory of a server's process that clients on other hosts take.

use mp_sys::reexec::Handed;
use mp_sys::testing::{PATIENCE, PATIENCE_WITH_WORK};
use rustix::event::{PollFd, PollFlags, poll};

use super::*;
use crate::limits::{RECORD_BYTES_MAX, SEALED_SHARE};
use crate::proto::{ListOp, Op, Raw, Spec};
use crate::tests::remote_client::{KEY, begin_record, connect as connect_remote};

const MIB: usize = 1 << 20;
const MEMORY_BYTES: usize = 16 * MIB;
/// What the process takes at most in addition: the program and its buffers.
const PROCESS_BYTES: usize = 16 * MIB;
/// What the objects take.
const OBJECT_BYTES: usize = 8 * MIB;
/// Processes with clients on other hosts.
const HOSTS: usize = 6;
/// Clients of each: a process may have few more. The incomplete records of all would take 28 MiB in addition.
const CLIENTS_OF_EACH: usize = 150;

/// Returns the most bytes of memory that a server's process has had.
fn most_resident(process: &ServerProcess) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// Connects many clients that begin a record, reports that, and keeps the connections until this process is killed.
fn begin_records(handed: Handed) -> i32 {
    let Some(order) = child::order_of(&handed) else { return child::FAILED };
    let address: Address = order.tcp.unwrap().parse().unwrap();
    let begin = |_| {
        let client = connect_remote(&address);
        begin_record(&client);
        client
    };
    let _clients: Vec<_> = (0..CLIENTS_OF_EACH).map(begin).collect();
    let (endpoint, parent) = handed.into_parts();
    send(&endpoint, &Word::Exists, Deadline::after(PATIENCE)).unwrap();
    // It becomes readable when the test ends.
    let mut ends = [PollFd::new(&parent, PollFlags::IN)];
    while poll(&mut ends, None).is_err() {}
    0
}

fn order() -> Order {
    let limits = Limits { memory_bytes: MEMORY_BYTES, ..Limits::default() };
    Order::new(None, Some(Key::from(KEY.to_vec())), limits, None).unwrap()
}

#[test]
fn incomplete_records_of_many_hosts_are_bounded() {
    let process = ServerProcess::start(Order { tcp: Some("127.0.0.1:0".to_owned()), ..order() }).unwrap();
    let mut bystander = connect(&process);
    let list = bystander.open("l", Spec::List);
    for _ in 0..OBJECT_BYTES / MIB {
        let push = ListOp::Push(Raw::plain(&[7; MIB]));
        bystander.ask(list, Op::List(push)).unwrap();
    }
    let order = Order { tcp: process.tcp_address().map(str::to_owned), ..order() };
    let deadline = Deadline::after(PATIENCE_WITH_WORK);
    let mut hosts = Vec::new();
    for _ in 0..HOSTS {
        let (host, endpoint) = Command::new(begin_records).unwrap().silent().start().unwrap();
        send(&endpoint, &order, deadline).unwrap();
        let mut packet = [0; PACKET_BYTES_MAX];
        let received = first_packet(&host, &endpoint, &mut packet, deadline).unwrap();
        assert!(matches!(word_in(&packet, received.body_len), Some(Word::Exists)));
        hosts.push(host);
    }
    let most = MEMORY_BYTES / SEALED_SHARE / RECORD_BYTES_MAX;
    loop {
        match bystander.manager(ManagerOp::Info) {
            Ok(Reply::Info(info)) if index_of(info.clients) <= most + 1 => break,
            other => assert!(!deadline.has_passed(), "others are still connected: {other:?}"),
        }
    }
    let taken = most_resident(&process);
    assert!(
        taken <= MEMORY_BYTES * 5 / 4 + PROCESS_BYTES,
        "the server took {} MiB with a limit of {} MiB",
        taken / MIB,
        MEMORY_BYTES / MIB
    );
    for host in hosts {
        host.signal(Signal::KILL.as_raw()).unwrap();
        host.wait(deadline).unwrap();
    }
    bystander.ping();
    process.kill();
}
