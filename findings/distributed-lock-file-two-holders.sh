#!/usr/bin/env bash
# The file lock of the crate `distributed-lock-file` is held by several at once as soon as they contend for it.
#
# Expected: "mutual exclusion across processes" by locks of the operating system, as its documentation says.
# Happens: `release` unlocks the file and deletes it afterwards. Whoever opened the file before it was deleted locks a file
#   that no longer has a name, and the next one creates and locks a new file of the same name. One such meeting is enough
#   to go on: each holder deletes the file of another holder. Threads stand for processes here: every lock opens the
#   file for itself, and flock(2) separates descriptors, not processes.
# Follows from: distributed-lock-file 0.2.0 on Unix. Way out: flock(2) on a file that is never deleted.
# Seen (distributed-lock-file 0.2.0, rustc 1.95.0), four threads, each with a lock of its own of the same name:
#   distributed-lock-file: 10 of the first 29 acquisitions beside another holder
#   std::fs::File::lock on a file that stays: 0 of 20000
# Run by hand: findings/distributed-lock-file-two-holders.sh. Needs cargo and a registry. Exits with 1 if this has changed.
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
distributed-lock-core = "=0.2.0"
distributed-lock-file = "=0.2.0"
tokio = { version = "1", features = ["rt", "time"] }
[profile.dev]
debug = false
END
mkdir src locks
cat > src/main.rs <<'END'
use distributed_lock_core::prelude::*;
use distributed_lock_file::FileLockProvider;
use std::fs::File;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

const THREADS: u32 = 4;
const MOST: u32 = 20_000; // acquisitions
const ENOUGH: u32 = 10; // of them beside another holder
const LONGEST: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Seen {
    inside: AtomicU32,
    acquired: AtomicU32,
    beside: AtomicU32,
}

impl Seen {
    fn ended(&self, start: Instant) -> bool {
        self.acquired.load(SeqCst) >= MOST || self.beside.load(SeqCst) >= ENOUGH || start.elapsed() > LONGEST
    }

    /// What each holder does while it holds the lock.
    fn hold(&self) {
        let others = self.inside.fetch_add(1, SeqCst);
        self.acquired.fetch_add(1, SeqCst);
        self.beside.fetch_add(u32::from(others > 0), SeqCst);
        thread::yield_now();
        self.inside.fetch_sub(1, SeqCst);
    }
}

fn contend(work: impl Fn(&Seen, Instant) + Sync) -> [u32; 2] {
    let (seen, start) = (Seen::default(), Instant::now());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| work(&seen, start));
        }
    });
    [seen.beside.into_inner(), seen.acquired.into_inner().min(MOST)]
}

fn main() -> ExitCode {
    let of_crate = contend(|seen, start| {
        let lock = FileLockProvider::new("locks").expect("a directory").create_lock("job");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            while !seen.ended(start) {
                // A file that vanishes in the middle of the attempt is an error, and counts as not acquired.
                if let Ok(Some(held)) = lock.try_acquire().await {
                    seen.hold();
                    held.release().await.expect("a release");
                }
            }
        });
    });
    println!("distributed-lock-file: {} of the first {} acquisitions beside another holder", of_crate[0], of_crate[1]);
    let of_std = contend(|seen, start| {
        let file = File::create("kept").expect("a file");
        while !seen.ended(start) {
            file.lock().expect("a lock");
            seen.hold();
            file.unlock().expect("an unlock");
        }
    });
    println!("std::fs::File::lock on a file that stays: {} of {}", of_std[0], of_std[1]);
    if of_crate[0] == 0 || of_std[0] > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
END

rustc --version
cargo build --quiet
cargo tree --quiet --depth 1 --prefix none | tail -n +2
timeout 90 "$CARGO_TARGET_DIR/debug/probe"
