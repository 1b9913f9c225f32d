//! A load of many clients at the same time, each with a keep-alive connection and one request in flight.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use crate::client::{Client, Reply};
use crate::server::eventually;

/// What happened to the clients.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Requests that were answered, with any status.
    pub(crate) answered: Vec<Reply>,
    /// Requests on an open connection that got no answer: the worker of the connection, if it had answered before, and the error.
    pub(crate) failed: Vec<(Option<u32>, io::Error)>,
    /// Connections that could not be made.
    pub(crate) refused: Vec<io::Error>,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.answered.extend(other.answered);
        self.failed.extend(other.failed);
        self.refused.extend(other.refused);
    }

    /// The numbers of the hits that were answered.
    ///
    /// # Panics
    /// If an answer is none to a hit, or if two have the same number.
    pub(crate) fn hits(&self) -> BTreeSet<u64> {
        let numbers = self.answered.iter().inspect(|reply| assert_eq!(reply.status, 200, "{reply:?}"));
        let numbers: BTreeSet<u64> = numbers.map(Reply::hit).collect();
        assert_eq!(numbers.len(), self.answered.len(), "a hit was counted twice");
        numbers
    }

    /// Panics if a client was dropped.
    pub(crate) fn assert_nothing_lost(&self, log: &str) {
        assert!(self.failed.is_empty(), "{:?} of {}\n{log}", self.failed, self.answered.len());
    }
}

/// Clients that ask all the time.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Seen>>,
}

/// What a client asks for, and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) path: &'static str,
    pub(crate) source: IpAddr,
    /// Requests after which a client stops by itself.
    pub(crate) requests: usize,
}

impl Order {
    pub(crate) fn endless(path: &'static str) -> Self {
        Self { path, source: [127, 0, 0, 1].into(), requests: usize::MAX }
    }
}

impl Load {
    pub(crate) fn start(address: SocketAddr, orders: &[Order]) -> Self {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let client = |order: &Order| {
            let (stop, answers, order) = (Arc::clone(&stop), Arc::clone(&answers), *order);
            let client = thread::Builder::new().name("client".to_owned());
            client.spawn(move || ask(address, order, &stop, &answers)).unwrap()
        };
        let clients = orders.iter().map(client).collect();
        Self { stop, answers, clients }
    }

    /// Waits until the clients have got so many more answers.
    pub(crate) fn wait_for(&self, answers: u64) {
        let until = self.answers.load(Ordering::Relaxed) + answers;
        eventually(|| {
            assert!(self.clients.iter().any(|client| !client.is_finished()), "no client is left");
            self.answers.load(Ordering::Relaxed) >= until
        });
    }

    /// Lets each client finish the request that it has begun.
    pub(crate) fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.finish()
    }

    /// Waits until all clients have stopped by themselves.
    pub(crate) fn finish(self) -> Seen {
        eventually(|| self.clients.iter().all(JoinHandle::is_finished));
        let mut seen = Seen::default();
        self.clients.into_iter().for_each(|client| seen.add(client.join().unwrap()));
        seen
    }
}

/// One client. It connects again whenever its connection ends, and stops when it cannot.
fn ask(address: SocketAddr, order: Order, stop: &AtomicBool, answers: &AtomicU64) -> Seen {
    let mut seen = Seen::default();
    let may_go_on = |seen: &Seen| {
        !stop.load(Ordering::Relaxed) && seen.answered.len() + seen.failed.len() < order.requests
    };
    while may_go_on(&seen) {
        let mut client = match Client::connect_from(order.source, address) {
            Ok(client) => client,
            Err(error) => {
                seen.refused.push(error);
                return seen;
            }
        };
        while may_go_on(&seen) {
            match client.get(order.path) {
                Ok(reply) => {
                    answers.fetch_add(1, Ordering::Relaxed);
                    let is_last = reply.is_last();
                    seen.answered.push(reply);
                    if is_last {
                        break;
                    }
                }
                Err(error) => {
                    seen.failed.push((client.worker, error));
                    break;
                }
            }
        }
    }
    seen
}
