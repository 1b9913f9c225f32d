#!/usr/bin/env bash
# A receiver of the crate `shmem-ipc` that opens a ring again gets old items once more, and then an item too few, for ever.
#
# Expected: `Receiver::open` "attaches to a ringbuffer set up by the sending side": a consumer that was restarted goes on
#   with the first item that its predecessor has not taken; the number of unread items is in the shared memory.
# Happens: where the unread items begin is only in the receiver's own memory. A new one begins at the start of the ring, and
#   takes from there as many items as are unread. All later reads are behind by what the first receiver took: each item
#   comes when newer ones push it out, and what is read next has been overwritten once the ring has gone round.
# Follows from: shmem-ipc 0.3.0. Way out: a new ring for each new receiver or sender.
# Seen (shmem-ipc 0.3.0, rustc 1.95.0):
#   sent 1 to 5, the first receiver took [1, 2, 3] and ended, 2 unread
#   the second receiver got [1, 2]; sent 6 and 7, it got [3, 4]
#   without the second open: [4, 5]; sent 6 and 7, it got [6, 7]
# Run by hand: findings/shmem-ipc-reopened-receiver.sh. Needs cargo and a registry. Exits with 1 if this has changed.
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
shmem-ipc = "=0.3.0"
[profile.dev]
debug = false
END
mkdir src
cat > src/main.rs <<'END'
use shmem_ipc::sharedring::{Receiver, Sender};
use std::process::ExitCode;

const CAPACITY: usize = 1000;

fn open(sender: &Sender<u32>) -> Receiver<u32> {
    let files = [sender.memfd().as_file(), sender.empty_signal(), sender.full_signal()];
    let [memory, empty, full] = files.map(|file| file.try_clone().expect("a descriptor"));
    Receiver::open(CAPACITY, memory, empty, full).expect("a receiver")
}

fn send(sender: &mut Sender<u32>, items: &[u32]) {
    let fill = |room: &mut [u32]| {
        room[..items.len()].copy_from_slice(items);
        items.len()
    };
    // Nobody else reads or writes during the call.
    unsafe { sender.send_trusted(fill) }.expect("sent items");
}

fn take(receiver: &mut Receiver<u32>, most: usize) -> Vec<u32> {
    let mut taken = Vec::new();
    let drain = |items: &[u32]| {
        taken.extend(items.iter().take(most));
        taken.len()
    };
    unsafe { receiver.receive_trusted(drain) }.expect("received items");
    taken
}

/// What is got after a first receiver has taken three of five items: with `again`, by a second one.
fn rest(again: bool) -> [Vec<u32>; 2] {
    let mut sender = Sender::new(CAPACITY).expect("a ring");
    let mut receiver = open(&sender);
    send(&mut sender, &[1, 2, 3, 4, 5]);
    let first = take(&mut receiver, 3);
    if again {
        receiver = open(&sender);
        let unread = receiver.receiver_mut().read_count().expect("a count");
        println!("sent 1 to 5, the first receiver took {first:?} and ended, {unread} unread");
    }
    let next = take(&mut receiver, CAPACITY);
    send(&mut sender, &[6, 7]);
    [next, take(&mut receiver, CAPACITY)]
}

fn main() -> ExitCode {
    let reopened = rest(true);
    println!("the second receiver got {:?}; sent 6 and 7, it got {:?}", reopened[0], reopened[1]);
    let kept = rest(false);
    println!("without the second open: {:?}; sent 6 and 7, it got {:?}", kept[0], kept[1]);
    if reopened == [[1, 2], [3, 4]] && kept == [[4, 5], [6, 7]] { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
END

rustc --version
cargo build --quiet
cargo tree --quiet --depth 1 --prefix none | tail -n +2
"$CARGO_TARGET_DIR/debug/probe"
