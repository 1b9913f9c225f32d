//! Tests of the number of proxies.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::*;

#[test]
fn add_reports_the_first_proxy_and_remove_the_last() {
    let references = References::default();
    let (one, other) = (ObjectId(1), ObjectId(2));
    assert!(!references.add_another(one));
    assert!(references.add(one, 1));
    assert!(references.add_another(one));
    assert!(references.add(other, 1));
    assert_eq!(references.remove(one), None);
    assert_eq!(references.remove(one), Some(Last { connection: 1, lingers: false }));
    assert_eq!(references.remove(one), None);
    assert_eq!(references.ask_for_all(1), [other]);
    assert_eq!(references.missing(&[one, other]), [one]);
}

#[test]
fn a_new_connection_requests_each_reference_once_and_an_old_one_does_not() {
    let references = References::default();
    let (one, other) = (ObjectId(1), ObjectId(2));
    assert!(references.add(one, 1));
    assert_eq!(references.ask_for_all(2), [one]);
    assert!(!references.claim(one, 2), "all references were requested");
    assert!(references.add(other, 1), "the caller has seen this connection only");
    assert!(references.claim(other, 2), "that connection was not the newest");
    assert!(!references.claim(other, 1));
    assert_eq!(references.remove(other), Some(Last { connection: 2, lingers: false }));
}

fn socket() -> OwnedFd {
    mp_sys::descriptors::stream_socket().unwrap()
}

fn before_fork(references: &References) -> BeforeFork {
    references.before_fork(Deadline::after(std::time::Duration::ZERO)).unwrap()
}

#[test]
fn a_bequest_is_used_again_until_an_object_is_new_or_gone() {
    let references = References::default();
    let objects = [1, 2, 3].map(ObjectId);
    assert_eq!(before_fork(&references), BeforeFork::Nothing);
    assert!(references.add(objects[0], 1) && references.add(objects[1], 1));
    assert_eq!(before_fork(&references), BeforeFork::Bequeath(2));
    references.bequeath(2, socket());
    assert_eq!(before_fork(&references), BeforeFork::Nothing);
    assert!(references.add(objects[2], 1));
    assert_eq!(before_fork(&references), BeforeFork::Bequeath(3));
    assert!(references.remove(objects[2]).is_some());
    assert!(references.lock().bequest.is_some(), "the bequest does not contain it");
    references.bequeath(3, socket());
    assert_eq!(before_fork(&references), BeforeFork::Nothing);
    assert!(references.remove(objects[0]).is_some());
    assert!(references.lock().bequest.is_none(), "only children keep what is gone here");
    assert_eq!(before_fork(&references), BeforeFork::Bequeath(3));
}

/// Returns a socket over which the server has refused a bequest, and its other end.
fn refused(fault: Fault) -> (OwnedFd, UnixStream) {
    let (socket, mut server) = UnixStream::pair().unwrap();
    let body = postcard::to_allocvec(&fault).unwrap();
    let body_len = u32::try_from(body.len()).unwrap();
    let head = Head { body_len, kind: FrameKind::Fault, cpu: 0, call: 0, read: 0 };
    server.write_all(&[&head.to_bytes()[..], &body].concat()).unwrap();
    (socket.into(), server)
}

#[test]
fn a_refused_bequest_is_made_again() {
    let references = References::default();
    let objects = [1, 2].map(ObjectId);
    objects.iter().for_each(|object| assert!(references.add(*object, 1)));
    references.bequeath(2, refused(Fault::NoSpace).0);
    assert_eq!(before_fork(&references), BeforeFork::Bequeath(2));
    assert!(references.lock().bequest.is_none());
    references.bequeath(2, socket());
    assert_eq!(before_fork(&references), BeforeFork::Nothing, "one that was not refused counts");
}

/// Returns a socket whose other end the server has closed without a word, when it had read what was sent, or before.
fn closed(was_read: bool) -> OwnedFd {
    let (mut socket, mut server) = UnixStream::pair().unwrap();
    socket.write_all(b"hello").unwrap();
    if was_read {
        server.read_exact(&mut [0; 5]).unwrap();
    }
    socket.into()
}

#[test]
fn a_bequest_that_was_closed_without_a_word_is_none() {
    for was_read in [true, false] {
        let parents = References::default();
        assert!(parents.add(ObjectId(1), 1));
        parents.bequeath(1, closed(was_read));
        assert_eq!(before_fork(&parents), BeforeFork::Bequeath(1), "it is made again");
        parents.bequeath(1, closed(was_read));
        // A grandchild finds the same end.
        let child = References::inherited(&References::inherited(&parents));
        child.has_own(vec![ObjectId(1)]);
        assert_eq!(child.disinherited(ObjectId(1)), Some(Disinherited::Closed));
    }
}

#[test]
fn a_child_knows_why_an_inherited_object_has_ended() {
    let full = Fault::TooMany { limit: 3 };
    let (one, other) = (ObjectId(1), ObjectId(2));
    let parents = || {
        let references = References::default();
        assert!(references.add(one, 1) && references.add(other, 1));
        references
    };
    let child = |parents: &References| {
        let child = References::inherited(parents);
        child.has_own(vec![one]);
        assert_eq!(child.disinherited(other), None);
        child.disinherited(one)
    };
    let was_kept = parents();
    was_kept.bequeath(2, socket());
    assert_eq!(child(&was_kept), None, "somebody removed it");
    let was_refused = parents();
    was_refused.bequeath(2, refused(full).0);
    assert_eq!(child(&References::inherited(&was_refused)), Some(Disinherited::Refused(full)));
    let unprepared = parents();
    unprepared.fork_unprepared(Deadline::after(std::time::Duration::ZERO));
    assert_eq!(child(&unprepared), Some(Disinherited::NotAsked));
    let childs = References::inherited(&was_refused);
    childs.has_own(vec![one]);
    childs.remove(one);
    assert_eq!(childs.disinherited(one), None, "it is forgotten with the last proxy");
}

#[test]
fn objects_linger_if_a_fork_had_no_bequest_of_them() {
    let references = References::default();
    let objects = [1, 2].map(ObjectId);
    references.add(objects[0], 1);
    references.fork_unprepared(Deadline::after(std::time::Duration::ZERO));
    // Later bequests do not help that child.
    references.bequeath(1, socket());
    assert_eq!(references.remove(objects[0]), Some(Last { connection: 1, lingers: true }));
    references.lock().unprepared_fork = forks();
    references.add(objects[1], 1);
    assert_eq!(references.remove(objects[1]), Some(Last { connection: 1, lingers: false }));
}

#[test]
fn a_child_keeps_inherited_sockets_until_it_has_its_own_references_or_nothing() {
    let parents = || {
        let references = References::default();
        references.add(ObjectId(1), 5);
        references.bequeath(1, socket());
        References::inherited(&References::inherited(&references))
    };
    let grandchild = parents();
    assert_eq!(grandchild.lock().inherited.len(), 1);
    assert_eq!(before_fork(&grandchild), BeforeFork::Nothing, "its children inherit the same");
    assert_eq!(grandchild.ask_for_all(1), [ObjectId(1)]);
    grandchild.has_own(Vec::new());
    assert_eq!(grandchild.lock().inherited.len(), 0);
    assert_eq!(before_fork(&grandchild), BeforeFork::Bequeath(1));
    let grandchild = parents();
    assert_eq!(grandchild.remove(ObjectId(1)), Some(Last { connection: 0, lingers: false }));
    assert_eq!(grandchild.lock().inherited.len(), 0);
}

#[test]
fn a_child_starts_with_no_requested_references() {
    let references = References::default();
    references.add(ObjectId(1), 5);
    let childs = References::inherited(&references);
    assert!(childs.claim(ObjectId(1), 1));
    let guard = references.lock();
    assert_eq!(References::inherited(&references).ask_for_all(1), [], "another thread was using the table");
    drop(guard);
}

#[test]
fn a_child_keeps_inherited_sockets_while_it_lacks_something() {
    let objects = [1, 2, 3].map(ObjectId);
    let child = || {
        let parents = References::default();
        objects.iter().for_each(|object| assert!(parents.add(*object, 5)));
        parents.bequeath(3, socket());
        let child = References::inherited(&parents);
        assert_eq!(child.ask_for_all(1).len(), 3);
        child.lack([objects[0], objects[1]], 1);
        child.has_own(vec![objects[2]]);
        assert!(child.is_lacking());
        assert_eq!(child.lock().inherited.len(), 1);
        child
    };
    let both = child();
    assert!(!both.claim_lacking(objects[2], 1), "it has this one");
    assert!(both.claim_lacking(objects[0], 1) && !both.claim_lacking(objects[0], 1), "one thread asks");
    both.lack([objects[0]], 1);
    assert!(both.claim_lacking(objects[0], 1), "it was refused");
    both.has_regained(objects[0], 1, false);
    assert_eq!(both.remove(objects[0]), Some(Last { connection: 1, lingers: false }));
    assert!(both.is_lacking() && both.lock().inherited.len() == 1);
    assert_eq!(before_fork(&both), BeforeFork::Bequeath(3), "its children inherit both");
    assert_eq!(both.remove(objects[1]).map(|last| last.connection), Some(0), "there is nothing to release");
    assert!(!both.is_lacking() && both.lock().inherited.is_empty());
    // A new connection requests everything again.
    let again = child();
    assert!(again.claim_lacking(objects[0], 1) && again.claim_lacking(objects[1], 1));
    assert_eq!(again.ask_for_all(2).len(), 3);
    assert!(!again.is_lacking());
    // These threads have waited for their answers over the old connection.
    again.lack([objects[0]], 1);
    again.has_regained(objects[0], 1, true);
    again.has_regained(objects[1], 1, false);
    assert!(!again.is_lacking(), "an old connection says nothing about the new one");
    assert_eq!(again.lock().inherited.len(), 1, "which has no reference yet");
    assert_eq!(again.disinherited(objects[0]), None);
    again.has_none(2);
    assert!(again.lock().entries.values().all(|entry| entry.connection == 0));
    assert_eq!(before_fork(&again), BeforeFork::Nothing, "its children inherit the same");
}

#[test]
fn a_fork_of_a_process_that_lacks_something_of_its_own_is_unprepared() {
    let references = References::default();
    assert!(references.add(ObjectId(1), 1) && references.add(ObjectId(2), 1));
    assert_eq!(references.ask_for_all(2).len(), 2);
    references.lack([ObjectId(1)], 2);
    references.has_own(Vec::new());
    assert_eq!(before_fork(&references), BeforeFork::Bequeath(2));
    references.bequeath(2, socket());
    let child = References::inherited(&references);
    child.has_own(vec![ObjectId(1)]);
    assert_eq!(child.disinherited(ObjectId(1)), Some(Disinherited::NotAsked));
}
