//! Pipes: processes are killed while they send, while they wait for room, while they receive, and right after they were
//! woken.

use mp::{RawValue, Receiver, RecvError, Sender, pipe};
use mp_sys::deadline::now_nanos;
use mp_sys::testing::{Random, eventually, hang, kill};

use crate::cell::{HANG, Outcome, define_cells, spawn};

/// A number, and that many bytes, so that a message that was cut or mixed is noticed.
type Message = (u64, Vec<u8>);

fn message(number: u64) -> Message {
    // Every 32nd message is too long for a packet.
    let length = if number % 32 == 31 { 210_000 } else { number % 1500 };
    (number, vec![number.to_le_bytes()[0]; usize::try_from(length).unwrap()])
}

/// A sender dies at any moment: what it sent is there, in order and whole, and then the end.
fn mid_send(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    for _ in 0..kills {
        let (tx, rx) = pipe::<Message>().unwrap();
        let sent = RawValue::new(0_u64).unwrap();
        let victim = spawn(|| send_on(&tx, &sent));
        drop(tx);
        eventually("the victim sends", || sent.load() > 0);
        // Some messages are received meanwhile, so that the victim does not always wait for room.
        let mut found = 0;
        let mut receive = |out: &mut Outcome| match rx.recv_timeout(HANG) {
            Ok(received) => {
                out.torn += u32::from(received != message(found));
                found += 1;
                true
            }
            Err(error) => {
                out.hangs += u32::from(error != RecvError::Closed);
                false
            }
        };
        for _ in 0..random.below(60) {
            receive(&mut out);
        }
        random.pause(100_000);
        victim.signal(9).unwrap();
        let started = now_nanos();
        while receive(&mut out) {}
        out.recoveries.push(now_nanos() - started);
        out.kills += 1;
        kill(&victim);
        out.check_count(found, sent.load());
    }
    out
}

fn send_on(tx: &Sender<Message>, sent: &RawValue<u64>) {
    loop {
        tx.send(&message(sent.load())).unwrap();
        sent.fetch_add(1);
    }
}

/// A sender dies while it waits for room: another one gets the room.
fn full(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    for _ in 0..kills {
        let (tx, rx) = pipe::<Vec<u8>>().unwrap();
        let waiting = RawValue::new(0_u32).unwrap();
        let mut in_pipe = 0_u32;
        while tx.try_send(&vec![0; 20_000]).is_ok() {
            in_pipe += 1;
        }
        let wait = || {
            waiting.fetch_add(1);
            assert!(tx.send_timeout(&vec![1; 20_000], HANG).is_ok(), "there was room");
        };
        let (victim, survivor) = (spawn(wait), spawn(wait));
        eventually("both are about to wait", || waiting.load() == 2);
        random.pause(100_000);
        rx.recv().unwrap();
        random.pause(20_000);
        kill(&victim);
        out.kills += 1;
        // If the victim was fast, the room was for the victim. Then this room is for the survivor.
        let mut received: u32 = 1;
        received += u32::from(rx.recv_timeout(HANG).is_ok());
        out.expect_end(&survivor);
        while rx.try_recv().is_ok() {
            received += 1;
        }
        out.lost += u32::from(received < in_pipe + 1);
        out.duplicated += u32::from(received > in_pipe + 2);
    }
    out
}

/// A receiver dies at any moment: the one message that it was taking may be lost, and the others go on.
fn mid_recv(kills: u32) -> Outcome {
    const MESSAGES: u64 = 100;
    let mut out = Outcome::default();
    let mut random = Random::new();
    for _ in 0..kills {
        let (tx, rx) = pipe::<Message>().unwrap();
        let (by_victim, by_survivor) = (RawValue::new(0_u64).unwrap(), RawValue::new(0_u64).unwrap());
        let victim = spawn(|| receive_all(&rx, &by_victim));
        // The survivor has no copy of the sending end, so it sees the end.
        let survivor = mp::fork_with(&rx, |rx| receive_all(rx, &by_survivor)).unwrap();
        drop(rx);
        let moment = random.below(MESSAGES);
        for number in 0..MESSAGES {
            if number == moment {
                random.pause(50_000);
                victim.signal(9).unwrap();
                out.kills += 1;
            }
            out.hangs += u32::from(tx.send_timeout(&message(number), HANG).is_err());
        }
        // The victim has a copy of the sending end until it is gone.
        kill(&victim);
        drop(tx);
        match survivor.join_timeout(HANG) {
            Ok(Some(())) => {}
            Ok(None) => {
                out.hangs += 1;
                survivor.kill().unwrap();
            }
            Err(error) => {
                eprintln!("the survivor: {error}");
                out.torn += 1;
            }
        }
        let found = by_victim.load() + by_survivor.load();
        out.lost += u32::from(found + 1 < MESSAGES);
        out.duplicated += u32::from(found > MESSAGES);
    }
    out
}

fn receive_all(rx: &Receiver<Message>, count: &RawValue<u64>) {
    for received in rx.iter() {
        let received = received.unwrap();
        assert_eq!(received, message(received.0), "a message is whole");
        count.fetch_add(1);
    }
}

/// Two processes wait, a message arrives, and one of them is killed as it wakes up: the other one gets the next message
/// at the latest.
fn just_woken(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    for _ in 0..kills {
        let (tx, rx) = pipe::<u8>().unwrap();
        let waiting = RawValue::new(0_u32).unwrap();
        let victim = spawn(|| {
            waiting.fetch_add(1);
            rx.recv().unwrap();
            hang();
        });
        let survivor = spawn(|| {
            waiting.fetch_add(1);
            assert!(rx.recv_timeout(HANG).is_ok(), "a message came");
        });
        eventually("both are about to wait", || waiting.load() == 2);
        random.pause(200_000);
        tx.send(&1).unwrap();
        tx.send(&2).unwrap();
        random.pause(20_000);
        kill(&victim);
        out.kills += 1;
        out.expect_end(&survivor);
    }
    out
}

define_cells! {
    MID_SEND: "pipe", "mid_send", mid_send;
    FULL: "pipe", "waiter_for_room", full;
    MID_RECV: "pipe", "mid_recv", mid_recv;
    JUST_WOKEN: "pipe", "just_woken", just_woken;
}
