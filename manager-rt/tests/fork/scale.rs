//! Thousands of connections, of waiting calls, and of silent peers, and how much memory of the server each takes.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use manager_rt::Manager;
use manager_rt::limits::{HANDSHAKE_TIME_MAX, HANDSHAKES_MAX};
use manager_rt::proto::{BarrierOp, EventOp, Fault, LockOp, ObjectId, Op, QueueOp, Raw, Reply, Spec, Wait};
use mp_sys::testing::{PATIENCE, skip, tests};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::fixture::{Place, until, until_waiting, with_manager};
use crate::plain::{Client, stream_to};

tests! {
    a_thousand_clients_and_their_memory,
    ten_thousand_waiting_calls,
    a_thousand_parties_learn_that_one_of_them_gave_up,
    a_thousand_silent_peers_harm_no_client,
    the_oldest_silent_peers_make_room_for_new_ones,
}

const CLIENTS: usize = 1_000;
const SILENT: usize = 1_000;
/// The most bytes of the server's memory for an idle client.
const CLIENT_BYTES_MAX: u64 = 16 << 10;
/// The most bytes of the server's memory for a peer in the handshake.
const SILENT_BYTES_MAX: u64 = 8 << 10;
/// The fingerprint of the objects that only plain clients use.
const PRINT: u64 = 1;

/// Allows this process, and the server that it starts, this many descriptors.
fn raise_descriptors(count: usize) {
    let limit = getrlimit(Resource::Nofile);
    let wanted = u64::try_from(count + 200).unwrap();
    if limit.maximum.is_some_and(|maximum| maximum < wanted) {
        skip(format!("{wanted} descriptors are needed, and {:?} are permitted", limit.maximum));
    }
    if limit.current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }).unwrap();
    }
}

/// Returns how many bytes of memory a process has.
fn resident(place: &Place) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", place.server)).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Returns how much of the added memory each of `count` takes.
fn each(place: &Place, before: u64, count: usize) -> u64 {
    resident(place).saturating_sub(before) / u64::try_from(count).unwrap()
}

fn connect_all(socket: &Path, count: usize) -> Vec<Client> {
    (0..count).map(|_| Client::connect(socket)).collect()
}

fn a_thousand_clients_and_their_memory() {
    raise_descriptors(CLIENTS);
    with_manager(|manager| {
        let place = Place::of(manager);
        // What the server allocates for its first clients does not count.
        connect_all(&place.socket, 20).iter_mut().for_each(Client::ping);
        until(manager, "they are gone", |info| info.clients == 1);
        let before = resident(&place);
        let started = Instant::now();
        let mut clients = connect_all(&place.socket, CLIENTS);
        let connected = started.elapsed();
        clients.iter_mut().for_each(Client::ping);
        assert_eq!(manager.info().unwrap().clients, 1 + u64::try_from(CLIENTS).unwrap());
        let bytes = each(&place, before, CLIENTS);
        println!("{CLIENTS} clients connected in {connected:?}, {bytes} bytes of the server each");
        assert!(bytes <= CLIENT_BYTES_MAX, "{bytes} bytes a client");
    });
}

/// Ten calls of each client wait, each as a separate thread: five for an event, three for an item, two for a lock.
/// Waking them takes several steps, and nothing else happens meanwhile that would continue them.
fn a_thousand_parties_learn_that_one_of_them_gave_up() {
    const PARTIES: u64 = 1_000;
    with_manager(|manager| {
        let mut client = Client::connect(&Place::of(manager).socket);
        let barrier = client.open("barrier", Spec::Barrier(PARTIES + 1), PRINT);
        for thread in 0..PARTIES {
            let wait = if thread == 7 { Wait::For(50_000_000) } else { Wait::Forever };
            client.send(thread, barrier, wait, Op::Barrier(BarrierOp::Wait { acts: false }));
        }
        let answers = (0..PARTIES).map(|_| client.answer().1);
        let broken = answers.filter(|answer| *answer == Err(Fault::Broken)).count();
        assert!(broken >= 999, "{broken} parties");
    });
}

fn ten_thousand_waiting_calls() {
    raise_descriptors(CLIENTS);
    with_manager(|manager| {
        let place = Place::of(manager);
        let mut clients = connect_all(&place.socket, CLIENTS);
        let objects = {
            let first = &mut clients[0];
            let event = first.open("event", Spec::Event, PRINT);
            let queue = first.open("queue", Spec::Queue(0), PRINT);
            [event, queue, first.open("lock", Spec::Lock, PRINT)]
        };
        let before = resident(&place);
        let started = Instant::now();
        let mut holder = Client::connect(&place.socket);
        let acquire = || Op::Lock(LockOp::Acquire { lease: 0 });
        holder.send(1, objects[2], Wait::No, acquire());
        assert!(matches!(holder.answer().1, Ok(Reply::Granted { .. })));
        for client in &mut clients {
            wait_ten_times(client, objects);
        }
        until_waiting(manager, 10_000);
        let parked = started.elapsed();
        println!(
            "10,000 calls wait after {parked:?}, {} bytes of the server each",
            each(&place, before, 10_000)
        );
        serve(&mut holder, &mut clients, objects);
        until_waiting(manager, 5_000 - 1_500);
        // The remaining waits are ended by closing their connections.
        let started = Instant::now();
        drop((clients, holder));
        until(manager, "all are gone", |info| (info.clients, info.waiters, info.held) == (1, 0, 0));
        println!("3,500 waits of {CLIENTS} clients were called off in {:?}", started.elapsed());
        ["event", "queue", "lock"].iter().for_each(|name| manager.remove(name).unwrap());
        assert_eq!(manager.info().unwrap().objects, 0);
    });
}

fn wait_ten_times(client: &mut Client, [event, queue, lock]: [ObjectId; 3]) {
    for thread in 0..10 {
        let (object, op) = match thread {
            0..5 => (event, Op::Event(EventOp::Wait)),
            5..8 => (queue, Op::Queue(QueueOp::Get)),
            _ => (lock, Op::Lock(LockOp::Acquire { lease: 0 })),
        };
        client.send(thread, object, Wait::Forever, op);
    }
    // The next client's calls must come later, but the server may divide what a client sends into several turns.
    client.ping();
}

/// Sets the event, and puts items for half of the clients: those that came first.
fn serve(holder: &mut Client, clients: &mut [Client], [event, queue, _]: [ObjectId; 3]) {
    let started = Instant::now();
    holder.send(1, event, Wait::No, Op::Event(EventOp::Set));
    assert_eq!(holder.answer().1, Ok(Reply::Done));
    for client in &mut *clients {
        (0..5).for_each(|_| assert_eq!(client.answer().1, Ok(Reply::Done)));
    }
    println!("5,000 waits for an event ended in {:?}", started.elapsed());
    for number in 0..1_500_u64 {
        holder.send(1, queue, Wait::No, Op::Queue(QueueOp::Put(Raw::plain(&number.to_le_bytes()))));
        assert_eq!(holder.answer().1, Ok(Reply::Done));
    }
    let mut next = 0_u64;
    for client in &mut clients[..500] {
        for _ in 0..3 {
            let Ok(Reply::Value(item)) = client.answer().1 else { panic!("an item") };
            assert_eq!(item.raw().bytes, next.to_le_bytes(), "in the order of arrival");
            next += 1;
        }
        // Reports that they were read, so that no other client gets them.
        client.ping();
    }
}

/// Checks that the manager works normally for another client.
fn others_go_on(manager: &Manager) {
    let other = Manager::connect(&manager.address().unwrap()).unwrap();
    let value = other.value(&1_u64).unwrap();
    assert_eq!(value.fetch_add(1), Ok(1));
}

fn a_thousand_silent_peers_harm_no_client() {
    raise_descriptors(SILENT);
    with_manager(|manager| {
        let place = Place::of(manager);
        others_go_on(manager);
        let before = resident(&place);
        let started = Instant::now();
        let mut silent: Vec<_> = (0..SILENT).map(|_| stream_to(&place.socket)).collect();
        others_go_on(manager);
        // All were accepted before this one.
        let bytes = each(&place, before, SILENT);
        println!("{SILENT} silent peers: {bytes} bytes of the server each");
        assert!(bytes <= SILENT_BYTES_MAX, "{bytes} bytes a peer");
        for stream in &mut silent {
            assert_eq!(stream.read(&mut [0; 64]).unwrap(), 0, "a silent peer receives nothing");
        }
        let gone = started.elapsed();
        println!("they were gone after {gone:?}");
        assert!(gone >= HANDSHAKE_TIME_MAX, "not before their time is over");
        assert!(gone < HANDSHAKE_TIME_MAX + PATIENCE);
        others_go_on(manager);
    });
}

/// The oldest peers are disconnected, and a peer that completes the handshake in time is accepted.
fn the_oldest_silent_peers_make_room_for_new_ones() {
    const MORE: usize = 100;
    raise_descriptors(HANDSHAKES_MAX + MORE);
    with_manager(|manager| {
        let place = Place::of(manager);
        let mut silent: Vec<_> = (0..HANDSHAKES_MAX + MORE).map(|_| stream_to(&place.socket)).collect();
        let started = Instant::now();
        for stream in &mut silent[..MORE] {
            assert_eq!(stream.read(&mut [0; 64]).unwrap(), 0);
        }
        println!("the {MORE} oldest were gone after {:?}", started.elapsed());
        others_go_on(manager);
        let newest = silent.last_mut().unwrap();
        newest.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        assert!(newest.read(&mut [0; 1]).is_err(), "the newest still has time");
        Client::connect(&place.socket).ping();
    });
}
