#!/usr/bin/env bash
# PyPI's `sherlock`: a lock in Redis that never expires is not held at all; file locks "job.1" and "job.2" are one lock.
#
# Expected: "If explicitly set to `None`, lock will not expire", says the documentation of `expire`: the second
#   acquirer is refused until the first releases. Locks with different names are independent.
# Happens: RedisLock sends the expiry -1 to its Lua script, where the text "-1" never equals the number -1, so the
#   script sets a lifetime of -1 s, which deletes the key that it has just made. acquire() returns True to everybody;
#   release() raises. FileLock makes its file's name by replacing the suffix of the lock's name, so whatever follows
#   the last dot ("job.1", "v1.2", "host.example") is lost.
# Follows from: sherlock 0.4.1. Way out: a finite `expire`, which must be a whole number of seconds, and names without dots.
# Seen (CPython 3.11.7, redis-py 5.3.1, filelock 3.20.3, Redis 7.0.15):
#   RedisLock expire=None: first True, locked() False, second True, release(): LockException
#   RedisLock expire=60: first True, locked() True, second False, release(): None
#   FileLock "job.1" held: "job.2" acquired False; "job-1" held: "job-2" acquired True
# Run by hand: findings/sherlock-locks.sh. Needs Python 3.11 with pip, a package index and redis-server. Exits with 1 if
#   this has changed.
set -euo pipefail

dir=$(mktemp -d)
cd "$dir"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
redis-server --bind 127.0.0.1 --port "$port" --save '' --appendonly no --dir "$dir" > redis.log &
server=$!
trap 'kill "$server"; wait "$server" || true; rm -rf "$dir"' EXIT
for _ in $(seq 100); do redis-cli -p "$port" ping > ping.log 2>&1 && break; sleep 0.1; done
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check sherlock==0.4.1 redis==5.3.1 filelock==3.20.3

cat > probe.py <<'END'
import pathlib, platform, sys
from importlib.metadata import version
import redis
from sherlock import FileLock, LockException, RedisLock

server = redis.Redis(port=int(sys.argv[1]))
print(f"CPython {platform.python_version()}, sherlock {version('sherlock')}, redis-py {version('redis')},",
      f"filelock {version('filelock')}, Redis {server.info()['redis_version']}")


def in_redis(expire):
    one, two = (RedisLock(f"lock-{expire}", client=server, expire=expire) for _ in range(2))
    seen = [one.acquire(blocking=False), one.locked(), two.acquire(blocking=False)]
    try:
        seen.append(one.release())
    except LockException as error:
        seen.append(type(error).__name__)
    print("RedisLock expire={}: first {}, locked() {}, second {}, release(): {}".format(expire, *seen))
    return seen


def in_files(held, other):
    one, two = (FileLock(name, client=pathlib.Path("locks"), expire=60) for name in (held, other))
    assert one.acquire(blocking=False)
    free = two.acquire(blocking=False)
    one.release()
    return free


without, with_expiry = in_redis(None), in_redis(60)
dotted, dashed = in_files("job.1", "job.2"), in_files("job-1", "job-2")
print(f'FileLock "job.1" held: "job.2" acquired {dotted}; "job-1" held: "job-2" acquired {dashed}')
as_seen = without == [True, False, True, "LockException"] and with_expiry == [True, True, False, None]
sys.exit(0 if as_seen and not dotted and dashed else 1)
END

env/bin/python probe.py "$port" 2> errors.log || { cat errors.log; exit 1; }
