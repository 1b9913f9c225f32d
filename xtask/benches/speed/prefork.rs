//! The row about pre-fork servers.
//!
//! | row | what is measured |
//! |---|---|
//! | `prefork_requests` | a request over a keep-alive connection to hyper in 2 forked workers, which share a listener and count in a `Value` |
//!
//! | reference | |
//! |---|---|
//! | `threads` | the same in 2 threads of one process, which count in a std `Mutex` |
//!
//! One client process keeps a request in flight on each of its connections, and takes its turn on the same CPUs as the servers.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use mp_sys::deadline::now_nanos;

use crate::children::{Crowd, SAMPLE_TIMEOUT, apart};
use crate::placement::Placement;
use crate::row::{Contestant, Pick, Row, Setup, Target, Unit, per_operation};

const WORKERS: usize = 2;
const CONNECTIONS: usize = 32;
/// Requests on each connection.
const REQUESTS: u64 = 400;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: bench\r\n\r\n";
/// Every answer ends like this, and has no such bytes before.
const ANSWER: &[u8] = b"hello\n";

pub(crate) fn rows() -> Vec<Row> {
    vec![Row {
        name: "prefork_requests",
        placement: Placement::Any,
        unit: Unit::Micros,
        pick: Pick::Median,
        // At least 0.95 times the requests in the same time.
        target: Target::at_most_times(1.052, "threads"),
        needs: None,
        enter: Box::new(contestants),
    }]
}

fn contestants(setup: &Setup) -> Result<Vec<Contestant>> {
    let hits = mp::Value::new(0_u64)?;
    let ours = contestant(setup, "ours", WORKERS as u64, move |listener| {
        let hits = hits.clone();
        serve(listener, move || hits.update(|hits| hits + 1).is_ok())
    });
    let threads = contestant(setup, "threads", 1, |listener| {
        let hits = Arc::new(Mutex::new(0_u64));
        let worker = |_| {
            let (listener, hits) = (listener.try_clone()?, Arc::clone(&hits));
            let count = move || hits.lock().map(|mut hits| *hits += 1).is_ok();
            Ok(thread::Builder::new().spawn(move || serve(listener, count))?)
        };
        let workers = (0..WORKERS).map(worker).collect::<Result<Vec<_>>>()?;
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow!("a server panicked"))?)
    });
    Ok(vec![ours, threads])
}

/// Serves with a number of processes, and measures microseconds per request.
fn contestant(
    setup: &Setup,
    name: &'static str,
    processes: u64,
    serve: impl Fn(TcpListener) -> Result<()> + 'static,
) -> Contestant {
    let (setup, requests) = (setup.clone(), setup.scale.of(REQUESTS));
    Contestant::new(name, move || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let _servers = Crowd::start(&setup, processes, |_| serve(listener.try_clone()?))?;
        let nanos = apart(SAMPLE_TIMEOUT, || ask(address, requests))?;
        Ok(per_operation(nanos / 1e3, requests * CONNECTIONS as u64))
    })
}

/// Serves on one thread, until the process is killed. `count` returns whether it has counted.
fn serve(listener: TcpListener, count: impl Fn() -> bool + Clone + Send + 'static) -> Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let count = count.clone();
            let answer = move |_: Request<Incoming>| {
                let status = if count() { 200 } else { 500 };
                let mut answer = Response::new(Full::new(Bytes::from_static(ANSWER)));
                *answer.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
                async { Ok::<_, Infallible>(answer) }
            };
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            // A connection that fails shows in the client, which misses an answer.
            drop(tokio::spawn(connection));
        }
    })
}

/// Asks over all connections, and returns the nanoseconds that it took.
fn ask(address: SocketAddr, requests: u64) -> Result<f64> {
    let connect = |_| TcpStream::connect(address);
    let mut clients = (0..CONNECTIONS).map(connect).collect::<Result<Vec<_>, _>>()?;
    for client in &clients {
        client.set_nodelay(true)?;
        client.set_read_timeout(Some(SAMPLE_TIMEOUT))?;
    }
    // So that every connection has been accepted.
    round(&mut clients)?;
    let started = now_nanos();
    for _ in 0..requests {
        round(&mut clients)?;
    }
    Ok(now_nanos().saturating_sub(started) as f64)
}

/// One request on each connection.
fn round(clients: &mut [TcpStream]) -> Result<()> {
    clients.iter_mut().try_for_each(|client| client.write_all(REQUEST))?;
    let mut buffer = [0; 1024];
    for client in clients {
        let mut length = 0;
        while !buffer.get(..length).is_some_and(|answer| answer.ends_with(ANSWER)) {
            let rest = buffer.get_mut(length..).context("the answer is too long")?;
            let bytes = client.read(rest)?;
            ensure!(bytes > 0, "the server closed a connection");
            length += bytes;
        }
        ensure!(buffer.starts_with(b"HTTP/1.1 200 "), "the answer is an error");
    }
    Ok(())
}
