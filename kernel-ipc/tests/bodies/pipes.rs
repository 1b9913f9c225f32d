//! Pipes: each message goes to one receiver, whole, in the order of its sender.

use kernel_ipc::{Queue, duplex, pipe};
use mp_sys::testing::spawner::Spawner;
use mp_sys::testing::{PATIENCE, bodies};

bodies! {
    senders_and_receivers_of_a_pipe,
    long_messages_are_whole,
    questions_and_answers,
}

const EACH: u64 = 1_000;

fn senders_and_receivers_of_a_pipe<S: Spawner>() {
    let (sender, receiver) = pipe::<(usize, u64)>().unwrap();
    let sums = Queue::<u64>::new().unwrap();
    S::all(4, |worker| {
        if worker < 2 {
            (1..=EACH).for_each(|number| sender.send(&(worker, number)).unwrap());
            return;
        }
        let (mut newest, mut sum) = ([0; 2], 0);
        for _ in 0..EACH {
            let (from, number) = receiver.recv_timeout(PATIENCE).unwrap();
            assert!(newest[from] < number, "messages of one sender arrived in another order");
            newest[from] = number;
            sum += number;
        }
        sums.put(&sum).unwrap();
    });
    let sum: u64 = sums.get_many(2).unwrap().map(Result::unwrap).sum();
    assert_eq!(sum, EACH * (EACH + 1));
}

/// Some messages are too long for a packet and are sent as files.
fn long_messages_are_whole<S: Spawner>() {
    let (sender, receiver) = pipe::<Vec<u8>>().unwrap();
    let lengths = [0, 1, 1_000, 50_000, 300_000];
    S::all(4, |worker| {
        for length in (0_u8..20).flat_map(|_| lengths) {
            if worker < 2 {
                sender.send(&vec![u8::try_from(worker).unwrap(); length]).unwrap();
            } else {
                let message = receiver.recv_timeout(PATIENCE).unwrap();
                assert!(lengths.contains(&message.len()));
                assert!(message.iter().all(|byte| *byte == message[0]));
            }
        }
    });
}

fn questions_and_answers<S: Spawner>() {
    let (asks, answers) = duplex::<u64, (u64, u64)>().unwrap();
    S::all(3, |worker| {
        if worker == 0 {
            for _ in 0..2 * EACH {
                let question = answers.recv_timeout(PATIENCE).unwrap();
                answers.send(&(question, question + 1)).unwrap();
            }
            return;
        }
        // Two workers ask at one end, so an answer may reach the other one.
        for number in 0..EACH {
            asks.send(&number).unwrap();
            let (question, answer) = asks.recv_timeout(PATIENCE).unwrap();
            assert_eq!(answer, question + 1);
        }
    });
}
