#!/usr/bin/env bash
# `ZeroCopyContext::recv` of the crate `ipmpsc` returns the same message at every call.
#
# Expected: a second receive through one `ZeroCopyContext` fails. The documentation of `recv` says: "This will return
#   `Err(Error::AlreadyReceived)` if this instance has already been used to read a message", like that of its sisters
#   `try_recv` and `recv_timeout`.
# Happens: the two sisters check, `recv` does not. It returns the same message again, as if it had been sent twice,
#   and the read position moves by one message when the context is dropped. A loop over one context does not end.
# Follows from: ipmpsc 0.5.1.
# Seen (ipmpsc 0.5.1, rustc 1.95.0): sent 1 and 2
#   recv, recv in one context: 1, 1
#   try_recv in it: A ZeroCopyContext may only be used to receive one message
#   recv_timeout in it: A ZeroCopyContext may only be used to receive one message
#   the next context: 2
# Run by hand: findings/ipmpsc-zero-copy-twice.sh. Needs cargo and a registry. Exits with 1 if this has changed.
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
use ipmpsc::Error::AlreadyReceived;
use std::{process::ExitCode, time::Duration};

fn main() -> ExitCode {
    let (_file, ring) = ipmpsc::SharedRingBuffer::create_temp(1024).expect("a ring");
    let (sender, mut receiver) = (ipmpsc::Sender::new(ring.clone()), ipmpsc::Receiver::new(ring));
    for number in [1_u32, 2] {
        sender.send(&number).expect("room");
    }

    let mut context = receiver.zero_copy_context();
    let first: u32 = context.recv().expect("a message");
    let second: Result<u32, _> = context.recv();
    let tried: Result<Option<u32>, _> = context.try_recv();
    let timed: Result<Option<u32>, _> = context.recv_timeout(Duration::from_millis(10));
    drop(context);
    let next: u32 = receiver.zero_copy_context().recv().expect("a message");

    println!("recv, recv in one context: {first}, {}", second.as_ref().map_or("refused".into(), u32::to_string));
    for (name, result) in [("try_recv", &tried), ("recv_timeout", &timed)] {
        println!("{name} in it: {}", result.as_ref().map_or_else(ToString::to_string, |value| format!("{value:?}")));
    }
    println!("the next context: {next}");

    let sisters_refuse = matches!((&tried, &timed), (Err(AlreadyReceived), Err(AlreadyReceived)));
    let as_seen = first == 1 && matches!(second, Ok(1)) && sisters_refuse && next == 2;
    if as_seen { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
END

rustc --version
cargo build --quiet
cargo tree --quiet --depth 1 --prefix none | tail -n +2
timeout 30 "$CARGO_TARGET_DIR/debug/probe"
