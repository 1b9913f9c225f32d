#!/usr/bin/env bash
# PyPI's `redis-rate-limiters`: a holder that outlives `expiry` leaves one permit too many in the semaphore for good.
#
# Expected: `expiry` is there "to prevent deadlocks": if a holder takes longer, its permit goes to somebody else, and what
#   the late holder gives back is void. A semaphore of capacity 1 stays one.
# Happens: the permits are elements of a list in Redis, and the two keys of the semaphore expire after `expiry` seconds
#   without an entry or an exit. The next one to enter fills the list anew, and each late holder still adds its element when it
#   leaves. Every entry and exit renews the keys, so a semaphore in use never gets rid of the surplus.
# Follows from: redis-rate-limiters 0.5.0. Way out: an `expiry` far longer than anybody ever holds a permit.
# Seen (CPython 3.11.7, redis-py 5.3.1, Redis 7.0.15), capacity 1, expiry 1 s:
#   A entered, B at once: refused, B after 1.5 s: entered
#   A and B have left, permits in Redis: 2, then C: entered, D: entered
# Run by hand: findings/redis-rate-limiters-permits.sh. Needs Python 3.11 with pip, a package index and redis-server.
#   Exits with 1 if this has changed.
set -euo pipefail

dir=$(mktemp -d)
cd "$dir"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
redis-server --bind 127.0.0.1 --port "$port" --save '' --appendonly no --dir "$dir" > redis.log &
server=$!
trap 'kill "$server"; wait "$server" || true; rm -rf "$dir"' EXIT
for _ in $(seq 100); do redis-cli -p "$port" ping > ping.log 2>&1 && break; sleep 0.1; done
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check redis-rate-limiters==0.5.0 redis==5.3.1

cat > probe.py <<'END'
import platform, sys, time
from importlib.metadata import version
import redis
from limiters import MaxSleepExceededError, SyncSemaphore

server = redis.Redis(port=int(sys.argv[1]))
print(f"CPython {platform.python_version()}, redis-rate-limiters {version('redis-rate-limiters')},",
      f"redis-py {version('redis')}, Redis {server.info()['redis_version']}")
a, b, c, d = (SyncSemaphore(name="job", capacity=1, max_sleep=0.3, expiry=1, connection=server) for _ in range(4))


def enter(semaphore):
    try:
        semaphore.__enter__()
    except MaxSleepExceededError:
        return "refused"
    return "entered"


def leave(*semaphores):
    for semaphore in semaphores:
        semaphore.__exit__(None, None, None)


seen = [enter(a), enter(b)]
time.sleep(1.5)  # nobody enters or leaves: the keys expire
seen.append(enter(b))
print("A {}, B at once: {}, B after 1.5 s: {}".format(*seen))
leave(a, b)
seen += [server.llen(a.key), enter(c), enter(d)]
print("A and B have left, permits in Redis: {}, then C: {}, D: {}".format(*seen[3:]))
sys.exit(0 if seen == ["entered", "refused", "entered", 2, "entered", "entered"] else 1)
END

timeout 60 env/bin/python probe.py "$port"
