#!/usr/bin/env bash
# `IpcReceiver::try_recv_timeout` of the crate `ipc-channel` does not wait at all if the timeout is below a millisecond.
#
# Expected: it "blocks for up to the specified duration" and returns late rather than early, like `recv_timeout` of
#   std's channel, and the timeout of its own `IpcReceiverSet`; its documentation warns only of timeouts beyond 24 days.
# Happens: on Unix the duration is truncated to whole milliseconds before poll(2). 999 us become 0: the call returns Empty
#   within a microsecond, and a loop that should look every 500 us uses a whole core. 1.9 ms become 1 ms.
# Follows from: ipc-channel 0.23.1 on Unix.
# Seen (ipc-channel 0.23.1, rustc 1.95.0), the shortest of 20 waits on a channel where nobody sends:
#   asked for  999 us, waited: IpcReceiver    0 us, IpcReceiverSet 1056 us, std 1056 us
#   asked for 1900 us, waited: IpcReceiver 1058 us, IpcReceiverSet 2059 us, std 1959 us
# Run by hand: findings/ipc-channel-short-timeouts.sh. Needs cargo and a registry. Exits with 1 if this has changed.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
export CARGO_TARGET_DIR="$dir/target"

cat > Cargo.toml <<'END'
[package]
name = "probe"
version = "0.0.0"
edition = "2021"
[dependencies]
ipc-channel = "=0.23.1"
END
mkdir src
cat > src/main.rs <<'END'
use ipc_channel::ipc::{channel, IpcReceiverSet};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The shortest of 20 waits: no load on the machine makes a wait shorter.
fn shortest(mut wait: impl FnMut()) -> Duration {
    let one = || {
        let start = Instant::now();
        wait();
        start.elapsed()
    };
    std::iter::repeat_with(one).take(20).min().expect("20 waits")
}

fn main() -> ExitCode {
    let (_sender, receiver) = channel::<u32>().expect("a channel");
    let (_set_sender, set_receiver) = channel::<u32>().expect("a channel");
    let (_std_sender, std_receiver) = std::sync::mpsc::channel::<u32>();
    let mut set = IpcReceiverSet::new().expect("a set");
    set.add(set_receiver).expect("room in the set");

    let mut as_seen = true;
    for asked in [999, 1900].map(Duration::from_micros) {
        let own = shortest(|| assert!(receiver.try_recv_timeout(asked).is_err()));
        let of_set = shortest(|| assert!(set.try_select_timeout(asked).is_err()));
        let of_std = shortest(|| assert!(std_receiver.recv_timeout(asked).is_err()));
        let [a, b, c, d] = [asked, own, of_set, of_std].map(|duration| duration.as_micros());
        println!("asked for {a:>4} us, waited: IpcReceiver {b:>4} us, IpcReceiverSet {c:>4} us, std {d:>4} us");
        as_seen &= own < asked && of_set >= asked && of_std >= asked;
    }
    if as_seen { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
END

rustc --version
cargo build --quiet
cargo tree --quiet --depth 1 --prefix none | tail -n +2
timeout 30 "$CARGO_TARGET_DIR/debug/probe"
