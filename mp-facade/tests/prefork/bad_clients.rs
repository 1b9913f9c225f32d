//! Clients that are slow, large, or do not speak HTTP: each meets a limit, and others do not notice.

use std::time::Instant;

use crate::client::Client;
use crate::limits::{CONNECTIONS_MAX, HEAD_WAIT_MAX, HEADER_BYTES_MAX, HEADERS_MAX, JOBS_MAX, STALL_MAX};
use crate::load::{Load, Order};
use crate::server::{DEADLINE, NO_LIMIT, Server, pids, signal};

/// Slow clients at the same time.
const SLOW: usize = 50;
/// Clients that fill the queue of jobs.
const FILLERS: usize = 8;
/// Bytes that fill the buffers of a socket on both sides many times over.
const FLOOD_BYTES: usize = 64 << 20;

fn server() -> Server {
    Server::start(1, 1, NO_LIMIT)
}

fn connect(server: &Server) -> Client {
    Client::connect(server.address).unwrap()
}

#[test]
fn slow_clients_are_ended_and_delay_nobody() {
    let server = server();
    let begin = Instant::now();
    let mut slow: Vec<_> = (0..SLOW).map(|_| connect(&server)).collect();
    let mut silent = connect(&server);
    for client in &mut slow {
        client.send(b"GET / HTTP/1.1\r\nhost: te").unwrap();
    }
    assert_eq!(connect(&server).get("/").unwrap().hit(), 1);
    // One more byte now and then does not help.
    while begin.elapsed() < HEAD_WAIT_MAX / 2 {
        std::thread::yield_now();
    }
    // On a slow machine, the server may have closed some of them already.
    slow.iter_mut().for_each(|client| drop(client.send(b"s")));
    assert!(slow.iter_mut().all(Client::is_closed), "without an answer");
    assert!(silent.is_closed());
    let took = begin.elapsed();
    assert!(took >= HEAD_WAIT_MAX && took < DEADLINE, "after {took:?}");
    assert_eq!(server.end().get("hits"), 1);
}

#[test]
fn a_head_has_so_many_bytes_and_no_more() {
    let server = server();
    let ask = |bytes: usize| {
        let frame = "GET / HTTP/1.1\r\nlong: \r\n\r\n".len();
        let head = format!("GET / HTTP/1.1\r\nlong: {}\r\n\r\n", "x".repeat(bytes - frame));
        let mut client = connect(&server);
        client.send(head.as_bytes()).unwrap();
        let reply = client.reply().unwrap();
        if reply.status != 200 {
            assert!(client.is_closed());
        }
        reply.status
    };
    assert_eq!(ask(HEADER_BYTES_MAX), 200);
    assert_eq!(ask(HEADER_BYTES_MAX + 1), 431);
    assert_eq!(ask(100 * HEADER_BYTES_MAX), 431);
    assert_eq!(server.end().get("hits"), 1);
}

#[test]
fn a_head_has_so_many_headers_and_no_more() {
    let server = server();
    let ask = |headers: usize| {
        let mut client = connect(&server);
        // One of them is the host.
        client.get_with("/", &"a: b\r\n".repeat(headers - 1)).unwrap().status
    };
    assert_eq!((ask(HEADERS_MAX), ask(HEADERS_MAX + 1)), (200, 431));
}

#[test]
fn what_is_not_http_is_refused() {
    let server = server();
    let garbage: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", // the beginning of TLS
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        &[0xff; 5000],
    ];
    for bytes in garbage {
        let mut client = connect(&server);
        client.send(bytes).unwrap();
        let reply = client.reply().unwrap();
        assert_eq!(reply.status, 400, "{bytes:?}");
        assert!(client.is_closed());
    }
    let mut client = connect(&server);
    client.send(b"POST / HTTP/1.1\r\ncontent-length: 1000000000\r\n\r\n").unwrap();
    assert_eq!(client.reply().unwrap().status, 405);
    assert!(client.is_closed(), "the server does not read what it does not want");
    assert_eq!(connect(&server).get("/nowhere").unwrap().status, 404);
    let summary = server.end();
    assert_eq!((summary.get("hits"), summary.get("restarts"), summary.get("lost_requests")), (0, 0, 0));
}

#[test]
fn a_worker_has_so_many_connections_and_no_more() {
    let server = server();
    let begin = Instant::now();
    let mut clients: Vec<_> = (0..CONNECTIONS_MAX).map(|_| connect(&server)).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.get("/").unwrap().status, 200));
    let mut one_more = connect(&server);
    one_more.send(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    let (has_answer, took) = (one_more.has_answer(), begin.elapsed());
    assert!(!has_answer || took >= HEAD_WAIT_MAX, "it waits until one of the others leaves");
    clients.truncate(CONNECTIONS_MAX - 1);
    assert_eq!(one_more.reply().unwrap().status, 200);
}

#[test]
fn a_client_that_does_not_read_is_ended() {
    let server = server();
    let mut client = connect(&server);
    let request = b"GET /status.js HTTP/1.1\r\nhost: test\r\n\r\n".repeat(100);
    let begin = Instant::now();
    let flood = move || {
        let mut sent = 0;
        while client.send(&request).is_ok() {
            sent += request.len();
            assert!(sent < FLOOD_BYTES, "the server keeps all of it");
        }
    };
    let flood = std::thread::Builder::new().name("flood".to_owned()).spawn(flood).unwrap();
    // A reply that is not written is in hand, and so is the question for the status.
    server.wait_until(|status| status["workers"][0]["in_hand"].as_u64() >= Some(2) || flood.is_finished());
    assert!(!flood.is_finished());
    flood.join().unwrap();
    let took = begin.elapsed();
    assert!(took >= STALL_MAX && took < DEADLINE, "after {took:?}");
    server.wait_until(|status| status["workers"][0]["in_hand"] == 1);
    assert_eq!(connect(&server).get("/").unwrap().status, 200);
    assert_eq!(server.end().get("lost_requests"), 0);
}

#[test]
fn so_many_jobs_wait_and_no_more() {
    let server = server();
    let background = pids(&server.status(), "background");
    // It keeps the job that it has, so the queue has room for one more than its limit at most.
    background.iter().for_each(|pid| signal(*pid, "STOP"));
    let orders = [Order { requests: JOBS_MAX / FILLERS, ..Order::endless("/") }; FILLERS];
    let seen = Load::start(server.address, &orders).finish();
    assert_eq!(seen.hits().len(), JOBS_MAX, "all of them fit");
    let mut client = connect(&server);
    let more = [(); 2].map(|()| client.get("/").unwrap());
    let refused = more.last().unwrap();
    assert_eq!((refused.status, refused.body.as_str()), (503, "too many records wait to be written\n"));
    assert_eq!(client.get("/nowhere").unwrap().status, 404, "whoever leaves no job is answered");
    background.iter().for_each(|pid| signal(*pid, "CONT"));
    server.wait_until(|status| status["queue"]["waiting"] == 0);
    assert_eq!(client.get("/").unwrap().status, 200);
    let summary = server.end();
    let answered = JOBS_MAX as u64 + 1 + u64::from(more[0].status == 200);
    assert_eq!((summary.get("hits"), summary.get("records")), (answered, answered));
}
