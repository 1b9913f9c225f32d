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
