//! A client on another host, for tests that write and read its stream themselves.

use mp_sys::deadline::Deadline;
use mp_sys::handshake::{Connecting, Next, Refusal, Terms};
use mp_sys::stream::Interest;
use mp_sys::testing::PATIENCE;

use crate::address::Address;
use crate::limits::{RECORD_BYTES_MAX, REMOTE_KEY_BYTES_MIN};
use crate::transport::{self, Channel};
use crate::wire::frame::{self, HEAD_BYTES};

pub(crate) const KEY: [u8; REMOTE_KEY_BYTES_MIN] = [7; REMOTE_KEY_BYTES_MIN];

fn read_exact(channel: &Channel, mut into: &mut [u8]) {
    let deadline = Deadline::after(PATIENCE);
    while !into.is_empty() {
        match channel.try_read(into) {
            Ok(count @ 1..) => into = &mut into[count..],
            Ok(_) => panic!("the server has closed the connection"),
            Err(_) => assert!(channel.ready(Interest::Read, deadline).is_ok() && !deadline.has_passed()),
        }
    }
}

/// Connects as a client, and returns the bare stream.
pub(crate) fn connect(address: &Address) -> Channel {
    let channel = connect_on(address, frame::terms(&KEY)).unwrap();
    read_exact(&channel, &mut [0; HEAD_BYTES + 16]);
    channel
}

/// Connects on other terms, up to the welcome.
///
/// # Errors
/// Why one of the two sides refuses the other.
#[expect(clippy::panic_in_result_fn, reason = "a test fails by a panic")]
pub(crate) fn connect_on(address: &Address, terms: Terms<'_>) -> Result<Channel, Refusal> {
    let channel = transport::open(address, &KEY, Deadline::after(PATIENCE)).unwrap();
    let (mut side, mut said) = Connecting::new(terms, [9; 32]);
    loop {
        assert_eq!(channel.try_write(&said).ok(), Some(said.len()));
        let mut step = vec![0; side.missing()];
        read_exact(&channel, &mut step);
        match side.hear(terms, &step) {
            Next::Say(bytes) => said = bytes,
            Next::Agree(_) => return Ok(channel),
            Next::Refuse(_, refusal) => return Err(refusal),
            Next::Wait => panic!("a step is missing"),
        }
    }
}

/// Sends the longest record, except for its last byte.
pub(crate) fn begin_record(client: &Channel) {
    let record = client.sealed_only(&[0; RECORD_BYTES_MAX]);
    let part = &record[..record.len() - 1];
    let file = client.file().unwrap();
    assert_eq!(rustix::io::write(file, part), Ok(part.len()), "a socket of loopback has room for it");
}
