#!/usr/bin/env bash
# PyPI's `pottery` loses elements in operations that the containers of Python, which it imitates, carry out.
#
# Expected: RedisDeque, RedisList and RedisCounter behave like deque, list and Counter; what they cannot do, they refuse.
# Happens: without an error, a rotation by more than the length to the left shortens the deque; a slice that is assigned
#   fewer or more values than it has keeps old elements, turns some into 0, and drops new ones; insert(-1, x) inserts at
#   the front; list[0:0] is the whole list; Counter.update counts the old value twice when it gets an iterable, but not
#   when it gets a dict.
# Follows from: pottery 3.0.1. Way out: only operations that Redis itself has (append, pop, an index, a whole list).
# Seen (CPython 3.11.7, redis-py 5.3.1, Redis 7.0.15):
#   deque([1, 2, 3]).rotate(-5): [3], Python [3, 1, 2]
#   [0, 1, 2, 3][1:3] = [9]: [9, 0, 3], Python [0, 9, 3]
#   [0, 1, 2, 3][1:2] = [7, 8, 9]: [0, 7, 2, 3], Python [0, 7, 8, 9, 2, 3]
#   [1, 2, 3].insert(-1, 9): [9, 1, 2, 3], Python [1, 2, 9, 3]
#   [1, 2, 3][0:0]: [1, 2, 3], Python []
#   Counter(x=1).update("x"): {'x': 3}, Python {'x': 2}
# Run by hand: findings/pottery-containers.sh. Needs Python 3.11 with pip, a package index and redis-server. Exits with 1
#   if this has changed.
set -euo pipefail

dir=$(mktemp -d)
cd "$dir"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
redis-server --bind 127.0.0.1 --port "$port" --save '' --appendonly no --dir "$dir" > redis.log &
server=$!
trap 'kill "$server"; wait "$server" || true; rm -rf "$dir"' EXIT
for _ in $(seq 100); do redis-cli -p "$port" ping > ping.log 2>&1 && break; sleep 0.1; done
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check pottery==3.0.1 redis==5.3.1

cat > probe.py <<'END'
import collections, platform, sys, warnings
from importlib.metadata import version
import redis
from pottery import RedisCounter, RedisDeque, RedisList

warnings.simplefilter("ignore")
server = redis.Redis(port=int(sys.argv[1]))


def assign(to, value):
    def change(items):
        items[to] = value

    return change


def changed(kind, start, change):
    box = kind(start)
    result = change(box)
    if result is not None:
        return list(result)
    return dict(box) if hasattr(box, "most_common") else list(box)


def shared(kind):
    def make(start):
        server.flushall()
        return kind(start, redis=server, key="box")

    return make


KINDS = {"deque": (RedisDeque, collections.deque), "list": (RedisList, list), "Counter": (RedisCounter, collections.Counter)}
CASES = [
    ("deque([1, 2, 3]).rotate(-5)", "deque", [1, 2, 3], lambda d: d.rotate(-5), [3]),
    ("[0, 1, 2, 3][1:3] = [9]", "list", [0, 1, 2, 3], assign(slice(1, 3), [9]), [9, 0, 3]),
    ("[0, 1, 2, 3][1:2] = [7, 8, 9]", "list", [0, 1, 2, 3], assign(slice(1, 2), [7, 8, 9]), [0, 7, 2, 3]),
    ("[1, 2, 3].insert(-1, 9)", "list", [1, 2, 3], lambda l: l.insert(-1, 9), [9, 1, 2, 3]),
    ("[1, 2, 3][0:0]", "list", [1, 2, 3], lambda l: l[0:0], [1, 2, 3]),
    ('Counter(x=1).update("x")', "Counter", {"x": 1}, lambda c: c.update("x"), {"x": 3}),
]
print(f"CPython {platform.python_version()}, pottery {version('pottery')}, redis-py {version('redis')},",
      f"Redis {server.info()['redis_version']}")
same = True
for name, kind, start, change, seen in CASES:
    ours, theirs = (changed(make, start, change) for make in (shared(KINDS[kind][0]), KINDS[kind][1]))
    print(f"{name}: {ours}, Python {theirs}")
    same = same and ours == seen and ours != theirs
sys.exit(0 if same else 1)
END

env/bin/python probe.py "$port"
