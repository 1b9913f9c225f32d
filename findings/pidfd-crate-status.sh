#!/usr/bin/env bash
# The crate `pidfd` says that every child succeeded.
#
# Expected: `PidFd::wait` and the future of a `PidFd` return the `ExitStatus` of the process. The crate's README says
#   of its feature `waitid` that it "enables fetching the exit status of a pidfd", and its example prints that status.
# Happens: the status is 0 for every child, also for one that exits with 3 and for one that SIGKILL ended. The crate
#   builds the status from the field `si_errno` of waitid's answer, which Linux leaves at 0; status and signal are in
#   `si_status`, exit or death in `si_code` (waitid(2)). Without the feature the future answers 0 as well, unasked.
# Follows from: pidfd 0.2.4, with any Linux from 5.4 on.
# Seen (pidfd 0.2.4, rustc 1.95.0, Linux 6.18):
#   exit 3       pidfd says 0 (success: true), std says exit status: 3
#   kill -9 $$   pidfd says 0 (success: true), std says signal: 9 (SIGKILL)
# Run by hand: findings/pidfd-crate-status.sh. Needs cargo and a registry. Exits with 1 if this has changed.
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
pidfd = { version = "=0.2.4", features = ["waitid"] }
END
mkdir src
cat > src/main.rs <<'END'
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode};

fn child(script: &str) -> Child {
    Command::new("sh").args(["-c", script]).spawn().expect("sh starts")
}

fn main() -> ExitCode {
    let mut as_seen = true;
    for script in ["exit 3", "kill -9 $$"] {
        // Two children of the same kind: a child can be reaped only once.
        let by_crate = pidfd::PidFd::from(&child(script)).wait().expect("the crate waits");
        let by_std = child(script).wait().expect("std waits");
        let success = by_crate.success();
        println!("{script:<12} pidfd says {} (success: {success}), std says {by_std}", by_crate.into_raw());
        as_seen &= success && !by_std.success();
    }
    if as_seen { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
END

rustc --version
uname -sr
cargo build --quiet
cargo tree --quiet --depth 1 --prefix none | tail -n +2
"$CARGO_TARGET_DIR/debug/probe"
