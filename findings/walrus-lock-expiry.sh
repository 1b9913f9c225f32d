#!/usr/bin/env bash
# A waiter for a lock of PyPI's `walrus` sleeps for its own time to live after the holder's lock has expired.
#
# Expected: acquire() "will block until the lock becomes free (either by being released or expiring)", says its
#   documentation: if the holder died, the next one has the lock when the holder's ttl is over.
# Happens: the waiter looks once, and again after its *own* ttl. Between the two only a release wakes it. With a holder
#   of 0.3 s that never releases, a waiter with a ttl of 3 s has the lock after 3 s; with one of an hour, after an hour.
#   Meanwhile a third process can take the free lock at once.
# Follows from: walrus 0.9.8, where the wait for the event is as long as the waiter's ttl. Way out: poll with
#   acquire(block=False).
# Seen (CPython 3.11.7, redis-py 5.3.1, Redis 7.0.15):
#   holder's ttl 0.3 s, waiter's ttl 1 s: acquired after 1.0 s
#   holder's ttl 0.3 s, waiter's ttl 3 s: acquired after 3.0 s
#   holder's ttl 0.3 s, another try after 0.5 s: True
# Run by hand: findings/walrus-lock-expiry.sh. Needs Python 3.11 with pip, a package index and redis-server. Exits with
#   1 if this has changed.
set -euo pipefail

dir=$(mktemp -d)
cd "$dir"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
redis-server --bind 127.0.0.1 --port "$port" --save '' --appendonly no --dir "$dir" > redis.log &
server=$!
trap 'kill "$server"; wait "$server" || true; rm -rf "$dir"' EXIT
for _ in $(seq 100); do redis-cli -p "$port" ping > ping.log 2>&1 && break; sleep 0.1; done
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check walrus==0.9.8 redis==5.3.1

cat > probe.py <<'END'
import platform, sys, time
from importlib.metadata import version
from walrus import Database

server = Database(port=int(sys.argv[1]))
print(f"CPython {platform.python_version()}, walrus {version('walrus')}, redis-py {version('redis')},",
      f"Redis {server.info()['redis_version']}")
same = True
for seconds in (1, 3):
    server.flushall()
    assert server.lock("lock", ttl=300).acquire()
    start = time.monotonic()
    server.lock("lock", ttl=seconds * 1000).acquire()
    took = time.monotonic() - start
    print(f"holder's ttl 0.3 s, waiter's ttl {seconds} s: acquired after {took:.1f} s")
    same = same and seconds - 0.1 < took < seconds + 0.5
server.flushall()
assert server.lock("lock", ttl=300).acquire()
time.sleep(0.5)
free = server.lock("lock", ttl=3000).acquire(block=False)
print(f"holder's ttl 0.3 s, another try after 0.5 s: {free}")
sys.exit(0 if same and free else 1)
END

env/bin/python probe.py "$port"
