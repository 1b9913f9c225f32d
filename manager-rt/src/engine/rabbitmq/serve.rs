//! The main function of a keeper.
//!
//! One thread watches the owner and accepts its sockets. Another one runs tasks: one for each socket, and those of the client of AMQP.
//! The process is this library's own, so its threads are in nobody's way.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use mp_sys::child::Lifeline;
use mp_sys::deadline::Deadline;
use mp_sys::ready::readable_later;
use mp_sys::reexec::Handed;
use mp_sys::socket::OVERHEAD_BYTES;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::broker::Broker;
use super::keeper::Order;
use super::talk::talk;
use crate::engine::keeper::{ORDER_TIME_MAX, begin};

/// How long the tasks may take to end once the owner has ended, and how long the connections may take to close.
const END_TIME_MAX: Duration = Duration::from_secs(2);

/// Returns the exit code.
pub(super) fn keep(handed: Handed) -> i32 {
    let Some((order, mut files)) = begin::<Order>(&handed) else { return 1 };
    let Some(line) = files.pop().map(Lifeline::of_descriptor) else { return 1 };
    let (lines, accepted) = mpsc::unbounded_channel();
    let (end, is_over) = watch::channel(false);
    let serving =
        std::thread::Builder::new().name("amqp".to_owned()).spawn(move || serve(&order, accepted, is_over));
    let Ok(serving) = serving else { return 1 };
    while let Some(file) = next_line(&handed, &line) {
        if serving.is_finished() || lines.send(file).is_err() {
            break;
        }
    }
    let told = end.send(true);
    tracing::trace!(?told, "the owner has ended");
    drop(lines);
    i32::from(serving.join().is_err())
}

/// Returns the next socket of the owner, or `None` once the owner has ended, or does not need the keeper any more.
fn next_line(handed: &Handed, line: &Lifeline) -> Option<OwnedFd> {
    loop {
        let watched = [handed.endpoint().as_fd(), handed.parent().as_fd(), line.as_fd()];
        let ready = readable_later(&watched, Deadline::NEVER).ok()?;
        if ready.iter().any(|at| *at != 0) {
            return None;
        }
        let mut packet = [0; OVERHEAD_BYTES];
        let mut received = handed.receive(&mut packet, Deadline::after(ORDER_TIME_MAX)).ok()?;
        if let Some(file) = received.descriptors.pop() {
            return Some(file);
        }
    }
}

/// Runs the tasks until the owner has ended.
fn serve(order: &Order, accepted: mpsc::UnboundedReceiver<OwnedFd>, is_over: watch::Receiver<bool>) {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = built.inspect_err(|error| tracing::warn!(%error, "a keeper cannot work")) else {
        return;
    };
    runtime.block_on(async {
        let Some(broker) = Broker::new(order).map(Arc::new) else { return };
        accept(&broker, accepted, is_over).await;
        let closed = tokio::time::timeout(END_TIME_MAX, broker.close()).await;
        tracing::trace!(?closed, "the connections of a keeper are closed");
    });
    // A look-up of a name may still be under way on another thread.
    runtime.shutdown_background();
}

async fn accept(
    broker: &Arc<Broker>,
    mut accepted: mpsc::UnboundedReceiver<OwnedFd>,
    is_over: watch::Receiver<bool>,
) {
    let mut talks = JoinSet::new();
    while let Some(file) = accepted.recv().await {
        // Those that have ended are of no interest.
        while talks.try_join_next().is_some() {}
        let stream = std::os::unix::net::UnixStream::from(file);
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = UnixStream::from_std(stream)
        {
            talks.spawn(talk(Arc::clone(broker), stream, is_over.clone()));
        }
    }
    let ended =
        tokio::time::timeout(END_TIME_MAX, async { while talks.join_next().await.is_some() {} }).await;
    tracing::trace!(?ended, "the calls of a keeper have ended");
}
