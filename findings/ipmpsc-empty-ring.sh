#!/usr/bin/env bash
# A ring of the crate `ipmpsc` that is empty refuses a message that fitted into it a moment before.
#
# Expected: `Sender::send` waits "for sufficient contiguous space to become available in the ring buffer" (its
#   documentation). A message that fits into the fresh ring fits into every empty one.
# Happens: after one message was sent and received, the same message is not accepted: `send_timeout` returns false, and
#   `send` would wait, although nothing is in the ring. The sender can go back to the ring's start only if the receiver
#   moves its read position first, and the receiver does so only inside a receive call. So a receiver that first waits
#   for something else (a reply, a lock, a worker) before it receives again waits for a sender that waits for it. One
#   `try_recv`, which returns None, makes the room. Messages below half of the ring meet it rarely, larger ones at once.
# Follows from: ipmpsc 0.5.1.
# Seen (ipmpsc 0.5.1, rustc 1.95.0):
#   first send into the fresh ring: true, received Some(48) bytes
#   second send into the empty ring: false
#   try_recv: None
#   third send: true, received Some(48) bytes
# Run by hand: findings/ipmpsc-empty-ring.sh. Needs cargo and a registry. Exits with 1 if this has changed.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
export CARGO_TARGET_DIR="$dir/target" TMPDIR="$dir"

cat > Cargo.toml <<'END'
[package]
name = "probe"
version = "0.0.0"
edition = "2021"
[dependencies]
ipmpsc = "=0.5.1"
END
mkdir src
cat > src/main.rs <<'END'
use std::{process::ExitCode, time::Duration};

fn main() -> ExitCode {
    let (_file, ring) = ipmpsc::SharedRingBuffer::create_temp(64).expect("a ring");
    let (sender, receiver) = (ipmpsc::Sender::new(ring.clone()), ipmpsc::Receiver::new(ring));
    let message = vec![7_u8; 48];
    let send = || sender.send_timeout(&message, Duration::from_millis(300)).expect("no error");
    let receive = || receiver.try_recv::<Vec<u8>>().expect("no error").map(|bytes| bytes.len());

    let (sent, received) = (send(), receive());
    println!("first send into the fresh ring: {sent}, received {received:?} bytes");
    let again = send();
    println!("second send into the empty ring: {again}");
    let nothing = receive();
    println!("try_recv: {nothing:?}");
    let (third, last) = (send(), receive());
    println!("third send: {third}, received {last:?} bytes");

    let as_seen = (sent, received, again, nothing, third, last) == (true, Some(48), false, None, true, Some(48));
    if as_seen { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
END

rustc --version
cargo build --quiet
cargo tree --quiet --depth 1 --prefix none | tail -n +2
timeout 30 "$CARGO_TARGET_DIR/debug/probe"
