//! The async forms of all methods, in both kinds of tokio runtimes.

mod dropped;
mod objects;
mod waiting;

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use manager_rt::Manager;
use mp_sys::testing::PATIENCE;
use tokio::runtime::{self, Runtime};

/// Runtimes of both kinds.
fn runtimes() -> [Runtime; 2] {
    [
        runtime::Builder::new_current_thread().enable_all().build().unwrap(),
        runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap(),
    ]
}

/// The key of servers that other hosts could reach.
#[cfg(feature = "tcp")]
const KEY: &str = "a key that has at least 32 bytes";

/// Starts a server, and returns two clients of it.
fn over_a_local_socket() -> (Manager, Manager) {
    let manager = Manager::start().unwrap();
    let other = Manager::connect(&manager.address().unwrap()).unwrap();
    (manager, other)
}

/// As [`over_a_local_socket`], but the first client is connected as one on another host would be.
#[cfg(feature = "tcp")]
fn between_hosts() -> (Manager, Manager) {
    let other = Manager::builder().key(KEY).tcp("127.0.0.1:0").start().unwrap();
    let manager = Manager::builder().key(KEY).connect(&other.tcp_address().unwrap()).unwrap();
    (manager, other)
}

/// Runs a test in each kind of runtime and over each kind of connection, with two clients of a server.
fn in_each<F: Future<Output = ()>>(mut test: impl FnMut(Manager, Manager) -> F) {
    let ways: &[fn() -> (Manager, Manager)] = &[
        over_a_local_socket,
        #[cfg(feature = "tcp")]
        between_hosts,
    ];
    for way in ways {
        for runtime in runtimes() {
            let (manager, other) = way();
            runtime.block_on(soon(test(manager, other.clone())));
            other.shutdown().unwrap();
        }
    }
}

/// Fails if a future takes too long.
async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("the future is ready in time")
}

/// Starts a thread.
fn thread<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().name("a test".into()).spawn(body).unwrap()
}

/// Polls a future once.
async fn poll_once<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

/// Polls a future a number of times, and lets other tasks run in between. Returns its result if it has one by then.
async fn polled<F: Future>(future: F, times: u32) -> Option<F::Output> {
    let mut future = Box::pin(future);
    for time in 0..times {
        if let Poll::Ready(output) = poll_once(future.as_mut()).await {
            return Some(output);
        }
        if time > 0 {
            pause().await;
        }
    }
    None
}

/// Lets the event loop look for what has arrived.
async fn pause() {
    tokio::time::sleep(Duration::from_micros(200)).await;
}

/// Waits until this many calls wait at the manager.
async fn until_waiting(manager: &Manager, count: u64) {
    until(|| manager.info().unwrap().waiters == count).await;
}

/// Waits until something is true.
async fn until(mut is_so: impl FnMut() -> bool) {
    soon(async {
        while !is_so() {
            pause().await;
        }
    })
    .await;
}
