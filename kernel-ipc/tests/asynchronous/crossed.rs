//! Every operation that puts or takes, dropped at each point where it waits, beside the others of its kind.

use std::pin::Pin;
use std::sync::Arc;

use kernel_ipc::{GetError, JoinableQueue, Queue, RecvError, SimpleQueue, pipe};
use mp_sys::testing::tests;
use tokio::task::JoinSet;

use crate::dropped::{POLLS_MAX, dropped_after, in_each_runtime};

tests! {
    bytes_of_dropped_calls_arrive_once,
    forwarded_messages_of_dropped_calls_arrive_once,
    batches_of_dropped_calls_arrive_once,
    items_of_a_simple_queue_arrive_once,
    tasks_of_dropped_producers_are_done_once,
    dropped_waits_for_the_end_leave_it_to_others,
}

const TASKS: u32 = 8;
/// The numbers that each producer puts.
const NUMBERS: u32 = 500;
/// Room for few, so that both sides wait.
const CAPACITY: usize = 4;

type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;
/// Puts a number.
type Put = Arc<dyn Fn(u32) -> Later<()> + Send + Sync>;
/// Takes numbers, or returns `None` at the end.
type Take = Arc<dyn Fn() -> Later<Option<Vec<u32>>> + Send + Sync>;

/// Polls a future of `operation` until one is ready, and drops those before it after another number of polls each.
async fn sooner_or_later<T>(round: &mut usize, operation: impl Fn() -> Later<T>) -> T {
    loop {
        *round += 1;
        match dropped_after(*round % POLLS_MAX, operation()).await {
            None => tokio::task::yield_now().await,
            Some(outcome) => return outcome,
        }
    }
}

/// Passes numbers from tasks to tasks, in futures that are dropped again and again. Each number has to arrive once. `end`
/// lets the takers end after the last number, once `put` is dropped.
async fn cross(put: Put, take: Take, end: impl FnOnce()) {
    let producer = |task: u32| {
        let put = Arc::clone(&put);
        async move {
            let mut round = task as usize;
            for number in task * NUMBERS..(task + 1) * NUMBERS {
                sooner_or_later(&mut round, || put(number)).await;
            }
        }
    };
    let consumer = |task: u32| {
        let take = Arc::clone(&take);
        async move {
            let (mut round, mut taken) = (task as usize, Vec::new());
            while let Some(numbers) = sooner_or_later(&mut round, || take()).await {
                taken.extend(numbers);
            }
            taken
        }
    };
    let producers: JoinSet<_> = (0..TASKS).map(producer).collect();
    let consumers: JoinSet<_> = (0..TASKS).map(consumer).collect();
    producers.join_all().await;
    drop(put);
    end();
    let mut taken: Vec<u32> = consumers.join_all().await.into_iter().flatten().collect();
    taken.sort_unstable();
    assert!(taken.into_iter().eq(0..TASKS * NUMBERS), "each number arrives once");
}

/// Returns what puts a number into a queue of any type.
macro_rules! puts_into {
    ($queue:expr) => {{
        let queue = Arc::clone($queue);
        let put: Put = Arc::new(move |number| {
            let queue = Arc::clone(&queue);
            Box::pin(async move { queue.put_async(&number).await.unwrap() })
        });
        put
    }};
}

fn number_of(bytes: &[u8]) -> Vec<u32> {
    vec![u32::from_le_bytes(bytes.try_into().unwrap())]
}

/// Returns what was taken, or `None` at the end of a queue.
fn unless_closed<T>(got: Result<T, GetError>) -> Option<T> {
    if got.as_ref().is_err_and(|error| *error == GetError::Closed) { None } else { Some(got.unwrap()) }
}

/// Returns what was received, or `None` at the end of a pipe.
fn unless_ended<T>(received: Result<T, RecvError>) -> Option<T> {
    if received.as_ref().is_err_and(|error| *error == RecvError::Closed) {
        None
    } else {
        Some(received.unwrap())
    }
}

fn bytes_of_dropped_calls_arrive_once() {
    in_each_runtime(|| async {
        let (tx, rx) = pipe::<Vec<u8>>().unwrap();
        let (tx, rx) = (Arc::new(tx), Arc::new(rx));
        let put: Put = Arc::new(move |number| {
            let tx = Arc::clone(&tx);
            Box::pin(async move { tx.send_bytes_async(&number.to_le_bytes()).await.unwrap() })
        });
        let take: Take = Arc::new(move || {
            let rx = Arc::clone(&rx);
            Box::pin(async move { unless_ended(rx.recv_bytes_async().await).map(|bytes| number_of(&bytes)) })
        });
        cross(put, take, || {}).await;
    });
}

/// From a pipe through relays into another one.
fn forwarded_messages_of_dropped_calls_arrive_once() {
    in_each_runtime(|| async {
        let ((tx, relayed), (relay, rx)) = (pipe::<u32>().unwrap(), pipe::<u32>().unwrap());
        let (tx, relayed, relay, rx) = (Arc::new(tx), Arc::new(relayed), Arc::new(relay), Arc::new(rx));
        let pass_on = |first| {
            let (relayed, relay) = (Arc::clone(&relayed), Arc::clone(&relay));
            async move {
                let mut round = first;
                let receive = || -> Later<_> {
                    let relayed = Arc::clone(&relayed);
                    Box::pin(async move { unless_ended(relayed.recv_message_async().await) })
                };
                while let Some(message) = sooner_or_later(&mut round, receive).await {
                    let message = Arc::new(message);
                    sooner_or_later(&mut round, || {
                        let (relay, message) = (Arc::clone(&relay), Arc::clone(&message));
                        Box::pin(async move { relay.forward_async(&message).await.unwrap() })
                    })
                    .await;
                }
            }
        };
        let relays: JoinSet<_> = (0..3).map(pass_on).collect();
        drop((relayed, relay));
        let put: Put = Arc::new(move |number| {
            let tx = Arc::clone(&tx);
            Box::pin(async move { tx.send_async(&number).await.unwrap() })
        });
        let take: Take = Arc::new(move || {
            let rx = Arc::clone(&rx);
            Box::pin(async move { unless_ended(rx.recv_async().await).map(|number| vec![number]) })
        });
        cross(put, take, || {}).await;
        relays.join_all().await;
    });
}

fn batches_of_dropped_calls_arrive_once() {
    in_each_runtime(|| async {
        let queue = Arc::new(Queue::<u32>::bounded(CAPACITY).unwrap());
        let taking = Arc::clone(&queue);
        let take: Take = Arc::new(move || {
            let queue = Arc::clone(&taking);
            Box::pin(async move {
                let batch = unless_closed(queue.get_many_async(3).await)?;
                Some(batch.map(Result::unwrap).collect())
            })
        });
        cross(puts_into!(&queue), take, || queue.close().unwrap()).await;
    });
}

fn items_of_a_simple_queue_arrive_once() {
    in_each_runtime(|| async {
        let queue = Arc::new(SimpleQueue::<u32>::new().unwrap());
        let taking = Arc::clone(&queue);
        let take: Take = Arc::new(move || {
            let queue = Arc::clone(&taking);
            Box::pin(async move { unless_closed(queue.get_async().await).map(|number| vec![number]) })
        });
        cross(puts_into!(&queue), take, || queue.close().unwrap()).await;
    });
}

fn tasks_of_dropped_producers_are_done_once() {
    in_each_runtime(|| async {
        let queue = Arc::new(JoinableQueue::<u32>::bounded(CAPACITY).unwrap());
        let taking = Arc::clone(&queue);
        let take: Take = Arc::new(move || {
            let queue = Arc::clone(&taking);
            Box::pin(async move { unless_closed(queue.get_async().await).map(|task| vec![task.done()]) })
        });
        cross(puts_into!(&queue), take, || queue.close().unwrap()).await;
        assert_eq!(queue.unfinished(), Ok(0));
    });
}

fn dropped_waits_for_the_end_leave_it_to_others() {
    in_each_runtime(|| async {
        let queue = Arc::new(JoinableQueue::<u32>::new().unwrap());
        (0..NUMBERS).for_each(|number| queue.put(&number).unwrap());
        let wait = |first| {
            let queue = Arc::clone(&queue);
            async move {
                let mut round = first;
                let joined = sooner_or_later(&mut round, || {
                    let queue = Arc::clone(&queue);
                    Box::pin(async move { queue.join_async().await })
                });
                assert_eq!(joined.await, Ok(()));
                assert_eq!(queue.unfinished(), Ok(0), "nobody goes on before the last task is done");
            }
        };
        let waiters: JoinSet<_> = (0..TASKS as usize).map(wait).collect();
        for _ in 0..NUMBERS {
            queue.get_async().await.unwrap().done();
            tokio::task::yield_now().await;
        }
        waiters.join_all().await;
    });
}
