//! Clients that want more memory than there is, and those beside them.

use std::time::Duration;

use mp_sys::testing::PATIENCE;

use super::peer::HANDSHAKE_BYTES;
use super::*;
use crate::count::count_of;
use crate::limits::{
    HANDSHAKES_SHARE, RESERVE_ANSWERS_SHARE, RESERVE_BYTES_MIN, UNFINISHED_DIVISOR, UNFINISHED_PARTS,
};
use crate::proto::{Answer, ListOp, Room, SemaphoreOp};
use crate::wire::control::Control;

const MEMORY_BYTES: usize = 16 << 20;
/// The longest frame that such a server accepts.
const LONGEST: usize = MEMORY_BYTES / UNFINISHED_DIVISOR * UNFINISHED_PARTS;

impl Client {
    /// Sends the head of a call with a body of this length, and the first part of the body.
    fn begin(&mut self, body_len: usize, first: &[u8]) {
        self.calls += 1;
        let body_len = u32::try_from(body_len).unwrap();
        let head = Head { body_len, kind: FrameKind::Call, cpu: 0, call: self.calls, read: 0 };
        self.stream.write_all(&head.to_bytes()).unwrap();
        self.stream.write_all(first).unwrap();
    }
}

#[test]
fn a_frame_that_does_not_fit_is_refused_and_the_connection_goes_on() {
    let server = Running::start(Server::builder().memory_bytes_max(MEMORY_BYTES));
    let mut client = server.client();
    let value = client.open("v", Spec::Value(Raw::plain(b"")));
    client.begin(LONGEST + 1, &vec![0; LONGEST + 1]);
    let limit = count_of(LONGEST);
    assert_eq!(client.answer(), (client.calls, Err(Fault::TooLarge { limit })));
    client.ping();
    // The longest one is collected, and then understood or not.
    client.begin(LONGEST, &vec![0xff; LONGEST]);
    assert_eq!(client.answer(), (client.calls, Err(Fault::Malformed)));
    let long = vec![7; 9 << 20];
    client.ask(value, Op::Value(ValueOp::Store(Raw::plain(&long)))).unwrap();
    let refused = client.ask(value, Op::Value(ValueOp::Store(Raw::plain(&long))));
    assert_eq!(refused.unwrap_err().full(), Some(Room::Memory), "the previous value is still there");
    assert_eq!(client.ask(value, GET), Ok(Reply::Value(Payload::copy(Raw::plain(&long)))));
}

#[test]
fn unfinished_frames_of_some_clients_harm_no_other() {
    let server = Running::start(Server::builder().memory_bytes_max(MEMORY_BYTES));
    let mut bystander = server.client();
    let value = bystander.open("v", Spec::Value(Raw::plain(b"")));
    let part = vec![0; 5 << 20];
    let mut attackers: Vec<_> = (0..6).map(|_| server.client()).collect();
    for attacker in &mut attackers {
        attacker.begin(6 << 20, &part);
    }
    let refused = attackers.iter_mut().skip(2).map(Client::answer).collect::<Vec<_>>();
    let are_refused = refused
        .iter()
        .all(|(_, answer)| answer.as_ref().is_err_and(|fault| fault.full() == Some(Room::Frames)));
    assert!(are_refused, "two of them fit: {refused:?}");
    for byte in 0..20 {
        let small = vec![byte; 50_000];
        bystander.ask(value, Op::Value(ValueOp::Store(Raw::plain(&small)))).unwrap();
        bystander.ping();
    }
    let Ok(Reply::Info(info)) = bystander.manager(ManagerOp::Info) else { panic!("info") };
    assert!(info.bytes <= count_of(MEMORY_BYTES), "{info:?}");
    drop(attackers);
    let long = vec![7; 8 << 20];
    let bystander = std::cell::RefCell::new(bystander);
    mp_sys::testing::eventually("their memory is free", || {
        bystander.borrow_mut().ask(value, Op::Value(ValueOp::Store(Raw::plain(&long)))).is_ok()
    });
}

#[test]
fn clients_that_do_not_read_are_paused_and_at_last_disconnected() {
    let server = Running::start(Server::builder().memory_bytes_max(MEMORY_BYTES));
    let mut bystander = server.client();
    let list = bystander.open("l", Spec::List);
    let items = vec![vec![7; 20_000]; 13];
    let items = items.iter().map(|item| Raw::plain(item)).collect();
    bystander.ask(list, Op::List(ListOp::Extend(items))).unwrap();
    let page = || Op::List(ListOp::Page { at: 0, max: u64::MAX });
    let mut lazy: Vec<_> = (0..60).map(|_| server.client()).collect();
    for client in &mut lazy {
        // Each page has 260,000 bytes.
        let bytes: Vec<u8> = (0..4).flat_map(|_| client.bytes_of(list, Wait::No, page())).collect();
        client.stream.write_all(&bytes).unwrap();
        let Ok(Reply::Info(info)) = bystander.manager(ManagerOp::Info) else { panic!("info") };
        assert!(info.bytes <= count_of(MEMORY_BYTES), "{info:?}");
    }
    let Ok(Reply::Info(info)) = bystander.manager(ManagerOp::Info) else { panic!("info") };
    assert!(info.clients < 61, "some were disconnected: {info:?}");
    assert_eq!(bystander.ask(list, Op::List(ListOp::Get(0))).map(|_| ()), Ok(()));
}

/// Asks for the same answer until the server no longer reads.
fn leave_unread(client: &mut Client, value: ObjectId, answers: usize) {
    let bytes: Vec<u8> = (0..answers).flat_map(|_| client.bytes_of(value, Wait::No, GET)).collect();
    client.stream.write_all(&bytes).unwrap();
}

#[test]
fn unread_answers_leave_others_the_reserve_of_a_full_manager() {
    let server = Running::start(Server::builder().memory_bytes_max(MEMORY_BYTES));
    let mut bystander = server.client();
    let value = bystander.open("v", Spec::Value(Raw::plain(&[7; 12_000])));
    let (list, lock) = (bystander.open("l", Spec::List), bystander.open("lock", Spec::Lock));
    let item = vec![1; 10_000];
    while bystander.ask(list, Op::List(ListOp::Push(Raw::plain(&item)))).is_ok() {}
    let mut lazy: Vec<_> = (0..80).map(|_| server.client()).collect();
    lazy.iter_mut().for_each(|client| leave_unread(client, value, 60));
    bystander.ask(lock, Op::Lock(LockOp::Acquire { lease: 0 })).unwrap();
    let mut new = server.client();
    assert!(new.ask(value, GET).is_ok());
    let most = count_of(MEMORY_BYTES + RESERVE_BYTES_MIN - RESERVE_BYTES_MIN / RESERVE_ANSWERS_SHARE);
    let bystander = std::cell::RefCell::new(bystander);
    // Those that have left too much are disconnected at the end of a round, and the server may still have calls to read.
    mp_sys::testing::eventually("others have the rest of the reserve", || {
        let info = bystander.borrow_mut().manager(ManagerOp::Info);
        matches!(info, Ok(Reply::Info(info)) if info.bytes < most)
    });
}

#[test]
fn silent_peers_take_up_to_half_of_the_reserve_and_then_the_oldest_go() {
    let server = Running::start(Server::builder().memory_bytes_max(MEMORY_BYTES));
    let mut client = server.client();
    let most = RESERVE_BYTES_MIN / HANDSHAKES_SHARE / HANDSHAKE_BYTES;
    let mut silent: Vec<_> = (0..most).map(|_| server.stream()).collect();
    client.ping();
    silent[0].set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert!(silent[0].read(&mut [0; 1]).is_err(), "the oldest still has time");
    silent.push(server.stream());
    silent[0].set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(silent[0].read(&mut [0; 1]).unwrap(), 0, "it makes room");
    silent[1].set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert!(silent[1].read(&mut [0; 1]).is_err());
    let Ok(Reply::Info(info)) = client.manager(ManagerOp::Info) else { panic!("info") };
    assert!(info.bytes >= count_of(most * HANDSHAKE_BYTES), "{info:?}");
    drop(silent);
    server.client().ping();
}

#[test]
fn a_manager_that_others_have_filled_closes_no_peer_in_the_handshake_for_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let mut server = Server::bind(&path).unwrap();
    let silent: Vec<_> = (0..5).map(|_| stream_to(&path)).collect();
    assert!(run_rounds(&mut server, 20, |work| work.peers() == silent.len()));
    let memory = Arc::clone(server.work.memory());
    let most = memory.limit() + memory.reserve();
    let mut others = memory.charge(most - memory.used());
    let refuse = |server: &mut Server| {
        let mut new = stream_to(&path);
        new.set_nonblocking(true).unwrap();
        assert!(run_rounds(server, 5, |_| new.read(&mut [0; 1]).is_ok_and(|len| len == 0)), "it is closed");
        assert_eq!(server.work.peers(), silent.len());
    };
    refuse(&mut server);
    // There is almost enough for a new one.
    others.set(others.bytes() - HANDSHAKE_BYTES + 1);
    refuse(&mut server);
    others.set(others.bytes() - 1);
    let _new = stream_to(&path);
    assert!(run_rounds(&mut server, 5, |work| work.peers() == silent.len() + 1));
}

/// Most of these are refused or answered because of what others hold, so they run once everything that has arrived is done.
#[test]
fn a_call_that_has_to_wait_is_refused_by_a_manager_that_is_full_to_the_end_and_no_connection_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let server = Server::builder().memory_bytes_max(MEMORY_BYTES).bind(&path).unwrap();
    let memory = Arc::clone(server.work.memory());
    let server = Running::serve(server, path, folder);
    let (mut holder, mut waiter, mut asker) = (server.client(), server.client(), server.client());
    let lock = holder.open("l", Spec::Lock);
    for client in [&mut waiter, &mut asker] {
        client.open("l", Spec::Lock);
    }
    let acquire = || Op::Lock(LockOp::Acquire { lease: 0 });
    holder.ask(lock, acquire()).unwrap();
    waiter.send(lock, Wait::Forever, acquire());
    waiter.ping();
    let value = asker.open("v", Spec::Value(Raw::plain(b"0")));
    let others = memory.charge(memory.limit() + memory.reserve());
    let is_full =
        |answer: &Answer<Payload>| answer.as_ref().is_err_and(|fault| fault.full() == Some(Room::Reserve));
    let calls = || [Op::Lock(LockOp::IsLocked), acquire(), GET, Op::Lock(LockOp::IsLocked), GET];
    // On a busy machine, the time of the turn may be over before the last call, which is then refused, too.
    let has_run_the_others = (0..100).any(|_| {
        let calls = calls().map(|op| asker.bytes_of(if op == GET { value } else { lock }, Wait::No, op));
        asker.stream.write_all(&calls.concat()).unwrap();
        let answers = [(); 5].map(|()| asker.answer().1);
        answers.each_ref().map(is_full) == [true, true, false, true, false]
    });
    assert!(has_run_the_others);
    // A notice that lets a waiter go on has to wait, too, and nobody could be told that it is lost.
    let release = holder.notice_of(lock, Op::Lock(LockOp::Release { token: 1 }));
    holder.stream.write_all(&release).unwrap();
    assert_eq!(waiter.answer().1, Ok(Reply::Granted { token: 2, owner_died: false, timed_out: false }));
    holder.ping();
    drop(others);
    assert_eq!(asker.ask(lock, Op::Lock(LockOp::IsLocked)), Ok(Reply::Bool(true)));
}

/// It waits until permits that were added before are handed over, one in each step.
#[test]
fn a_full_manager_keeps_a_notice_that_has_to_wait_and_refuses_the_calls_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let mut server = Server::builder().memory_bytes_max(MEMORY_BYTES).bind(&path).unwrap();
    server.work.set_step(1);
    let memory = Arc::clone(server.work.memory());
    let server = Running::serve(server, path, folder);
    let (mut waiter, mut client) = (server.client(), server.client());
    let value = client.open("v", Spec::Value(Raw::plain(b"0")));
    let semaphore = client.open("s", Spec::Semaphore(1));
    waiter.open("s", Spec::Semaphore(1));
    client.send(semaphore, Wait::No, Op::Semaphore(SemaphoreOp::Acquire));
    let call = client.calls;
    let add = client.notice_of(semaphore, Op::Semaphore(SemaphoreOp::Add(100)));
    let reject = client.frame_of(FrameKind::Notice, &Control::Reject { call }.sent_by(1));
    assert!(client.answer().1.is_ok());
    let acquire = || Op::Semaphore(SemaphoreOp::Acquire);
    let waiting: Vec<u8> =
        (0..200).flat_map(|_| waiter.bytes_of(semaphore, Wait::Forever, acquire())).collect();
    waiter.stream.write_all(&waiting).unwrap();
    waiter.ping();
    let others = memory.charge(memory.limit() + memory.reserve());
    // They say that the answer was read which the notice before them gives back.
    let calls: Vec<u8> = (0..50).flat_map(|_| client.bytes_of(value, Wait::No, GET)).collect();
    client.stream.write_all(&[add, reject, calls].concat()).unwrap();
    for _ in 0..50 {
        let full = client.answer().1.unwrap_err().full();
        assert_eq!(full, Some(Room::Reserve), "it is not kept");
    }
    for _ in 0..101 {
        assert!(waiter.answer().1.is_ok(), "all permits are there, and the one that was given back");
    }
    drop(others);
    client.ping();
    let Ok(Reply::Info(info)) = client.manager(ManagerOp::Info) else { panic!("info") };
    assert_eq!(info.waiters, 99);
}
