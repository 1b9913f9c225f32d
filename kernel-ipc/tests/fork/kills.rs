//! Many processes on one end, some of them killed at random moments. Messages are whole, and those of live processes
//! arrive.

use kernel_ipc::{Receiver, RecvError, Sender, pipe};
use mp_sys::child::ChildProcess;
use mp_sys::testing::{PATIENCE, Random, kill, spawn, succeeded, tests};
use serde::{Deserialize, Serialize};

tests! {
    four_senders_and_four_receivers_lose_nothing,
    kills_on_both_ends_damage_no_message_and_stop_no_other_process,
    a_killed_receiver_does_not_swallow_the_wake_up,
}

#[derive(Debug, Serialize, Deserialize)]
struct Message {
    sender: u32,
    number: u32,
    /// As many bytes as the number says, each with the value of its lowest byte.
    filling: Vec<u8>,
}

impl Message {
    fn new(sender: u32, number: u32) -> Self {
        // Every 64th is too long for a packet.
        let length = if number % 64 == 63 { 210_000 } else { usize::try_from(number % 1500).unwrap() };
        Self { sender, number, filling: vec![number.to_le_bytes()[0]; length] }
    }

    fn is_whole(&self) -> bool {
        self.filling == Self::new(self.sender, self.number).filling
    }
}

fn send_all(tx: &Sender<Message>, sender: u32, count: u32) {
    for number in 0..count {
        tx.send_timeout(&Message::new(sender, number), PATIENCE).unwrap();
    }
}

/// Reports each message that arrives by its number.
fn receive_all(rx: &Receiver<Message>, report: &Sender<(u32, u32)>) {
    for message in rx.iter() {
        let message = message.unwrap();
        assert!(message.is_whole(), "{} of {}", message.number, message.sender);
        report.send(&(message.sender, message.number)).unwrap();
    }
}

fn four_senders_and_four_receivers_lose_nothing() {
    const EACH: u32 = 500;
    let (tx, rx) = pipe().unwrap();
    let (report, reports) = pipe().unwrap();
    let receivers: Vec<ChildProcess> = (0..4)
        .map(|_| {
            spawn(|| {
                mp_sys::socket::Ended::new().unwrap().replace_all_but(&keep(&[&rx, &report])).unwrap();
                receive_all(&rx, &report);
            })
        })
        .collect();
    drop((rx, report));
    let senders: Vec<ChildProcess> = (0..4).map(|sender| spawn(|| send_all(&tx, sender, EACH))).collect();
    drop(tx);
    let mut seen = vec![vec![0_u32; usize::try_from(EACH).unwrap()]; 4];
    while let Ok((sender, number)) = reports.recv_timeout(PATIENCE) {
        seen[usize::try_from(sender).unwrap()][usize::try_from(number).unwrap()] += 1;
    }
    senders.iter().chain(&receivers).for_each(succeeded);
    assert!(seen.iter().flatten().all(|times| *times == 1), "each message arrived once");
}

fn keep(ends: &[&dyn std::os::fd::AsFd]) -> std::collections::HashSet<i32> {
    ends.iter().map(|end| std::os::fd::AsRawFd::as_raw_fd(&end.as_fd())).collect()
}

fn kills_on_both_ends_damage_no_message_and_stop_no_other_process() {
    let mut random = Random::new();
    println!("MP_SEED={}", random.seed());
    let (tx, rx) = pipe::<Message>().unwrap();
    let (report, reports) = pipe::<(u32, u32)>().unwrap();
    let start = |role: u64, sender: u32| {
        spawn(|| match role {
            0 => send_all(&tx, sender, u32::MAX),
            _ => receive_all(&rx, &report),
        })
    };
    let mut crew: Vec<(u64, ChildProcess)> =
        (0..8).map(|n| (n % 2, start(n % 2, u32::try_from(n).unwrap()))).collect();
    for round in 0..100 {
        // Messages still get through, no matter which process was killed.
        for _ in 0..20 {
            reports.recv_timeout(PATIENCE).unwrap();
        }
        random.pause(200_000);
        let victim = usize::try_from(random.below(8)).unwrap();
        let role = crew[victim].0;
        kill(&crew[victim].1);
        crew[victim].1 = start(role, round);
        // Discards the reports from the meantime.
        while reports.try_recv().is_ok() {}
    }
    crew.iter().for_each(|(_, process)| kill(process));
    drop(tx);
    while let Ok(message) = rx.recv_timeout(PATIENCE) {
        assert!(message.is_whole());
    }
    assert_eq!(rx.recv().map(drop), Err(RecvError::Closed));
}

fn a_killed_receiver_does_not_swallow_the_wake_up() {
    let (tx, rx) = pipe::<u8>().unwrap();
    let (report, reports) = pipe::<u8>().unwrap();
    let start = || {
        spawn(|| {
            for n in rx.iter() {
                report.send(&n.unwrap()).unwrap();
            }
        })
    };
    let mut receivers = [start(), start(), start()];
    for n in 0..60 {
        let victim = usize::from(n) % receivers.len();
        tx.send(&n).unwrap();
        tx.send(&n).unwrap();
        // The victim may have been woken for a message that it has not received yet. At most the one message that it was
        // taking is lost, so at least one of the two arrives, without another message that would wake the others.
        kill(&receivers[victim]);
        assert!(reports.recv_timeout(PATIENCE).is_ok(), "message {n} woke nobody");
        receivers[victim] = start();
        while reports.try_recv().is_ok() {}
    }
    receivers.iter().for_each(kill);
}
