#!/usr/bin/env bash
# `acquire` of the crate `distributed-lock-redis` never waits, and a released lock stays on a minority of the servers.
#
# Expected: `acquire(timeout)` waits for the lock until the timeout has passed, without one for ever, as the trait
#   DistributedLock documents it and the crate's semaphore does it. After `release` the lock is free on every server.
# Happens: `acquire` tries once. If the lock is held, it returns `Timeout(3s)` after a fraction of a millisecond, and with
#   `None`, which means for ever, `Timeout(0ns)`. With several servers it takes the answers until there is a majority, and
#   forgets the others: their keys are neither renewed nor released, and block the next holder there for `expiry`, 30 s.
# Follows from: distributed-lock-redis 0.2.0. Way out: a loop around try_acquire, with pauses, and a short `expiry`.
# Seen (distributed-lock-redis 0.2.0, fred 9.4.0, rustc 1.95.0, Redis 7.0.15):
#   held by another for 1 s, acquire(Some(3s)): Err(Timeout(3s)), after less than 0.5 s: true
#   held by another for 1 s, acquire(None): Err(Timeout(0ns)), after less than 0.5 s: true
#   acquired and released on three servers, keys left: 1
# Run by hand: findings/distributed-lock-redis-acquire.sh. Needs cargo, a registry and redis-server. Exits with 1 if this
#   has changed.
set -euo pipefail

dir=$(mktemp -d)
cd "$dir"
export CARGO_TARGET_DIR="$dir/target"
ports=() servers=()
stop() { kill "${servers[@]}"; wait "${servers[@]}" || true; rm -rf "$dir"; }
trap stop EXIT
for i in 1 2 3; do
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    redis-server --bind 127.0.0.1 --port "$port" --save '' --appendonly no --dir "$dir" > "redis$i.log" &
    servers+=("$!") ports+=("$port")
    for _ in $(seq 100); do redis-cli -p "$port" ping > ping.log 2>&1 && break; sleep 0.1; done
done

cat > Cargo.toml <<'END'
[package]
name = "probe"
version = "0.0.0"
edition = "2021"
[dependencies]
distributed-lock-core = "=0.2.0"
distributed-lock-redis = "=0.2.0"
fred = "=9.4.0"
tokio = { version = "1", features = ["rt", "macros", "time"] }
[profile.dev]
debug = false
END
mkdir src
cat > src/main.rs <<'END'
use distributed_lock_core::prelude::*;
use distributed_lock_redis::RedisLockProvider;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const HELD: Duration = Duration::from_secs(1);

/// Whether `acquire` fails at once, although the lock becomes free after a second.
async fn fails(provider: &RedisLockProvider, timeout: Option<Duration>) -> bool {
    let held = provider.create_lock("job").acquire(None).await.expect("a free lock");
    let holder = tokio::spawn(async {
        tokio::time::sleep(HELD).await;
        held.release().await.expect("a release");
    });
    let start = Instant::now();
    let error = provider.create_lock("job").acquire(timeout).await.err();
    let prompt = start.elapsed() < HELD / 2;
    let (asked, got) = (format!("{timeout:?}"), error.as_ref().map_or("Ok".to_owned(), |error| format!("Err({error:?})")));
    println!("held by another for 1 s, acquire({asked}): {got}, after less than 0.5 s: {prompt}");
    holder.await.expect("the holder");
    error.is_some() && prompt
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let urls: Vec<String> = std::env::args().skip(1).map(|port| format!("redis://127.0.0.1:{port}")).collect();
    let one = RedisLockProvider::builder().url(&urls[0]).build().await.expect("a server");
    let as_seen = fails(&one, Some(Duration::from_secs(3))).await & fails(&one, None).await;
    let three = RedisLockProvider::builder().urls(&urls).build().await.expect("three servers");
    let held = three.create_lock("three").acquire(None).await.expect("a free lock");
    held.release().await.expect("a release");
    tokio::time::sleep(Duration::from_secs(1)).await;
    if as_seen { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
END

rustc --version
redis-server --version | cut -d ' ' -f 1-3
cargo build --quiet
cargo tree --quiet --depth 1 --prefix none | grep -e '^distributed-lock-redis' -e '^fred'
timeout 60 "$CARGO_TARGET_DIR/debug/probe" "${ports[@]}"
left=0
for port in "${ports[@]}"; do left=$((left + $(redis-cli -p "$port" exists distributed-lock:three))); done
echo "acquired and released on three servers, keys left: $left"
[ "$left" -gt 0 ]
