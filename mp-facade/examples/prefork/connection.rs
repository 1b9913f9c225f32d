//! One connection of a worker: hyper serves it, and this file counts what is in hand and ends what stands still.

use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::limits::{HEAD_WAIT_MAX, HEADER_BYTES_MAX, HEADERS_MAX, IDLE_GRACE, STALL_MAX};
use crate::routes::{self, Worker};
use crate::table::{Field, Row};

/// What is in hand on one connection.
#[derive(Debug)]
pub(crate) struct Hand {
    row: Row,
    begun: AtomicU64,
    /// Requests whose replies are complete, but perhaps not written.
    replied: AtomicU64,
    ended: AtomicU64,
    /// How often bytes went over the connection, in either direction.
    moves: AtomicU64,
}

impl Hand {
    fn new(row: Row) -> Self {
        let zero = || AtomicU64::new(0);
        Self { row, begun: zero(), replied: zero(), ended: zero(), moves: zero() }
    }

    pub(crate) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.row.add(Field::Begun, 1);
    }

    pub(crate) fn reply(&self) {
        self.replied.fetch_add(1, Ordering::Relaxed);
    }

    /// Everything up to `until` has ended.
    fn end(&self, until: u64) {
        let before = self.ended.swap(until, Ordering::Relaxed);
        if until > before {
            self.row.add(Field::Ended, until - before);
        }
    }

    fn is_busy(&self) -> bool {
        self.begun.load(Ordering::Relaxed) > self.ended.load(Ordering::Relaxed)
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        // The client has left, or everything was answered.
        self.end(self.begun.load(Ordering::Relaxed));
        self.row.sub(Field::Connections, 1);
    }
}

/// A connection that notes when replies were written.
#[derive(Debug)]
struct Counted {
    stream: TokioIo<TcpStream>,
    hand: Arc<Hand>,
}

impl Counted {
    fn note<T>(&self, polled: Poll<T>) -> Poll<T> {
        if polled.is_ready() {
            self.hand.moves.fetch_add(1, Ordering::Relaxed);
        }
        polled
    }
}

impl Read for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.note(polled)
    }
}

impl Write for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.note(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes when it has written all that it has, which includes every complete reply.
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        if let Poll::Ready(Ok(())) = polled {
            self.hand.end(self.hand.replied.load(Ordering::Relaxed));
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Serves a connection until its client leaves, a limit ends it, or the worker stops. The worker has counted it in its row.
pub(crate) async fn serve(
    worker: Arc<Worker>,
    stream: TcpStream,
    client: IpAddr,
    stopping: watch::Receiver<bool>,
) {
    let hand = Arc::new(Hand::new(worker.row.clone()));
    // Replies are small and written at once, so waiting for more bytes only delays them.
    drop(stream.set_nodelay(true));
    let service = {
        let hand = Arc::clone(&hand);
        service_fn(move |request| routes::answer(Arc::clone(&worker), Arc::clone(&hand), client, request))
    };
    let io = Counted { stream: TokioIo::new(stream), hand: Arc::clone(&hand) };
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WAIT_MAX)
            .max_buf_size(HEADER_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(io, service)
    );
    let mut ends = pin!(end_of_idling(stopping));
    let mut stalls = pin!(stall(&hand));
    let mut is_ending = false;
    loop {
        tokio::select! {
            // In this order, a request that has arrived is answered before the connection ends.
            biased;
            // An error says that the client left, was too slow, or does not speak HTTP. hyper has answered it if it could.
            _ = &mut connection => return,
            () = &mut ends, if !is_ending => {
                is_ending = true;
                // The reply in hand is still written.
                connection.as_mut().graceful_shutdown();
            }
            () = &mut stalls => return,
        }
    }
}

/// Returns when the worker stops and the client had its time to send the request that was under way.
async fn end_of_idling(mut stopping: watch::Receiver<bool>) {
    // An error would mean that the worker is gone, and this connection with it.
    if stopping.wait_for(|stops| *stops).await.is_ok() {
        tokio::time::sleep(IDLE_GRACE).await;
    }
}

/// Returns when a reply is due and no byte has moved for a while, because the client does not read.
async fn stall(hand: &Hand) {
    let mut seen = u64::MAX;
    loop {
        sleep_until(Instant::now() + STALL_MAX + Duration::from_millis(1)).await;
        let moves = hand.moves.load(Ordering::Relaxed);
        if hand.is_busy() && moves == seen {
            return;
        }
        seen = moves;
    }
}
