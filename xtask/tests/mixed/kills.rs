//! Processes are killed while objects are in transit.

use mp::{Connection, Queue, Receiver, RecvError, Sender, Value, duplex, pipe};
use mp_sys::testing::{PATIENCE, Random, eventually, kill, spawn, succeeded, tests};

tests! {
    values_survive_the_kills_of_their_senders,
    values_survive_the_kills_of_their_receivers,
    an_object_lives_in_a_message_whose_sender_is_dead,
}

const ROUNDS: u32 = 100;

fn values_survive_the_kills_of_their_senders() {
    let mut random = Random::new();
    let mut sent = 0_u64;
    for round in 0..ROUNDS {
        let (sender, receiver) = pipe::<(u64, Value<[u64; 4]>)>().unwrap();
        let child = mp::fork_with(sender, |sender| -> () {
            for n in 0_u64.. {
                let value = Value::new([n; 4]).unwrap();
                sender.send(&(n, value)).unwrap();
            }
        })
        .unwrap();
        assert_eq!(receiver.poll(PATIENCE), Ok(true));
        random.pause(500_000);
        child.kill().unwrap();
        let mut next = 0;
        loop {
            match receiver.recv_timeout(PATIENCE) {
                Ok((n, value)) => {
                    assert_eq!((n, value.get()), (next, Ok([n; 4])), "seed {}", random.seed());
                    // Any process that is left can use it.
                    assert_eq!(value.update(|[a, ..]| [a, 0, 0, 1]), Ok([n; 4]));
                    next += 1;
                }
                Err(RecvError::Closed) => break,
                Err(error) => panic!("round {round}, seed {}: {error:?}", random.seed()),
            }
        }
        assert!(child.join().is_err());
        sent += next;
    }
    assert!(sent > u64::from(ROUNDS), "some were killed after their first message: {sent} sent");
}

fn values_survive_the_kills_of_their_receivers() {
    let mut random = Random::new();
    let (sender, receiver) = pipe::<(u64, Value<u64>, Queue<u64>)>().unwrap();
    let seen = Queue::<u64>::new().unwrap();
    let start = || {
        spawn(|| {
            while let Ok((n, value, seen)) = receiver.recv() {
                value.update(|n| n + 1).unwrap();
                seen.put(&n).unwrap();
            }
        })
    };
    let mut next = 0_u64;
    let mut values = Vec::new();
    for _ in 0..ROUNDS {
        let child = start();
        for _ in 0..20 {
            let message = (next, Value::new(next).unwrap(), seen.clone());
            sender.send_timeout(&message, PATIENCE).unwrap();
            values.push(message.1);
            next += 1;
        }
        random.pause(300_000);
        kill(&child);
    }
    let last = start();
    let end = (next, Value::new(next).unwrap(), seen.clone());
    sender.send(&end).unwrap();
    // A killed receiver loses the message that it was taking, and no other.
    let mut got = Vec::new();
    eventually("the last message is seen", || !seen.is_empty() && end.1.get() == Ok(next + 1));
    sender.shutdown().unwrap();
    succeeded(&last);
    while let Ok(n) = seen.try_get() {
        got.push(n);
    }
    assert!(got.is_sorted() && got.last() == Some(&next), "seed {}", random.seed());
    let lost = usize::try_from(next + 1).unwrap() - got.len();
    assert!(lost <= ROUNDS as usize, "{lost} were lost, seed {}", random.seed());
    for n in got.into_iter().filter(|n| *n < next) {
        assert_eq!(values[usize::try_from(n).unwrap()].get(), Ok(n + 1));
    }
}

fn an_object_lives_in_a_message_whose_sender_is_dead() {
    type Message = (Value<u64>, Queue<String>, Sender<u8>, Receiver<u8>);
    let (here, there): (Connection<(), Message>, _) = duplex().unwrap();
    let child = mp::fork_with(there, |there: Connection<Message, ()>| {
        let (value, queue) = (Value::new(5).unwrap(), Queue::new().unwrap());
        queue.put(&"still here".to_owned()).unwrap();
        let (sender, receiver) = pipe().unwrap();
        sender.send(&9).unwrap();
        there.send(&(value, queue, sender, receiver)).unwrap();
    })
    .unwrap();
    child.join().unwrap();
    // The message is in the socket, and no process has a handle.
    let (value, queue, sender, receiver) = here.recv_timeout(PATIENCE).unwrap();
    assert_eq!((value.get(), queue.get().as_deref()), (Ok(5), Ok("still here")));
    sender.send(&10).unwrap();
    assert_eq!([(); 2].map(|()| receiver.recv_timeout(PATIENCE)), [Ok(9), Ok(10)]);
    assert!(matches!(here.recv_timeout(PATIENCE), Err(RecvError::Closed)));
}
