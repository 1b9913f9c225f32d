//! Servers of other versions.

use mp_sys::handshake::{Offer, Versions};

use super::ends::told;
use super::*;
use crate::client::ConnectError;
use crate::proto::Fault;
use crate::wire::frame::VERSIONS;

/// Returns the terms of a server with these versions.
fn terms_with(versions: Versions) -> Terms<'static> {
    Terms { offer: Some(Offer { versions, silent: 3 }), ..frame::terms(KEY) }
}

#[test]
fn servers_of_older_and_newer_versions_serve() {
    let old = Terms { offer: None, ..frame::terms(KEY) };
    for terms in [old, terms_with(Versions { newest: u16::MAX, ..VERSIONS }), frame::terms(KEY)] {
        let serve = move |mut peer: Peer| {
            assert!(peer.let_in_on(terms));
            let full = postcard::to_allocvec(&Fault::TooMany { limit: 3 }).unwrap();
            peer.say(FrameKind::Fault, 0, &full);
        };
        assert_eq!(told(serve, PATIENCE), ConnectError::Refused(Fault::TooMany { limit: 3 }));
    }
}

#[test]
fn a_server_without_a_common_version_is_an_error_with_both_ranges() {
    for theirs in [Versions::only(VERSIONS.newest + 1), Versions { oldest: 1, newest: VERSIONS.oldest - 1 }] {
        let serve = move |mut peer: Peer| assert!(!peer.let_in_on(terms_with(theirs)));
        let error = told(serve, PATIENCE);
        assert_eq!(error, ConnectError::NoCommonVersion { ours: VERSIONS, theirs });
        let text = error.to_string();
        assert!(text.contains(&theirs.to_string()) && text.contains(&VERSIONS.to_string()), "{text}");
    }
}
