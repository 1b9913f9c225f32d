//! Iterators and streams.

use std::future::poll_fn;
use std::pin::{Pin, pin};

use futures_core::Stream;
use kernel_ipc::{JoinableQueue, Queue, SimpleQueue, duplex, pipe};
use mp_sys::testing::{spawn, succeeded, tests};
use tokio::task::JoinSet;

use crate::dropped::{dropped_after, one_thread, several_threads};

tests! {
    streams_end_as_iterators_do,
    a_task_that_an_iterator_returns_is_on_lease,
    a_dropped_stream_loses_no_item,
}

async fn next<S: Stream>(stream: &mut Pin<&mut S>) -> Option<S::Item> {
    poll_fn(|context| stream.as_mut().poll_next(context)).await
}

async fn all<S: Stream<Item = Result<u32, E>>, E: std::fmt::Debug>(stream: S) -> Vec<u32> {
    let (mut stream, mut found) = (pin!(stream), Vec::new());
    while let Some(item) = next(&mut stream).await {
        found.push(item.unwrap());
    }
    assert!(next(&mut stream).await.is_none(), "it has ended");
    found
}

fn streams_end_as_iterators_do() {
    const ALL: [u32; 3] = [0, 1, 2];
    for runtime in [one_thread, several_threads] {
        let (queue, simple) = (Queue::new().unwrap(), SimpleQueue::new().unwrap());
        let ((tx, rx), (one, other)) = (pipe().unwrap(), duplex::<u32, u32>().unwrap());
        let sender = spawn(|| {
            for number in ALL {
                queue.put(&number).unwrap();
                simple.put(&number).unwrap();
                tx.send(&number).unwrap();
                one.send(&number).unwrap();
            }
            queue.close().unwrap();
            simple.close().unwrap();
        });
        drop((tx, one));
        let found = runtime().block_on(async {
            tokio::join!(all(queue.stream()), all(simple.stream()), all(rx.stream()), all(other.stream()))
        });
        assert_eq!(found, (ALL.to_vec(), ALL.to_vec(), ALL.to_vec(), ALL.to_vec()));
        assert_eq!(queue.iter().count() + simple.iter().count() + rx.iter().count(), 0);
        succeeded(&sender);
    }
}

fn a_task_that_an_iterator_returns_is_on_lease() {
    let queue = JoinableQueue::<u32>::new().unwrap();
    (0..4).for_each(|number| queue.put(&number).unwrap());
    queue.close().unwrap();
    drop(queue.iter().next().unwrap().unwrap());
    let deliveries: Vec<u32> = queue
        .iter()
        .take(2)
        .map(|task| {
            let task = task.unwrap();
            let deliveries = task.deliveries();
            task.done();
            deliveries
        })
        .collect();
    assert_eq!(deliveries, [2, 1]);
    one_thread().block_on(async {
        let mut stream = pin!(queue.stream());
        assert_eq!(next(&mut stream).await.unwrap().unwrap().done(), 2);
        assert_eq!(next(&mut stream).await.unwrap().unwrap().done(), 3);
        assert!(next(&mut stream).await.is_none());
    });
    assert_eq!(queue.unfinished(), Ok(0));
}

/// Takes from a stream that is dropped after another number of polls each time.
async fn consume(queue: Queue<u32>, first: usize) -> Vec<u32> {
    let mut got = Vec::new();
    for round in first.. {
        let mut stream = pin!(queue.stream());
        match dropped_after(round % 3, next(&mut stream)).await {
            None => tokio::task::yield_now().await,
            Some(None) => break,
            Some(Some(item)) => got.push(item.unwrap()),
        }
    }
    got
}

fn a_dropped_stream_loses_no_item() {
    for runtime in [one_thread, several_threads] {
        let queue = Queue::<u32>::bounded(4).unwrap();
        let producer = spawn(|| {
            (0..2000).for_each(|number| queue.put(&number).unwrap());
            queue.close().unwrap();
        });
        let got = runtime().block_on(async {
            let tasks: JoinSet<_> = (0..4).map(|task| consume(queue.clone(), task)).collect();
            tasks.join_all().await
        });
        succeeded(&producer);
        let mut got: Vec<u32> = got.into_iter().flatten().collect();
        got.sort_unstable();
        assert!(got.into_iter().eq(0..2000));
    }
}
