//! A worker: it accepts connections from the shared listener, and serves them on one thread.
//!
//! It stops on SIGTERM. What it has accepted is its own and is finished: replies in hand are written, each further request on
//! an open connection is answered with `Connection: close`, and connections on which nothing happens are closed after a
//! while. What it has not accepted stays in the backlog, for the other workers. Only if the whole server ends, nobody comes
//! after it, and it first accepts who is left in the backlog.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context, Result};
use mp::Ready;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::connection;
use crate::limits::{ACCEPT_PAUSE, BACKLOG_QUIET, BACKLOG_WAIT_MAX, CONNECTIONS_MAX, SESSION_THREADS_MAX};
use crate::routes::Worker;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::signals::Signals;
use crate::table::{Field, Row, State};

/// What a worker gets from its parent.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) signals: &'a Signals,
    pub(crate) listener: &'a TcpListener,
    pub(crate) settings: &'a Settings,
    pub(crate) row: Row,
    /// Tells the parent that it accepts, so that a reload may go on.
    pub(crate) ready: &'a Ready,
}

/// Runs a worker. It is called in a forked child, so this is the first runtime of the process.
pub(crate) fn run(start: Start<'_>) -> Result<()> {
    // With threads for the calls that wait for the server of the sessions, and none for anything else.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(SESSION_THREADS_MAX)
        .build()
        .context("no runtime")?;
    runtime.block_on(serve(start))
}

async fn serve(start: Start<'_>) -> Result<()> {
    let Start { shared, signals, listener, settings, row, ready } = start;
    let asked_to_end = asked_to_end().context("no handler for SIGTERM")?;
    signals.leave_to_parent();
    let listener = tokio::net::TcpListener::from_std(listener.try_clone()?).context("the listener")?;
    let (stop, stopping) = watch::channel(false);
    let pid = mp::current_process().pid();
    let worker = Worker {
        shared: Arc::clone(shared),
        settings: settings.clone(),
        row,
        pid,
        stopping: stopping.clone(),
    };
    let worker = Arc::new(worker);
    worker.row.set(Field::State, State::Working as u64);
    worker.row.set(Field::Pid, pid.into());
    ready.set();

    let mut connections = JoinSet::new();
    let serve = |connections: &mut JoinSet<()>, (stream, client): (TcpStream, IpAddr)| {
        drop(connections.spawn(connection::serve(Arc::clone(&worker), stream, client, stopping.clone())));
    };
    // SIGTERM may have come before there was a handler. A worker may also be started only for the end.
    while !signals.must_end() && !shared.ends() {
        tokio::select! {
            biased;
            _ = asked_to_end.readable() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = accept(&listener, &worker.row), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok(accepted) => serve(&mut connections, accepted),
                Err(error) => after(error).await,
            },
        }
    }

    worker.row.set(Field::State, State::Stopping as u64);
    // From now on, replies say that the connection ends. That also frees the descriptors that the backlog needs.
    stop.send_replace(true);
    if shared.ends() {
        let deadline = Instant::now() + BACKLOG_WAIT_MAX;
        while Instant::now() < deadline
            && let Ok(accepted) = timeout(BACKLOG_QUIET, accept(&listener, &worker.row)).await
        {
            match accepted {
                Ok(accepted) => {
                    shared.note_accept();
                    serve(&mut connections, accepted);
                }
                Err(error) => after(error).await,
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Returns a socket that becomes readable at SIGTERM. Tokio's own handlers keep a pipe for the rest of the process.
fn asked_to_end() -> io::Result<tokio::net::UnixStream> {
    let (wakes, waker) = UnixStream::pair()?;
    wakes.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGTERM, waker)?;
    tokio::net::UnixStream::from_std(wakes)
}

/// Accepts a connection, which the row counts before it is accepted: from then on it is in this worker's hand.
async fn accept(listener: &tokio::net::TcpListener, row: &Row) -> io::Result<(TcpStream, IpAddr)> {
    poll_fn(|cx| {
        row.add(Field::Connections, 1);
        let polled = listener.poll_accept(cx);
        if !matches!(polled, Poll::Ready(Ok(_))) {
            row.sub(Field::Connections, 1);
        }
        polled.map_ok(|(stream, client): (TcpStream, SocketAddr)| (stream, client.ip()))
    })
    .await
}

/// Recovers from a failed accept.
async fn after(error: io::Error) {
    let pause = match error.kind() {
        // That client has already left.
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => Duration::ZERO,
        // There is no descriptor or memory left. Connections that end bring some back.
        _ => ACCEPT_PAUSE,
    };
    sleep(pause).await;
}
