//! How much memory a server's process takes while clients attack its limit: everything together stays within 1.25 times
//! the limit, apart from what the process itself needs.
//!
//! The address space of the server is limited, so a server that fails the test cannot use up the memory of the machine.

use std::io::Write;

use manager_rt::limits::{CLIENT_RECORDS_SHARE, CLIENT_SHARE, VALUES_AT_ONCE_MAX};
use manager_rt::proto::{
    Call, DictOp, EventOp, Fault, ListOp, LockOp, ManagerOp, ObjectId, Op, QueueOp, Raw, Reply, Room, Spec,
    Wait,
};
use manager_rt::wire::frame::{FrameKind, Head};
use manager_rt::{Manager, ManagerBuilder};
use mp_sys::testing::tests;
use rustix::process::{Resource, Rlimit, prlimit};

use crate::fixture::Place;
use crate::plain::Client;

tests! {
    unfinished_frames_are_bounded,
    items_that_were_not_acknowledged_are_bounded,
    a_client_that_keeps_its_share_harms_no_other,
    workers_with_long_items_keep_no_memory_of_the_server,
    decoding_is_bounded,
    transits_and_leases_are_bounded,
    names_objects_and_waiting_calls_are_bounded,
    unread_answers_are_bounded,
    sizes_that_change_all_the_time_leave_few_holes,
}

const MIB: usize = 1 << 20;
/// The limit of each server here.
const MEMORY_BYTES: usize = 16 * MIB;
/// What the process itself takes: the program, the buffers of the event loop, what it needs to decode one frame at least,
/// and the least reserve.
const PROCESS_BYTES: usize = 16 * MIB;
/// The address space of each server.
const ADDRESS_SPACE_BYTES: u64 = 2 << 30;
const PRINT: u64 = 1;

/// Attacks a server, and then checks the most memory that its process has ever had.
fn attack(body: impl FnOnce(&Place)) {
    attack_of(Manager::builder().memory_bytes_max(MEMORY_BYTES), body);
}

/// Like [`attack`], for a server with other settings.
fn attack_of(builder: ManagerBuilder, body: impl FnOnce(&Place)) {
    let manager = builder.start().unwrap();
    let place = Place::of(&manager);
    let most = Some(ADDRESS_SPACE_BYTES);
    prlimit(Some(place.server), Resource::As, Rlimit { current: most, maximum: most }).unwrap();
    body(&place);
    let taken = most_resident(&place);
    assert!(
        taken <= MEMORY_BYTES * 5 / 4 + PROCESS_BYTES,
        "the server took {} MiB with a limit of {} MiB",
        taken / MIB,
        MEMORY_BYTES / MIB
    );
    // It still serves.
    Client::connect(&place.socket).ping_manager();
    manager.shutdown().unwrap();
    drop(manager);
    place.is_gone();
}

/// Returns the most bytes of memory that a process has had.
fn most_resident(place: &Place) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", place.server)).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

fn call(object: ObjectId, op: Op<Raw<'_>>) -> Vec<u8> {
    postcard::to_allocvec(&Call { object, thread: 1, wait: Wait::No, op }).unwrap()
}

fn ask(client: &mut Client, object: ObjectId, op: Op<Raw<'_>>) -> Result<(), Fault> {
    client.send(1, object, Wait::No, op);
    client.answer().1.map(drop)
}

fn unfinished_frames_are_bounded() {
    attack(|place| {
        let mut attackers: Vec<_> = (0..24).map(|_| Client::connect(&place.socket)).collect();
        let part = vec![1; 8 * MIB];
        for attacker in &mut attackers {
            attacker.begin(FrameKind::Call, part.len() + 1, &part);
        }
        Client::connect(&place.socket).ping_manager();
    });
}

fn items_that_were_not_acknowledged_are_bounded() {
    attack(|place| {
        let mut hostile = Client::connect(&place.socket);
        let queue = hostile.open("q", Spec::Queue(0), PRINT);
        let item = vec![7; MIB];
        let mut refused = 0;
        for _ in 0..100 {
            hostile.acknowledge_nothing();
            match ask(&mut hostile, queue, Op::Queue(QueueOp::Put(Raw::plain(&item)))) {
                Ok(()) => drop(ask(&mut hostile, queue, Op::Queue(QueueOp::Get))),
                Err(fault) => {
                    assert!(fault.is_no_space(), "{fault}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 80, "{refused} of 100 items were refused");
        Client::connect(&place.socket).ping_manager();
        drop(hostile);
    });
}

fn a_client_that_keeps_its_share_harms_no_other() {
    for (set, share) in [(None, MEMORY_BYTES / CLIENT_SHARE), (Some(2 * MIB), 2 * MIB)] {
        let builder = Manager::builder().memory_bytes_max(MEMORY_BYTES);
        let builder = set.into_iter().fold(builder, ManagerBuilder::client_memory_bytes_max);
        attack_of(builder, |place| {
            let (mut boss, mut hostile) = (Client::connect(&place.socket), Client::connect(&place.socket));
            let queue = boss.open("q", Spec::Queue(0), PRINT);
            let item = vec![7; MIB / 4];
            let most = share - share / CLIENT_RECORDS_SHARE;
            let limit = u64::try_from(most).unwrap();
            let mut put = |len| ask(&mut boss, queue, Op::Queue(QueueOp::Put(Raw::plain(&vec![7; len]))));
            for taken in 0..most / item.len() + 8 {
                put(item.len()).unwrap();
                hostile.acknowledge_nothing();
                match ask(&mut hostile, queue, Op::Queue(QueueOp::Get)) {
                    Ok(()) => assert!((taken + 1) * item.len() < most),
                    Err(Fault::NoRoom { room: Room::Client, limit: told, .. }) => assert_eq!(told, limit),
                    Err(other) => panic!("{other}"),
                }
            }
            put(MEMORY_BYTES / 4).unwrap();
            let mut other = Client::connect(&place.socket);
            ask(&mut other, queue, Op::Queue(QueueOp::Get)).unwrap();
            other.ping_manager();
        });
    }
}

fn workers_with_long_items_keep_no_memory_of_the_server() {
    attack(|place| {
        let key = std::fs::read(place.socket.with_file_name("key")).unwrap();
        let address = format!("mp+unix:{}", place.socket.display());
        let connect = || Manager::builder().key(key.clone()).connect(&address).unwrap();
        let boss = connect();
        let queue = boss.named("q").queue::<String>().unwrap();
        let item = "x".repeat(MEMORY_BYTES / 2);
        let mut working = Vec::new();
        for _ in 0..100 {
            queue.put(&item).unwrap();
            let worker = connect();
            let tasks = worker.named("q").queue::<String>().unwrap();
            assert_eq!(tasks.get().unwrap().len(), item.len());
            // It works for long, and calls nothing.
            working.push((worker, tasks));
        }
        let held = usize::try_from(boss.info().unwrap().bytes).unwrap();
        assert!(held < MIB, "{held} bytes");
    });
}

fn decoding_is_bounded() {
    attack(|place| {
        let mut client = Client::connect(&place.socket);
        let list = client.open("l", Spec::List, PRINT);
        // Two bytes each in the frame.
        let empty = vec![Raw::plain(b""); 4 * MIB];
        let body = call(list, Op::List(ListOp::Extend(empty)));
        client.begin(FrameKind::Call, body.len(), &body);
        let limit = u64::try_from(VALUES_AT_ONCE_MAX).unwrap();
        assert_eq!(client.answer().1, Err(Fault::TooMany { limit }));
        let queue = client.open("q", Spec::Queue(0), PRINT);
        let body = call(queue, Op::Queue(QueueOp::PutMany(vec![Raw::plain(b""); 4 * MIB])));
        client.begin(FrameKind::Call, body.len(), &body);
        assert!(matches!(client.answer().1, Err(Fault::NoRoom { room: Room::Decoded, .. })));
    });
}

fn transits_and_leases_are_bounded() {
    attack(|place| {
        let mut client = Client::connect(&place.socket);
        let lock = client.open("l", Spec::Lock, PRINT);
        for _ in 0..50 {
            ask(&mut client, ObjectId::MANAGER, Op::Manager(ManagerOp::Transit(vec![lock; 65_536]))).unwrap();
        }
        for _ in 0..20_000 {
            client.send(1, lock, Wait::No, Op::Lock(LockOp::Acquire { lease: 3_600_000_000_000 }));
            let Ok(Reply::GrantedLease { token, .. }) = client.answer().1 else { panic!("it is free") };
            ask(&mut client, lock, Op::Lock(LockOp::Release { token })).unwrap();
        }
    });
}

fn names_objects_and_waiting_calls_are_bounded() {
    attack(|place| {
        let mut client = Client::connect(&place.socket);
        let event = client.open("e", Spec::Event, PRINT);
        let mut named = 0_usize;
        let refused = loop {
            let name = format!("{named:0>255}");
            let open = ManagerOp::Open { name, spec: Spec::Event, print: PRINT };
            match ask(&mut client, ObjectId::MANAGER, Op::Manager(open)) {
                Ok(()) => named += 1,
                Err(fault) => break fault,
            }
        };
        assert!(refused.is_no_space() && named > 5_000, "{refused} after {named} names");
        let mut waiters: Vec<_> = (0..4).map(|_| Client::connect(&place.socket)).collect();
        for waiter in &mut waiters {
            let refused = loop {
                for _ in 0..100 {
                    waiter.send(1, event, Wait::Forever, Op::Event(EventOp::Wait));
                }
                waiter.send(1, event, Wait::No, Op::Event(EventOp::IsSet));
                if let Err(fault) = waiter.answer().1 {
                    break fault;
                }
            };
            assert!(matches!(refused, Fault::NoRoom { room: Room::Client, .. }), "{refused}");
        }
        Client::connect(&place.socket).ping_manager();
    });
}

fn unread_answers_are_bounded() {
    attack(|place| {
        let mut client = Client::connect(&place.socket);
        let list = client.open("l", Spec::List, PRINT);
        let item = vec![7; 20_000];
        ask(&mut client, list, Op::List(ListOp::Extend(vec![Raw::plain(&item); 13]))).unwrap();
        let mut lazy: Vec<_> = (0..200).map(|_| Client::connect(&place.socket)).collect();
        for lazy in &mut lazy {
            for _ in 0..4 {
                lazy.send(1, list, Wait::No, Op::List(ListOp::Page { at: 0, max: u64::MAX }));
            }
        }
        client.ping_manager();
    });
}

/// Sets and removes values of many sizes, in a random but fixed order, near the limit all the time.
fn sizes_that_change_all_the_time_leave_few_holes() {
    attack(|place| {
        let mut client = Client::connect(&place.socket);
        let dict = client.open("d", Spec::Dict, PRINT);
        let mut random = 88_172_645_463_325_252_u64;
        let mut next = |most: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % most
        };
        let longest = vec![7; MIB / 2 + 64];
        for round in 0..24_000_u32 {
            let key = next(4_000).to_le_bytes();
            // From 64 bytes to 512 KiB, each power of two as often. Of each thousand rounds, the last ones remove.
            let len = usize::try_from((64 << next(13)) + next(64)).unwrap();
            let op = if round % 1_000 < 700 {
                DictOp::Insert(Raw::plain(&key), Raw::plain(&longest[..len]))
            } else {
                DictOp::Remove(Raw::plain(&key))
            };
            if let Err(fault) = ask(&mut client, dict, Op::Dict(op)) {
                assert!(fault.is_no_space(), "{fault}");
            }
        }
    });
}

impl Client {
    /// Sends the head of a frame with a body of this length, and the first part of the body.
    fn begin(&mut self, kind: FrameKind, body_len: usize, first: &[u8]) {
        self.calls += 1;
        let body_len = u32::try_from(body_len).unwrap();
        let head = Head { body_len, kind, cpu: 0, call: self.calls, read: 0 };
        self.stream.write_all(&head.to_bytes()).unwrap();
        self.stream.write_all(first).unwrap();
    }

    /// The next call says that no answer was read.
    fn acknowledge_nothing(&mut self) {
        self.read = 0;
    }

    /// Checks that the server answers, however many names it has.
    fn ping_manager(&mut self) {
        ask(self, ObjectId::MANAGER, Op::Manager(ManagerOp::Info)).unwrap();
    }
}
