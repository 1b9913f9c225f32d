//! What is said before a file is written.

use std::io::Read;
use std::os::unix::net::UnixStream;

use super::*;
use crate::server::Server;

/// Otherwise, a server that is killed after the fork would leave a file that says of a call that it was done, and a client that never
/// heard of it.
#[test]
fn answers_are_written_before_the_process_that_writes_a_snapshot_is_forked() {
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = (folder.path().join("manager.sock"), folder.path().join("file"));
    let mut server = Server::bind(&path).unwrap();
    let mut client = UnixStream::connect(&path).unwrap();
    let mut events = mio::Events::with_capacity(64);
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
