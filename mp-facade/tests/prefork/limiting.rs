//! Rate limits and sessions, which all workers share.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::client::Client;
use crate::command::{is_manager, kill};
use crate::load::{Load, Order, Seen};
use crate::server::{NO_LIMIT, Server};

/// Tokens of a client, none of which comes back while a test runs.
const BURST: usize = 200;
const CLIENTS: usize = 3;
/// Connections of each client.
const CONNECTIONS: usize = 4;
/// Kills while they ask.
const KILLS: usize = 12;

fn source(client: usize) -> IpAddr {
    [127, 0, 1, u8::try_from(client + 1).unwrap()].into()
}

fn with_limit() -> Server {
    Server::start(4, 1, &format!(r#"{{"burst": {BURST}, "per_hour": 1}}"#))
}

/// Orders of one client that together are twice as many requests as it may make.
fn orders(client: usize) -> [Order; CONNECTIONS] {
    [Order { path: "/", source: source(client), requests: 2 * BURST / CONNECTIONS }; CONNECTIONS]
}

fn allowed(seen: &Seen) -> usize {
    seen.answered.iter().filter(|reply| reply.status == 200).count()
}

#[test]
fn a_rate_limit_is_exact_across_workers() {
    let server = with_limit();
    let loads: Vec<_> = (0..CLIENTS).map(|client| Load::start(server.address, &orders(client))).collect();
    for load in loads {
        let seen = load.finish();
        seen.assert_nothing_lost(&server.log());
        assert_eq!((seen.answered.len(), allowed(&seen)), (2 * BURST, BURST));
        for refused in seen.answered.iter().filter(|reply| reply.status != 200) {
            assert_eq!((refused.status, refused.body.as_str()), (429, "too many requests\n"));
            let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
            assert!((3000..=3600).contains(&seconds), "a token comes back in an hour: {refused:?}");
        }
    }
    let status = server.status();
    assert_eq!(status["limited"], CLIENTS * BURST);
    assert_eq!((&status["forgotten"], &status["hits"]), (&0.into(), &(CLIENTS * BURST).into()));
    // The status page does not count: it was asked for all the time.
    assert_eq!(server.end().get("hits"), (CLIENTS * BURST) as u64);
}

#[test]
fn a_killed_worker_takes_no_more_tokens_along_than_requests() {
    let server = with_limit();
    let endless = Order { requests: usize::MAX, ..orders(0)[0] };
    let load = Load::start(server.address, &[endless; CONNECTIONS]);
    for kill in 0..KILLS {
        server.kill("workers", kill);
    }
    load.wait_for(BURST as u64 * 2);
    let seen = load.stop();
    let (allowed, failed) = (allowed(&seen), seen.failed.len());
    assert!(allowed <= BURST && allowed + failed >= BURST, "{allowed} of {BURST}, and {failed} failed");
    let other = Client::connect_from(source(1), server.address).unwrap().get("/").unwrap();
    assert_eq!(other.status, 200, "the table works");
}

#[test]
fn sessions_survive_kills_and_count_each_visit_once() {
    const VISITORS: usize = 4;
    let server = Server::start(4, 1, NO_LIMIT);
    let first = Client::connect(server.address).unwrap().get("/session").unwrap();
    assert_eq!(first.body, "visit 1\n");
    let cookie = first.header("set-cookie").unwrap();
    let (pair, attributes) = cookie.split_once(';').unwrap();
    assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Lax");
    let header = format!("cookie: theme=dark; {pair}\r\n");

    // Several connections of one browser use the same session, until the last worker was killed.
    let (done, address) = (AtomicBool::new(false), server.address);
    let visit = || {
        let (mut visits, mut failed) = (Vec::new(), 0_u64);
        while !done.load(Ordering::Relaxed) {
            let Ok(mut client) = Client::connect(address) else { panic!("nobody is refused") };
            while let Ok(reply) = client.get_with("/session", &header) {
                assert_eq!(reply.header("set-cookie"), None, "it has one: {reply:?}");
                visits.push(reply.body.strip_prefix("visit ").unwrap().trim().parse::<u64>().unwrap());
                if done.load(Ordering::Relaxed) {
                    return (visits, failed);
                }
            }
            failed += 1;
        }
        (visits, failed)
    };
    let seen: Vec<_> = std::thread::scope(|scope| {
        let visitors: Vec<_> = (0..VISITORS).map(|_| scope.spawn(visit)).collect();
        (0..KILLS).for_each(|kill| assert!(server.kill("workers", kill) > 0));
        done.store(true, Ordering::Relaxed);
        visitors.into_iter().map(|visitor| visitor.join().unwrap()).collect()
    });
    let failed: u64 = seen.iter().map(|(_, failed)| failed).sum();
    let answered: usize = seen.iter().map(|(visits, _)| visits.len()).sum();
    let visits: BTreeSet<u64> = seen.into_iter().flat_map(|(visits, _)| visits).collect();
    assert_eq!(visits.len(), answered, "a visit was counted twice");

    let last = Client::connect(server.address).unwrap().get_with("/session", &header).unwrap();
    let last: u64 = last.body.strip_prefix("visit ").unwrap().trim().parse().unwrap();
    let lost = last - 2 - answered as u64;
    assert!(lost <= failed, "{last} visits, {answered} answered, {failed} failed");
    assert_eq!(server.status()["sessions"], 1);
}

#[test]
fn without_the_server_of_the_sessions_the_rest_goes_on() {
    let server = Server::start(2, 1, NO_LIMIT);
    let mut client = Client::connect(server.address).unwrap();
    assert_eq!(client.get("/session").unwrap().status, 200);
    let manager = server.children().into_iter().find(|child| is_manager(*child)).unwrap();
    kill(manager);
    server.wait_until(|status| status["sessions"].is_null());
    for _ in 0..3 {
        let refused = client.get("/session").unwrap();
        assert!(refused.status == 503 && refused.body.starts_with("no sessions: "), "{refused:?}");
        assert_eq!(client.get("/").unwrap().status, 200);
    }
    let summary = server.end();
    assert_eq!((summary.get("hits"), summary.get("restarts")), (3, 0));
}
