#!/usr/bin/env bash
# A batch that is sent by the crate `rsmq_async` comes out in a random order.
#
# Expected: `send_message_batch` takes a Vec, and returns "the assigned message IDs in input order"; a queue hands out what
#   was put first. Its default implementation, one `send_message` for each element, keeps the order of the Vec.
# Happens: all messages of a batch get the same time as their score in a sorted set, where Redis orders equal scores by the
#   name of the member: by the random part of the id. This holds with the feature `break-js-comp` too, whose finer times are
#   described as "finer ordering". Sent one by one, two messages are mixed up only if they share a millisecond.
# Follows from: rsmq_async 18.0.0. Way out: one send_message after the other, or a number in each message.
# Seen (rsmq_async 18.0.0, rustc 1.95.0, Redis 7.0.15), the first 5 of 20 messages, 0 to 19:
#   sent as a batch, received as a batch: in order false: ["2", "3", "18", "13", "8"]
#   sent as a batch, received one by one: in order false: ["5", "18", "6", "19", "10"]
#   sent one by one, 2 ms apart: in order true: ["0", "1", "2", "3", "4"]
# Run by hand: findings/rsmq-batch-order.sh. Needs cargo, a registry and redis-server. Exits with 1 if this has changed.
set -euo pipefail

dir=$(mktemp -d)
cd "$dir"
export CARGO_TARGET_DIR="$dir/target"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
redis-server --bind 127.0.0.1 --port "$port" --save '' --appendonly no --dir "$dir" > redis.log &
server=$!
trap 'kill "$server"; wait "$server" || true; rm -rf "$dir"' EXIT
for _ in $(seq 100); do redis-cli -p "$port" ping > ping.log 2>&1 && break; sleep 0.1; done

cat > Cargo.toml <<'END'
[package]
name = "probe"
version = "0.0.0"
edition = "2021"
[dependencies]
rsmq_async = "=18.0.0"
tokio = { version = "1", features = ["rt", "macros", "time"] }
[profile.dev]
debug = false
END
mkdir src
cat > src/main.rs <<'END'
use rsmq_async::{Rsmq, RsmqConnection, RsmqOptions};
use std::process::ExitCode;
use std::time::Duration;

const MESSAGES: u32 = 20; // in order by chance once in 2 * 10^18 times

/// Whether all messages were received in the order in which they were sent.
fn in_order(how: &str, sent: &[String], received: &[String]) -> bool {
    assert_eq!(sent.len(), received.len());
    let same = sent == received;
    println!("{how}: in order {same}: {:?}", &received[..5]);
    same
}

async fn pop_all(queues: &mut Rsmq, name: &str) -> Vec<String> {
    let mut received = Vec::new();
    while let Some(message) = queues.pop_message::<String>(name).await.expect("a pop") {
        received.push(message.message);
    }
    received
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let port = std::env::args().nth(1).expect("a port").parse().expect("a number");
    let mut queues = Rsmq::new(RsmqOptions { port, ..Default::default() }).await.expect("a server");
    let sent: Vec<String> = (0..MESSAGES).map(|number| number.to_string()).collect();
    for name in ["a", "b", "c"] {
        queues.create_queue(name, None, None, None).await.expect("a queue");
    }
    for name in ["a", "b"] {
        queues.send_message_batch(name, sent.clone(), None).await.expect("a batch");
    }
    for message in &sent {
        queues.send_message("c", message.clone(), None).await.expect("a message");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }

    let batch = queues.receive_message_batch::<String>("a", None, MESSAGES).await.expect("a batch");
    let batch: Vec<String> = batch.into_iter().map(|message| message.message).collect();
    let of_batch = in_order("sent as a batch, received as a batch", &sent, &batch);
    let one_by_one = in_order("sent as a batch, received one by one", &sent, &pop_all(&mut queues, "b").await);
    let apart = in_order("sent one by one, 2 ms apart", &sent, &pop_all(&mut queues, "c").await);
    if !of_batch && !one_by_one && apart { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
END

rustc --version
redis-server --version | cut -d ' ' -f 1-3
cargo build --quiet
cargo tree --quiet --depth 1 --prefix none | grep rsmq
timeout 60 "$CARGO_TARGET_DIR/debug/probe" "$port"
