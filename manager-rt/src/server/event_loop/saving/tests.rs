//! What is said before a file is written, and while the last one is.

use std::io::Read;
use std::os::unix::net::UnixStream;

use mio::Events;

use super::*;
use crate::server::Server;
use crate::tests::plain_client::Client;
use crate::wire::frame::{self, FrameKind, HEAD_BYTES, Head};

/// Otherwise, a server that is killed after the fork would leave a file that says of a call that it was done, and a client that never
/// heard of it.
#[test]
fn answers_are_written_before_the_process_that_writes_a_snapshot_is_forked() {
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = (folder.path().join("manager.sock"), folder.path().join("file"));
    let mut server = Server::bind(&path).unwrap();
    let mut client = UnixStream::connect(&path).unwrap();
    let mut events = Events::with_capacity(64);
    while server.work.peers.is_empty() {
        server.work.round(&mut events).unwrap();
    }
    let (slot, peer) = server.work.peers.iter_mut().next().unwrap();
    peer.outbound.say(b"done");
    server.work.make_dirty(slot);
    server.work.begin_snapshot(&file, u64::MAX, Reason::Late);
    // Nothing else runs in this server any more, as if it were killed now.
    client.set_nonblocking(true).unwrap();
    let mut heard = [0; 4];
    client.read_exact(&mut heard).unwrap();
    assert_eq!((&heard, file.exists()), (b"done", true));
}

#[test]
fn whoever_connects_to_a_server_that_ends_hears_that_in_a_form_that_it_knows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manager.sock");
    let mut server = Server::builder().key("key").bind(&path).unwrap();
    let mut events = Events::with_capacity(64);
    for (version, is_refused) in [(3, true), (4, true), (5, true), (5, false)] {
        server.work.refuse_newcomers(is_refused);
        let connect = || {
            let mut client = Client::unwelcomed(&path, frame::terms_of(version, b"key")).unwrap();
            let mut head = [0; HEAD_BYTES];
            // An older one hears the end of the connection.
            client.stream.read_exact(&mut head).is_ok().then(|| {
                let head = Head::of(&head).unwrap();
                let mut body = vec![0; usize::try_from(head.body_len).unwrap()];
                client.stream.read_exact(&mut body).unwrap();
                (head.kind, body)
            })
        };
        let heard = std::thread::scope(|scope| {
            let client = scope.spawn(connect);
            while !client.is_finished() {
                let soon = Deadline::after(Duration::from_millis(1));
                server.work.hear_newcomers(&mut events, soon).unwrap();
            }
            client.join().unwrap()
        });
        match (version, is_refused) {
            (5, true) => {
                let (kind, body) = heard.unwrap();
                assert_eq!((kind, postcard::from_bytes(&body)), (FrameKind::Fault, Ok(Fault::Ending)));
            }
            (5, false) => assert_eq!(heard.unwrap().0, FrameKind::Welcome, "it goes on"),
            _ => assert_eq!(heard, None),
        }
    }
}
