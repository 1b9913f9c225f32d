//! Bequests that are refused.

use super::*;

#[test]
fn heirs_are_told_why_a_bequest_was_refused_before_or_after_they_claim_it() {
    let server = Running::start(Server::builder().clients_max(1));
    let mut client = server.client();
    client.manager(ManagerOp::Create { spec: Spec::List, print: 0 }).unwrap();
    assert_eq!(client.manager(ManagerOp::Bequeath { bequest: 1 }), Ok(Reply::Done));
    let mut first = server.stream();
    first.write_all(&heirs_hello(1)).unwrap();
    let full = Fault::TooMany { limit: 1 };
    for (bequest, is_claimed_first) in [(2, true), (3, false)] {
        let mut heirs = server.stream();
        let mut hello = || {
            heirs.write_all(&heirs_hello(bequest)).unwrap();
        };
        if is_claimed_first {
            hello();
            client.ping();
        }
        assert_eq!(client.manager(ManagerOp::Bequeath { bequest }), Err(full));
        if !is_claimed_first {
            hello();
        }
        let mut told = Vec::new();
        heirs.read_to_end(&mut told).unwrap();
        let (head, body) = told.split_first_chunk::<HEAD_BYTES>().unwrap();
        assert_eq!(Head::of(head).unwrap().kind, FrameKind::Fault);
        assert_eq!(postcard::from_bytes(body), Ok(full));
    }
    client.ping();
}

#[test]
fn claims_of_bequests_that_do_not_exist_cost_nothing_while_they_wait() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let mut server = Server::bind(&path).unwrap();
    let count = 3 * HANDSHAKES_AT_ONCE;
    let claim = |bequest: usize| {
        let mut heirs = stream_to(&path);
        heirs.write_all(&heirs_hello(bequest.try_into().unwrap())).unwrap();
        heirs
    };
    let mut claims: Vec<_> = (0..count).map(claim).collect();
    assert!(
        run_rounds(&mut server, 4 * count, |work| work.claims() == (count, count)),
        "each is searched once"
    );
    // Something happens in each round.
    for rounds in 1..=20 {
        claims.push(stream_to(&path));
        assert!(run_rounds(&mut server, 4, |work| work.peers() == count + rounds));
    }
    assert_eq!(server.work.claims(), (count, count));
    let mut second = claim(0);
    second.set_nonblocking(true).unwrap();
    let is_closed = run_rounds(&mut server, 8, |_| second.read(&mut [0]).is_ok_and(|len| len == 0));
    assert!(is_closed, "there is one claim of each");
    assert_eq!(server.work.claims(), (count, count));
    drop(claims);
    assert!(run_rounds(&mut server, 4 * count, |work| work.peers() == 0 && work.claims().0 == 0));
}
