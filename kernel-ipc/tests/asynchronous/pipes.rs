//! Pipes and connections.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use kernel_ipc::limits::INLINE_BYTES_MAX;
use kernel_ipc::{Receiver, RecvError, RuntimeError, SendError, Sender, duplex, pipe};
use mp_sys::testing::{hang, kill, spawn, succeeded, tests};
use tokio::task::JoinSet;

use crate::dropped::{POLLS_MAX, dropped_after, in_each_runtime, one_thread, several_threads};

tests! {
    messages_go_both_ways_between_tasks,
    messages_of_every_form_are_sent_and_received,
    dropped_receivers_lose_no_message,
    dropped_senders_send_nothing,
    the_end_of_a_stream_wakes_every_task,
    a_killed_peer_ends_the_stream,
    waiting_without_a_runtime_is_an_error,
}

const TASKS: usize = 8;
const MESSAGES: u32 = 4000;

fn messages_go_both_ways_between_tasks() {
    in_each_runtime(|| async {
        let (client, server) = duplex::<String, usize>().unwrap();
        let server = tokio::spawn(async move {
            while let Ok(text) = server.recv_async().await {
                server.send_async(&text.len()).await.unwrap();
            }
        });
        for length in 0..100 {
            client.send_async("x".repeat(length).as_str()).await.unwrap();
            assert_eq!(client.recv_async().await, Ok(length));
        }
        drop(client);
        server.await.unwrap();
    });
}

fn messages_of_every_form_are_sent_and_received() {
    in_each_runtime(|| async {
        let (tx, rx) = pipe::<Vec<u8>>().unwrap();
        for length in [0, 1, 300, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 1 << 20] {
            let bytes = vec![7; length];
            let (sent, received) = tokio::join!(tx.send_async(&bytes), rx.recv_async());
            assert_eq!((sent, received), (Ok(()), Ok(bytes.clone())));
            let (sent, received) = tokio::join!(tx.send_bytes_async(&bytes), rx.recv_bytes_async());
            assert_eq!((sent, received), (Ok(()), Ok(bytes.clone())));
            tx.send_async(&bytes).await.unwrap();
            let message = rx.recv_message_async().await.unwrap();
            tx.forward_async(&message).await.unwrap();
            assert_eq!(rx.recv_async().await, Ok(bytes));
        }
        let (ends, receiver) = pipe::<Receiver<u8>>().unwrap();
        let (inner, outer) = pipe().unwrap();
        let future = ends.send_async(&outer);
        drop(outer);
        future.await.unwrap();
        inner.send_async(&3).await.unwrap();
        assert_eq!(receiver.recv_async().await.unwrap().recv_async().await, Ok(3));
    });
}

/// Receives until the stream ends, and drops each future after another number of polls.
async fn receive(rx: Arc<Receiver<u32>>, first: usize) -> Vec<u32> {
    let mut received = Vec::new();
    for round in first.. {
        match dropped_after(round % POLLS_MAX, rx.recv_async()).await {
            None => tokio::task::yield_now().await,
            Some(Err(RecvError::Closed)) => break,
            Some(message) => received.push(message.unwrap()),
        }
    }
    received
}

fn dropped_receivers_lose_no_message() {
    for runtime in [one_thread, several_threads] {
        let (tx, rx) = pipe::<u32>().unwrap();
        let rx = Arc::new(rx);
        let sender = spawn(|| (0..MESSAGES).for_each(|number| tx.send(&number).unwrap()));
        drop(tx);
        let received = runtime().block_on(async {
            let tasks: JoinSet<_> = (0..TASKS).map(|task| receive(Arc::clone(&rx), task)).collect();
            tasks.join_all().await
        });
        succeeded(&sender);
        let mut received: Vec<u32> = received.into_iter().flatten().collect();
        received.sort_unstable();
        assert!(received.into_iter().eq(0..MESSAGES), "each message is received once");
    }
}

/// Sends the numbers of one task, in order, and drops each future after another number of polls.
async fn send(tx: Arc<Sender<(usize, u32)>>, task: usize) {
    let (mut number, mut round) = (0, task);
    while number < MESSAGES {
        match dropped_after(round % POLLS_MAX, tx.send_async(&(task, number))).await {
            None => tokio::task::yield_now().await,
            Some(sent) => {
                sent.unwrap();
                number += 1;
            }
        }
        round += 1;
    }
}

fn dropped_senders_send_nothing() {
    for runtime in [one_thread, several_threads] {
        let (tx, rx) = pipe::<(usize, u32)>().unwrap();
        let receiver = spawn(|| {
            let mut next = [0; TASKS];
            for _ in 0..TASKS * usize::try_from(MESSAGES).unwrap() {
                let (task, number) = rx.recv().unwrap();
                assert_eq!(number, next[task], "sent once, and in order");
                next[task] += 1;
            }
        });
        drop(rx);
        runtime().block_on(async {
            let tx = Arc::new(tx);
            let tasks: JoinSet<_> = (0..TASKS).map(|task| send(Arc::clone(&tx), task)).collect();
            tasks.join_all().await;
        });
        succeeded(&receiver);
    }
}

fn the_end_of_a_stream_wakes_every_task() {
    in_each_runtime(|| async {
        let (tx, rx) = pipe::<u32>().unwrap();
        let rx = Arc::new(rx);
        let waiters: JoinSet<_> = (0..TASKS)
            .map(|_| {
                let rx = Arc::clone(&rx);
                async move { rx.recv_async().await }
            })
            .collect();
        tokio::task::yield_now().await;
        drop(tx);
        for outcome in waiters.join_all().await {
            assert_eq!(outcome, Err(RecvError::Closed));
        }
    });
}

fn a_killed_peer_ends_the_stream() {
    let (client, server) = duplex::<u32, u32>().unwrap();
    let child = spawn(|| {
        server.send(&1).unwrap();
        hang();
    });
    drop(server);
    one_thread().block_on(async {
        assert_eq!(client.recv_async().await, Ok(1));
        // The pipe is full when the peer is killed.
        while client.try_send(&0).is_ok() {}
        let (sent, received, ()) =
            tokio::join!(client.send_async(&0), client.recv_async(), async { kill(&child) });
        assert_eq!(sent, Err(SendError::Closed));
        assert_eq!(received, Err(RecvError::Closed));
    });
}

fn waiting_without_a_runtime_is_an_error() {
    let (tx, rx) = pipe::<u32>().unwrap();
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(pin!(tx.send_async(&1)).poll(&mut context), Poll::Ready(Ok(())), "there is room");
    assert_eq!(pin!(rx.recv_async()).poll(&mut context), Poll::Ready(Ok(1)), "there is a message");
    let refused = Err(RecvError::Runtime(RuntimeError::NoRuntime));
    assert_eq!(pin!(rx.recv_async()).poll(&mut context), Poll::Ready(refused));
    while tx.try_send(&0).is_ok() {}
    let refused = Err(SendError::Runtime(RuntimeError::NoRuntime));
    assert_eq!(pin!(tx.send_async(&1)).poll(&mut context), Poll::Ready(refused));
}
