#!/usr/bin/env bash
# `is_freed` of the crate `rslock` never says that a lock is free, and one dead server makes a held lock look lost.
#
# Expected: `is_freed` returns "Ok(true) if the lock is considered freed (either because the key does not exist or the value
#   does not match), otherwise Ok(false)", and an error "if a Redis connection or query fails". A lock of a majority of
#   servers is judged by a majority.
# Happens: a lock that is free is Err(RedisKeyNotFound), a lock that somebody else holds is Err(RedisKeyMismatch), and
#   Ok(true) does not occur, so `if manager.is_freed(&lock).await?` gives up where it should go on. The answer is that of the first
#   server in the list, and a server that cannot be reached answers "no such key": RedisConnectionFailed does not occur either.
# Follows from: rslock 0.10.0. Way out: count both errors as "freed", and the first of them only if all servers answer.
# Seen (rslock 0.10.0, rustc 1.95.0, Redis 7.0.15):
#   held: Ok(false)
#   released: Err(RedisKeyNotFound)
#   held by somebody else: Err(RedisKeyMismatch)
#   held on two of three servers, the first is down: Err(RedisKeyNotFound)
#   its key on the other two: 2
# Run by hand: findings/rslock-is-freed.sh. Needs cargo, a registry and redis-server. Exits with 1 if this has changed.
set -euo pipefail

dir=$(mktemp -d)
cd "$dir"
export CARGO_TARGET_DIR="$dir/target"
ports=() servers=()
stop() { kill "${servers[@]}"; wait "${servers[@]}" || true; rm -rf "$dir"; }
trap stop EXIT
for i in 1 2; do
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
rslock = { version = "=0.10.0", features = ["tokio-comp"] }
tokio = { version = "1", features = ["rt", "macros", "time"] }
[profile.dev]
debug = false
END
mkdir src
cat > src/main.rs <<'END'
use rslock::{Lock, LockManager};
use std::process::ExitCode;
use std::time::Duration;

const LIFETIME: Duration = Duration::from_secs(60);
const DOWN: &str = "redis://127.0.0.1:1/"; // nobody listens

async fn acquired(manager: &LockManager) -> Lock {
    manager.lock("job", LIFETIME).await.expect("a free lock")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let up: Vec<String> = std::env::args().skip(1).map(|port| format!("redis://127.0.0.1:{port}/")).collect();
    let mut as_seen = true;
    let mut show = |when: &str, answer: String, seen: &str| {
        println!("{when}: {answer}");
        as_seen &= answer == seen;
    };

    let manager = LockManager::new(up.clone());
    let lock = acquired(&manager).await;
    show("held", format!("{:?}", manager.is_freed(&lock).await), "Ok(false)");
    manager.unlock(&lock).await;
    show("released", format!("{:?}", manager.is_freed(&lock).await), "Err(RedisKeyNotFound)");
    let other = acquired(&manager).await;
    show("held by somebody else", format!("{:?}", manager.is_freed(&lock).await), "Err(RedisKeyMismatch)");
    manager.unlock(&other).await;

    let manager = LockManager::new(vec![DOWN.to_owned(), up[0].clone(), up[1].clone()]);
    let lock = acquired(&manager).await;
    let answer = format!("{:?}", manager.is_freed(&lock).await);
    show("held on two of three servers, the first is down", answer, "Err(RedisKeyNotFound)");
    if as_seen { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
END

rustc --version
redis-server --version | cut -d ' ' -f 1-3
cargo build --quiet
cargo tree --quiet --depth 1 --prefix none | grep '^rslock'
timeout 60 "$CARGO_TARGET_DIR/debug/probe" "${ports[@]}"
left=0
for port in "${ports[@]}"; do left=$((left + $(redis-cli -p "$port" exists job))); done
echo "its key on the other two: $left"
[ "$left" -eq 2 ]
