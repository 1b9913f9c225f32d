#!/usr/bin/env bash
# A writer of the crate `mmap-sync` that may wait 10 ms for a dead reader waits one second.
#
# Expected: `Synchronizer::write(entity, grace_duration)` waits for readers that were killed with their guard in hand
#   for `grace_duration` at most, "the maximum period to wait for readers to finish" in its documentation.
# Happens: while a reader is counted, the writer sleeps in slices of the type's parameter `SD`, one second by default,
#   and looks at the grace period only between them. So a grace period rounds up to whole seconds, and a reader that
#   holds its guard for a millisecond at the wrong moment delays the writer by a second. With `SD` = 1 ms the period is respected.
# Follows from: mmap-sync 2.0.4.
# Seen (mmap-sync 2.0.4, rustc 1.95.0), grace period 10 ms, one reader killed in between:
#   default: a write over the dead reader's copy took 1000 ms (reset: true), the next 0 ms (reset: false)
#   SD = 1 ms: a write over the dead reader's copy took 10 ms (reset: true), the next 0 ms (reset: false)
# Run by hand: findings/mmap-sync-grace.sh. Needs cargo and a registry. Exits with 1 if this has changed.
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
mmap-sync = "=2.0.4"
wyhash = "0.5"
[profile.dev]
debug = false
END
mkdir src
cat > src/main.rs <<'END'
use mmap_sync::{locks::LockDisabled, synchronizer::Synchronizer};
use std::{env, ffi::OsStr, process, time::Duration, time::Instant};
use wyhash::WyHash;

const GRACE: Duration = Duration::from_millis(10);
const PROMPT: u64 = 1_000_000; // ns

/// How long the write over a dead reader's copy takes with slices of `SD` nanoseconds.
fn delay<const SD: u64>(name: &str, path: &str) -> Duration {
    let mut writer = Synchronizer::<WyHash, LockDisabled, 1024, SD>::with_params(OsStr::new(path));
    let mut write = |number: u64| {
        let start = Instant::now();
        let (_, reset) = writer.write(&number, GRACE).expect("a write");
        (start.elapsed(), reset)
    };
    write(0);
    let reader = process::Command::new(env::current_exe().expect("a path")).args(["reader", path]).status();
    assert!(reader.expect("a reader").success());
    write(1); // the other one of the two copies
    let (first, first_reset) = write(2);
    write(3);
    let (second, second_reset) = write(4);
    let [took, next] = [first, second].map(|duration| duration.as_millis());
    print!("{name}: a write over the dead reader's copy took {took} ms (reset: {first_reset}), ");
    println!("the next {next} ms (reset: {second_reset})");
    first
}

fn main() {
    if let Some(path) = env::args().nth(2) {
        let mut reader = Synchronizer::new(OsStr::new(&path));
        let _guard = unsafe { reader.read::<u64>(true) }.expect("a value");
        process::exit(0); // as a killed process, without the guard's drop
    }
    let by_default = delay::<1_000_000_000>("default", "slow");
    let prompt = delay::<PROMPT>("SD = 1 ms", "prompt");
    process::exit(i32::from(!(by_default >= Duration::from_secs(1) && prompt < Duration::from_millis(900))));
}
END

rustc --version
cargo build --quiet
cargo tree --quiet --depth 1 --prefix none | grep mmap-sync
timeout 60 "$CARGO_TARGET_DIR/debug/probe"
