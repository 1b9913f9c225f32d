//! Clients of other versions.

use mp_sys::handshake::{Offer, Refusal, Terms, Versions};

use super::*;
use crate::wire::frame;
use crate::wire::frame::VERSIONS;

/// Returns the terms of a client with these versions.
fn terms_with(versions: Versions) -> Terms<'static> {
    Terms { offer: Some(Offer { versions, silent: 3 }), ..frame::terms(b"key") }
}

#[test]
fn clients_of_older_and_newer_versions_are_served_together() {
    let server = Running::start(Server::builder().key("key"));
    let old = Terms { offer: None, ..frame::terms(b"key") };
    let newer = terms_with(Versions { newest: u16::MAX, ..VERSIONS });
    let own = frame::terms(b"key");
    let mut clients = [old, newer, own].map(|terms| Client::connect_on(&server.path, terms).unwrap());
    let value = clients.each_mut().map(|client| client.open("v", Spec::Value(Raw::plain(b"0"))));
    assert_eq!(value, [value[0]; 3]);
    clients.iter_mut().for_each(Client::ping);
}

#[test]
fn a_client_without_a_common_version_learns_both_ranges() {
    let server = Running::start(Server::builder().key("key"));
    for versions in [Versions::only(VERSIONS.oldest - 1), Versions::only(VERSIONS.newest + 1)] {
        let refused = Client::connect_on(&server.path, terms_with(versions)).err();
        assert_eq!(refused, Some(Refusal::NoCommonVersion { theirs: VERSIONS }));
    }
}
