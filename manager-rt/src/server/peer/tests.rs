//! How many answers a client leaves, and which of them wait for others.

use std::os::unix::net::UnixStream;

use super::*;
use crate::limits::CLIENT_SHARE_BYTES_MIN;

fn peer_within(whole: &Arc<Account>, unsent: &Arc<Account>) -> (Peer, UnixStream) {
    let (one, other) = UnixStream::pair().unwrap();
    let accounts = Accounts { frames: whole, answers: unsent, sealed: whole };
    let channel = Channel::accepted(one.into()).unwrap();
    (Peer::new(channel, Listening::new([7; 32]), accounts).unwrap(), other)
}

#[test]
fn answers_in_a_pipeline_wait_for_few_bytes_and_a_short_time() {
    let whole = Account::new(CLIENT_SHARE_BYTES_MIN * 16);
    let (mut peer, _other) = peer_within(&whole, &whole);
    peer.outbound.say(&[0; WRITTEN_TOGETHER_BYTES - 1]);
    assert!(!peer.may_write_later(5), "nothing follows");
    (peer.is_late, peer.is_ready) = (true, true);
    assert!(peer.may_write_later(10));
    assert!(peer.may_write_later(9 + WITHHELD_NANOS_MAX));
    assert!(!peer.may_write_later(10 + WITHHELD_NANOS_MAX));
    peer.flush();
    peer.outbound.say(&[0; WRITTEN_TOGETHER_BYTES - 1]);
    assert!(peer.may_write_later(10 + WITHHELD_NANOS_MAX));
    peer.outbound.say(&[0]);
    assert!(!peer.may_write_later(10 + WITHHELD_NANOS_MAX));
}

#[test]
fn a_client_leaves_answers_up_to_the_limit_and_not_one_byte_more() {
    let whole = Account::new(CLIENT_SHARE_BYTES_MIN * 16);
    let unsent = Account::part_of(&whole, crate::account::Room::Answers, CLIENT_SHARE_BYTES_MIN * 8);
    let (mut peer, _other) = peer_within(&whole, &unsent);
    peer.outbound.say(&vec![0; UNSENT_BYTES_LEAST]);
    let others = unsent.charge(unsent.limit());
    assert!(!peer.is_too_far_behind(), "even if all leave too much");
    peer.outbound.say(&[0]);
    assert!(peer.is_too_far_behind());
    drop(others);
    assert!(!peer.is_too_far_behind());
    peer.outbound.say(&vec![0; UNSENT_BYTES_MAX - UNSENT_BYTES_LEAST - 1]);
    assert!(!peer.is_too_far_behind());
    peer.outbound.say(&[0]);
    assert!(peer.is_too_far_behind());
}

#[test]
fn answers_that_were_left_count_as_read_if_an_older_client_may_have_read_them() {
    let whole = Account::new(CLIENT_SHARE_BYTES_MIN * 16);
    for (version, unread) in [(5, 0), (4, 2)] {
        let (mut peer, _other) = peer_within(&whole, &whole);
        peer.outbound.agree_on(version);
        (0..3).for_each(|call| peer.outbound.answer(call, &Ok(crate::proto::Reply::Done), 0));
        assert!(peer.flush());
        assert_eq!(peer.first_unread(true), (unread, 0), "version {version}");
        assert_eq!(peer.first_unread(false), (3, 3), "everything was read");
    }
}
